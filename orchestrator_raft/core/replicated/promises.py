"""What is replicated of the no-loss promise: who may acknowledge, that replicas have caught up, and what ends that.

Theory in ``core/candidates``: ``promise``, ``ackers``, ``sights``. GTID sets never go through Raft, so the leader
compares them and commits the result alone; whatever happened meanwhile to the primary or its semi-sync has raised
``lapses``, and then its result is about the past and is refused. Lapses are found in one place, after every command, so
no way to change a primary or its record can be forgotten.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.candidates import semi_sync_promises
from orchestrator_raft.core.differences import differences
from orchestrator_raft.core.instance import InstanceKey, SemiSync
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.recovery.rejoin import ATTACH
from orchestrator_raft.core.replicated.audit import audited
from orchestrator_raft.core.replicated.commands import AdmitAckers, ConfirmCaughtUp, LapsePromise, ReleaseAckers
from orchestrator_raft.core.replicated.state import Result, State
from orchestrator_raft.core.topology import ClusterRecord, resolve_sources
from orchestrator_raft.core.topology.clusters import with_new_ackers

Applied = tuple[State, Result]
REASON_MAX = 300


def lapsed(record: ClusterRecord, because: str) -> ClusterRecord:
    """Without the promise; what was seen before counts no more."""
    return replace(record, caught_up=False, lapses=record.lapses + 1, lapsed_because=because[:REASON_MAX])


def confirm_caught_up(state: State, command: ConfirmCaughtUp) -> Applied:
    record = state.clusters.get(command.cluster_id)
    if record is None:
        return state, Result(False, f"there is no cluster {command.cluster_id}")
    if record.lapses != command.lapses:
        return state, Result(False, f"the primary of {record.name} or its semi-sync has changed meanwhile")
    server = state.servers.get(record.primary) if record.primary is not None else None
    able = semi_sync_promises(server.facts if server is not None else None)
    if not able.holds:
        return state, Result(False, able.because)
    confirmed = replace(
        state, clusters={**state.clusters, record.id: replace(record, caught_up=True, lapsed_because="")}
    )
    text = f"{record.name}: its semi-sync replicas have all that it acknowledged before"
    return audited(confirmed, command, "caught-up", text, record.primary), Result(True)


def lapse(state: State, command: LapsePromise) -> Applied:
    record = state.clusters.get(command.cluster_id)
    if record is None:
        return state, Result(False, f"there is no cluster {command.cluster_id}")
    if not command.because:
        return state, Result(False, "a promise does not lapse without a reason")
    changed = lapsed(record, command.because)
    if not record.caught_up and changed.lapsed_because == record.lapsed_because:
        return state, Result(True)
    after = replace(state, clusters={**state.clusters, record.id: changed})
    return audited(after, command, "promise-lapsed", f"{record.name}: {command.because}", record.primary), Result(True)


def release_ackers(state: State, command: ReleaseAckers) -> Applied:
    record = state.clusters.get(command.cluster_id)
    if record is None:
        return state, Result(False, f"there is no cluster {command.cluster_id}")
    released = tuple(key for key in record.ackers if key in command.keys)
    refusal = _release_refused(state, record, released, command.lapses)
    if refusal:
        return state, Result(False, refusal)
    kept = tuple(key for key in record.ackers if key not in released)
    changed = replace(record, ackers=kept, released=tuple(sorted({*record.released, *released})))
    text = f"{', '.join(map(str, released))}: the others have all that it may have acknowledged, it counts no more"
    after = replace(state, clusters={**state.clusters, record.id: changed})
    return audited(after, command, "release-ackers", text, record.primary), Result(True)


def _release_refused(state: State, record: ClusterRecord, released: tuple[InstanceKey, ...], lapses: int) -> str:
    if record.lapses != lapses:
        return f"the primary of {record.name} or its semi-sync has changed meanwhile"
    if not released:
        return f"none of them is a possible acker of {record.name}"
    if record.id in state.frozen_clusters:
        return f"{record.name} is being recovered"
    primary = state.servers.get(record.primary) if record.primary is not None else None
    able = semi_sync_promises(primary.facts if primary is not None else None)
    if not able.holds or primary is None or primary.facts is None:
        return able.because
    if len(record.ackers) - len(released) < primary.facts.semi_sync.wait_for_replica_count:
        return f"{record.name} would have fewer possible ackers than its primary waits for"
    sources = resolve_sources(state.servers)
    back = [key for key in released if _acknowledges(state, key, sources.get(key) == primary.key)]
    return f"{back[0]} answers again" if back else ""


def _acknowledges(state: State, key: InstanceKey, is_replica: bool) -> bool:
    server = state.servers.get(key)
    is_semi_sync = server is not None and server.facts is not None and server.facts.semi_sync.replica_enabled
    return is_replica and is_semi_sync and server is not None and server.reachable


def admit_ackers(state: State, command: AdmitAckers) -> Applied:
    record = state.clusters.get(command.cluster_id)
    back = tuple(key for key in record.released if key in command.keys) if record is not None else ()
    if record is None or not back:
        return state, Result(False, f"none of them was released from the possible ackers of {command.cluster_id}")
    kept = tuple(key for key in record.released if key not in back)
    changed = replace(record, ackers=tuple(sorted({*record.ackers, *back})), released=kept)
    text = f"{', '.join(map(str, back))}: connected to the primary again, a possible acker"
    after = replace(state, clusters={**state.clusters, record.id: changed})
    return audited(after, command, "admit-ackers", text, record.primary), Result(True)


def ackers_after(state: State, record: ClusterRecord) -> ClusterRecord:
    """The record with everybody who is a possible acker once nothing holds it still.

    While a server is taken back nothing of the cluster changes, but replicas that came meanwhile, and the server that
    is being attached, may acknowledge.
    """
    running = state.active_recovery(record.id)
    if running is None:
        return record
    record = with_new_ackers(record, state.servers)
    return with_ackers_in_between(state, record, running)


def with_ackers_in_between(state: State, record: ClusterRecord, running: Recovery) -> ClusterRecord:
    """The record with the servers in between that may acknowledge to its primary."""
    found = concerned(state, record, running).intersection(servers_in_between(running))
    return replace(record, ackers=tuple(sorted({*record.ackers, *found})))


def concerned(state: State, record: ClusterRecord, running: Recovery) -> frozenset[InstanceKey]:
    """Whom a recovery may have made a replica in this cluster: members, and servers that it moves below one of them.

    A server that goes from one cluster to another counts in both, since nobody knows how far it has come.
    """
    members = {key for key, server in state.servers.items() if server.cluster_id == record.id}
    coming = {move.key for move in running.moves if move.source in members and move.key in state.servers}
    return frozenset((members | coming) - {record.primary})


def servers_in_between(running: Recovery) -> tuple[InstanceKey, ...]:
    """Servers that may replicate from the primary by now, and acknowledge, and may not."""
    if running.phase == ATTACH:
        return (running.subject.key,)
    return tuple(move.key for move in running.moves if move.key not in running.moved)


def with_lapses(before: State, after: State) -> State:
    """``after`` with a lapse for each cluster whose primary, or whose primary's semi-sync, is not what it was."""
    if before.servers is after.servers and before.clusters is after.clusters:
        return after
    changed = {
        cluster_id: lapsed(record, "")
        for cluster_id, record in _concerned(before, after).items()
        if _rests_on(after, record) != _rests_on(before, before.clusters.get(cluster_id))
    }
    return replace(after, clusters={**after.clusters, **changed}) if changed else after


def _rests_on(state: State, record: ClusterRecord | None) -> tuple[InstanceKey | None, SemiSync | None]:
    if record is None or record.primary is None:
        return None, None
    return record.primary, _semi_sync(state, record.primary)


def _concerned(before: State, after: State) -> dict[str, ClusterRecord]:
    """The only clusters for which ``_rests_on`` can differ, found without asking each."""
    switched = {
        key for key in differences(before.servers, after.servers) if _semi_sync(before, key) != _semi_sync(after, key)
    }
    of_switched = (record.id for record in after.clusters.values() if record.primary in switched)
    found = {*differences(before.clusters, after.clusters), *(of_switched if switched else ())}
    return {cluster_id: after.clusters[cluster_id] for cluster_id in found if cluster_id in after.clusters}


def _semi_sync(state: State, key: InstanceKey) -> SemiSync | None:
    server = state.servers.get(key)
    return server.facts.semi_sync if server is not None and server.facts is not None else None
