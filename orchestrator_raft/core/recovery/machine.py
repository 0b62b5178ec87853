"""``advance``: the next move of a recovery (design D1, D6).

A recovery kind is a row: a name and its phases. A phase is two pure functions: ``enter`` says which steps to perform,
``leave`` reads their outcomes and answers with the recovery as it goes on: in another phase, again in the same one, or
ended. The engine's loop is then short: enter, perform, leave, record in Raft, and again with a fresh topology. A new
leader resumes by entering the recorded phase once more, which is safe because steps are idempotent.

Every phase is bounded by its attempts, so a recovery gets past its deadline only when nobody led for long. It must not
be dropped where it stands, with servers stopped or closed: it gets a little more time once, to retreat from phases
that say how, or else to go on to its end. If that is not enough either, people have to look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.steps import Outcomes, Pause, Step
from orchestrator_raft.core.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything a phase may look at."""

    recovery: Recovery
    topology: Topology
    policy: Policy
    now_ms: int
    paused: str = ""
    """Why nobody may write to these servers now: a recovery that has not begun to does not; another one goes on."""


Enter = Callable[[Context], tuple[Step, ...]]
Leave = Callable[[Context, Outcomes], Recovery]
Late = Callable[[Context, Recovery], Recovery]
Obstacle = Callable[[Topology, InstanceKey, Policy], str]
GRACE_MS = 120_000
OUT_OF_TIME = "out of time"


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a recovery kind."""

    name: str
    text: str
    enter: Enter
    leave: Leave
    late: Late | None = None
    """Where to retreat to when the deadline has passed; None: go on."""
    is_last: bool = False
    """Only hooks run here, and then it ends: it is never too late for that."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table of recoveries; its first phase is where it begins."""

    name: str
    text: str
    phases: tuple[Phase, ...]
    counts: bool = True
    """It changes the primary."""
    of_primary: bool | None = True
    """Its subject is the primary of a cluster; else it is another member; None: either."""
    starts_period: bool = True
    """Once it did something, the cluster gets no other recovery of this sort by itself for a while."""
    urgency: int = 2
    """One of less urgency ends at once when its cluster needs one of more; of the same, the first goes on."""
    obstacle: Obstacle | None = None
    """Why it could do nothing now; asked before an automatic claim, so that no recovery starts in vain."""

    def phase(self, name: str) -> Phase:
        for phase in self.phases:
            if phase.name == name:
                return phase
        raise ValueError(f"recovery '{self.name}' has no phase '{name}'")


@dataclass(frozen=True, slots=True)
class Entered:
    """The recovery is in its phase and wants to know what to do."""


@dataclass(frozen=True, slots=True)
class Performed:
    """The steps of the phase have ended."""

    outcomes: Outcomes


Event = Entered | Performed


def advance(kind: Kind, event: Event, context: Context) -> tuple[Recovery, tuple[Step, ...]]:
    """The recovery after ``event``, and the steps to perform now (none after ``Performed``: record first)."""
    recovery = context.recovery
    if not recovery.is_active:
        return recovery, ()
    phase = kind.phase(recovery.phase)
    is_late = context.now_ms > recovery.deadline_ms and not phase.is_last
    if isinstance(event, Entered) and context.paused and phase is kind.phases[0]:
        return recovery.ended(EndState.UNDONE, context.now_ms, f"given up before it began: {context.paused}"), ()
    if isinstance(event, Entered):  # nothing is done in a late turn, but it is recorded
        return recovery, (Pause(deadline_s=0.0),) if is_late else phase.enter(context)
    if is_late and not event.outcomes:
        return _leave_late(kind, context, phase), ()
    return phase.leave(context, event.outcomes), ()


def _leave_late(kind: Kind, context: Context, phase: Phase) -> Recovery:
    """The second time it is the end."""
    recovery, now = context.recovery, context.now_ms
    if recovery.mark_time(OUT_OF_TIME) is not None:
        return _abandoned(kind, recovery, now)
    extended = replace(recovery, attempt=1, deadline_ms=now + GRACE_MS).marked(OUT_OF_TIME, now, recovery.phase)
    return phase.late(context, extended) if phase.late is not None else extended.goto(recovery.phase, now)


def _abandoned(kind: Kind, recovery: Recovery, now_ms: int) -> Recovery:
    text = f"it ran out of time twice and was in phase '{recovery.phase}': look at the cluster before anything else"
    last = next((phase for phase in kind.phases if phase.is_last), None)
    if last is None or recovery.promoted:
        return recovery.ended(EndState.ABANDONED, now_ms, text)
    return recovery.ending_in(last.name, EndState.ABANDONED, now_ms, text)
