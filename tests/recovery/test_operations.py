"""Operations that people ask for: whatever happens meanwhile, each server ends where it was or where it was wanted.

The attacks are those on recoveries: the leader dies at every point, every server dies at every step, several faults in
any order, and a primary that dies goes before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_raft.core.instance import parse_key
from orchestrator_raft.core.moves.model import Wish
from orchestrator_raft.core.recovery.model import EndState, Recovery, Request
from orchestrator_raft.core.recovery.steps import PointTo, Step
from tests.core.manager import Crash, Refused
from tests.recovery.harness import Run, Story, interruptions
from tests.recovery.stories import PERSON
from tests.recovery.test_any_faults import everybody_returns, strike
from tests.recovery.test_deaths import count_steps, dies, happens

TREE = """
P 10.0.0.1:3306 semi-sync=1 {p}
  + I 10.0.0.2:3306 {i}
    + X 10.0.0.3:3306 {x}
    + Y 10.0.0.4:3306 {y}
  + S 10.0.0.5:3306 {s}
  + T 10.0.0.6:3306 {t}
"""
PLACES = {"P": 1, "I": 2, "X": 3, "Y": 4, "S": 5, "T": 6}
NAMES = tuple(PLACES)
MARIADB = dict.fromkeys("pixyst", "mariadb")


def tree(**options: str) -> str:
    """Options of the servers by their names in small letters."""
    return TREE.format(**{**dict.fromkeys("pixyst", ""), **options})


@dataclass(frozen=True)
class Wished(Story):
    """An operation; ``moving`` are the servers that it may leave below another source than before."""

    moving: str = ""


def wished(name: str, moving: str, fleet: str, asked: str, *change: str) -> Wished:
    operation, on, *more = asked.split()
    target = more[0] if more else ""
    address = {each: parse_key(f"10.0.0.{number}:3306") for each, number in PLACES.items()}
    wish = Wish(operation=operation, server=address[on], target=address[target] if target else None)
    request = Request(by="anna", forced=True, command=operation, wish=wish)
    return Wished(name, fleet, kind="operation", on=on, change=change, request=request, moving=moving)


STORIES = (
    wished("relocate", "X", tree(), "relocate X S"),
    wished("relocate, MariaDB", "X", tree(**MARIADB), "relocate X S"),
    wished("relocate an acker", "S", tree(), "relocate S T"),
    wished("relocate a stopped replica", "X", tree(), "relocate X S", "X io=stopped sql=stopped"),
    wished("relocate replicas", "XY", tree(), "relocate-replicas I T"),
    wished("relocate replicas, MariaDB", "XY", tree(**MARIADB), "relocate-replicas I T"),
    wished("one by one", "XY", "policy replica_operations_max=1\n" + tree(), "relocate-replicas I T"),
    wished("take siblings", "Y", tree(), "take-siblings X"),
    wished("repoint", "X", tree(), "repoint X S"),
    wished("connect anew", "XY", tree(), "repoint-replicas I"),
    wished("regroup", "Y", tree(), "regroup-replicas I"),
    wished("take master", "XI", tree(), "take-master X"),
    wished("take master, MariaDB", "XI", tree(**MARIADB), "take-master X"),
    wished("make local master", "XY", tree(), "make-local-master X"),
)
BY_PLACE = (
    wished("move up by place", "X", tree(x="nogtid lag=0", i="lag=0"), "move-up X"),
    wished("move below by place", "X", tree(x="nogtid lag=0", y="lag=0"), "move-below X Y"),
)
"""No primary dies in these: a replica without GTIDs is not taken along by a failover."""
ALL = (*STORIES, *BY_PLACE)  # fmt: skip


@dataclass(frozen=True)
class Spoiled(Wished):
    """Nobody can be attached to the wanted source."""

    def begin(self) -> Run:
        run = super().begin()
        wanted = self.request.designated

        def fails(step: Step) -> str | None:
            return "access denied" if isinstance(step, PointTo) and step.source == wanted else None

        run.manager.hooks.instead = fails
        return run


SPOILED_MOVE = Spoiled(
    "spoiled", tree(), kind="operation", on="X", moving="X",
    request=replace(STORIES[0].request, designated=parse_key("10.0.0.5:3306")),
)  # fmt: skip


def check(run: Run, recovery: Recovery) -> None:
    """A named end, nobody's role changed, nothing lost, everybody below the old or the wanted source and running."""
    fleet, story = run.fleet, run.story
    assert isinstance(story, Wished)
    assert recovery.end in (EndState.SUCCEEDED, EndState.FAILED, EndState.UNDONE), recovery.end
    assert fleet.open_names in (("P",), ()), "somebody else takes writes"
    before = story.begin().fleet
    stopped = "X" if "stopped" in story.name else ""
    for name in NAMES:
        server = fleet[name]
        wanted = {move.source for move in recovery.moves if move.key == server.key}
        assert server.source in {before[name].source, *(wanted if name in story.moving else ())}, f"{name} was lost"
        is_touched = name in run.died or not server.alive or not server.reachable
        if server.source is not None and name != stopped and not is_touched:
            assert server.receiver_on and server.applier_on, f"{name} was left stopped"
        assert server.applier_error == "", f"{name}: {server.applier_error}"
        if server.key in recovery.moved:
            assert server.source in wanted, f"{name} is not where the record says"
    fleet.flow()
    if fleet["P"].alive:
        lost = fleet.acknowledged.minus(fleet["P"].has)
        assert not lost, f"acknowledged and lost: {lost}"


