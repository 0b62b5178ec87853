"""Handlers of commands about recoveries: claim, resume, record, finish, acknowledge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.dead_intermediate import DEAD_INTERMEDIATE
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.losses import as_found
from orchestrator_raft.core.recovery.model import Acknowledgement, EndState, Recovery, Subject
from orchestrator_raft.core.recovery.net_timeout import NET_TIMEOUT
from orchestrator_raft.core.recovery.operation import OPERATION, on_their_way
from orchestrator_raft.core.replicated.audit import audited
from orchestrator_raft.core.replicated.claims import Storm, gives_way, refuse_claim
from orchestrator_raft.core.replicated.commands import (
    AcknowledgeRecoveries,
    ClaimRecovery,
    Command,
    FinishRecovery,
    RecordBlocked,
    RecordDetection,
    RecordPhase,
    ResumeRecovery,
)
from orchestrator_raft.core.replicated.effects import close, follow, relocated
from orchestrator_raft.core.replicated.promises import concerned, servers_in_between, with_ackers_in_between
from orchestrator_raft.core.replicated.state import (
    BLOCKED_MAX,
    DETECTIONS_MAX,
    RECOVERIES_MAX,
    RETURNS_MAX,
    BlockedRecovery,
    Detection,
    Result,
    State,
)
from orchestrator_raft.core.topology import ClusterRecord
from orchestrator_raft.core.topology.clusters import with_new_ackers

Applied = tuple[State, Result]
LEAVES_BEHIND: dict[str, Callable[[Recovery], tuple[InstanceKey, ...]]] = {
    DEAD_INTERMEDIATE.name: servers_in_between,
    OPERATION.name: on_their_way,
    NET_TIMEOUT.name: lambda recovery: (recovery.subject.key,),
}
"""By kind: servers that stand still, or below a wrong source, once it has given way."""


def claim(state: State, command: ClaimRecovery) -> Applied:
    free = _with_return_ended(state, command)
    storm = Storm(command.storm_clusters, command.storm_ms)
    refusal = refuse_claim(free, command.recovery, command.block_ms, storm)
    if refusal is not None:
        return state, Result(False, refusal.reason, refusal.blocking_recovery_id)
    state = free
    number = state.recovery_number + 1
    recovery = replace(command.recovery, number=number, started_ms=state.time_ms, phase_started_ms=state.time_ms)
    recovery = replace(recovery, subject=_without_stale(state, recovery.subject))
    recovery = recovery.marked("claimed", state.time_ms, recovery.holder)
    if KINDS[recovery.kind].counts:
        cluster = state.clusters[recovery.cluster_id]
        recovery = as_found(recovery, cluster, state.servers[recovery.subject.key].facts)
    subject = recovery.subject
    blocked = tuple(each for each in state.blocked if each.cluster_id != recovery.cluster_id)
    claimed = replace(
        state, recoveries=_bounded({**state.recoveries, recovery.id: recovery}), recovery_number=number, blocked=blocked
    )
    text = (
        f"{subject.code}: recovery {recovery.id} ({recovery.kind}) claimed by {recovery.holder}, term {recovery.term}"
    )
    if recovery.kind == OPERATION.name:  # one entry tells of it, when it has ended
        return claimed, Result(True, value=recovery.id)
    return audited(claimed, command, "claim-recovery", text, subject.key), Result(True, value=recovery.id)


def _with_return_ended(state: State, command: ClaimRecovery) -> State:
    """A recovery that gives way to this claim has ended; membership stands still from the one to the other.

    What kept standing still with it must not be missed now: replicas that came meanwhile, and servers that it was
    attaching or moving, may acknowledge.
    """
    claimed = command.recovery
    running = state.active_recovery(claimed.cluster_id)
    if (
        running is None
        or claimed.cluster_id not in state.clusters
        or claimed.kind not in KINDS
        or not gives_way(running, claimed.kind)
    ):
        return state
    text = f"it gave way to recovery {claimed.id} ({claimed.kind}) of {claimed.subject.key}"
    ended = running.ended(EndState.FAILED, state.time_ms, text)
    after = relocated(replace(state, recoveries={**state.recoveries, ended.id: ended}), running)
    held = (after.clusters.get(each) for each in (running.cluster_id, *running.other_clusters))
    booked = {record.id: _with_in_between(after, record, running) for record in held if record is not None}
    after = replace(after, clusters={**after.clusters, **booked})
    text = f"recovery {ended.id} ({ended.kind}): {text}"
    return audited(after, command, "finish-recovery", text, ended.subject.key)


def _with_in_between(state: State, record: ClusterRecord, running: Recovery) -> ClusterRecord:
    """Its possible ackers, and whom it has to look after, once a recovery that held it has given way.

    One that was on its way here from another cluster is held still by a failover of this one; it returns to the other.
    """
    record = with_ackers_in_between(state, with_new_ackers(record, state.servers), running)
    left = LEAVES_BEHIND[running.kind](running) if running.kind in LEAVES_BEHIND else ()
    here = concerned(state, record, running).intersection(left) - set(state.stale)
    return replace(record, left_behind=tuple(sorted({*record.left_behind, *here})))


def _without_stale(state: State, subject: Subject) -> Subject:
    """A stale primary that was just being attached is no replica to be promoted or moved; it is a possible acker."""
    return replace(subject, replicas=tuple(key for key in subject.replicas if key not in state.stale))


def _bounded(recoveries: dict[str, Recovery]) -> dict[str, Recovery]:
    """Drop the oldest ended ones beyond the limits; a running one is never dropped.

    Returns have a limit of their own: one that fails over and over must not push a change of primary out, by which the
    cluster is known not to be recovered again so soon.
    """
    dropped: set[str] = set()
    for starts_period, limit in ((True, RECOVERIES_MAX), (False, RETURNS_MAX)):
        of_kind = [key for key, recovery in recoveries.items() if KINDS[recovery.kind].starts_period is starts_period]
        excess = max(0, len(of_kind) - limit)
        dropped.update([key for key in of_kind if not recoveries[key].is_active][:excess])
    return {key: recovery for key, recovery in recoveries.items() if key not in dropped} if dropped else recoveries


def resume(state: State, command: ResumeRecovery) -> Applied:
    recovery = state.recoveries.get(command.recovery_id)
    if recovery is None or not recovery.is_active:
        return state, Result(False, f"recovery {command.recovery_id} is not running")
    if command.term <= recovery.term:
        return state, Result(False, f"recovery {recovery.id} is held by {recovery.holder} in term {recovery.term}")
    taken = recovery.resumed(command.holder, command.term, state.time_ms)
    resumed = replace(state, recoveries={**state.recoveries, recovery.id: taken})
    text = f"recovery {recovery.id} resumed by {command.holder} in phase {recovery.phase}"
    return audited(resumed, command, "resume-recovery", text, recovery.subject.key), Result(True)


def record_phase(state: State, command: RecordPhase) -> Applied:
    return _record(state, command, command.recovery)


def finish(state: State, command: FinishRecovery) -> Applied:
    if command.recovery.is_active:
        return state, Result(False, f"recovery {command.recovery.id} has not ended")
    return _record(state, command, command.recovery)


def _record(state: State, command: Command, recovery: Recovery) -> Applied:
    known = state.recoveries.get(recovery.id)
    if known is None or not known.is_active:
        return state, Result(False, f"recovery {recovery.id} is not running")
    if (known.term, known.holder) != (recovery.term, recovery.holder):
        return state, Result(False, f"recovery {recovery.id} was taken over by {known.holder} in term {known.term}")
    if _identity(known) != _identity(recovery):
        return state, Result(
            False, f"recovery {recovery.id} is about {known.subject.key} of cluster {known.cluster_id}"
        )
    recorded = replace(state, recoveries={**state.recoveries, recovery.id: recovery})
    recorded = follow(recorded, known, recovery)
    if recovery.is_active:
        return recorded, Result(True)
    return _close(recorded, command, recovery), Result(True)


def _identity(recovery: Recovery) -> tuple[object, ...]:
    """What never changes while a recovery runs."""
    return recovery.kind, recovery.cluster_id, recovery.number, recovery.subject, recovery.request, recovery.started_ms


def _close(state: State, command: Command, recovery: Recovery) -> State:
    if recovery.kind == OPERATION.name:
        request, last = recovery.request, recovery.timeline[-1].text if recovery.timeline else ""
        asked = replace(command, by=request.by, request_id=request.request_id)
        return close(
            audited(state, asked, request.command, f"{recovery.end.value}: {last}", recovery.subject.key), recovery
        )
    text = f"recovery {recovery.id} ({recovery.kind}) {recovery.end.value}"
    if recovery.timeline:
        text += f": {recovery.timeline[-1].text}"
    return close(audited(state, command, "finish-recovery", text, recovery.subject.key), recovery)


def record_detection(state: State, command: RecordDetection) -> Applied:
    number = state.detection_number + 1
    detection = Detection(
        number=number, subject=command.subject, at_ms=state.time_ms, node_id=command.by, recovery_id=command.recovery_id
    )
    detections = (*state.detections[-(DETECTIONS_MAX - 1) :], detection)
    return replace(state, detections=detections, detection_number=number), Result(True, value=str(number))


def record_blocked(state: State, command: RecordBlocked) -> Applied:
    record = state.clusters.get(command.cluster_id)
    entry = BlockedRecovery(
        key=command.key,
        cluster_id=command.cluster_id,
        cluster_name=record.name if record else command.cluster_id,
        code=command.code,
        reason=command.reason,
        at_ms=state.time_ms,
        blocking_recovery_id=command.blocking_recovery_id,
    )
    others = tuple(each for each in state.blocked if (each.key, each.code) != (entry.key, entry.code))
    return replace(state, blocked=(*others[-(BLOCKED_MAX - 1) :], entry)), Result(True)


def acknowledge(state: State, command: AcknowledgeRecoveries) -> Applied:
    if not command.comment:
        return state, Result(False, "No acknowledge comment given")
    mark = Acknowledgement(at_ms=state.time_ms, by=command.by, comment=command.comment)
    chosen = [each for each in state.recoveries.values() if not each.is_active and _is_meant(command, each)]
    fresh = {each.id: replace(each, acknowledged=mark) for each in chosen if each.acknowledged is None}
    detections = tuple(
        replace(each, acknowledged=mark) if each.acknowledged is None and each.recovery_id in fresh else each
        for each in state.detections
    )
    released = {each.id for each in chosen}
    done = replace(
        state,
        recoveries={**state.recoveries, **fresh},
        detections=detections,
        blocked=tuple(each for each in state.blocked if each.blocking_recovery_id not in released),
    )
    text = f"{len(fresh)} recoveries: {command.comment}"
    return audited(done, command, "ack-recovery", text, command.key), Result(True, value=str(len(fresh)))


def _is_meant(command: AcknowledgeRecoveries, recovery: Recovery) -> bool:
    if command.every:
        return True
    if command.recovery_id:
        return command.recovery_id in (recovery.id, str(recovery.number))
    if command.key is not None:
        return command.key == recovery.subject.key
    return bool(command.cluster_id) and command.cluster_id == recovery.cluster_id
