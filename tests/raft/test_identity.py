"""Which member a node is: by text, by address, by what its directory remembers; and the secret that proves it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.identity import identify, own_entry
from orchestrator_raft.raft.membership import Configuration
from orchestrator_raft.raft.messages import Hello
from orchestrator_raft.raft.roster import PATIENCE_S, Roster
from orchestrator_raft.raft.secret import SECRET_FILE, named_secret, own_secret
from orchestrator_raft.raft.settings import Address, RaftSettings, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", Address("10.0.0.1", 10008)),
        ("Db1.Example.com:99", Address("db1.example.com", 99)),
        ("[::1]:7", Address("::1", 7)),
        ("[fe80::1]", Address("fe80::1", 10008)),
        ("fe80::1", Address("fe80::1", 10008)),
    ],
)
def test_an_address_is_read_with_the_default_port(text: str, address: Address) -> None:
    assert address == parse_address(text, 10008, "RaftBind")
    assert address == parse_address(str(address), 1, "RaftBind")


@pytest.mark.parametrize("text", ["", "a b", "host:0", "host:65536", "host:x", "[::1", "http://a:1"])
def test_what_is_no_address_is_refused_with_the_name_of_its_setting(text: str) -> None:
    with pytest.raises(StartupError, match=r"RaftBind: .* is no address"):
        parse_address(text, 10008, "RaftBind")


NAMES = {"db1": {"10.0.0.1"}, "db2": {"10.0.0.2"}, "alias1": {"10.0.0.1"}, "here": {"127.0.0.1"}}


async def resolve(address: Address) -> frozenset[str]:
    known = NAMES.get(address.host, {address.host} if address.ip is not None and not address.is_wildcard else set())
    return frozenset(known)


def settings(nodes: str, *, bind: str = "", advertise: str = "") -> RaftSettings:
    return RaftSettings(nodes=tuple(nodes.split()), bind=bind, advertise=advertise, resolve_timeout_s=0.0)


OWN = [
    (settings("db1 db2", bind="db2"), "db2:10008"),
    (settings("db1 db2:10008", bind="0.0.0.0", advertise="db2"), "db2:10008"),
    (settings("db1 db2", bind="10.0.0.1"), "db1:10008"),
    (settings("db1 db2", bind="0.0.0.0", advertise="alias1"), "db1:10008"),
    (settings("127.0.0.1:1 127.0.0.1:2", bind="127.0.0.1:2"), "127.0.0.1:2"),
    (settings("db1 here", bind="0.0.0.0"), "here:10008"),
    (settings("", bind="10.0.0.7:3"), "10.0.0.7:3"),
]


@pytest.mark.parametrize(("given", "own"), OWN)
async def test_the_own_entry_is_found_by_text_else_by_address(given: RaftSettings, own: str) -> None:
    assert own == str(await own_entry(given, resolve))


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (settings("db1 db2", bind="10.0.0.3"), "none is this node, which calls itself 10.0.0.3:10008"),
        (settings("db1 db2", bind="10.0.0.1:7"), "none is this node"),
        (settings("db1 alias1", bind="10.0.0.1"), "db1:10008 and alias1:10008 could both be this node"),
        (settings("db1 unknown", bind="elsewhere"), "none is this node"),
    ],
)
async def test_a_list_without_this_node_is_refused_and_both_are_named(given: RaftSettings, cause: str) -> None:
    with pytest.raises(StartupError, match=cause) as caught:
        await own_entry(given, resolve)
    assert f"RaftNodes lists {', '.join(str(entry) for entry in given.entries())}" in str(caught.value)


async def test_a_name_that_resolves_later_is_waited_for() -> None:
    asked = 0

    async def later(address: Address) -> frozenset[str]:
        nonlocal asked
        asked += 1
        return await resolve(address) if asked > 6 else frozenset()

    given = RaftSettings(nodes=("db1", "db2"), bind="10.0.0.2", resolve_timeout_s=30)
    assert "db2:10008" == str(await own_entry(given, later))


def entries(*texts: str) -> list[Address]:
    return [parse_address(text, 10008, "RaftNodes") for text in texts]


def first_start(*texts: str, own: str) -> Roster:
    return Roster(identify({}, entries(*texts), entries(own)[0]))


def greeting(roster: Roster, *, term: int = 0) -> Hello:
    """What a node with this roster would say."""
    return Hello(
        slot=roster.slot, node_id=roster.node_id, boot_id="", cluster_id=roster.cluster_id, version="",
        address=str(roster.addresses[roster.slot]), slots=" ".join(sorted(roster.addresses)),
        members_index=roster.members_index, is_new=roster.is_new(term),
    )  # fmt: skip


def heard(roster: Roster, *others: Roster, term: int = 0, waited_s: float = 0.0) -> Configuration | None:
    for other in others:
        roster.note(greeting(other, term=term))
    return roster.to_found(waited_s)


def test_empty_nodes_found_at_once_when_all_have_nothing() -> None:
    nodes = [first_start("a", "b", "c", own=own) for own in "abc"]
    one, other, third = nodes
    assert "" == one.cluster_id == other.cluster_id
    assert heard(one, other) is None
    configuration = heard(one, third)
    assert configuration is not None
    assert {"a:10008", "b:10008", "c:10008"} == configuration.voters
    assert configuration == heard(other, one, third), "who has just founded has nothing that can be harmed"
    assert one.cluster_id == other.cluster_id != ""
    assert one.node_id != other.node_id


def test_more_than_half_found_when_the_others_do_not_answer() -> None:
    one, other = (first_start("a", "b", "c", "d", own=own) for own in "ab")
    assert heard(one, other, waited_s=PATIENCE_S) is None, "half is not more than half"
    assert heard(one, other, waited_s=PATIENCE_S) is None, "the same node counted twice"
    third = first_start("a", "b", "c", "d", own="c")
    assert heard(one, third) is None, "not yet: the fourth may have something"
    assert heard(one, waited_s=PATIENCE_S) is not None


def test_an_empty_node_founds_nothing_beside_a_cluster_that_lives() -> None:
    empty, lives, third = (first_start("a", "b", "c", own=own) for own in "abc")
    assert heard(lives, empty, third) is not None
    assert heard(empty, lives, term=1, waited_s=PATIENCE_S) is None
    assert heard(empty, third, waited_s=PATIENCE_S) is None, "one member that has something is enough"
    assert "" == empty.cluster_id
    assert empty.taken_in(lives.cluster_id)
    assert not empty.taken_in("another")
    assert (lives.cluster_id, ()) == (empty.cluster_id, empty.founders)


def test_other_lists_are_no_company() -> None:
    one, other = first_start("a", "b", "c", own="a"), first_start("a", "b", "d", own="b")
    assert heard(one, other, waited_s=PATIENCE_S) is None
    assert one.complaint(greeting(other)) == (
        "RaftNodes differ: b:10008 was started with 'a:10008 b:10008 d:10008', a:10008 with 'a:10008 b:10008 c:10008'; "
        "make them equal"
    )


@pytest.mark.parametrize("texts", [(), ("a",)])
def test_a_node_that_is_alone_founds_at_once(texts: tuple[str, ...]) -> None:
    one, other = first_start(*texts, own="a"), first_start(*texts, own="a")
    assert ("a:10008",) == one.founders
    assert one.cluster_id != other.cluster_id, "two that are alone are two clusters"


def test_a_restart_is_the_same_node_at_its_own_address() -> None:
    before = first_start("a", "b", "c", own="b")
    assert before.node_id == identify(before.facts(), entries("x", "y"), entries("x")[0]).node_id
    assert heard(before, first_start("a", "b", "c", own="a"), waited_s=PATIENCE_S) is not None
    again = Roster(identify(before.facts(), entries("a", "b", "c"), entries("b")[0]))
    assert before.facts() == again.facts()
    moved = Roster(identify(before.facts(), entries("a", "new", "c"), entries("new")[0]))
    assert ("b:10008", "new:10008") == (moved.slot, str(moved.addresses["b:10008"]))


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    made = own_secret(tmp_path)
    assert made == own_secret(tmp_path) == named_secret(str(tmp_path / SECRET_FILE))
    assert 0o600 == (tmp_path / SECRET_FILE).stat().st_mode & 0o777
    assert 32 == len(made.key) and made.key.hex() not in repr(made)
    assert [tmp_path / SECRET_FILE] == list(tmp_path.iterdir())


def test_an_open_or_malformed_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / SECRET_FILE
    own_secret(tmp_path)
    path.chmod(0o640)
    with pytest.raises(StartupError, match="others may read it"):
        own_secret(tmp_path)
    path.write_text("hunter2\n")
    path.chmod(0o600)
    with pytest.raises(StartupError, match="it is no secret"):
        own_secret(tmp_path)


def test_a_listener_cannot_have_other_files_read(tmp_path: Path) -> None:
    other = tmp_path / "passwords"
    other.write_text("ab" * 32 + "\n")
    other.chmod(0o600)
    link = tmp_path / SECRET_FILE
    link.symlink_to(other)
    pipe = tmp_path / "pipe" / SECRET_FILE
    pipe.parent.mkdir()
    os.mkfifo(pipe, 0o600)
    named = [str(other), str(link), str(pipe), str(tmp_path), SECRET_FILE, "", "\0", "/nowhere/" + SECRET_FILE]
    assert [None] * len(named) == [named_secret(path) for path in named]
