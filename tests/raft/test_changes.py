"""Members come, go and move over real sockets, asked for on any node."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator_raft.core.errors import InvalidInput, Refused, StartupError
from orchestrator_raft.raft.changes import Ask, address_of, unpack
from orchestrator_raft.raft.node import RaftNode
from orchestrator_raft.raft.settings import RaftSettings
from tests.free_ports import free_port
from tests.raft.cluster import WAIT_S, Cluster, Node, until
from tests.raft.counting import Add, Counter, codec


class Growing(Cluster):
    """``entries`` are what each node finds in its RaftNodes; ``places`` which directory belongs to an entry."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, 0)
        self.places: dict[str, str] = {}

    async def run(self, entry: str, entries: Sequence[str], place: str = "") -> Node:
        self.places[entry] = place or self.places.get(entry) or entry.replace(":", "-")
        settings = RaftSettings(data_dir=self.root / self.places[entry], bind=entry, nodes=tuple(entries))
        node: Node = RaftNode(settings, Counter(), codec(), on_fatal=self.failures.append)
        await node.start()
        self.nodes[entry] = node
        return node

    def empty(self, entry: str) -> None:
        shutil.rmtree(self.root / self.places[entry])


@asynccontextmanager
async def growing(root: Path, size: int) -> AsyncIterator[tuple[Growing, list[str]]]:
    """A cluster of ``size`` that was founded, and its entries."""
    cluster = Growing(root)
    entries = [f"127.0.0.1:{free_port()}" for _ in range(size)]
    try:
        for entry in entries:
            await cluster.run(entry, entries)
        await cluster.leader()
        yield cluster, entries
    finally:
        for entry in list(cluster.nodes):
            await cluster.stop(entry)
    assert [] == cluster.failures


async def until_it_votes(slot: str, *nodes: Node) -> None:
    await until(lambda: all(slot in voters(node) for node in nodes), f"the vote of {slot}")


async def until_known_at(slot: str, address: str, nodes: Iterable[Node]) -> None:
    def known() -> bool:
        return all({each.id: each.address for each in node.members()}[slot] == address for node in nodes)

    await until(known, f"everybody knowing where {slot} is")


def voters(node: Node) -> set[str]:
    return {member.id for member in node.members() if member.votes}


async def test_a_single_node_grows_to_three_and_shrinks_to_one(tmp_path: Path) -> None:
    async with growing(tmp_path, 1) as (cluster, [first]):
        for amount in range(5):
            await cluster.add(cluster.nodes[first], amount)
        for _ in range(2):
            new = f"127.0.0.1:{free_port()}"
            node = await cluster.run(new, [first, new])
            assert new == await cluster.nodes[first].add_member(new, timeout_s=WAIT_S)
            await until_it_votes(new, node)
            await cluster.add(node)
        assert 3 == len(voters(cluster.nodes[first]))
        assert {12} == {await node.propose(Add("same", 0), timeout_s=WAIT_S) for node in cluster.nodes.values()}
        for gone in list(cluster.nodes)[1:]:
            await cluster.nodes[gone].remove_member(gone, timeout_s=WAIT_S)
            await cluster.stop(gone)
        assert {first} == voters(cluster.nodes[first])
        await cluster.add(cluster.nodes[first])


