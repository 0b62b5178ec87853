"""A fence that a restart takes away, and what a primary has not acknowledged yet."""

from __future__ import annotations

import pytest

from orchestrator_raft.core.recovery.model import EndState
from orchestrator_raft.core.recovery.rejoin import extra_transactions
from orchestrator_raft.core.recovery.steps import (
    Outcome,
    ResetReplication,
    SetWritable,
    Step,
    StopReplication,
    WaitApplied,
)
from tests.core.manager import Crash
from tests.recovery.harness import Run, Story
from tests.recovery.stories import PERSON, star

TAKEOVER = Story("takeover", star(), kind="takeover", request=PERSON)
WITHOUT_SEMI_SYNC = Story("takeover, no semi-sync", star(""), kind="takeover", request=PERSON, promise=False)


def restarts_open(run: Run) -> None:
    """The old primary dies while the successor catches up, and is back, writable, right before that is opened."""
    before = run.manager.hooks.before_step

    def step(next_step: Step) -> None:
        if run.manager.state.recoveries["r1"].phase == "settle" and run.fleet["P"].alive:
            run.fleet.crash("P")
            run.died.add("P")
        if isinstance(next_step, SetWritable) and not run.fleet["P"].alive:
            run.fleet.start("P")
            run.fleet["P"].read_only = False
        before(next_step)

    run.manager.hooks.before_step = step


def test_nobody_takes_over_from_a_primary_that_died_after_it_was_demoted() -> None:
    """Its replicas are still connected to whatever comes back in its place, and would acknowledge its writes."""
    run = TAKEOVER.begin()
    run.claim()
    restarts_open(run)
    recovery = run.play()
    assert recovery.end is EndState.FAILED
    assert not recovery.promoted
    assert "it is failed over" in recovery.errors[-1]
    run.manager.look()
    run.manager.claim("dead_primary", "P", recovery_id="r2")
    ended = run.manager.run("r2")
    assert ended.end is EndState.SUCCEEDED
    assert run.fleet["P"].key in ended.stale
    run.fleet.start("P")
    run.fleet["P"].read_only = False
    run.settle()
    run.check(ended)


def test_a_demoted_primary_that_only_we_do_not_reach_is_on_the_list_before_anybody_is_promoted() -> None:
    run = TAKEOVER.begin()
    run.claim()
    before = run.manager.hooks.before_step

    def cut_off(next_step: Step) -> None:
        if run.manager.state.recoveries["r1"].phase == "settle":
            run.fleet["P"].reachable = False
        before(next_step)

    run.manager.hooks.before_step = cut_off
    recovery = run.play()
    assert recovery.end is EndState.SUCCEEDED
    assert run.fleet["P"].key in recovery.stale
    run.fleet["P"].reachable = True
    run.settle()
    run.check(recovery)


def test_a_new_leader_lists_a_demoted_primary_that_is_gone_before_it_promotes() -> None:
    run = WITHOUT_SEMI_SYNC.begin()
    run.claim()
    before = run.manager.hooks.before_step

    def dies_with_the_leader(next_step: Step) -> None:
        if isinstance(next_step, SetWritable) and run.manager.term == 1:
            run.fleet.crash("P")
            run.died.add("P")
            raise Crash
        if isinstance(next_step, SetWritable):
            run.fleet.start("P")
            run.fleet["P"].read_only = False
        before(next_step)

    run.manager.hooks.before_step = dies_with_the_leader
    recovery = run.play()
    assert recovery.end is EndState.SUCCEEDED
    assert run.fleet["P"].key in recovery.stale
    run.settle()
    run.check(recovery)


def test_what_a_replica_got_from_the_primary_itself_is_nothing_of_its_own() -> None:
    """The primary shows a transaction as executed when it was acknowledged; its replica has it before."""
    run = Story("pending", star()).begin()
    fleet, manager = run.fleet, run.manager
    for name in ("R1", "R2", "R3"):
        fleet[name].acks = False
    assert fleet.write("P")
    manager.look()
    topology = manager.topology
    replica, primary = topology.server(fleet["R1"].key), topology.server(fleet["P"].key)
    assert replica.facts is not None and primary.facts is not None
    assert replica.facts.received is not None and primary.facts.executed is not None
    assert not primary.facts.executed.covers(replica.facts.received)
    assert extra_transactions(replica, primary) == ("", "")
    assert extra_transactions(primary, replica) == ("", "")


def test_what_a_server_wrote_itself_is_its_own() -> None:
    run = Story("errant", star()).begin()
    fleet, manager = run.fleet, run.manager
    fleet["R1"].read_only = False
    assert fleet.write("R1")
    manager.look()
    topology = manager.topology
    extra, _ = extra_transactions(topology.server(fleet["R1"].key), topology.server(fleet["P"].key))
    assert extra == f"{fleet['R1'].uuid}:1"


