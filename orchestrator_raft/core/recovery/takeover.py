"""Graceful takeover: a living primary hands its role to a replica, nothing is lost, and any failure undoes it.

Theory. Under semi-sync the order decides: no acker may be taken from a primary that still takes writes, or its commits
hang and it cannot be made read-only (the peers' defect). So: check; refuse writes on the old primary; read its GTIDs
twice and demand that they stand still; wait until the successor has applied them; only then move anything. The whole of
it is bounded by the policy's block limit. Up to the promotion a failure is undone by opening the old primary again.

A successor whose promotion failed may take writes all the same. So before the old primary is opened, the successor is
shut; or, if it does not answer, it goes on the stale list, its followers are stopped and read, and the old primary
first fetches what they have got from it (see ``undo``). And read-only does not outlive a restart, so the old primary is
looked at before the successor is opened (see ``still_shut``).
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.candidates import Verdict, choose
from orchestrator_raft.core.candidates.choose import can_replicate_from
from orchestrator_raft.core.instance import InstanceKey, ThreadState
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.dead_primary import with_channel
from orchestrator_raft.core.recovery.ending import TELL, unsuccessful
from orchestrator_raft.core.recovery.event_scheduler import enter_quiet, is_moved, leave_quiet
from orchestrator_raft.core.recovery.losses import target_text, too_long
from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery, RefusedServer
from orchestrator_raft.core.recovery.promotion import CLOSE, REPOINT, hooks
from orchestrator_raft.core.recovery.steps import (
    Outcomes,
    Reprobe,
    SetReadOnly,
    Step,
    WaitApplied,
    failures,
    stopping,
    succeeded,
)
from orchestrator_raft.core.recovery.still_shut import promote_unless_reopened
from orchestrator_raft.core.recovery.undo import RESTORE, REVOKE, UNDO, revoke, undo
from orchestrator_raft.core.topology import Server, Topology

STILL_THERE_S = 0.5
"""How long the last look at the old primary may take; writes are refused meanwhile."""
BEFORE = ("PreGracefulTakeoverProcesses", "OnFailureDetectionProcesses", "PreFailoverProcesses")


def refusal(
    topology: Topology,
    primary: Server,
    designated: InstanceKey | None,
    policy: Policy,
    *,
    start_old_primary: bool = True,
) -> str:
    """Why this takeover must not begin; empty when it may. Cheap enough to ask before a claim."""
    if not primary.reached:
        return f"{primary.key} does not answer: a dead primary is failed over, not taken over (raftctl failover)"
    replicas = topology.replicas_of(primary.key)
    if not replicas:
        return f"{primary.key} has no replicas"
    if designated is not None and designated not in {replica.key for replica in replicas}:
        return f"{designated} is no direct replica of {primary.key}: relocate it there first, or name another"
    verdict = choose(primary, replicas, policy, designated, planned=True)
    return _obstacle(topology, primary, verdict, start_old_primary=start_old_primary)


def _obstacle(topology: Topology, primary: Server, verdict: Verdict, *, start_old_primary: bool) -> str:
    if verdict.best is None:
        return "no replica can take over: " + "; ".join(str(each) for each in verdict.refused)
    target = topology.server(verdict.best)
    siblings = [each for each in topology.replicas_of(primary.key) if each.key != target.key and each.fresh]
    for sibling in siblings:
        if sibling.facts and target.facts and not can_replicate_from(sibling.facts, target.facts):
            return f"{sibling.key} could not replicate from {target.key} (version or binary log format): name another"
    return _too_few_ackers(primary, target, siblings, start_old_primary=start_old_primary)


def _too_few_ackers(primary: Server, target: Server, siblings: list[Server], *, start_old_primary: bool) -> str:
    """The new primary would wait for more replicas than it has, so no write would ever end there."""
    if primary.facts is None or not primary.facts.semi_sync.source_enabled:
        return ""
    waits_for = primary.facts.semi_sync.wait_for_replica_count
    ackers = [each for each in siblings if each.facts is not None and each.facts.semi_sync.replica_enabled]
    count = len(ackers) + (1 if start_old_primary else 0)
    if count >= waits_for:
        return ""
    return (
        f"{target.key} would wait for {waits_for} semi-sync replicas and have {count}, so it could take no writes: "
        "enable semi-sync on more replicas, or let the old primary replicate at once (graceful-master-takeover-auto)"
    )


def enter_prepare(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    return tuple(Reprobe(key=key, deadline_s=1.5) for key in (recovery.subject.key, *recovery.subject.replicas))


def leave_prepare(context: Context, outcomes: Outcomes) -> Recovery:
    """A takeover that is refused here was never announced to anybody."""
    why_not = _refused_now(context)
    if why_not:
        recovery, text = context.recovery.with_errors((why_not,)), f"nothing was changed: {why_not}"
        return recovery.ended(EndState.UNDONE, context.now_ms, text)
    if hooks(context, *BEFORE):
        return context.recovery.goto("announce", context.now_ms)
    return _decided(context)


def _refused_now(context: Context) -> str:
    recovery, topology = context.recovery, context.topology
    primary, request = topology.server(recovery.subject.key), recovery.request
    return refusal(topology, primary, request.designated, context.policy, start_old_primary=request.start_old_primary)


def enter_announce(context: Context) -> tuple[Step, ...]:
    return hooks(context, *BEFORE, fail_stop=True)


def leave_announce(context: Context, outcomes: Outcomes) -> Recovery:
    broken = stopping(outcomes)
    if broken:
        text = f"a hook said no, nothing was changed: {broken[0]}"
        return unsuccessful(context, context.recovery.with_errors((text,)), EndState.UNDONE, text)
    return context.recovery.with_errors(failures(outcomes)).goto("choose", context.now_ms)


def leave_choose(context: Context, outcomes: Outcomes) -> Recovery:
    """Hooks may have taken their time, so everything was read and is checked anew."""
    why_not = _refused_now(context)
    if why_not:
        recovery, text = context.recovery.with_errors((why_not,)), f"nothing was changed: {why_not}"
        return unsuccessful(context, recovery, EndState.UNDONE, text)
    return _decided(context)


def _decided(context: Context) -> Recovery:
    recovery, topology, policy, now = context.recovery, context.topology, context.policy, context.now_ms
    primary = topology.server(recovery.subject.key)
    verdict = choose(primary, topology.replicas_of(primary.key), policy, recovery.request.designated, planned=True)
    if verdict.best is None:
        raise AssertionError("refusal() lets no verdict without a successor pass")
    decided = replace(
        with_channel(recovery, topology.server(verdict.best).facts),
        successor=verdict.best,
        event_scheduler=primary.fresh is not None and primary.fresh.settings.event_scheduler is True,
        followers=tuple(replica.key for replica in topology.replicas_of(primary.key) if replica.reached),
        refused=tuple(RefusedServer(each.key, each.reason) for each in verdict.refused),
    )
    following = "quiet" if is_moved(decided, policy) else "demote"
    return decided.marked("chosen", now, str(verdict.best)).goto(following, now)


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
    successor = context.topology.server(recovery.successor) if recovery.successor is not None else None
    target = target_text(second.executed, (successor.fresh if successor is not None else None,))
    if target is None:
        return undo(recovery, now, too_long(second.executed))
    demoted = replace(recovery, fenced=True, target_gtids=target)
    return demoted.marked("demoted", now, str(key)).goto("settle", now)


def enter_settle(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    if recovery.successor is None:
        return ()
    wait = WaitApplied(key=recovery.successor, gtids=recovery.target_gtids, deadline_s=_time_left_s(context))
    old = Reprobe(key=recovery.subject.key, deadline_s=STILL_THERE_S)
    return old, wait, Reprobe(key=recovery.successor, deadline_s=STILL_THERE_S)


def _time_left_s(context: Context) -> float:
    demoted = context.recovery.mark_time("demoted") or context.recovery.phase_started_ms
    return max(0.05, context.policy.demotion_block_limit_s - (context.now_ms - demoted) / 1000)


def leave_settle(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    if recovery.successor is None or succeeded(outcomes, WaitApplied, recovery.successor) is None:
        text = f"{recovery.successor} did not catch up within {context.policy.demotion_block_limit_s:g} s"
        return undo(recovery.with_errors(failures(outcomes)), now, text)
    if not _is_still_demoted(recovery, outcomes):
        return _primary_lost(recovery, now)
    return recovery.marked("caught up", now, str(recovery.successor)).goto("promote", now)


def _is_still_demoted(recovery: Recovery, outcomes: Outcomes) -> bool:
    """It answers and is read-only; or only we do not reach it, and the successor has been connected to it all along."""
    old = succeeded(outcomes, Reprobe, recovery.subject.key)
    if old is not None and old.facts is not None:
        return old.facts.read_only
    new = succeeded(outcomes, Reprobe, recovery.successor) if recovery.successor is not None else None
    channel = new.facts.channel if new is not None and new.facts is not None else None
    return channel is not None and channel.receiver is ThreadState.RUNNING and channel.source == recovery.subject.key


def _primary_lost(recovery: Recovery, now_ms: int) -> Recovery:
    """It died, or was restarted, and so it may take writes again, which its replicas would acknowledge.

    No receiver was stopped, so nobody may be promoted here; nothing else was changed either. A dead primary is failed
    over, with all that belongs to it.
    """
    key = recovery.subject.key
    text = f"{key} was lost after it had been made read-only, and nobody was promoted: dead, it is failed over"
    return recovery.with_errors((text,)).ended(EndState.FAILED, now_ms, text)


def undo_late(context: Context, recovery: Recovery) -> Recovery:
    return undo(recovery, context.now_ms, f"it was out of time in phase '{recovery.phase}'")


def promotion_failed(context: Context, recovery: Recovery, outcomes: Outcomes) -> Recovery:
    """Go back to the old primary, but first make sure of the successor."""
    return revoke(recovery, context.now_ms, f"{recovery.successor} could not be promoted")


TAKEOVER = Kind(
    "takeover",
    "Hand the primary role to a replica while everybody is alive",
    (
        Phase("prepare", "Read every server anew and check", enter_prepare, leave_prepare, late=undo_late),
        Phase("announce", "Run the hooks", enter_announce, leave_announce, late=undo_late),
        Phase("choose", "Read and check once more, and choose", enter_prepare, leave_choose, late=undo_late),
        Phase("quiet", "Run no more scheduled events on the old primary", enter_quiet, leave_quiet, late=undo_late),
        Phase(
            "demote",
            "Refuse writes on the old primary and see that its GTIDs stand still",
            enter_demote,
            leave_demote,
            late=undo_late,
        ),
        Phase("settle", "Wait until the successor has applied everything", enter_settle, leave_settle, late=undo_late),
        promote_unless_reopened(promotion_failed),
        REPOINT,
        CLOSE,
        REVOKE,
        UNDO,
        RESTORE,
        TELL,
    ),
)
