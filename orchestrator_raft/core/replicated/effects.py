"""What a recovery does to the replicated cluster and its servers, derived from the recovery's own record.

It happens in the very command that records the recovery, so the record and the cluster can never disagree. That holds
for links too: the servers as replicated may still show the topology from before, because nobody has probed them since,
and the cluster would go back to its old primary the moment the recovery ends. So whatever the recovery says it did is
written into the records; what is observed later corrects the details.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.instance import Channel, InstanceKey
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.rebuild import CHECK, REBUILD, UNSOUND
from orchestrator_raft.core.replicated.servers import reassign
from orchestrator_raft.core.replicated.state import State
from orchestrator_raft.core.topology import ServerRecord, StalePrimary, StaleStatus, resolve_sources


def follow(state: State, before: Recovery, after: Recovery) -> State:
    """The state after a recovery has got from one record to the next."""
    return _promote(_unsound(_mark_stale(state, before, after), before, after), before, after)


def _unsound(state: State, before: Recovery, after: Recovery) -> State:
    """A copy begins: until one has succeeded the server's data counts for nothing."""
    key = after.subject.key
    if after.kind != REBUILD.name or before.phase != CHECK or after.phase == CHECK or key not in state.servers:
        return state
    mark = state.stale.get(key) or _stale(state, after, key)
    return replace(state, stale={**state.stale, key: replace(mark, unsound=UNSOUND, detail=UNSOUND)})


def _mark_stale(state: State, before: Recovery, after: Recovery) -> State:
    """The stale list follows the record: what the recovery adds is added, what it takes back is taken off again."""
    added = {key: _stale(state, after, key) for key in after.stale if key not in before.stale}
    kept = {
        key: mark
        for key, mark in state.stale.items()
        if mark.recovery_id != after.id or key in after.stale or key not in before.stale
    }
    return replace(state, stale={**kept, **added})


def _stale(state: State, recovery: Recovery, key: InstanceKey) -> StalePrimary:
    """It may have been fenced before, but a restart forgets that: it is fenced whenever it answers."""
    return StalePrimary(key=key, cluster_id=recovery.cluster_id, recovery_id=recovery.id, since_ms=state.time_ms)


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
    changed = replace(
        record,
        primary=after.successor,
        generation=record.generation + 1,
        ackers=tuple(ackers),
        released=(),
        left_behind=tuple(key for key in record.left_behind if key != after.successor),
    )
    return replace(
        _linked(state, (after.successor,), None),
        clusters={**state.clusters, record.id: changed},
        stale={key: mark for key, mark in state.stale.items() if key != after.successor},
        downtimes={key: mark for key, mark in state.downtimes.items() if key != after.successor},
    )


def close(state: State, recovery: Recovery) -> State:
    """The state after a recovery has ended; membership and links are free to change again."""
    if recovery.kind == "rejoin":
        state = _returned(state, recovery)
    elif recovery.kind == REBUILD.name:
        state = _rebuilt(state, recovery)
    elif not KINDS[recovery.kind].counts:
        state = relocated(state, recovery)
    elif recovery.promoted:
        state = _left_behind(state, recovery)
    else:
        state = _as_before(state, recovery)
    return reassign(state)


def relocated(state: State, recovery: Recovery) -> State:
    """Nobody's role has changed; whoever was moved has the source that the record names."""
    for move in recovery.moves:
        if move.key in recovery.moved:
            state = _linked(state, (move.key,), move.source)
    return state


def _returned(state: State, recovery: Recovery) -> State:
    """A server that is attached is no longer stale; one with extra transactions is kept out from now on."""
    key, stale = recovery.subject.key, dict(state.stale)
    if recovery.end is EndState.SUCCEEDED:
        stale.pop(key, None)
    elif recovery.end is EndState.QUARANTINED:
        mark = stale.get(key) or _stale(state, recovery, key)
        saved = mark.saved if mark.saved is not None and mark.saved.wanted == recovery.lost_gtids else None
        stale[key] = replace(mark, status=StaleStatus.QUARANTINED, extra=recovery.lost_gtids, saved=saved)
        stale[key] = replace(stale[key], detail=mark.unsound or mark.detail)
    else:
        return state
    state = _linked(state, recovery.moved, recovery.successor)
    return _with_left_behind(replace(state, stale=stale), recovery.cluster_id, without=(key,))


def _rebuilt(state: State, recovery: Recovery) -> State:
    """What kept it out is gone with its old data: it is fenced once more, compared, and attached."""
    key = recovery.subject.key
    mark = state.stale.get(key)
    if mark is None or recovery.end is not EndState.SUCCEEDED:
        return state
    renewed = replace(mark, status=StaleStatus.OUT_OF_REACH, extra="", detail="", unsound="", saved=None)
    return replace(state, stale={**state.stale, key: renewed})


def _left_behind(state: State, recovery: Recovery) -> State:
    """However it ended: whoever does not follow the new primary is on a list, so that nobody is forgotten."""
    old = recovery.subject.key
    missing = [
        key
        for key in (old, *recovery.subject.replicas)
        if key in state.servers and key != recovery.successor and key not in recovery.moved and key not in state.stale
    ]
    if old in missing:
        state = replace(state, stale={**state.stale, old: _stale(state, recovery, old)})
    replicas = tuple(key for key in missing if key != old)
    state = _linked(state, recovery.moved, recovery.successor)
    return _with_left_behind(state, recovery.cluster_id, also=replicas, without=recovery.moved)


def _as_before(state: State, recovery: Recovery) -> State:
    """Nobody was promoted: the primary is the primary, so it is not stale, whatever the recovery had intended."""
    record = state.clusters.get(recovery.cluster_id)
    primary = record.primary if record is not None else None
    stale = {key: mark for key, mark in state.stale.items() if key != primary or mark.recovery_id != recovery.id}
    lost = tuple(key for key in recovery.lost if key in state.servers and key not in stale)
    back = tuple(key for key in recovery.moved if key != primary)
    state = _with_left_behind(replace(state, stale=stale), recovery.cluster_id, also=lost)
    if primary in recovery.moved:
        state = _linked(_linked(state, (primary,), None), back, primary)
    return state


def _with_left_behind(
    state: State, cluster_id: str, *, also: tuple[InstanceKey, ...] = (), without: tuple[InstanceKey, ...] = ()
) -> State:
    record = state.clusters.get(cluster_id)
    if record is None:
        return state
    keys = tuple(sorted({*record.left_behind, *also} - set(without)))
    return replace(state, clusters={**state.clusters, cluster_id: replace(record, left_behind=keys)})


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
        return replace(record, facts=replace(facts, channels=()))
    channel = facts.channel or Channel(source=source)
    others = tuple(each for each in facts.channels if each != channel)
    return replace(record, facts=replace(facts, channels=(replace(channel, source=source, source_uuid=""), *others)))