def test_an_old_primary_waits_for_nobody_when_it_is_a_replica() -> None:
    """Also where its new primary has no semi-sync: an applier that waits for acknowledgements never ends."""
    run = Story("dead primary", star(), change=("P dead",)).begin()
    run.claim()
    run.play()
    successor = run.fleet.by_key[run.successors[-1]]
    successor.source_semi_sync = False
    run.fleet.start("P")
    assert run.fleet["P"].source_semi_sync
    run.settle()
    assert run.fleet["P"].source == successor.key
    assert not run.fleet["P"].source_semi_sync


def reopened(run: Run, kind: type[Step], *, closed: bool = False, gone: bool = False) -> None:
    """The leader dies when it has done this step; the old primary restarts writable, and clients write there.

    Its replicas are still connected, so they are told that it is safe. Then it may be closed, or gone, again.
    """
    after = run.manager.hooks.after_step

    def done(outcome: Outcome) -> None:
        after(outcome)
        promotes = run.manager.state.recoveries["r1"].phase == "promote"
        if promotes and isinstance(outcome.step, kind) and outcome.key == run.successors[0]:
            run.manager.hooks.after_step = after
            run.fleet.crash("P")
            run.died.add("P")
            run.fleet.start("P")
            run.fleet["P"].read_only = False
            assert run.fleet.write("P")
            assert not run.fleet["P"].pending
            run.fleet["P"].read_only = closed
            if gone:
                run.fleet.crash("P")
            raise Crash

    run.manager.hooks.after_step = done


@pytest.mark.parametrize("closed", [False, True], ids=["writable", "read-only by now"])
@pytest.mark.parametrize("kind", [StopReplication, ResetReplication], ids=lambda kind: kind.__name__)
def test_an_old_primary_that_took_writes_again_stays_the_primary(kind: type[Step], closed: bool) -> None:
    run = TAKEOVER.begin()
    run.claim()
    reopened(run, kind, closed=closed)
    recovery = run.play()
    assert recovery.end is EndState.UNDONE, recovery.errors
    assert "took writes again" in recovery.timeline[-1].text
    run.settle()
    run.check(recovery)
    assert run.fleet["P"].is_open


def test_a_successor_that_has_those_writes_as_well_goes_on() -> None:
    run = TAKEOVER.begin()
    run.claim()
    reopened(run, WaitApplied)
    recovery = run.play()
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    assert recovery.stale == ()
    run.settle()
    run.check(recovery)


def test_a_demoted_primary_that_restarted_and_wrote_nothing_is_closed_again_and_replaced() -> None:
    run = WITHOUT_SEMI_SYNC.begin()
    run.claim()

    def opens(next_step: Step) -> None:
        if isinstance(next_step, StopReplication) and run.manager.term == 1:
            run.fleet["P"].read_only = False
            raise Crash

    run.manager.hooks.before_step = opens
    run.manager.hooks.after_step = lambda _outcome: None  # nobody writes
    recovery = run.play()
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    assert recovery.stale == ()
    assert run.fleet["P"].read_only
    run.settle()
    run.check(recovery)


def test_a_successor_that_lacks_what_a_lost_primary_had_acknowledged_is_not_opened() -> None:
    """It was stopped when the old primary took a write; the other replicas have it."""
    run = TAKEOVER.begin()
    run.claim()
    reopened(run, StopReplication, gone=True)
    recovery = run.play()
    assert recovery.end is EndState.FAILED, recovery.errors
    assert not recovery.promoted
    assert "which it lacks" in recovery.timeline[-1].text
    run.successors.clear()
    run.manager.look()
    run.manager.claim("dead_primary", "P", recovery_id="r2")
    ended = run.manager.run("r2")
    assert ended.end is EndState.SUCCEEDED
    run.settle()
    run.check(ended)


def test_a_successor_that_has_all_that_a_lost_primary_had_acknowledged_is_opened() -> None:
    run = TAKEOVER.begin()
    run.claim()
    before = run.manager.hooks.before_step

    def dies(next_step: Step) -> None:
        before(next_step)
        if isinstance(next_step, StopReplication) and run.manager.term == 1:
            run.fleet["P"].read_only = False
            assert run.fleet.write("P")
            run.fleet.crash("P")
            run.died.add("P")
            raise Crash

    run.manager.hooks.before_step = dies
    recovery = run.play()
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    assert run.fleet["P"].key in recovery.stale
    run.settle()
    run.check(recovery)


def test_nobody_takes_over_from_a_lost_primary_whose_possible_acker_does_not_answer() -> None:
    run = TAKEOVER.begin()
    run.claim()

    def dies(next_step: Step) -> None:
        run.between()
        if isinstance(next_step, StopReplication) and run.manager.term == 1:
            run.fleet.crash("P")
            run.fleet["R3"].reachable = False
            run.died.update(("P", "R3"))
            raise Crash

    run.manager.hooks.before_step = dies
    recovery = run.play()
    assert recovery.end is EndState.FAILED, recovery.errors
    assert not recovery.promoted
    assert f"{run.fleet['R3'].key} may have acknowledged" in recovery.timeline[-1].text
