"""``raftctl raft``: one screen of all nodes, what counts as a problem, and what is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator_raft.core.errors import Refused
from orchestrator_raft.engine.service import Call, Reply
from orchestrator_raft.raftctl import raft_view
from tests.raftctl.conftest import Raftctl
from tests.raftctl.fleet import Fleet

IDS = ("n1:10008", "n2:10008", "n3:10008")


def member(number: int, **more: Any) -> dict[str, Any]:
    slot = IDS[number - 1]
    return {
        "id": slot, "address": slot, "is_self": number == 1, "is_connected": True, "last_contact_s": 0.04,
        "round_trip_s": 0.0004, "match_index": 104, "version": "0.1", "equal_index": None if number == 1 else 104,
        "compared_s": None if number == 1 else 1.2, **more,
    }  # fmt: skip


def node(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": IDS[number - 1], "version": "0.1", "role": "leader" if number == 1 else "follower", "term": 3,
        "leader": IDS[0], "lease_left_s": 0.42 if number == 1 else 0.0, "commit_index": 104, "applied_index": 104,
        "synced_index": 104, "digest": "1f2e3d4c5b6a", "alarm": "", "members": [member(each) for each in (1, 2, 3)],
        "journal_entries": 14, "journal_bytes": 2048, "snapshot_index": 90, "snapshot_bytes": 300,
        "snapshot_age_s": 7300.0, "store": "/var/lib/x/raft.sqlite", "store_bytes": 50_000,
        "disk_free_bytes": 12 * 2**30, "failure": "", **more,
    }  # fmt: skip


def overview(*nodes: dict[str, Any], asked: int = 1) -> dict[str, Any]:
    return {"asked": IDS[asked - 1], "nodes": list(nodes)}


def shown(fleet: Fleet, raftctl: Raftctl, value: dict[str, Any]) -> tuple[int, str]:
    fleet.answers["raft-overview"] = lambda call: Reply(value=value)
    ran = raftctl("raft", "status")
    assert "" == ran.err
    return ran.code, ran.out


def test_a_healthy_cluster_is_one_screen(raftctl: Raftctl, fleet: Fleet) -> None:
    code, out = shown(fleet, raftctl, overview(node(1), node(2), node(3)))
    assert 0 == code
    assert [
        "NODE      ROLE      TERM  COMMIT  APPLIED  SYNCED  HAS  CONTACT    ROUND TRIP  DIGEST                 VERSION",
        "n1:10008  leader    3     104     104      104     104  -          -           1f2e3d4c at 104        0.1",
        "n2:10008  follower  3     104     104      104     104  0.0 s ago  0.4 ms      equal at 104, 1 s ago  0.1",
    ] == out.splitlines()[:3]
    assert "n3:10008  n3:10008  yes    14 entries, 2.0 KiB  up to 90, 300 B, 2 h old  49 KiB  12 GiB" in out
    assert out.endswith("\nn1:10008 leads in term 3, its lease lives 0.42 s more\nhealthy\n")
    assert max(len(line) for line in out.splitlines()) <= 120


def test_a_node_that_does_not_answer_is_shown_with_the_reason(raftctl: Raftctl, fleet: Fleet) -> None:
    silent = {"id": IDS[2], "address": IDS[2], "error": "n3:10008 is not connected"}
    gone = member(3, is_connected=False, last_contact_s=95.0, match_index=80)
    seen = node(1, members=[member(1), member(2), gone])
    code, out = shown(fleet, raftctl, overview(seen, node(2), silent))
    assert 1 == code
    row = next(line for line in out.splitlines() if line.startswith("n3:10008  no answer"))
    assert "80" in row and "95.0 s ago, cut off" in row
    assert out.endswith("1 problem:\n  node n3:10008 does not answer: n3:10008 is not connected\n")


def test_who_was_turned_away_and_an_upgrade_under_way_are_told_and_are_no_problem(
    raftctl: Raftctl, fleet: Fleet
) -> None:
    reason = "a connection from 10.0.0.9 was refused: it does not know the secret of this cluster"
    refusing = node(2, refused=[{"origin": "10.0.0.9", "reason": reason, "ago_s": 12.3}])
    newer = node(3, level=1, newest_level=2)
    code, out = shown(fleet, raftctl, overview(node(1, level=1, newest_level=1), refusing, newer))
    assert 0 == code
    verdict, level, turned_away = out.splitlines()[-3:]
    assert ("healthy", f"n2:10008, 12 s ago: {reason}") == (verdict, turned_away)
    assert level.startswith("the cluster is at level 1 and n3:10008 knows level 2: it rises by itself when")


@pytest.mark.parametrize(
    ("nodes", "problem"),
    [
        ([node(1, lease_left_s=0.0), node(2), node(3)], "no node holds authority"),
        ([node(1), node(2, alarm="the nodes have different states: x"), node(3)], "the nodes have different states: x"),
        ([node(1), node(2, failure="the disk is full"), node(3)], "node n2:10008 has stopped: the disk is full"),
        ([node(1, disk_free_bytes=2**20), node(2), node(3)],
         "node n1:10008 has 1.0 MiB left on the disk of /var/lib/x/raft.sqlite"),
    ],
)  # fmt: skip
def test_what_is_a_problem(nodes: list[dict[str, Any]], problem: str) -> None:
    (found,) = raft_view.judge(overview(*nodes))
    assert found.startswith(problem)


def test_one_alarm_that_all_report_is_one_problem() -> None:
    alarmed = [node(each, alarm="they differ", lease_left_s=0.0) for each in (1, 2, 3)]
    assert "they differ" == raft_view.judge(overview(*alarmed))[0]
    assert 2 == len(raft_view.judge(overview(*alarmed)))


def test_without_a_leader_the_asked_node_tells_of_the_links() -> None:
    followers = [node(each, role="candidate", lease_left_s=0.0, leader=None) for each in (1, 2)]
    followers[1]["members"] = [member(1, is_self=False, last_contact_s=4.0), member(2, is_self=True)]
    states = raft_view.view(overview(*followers, asked=2))[0]
    assert "4.0 s ago" in states.rows[0]  # type: ignore[union-attr]


def test_an_answer_of_another_version_is_read_as_far_as_it_goes() -> None:
    assert raft_view.view({"asked": "n1", "nodes": [{"id": "n1", "role": "leader"}, "?", {"id": "n2"}]})
    assert raft_view.view(None)


def test_the_json_is_the_answer_itself(raftctl: Raftctl, fleet: Fleet) -> None:
    value = overview(node(1), node(2), node(3))
    fleet.answers["raft-overview"] = lambda call: Reply(value=value)
    ran = raftctl("raft", "status", "--json")
    assert (0, value) == (ran.code, json.loads(ran.out))


def test_transfer_and_snapshot_send_what_they_are_told(raftctl: Raftctl, fleet: Fleet) -> None:
    assert "raft-transfer done\n" == raftctl("raft", "transfer").out
    assert 0 == raftctl("raft", "transfer", "n2:10008", "--yes").code
    assert 0 == raftctl("raft", "snapshot").code
    assert [("raft-transfer", {}), ("raft-transfer", {"node": "n2:10008"}), ("raft-snapshot", {})] == fleet.asked


def test_a_refusal_is_one_line_and_code_1(raftctl: Raftctl, fleet: Fleet) -> None:
    def refuse(call: Call) -> Reply:
        raise Refused("no other node is connected to n1:10008, so nobody can take over")

    fleet.answers["raft-transfer"] = refuse
    ran = raftctl("raft", "transfer")
    assert (1, "") == (ran.code, ran.out)
    assert "error: no other node is connected to n1:10008, so nobody can take over\n" == ran.err


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (2048, "2.0 KiB"), (12 * 2**30, "12 GiB")])
def test_sizes(count: int, text: str) -> None:
    assert text == raft_view.size(count)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (180, "3 min"), (7300, "2 h"), (9e5, "10 d")]
)
def test_durations(seconds: float, text: str) -> None:
    assert text == raft_view.duration(seconds)
