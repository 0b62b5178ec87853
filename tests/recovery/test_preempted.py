"""A primary that dies while a server is taken back: the return gives way, and nothing acknowledged is lost.

The dangerous one is the server that was just being attached: it may acknowledge commits of the primary, alone, and it
is none of the replicas that were recorded when the return began.
"""

from __future__ import annotations

import pytest

from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.steps import Outcome, Step
from tests.core.manager import Crash
from tests.recovery.harness import Run, Story
from tests.recovery.stories import PERSON, star

MOMENTS_MAX = 30


def interrupted_return(moments: int) -> tuple[Run, bool]:
    """R1 was promoted, P is being taken back, and after so many moments there is an end to it."""
    run = Story("a return", star(), change=("P dead",)).begin()
    run.claim()
    run.play()
    run.world.change_line("P back")
    run.manager.look()
    run.manager.guard()
    run.manager.claim("rejoin", "P", recovery_id="back")
    left = [moments]

    def before(_what: Step | Outcome | Recovery) -> None:
        if left[0] == 0:
            raise Crash
        left[0] -= 1
        run.between()

    run.manager.hooks.before_step = before
    run.manager.hooks.after_step = before
    run.manager.hooks.before_record = before
    try:
        run.manager.run("back")
    except Crash:
        return run, True
    finally:
        run.disarm()
        run.manager.hooks.before_step = lambda _step: run.between()
        run.manager.hooks.after_step = lambda _outcome: run.between()
    return run, False


@pytest.mark.parametrize("fate", ["dead", "cut"])
@pytest.mark.parametrize("alone", [True, False])
def test_it_gives_way_at_any_point_and_nothing_acknowledged_is_lost(fate: str, alone: bool) -> None:
    """``alone``: the other replicas do not receive the primary's last transaction."""
    interrupted = 0
    for moments in range(MOMENTS_MAX):
        run, is_interrupted = interrupted_return(moments)
        if not is_interrupted:
            break
        interrupted += 1
        (cluster,) = run.manager.state.clusters.values()
        assert cluster.primary is not None
        primary = run.fleet.by_key[cluster.primary]
        others = [each for each in run.fleet.by_key.values() if each.name != "P" and each.source == primary.key]
        for each in others:
            each.receiver_on = not alone
        run.between()
        run.world.change_line(f"{primary.name} {fate}")
        run.died.add(primary.name)
        for each in others:
            each.receiver_on = True
        run.manager.look([primary.key, *(each.key for each in others)])  # nobody has seen what became of P
        run.successors.clear()
        run.manager.claim("dead_primary", primary.name, recovery_id="r2", request=PERSON)
        assert run.manager.state.recoveries["back"].end is EndState.FAILED
        ended = run.manager.run("r2")
        assert ended.end is EndState.SUCCEEDED, (moments, ended.errors, ended.timeline)
        run.settle()
        run.check(ended)
    assert interrupted >= 10
