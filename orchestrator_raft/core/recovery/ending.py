"""The end of a change of primary that replaced nobody: the last hooks run, and then it ends as was decided before.

Theory. Whoever prepared something for a failover, as taking an address away, has to hear that it did not happen. So
every such end goes through ``tell``, in which PostUnsuccessfulFailoverProcesses run, once hooks may have run before it.
What the end is has been recorded by then; a leader that dies here is followed by one that runs the list again under
the same recovery id. Nothing is done to a server any more, so no deadline of the recovery cuts this phase short.
"""

from __future__ import annotations

from orchestrator_raft.core.recovery.machine import Context, Phase
from orchestrator_raft.core.recovery.model import ENDING, EndState, Recovery
from orchestrator_raft.core.recovery.promotion import hooks
from orchestrator_raft.core.recovery.steps import Outcomes, Step, failures

TOLD = "PostUnsuccessfulFailoverProcesses"


def unsuccessful(context: Context, recovery: Recovery, end: EndState, text: str) -> Recovery:
    """``recovery`` on its way to ``end``: over the hooks, if there are any."""
    if not hooks(context, TOLD):
        return recovery.ended(end, context.now_ms, text)
    return recovery.ending_in(TELL.name, end, context.now_ms, text)


def enter_tell(context: Context) -> tuple[Step, ...]:
    return hooks(context, TOLD)


def leave_tell(context: Context, outcomes: Outcomes) -> Recovery:
    recovery = context.recovery.with_errors(failures(outcomes))
    text = next((mark.text for mark in reversed(recovery.timeline) if mark.name == ENDING), "nobody was promoted")
    return recovery.ended(recovery.ending, context.now_ms, text)


TELL = Phase("tell", "Nobody was promoted: run the hooks for that", enter_tell, leave_tell, is_last=True)
