"""Hooks hear of every end: the lists for a success where somebody was promoted, the other one where nobody was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator_raft.core.recovery.ending import TELL, TOLD
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.machine import GRACE_MS
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.steps import FireHook, Outcome
from tests.core.manager import DEADLINE_MS, Crash
from tests.recovery.harness import Run, Story, interruptions
from tests.recovery.stories import STORIES

LISTS = (
    "OnFailureDetectionProcesses", "PreGracefulTakeoverProcesses", "PreFailoverProcesses", TOLD,
    "PostMasterFailoverProcesses", "PostFailoverProcesses", "PostGracefulTakeoverProcesses",
)  # fmt: skip
CHANGES = tuple(story for story in STORIES if KINDS[story.kind].counts)


class Listened:
    """One playing of a story with every list configured; each time one was run is noted."""

    def __init__(self, story: Story) -> None:
        self.run: Run = replace(story, fleet=f"policy hooks={','.join(LISTS)}\n{story.fleet}").begin()
        self.ran: list[str] = []
        self._done = self.run.manager.hooks.after_step
        self.run.manager.hooks.after_step = self._after
        self.run.claim()

    def _after(self, outcome: Outcome) -> None:
        self._done(outcome)
        if isinstance(outcome.step, FireHook):
            self.ran.append(outcome.step.hook)

    def check(self, recovery: Recovery, times: range) -> None:
        before = [name for name in self.ran if name.startswith(("On", "Pre"))]
        if recovery.promoted:
            assert TOLD not in self.ran
            assert "PostFailoverProcesses" in self.ran
        elif before:
            assert self.ran.count(TOLD) in times, self.ran
            assert self.ran[-1] == TOLD, "something was told after the end"
        else:
            assert self.ran == []


def test_every_recovery_that_changes_the_primary_tells_of_its_failure() -> None:
    assert all(TELL in kind.phases for kind in KINDS.values() if kind.counts)


@pytest.mark.parametrize("story", CHANGES, ids=lambda story: story.name)
def test_the_hooks_of_a_failure_run_once_where_nobody_was_promoted(story: Story) -> None:
    listened = Listened(story)
    listened.check(listened.run.play(), range(1, 2))


@pytest.mark.parametrize("story", CHANGES, ids=lambda story: story.name)
def test_they_run_also_where_the_leader_dies(story: Story) -> None:
    """At least once: the leader that ran them may be gone before anybody knew."""
    for name, arm in list(interruptions(replace(story, fleet=f"policy hooks={','.join(LISTS)}\n{story.fleet}")))[::3]:
        listened = Listened(story)
        arm(listened.run)
        recovery = listened.run.play()
        try:
            listened.check(recovery, range(1, 3))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}\n" + "\n".join(listened.run.said)) from error


@pytest.mark.parametrize("story", CHANGES, ids=lambda story: story.name)
def test_they_run_also_where_it_ran_out_of_time_for_good(story: Story) -> None:
    listened = Listened(story)
    manager = listened.run.manager
    for _ in range(4):
        recovery = manager.state.recoveries["r1"]
        if recovery.is_active:
            manager.now_ms += DEADLINE_MS + GRACE_MS
            manager._goes_on(recovery)
    recovery = manager.state.recoveries["r1"]
    assert recovery.end is EndState.ABANDONED
    assert listened.ran == [TOLD]


def test_a_leader_that_dies_while_they_run_is_followed_by_one_that_runs_them_again() -> None:
    listened = Listened(next(story for story in CHANGES if story.name == "dead primary, an acker is missing"))
    done = listened.run.manager.hooks.after_step

    def dies_once(outcome: Outcome) -> None:
        done(outcome)
        if isinstance(outcome.step, FireHook) and listened.ran.count(TOLD) == 1:
            raise Crash

    listened.run.manager.hooks.after_step = dies_once
    recovery = listened.run.play()
    assert recovery.end is EndState.FAILED
    assert listened.ran.count(TOLD) == 2
    assert recovery.id == "r1"
