"""Brakes: pauses, storms, and the period after a recovery; each says why, until when, and how to go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import EndState, Move, Recovery, Request, Subject
from orchestrator_raft.core.replicated import Result
from orchestrator_raft.core.replicated.commands import (
    AcknowledgeRecoveries,
    ClaimRecovery,
    FinishRecovery,
    PauseWrites,
    RecordPhase,
)
from tests.core.scenario import World

HOUR_MS = 3_600_000
TREE = """
P 10.0.0.1:3306
  + I 10.0.0.2:3306
    + X 10.0.0.3:3306
  + J 10.0.0.4:3306
    + Y 10.0.0.5:3306
""".splitlines()


class Fleet:
    """A fleet drawn in lines; recoveries of it are claimed and ended in sentences."""

    def __init__(self, lines: list[str]) -> None:
        self.world = World(lines)
        self.manager = self.world.manager

    def key(self, name: str) -> InstanceKey:
        return self.world.fleet[name].key

    def claim(self, name: str, kind: str = "dead_primary", *, by: str = "", storm: tuple[int, int] = (0, 0)) -> Result:
        cluster_id = self.manager.state.servers[self.key(name)].cluster_id
        recovery = Recovery(
            id=f"{name}-{len(self.manager.state.recoveries)}", kind=kind, cluster_id=cluster_id,
            subject=Subject(key=self.key(name), code="Dead"), request=Request(by=by, forced=bool(by)), holder="node1",
            term=1, phase=KINDS[kind].phases[0].name, started_ms=0, deadline_ms=10**9,
        )  # fmt: skip
        return self.manager.propose(
            ClaimRecovery, recovery=recovery, block_ms=HOUR_MS, storm_clusters=storm[0], storm_ms=storm[1]
        )

    def succeed(self, *, successor: str = "", moved: str = "") -> None:
        (running,) = self.manager.state.active_recoveries
        key = self.key(successor) if successor else None
        moves = (Move(self.key(moved), self.key("P")),) if moved else ()
        ended = replace(
            running, end=EndState.SUCCEEDED, finished_ms=self.manager.state.time_ms, successor=key,
            promoted=key is not None, moves=moves, moved=tuple(move.key for move in moves),
        )  # fmt: skip
        assert self.manager.propose(FinishRecovery, recovery=ended).ok

    def later(self, seconds: float) -> None:
        self.manager.now_ms += round(seconds * 1000)

    def pause(self, cluster: str = "", *, paused: bool = True, reason: str = "moving racks") -> Result:
        cluster_id = self.manager.state.servers[self.key(cluster)].cluster_id if cluster else ""
        return self.manager.propose(PauseWrites, paused=paused, cluster_id=cluster_id, reason=reason, by="anna")


def pairs(count: int) -> Fleet:
    lines = []
    for number in range(1, count + 1):
        lines += [f"P{number} 10.0.{number}.1:3306", f"  + R{number} 10.0.{number}.2:3306"]
    return Fleet(lines)


# -- pauses


@pytest.mark.parametrize("by", ["", "anna"])
def test_while_writes_are_paused_nobody_recovers_anything(by: str) -> None:
    fleet = pairs(2)
    assert fleet.pause().ok
    refused = fleet.claim("P1", by=by)
    assert not refused.ok
    assert "by anna (moving racks): raftctl resume" in refused.reason
    assert fleet.pause(paused=False).ok
    assert fleet.claim("P1", by=by).ok


def test_a_pause_of_one_cluster_leaves_the_others_alone() -> None:
    fleet = pairs(2)
    assert fleet.pause("P1").ok
    assert fleet.claim("P1").reason.endswith("raftctl resume 10.0.1.1:3306")
    assert fleet.claim("P2").ok


def test_pauses_of_a_cluster_and_of_all_end_each_by_itself() -> None:
    fleet = pairs(1)
    fleet.pause("P1")
    fleet.pause()
    assert fleet.pause(paused=False).ok
    assert not fleet.claim("P1").ok
    assert fleet.pause("P1", paused=False).ok
    assert not fleet.pause("P1", paused=False).ok, "it is not paused any more"
    assert fleet.claim("P1").ok


# -- storms


def storm_of(fleet: Fleet, count: int) -> None:
    for number in range(1, count + 1):
        assert fleet.claim(f"P{number}").ok
        fleet.succeed(successor=f"R{number}")


def test_after_so_many_clusters_nothing_more_is_recovered_by_itself() -> None:
    fleet = pairs(4)
    storm_of(fleet, 2)
    assert fleet.claim("P3", storm=(3, 600_000)).ok
    fleet.succeed(successor="R3")
    refused = fleet.claim("P4", storm=(3, 600_000))
    assert not refused.ok
    assert "3 clusters were recovered within 600 s" in refused.reason
    assert refused.reason.endswith("raftctl ack --all")
    assert fleet.claim("P4", storm=(3, 600_000), by="anna").ok, "a person is not held up"


def test_a_storm_ends_when_somebody_has_looked() -> None:
    fleet = pairs(3)
    storm_of(fleet, 2)
    assert not fleet.claim("P3", storm=(2, 600_000)).ok
    fleet.manager.propose(AcknowledgeRecoveries, every=True, comment="a switch was replaced")
    assert fleet.claim("P3", storm=(2, 600_000)).ok


def test_a_storm_ends_with_its_time() -> None:
    fleet = pairs(3)
    storm_of(fleet, 2)
    fleet.later(601)
    assert fleet.claim("P3", storm=(2, 600_000)).ok


def test_what_people_ask_for_and_what_changes_nobody_counts_for_no_storm() -> None:
    fleet = pairs(3)
    assert fleet.claim("P1", by="anna").ok
    fleet.succeed(successor="R1")
    assert fleet.claim("R2", "upkeep").ok
    fleet.succeed()
    assert fleet.claim("P3", storm=(1, 600_000)).ok


# -- the period


def test_a_recovery_of_an_intermediate_primary_blocks_only_the_same_server() -> None:
    fleet = Fleet(TREE)
    assert fleet.claim("I", "dead_intermediate").ok
    fleet.succeed(moved="X")
    refused = fleet.claim("I", "dead_intermediate")
    assert f"recovery 1 of {fleet.key('I')} ended" in refused.reason
    assert refused.reason.endswith("raftctl ack 1")
    assert fleet.claim("J", "dead_intermediate").ok
    fleet.succeed(moved="Y")
    assert fleet.claim("P").ok, "no change of primary waits for that"


def test_the_rest_of_its_replicas_is_moved_while_it_is_dead_all_along() -> None:
    fleet = Fleet(TREE)
    fleet.world.change_line("I dead")
    fleet.manager.look()
    assert fleet.claim("I", "dead_intermediate").ok
    fleet.succeed(moved="X")
    assert fleet.claim("I", "dead_intermediate").ok


def test_one_that_moved_nobody_blocks_nothing() -> None:
    fleet = Fleet(TREE)
    assert fleet.claim("I", "dead_intermediate").ok
    fleet.succeed()
    assert fleet.claim("I", "dead_intermediate").ok


def test_it_gives_way_to_a_change_of_primary_and_what_it_moved_is_looked_after() -> None:
    fleet = Fleet(TREE)
    assert fleet.claim("I", "dead_intermediate").ok
    (running,) = fleet.manager.state.active_recoveries
    moves = (Move(fleet.key("X"), fleet.key("P")),)
    assert fleet.manager.propose(RecordPhase, recovery=replace(running, phase="move", moves=moves)).ok
    assert fleet.claim("P").ok
    (cluster,) = fleet.manager.state.clusters.values()
    assert cluster.left_behind == (fleet.key("X"),)
    assert fleet.key("X") in cluster.ackers
    assert fleet.manager.state.recoveries[running.id].end is EndState.FAILED
