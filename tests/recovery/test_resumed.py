"""A new leader that goes on with a recovery: what nobody did is not recorded, and lost time is held against nobody."""

from __future__ import annotations

import pytest

from orchestrator_raft.core.recovery.model import PHASE, RESUMED, RESUMES_MAX, TIMELINE_MAX, EndState, Recovery
from orchestrator_raft.core.recovery.steps import Outcome, SetWritable, Step, StopReceiver
from tests.core.manager import Crash
from tests.recovery.harness import Run, Story
from tests.recovery.stories import PERSON, star

DEAD = Story("dead primary", star(), change=("P dead",))
LIVING = Story("living primary declared dead", star(), request=PERSON)


def marks(recovery: Recovery) -> list[str]:
    return [mark.name for mark in recovery.timeline]


def crashes_before(run: Run, kind: type[Step]) -> None:
    before = run.manager.hooks.before_step

    def step(next_step: Step) -> None:
        before(next_step)
        if isinstance(next_step, kind) and run.manager.term == 1:
            raise Crash

    run.manager.hooks.before_step = step


def test_a_fence_that_did_not_happen_is_not_recorded() -> None:
    run = DEAD.begin()
    run.claim()
    run.manager.hooks.cut = lambda _steps: 0
    run.manager.seen = {}  # a leader that has seen nobody yet asks nobody for anything
    recovery = run.manager.state.recoveries["r1"]
    _, _, left = run.manager._turn(recovery.goto("freeze", run.manager.now_ms))
    assert "fenced" not in marks(left)
    assert not left.fenced
    assert left.is_active and left.phase == "freeze"


def test_a_primary_that_dies_while_it_is_fenced_is_not_recorded_as_fenced() -> None:
    run = LIVING.begin()
    run.claim()
    before = run.manager.hooks.before_step

    def dies(step: Step) -> None:
        run.fleet.crash("P")
        run.died.add("P")
        run.manager.hooks.before_step = before

    run.manager.hooks.before_step = dies
    recovery = run.play()
    assert recovery.end is EndState.SUCCEEDED
    assert "fenced" not in marks(recovery)
    assert not recovery.fenced


def test_a_primary_that_was_fenced_is_recorded_as_such() -> None:
    run = LIVING.begin()
    run.claim()
    recovery = run.play()
    assert recovery.fenced
    assert 1 == marks(recovery).count("fenced")


def test_the_recorded_successor_is_not_given_up_because_nobody_led_for_long() -> None:
    """Its applier drains for a moment more when the next leader asks: that is its first try, not a late one."""
    run = DEAD.begin()
    run.absence_ms = 60_000
    run.claim()
    crashes_before(run, SetWritable)
    failed: list[Step] = []

    def fails_once(step: Step) -> str | None:
        if isinstance(step, SetWritable) or run.manager.term == 1 or failed or "WaitApplied" not in str(step):
            return None
        failed.append(step)
        return "not done within 30 s"

    run.manager.hooks.instead = fails_once
    recovery = run.play()
    assert failed
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    assert "successor lost" not in marks(recovery)
    assert [recovery.successor] == run.successors


def test_a_recovery_that_kills_its_leaders_gets_its_time_anew_only_so_often() -> None:
    run = DEAD.begin()
    run.claim()
    recovery = run.manager.state.recoveries["r1"]
    for number in range(RESUMES_MAX + 3):
        recovery = recovery.resumed("n2", number + 2, 1_000 * number)
    last = 1_000 * (RESUMES_MAX - 1)
    assert (recovery.phase_started_ms, recovery.resumed_ms) == (last, last)
    assert RESUMES_MAX + 3 == recovery.count_marks(RESUMED)


def test_a_full_timeline_keeps_the_first_and_the_last_of_everything() -> None:
    run = DEAD.begin()
    run.claim()
    recovery = run.manager.state.recoveries["r1"].marked("chosen", 1, "R1")
    for number in range(3 * TIMELINE_MAX):
        recovery = recovery.marked("waiting", 10 + number)
    recovery = recovery.marked("promoted", 9_000).marked("waiting", 9_001)
    assert len(recovery.timeline) == TIMELINE_MAX
    assert recovery.mark_time("chosen") == 1
    assert recovery.mark_time("waiting") == 10
    assert marks(recovery)[-2:] == ["promoted", "waiting"]
    assert recovery.count_marks("waiting") > RESUMES_MAX


