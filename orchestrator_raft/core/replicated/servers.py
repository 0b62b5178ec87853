"""Handlers of commands about servers: structure, forgetting, downtime, stale primaries."""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.candidates import semi_sync_promises
from orchestrator_raft.core.differences import differences
from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.replicated import policies
from orchestrator_raft.core.replicated.audit import audited
from orchestrator_raft.core.replicated.commands import (
    BeginDowntime,
    EndDowntime,
    ForgetServers,
    MarkStale,
    ObserveServers,
    ServerObservation,
)
from orchestrator_raft.core.replicated.promises import lapsed
from orchestrator_raft.core.replicated.state import Result, State
from orchestrator_raft.core.topology import ClusterRecord, Downtime, ServerRecord, reassign_clusters

Applied = tuple[State, Result]
ADDRESSES_MAX = 8


def observe(state: State, command: ObserveServers) -> Applied:
    records = dict(state.servers)
    for seen in command.servers:
        records[seen.key] = _merge(records.get(seen.key), seen, state.time_ms)
    seen_first = replace(state, servers=records)
    for seen in command.servers:
        for address in seen.addresses:
            if seen.key in seen_first.servers and is_absorbed(seen_first, address, records[seen.key].facts):
                seen_first = _absorb(seen_first, address, seen.key)
    return _counted_once(state, reassign(seen_first)), Result(True)


def _counted_once(before: State, after: State) -> State:
    """A primary that has both another name and another server in its role has changed once."""
    recounted: dict[str, ClusterRecord] = {}
    for cluster_id in differences(before.clusters, after.clusters):
        known, record = before.clusters.get(cluster_id), after.clusters.get(cluster_id)
        if known is not None and record is not None:
            generation = known.generation + (record.primary != known.primary)
            recounted[cluster_id] = replace(record, generation=generation)
    return replace(after, clusters={**after.clusters, **recounted}) if recounted else after


def is_absorbed(state: State, address: InstanceKey, facts: Facts | None) -> bool:
    """The record at this address is an earlier one of the server with these facts, known there by another name."""
    record = state.servers.get(address)
    if record is None or facts is None or facts.key == address or record.cluster_id in state.frozen_clusters:
        return False
    return record.facts is None or record.facts.is_same_server(facts)


def _absorb(state: State, address: InstanceKey, key: InstanceKey) -> State:
    """Everything that was noted under ``address`` belongs to ``key``, which is another name of the same server."""
    old, new = state.servers[address], state.servers[key]
    addresses = _bounded({*new.addresses, *old.addresses, address}, key)
    merged = replace(new, cluster_id=new.cluster_id or old.cluster_id, addresses=addresses)
    servers = {each: record for each, record in state.servers.items() if each != address} | {key: merged}
    clusters = {cluster_id: _renamed(record, address, key) for cluster_id, record in state.clusters.items()}
    downtimes = {(key if each == address else each): mark for each, mark in state.downtimes.items()}
    stale = {(key if each == address else each): mark for each, mark in state.stale.items()}
    return replace(
        policies.moved(state, address, key),
        servers=servers,
        clusters=clusters,
        downtimes={each: replace(mark, key=each) for each, mark in downtimes.items()},
        stale={each: replace(mark, key=each) for each, mark in stale.items()},
    )


def _renamed(record: ClusterRecord, address: InstanceKey, key: InstanceKey) -> ClusterRecord:
    def rename(keys: tuple[InstanceKey, ...]) -> tuple[InstanceKey, ...]:
        return tuple(sorted({key if each == address else each for each in keys})) if address in keys else keys

    ackers = rename(record.ackers)
    return replace(
        record,
        primary=key if record.primary == address else record.primary,
        generation=record.generation + 1 if record.primary == address else record.generation,
        ackers=ackers,
        released=tuple(each for each in rename(record.released) if each not in ackers),
        left_behind=rename(record.left_behind),
    )


def _bounded(addresses: set[InstanceKey], key: InstanceKey) -> tuple[InstanceKey, ...]:
    return tuple(sorted(addresses - {key}))[:ADDRESSES_MAX]


def _merge(known: ServerRecord | None, seen: ServerObservation, now_ms: int) -> ServerRecord:
    before = known or ServerRecord(key=seen.key, reachable_changed_ms=now_ms)
    addresses = _bounded({*before.addresses, *seen.addresses}, seen.key)
    changed = known is None or before.reachable != seen.reachable
    return replace(
        before,
        facts=seen.facts or before.facts,
        addresses=addresses,
        reachable=seen.reachable,
        reachable_changed_ms=now_ms if changed else before.reachable_changed_ms,
    )


def reassign(state: State) -> State:
    """Clusters follow from the records, except those that a recovery holds still."""
    assigned = reassign_clusters(
        state.servers, state.clusters, state.stale, state.frozen_clusters, state.cluster_number
    )
    return replace(state, servers=assigned.servers, clusters=assigned.clusters, cluster_number=assigned.next_number)


