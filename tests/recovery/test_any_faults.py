"""Several things go wrong in one recovery, in any order: the invariants of the harness hold all the same.

``FAULT_EXAMPLES=20000`` looks for longer.
"""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_raft.core.recovery.steps import Step
from tests.core.manager import Crash
from tests.recovery.harness import Run, Story
from tests.recovery.stories import STORIES

NAMES = ("P", "R1", "R2", "R3")
FAULTS = ("leader dies", *(f"{name} {what}" for name in NAMES for what in ("dies", "is cut off", "is back")))


def strike(run: Run, fault: str) -> None:
    """Let it happen. A server that comes back from death is read-only, as every server of a managed fleet starts."""
    run.said.append(f"-- {fault}")
    if fault == "leader dies":
        raise Crash
    name, _, what = fault.partition(" ")
    server = run.fleet[name]
    if what == "is cut off":
        server.reachable = False
        run.died.add(name)
    elif what == "dies" and server.alive:
        run.fleet.crash(name)
        run.died.add(name)
    elif what == "is back":
        if not server.alive:
            run.fleet.start(name)
        server.reachable = True


def arm(run: Run, faults: list[tuple[int, str]]) -> None:
    before = run.manager.hooks.before_step
    left = sorted(faults)
    count = [0]

    def step(next_step: Step) -> None:
        count[0] += 1
        while left and left[0][0] <= count[0]:
            strike(run, left.pop(0)[1])
        before(next_step)

    run.manager.hooks.before_step = step


def everybody_returns(run: Run) -> None:
    for server in run.fleet.by_key.values():
        if not server.alive:
            run.fleet.start(server.name)
        server.reachable = True


@settings(max_examples=int(os.environ.get("FAULT_EXAMPLES", "150")), deadline=None)
@given(
    story=st.sampled_from(STORIES),
    faults=st.lists(st.tuples(st.integers(1, 40), st.sampled_from(FAULTS)), max_size=5),
)
def test_no_faults_in_any_order_break_a_promise(story: Story, faults: list[tuple[int, str]]) -> None:
    run = story.begin()
    run.claim()
    arm(run, faults)
    try:
        recovery = run.play()
        run.settle()
        everybody_returns(run)
        run.settle()
        run.check(recovery)
    except AssertionError as error:
        raise AssertionError(f"{error}\n" + "\n".join(run.said)) from error