def test_every_phase_is_on_the_timeline_also_one_without_steps() -> None:
    run = DEAD.begin()
    run.claim()
    recovery = run.play()
    phases = [mark.text for mark in recovery.timeline if mark.name == PHASE]
    assert phases == ["freeze", "promote", "repoint", "close"]


def test_a_wait_of_an_undo_begins_anew_with_a_new_leader() -> None:
    """The successor of a takeover is gone; those that may have its commits answer again under the third leader."""
    run = Story("takeover", star(), kind="takeover", request=PERSON).begin()
    run.absence_ms = 60_000
    run.claim()
    manager, fleet = run.manager, run.fleet

    def first_leader(outcome: Outcome) -> None:
        run._done(outcome)
        if isinstance(outcome.step, SetWritable):
            for name in ("R1", "R2", "R3"):
                fleet[name].reachable = False
            run.died.update(("R1", "R2", "R3"))
            manager.hooks.after_step = run._done
            raise Crash

    def second_leader(step: Step) -> None:
        run.between()
        if manager.state.recoveries["r1"].phase == "revoke" and manager.term == 2:
            raise Crash

    def third_leader(recovery: Recovery) -> None:
        run._recorded(recovery)
        if manager.term == 3:
            fleet["R2"].reachable = fleet["R3"].reachable = True

    manager.hooks.after_step, manager.hooks.before_step = first_leader, second_leader
    while (recovery := manager.state.recoveries["r1"]).is_active:
        try:
            manager.run()
        except Crash:
            manager.now_ms += run.absence_ms
            manager.take_over()
            manager.hooks.before_record = third_leader
    assert manager.term == 3
    assert recovery.end is EndState.UNDONE, recovery.errors


def returns(run: Run) -> None:
    run.fleet.start("P")
    run.fleet["P"].read_only = False
    run.died.add("P")


@pytest.mark.parametrize("hooks", ["", "policy hooks=PreFailoverProcesses\n"], ids=["no hooks", "hooks"])
def test_a_claim_that_is_committed_late_is_not_carried_out_on_a_primary_that_is_back(hooks: str) -> None:
    """The next leader has seen it dead as well; it looks again all the same."""
    run = Story("dead primary", star(policy=hooks), change=("P dead",)).begin()
    run.claim()
    run.manager.take_over()
    returns(run)
    recovery = run.play()
    assert recovery.end is EndState.CAME_BACK, recovery.errors
    run.settle()
    run.check(recovery)
    assert run.fleet["P"].is_open


def test_a_claim_that_its_own_leader_could_commit_only_late_is_not_carried_out_either() -> None:
    run = DEAD.begin()
    run.claim()
    run.manager.now_ms += 5_000
    returns(run)
    assert run.play().end is EndState.CAME_BACK


def test_what_a_leader_had_begun_when_the_primary_came_back_is_put_back() -> None:
    run = DEAD.begin()
    run.claim()
    before = run.manager.hooks.before_step

    def dies(step: Step) -> None:
        before(step)
        if isinstance(step, StopReceiver) and step.key == run.fleet["R3"].key and run.manager.term == 1:
            returns(run)
            raise Crash

    run.manager.hooks.before_step = dies
    recovery = run.play()
    assert recovery.end is EndState.FAILED, recovery.errors
    assert "is put back" in recovery.timeline[-1].text
    run.settle()
    run.check(recovery)
    assert run.fleet["P"].is_open


def test_a_freeze_of_which_nothing_was_done_yet_begins_with_another_look() -> None:
    run = Story("dead primary", star(policy="policy hooks=PreFailoverProcesses\n"), change=("P dead",)).begin()
    run.claim()

    def before_freeze(recovery: Recovery) -> None:
        run._recorded(recovery)
        if recovery.phase == "freeze" and run.manager.term == 1:
            armed.append(recovery.phase)

    def dies(step: Step) -> None:
        run.between()
        if armed and run.manager.term == 1:
            returns(run)
            raise Crash

    armed: list[str] = []
    run.manager.hooks.before_record, run.manager.hooks.before_step = before_freeze, dies
    recovery = run.play()
    assert recovery.end is EndState.CAME_BACK, recovery.errors
    assert run.fleet["P"].is_open


def test_a_person_who_wants_a_living_primary_replaced_is_not_asked_again() -> None:
    run = LIVING.begin()
    run.claim()
    run.manager.take_over()
    recovery = run.play()
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
