"""Recovery of a cluster whose primary is dead, or is declared dead by a person.

Theory (design D4). First the receivers of the replicas are stopped: from then on nobody can acknowledge a commit of
the old primary, and what each replica has stands still and can be compared. Only then the successor is chosen and
committed, together with the old primary as a stale one if it could not be fenced. If too few possible ackers answered
to know of every acknowledged transaction, the loss policy decides: by default wait, then refuse and name the missing
server.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.candidates import Verdict, choose, missing_ackers, semi_sync_promises
from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.policy import LossPolicy
from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery, RefusedServer
from orchestrator_raft.core.recovery.promotion import CLOSE, RELEASE, REPOINT, RETRY_PAUSE_S, hooks, promote_phase
from orchestrator_raft.core.recovery.steps import (
    Fence,
    Outcomes,
    Pause,
    PointTo,
    Reprobe,
    Step,
    StopReceiver,
    WaitApplied,
    failures,
    succeeded,
)
from orchestrator_raft.core.topology import Server

ACKER_WAIT_MS = 10_000
"""How long a failover waits for possible ackers that do not answer before it refuses."""
FENCE_DEAD_S = 0.25
FENCE_LIVE_S = 3.0


def enter_begin(context: Context) -> tuple[Step, ...]:
    return hooks(context, "OnFailureDetectionProcesses", "PreFailoverProcesses", fail_stop=True)


def leave_begin(context: Context, outcomes: Outcomes) -> Recovery:
    broken = failures(outcomes)
    if broken:
        recovery = context.recovery.with_errors(broken)
        return recovery.ended(EndState.FAILED, context.now_ms, f"a hook said no, nothing was changed: {broken[0]}")
    return context.recovery.goto("freeze", context.now_ms)


def enter_freeze(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    failed = context.topology.server(recovery.subject.key)
    pause: tuple[Step, ...] = (Pause(deadline_s=RETRY_PAUSE_S),) if recovery.attempt > 1 else ()
    alive = failed.reached
    fence = Fence(key=failed.key, deadline_s=FENCE_LIVE_S if alive else FENCE_DEAD_S, required=alive)
    steps: list[Step] = [] if recovery.fenced else [fence]
    for replica in replicas(context):
        steps.append(StopReceiver(key=replica.key, required=replica.reached, deadline_s=1.5))
        steps.append(Reprobe(key=replica.key, required=replica.reached, deadline_s=1.0))
    return (*pause, *steps)


def replicas(context: Context) -> tuple[Server, ...]:
    """The failed primary's replicas, as recorded at the claim: links change while the recovery runs."""
    recovery, servers = context.recovery, context.topology.servers
    return tuple(servers[key] for key in recovery.subject.replicas if key in servers and key not in recovery.stale)


