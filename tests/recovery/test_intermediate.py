"""Replicas of a dead intermediate primary: whatever happens meanwhile, none loses anything and none is left stopped.

The same attacks as on a change of primary: the leader dies at every point, every server dies at every step, several
faults in any order, and the primary dies too, which goes before.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_raft.core.analysis import analyze
from orchestrator_raft.core.instance import ThreadState
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.steps import Step
from tests.core.manager import Refused
from tests.recovery.harness import Run, Story, interruptions
from tests.recovery.test_any_faults import everybody_returns, strike
from tests.recovery.test_deaths import count_steps, dies, happens

TREE = """
P 10.0.0.1:3306 semi-sync=1
  + I 10.0.0.2:3306 {i}
    + X 10.0.0.3:3306 {x}
    + Y 10.0.0.4:3306 {y}
  + S 10.0.0.5:3306 {s}
  + T 10.0.0.6:3306 {t}
"""
FAILING = 'X,Y io=connecting error="error connecting to source"'


def tree(i: str = "", x: str = "", y: str = "", s: str = "", t: str = "") -> str:
    return TREE.format(i=i, x=x, y=y, s=s, t=t)


def story(name: str, fleet: str, *change: str) -> Story:
    return Story(name, fleet, kind="dead_intermediate", on="I", change=change or ("I dead",))


STORIES = (
    story("siblings", tree()),
    story("in another place", tree(i="dc=east", s="dc=west", t="dc=west")),
    story("no sibling is fit", tree(x="acks", y="acks", s="nolog", t="delay=60")),
    story("one holds more than anybody", tree(), "X has=P:1-100,X:1-3", "I dead"),
    story("one is cut off", tree(), "X cut", "I dead"),
    story("one is stopped", tree(), "Y io=stopped sql=stopped", "I dead"),
    story("not reached by its replicas", tree(), FAILING),
)


def check(run: Run, recovery: Recovery) -> None:
    """It ended; nobody's role has changed; nobody's transactions are gone; nobody is left stopped by us."""
    fleet, state = run.fleet, run.manager.state
    assert recovery.end in (EndState.SUCCEEDED, EndState.FAILED, EndState.UNDONE)
    (cluster,) = state.clusters.values()
    assert cluster.primary == fleet["P"].key
    assert fleet.open_names in (("P",), ()), "somebody else takes writes"
    fleet.flow()
    if fleet["P"].alive:
        lost = fleet.acknowledged.minus(fleet["P"].has)
        assert not lost, f"acknowledged and lost: {lost}"
    for name in ("X", "Y"):
        server = fleet[name]
        is_ours = name not in run.died and not (name == "Y" and run.story.name == "one is stopped")
        if is_ours and server.alive and server.reachable:
            assert server.receiver_on or server.receiver_state is ThreadState.CONNECTING, f"{name} was left stopped"
            assert server.applier_on, f"the applier of {name} was left stopped"
        if server.key in recovery.moved:
            assert server.source != fleet["I"].key


def repaired(run: Run) -> None:
    """Afterwards the analysis asks again for as long as it finds something that can be moved, as the engine does."""
    for number in range(10):
        run.manager.look()
        found = [each for each in analyze(run.manager.topology, run.manager.policy) if each.problem is not None]
        keys = {each.situation.key for each in found if each.problem and each.problem.rule.recovery == run.story.kind}
        names = [name for name, server in run.fleet.by_name.items() if server.key in keys]
        if not names:
            return
        recovery_id = f"again-{number}"
        try:
            run.manager.claim(run.story.kind, names[0], recovery_id=recovery_id)
        except Refused:
            return
        if not run.manager.run(recovery_id).moved:
            return


def play(story: Story, arm: Callable[[Run], None], name: str) -> None:
    run = story.begin()
    run.claim()
    arm(run)
    try:
        recovery = run.play()
        run.disarm()
        run.manager.hooks.before_step = lambda _step: run.between()
        check(run, recovery)
        everybody_returns(run)
        run.manager.look()
        run.world.change("P", ["rw"])
        repaired(run)
        check(run, recovery)
        follows_somebody_alive(run)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}\n" + "\n".join(run.said)) from error


def follows_somebody_alive(run: Run) -> None:
    """Everybody is back, so everybody replicates and has what the primary has, unless it has more."""
    run.between()
    run.fleet.flow()
    for name in ("I", "X", "Y", "S", "T"):
        server = run.fleet[name]
        if server.receiver_on and server.receiver_state is None:
            assert server.has.covers(run.fleet["P"].executed.minus(run.fleet["P"].pending)), f"{name} lags behind"


@pytest.mark.parametrize("one", STORIES, ids=lambda story: story.name)
def test_interrupted_anywhere_it_is_carried_on_to_a_sound_end(one: Story) -> None:
    for name, arm in interruptions(one):
        play(one, arm, name)


@pytest.mark.parametrize("with_leader", [False, True], ids=["alone", "with the leader"])
@pytest.mark.parametrize("victim", ["S", "T", "X", "P"])
@pytest.mark.parametrize("one", STORIES, ids=lambda story: story.name)
def test_a_server_dies_at_any_step(one: Story, victim: str, with_leader: bool) -> None:
    for number in range(count_steps(one)):
        play(one, happens(number, dies(victim), with_leader=with_leader), f"{victim} dies before step {number}")


FAULTS = ("leader dies", *(f"{name} {what}" for name in "PIXYST" for what in ("dies", "is cut off", "is back")))


@settings(max_examples=150, deadline=None)
@given(
    one=st.sampled_from(STORIES),
    faults=st.lists(st.tuples(st.integers(1, 30), st.sampled_from(FAULTS)), max_size=5),
)
def test_no_faults_in_any_order_lose_anything(one: Story, faults: list[tuple[int, str]]) -> None:
    def arm(run: Run) -> None:
        before, left, count = run.manager.hooks.before_step, sorted(faults), [0]

        def step(next_step: Step) -> None:
            count[0] += 1
            while left and left[0][0] <= count[0]:
                strike(run, left.pop(0)[1])
            before(next_step)

        run.manager.hooks.before_step = step

    play(one, arm, str(faults))
