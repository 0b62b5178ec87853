"""Is the primary still dead? Asked once more before anything is done to it, where the answer may have changed.

Theory. Between the look that confirmed a failure and the first step there may be hooks, a quorum that was slow to
commit the claim, or a leader that died: then the next one goes on with what is no longer true. So it looks again, as
long as nothing is recorded as done. A leader that died may have begun all the same; then what it did is put back.
A person who wants a living primary replaced is not asked again.
"""

from __future__ import annotations

from orchestrator_raft.core.analysis import Confirmation, diagnose, situate
from orchestrator_raft.core.analysis.situation import is_hearing
from orchestrator_raft.core.recovery.ending import unsuccessful
from orchestrator_raft.core.recovery.losses import CHOSEN
from orchestrator_raft.core.recovery.machine import Context
from orchestrator_raft.core.recovery.model import RESUMED, EndState, Recovery
from orchestrator_raft.core.recovery.release import give_up
from orchestrator_raft.core.recovery.steps import Outcomes, Reprobe, Step
from orchestrator_raft.core.topology import Server

RECHECK_S = 0.5
CLAIM_FRESH_MS = 1_000
"""A recovery that begins later than this after its claim looks again first."""


def is_old(context: Context) -> bool:
    """The look that confirmed the failure is more than a moment old."""
    recovery = context.recovery
    return recovery.mark_time(RESUMED) is not None or context.now_ms - recovery.started_ms > CLAIM_FRESH_MS


def is_resumed_untouched(context: Context) -> bool:
    """Another leader goes on here, and no step on any server is recorded."""
    recovery = context.recovery
    if recovery.request.forced or recovery.fenced or recovery.attempt > 1 or not recovery.timeline:
        return False
    names = {mark.name for mark in recovery.timeline}
    return recovery.timeline[-1].name == RESUMED and names.isdisjoint({CHOSEN, "waiting", "not fenced"})


def enter_recheck(context: Context) -> tuple[Step, ...]:
    if context.recovery.request.forced:
        return ()
    keys = (context.recovery.subject.key, *(server.key for server in replicas(context)))
    return tuple(Reprobe(key=key, deadline_s=RECHECK_S) for key in keys)


def leave_recheck(context: Context, outcomes: Outcomes) -> Recovery:
    who, recovery = came_back(context), context.recovery
    if not who:
        return recovery.goto("freeze", context.now_ms)
    if recovery.mark_time(RESUMED) is not None and _is_touched(context):
        return give_up(context, recovery, f"{who}; what a leader that died had begun is put back")
    return unsuccessful(context, recovery, EndState.CAME_BACK, f"{who}, so nothing was changed")


def _is_touched(context: Context) -> bool:
    """The primary is closed, or a receiver stands still: maybe that was the doing of the leader that died."""
    primary = context.topology.server(context.recovery.subject.key).fresh
    is_closed = primary is not None and not primary.is_writable
    channels = [server.channel for server in replicas(context) if server.reached]
    return is_closed or any(channel is None or not channel.receives for channel in channels)


def came_back(context: Context) -> str:
    """Who says that the primary is there again; empty when nobody does, or where a person wants it replaced."""
    recovery, topology = context.recovery, context.topology
    failed = topology.server(recovery.subject.key)
    if recovery.request.forced or _is_found_by_itself(context, failed):
        return ""
    if failed.fresh is not None and failed.fresh.is_writable:
        return f"{failed.key} answers and takes writes again"
    for server in replicas(context):
        if server.source == failed.key and is_hearing(server, context.policy):
            return f"{server.key} replicates from {failed.key} again"
    return ""


def _is_found_by_itself(context: Context, failed: Server) -> bool:
    """The failure still shows in what the primary itself says, so that it answers is no sign of life."""
    problem = diagnose(situate(context.topology, failed, context.policy), context.policy).problem
    return (
        problem is not None
        and problem.rule.recovery == "dead_primary"
        and problem.rule.confirmation is Confirmation.NONE
    )


def replicas(context: Context) -> tuple[Server, ...]:
    """The failed primary's replicas, as recorded at the claim: links change while the recovery runs."""
    recovery, servers = context.recovery, context.topology.servers
    return tuple(servers[key] for key in recovery.subject.replicas if key in servers and key not in recovery.stale)