def forget(state: State, command: ForgetServers) -> Applied:
    known = [key for key in command.keys if key in state.servers]
    if not known:
        names = ", ".join(str(key) for key in command.keys)
        return state, Result(False, f"{names}: not found among the known servers")
    busy = [key for key in known if state.servers[key].cluster_id in state.frozen_clusters]
    if busy:
        return state, Result(
            False, f"{busy[0]} belongs to a cluster that is being recovered: wait until that has ended"
        )
    gone = frozenset(known)
    needed = "" if command.forced else next(filter(None, (_needed(state, key, gone) for key in known)), "")
    if needed:
        return state, Result(False, needed)
    clusters = {cluster_id: _without(record, gone) for cluster_id, record in state.clusters.items()}
    without = replace(
        policies.without(state, gone),
        servers={key: record for key, record in state.servers.items() if key not in gone},
        clusters=clusters,
        downtimes={key: mark for key, mark in state.downtimes.items() if key not in gone},
        stale={key: mark for key, mark in state.stale.items() if key not in gone},
    )
    for key in known:
        without = audited(without, command, "forget", command.reason, key)
    return reassign(without), Result(True)


def _without(record: ClusterRecord, gone: frozenset[InstanceKey]) -> ClusterRecord:
    """What a forgotten server acknowledged may be nowhere else, so the promise has to be made anew without it."""
    kept = replace(
        record,
        ackers=tuple(key for key in record.ackers if key not in gone),
        released=tuple(key for key in record.released if key not in gone),
        left_behind=tuple(key for key in record.left_behind if key not in gone),
    )
    lost = [key for key in record.ackers if key in gone]
    if not lost or record.primary in gone:
        return kept
    names = ", ".join(str(key) for key in lost)
    return lapsed(kept, f"{names}: forgotten, and may have acknowledged writes that no other server has")


def _needed(state: State, key: InstanceKey, gone: frozenset[InstanceKey]) -> str:
    """What depends on this server's record, and what a person has to know who drops it all the same."""
    record = state.clusters.get(state.servers[key].cluster_id)
    primary = state.servers.get(record.primary) if record is not None and record.primary is not None else None
    if (
        record is not None
        and primary is not None
        and primary.key not in gone
        and key in record.ackers
        and state.servers[key].reachable
        and semi_sync_promises(primary.facts).holds
    ):
        return (
            f"{key} answers and acknowledges writes to {primary.key} (semi-sync): once forgotten, nobody would ask it "
            "for them when the primary dies. Shut it down first, or switch its semi-sync off, restart its receiver and "
            "wait until it is no possible acker any more (raftctl clusters --json); only to give up the no-loss "
            f"promise until the others have caught up: raftctl forget {key} --force"
        )
    mark = state.stale.get(key)
    if mark is not None:
        return (
            f"{key} is a stale primary ({mark.status.value}): once forgotten, nobody fences it when it comes back, and "
            "it may take writes beside the new primary. Wait until it is taken back; only if it will never start "
            f"again, or is wiped first: raftctl forget {key} --force"
        )
    return ""


def begin_downtime(state: State, command: BeginDowntime) -> Applied:
    if command.key not in state.servers:
        return state, Result(False, f"{command.key} is not known: discover it first")
    why_not = policies.bad_end(state, command.ends_ms, "a downtime") or policies.too_long(
        owner=command.owner, reason=command.reason
    )
    if why_not:
        return state, Result(False, why_not)
    stale = policies.changed(command, state.downtimes.get(command.key))
    if stale is not None:
        return state, stale
    mark = Downtime(
        key=command.key,
        owner=command.owner,
        reason=command.reason,
        begun_ms=state.time_ms,
        ends_ms=command.ends_ms,
        version=state.policy_number + 1,
    )
    begun = replace(state, downtimes={**state.downtimes, command.key: mark}, policy_number=mark.version)
    text = f"owner: {command.owner}, reason: {command.reason}"
    return audited(begun, command, "begin-downtime", text, command.key), Result(True, value=str(mark.version))


def end_downtime(state: State, command: EndDowntime) -> Applied:
    mark = state.downtimes.get(command.key)
    if mark is None:
        return state, Result(False, f"{command.key} is not in downtime")
    stale = policies.changed(command, mark)
    if stale is not None:
        return state, stale
    if command.expired and mark.ends_ms > state.time_ms:
        return state, Result(False, f"the downtime of {command.key} has been extended")
    ended = replace(state, downtimes={key: each for key, each in state.downtimes.items() if key != command.key})
    text = "its time has come" if command.expired else ""
    return audited(ended, command, "end-downtime", text, command.key), Result(True)


def mark_stale(state: State, command: MarkStale) -> Applied:
    mark = state.stale.get(command.key)
    if mark is None:
        return state, Result(False, f"{command.key} is no stale primary")
    changed = replace(mark, status=command.status, extra=command.extra, detail=command.detail)
    marked = replace(state, stale={**state.stale, command.key: changed})
    text = f"stale primary is {command.status.value}" + (f": {command.extra}" if command.extra else "")
    return audited(marked, command, "stale-primary", text, command.key), Result(True)
