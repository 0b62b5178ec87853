"""Every recovery, interrupted after every step, is carried on by the next leader to a sound end."""

from __future__ import annotations

import pytest

from tests.recovery.harness import Story, interruptions
from tests.recovery.stories import STORIES


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_recovery_interrupted_anywhere_is_carried_on_to_a_sound_end(story: Story) -> None:
    for name, arm in interruptions(story):
        run = story.begin()
        run.claim()
        arm(run)
        try:
            recovery = run.play()
            run.settle()
            run.check(recovery)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}\n" + "\n".join(run.said)) from error