async def test_a_newcomer_founds_nothing_and_waits_until_it_is_added(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with growing(tmp_path, 3) as (cluster, entries):
        new = f"127.0.0.1:{free_port()}"
        node = await cluster.run(new, [*entries, new])
        await until(lambda: f"{new} is no member of this cluster: run 'raftctl member add {new}'" in caplog.text)
        assert ("", set()) == (node.status().cluster_id, voters(node))
        leader = await cluster.leader()
        follower = next(cluster.nodes[entry] for entry in entries if cluster.nodes[entry] is not leader)
        await follower.add_member(new, timeout_s=WAIT_S)
        await until(lambda: new in voters(node), "its vote")
        await cluster.add(node)
        await cluster.level()
        with pytest.raises(Refused, match="is a member already"):
            await node.add_member(new, timeout_s=WAIT_S)
        with pytest.raises(InvalidInput, match="'nobody' is no member"):
            await node.remove_member("nobody", timeout_s=WAIT_S)


async def test_a_leader_can_be_replaced(tmp_path: Path) -> None:
    async with growing(tmp_path, 3) as (cluster, entries):
        await cluster.add(cluster.nodes[entries[0]])
        old = (await cluster.leader()).node_id
        new = f"127.0.0.1:{free_port()}"
        node = await cluster.run(new, [*entries, new])
        assert new == await cluster.nodes[old].replace_member(old, new, timeout_s=WAIT_S)
        wanted = {*entries, new} - {old}
        await until(lambda: voters(node) == wanted, "the exchange")
        await cluster.stop(old)
        await cluster.add(node)
        await cluster.level()


async def test_all_addresses_change_one_after_another(tmp_path: Path) -> None:
    async with growing(tmp_path, 3) as (cluster, entries):
        moved = dict.fromkeys(entries, "")
        for old in entries:
            place = cluster.places[old]
            await cluster.stop(old)
            moved[old] = f"127.0.0.2:{free_port()}"
            node = await cluster.run(moved[old], [moved[each] or each for each in entries], place)
            assert old == node.node_id
            await cluster.add(node)
            await until_known_at(old, moved[old], cluster.nodes.values())
        await cluster.level()
        assert {3} == {node.state.total for node in cluster.nodes.values()}


async def test_an_emptied_disk_is_refused_until_removed_and_added(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with growing(tmp_path, 3) as (cluster, entries):
        await cluster.add(cluster.nodes[entries[0]])
        await until(lambda: all(member.is_recorded for member in cluster.nodes[entries[0]].members()), "its record")
        gone = (await cluster.followers())[0].node_id
        await cluster.stop(gone)
        cluster.empty(gone)
        node = await cluster.run(gone, entries)
        await until(lambda: f"the data directory of {gone} is not the one that it had" in caplog.text)
        assert (0, "") == (node.term, node.status().cluster_id)
        leader = await cluster.leader()
        await leader.remove_member(gone, timeout_s=WAIT_S)
        await leader.add_member(gone, timeout_s=WAIT_S)
        await until(lambda: gone in voters(node), "its vote")
        await cluster.level()


async def test_the_directory_of_another_member_is_refused(tmp_path: Path) -> None:
    async with growing(tmp_path, 2) as (cluster, [one, other]):
        await cluster.stop(one)
        await cluster.stop(other)
        with pytest.raises(StartupError, match=f"belongs to node {one}, but by RaftNodes this node is {other}"):
            await cluster.run(other, [one, other], cluster.places[one])


async def test_a_change_without_a_majority_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async with growing(tmp_path, 3) as (cluster, _):
        dead, other = (node.node_id for node in await cluster.followers())
        await cluster.stop(dead)
        leader = await cluster.leader()
        await until(lambda: not {each.id: each for each in leader.members()}[dead].is_connected)
        with pytest.raises(Refused, match=f"the quorum would be lost: .* start {dead}, or remove what is gone"):
            await leader.remove_member(other, timeout_s=WAIT_S)
        await leader.remove_member(dead, timeout_s=WAIT_S)
        await leader.remove_member(other, timeout_s=WAIT_S)
        assert {leader.node_id} == voters(leader)
        with pytest.raises(Refused, match="the only voter"):
            await leader.remove_member(leader.node_id, timeout_s=WAIT_S)


@pytest.mark.parametrize("bad", ["", "0.0.0.0:1", "a b", "host:99999"])
def test_a_malformed_address_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput):
        address_of(bad, 10008)


def test_what_is_asked_travels_and_garbage_does_not() -> None:
    ask = Ask("replace", old="a:1", address="b:2", again=True)
    assert ask == unpack(ask.packed())
    for data in (b"", b"\xc1", b"\x90", Ask("rename").packed(), b"\x94\xa3add\x01\x02\x03"):
        with pytest.raises(InvalidInput):
            unpack(data)


async def test_two_of_three_found_and_the_third_is_let_in_late(tmp_path: Path) -> None:
    cluster = Growing(tmp_path)
    entries = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    try:
        first = await cluster.run(entries[0], entries)
        await asyncio.sleep(1.0)
        assert ("", 0) == (first.status().cluster_id, first.term), "one of three founded alone"
        await cluster.run(entries[1], entries)
        await cluster.add(first)
        late = await cluster.run(entries[2], entries)
        await until_it_votes(entries[2], *cluster.nodes.values())
        await cluster.add(late)
        await cluster.level()
    finally:
        for entry in list(cluster.nodes):
            await cluster.stop(entry)
    assert [] == cluster.failures
