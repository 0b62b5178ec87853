"""The return of a server that missed a change of primary: an old primary out of reach, or a replica left behind.

Theory (design D4). First nobody may write there; then it is read, and only after that the primary, whose set only
grows. If the primary has everything the server has, it becomes a replica. If not, it holds transactions that nobody
was promised, or that were lost: it is fenced, kept out, and its extra transactions are named, so that people can fetch
them before it is rebuilt.

A return is never urgent: it ends at once, in whatever phase, when its cluster needs another primary or a person wants
one. The server that was being attached then may already replicate from the failed primary: the claim makes it a
possible acker, so that the failover stops and reads it like the others, and later it returns anew.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.gtid import GtidSet, parse
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.event_scheduler import of_others, quieted, with_complaints
from orchestrator_raft.core.recovery.losses import recorded
from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import ENDING, EndState, Recovery
from orchestrator_raft.core.recovery.promotion import hooks
from orchestrator_raft.core.recovery.steps import (
    Fence,
    Outcomes,
    Pause,
    PointTo,
    Reprobe,
    SetReadOnly,
    SetSemiSync,
    Step,
    failures,
    succeeded,
)
from orchestrator_raft.core.topology import Server, StaleStatus, Topology

ATTEMPTS_MAX = 5
RETRY_PAUSE_S = 0.5
ATTACH = "attach"
"""The phase from whose beginning on the server may replicate from the primary, and acknowledge its commits."""
KEPT_OUT = "PostQuarantineProcesses"
UNKNOWN = "unknown ones, since GTIDs are missing on one side"


def returning(topology: Topology, cluster_id: str) -> tuple[InstanceKey, ...]:
    """Members of the cluster that answer and belong below its primary, and are not there: stale primaries first."""
    primary = topology.primary_of(cluster_id)
    if primary is None or not primary.reached:
        return ()
    stale, left_behind = [], []
    for server in topology.members(cluster_id):
        if not server.reached or server.key == primary.key:
            continue
        if server.stale is not None:
            if server.stale.status is not StaleStatus.QUARANTINED or _may_leave(server, primary):
                stale.append(server.key)
        elif is_left_behind(topology, server):
            left_behind.append(server.key)
    return (*stale, *left_behind)


def _may_leave(server: Server, primary: Server) -> bool:
    """Quarantine did not hold, since a restart or a person opened it: it is fenced and compared anew.

    Or the primary has by now what kept the server out, since a person has applied it there.
    """
    if server.fresh is not None and server.fresh.is_writable:
        return True
    extra = extra_gtids(server, primary)
    if server.stale is not None and server.stale.unsound:
        return False
    return extra is not None and extra.is_empty and _has_recorded_extra(server, primary)


def _has_recorded_extra(server: Server, primary: Server) -> bool:
    """One that was recorded in words only stays out: nobody can tell any more."""
    theirs = primary.fresh.executed if primary.fresh is not None else None
    if server.stale is None or theirs is None:
        return False
    try:
        return theirs.covers(parse(theirs.family, server.stale.extra))
    except InvalidInput:
        return False


def is_left_behind(topology: Topology, server: Server) -> bool:
    """It missed a change of primary. One that replicates from nobody any more was taken out by a person."""
    if server.facts is None or server.facts.source is None:
        return False
    cluster = topology.clusters.get(server.cluster_id)
    if cluster is not None and server.key in cluster.record.left_behind:
        return True
    source = topology.servers.get(server.source) if server.source is not None else None
    return source is not None and source.stale is not None


def was_primary(context: Context) -> bool:
    return context.topology.server(context.recovery.subject.key).stale is not None


def _pause(recovery: Recovery) -> tuple[Step, ...]:
    return (Pause(deadline_s=RETRY_PAUSE_S),) if recovery.attempt > 1 else ()


def enter_fence(context: Context) -> tuple[Step, ...]:
    key = context.recovery.subject.key
    shut = Fence(key=key) if was_primary(context) else SetReadOnly(key=key)
    quiet = quieted(context, context.topology.server(key)) if was_primary(context) else ()
    return (*_pause(context.recovery), shut, Reprobe(key=key), *quiet)


def leave_fence(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = with_complaints(context.recovery, outcomes), context.now_ms
    broken = failures(of_others(outcomes))
    if broken:
        return _again(recovery.with_errors(broken), now)
    fenced = replace(recovery, fenced=True, attempt=1)
    return fenced.marked("fenced", now, str(recovery.subject.key)).goto("compare", now)


def _again(recovery: Recovery, now_ms: int) -> Recovery:
    if recovery.attempt < ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).goto(recovery.phase, now_ms)
    return recovery.ended(EndState.FAILED, now_ms, recovery.errors[-1] if recovery.errors else "it did not answer")


def enter_compare(context: Context) -> tuple[Step, ...]:
    primary = context.topology.primary_of(context.recovery.cluster_id)
    return (*_pause(context.recovery), Reprobe(key=primary.key)) if primary is not None else ()


def leave_compare(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    server = context.topology.server(recovery.subject.key)
    primary = context.topology.primary_of(recovery.cluster_id)
    if primary is None or succeeded(outcomes, Reprobe, primary.key) is None or server.facts is None:
        return _again(recovery.with_errors(failures(outcomes) or ("the cluster has no primary now",)), now)
    extra, in_words = extra_transactions(server, primary)
    unsound = server.stale.unsound if server.stale is not None else ""
    if extra or unsound:
        lacking = f"{server.key} holds transactions that {primary.key} lacks: {in_words}"
        text = f"{server.key}: {unsound}" if unsound else lacking
        kept_out = replace(recovery, lost_gtids=extra).with_errors((text,))
        if not hooks(context, KEPT_OUT):
            return kept_out.ended(EndState.QUARANTINED, now, text)
        return kept_out.ending_in("tell", EndState.QUARANTINED, now, text)
    attached = replace(recovery, successor=primary.key, attempt=1)
    return attached.marked("compared", now, f"{primary.key} has everything it has").goto(ATTACH, now)


def extra_transactions(server: Server, primary: Server) -> tuple[str, str]:
    """What ``server`` has and ``primary`` lacks: in full, and in words. One that cannot be compared is kept out."""
    extra = extra_gtids(server, primary)
    if extra is None:
        return UNKNOWN, UNKNOWN
    return ("", "") if extra.is_empty else (recorded(extra), extra.describe(300))


def extra_gtids(server: Server, primary: Server) -> GtidSet | None:
    """What ``server`` has and ``primary`` lacks; None where they cannot be compared."""
    mine = server.facts.received if server.facts else None
    theirs = primary.facts.executed if primary.facts else None
    if mine is None or theirs is None or mine.family != theirs.family:
        return None
    return _without_unacknowledged(mine.minus(theirs), server, primary)


def _without_unacknowledged(extra: GtidSet, server: Server, primary: Server) -> GtidSet:
    """What a replica got from the primary itself is no extra: there it may still wait for an acknowledgement."""
    channel, facts = server.channel, primary.facts
    if channel is None or facts is None or channel.source != primary.key:
        return extra
    if channel.source_uuid not in ("", facts.server_uuid):
        return extra
    return extra.without_sources(extra.sources_of_server(server_uuid=facts.server_uuid, server_id=facts.server_id))


def enter_attach(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    if recovery.successor is None:
        return ()
    key = recovery.subject.key
    siblings = tuple(server.key for server in context.topology.replicas_of(recovery.successor) if server.key != key)
    return (
        *_pause(recovery),
        *_as_replica(context),
        PointTo(
            key=key,
            source=recovery.successor,
            options=recovery.channel_options,
            credentials_from=(*siblings, recovery.successor),
            was_primary=was_primary(context),
            deadline_s=5.0,
        ),
    )


def _as_replica(context: Context) -> tuple[Step, ...]:
    """It acknowledges, if its primary waits for that; and it waits for nobody, or its applier would hang for ever."""
    recovery = context.recovery
    facts = context.topology.server(recovery.subject.key).facts
    waits = facts is not None and facts.semi_sync.source_enabled
    if not recovery.semi_sync and not waits:
        return ()
    acknowledges = True if recovery.semi_sync else None
    return (SetSemiSync(key=recovery.subject.key, source_enabled=False, replica_enabled=acknowledges),)


def leave_attach(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    if failures(outcomes):
        return _again(recovery.with_errors(failures(outcomes)), now)
    moved = replace(recovery, moved=(recovery.subject.key,))
    text = f"{recovery.subject.key} replicates from {recovery.successor}"
    return moved.marked("rejoined", now, text).ended(EndState.SUCCEEDED, now, text)


def enter_tell(context: Context) -> tuple[Step, ...]:
    return hooks(context, KEPT_OUT)


def leave_tell(context: Context, outcomes: Outcomes) -> Recovery:
    recovery = context.recovery.with_errors(failures(outcomes))
    text = next((mark.text for mark in reversed(recovery.timeline) if mark.name == ENDING), "it is kept out")
    return recovery.ended(recovery.ending, context.now_ms, text)


REJOIN = Kind(
    "rejoin",
    "Take back a server that missed a change of primary, or keep it out and say why",
    (
        Phase("fence", "Refuse writes there, then read it", enter_fence, leave_fence),
        Phase("compare", "Read the primary and compare", enter_compare, leave_compare),
        Phase(ATTACH, "Make it a replica of the primary", enter_attach, leave_attach),
        Phase("tell", "It is kept out: run the hooks for that", enter_tell, leave_tell, is_last=True),
    ),
    counts=False,
    of_primary=False,
    starts_period=False,
    urgency=0,
)
