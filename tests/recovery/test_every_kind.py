"""Every kind of recovery there is, with its leader killed before each step: a new kind cannot be forgotten here.

What has to hold for each kind at the end is checked in files of its own; this one holds the table: each kind has
stories, each phase of it is played and interrupted, and whatever happens, it ends in a named state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count

import pytest

from orchestrator_raft.core.instance import parse_key
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.steps import Outcomes, SetWritable, Step
from tests.core.manager import Crash
from tests.recovery.harness import Run, Story
from tests.recovery.stories import PERSON, STORIES, star
from tests.recovery.test_intermediate import STORIES as INTERMEDIATE
from tests.recovery.test_operations import SPOILED_MOVE
from tests.recovery.test_operations import STORIES as OPERATIONS

HOOKS = (
    "policy hooks=OnFailureDetectionProcesses,PreGracefulTakeoverProcesses,PreFailoverProcesses,"
    "PostUnsuccessfulFailoverProcesses\n"
)


@dataclass(frozen=True)
class Return(Story):
    """R1 was promoted; P is back and belongs below it."""

    back: tuple[str, ...] = ("P back",)

    def begin(self) -> Run:
        run = super().begin()
        run.manager.claim("dead_primary", "P", recovery_id="first")
        run.manager.run("first")
        for line in self.back:
            run.world.change_line(line)
        run.manager.look()
        return run


@dataclass(frozen=True)
class Spoiled(Story):
    """No replica can be opened for writes: what was begun has to be taken back."""

    def begin(self) -> Run:
        run = super().begin()
        old = run.fleet["P"].key

        def fails(step: Step) -> str | None:
            return "disk full" if isinstance(step, SetWritable) and step.key != old else None

        run.manager.hooks.instead = fails
        return run


RETURNS = (
    Return("an old primary is back", star(), kind="rejoin", change=("P dead",)),
    Return(
        "it holds more",
        "policy hooks=PostQuarantineProcesses\n" + star(),
        kind="rejoin",
        change=("P dead",),
        back=("P has=P:1-200", "P back"),
    ),
)
REBUILD = Return(
    "it holds more, and is rebuilt", star(), kind="rebuild", change=("P dead",),
    back=("P has=P:1-200", "P back", "P stale=quarantined"),
    request=replace(PERSON, designated=parse_key("10.0.0.3:3306"), accept_loss=True),
)  # fmt: skip
OLD = "nogtid no-gtid-sets gtid-mode=OFF"
MORE = (
    Story("dead primary, no GTIDs", star(OLD, OLD, OLD, OLD), change=("P dead",), promise=False),
    Story("hooks, dead primary", HOOKS + star(), change=("P dead",)),
    Story("hooks, an acker is missing", HOOKS + star(), change=("R2 cut", "P dead")),
    Story("the newest data must be fetched", star(r1="rule=must_not"), change=("R2,R3 has=P:1-100", "P dead")),
    Story("hooks, takeover", HOOKS + star(), kind="takeover", request=PERSON),
    Spoiled("hooks, takeover is spoiled", HOOKS + star(), kind="takeover", request=PERSON),
    Spoiled("failover of a living primary is spoiled", HOOKS + star(), request=PERSON),
)
REPAIRS = (
    Story("a second writer", star(""), kind="fence_writer", on="R1", change=("R1 rw",)),
    Story("a replica takes writes", star(""), kind="upkeep", on="R1", change=("R1 rw",)),
    Story("the primary is read-only", star(""), kind="open_primary", change=("P ro",)),
    Story(
        "semi-sync on the wrong replica", star(r1="priority=1 noack", policy="policy exact_semi_sync=yes\n"),
        kind="semi_sync",
    ),
    Story("hooks, somebody else writes", HOOKS + star(""), kind="open_primary", change=("P ro", "R1 rw")),
    Story("hooks, the role is open", HOOKS + star(""), kind="fence_writer", on="R1", change=("P ro", "R1 rw")),
    Story("only its replicas hear the primary", star(), kind="reconnect", on="R1", change=("P cut",)),
    Story(
        "a replica notices late", star(r1="net-timeout=60", policy="policy net_timeout_s=10\n"),
        kind="net_timeout", on="R1",
    ),
    Story("semi-sync is gone", star(), kind="restore_semi_sync", change=("P restarted rw semi-sync=off",)),
    *(replace(story, fleet=HOOKS + story.fleet) for story in INTERMEDIATE),
)  # fmt: skip
ALL = (*STORIES, *MORE, *INTERMEDIATE, *RETURNS, REBUILD, *REPAIRS, *OPERATIONS, SPOILED_MOVE)
NEEDS_MORE_THAN_A_DEAD_LEADER: dict[str, frozenset[str]] = {}
"""Phases of a kind that none of the stories comes to, by kind."""


def crashes_before_step(run: Run, number: int) -> list[int]:
    """The leader dies before the step of this number; how many steps are left until then."""
    left = [number]

    def step(next_step: Step) -> None:
        left[0] -= 1
        if left[0] == -1:
            raise Crash

    run.manager.hooks.before_step = step
    return left


def phases_played(story: Story) -> Iterable[str]:
    """Phases of all playings of ``story``, one for each step before which its leader dies."""
    for number in count():
        run, entered = story.begin(), set[str]()

        def turned(before: Recovery, _outcomes: Outcomes, _after: Recovery, entered: set[str] = entered) -> None:
            entered.add(before.phase)

        run.claim()
        run.manager.hooks.turned = turned
        run.manager.hooks.after_step = lambda _outcome: None
        left = crashes_before_step(run, number)
        recovery = run.play()
        assert not recovery.is_active
        assert recovery.end is not EndState.ABANDONED, f"{story.name}, before step {number}: {recovery.errors}"
        yield from entered
        if left[0] >= 0:
            return


@pytest.mark.timeout(900)  # thousands of playings, on machines of any speed
@pytest.mark.parametrize("kind", KINDS)
def test_every_phase_of_every_kind_is_played_and_its_leader_killed_before_each_step(kind: str) -> None:
    stories = [story for story in ALL if story.kind == kind]
    assert stories, f"'{kind}' has no story: without one nobody knows what becomes of it when its leader dies"
    played = {phase for story in stories for phase in phases_played(story)}
    forgotten = {phase.name for phase in KINDS[kind].phases} - played
    assert forgotten == NEEDS_MORE_THAN_A_DEAD_LEADER.get(kind, frozenset())
