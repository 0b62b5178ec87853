"""Servers die, or come back, at every point of a recovery, with the leading node or without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.recovery.steps import Step
from tests.core.manager import Crash
from tests.recovery.harness import Run, Story
from tests.recovery.stories import STORIES

EVENTS_MAX = 60
"""Steps at which something happens; repeated attempts are much alike."""


def happens(number: int, what: Callable[[Run], None], *, with_leader: bool) -> Callable[[Run], None]:
    """``what`` happens before step ``number``, and the leader dies with it where that is asked for."""

    def arm(run: Run) -> None:
        left, before = [number], run.manager.hooks.before_step

        def step(next_step: Step) -> None:
            left[0] -= 1
            if left[0] == -1:
                what(run)
                run.said.append("-- it happens")
                if with_leader:
                    raise Crash
            before(next_step)

        run.manager.hooks.before_step = step

    return arm


def dies(name: str) -> Callable[[Run], None]:
    def happen(run: Run) -> None:
        run.fleet.crash(name)
        run.died.add(name)

    return happen


def returns(name: str, *, open_to_writes: bool) -> Callable[[Run], None]:
    def happen(run: Run) -> None:
        server = run.fleet[name]
        if not server.alive or not server.reachable:
            if not server.alive:
                run.fleet.start(name)
                run.died.add(name)
                server.read_only = not open_to_writes
            server.reachable = True

    return happen


def count_steps(story: Story) -> int:
    run = story.begin()
    run.claim()
    run.play()
    return min(EVENTS_MAX, sum(1 for said in run.said if not said.startswith("->")))


def play(story: Story, arm: Callable[[Run], None], name: str) -> None:
    run = story.begin()
    run.claim()
    arm(run)
    try:
        recovery: Recovery = run.play()
        run.settle()
        run.check(recovery)
        for server in run.fleet.by_key.values():  # and when everybody is back at last
            if not server.alive or not server.reachable:
                returns(server.name, open_to_writes=False)(run)
        run.settle()
        run.check(recovery)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}\n" + "\n".join(run.said)) from error


@pytest.mark.parametrize("with_leader", [False, True], ids=["alone", "with the leader"])
@pytest.mark.parametrize("victim", ["P", "R1", "R2"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_server_dies_at_any_step(story: Story, victim: str, with_leader: bool) -> None:
    for number in range(count_steps(story)):
        play(story, happens(number, dies(victim), with_leader=with_leader), f"{victim} dies before step {number}")


@pytest.mark.parametrize("open_to_writes", [False, True], ids=["read-only", "writable"])
@pytest.mark.parametrize("story", [each for each in STORIES if each.change], ids=lambda story: story.name)
def test_the_old_primary_comes_back_at_any_step(story: Story, open_to_writes: bool) -> None:
    for number in range(count_steps(story)):
        what = returns("P", open_to_writes=open_to_writes)
        play(story, happens(number, what, with_leader=False), f"P returns before step {number}")
