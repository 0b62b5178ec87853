"""Nobody led for so long that the deadline has passed: what was begun is put back or ended, never dropped."""

from __future__ import annotations

import pytest

from orchestrator_raft.core.recovery.machine import GRACE_MS, OUT_OF_TIME
from orchestrator_raft.core.recovery.model import EndState
from tests.core.manager import DEADLINE_MS
from tests.recovery.harness import Story, interruptions
from tests.recovery.stories import STORIES


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_recovery_found_late_retreats_or_goes_on_to_a_sound_end(story: Story) -> None:
    for name, arm in list(interruptions(story))[::3]:
        run = story.begin()
        run.claim()
        run.absence_ms = 2 * DEADLINE_MS
        arm(run)
        try:
            recovery = run.play()
            run.settle()
            run.check(recovery)
            assert recovery.end is not EndState.ABANDONED or recovery.mark_time(OUT_OF_TIME) is None
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}\n" + "\n".join(run.said)) from error


def test_a_recovery_that_is_late_twice_is_left_to_people() -> None:
    run = STORIES[0].begin()
    run.claim()
    run.manager.hooks.before_record = lambda recovery: run.said.append(recovery.phase)
    manager = run.manager
    for _ in range(3):
        manager.now_ms += DEADLINE_MS + GRACE_MS
        recovery = manager.state.recoveries["r1"]
        if recovery.is_active:
            manager._goes_on(recovery)
    assert EndState.ABANDONED is manager.state.recoveries["r1"].end
    assert {} == manager.state.stale
