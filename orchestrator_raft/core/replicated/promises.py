"""What is replicated of the no-loss promise: that the replicas have caught up with the primary, and what ends that.

Theory in ``core/candidates/promise.py``. GTID sets never go through Raft, so the leader compares them and commits the
result alone; whatever happened meanwhile to the primary or its semi-sync has raised ``lapses``, and then its result is
about the past and is refused. Lapses are found in one place, after every command, so no way to change a primary or its
record can be forgotten.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.candidates import semi_sync_promises
from orchestrator_raft.core.instance import InstanceKey, SemiSync
from orchestrator_raft.core.replicated.audit import audited
from orchestrator_raft.core.replicated.commands import ConfirmCaughtUp
from orchestrator_raft.core.replicated.state import Result, State
from orchestrator_raft.core.topology import ClusterRecord

Applied = tuple[State, Result]


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
    confirmed = replace(state, clusters={**state.clusters, record.id: replace(record, caught_up=True)})
    text = f"{record.name}: its semi-sync replicas have all that it acknowledged before"
    return audited(confirmed, command, "caught-up", text, record.primary), Result(True)


def with_lapses(before: State, after: State) -> State:
    """``after`` with a lapse for each cluster whose primary, or whose primary's semi-sync, is not what it was."""
    if before.servers is after.servers and before.clusters is after.clusters:
        return after
    lapsed = {
        cluster_id: replace(record, caught_up=False, lapses=record.lapses + 1)
        for cluster_id, record in after.clusters.items()
        if _rests_on(after, record) != _rests_on(before, before.clusters.get(cluster_id))
    }
    return replace(after, clusters={**after.clusters, **lapsed}) if lapsed else after


def _rests_on(state: State, record: ClusterRecord | None) -> tuple[InstanceKey | None, SemiSync | None]:
    if record is None or record.primary is None:
        return None, None
    server = state.servers.get(record.primary)
    return record.primary, server.facts.semi_sync if server is not None and server.facts is not None else None
