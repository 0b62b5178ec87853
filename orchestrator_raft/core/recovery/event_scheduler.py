"""The event scheduler on its way from one primary to the next.

Theory. An event of a privileged account writes in spite of read_only, so the scheduler of a primary that is demoted
stops first, and that of the successor starts once it takes writes; who goes back to the old primary starts it anew. It
never decides a change of primary: a server that refuses (MariaDB wants SUPER) is named, and all else goes on. It is
only ever switched on where it was on before, and no event is altered.
"""

from __future__ import annotations

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.policy import EventSchedulerPolicy, Policy
from orchestrator_raft.core.recovery.machine import Context
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.recovery.steps import Outcome, Outcomes, Reprobe, SetEventScheduler, Step
from orchestrator_raft.core.topology import Server

SWITCH_S = 2.0


def is_moved(recovery: Recovery, policy: Policy) -> bool:
    """It ran at the primary, and people want it to follow the role."""
    return recovery.event_scheduler and policy.event_scheduler is not EventSchedulerPolicy.NONE


def switched(context: Context, key: InstanceKey | None, *, on: bool, required: bool = True) -> tuple[Step, ...]:
    """The step, where the scheduler has anything to do with this change of primary."""
    if key is None or not is_moved(context.recovery, context.policy):
        return ()
    return (SetEventScheduler(key=key, on=on, deadline_s=SWITCH_S, required=required),)


def quieted(context: Context, server: Server) -> tuple[Step, ...]:
    """For an old primary that is back, with its events: off, and read anew, since one may have written meanwhile."""
    runs = server.facts is not None and server.facts.settings.event_scheduler is True
    if not runs or context.policy.event_scheduler is EventSchedulerPolicy.NONE:
        return ()
    return SetEventScheduler(key=server.key, on=False, deadline_s=SWITCH_S), Reprobe(key=server.key)


def of_others(outcomes: Outcomes) -> Outcomes:
    """The outcomes that decide how things go on."""
    return tuple(each for each in outcomes if not isinstance(each.step, SetEventScheduler))


def with_complaints(recovery: Recovery, outcomes: Outcomes) -> Recovery:
    """With what went wrong about the scheduler, and how to live with that."""
    return recovery.with_errors(tuple(_complaint(each) for each in outcomes if _is_broken(each)))


def _is_broken(outcome: Outcome) -> bool:
    return isinstance(outcome.step, SetEventScheduler) and not outcome.ok


def _complaint(outcome: Outcome) -> str:
    on = isinstance(outcome.step, SetEventScheduler) and outcome.step.on
    return (
        f"event_scheduler of {outcome.key} could not be switched {'on' if on else 'off'}: {outcome.detail}; do it by "
        "hand, and set EventSchedulerPolicy to none if the manager is not to touch it"
    )


def enter_quiet(context: Context) -> tuple[Step, ...]:
    return switched(context, context.recovery.subject.key, on=False)


def leave_quiet(context: Context, outcomes: Outcomes) -> Recovery:
    return with_complaints(context.recovery, outcomes).goto("demote", context.now_ms)
