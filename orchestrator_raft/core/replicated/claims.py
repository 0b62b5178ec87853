"""May this recovery start? One lease per cluster, no storms, and a reason for every refusal.

The same function answers the leader before it proposes and ``apply`` when it decides, so the log holds no hopeless
claims.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.replicated.state import State


@dataclass(frozen=True, slots=True)
class ClaimRefusal:
    """Why a claim is refused, and the recovery that is in the way where there is one."""

    reason: str
    blocking_recovery_id: str = ""


@dataclass(frozen=True, slots=True)
class Storm:
    """So many clusters recovered within so long a time: something larger is wrong, and people have to look first."""

    clusters: int = 0
    period_ms: int = 0


NO_STORM = Storm()
LAST_MS = 253_402_300_799_000
"""The end of the year 9999."""


def refuse_claim(state: State, recovery: Recovery, block_ms: int, storm: Storm = NO_STORM) -> ClaimRefusal | None:
    """None when the claim may be granted."""
    held = (recovery.cluster_id, *recovery.other_clusters)
    paused = next(filter(None, (refuse_paused(state, each) for each in held)), "")
    nonsense = _refuse_nonsense(state, recovery) or paused
    if nonsense:
        return ClaimRefusal(nonsense)
    for running in (state.active_recovery(each) for each in held):
        if running is not None and (recovery.other_clusters or not gives_way(running, recovery.kind)):
            text = f"recovery {running.id} of this cluster is running since it was claimed by {running.holder}"
            return ClaimRefusal(text, running.id)
    if recovery.request.forced:
        return None
    return _refuse_automatic(state, recovery, block_ms) or _refuse_in_storm(state, recovery, storm)


def refuse_paused(state: State, cluster_id: str) -> str:
    """Why nobody may write to the servers of this cluster now; empty when one may."""
    pause = state.pause_of(cluster_id)
    if pause is None:
        return ""
    cluster = state.clusters.get(pause.cluster_id)
    command = f"raftctl resume {cluster.alias or cluster.name}" if cluster is not None else "raftctl resume"
    since = f"since {_utc(pause.since_ms)} by {pause.by or 'somebody'}"
    return f"writes to its servers are paused {since} ({pause.reason or 'no reason given'}): {command}"


def _refuse_in_storm(state: State, recovery: Recovery, storm: Storm) -> ClaimRefusal | None:
    """Only one that changes a primary or moves servers is held back, and only such ones count, once a cluster."""
    if storm.clusters <= 0 or not KINDS[recovery.kind].starts_period:
        return None
    since_ms = state.time_ms - storm.period_ms
    counted = [
        each
        for each in state.recoveries.values()
        if KINDS[each.kind].starts_period
        and each.acknowledged is None
        and not each.request.forced
        and each.started_ms >= since_ms
        and (each.is_active or has_acted(each))
    ]
    clusters = {each.cluster_id for each in counted} - {recovery.cluster_id}
    if len(clusters) < storm.clusters:
        return None
    text = (
        f"{len(clusters)} clusters were recovered within {storm.period_ms // 1000} s, so something larger is wrong "
        f"(StormClusters): nothing more is recovered by itself until {_utc(counted[0].started_ms + storm.period_ms)}, "
        "or until somebody has looked and acknowledges: raftctl ack --all"
    )
    return ClaimRefusal(text, counted[-1].id)


def gives_way(running: Recovery, kind: str) -> bool:
    """A less urgent recovery ends at once for a more urgent one: it can begin again, an outage cannot wait."""
    return KINDS[running.kind].urgency < KINDS[kind].urgency


def _refuse_nonsense(state: State, recovery: Recovery) -> str:
    """What no claim may be, whoever makes it: the fleet has moved on since it was proposed, or it is malformed."""
    cluster = state.clusters.get(recovery.cluster_id)
    if cluster is None:
        return f"there is no cluster {recovery.cluster_id} any more"
    kind = KINDS.get(recovery.kind)
    if kind is None:
        return f"there is no recovery named '{recovery.kind}'"
    key = recovery.subject.key
    record = state.servers.get(key)
    if record is None or record.cluster_id != cluster.id:
        return f"{key} does not belong to cluster {cluster.name} any more"
    if kind.of_primary is not None and kind.of_primary != (key == cluster.primary):
        return f"{key} is {'not ' if kind.of_primary else ''}the primary of its cluster now ({cluster.name} is)"
    if recovery.id in state.recoveries:
        return f"there is a recovery {recovery.id} already"
    if not recovery.is_active or recovery.promoted or recovery.phase != kind.phases[0].name:
        return f"recovery {recovery.id} does not begin at its beginning"
    return ""


def _refuse_automatic(state: State, recovery: Recovery, block_ms: int) -> ClaimRefusal | None:
    if state.recoveries_disabled:
        return ClaimRefusal("automatic recoveries are disabled (raftctl recoveries enable)")
    downtime = state.downtimes.get(recovery.subject.key)
    if downtime is not None and downtime.ends_ms > state.time_ms:
        text = f"{recovery.subject.key} is in downtime by {downtime.owner}: {downtime.reason}"
        ends = f"until {_utc(downtime.ends_ms)}, or: raftctl downtime end {recovery.subject.key}"
        return ClaimRefusal(f"{text} ({ends})")
    mark = state.maintenances.get(recovery.subject.key)
    if mark is not None and mark.ends_ms > state.time_ms:
        text = f"{recovery.subject.key} is in maintenance by {mark.owner}: {mark.reason}"
        ends = f"until {_utc(mark.ends_ms)}, or: raftctl maintenance end {recovery.subject.key}"
        return ClaimRefusal(f"{text} ({ends})")
    if not KINDS[recovery.kind].starts_period:
        return None
    for earlier in reversed(tuple(state.recoveries.values())):
        if earlier.cluster_id == recovery.cluster_id and _blocks(state, earlier, recovery, block_ms):
            text = (
                f"recovery {earlier.number} of {_whom(earlier)} ended at {_utc(earlier.finished_ms)}; it is not "
                f"recovered again by itself until {_utc(earlier.finished_ms + block_ms)} (RecoveryPeriodBlockSeconds), "
                f"or until somebody acknowledges: raftctl ack {earlier.number}"
            )
            return ClaimRefusal(text, earlier.id)
    return None


def _utc(at_ms: int) -> str:
    """For people; a time that is no date is the last there is, since nothing here may raise."""
    at_ms = min(at_ms, LAST_MS)
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _blocks(state: State, earlier: Recovery, recovery: Recovery, block_ms: int) -> bool:
    """Only one of the same sort that did something, by itself or not, and that nobody has acknowledged.

    Of those that change no primary, one blocks others of the same server alone; and moving the rest of the replicas of
    a server that has been dead ever since is no second recovery.
    """
    before, now = KINDS[earlier.kind], KINDS[recovery.kind]
    if not before.starts_period or before.counts is not now.counts or earlier.is_active or not has_acted(earlier):
        return False
    if not now.counts and (not _is_repeated(earlier, recovery) or _is_dead_since(state, earlier)):
        return False
    return earlier.acknowledged is None and state.time_ms < earlier.finished_ms + block_ms


def _is_repeated(earlier: Recovery, recovery: Recovery) -> bool:
    return (earlier.kind, earlier.subject.key) == (recovery.kind, recovery.subject.key)


def has_acted(recovery: Recovery) -> bool:
    """It promoted somebody, or of those that change no primary, moved or changed a server."""
    return recovery.promoted or (not KINDS[recovery.kind].counts and bool(recovery.moved))


def _whom(earlier: Recovery) -> str:
    return "this cluster" if KINDS[earlier.kind].counts else str(earlier.subject.key)


def _is_dead_since(state: State, earlier: Recovery) -> bool:
    record = state.servers.get(earlier.subject.key)
    return record is not None and not record.reachable and record.reachable_changed_ms <= earlier.finished_ms
