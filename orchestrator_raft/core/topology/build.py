"""``build``: records, newest observations and marks, joined into one view of the fleet.

A server's place comes from the newest facts where there are any: what a replica says now outranks what was replicated.
Cluster membership and the primary role are the committed ones, since decisions and publications must rest on those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orchestrator_raft.core.instance import Facts, InstanceKey, Reached
from orchestrator_raft.core.observation import Observation, Observations
from orchestrator_raft.core.topology.clusters import resolve_sources
from orchestrator_raft.core.topology.model import (
    Cluster,
    ClusterRecord,
    Marks,
    RegisteredRule,
    Server,
    ServerRecord,
    Topology,
)


def build(
    records: Mapping[InstanceKey, ServerRecord],
    clusters: Mapping[str, ClusterRecord],
    observations: Observations,
    marks: Marks,
    now_ms: int,
) -> Topology:
    """The fleet at one moment. ``now_ms`` is replicated time: a mark that has ended counts no more."""
    marks = marks.living(now_ms)
    current = {key: with_newest(record, observations.get(key)) for key, record in records.items()}
    links = resolve_sources(current)
    replicas: dict[InstanceKey, list[InstanceKey]] = {key: [] for key in current}
    for key, source in links.items():
        if source is not None:
            replicas[source].append(key)
    depths = _depths(links)
    servers = {
        key: Server(
            key=key,
            cluster_id=record.cluster_id,
            facts=with_rule(record.facts, marks.rules.get(key)),
            observation=observations.get(key),
            source=links[key],
            replicas=tuple(sorted(replicas[key])),
            depth=depths[key],
            is_co_primary=_is_co_primary(key, links),
            downtime=marks.downtimes.get(key),
            maintenance=marks.maintenances.get(key),
            stale=marks.stale.get(key),
            record=records[key],
        )
        for key, record in current.items()
    }
    members: dict[str, list[InstanceKey]] = {cluster_id: [] for cluster_id in clusters}
    for key, server in servers.items():
        if server.cluster_id in members:
            members[server.cluster_id].append(key)
    return Topology(
        servers=servers,
        clusters={
            cluster_id: Cluster(record=record, members=tuple(sorted(members[cluster_id])))
            for cluster_id, record in clusters.items()
        },
    )


def with_newest(record: ServerRecord, observation: Observation | None) -> ServerRecord:
    facts = newest_facts(record, observation)
    if facts is record.facts:
        return record
    return ServerRecord(
        key=record.key,
        facts=facts,
        addresses=record.addresses,
        cluster_id=record.cluster_id,
        reachable=record.reachable,
        reachable_changed_ms=record.reachable_changed_ms,
    )


def newest_facts(record: ServerRecord, observation: Observation | None) -> Facts | None:
    """The facts of the newest successful probe, here or, failing that, as replicated."""
    if observation is None:
        return record.facts
    if isinstance(observation.result, Reached):
        return observation.result.facts
    return observation.facts or record.facts


def with_rule(facts: Facts | None, registered: RegisteredRule | None) -> Facts | None:
    """The facts with the promotion rule that a person gave the server, if one did."""
    if facts is None or registered is None or facts.promotion_rule is registered.rule:
        return facts
    return replace(facts, promotion_rule=registered.rule)


def _is_co_primary(key: InstanceKey, links: Mapping[InstanceKey, InstanceKey | None]) -> bool:
    source = links[key]
    return source is not None and links.get(source) == key


def _depths(links: Mapping[InstanceKey, InstanceKey | None]) -> dict[InstanceKey, int]:
    """Distance to the top; every server of a circle is at the top."""
    depths: dict[InstanceKey, int] = {}
    for key in links:
        path: list[InstanceKey] = []
        current: InstanceKey | None = key
        while current is not None and current not in depths and current not in path:
            path.append(current)
            current = links[current]
        if current is not None and current in path:
            for member in path[path.index(current) :]:
                depths[member] = 0
            path = path[: path.index(current)]
            base = 0
        else:
            base = depths[current] if current is not None else -1
        for distance, member in enumerate(reversed(path), start=1):
            depths[member] = base + distance
    return depths
