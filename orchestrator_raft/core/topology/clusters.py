"""Which server belongs to which cluster, and which servers may have acknowledged a semi-sync commit.

Theory. Replication links join servers into components. A cluster keeps its identity while its servers are re-linked:
a component takes over the cluster whose recorded primary is in it, else the one most of its servers came from, and each
cluster goes to one component only. During a recovery links change step by step, so the members of a cluster under
recovery (``frozen``) keep their membership until it has ended; a stale primary stays with the cluster that demoted it.

Both functions are called inside the replicated ``apply``: deterministic, total, no surprise for any input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.topology.model import ClusterRecord, ServerRecord, StalePrimary

Records = Mapping[InstanceKey, ServerRecord]
Links = Mapping[InstanceKey, InstanceKey | None]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Result of ``assign_clusters``."""

    servers: dict[InstanceKey, ServerRecord]
    clusters: dict[str, ClusterRecord]
    next_number: int


def resolve_sources(records: Records) -> dict[InstanceKey, InstanceKey | None]:
    """Each server's source as the key of a known server: by server_uuid first, then by any address (D10)."""
    by_uuid = {
        record.facts.server_uuid: key for key, record in records.items() if record.facts and record.facts.server_uuid
    }
    by_address = {address: key for key, record in records.items() for address in (*record.addresses, key)}
    links: dict[InstanceKey, InstanceKey | None] = {}
    for key, record in records.items():
        channel = record.facts.channel if record.facts else None
        source = None
        if channel is not None and not channel.source.is_detached:
            source = by_uuid.get(channel.source_uuid) or by_address.get(channel.source)
        links[key] = source if source != key else None
    return links


def assign_clusters(
    records: Records,
    clusters: Mapping[str, ClusterRecord],
    stale: Mapping[InstanceKey, StalePrimary],
    frozen: frozenset[str],
    next_number: int,
) -> Assignment:
    """Membership, primary, alias and domain of every cluster after ``records`` changed."""
    links = resolve_sources(records)
    servers: dict[InstanceKey, ServerRecord] = {}
    kept: dict[str, ClusterRecord] = {}
    components = _components(_edges(records, clusters, links, stale, frozen), records)
    for component, cluster_id in _name_components(components, records, clusters):
        if not cluster_id:
            next_number += 1
            cluster_id = f"c{next_number}"
        for key in component:
            record = records[key]
            servers[key] = record if record.cluster_id == cluster_id else replace(record, cluster_id=cluster_id)
        known = clusters.get(cluster_id, ClusterRecord(id=cluster_id))
        if cluster_id not in frozen:
            known = _refresh(known, [key for key in component if key not in stale], servers, links)
        kept[cluster_id] = known
    return Assignment(dict(sorted(servers.items())), dict(sorted(kept.items())), next_number)


def _edges(
    records: Records,
    clusters: Mapping[str, ClusterRecord],
    links: Links,
    stale: Mapping[InstanceKey, StalePrimary],
    frozen: frozenset[str],
) -> Iterator[tuple[InstanceKey, InstanceKey]]:
    """Pairs of servers that belong to one cluster."""
    for key, source in links.items():
        if source is not None:
            home, other = records[key].cluster_id, records[source].cluster_id
            if home == other or not home or not other or not {home, other} & frozen:
                yield key, source
    first_of_frozen: dict[str, InstanceKey] = {}
    for key, record in records.items():
        if record.cluster_id in frozen:
            yield first_of_frozen.setdefault(record.cluster_id, key), key
    for key, mark in stale.items():
        home_record = clusters.get(mark.cluster_id)
        primary = home_record.primary if home_record else None
        if key in records and primary in records and primary is not None and links[key] is None:
            yield key, primary


