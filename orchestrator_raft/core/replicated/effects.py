"""What a recovery does to the replicated cluster and its servers, derived from the recovery's own record.

It happens in the very command that records the recovery, so the record and the cluster can never disagree. That holds
for links too: the servers as replicated may still show the topology from before, because nobody has probed them since,
and the cluster would go back to its old primary the moment the recovery ends. So whatever the recovery says it did is
written into the records; what is observed later corrects the details.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.instance import Channel, InstanceKey
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.replicated.servers import reassign
from orchestrator_raft.core.replicated.state import State
from orchestrator_raft.core.topology import ServerRecord, StalePrimary, StaleStatus, resolve_sources


def follow(state: State, before: Recovery, after: Recovery) -> State:
    """The state after a recovery has got from one record to the next."""
    return _promote(_mark_stale(state, before, after), before, after)


def _mark_stale(state: State, before: Recovery, after: Recovery) -> State:
    new = {
        key: StalePrimary(key=key, cluster_id=after.cluster_id, recovery_id=after.id, since_ms=state.time_ms)
        for key in after.stale
        if key not in before.stale
    }
    return replace(state, stale={**state.stale, **new}) if new else state


def _promote(state: State, before: Recovery, after: Recovery) -> State:
    """The cluster's primary changes in the very command that records the promotion."""
    record = state.clusters.get(after.cluster_id)
    if record is None or not after.promoted or before.promoted or after.successor is None:
        return state
    followers = {after.subject.key, *after.subject.replicas} - {after.successor, *after.stale}
    ackers = [
        key
        for key in sorted(followers)
        if key in state.servers
        if (facts := state.servers[key].facts) is not None and facts.semi_sync.replica_enabled
    ]
    changed = replace(record, primary=after.successor, generation=record.generation + 1, ackers=tuple(ackers))
    return replace(
        _linked(state, (after.successor,), None),
        clusters={**state.clusters, record.id: changed},
        stale={key: mark for key, mark in state.stale.items() if key != after.successor},
        downtimes={key: mark for key, mark in state.downtimes.items() if key != after.successor},
    )


def close(state: State, recovery: Recovery) -> State:
    """The state after a recovery has ended; membership and links are free to change again."""
    key = recovery.subject.key
    if recovery.kind == "rejoin" and key in state.stale:
        stale = dict(state.stale)
        if recovery.end is EndState.SUCCEEDED:
            del stale[key]
        elif recovery.end is EndState.QUARANTINED:
            stale[key] = replace(stale[key], status=StaleStatus.QUARANTINED, extra=recovery.lost_gtids)
        state = replace(state, stale=stale)
    if recovery.successor is not None:
        state = _linked(state, recovery.moved, recovery.successor)
    return reassign(state)


def _linked(state: State, keys: tuple[InstanceKey, ...], source: InstanceKey | None) -> State:
    """With the records of ``keys`` showing ``source``, where they show another one."""
    links = resolve_sources(state.servers)
    changed = {key: _with_source(state.servers[key], source) for key in keys if key in links and links[key] != source}
    return replace(state, servers={**state.servers, **changed}) if changed else state


def _with_source(record: ServerRecord, source: InstanceKey | None) -> ServerRecord:
    facts = record.facts
    if facts is None:
        return record
    if source is None:
        return replace(record, facts=replace(facts, channels=(), read_only=False, super_read_only=False))
    channel = facts.channel or Channel(source=source)
    others = tuple(each for each in facts.channels if each != channel)
    return replace(record, facts=replace(facts, channels=(replace(channel, source=source, source_uuid=""), *others)))
