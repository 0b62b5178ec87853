"""A recovery that gives way to a more urgent one: whom it held, and who is looked after by itself afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.moves.model import Act, Plan, Stage, Verb, Wish
from orchestrator_raft.core.recovery.model import EndState, Move, Recovery, Request, Subject
from orchestrator_raft.core.recovery.steps import Outcome, Reprobe
from orchestrator_raft.core.replicated import Result
from orchestrator_raft.core.replicated.commands import ClaimRecovery, FinishRecovery, PauseWrites, RecordPhase
from orchestrator_raft.core.topology import ClusterRecord
from tests.core.manager import Crash
from tests.core.scenario import World

PERSON = Request(by="anna", forced=True)
TREE = """
policy net_timeout_s=10
P 10.0.0.1:3306 semi-sync=1
  + I 10.0.0.2:3306
    + X 10.0.0.3:3306 net-timeout=60
  + R 10.0.0.4:3306 net-timeout=60
  + S 10.0.0.5:3306
"""
PAIRS = """
P1 10.0.1.1:3306
  + R1 10.0.1.2:3306
  + S1 10.0.1.3:3306
P2 10.0.2.1:3306
  + R2 10.0.2.2:3306
"""


class Fleet:
    """A fleet in which something is under way when a primary needs a recovery."""

    def __init__(self, text: str) -> None:
        self.world = World(text.splitlines())
        self.manager = self.world.manager

    def key(self, name: str) -> InstanceKey:
        return self.world.fleet[name].key

    def cluster(self, name: str) -> ClusterRecord:
        return self.manager.state.clusters[self.manager.state.servers[self.key(name)].cluster_id]

    def wish(self, operation: str, name: str, target: str = "") -> Request:
        wish = Wish(operation=operation, server=self.key(name), target=self.key(target) if target else None)
        return replace(PERSON, command=operation, wish=wish)

    def interrupt(self, kind: str, name: str, request: Request = PERSON, at: int = 1) -> None:
        """It runs until its n-th statement has been said, and no further."""
        self.manager.claim(kind, name, recovery_id="first", request=request)
        left = [at]

        def dies(outcome: Outcome) -> None:
            left[0] -= not isinstance(outcome.step, Reprobe)
            if left[0] == 0:
                raise Crash

        self.manager.hooks.after_step = dies
        with pytest.raises(Crash):
            self.manager.run("first")
        self.manager.hooks.after_step = lambda _outcome: None

    def recover(self, name: str = "P") -> None:
        self.manager.claim("dead_primary", name, recovery_id="urgent", request=PERSON)
        assert self.manager.state.recoveries["first"].end is EndState.FAILED

    def change_nothing(self) -> None:
        """What was more urgent ends: the primary was well after all."""
        urgent = self.manager.state.recoveries["urgent"]
        ended = urgent.ended(EndState.UNDONE, self.manager.now_ms, "it answers")
        assert self.manager.propose(FinishRecovery, recovery=ended).ok
        self.manager.bring_back()

    # -- across clusters

    def claim_across(self) -> Result:
        """R1 is to go below P2."""
        subject = Subject(key=self.key("R1"), code="Asked")
        recovery = Recovery(
            id="first", kind="operation", cluster_id=self.cluster("P1").id, subject=subject, request=PERSON,
            holder="node1", term=1, phase="look", started_ms=0, deadline_ms=10**9,
            other_clusters=(self.cluster("P2").id,),
        )  # fmt: skip
        return self.manager.propose(ClaimRecovery, recovery=recovery, block_ms=0)

    def move_across(self) -> None:
        """R1 goes below P2, and R2 stands still meanwhile."""
        assert self.claim_across().ok
        r1, r2, p2 = (self.key(name) for name in ("R1", "R2", "P2"))
        start = Act(verb=Verb.START, key=r2)
        stage = Stage(
            text="below P2", undo=(start,),
            acts=(Act(verb=Verb.POINT, key=r1, source=p2), Act(verb=Verb.STOP, key=r2), start),
        )  # fmt: skip
        begun = replace(
            self.manager.state.recoveries["first"], phase="act", plan=Plan(text="below P2", stages=(stage,)),
            moves=(Move(r1, p2), Move(r2, p2)),
        )  # fmt: skip
        assert self.manager.propose(RecordPhase, recovery=begun).ok


# -- what stands still


@pytest.mark.parametrize("name", ["R", "X"])
def test_a_replica_that_was_to_notice_sooner_is_brought_back(name: str) -> None:
    fleet = Fleet(TREE)
    fleet.interrupt("net_timeout", name)
    assert not fleet.world.fleet[name].receiver_on
    fleet.recover()
    assert fleet.cluster("P").left_behind == (fleet.key(name),)
    fleet.change_nothing()
    assert fleet.world.fleet[name].receiver_on
    assert fleet.cluster("P").left_behind == ()


def test_a_replica_that_acknowledges_nothing_does_not_begin_to_because_its_receiver_stood_still() -> None:
    fleet = Fleet(TREE)
    fleet.interrupt("net_timeout", "X")
    fleet.recover()
    assert fleet.key("X") not in fleet.cluster("P").ackers


@pytest.mark.parametrize("operation", ["stop-replica", "stop-replica-nice"])
def test_what_a_person_wanted_stopped_stays_stopped(operation: str) -> None:
    fleet = Fleet(TREE)
    fleet.interrupt("operation", "R", fleet.wish(operation, "R"))
    assert not fleet.world.fleet["R"].receiver_on
    fleet.recover()
    assert fleet.cluster("P").left_behind == ()
    assert fleet.key("R") in fleet.cluster("P").ackers, "it may have acknowledged before"
    fleet.change_nothing()
    assert not fleet.world.fleet["R"].receiver_on


@pytest.mark.parametrize(("operation", "target"), [("restart-replica", ""), ("relocate", "S")])
def test_what_was_only_stopped_on_the_way_runs_again(operation: str, target: str) -> None:
    fleet = Fleet(TREE)
    fleet.interrupt("operation", "R", fleet.wish(operation, "R", target))
    assert not fleet.world.fleet["R"].receiver_on
    fleet.recover()
    assert fleet.cluster("P").left_behind == (fleet.key("R"),)
    fleet.change_nothing()
    assert fleet.world.fleet["R"].receiver_on


def test_a_stop_that_was_being_put_back_is_put_back() -> None:
    fleet = Fleet(TREE)
    fleet.interrupt("operation", "R", fleet.wish("stop-replica", "R"))
    undoing = replace(fleet.manager.state.recoveries["first"], phase="undo")
    assert fleet.manager.propose(RecordPhase, recovery=undoing).ok
    fleet.recover()
    assert fleet.cluster("P").left_behind == (fleet.key("R"),)


def test_a_primary_is_no_acker_of_itself_and_not_left_behind() -> None:
    fleet = Fleet(TREE)
    fleet.world.change_line("P from=R")
    fleet.manager.look()
    primary = fleet.cluster("P").primary
    assert primary == fleet.key("P")
    fleet.interrupt("operation", "P", fleet.wish("restart-replica", "P"))
    assert fleet.key("P") in {move.key for move in fleet.manager.state.recoveries["first"].moves}
    fleet.recover()
    assert primary not in {*fleet.cluster("P").ackers, *fleet.cluster("P").left_behind}


# -- two clusters


def test_one_across_clusters_waits_for_a_pause_of_either() -> None:
    for name in ("P1", "P2"):
        fleet = Fleet(PAIRS)
        cluster_id = fleet.cluster(name).id
        assert fleet.manager.propose(PauseWrites, paused=True, cluster_id=cluster_id, reason="moving racks").ok
        assert "(moving racks)" in fleet.claim_across().reason
    assert Fleet(PAIRS).claim_across().ok


@pytest.mark.parametrize("failed", ["P1", "P2"])
def test_each_cluster_answers_for_its_own_servers(failed: str) -> None:
    fleet = Fleet(PAIRS)
    fleet.move_across()
    fleet.recover(failed)
    one, two = fleet.cluster("P1"), fleet.cluster("P2")
    assert (one.ackers, one.left_behind) == ((fleet.key("R1"),), (fleet.key("R1"),)), "R2 was never there"
    assert two.ackers == two.left_behind == (fleet.key("R1"), fleet.key("R2")), "R1 may have come there already"


def test_a_server_on_its_way_returns_to_where_it_is_a_member() -> None:
    fleet = Fleet(PAIRS)
    fleet.move_across()
    fleet.world.fleet["R1"].receiver_on = fleet.world.fleet["R2"].receiver_on = False
    fleet.recover("P2")
    fleet.change_nothing()
    assert [fleet.world.fleet[name].source for name in ("R1", "R2")] == [fleet.key("P1"), fleet.key("P2")]
    assert fleet.world.fleet["R1"].receiver_on and fleet.world.fleet["R2"].receiver_on
    assert fleet.cluster("P1").left_behind == fleet.cluster("P2").left_behind == ()