def _components(
    edges: Iterable[tuple[InstanceKey, InstanceKey]], keys: Iterable[InstanceKey]
) -> list[list[InstanceKey]]:
    """Connected components (union-find), each sorted, in the order of their least key."""
    parent = {key: key for key in sorted(keys)}

    def root(key: InstanceKey) -> InstanceKey:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for one, other in edges:
        parent[root(one)] = root(other)
    groups: dict[InstanceKey, list[InstanceKey]] = {}
    for key in parent:
        groups.setdefault(root(key), []).append(key)
    return list(groups.values())


def _name_components(
    components: list[list[InstanceKey]], records: Records, clusters: Mapping[str, ClusterRecord]
) -> list[tuple[list[InstanceKey], str]]:
    """Give each component the cluster it continues, or '' for a new one; a cluster continues in one component only."""
    claims: list[tuple[bool, int, int, str]] = []
    for position, component in enumerate(components):
        origins = Counter(records[key].cluster_id for key in component)
        for cluster_id, count in origins.items():
            if cluster_id in clusters:
                holds_primary = _is_held(clusters[cluster_id].primary, component, records)
                claims.append((not holds_primary, -count, position, cluster_id))
    named: dict[int, str] = {}
    for _, _, position, cluster_id in sorted(claims):
        if position not in named and cluster_id not in named.values():
            named[position] = cluster_id
    return [(component, named.get(position, "")) for position, component in enumerate(components)]


def _is_held(primary: InstanceKey | None, component: list[InstanceKey], records: Records) -> bool:
    """A dead primary that all its replicas have left does not keep the cluster from them."""
    return primary in component and (len(component) > 1 or records[primary].reachable)


def _refresh(
    cluster: ClusterRecord, members: list[InstanceKey], records: Mapping[InstanceKey, ServerRecord], links: Links
) -> ClusterRecord:
    """Primary, alias and domain of a cluster that nobody is recovering now."""
    primary = _primary(cluster, members, records, links)
    facts = records[primary].facts if primary is not None else None
    changed = cluster.primary is not None and primary != cluster.primary
    refreshed = replace(
        cluster,
        primary=primary,
        alias=(facts.cluster_alias if facts else "") or cluster.alias,
        domain=(facts.cluster_domain if facts else "") or cluster.domain,
        generation=cluster.generation + 1 if changed or cluster.primary is None else cluster.generation,
        ackers=() if changed else cluster.ackers,
    )
    return observe_ackers(refreshed, records, links)


def _primary(
    cluster: ClusterRecord, members: list[InstanceKey], records: Mapping[InstanceKey, ServerRecord], links: Links
) -> InstanceKey | None:
    """The member without a source; the recorded one wins a tie, then a writable one, then the least address."""
    if not members:
        return cluster.primary
    inside = set(members)
    roots = [key for key in members if links[key] not in inside]
    if cluster.primary in roots:
        return cluster.primary
    if roots:
        return min(roots, key=lambda key: (_is_read_only(records[key]), key))
    if cluster.primary in inside and not _is_read_only(records[cluster.primary]):
        return cluster.primary
    circle = [key for key in members if _in_circle(key, links)]
    return min(circle, key=lambda key: (_is_read_only(records[key]), key))


def _is_read_only(record: ServerRecord) -> bool:
    return record.facts is None or record.facts.read_only


def _in_circle(start: InstanceKey, links: Links) -> bool:
    seen: set[InstanceKey] = set()
    current = links[start]
    while current is not None and current not in seen:
        if current == start:
            return True
        seen.add(current)
        current = links.get(current)
    return False


def observe_ackers(
    cluster: ClusterRecord, records: Mapping[InstanceKey, ServerRecord], links: Links | None = None
) -> ClusterRecord:
    """Add every replica of the primary that has semi-sync on. Nothing is ever removed here (D4)."""
    links = resolve_sources(records) if links is None else links
    found = {
        key
        for key, source in links.items()
        if source is not None and source == cluster.primary
        if (facts := records[key].facts) is not None and facts.semi_sync.replica_enabled
    }
    missing = found - set(cluster.ackers)
    return replace(cluster, ackers=tuple(sorted({*cluster.ackers, *missing}))) if missing else cluster
