"""``advance``: the next move of a recovery (design D1, D6).

A recovery kind is a row: a name and its phases. A phase is two pure functions: ``enter`` says which steps to perform,
``leave`` reads their outcomes and answers with the recovery as it goes on: in another phase, again in the same one, or
ended. The engine's loop is then short: enter, perform, leave, record in Raft, and again with a fresh topology. A new
leader resumes by entering the recorded phase once more, which is safe because steps are idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.steps import Outcomes, Step
from orchestrator_raft.core.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything a phase may look at."""

    recovery: Recovery
    topology: Topology
    policy: Policy
    now_ms: int


Enter = Callable[[Context], tuple[Step, ...]]
Leave = Callable[[Context, Outcomes], Recovery]


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a recovery kind."""

    name: str
    text: str
    enter: Enter
    leave: Leave


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table of recoveries; its first phase is where it begins."""

    name: str
    text: str
    phases: tuple[Phase, ...]
    counts: bool = True
    """It changes the primary, and starts the period in which the cluster is not recovered again by itself."""

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
    if context.now_ms > recovery.deadline_ms:
        text = (
            f"it had until its deadline and was in phase '{recovery.phase}': look at the cluster before anything else"
        )
        return recovery.ended(EndState.ABANDONED, context.now_ms, text), ()
    phase = kind.phase(recovery.phase)
    if isinstance(event, Entered):
        return recovery, phase.enter(context)
    return phase.leave(context, event.outcomes), ()