def play(story: Story, arm: Callable[[Run], None], name: str) -> Recovery:
    run = story.begin()
    run.claim()
    arm(run)
    try:
        recovery = run.play()
        run.disarm()
        run.manager.hooks.before_step = lambda _step: run.between()
        run.manager.look()
        check(run, recovery)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}\n" + "\n".join(run.said)) from error
    return recovery


@pytest.mark.parametrize("one", ALL, ids=lambda story: story.name)
def test_nothing_in_the_way_it_is_done(one: Wished) -> None:
    recovery = play(one, lambda _run: None, "undisturbed")
    assert recovery.end is EndState.SUCCEEDED
    assert len(recovery.moved) == len(one.moving)


@pytest.mark.parametrize("one", ALL, ids=lambda story: story.name)
def test_interrupted_anywhere_it_is_carried_on_to_its_end(one: Wished) -> None:
    for name, arm in interruptions(one):
        assert play(one, arm, name).end is EndState.SUCCEEDED, name


@pytest.mark.parametrize("with_leader", [False, True], ids=["alone", "with the leader"])
@pytest.mark.parametrize("victim", ["S", "T", "X", "I"])
@pytest.mark.parametrize("one", ALL, ids=lambda story: story.name)
def test_a_server_dies_at_any_step(one: Wished, victim: str, with_leader: bool) -> None:
    for number in range(count_steps(one)):
        play(one, happens(number, dies(victim), with_leader=with_leader), f"{victim} dies before step {number}")


@pytest.mark.parametrize("one", ALL, ids=lambda story: story.name)
def test_each_step_fails_for_good_and_what_was_done_is_put_back(one: Wished) -> None:
    for number in range(count_steps(one)):
        fails = _fails_for_good(number)
        recovery = play(one, fails, f"step {number} fails")
        assert recovery.lost == ()


def _fails_for_good(number: int) -> Callable[[Run], None]:
    """The step of this number, and all that are equal to it, fail; what puts it back is no such step."""

    def arm(run: Run) -> None:
        left, chosen = [number], list[Step]()

        def instead(step: Step) -> str | None:
            left[0] -= 1
            if left[0] == -1:
                chosen.append(step)
            is_undo = run.manager.state.recoveries["r1"].phase == "undo"
            return "it went wrong" if step in chosen and not is_undo else None

        run.manager.hooks.instead = instead

    return arm


@pytest.mark.parametrize("one", STORIES, ids=lambda story: story.name)
def test_it_gives_way_at_any_step_to_a_primary_that_dies(one: Wished) -> None:
    for number in range(count_steps(one)):
        run = one.begin()
        run.claim()
        happens(number, dies("P"), with_leader=True)(run)
        try:
            run.manager.run()
        except Crash:
            run.disarm()
        run.manager.hooks.before_step = lambda _step, run=run: run.between()
        run.manager.term += 1
        run.manager.look()
        run.manager.claim("dead_primary", "P", recovery_id="r2", request=PERSON)
        assert not run.manager.state.recoveries["r1"].is_active
        ended = run.manager.run("r2")
        try:
            assert ended.end is EndState.SUCCEEDED, ended.errors
            run.settle()
            run.fleet.flow()
            assert ended.successor is not None
            lost = run.fleet.acknowledged.minus(run.fleet.by_key[ended.successor].has)
            assert not lost, f"acknowledged and lost: {lost}"
            _nobody_is_left_stopped(run, one)
        except AssertionError as error:
            raise AssertionError(f"P dies before step {number}: {error}\n" + "\n".join(run.said)) from error


def _nobody_is_left_stopped(run: Run, one: Story) -> None:
    for name in NAMES:
        server = run.fleet[name]
        if server.alive and server.source is not None and not (name == "X" and "stopped" in one.name):
            assert server.receiver_on and server.applier_on, f"{name} was left stopped"


FAULTS = ("leader dies", *(f"{name} {what}" for name in "IXYST" for what in ("dies", "is cut off", "is back")))


@settings(max_examples=100, deadline=None)
@given(
    one=st.sampled_from(ALL),
    faults=st.lists(st.tuples(st.integers(1, 20), st.sampled_from(FAULTS)), max_size=5),
)
def test_no_faults_in_any_order_lose_a_server(one: Wished, faults: list[tuple[int, str]]) -> None:
    def arm(run: Run) -> None:
        before, left, count = run.manager.hooks.before_step, sorted(faults), [0]

        def step(next_step: Step) -> None:
            count[0] += 1
            while left and left[0][0] <= count[0]:
                strike(run, left.pop(0)[1])
            before(next_step)

        run.manager.hooks.before_step = step

    play(one, arm, str(faults))


@pytest.mark.parametrize("one", ALL, ids=lambda story: story.name)
def test_every_look_at_a_server_is_waited_for_since_the_next_stage_rests_on_it(one: Wished) -> None:
    def arm(run: Run) -> None:
        before = run.manager.hooks.before_step

        def step(next_step: Step) -> None:
            assert next_step.required, next_step
            before(next_step)

        run.manager.hooks.before_step = step

    play(one, arm, "undisturbed")


def test_two_operations_on_one_cluster_are_never_interleaved() -> None:
    run = STORIES[0].begin()
    run.claim()
    everybody_returns(run)
    with pytest.raises(Refused, match="is running"):
        run.manager.claim("operation", "Y", recovery_id="r2", request=STORIES[0].request)
