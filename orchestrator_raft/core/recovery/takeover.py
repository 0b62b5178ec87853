"""Graceful takeover: a living primary hands its role to a replica, nothing is lost, and any failure undoes it.

Theory. Under semi-sync the order decides: no acker may be taken from a primary that still takes writes, or its commits
hang and it cannot be made read-only (the peers' defect). So: check; refuse writes on the old primary; read its GTIDs
twice and demand that they stand still; wait until the successor has applied them; only then move anything. Up to that
point a failure is undone by opening the old primary again; beyond it there is only forward. The whole of it is bounded
by the policy's block limit.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.candidates import Verdict, choose
from orchestrator_raft.core.candidates.choose import can_replicate_from
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.dead_primary import with_role
from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery, RefusedServer
from orchestrator_raft.core.recovery.promotion import CLOSE, REPOINT, RETRY_PAUSE_S, hooks, promote_phase, was_opened
from orchestrator_raft.core.recovery.steps import (
    Fence,
    Outcomes,
    Pause,
    PointTo,
    Reprobe,
    ResetReplication,
    SetReadOnly,
    SetWritable,
    Step,
    StopReplication,
    WaitApplied,
    failures,
    succeeded,
)
from orchestrator_raft.core.topology import Server, Topology

UNDO_ATTEMPTS_MAX = 8


def refusal(topology: Topology, primary: Server, designated: InstanceKey | None, policy: Policy) -> str:
    """Why this takeover must not begin; empty when it may. Cheap enough to ask before a claim."""
    if not primary.reached:
        return f"{primary.key} does not answer: a dead primary is failed over, not taken over (raftctl failover)"
    replicas = topology.replicas_of(primary.key)
    if not replicas:
        return f"{primary.key} has no replicas"
    if designated is not None and designated not in {replica.key for replica in replicas}:
        return f"{designated} is no direct replica of {primary.key}: relocate it there first, or name another"
    verdict = choose(primary, replicas, policy, designated)
    return _obstacle(topology, primary, verdict, policy)


def _obstacle(topology: Topology, primary: Server, verdict: Verdict, policy: Policy) -> str:
    if verdict.best is None:
        return "no replica can take over: " + "; ".join(str(each) for each in verdict.refused)
    target = topology.server(verdict.best)
    facts = target.facts
    channel = facts.channel if facts else None
    if facts is None or channel is None or not channel.replicates:
        return f"{target.key} does not replicate now"
    if facts.lag_s is not None and facts.lag_s > policy.lag_maintenance_s:
        return f"{target.key} lags {facts.lag_s:g} s, more than ReasonableMaintenanceReplicationLagSeconds allows"
    siblings = [other.facts for other in topology.replicas_of(primary.key) if other.key != target.key and other.fresh]
    stuck = [other.key for other in siblings if other is not None and not can_replicate_from(other, facts)]
    if stuck:
        return f"{stuck[0]} could not replicate from {target.key} (version or binary log format): name another target"
    return ""


def enter_prepare(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    probes = [Reprobe(key=key, deadline_s=1.5) for key in (recovery.subject.key, *recovery.subject.replicas)]
    names = ("PreGracefulTakeoverProcesses", "OnFailureDetectionProcesses", "PreFailoverProcesses")
    return (*probes, *hooks(context, *names, fail_stop=True))


def leave_prepare(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, topology, now = context.recovery, context.topology, context.now_ms
    broken = [each for each in outcomes if not each.ok and not isinstance(each.step, Reprobe)]
    if broken:
        text = f"a hook said no, nothing was changed: {failures(tuple(broken))[0]}"
        return recovery.with_errors((text,)).ended(EndState.UNDONE, now, text)
    primary = topology.server(recovery.subject.key)
    why_not = refusal(topology, primary, recovery.request.designated, context.policy)
    if why_not:
        return recovery.with_errors((why_not,)).ended(EndState.UNDONE, now, f"nothing was changed: {why_not}")
    verdict = choose(primary, topology.replicas_of(primary.key), context.policy, recovery.request.designated)
    if verdict.best is None:
        raise AssertionError("refusal() lets no verdict without a successor pass")
    decided = replace(
        with_role(recovery, primary.facts, topology.server(verdict.best).facts),
        successor=verdict.best,
        refused=tuple(RefusedServer(each.key, each.reason) for each in verdict.refused),
    )
    return decided.marked("chosen", now, str(verdict.best)).goto("demote", now)


def enter_demote(context: Context) -> tuple[Step, ...]:
    key = context.recovery.subject.key
    limit = context.policy.demotion_block_limit_s
    return SetReadOnly(key=key, deadline_s=limit / 2), Reprobe(key=key), Reprobe(key=key)


def leave_demote(context: Context, outcomes: Outcomes) -> Recovery:
    """Read-only has to be true, and the GTIDs have to stand still: two readings after it must be equal."""
    recovery, now = context.recovery, context.now_ms
    key = recovery.subject.key
    readings = [each.facts for each in outcomes if each.ok and isinstance(each.step, Reprobe) and each.facts]
    if failures(outcomes) or len(readings) != 2:
        return undo(recovery.with_errors(failures(outcomes)), now, f"{key} could not be made read-only")
    first, second = readings
    if not second.read_only or second.executed is None or first.executed != second.executed:
        return undo(
            recovery, now, f"{key} still took writes after it was made read-only: who has SUPER or READ_ONLY ADMIN?"
        )
    demoted = replace(recovery, fenced=True, target_gtids=str(second.executed))
    return demoted.marked("demoted", now, str(key)).goto("settle", now)


def undo(recovery: Recovery, now_ms: int, reason: str) -> Recovery:
    return replace(recovery, attempt=1).with_errors((reason,)).marked("undoing", now_ms, reason).goto("undo", now_ms)


def enter_settle(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    if recovery.successor is None:
        return ()
    return (WaitApplied(key=recovery.successor, gtids=recovery.target_gtids, deadline_s=_time_left_s(context)),)


def _time_left_s(context: Context) -> float:
    demoted = context.recovery.mark_time("demoted") or context.recovery.phase_started_ms
    return max(0.05, context.policy.demotion_block_limit_s - (context.now_ms - demoted) / 1000)


def leave_settle(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    if recovery.successor is None or succeeded(outcomes, WaitApplied, recovery.successor) is None:
        text = f"{recovery.successor} did not catch up within {context.policy.demotion_block_limit_s:g} s"
        return undo(recovery.with_errors(failures(outcomes)), now, text)
    return recovery.marked("caught up", now, str(recovery.successor)).goto("promote", now)


def promotion_failed(recovery: Recovery, outcomes: Outcomes, now_ms: int) -> Recovery:
    """Go back to the old primary; a successor that may accept writes by now is fenced before that one is opened."""
    if recovery.successor is not None and was_opened(recovery, outcomes):
        recovery = replace(recovery, stale=tuple(sorted({*recovery.stale, recovery.successor})))
    return undo(recovery, now_ms, f"{recovery.successor} could not be promoted")


def enter_undo(context: Context) -> tuple[Step, ...]:
    """Old primary writable; where servers had been moved already, everything back to where it was."""
    recovery = context.recovery
    key = recovery.subject.key
    pause: tuple[Step, ...] = (Pause(deadline_s=RETRY_PAUSE_S),) if recovery.attempt > 1 else ()
    fences = tuple(Fence(key=stale, deadline_s=3.0) for stale in recovery.stale)
    if recovery.mark_time("caught up") is None:
        return (*pause, *fences, SetWritable(key=key))
    back = tuple(
        PointTo(
            key=server.key, source=key, options=recovery.channel_options, credentials_from=recovery.subject.replicas
        )
        for server in context.topology.servers.values()
        if server.key in recovery.subject.replicas and server.reached and server.key not in recovery.stale
    )
    return (*pause, *fences, StopReplication(key=key), ResetReplication(key=key), SetWritable(key=key), *back)


def leave_undo(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    key = recovery.subject.key
    recovery = recovery.with_errors(failures(outcomes))
    if succeeded(outcomes, SetWritable, key) is not None:
        restored = replace(recovery, successor=None, fenced=False)
        return restored.ended(EndState.UNDONE, now, f"{key} is the primary as before: {recovery.errors[0]}")
    if recovery.attempt < UNDO_ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).goto("undo", now)
    text = f"{key} is read-only and could not be opened again: set it writable by hand (raftctl set-writeable {key})"
    return recovery.with_errors((text,)).ended(EndState.ABANDONED, now, text)


TAKEOVER = Kind(
    "takeover",
    "Hand the primary role to a replica while everybody is alive",
    (
        Phase("prepare", "Read every server anew, run the hooks, choose", enter_prepare, leave_prepare),
        Phase(
            "demote", "Refuse writes on the old primary and see that its GTIDs stand still", enter_demote, leave_demote
        ),
        Phase("settle", "Wait until the successor has applied everything", enter_settle, leave_settle),
        promote_phase(promotion_failed),
        REPOINT,
        CLOSE,
        Phase("undo", "Open the old primary again", enter_undo, leave_undo),
    ),
)