def leave_freeze(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    failed = context.topology.server(recovery.subject.key)
    fenced = recovery.fenced or succeeded(outcomes, Fence, failed.key) is not None
    recovery = replace(recovery, fenced=fenced)
    if failed.reached and not fenced:
        text = f"{failed.key} is alive and could not be fenced: {'; '.join(failures(outcomes))}"
        return replace(recovery, attempt=1).with_errors((text,)).goto("release", now)
    stopped = [server.key for server in replicas(context) if is_frozen(outcomes, server.key)]
    obstacle = loss_obstacle(context, failed, stopped)
    if obstacle and now - recovery.started_ms < ACKER_WAIT_MS:
        waiting = recovery if recovery.attempt > 1 else recovery.marked("waiting", now, obstacle)
        return replace(waiting, attempt=recovery.attempt + 1).goto("freeze", now)
    if obstacle:
        return replace(recovery, attempt=1).with_errors((obstacle,)).goto("release", now)
    verdict = choose(failed, replicas(context), context.policy, recovery.request.designated)
    return chosen(context, replace(recovery, attempt=1), failed, verdict)


def is_frozen(outcomes: Outcomes, key: InstanceKey) -> bool:
    """Its receiver was stopped, and it was read afterwards."""
    return succeeded(outcomes, StopReceiver, key) is not None and succeeded(outcomes, Reprobe, key) is not None


def loss_obstacle(context: Context, failed: Server, stopped: list[InstanceKey]) -> str:
    """Why a promotion now could lose an acknowledged transaction; empty when it could not, or may."""
    cluster = context.topology.clusters.get(context.recovery.cluster_id)
    if cluster is None or failed.facts is None:
        return ""
    able = semi_sync_promises(failed.facts)
    if _loss_policy(context, failed) is LossPolicy.ANY:
        return ""
    if not able.holds:
        return (
            f"DataLossPolicy is 'none' and nothing promises that replicas have every acknowledged write: {able.because}"
        )
    missing = missing_ackers(cluster.record, failed.facts, stopped)
    if not missing:
        return ""
    names = ", ".join(str(key) for key in missing)
    return (
        f"{names} may have acknowledged transactions that nobody else has, and does not answer: bring it back, "
        "or forget it if it is lost for good, or set DataLossPolicy to 'any'"
    )


def _loss_policy(context: Context, failed: Server) -> LossPolicy:
    return context.policy.loss_policy(semi_sync_promises(failed.facts).holds)


def chosen(context: Context, recovery: Recovery, failed: Server, verdict: Verdict) -> Recovery:
    """Put the verdict, and the old primary if it is not fenced, into the record."""
    refused = tuple(RefusedServer(refusal.key, refusal.reason) for refusal in verdict.refused)
    recovery = replace(recovery, refused=refused)
    if verdict.best is None:
        text = "no replica can be promoted: " + ("; ".join(str(each) for each in verdict.refused) or "there is none")
        return recovery.with_errors((text,)).goto("release", context.now_ms)
    if verdict.unsaved and _loss_policy(context, failed) is not LossPolicy.ANY:
        text = (
            f"only replicas that can neither be promoted nor give them to others hold {verdict.unsaved.describe(200)}: "
            "make one of them fit (the reasons are listed), or set DataLossPolicy to 'any'"
        )
        return recovery.with_errors((text,)).goto("release", context.now_ms)
    facts = context.topology.server(verdict.best).facts
    decided = replace(
        with_role(recovery, failed.facts, facts),
        successor=verdict.best,
        catch_up_from=verdict.catch_up_from,
        target_gtids=str(verdict.target) if verdict.target is not None else "",
        stale=recovery.stale if recovery.fenced else tuple(sorted({*recovery.stale, failed.key})),
        lost_gtids=_known_lost(failed.facts, facts, verdict),
    )
    decided = decided.marked("chosen", context.now_ms, str(verdict.best))
    return decided.goto("catch_up" if verdict.catch_up_from else "promote", context.now_ms)


def with_role(recovery: Recovery, old: Facts | None, new: Facts | None) -> Recovery:
    """Note what the new primary takes over: semi-sync set-up, and the channel options for those that follow."""
    channel = new.channel if new else None
    semi_sync = old.semi_sync if old else None
    return replace(
        recovery,
        channel_options=channel.options if channel else (),
        semi_sync=semi_sync.source_enabled if semi_sync else False,
        wait_for_replica_count=semi_sync.wait_for_replica_count if semi_sync else 0,
    )


def _known_lost(old: Facts | None, new: Facts | None, verdict: Verdict) -> str:
    """What the old primary or a replica had and the successor will not have; nobody may have been promised it."""
    if new is None or new.received is None or verdict.target is None:
        return ""
    had = verdict.needed if verdict.needed is not None else verdict.target
    if old is not None and old.executed is not None:
        had = had.union(old.executed)
    lost = had.minus(new.received.union(verdict.target))
    return "" if lost.is_empty else lost.describe(200)


def enter_catch_up(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    if recovery.successor is None or recovery.catch_up_from is None:
        return ()
    limit = context.policy.catch_up_limit_s
    return (
        PointTo(key=recovery.successor, source=recovery.catch_up_from, deadline_s=5.0),
        WaitApplied(key=recovery.successor, gtids=recovery.target_gtids, deadline_s=limit),
    )


def leave_catch_up(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    if failures(outcomes):
        text = f"{recovery.successor} could not catch up from {recovery.catch_up_from}"
        return recovery.with_errors((text, *failures(outcomes))).goto("release", now)
    return recovery.marked("caught up", now, str(recovery.catch_up_from)).goto("promote", now)


def promotion_failed(recovery: Recovery, outcomes: Outcomes, now_ms: int) -> Recovery:
    """Choose again if the successor is gone, since writes are down; give up if nobody else would do better."""
    gone = recovery.successor
    if gone is None:
        return recovery.goto("release", now_ms)
    if succeeded(outcomes, WaitApplied, gone) is None:
        refused = RefusedServer(gone, "its applier did not drain in time")
        return replace(recovery, refused=(*recovery.refused, refused)).goto("release", now_ms)
    again = replace(
        recovery,
        successor=None,
        stale=tuple(sorted({*recovery.stale, gone})),
        refused=(*recovery.refused, RefusedServer(gone, "it failed while it was being promoted")),
    )
    return again.marked("successor lost", now_ms, str(gone)).goto("freeze", now_ms)


DEAD_PRIMARY = Kind(
    "dead_primary",
    "Promote the best replica of a dead primary and bring the others along",
    (
        Phase("begin", "Run the detection and pre-failover hooks", enter_begin, leave_begin),
        Phase("freeze", "Stop the receivers, fence the old primary, compare, choose", enter_freeze, leave_freeze),
        Phase(
            "catch_up", "Fetch what the successor lacks from the replica that has it", enter_catch_up, leave_catch_up
        ),
        promote_phase(promotion_failed),
        REPOINT,
        CLOSE,
        RELEASE,
    ),
)
