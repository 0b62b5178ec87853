"""Which server belongs to which cluster, and which servers may have acknowledged a semi-sync commit.

Theory. Replication links join servers into components, and so does being in one replication group, whose own choice of
a primary then counts. A cluster keeps its identity while its servers are re-linked: a component takes over the cluster
whose recorded primary is in it, else the one most of its servers came from; each cluster goes to one component only.
During a recovery links change step by step, so a cluster under recovery (``frozen``) keeps its members and takes none
from other clusters until it has ended; servers that are new may join it.
A stale primary stays with the cluster that demoted it, and a replica that was left behind with the one it belongs to.

Both functions are called inside the replicated ``apply``: deterministic, total, no surprise for any input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.topology.model import ClusterRecord, ServerRecord, StalePrimary

Records = Mapping[InstanceKey, ServerRecord]
Links = Mapping[InstanceKey, InstanceKey | None]
Replicas = Mapping[InstanceKey, Sequence[InstanceKey]]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Result of ``assign_clusters``."""

    servers: Records
    clusters: Mapping[str, ClusterRecord]
    next_number: int


def resolve_sources(records: Records) -> dict[InstanceKey, InstanceKey | None]:
    """Each server's source as the key of a known server: by server_uuid first, then by any address (D10).

    Of several servers with that server_uuid (a copied data directory) it is the one at the address that is named.
    """
    addresses = _address_book(records)
    holders: dict[str, list[InstanceKey]] = {}
    for key, record in records.items():
        if record.facts is not None and record.facts.server_uuid:
            holders.setdefault(record.facts.server_uuid, []).append(key)
    for several in (each for each in holders.values() if len(each) > 1):
        several.sort(key=lambda key: (not records[key].reachable, key))
    links: dict[InstanceKey, InstanceKey | None] = {}
    for key, record in records.items():
        channel = record.facts.channel if record.facts else None
        source = None
        if channel is not None and not channel.source.is_detached:
            source = addresses.get(channel.source)
            holder = next((each for each in holders.get(channel.source_uuid, ()) if each != key), None)
            if holder is not None and (source == key or _uuid(records, source) != channel.source_uuid):
                source = holder
        links[key] = source if source != key else None
    return links


def _uuid(records: Records, key: InstanceKey | None) -> str:
    facts = records[key].facts if key is not None else None
    return facts.server_uuid if facts is not None else ""


def _address_book(records: Records) -> dict[InstanceKey, InstanceKey]:
    """Key by address; a server's own key goes before a further address of another one."""
    book: dict[InstanceKey, InstanceKey] = {}
    for key in sorted((key for key, record in records.items() if record.addresses), reverse=True):
        book.update(dict.fromkeys(records[key].addresses, key))
    book.update({key: key for key in records})
    return book


def assign_clusters(
    records: Records,
    clusters: Mapping[str, ClusterRecord],
    stale: Mapping[InstanceKey, StalePrimary],
    frozen: frozenset[str],
    next_number: int,
) -> Assignment:
    """Membership, primary, alias and domain of every cluster after ``records`` changed."""
    links = resolve_sources(records)
    late = [
        key
        for cluster in clusters.values()
        for key in cluster.left_behind
        if key in records and records[key].cluster_id == cluster.id
    ]
    outside = frozenset((*late, *(key for key in stale if key in records and _stands_alone(key, links, stale))))
    components = _components(links, records, frozen)
    named = _name_components(components, records, clusters, outside)
    members: dict[str, list[InstanceKey]] = {}
    for component, cluster_id in _take_home(named, records, outside):
        if not cluster_id:
            next_number += 1
            cluster_id = f"c{next_number}"
        members[cluster_id] = component
    homes = {key: cluster_id for cluster_id, component in members.items() for key in component}
    servers = {
        key: record if record.cluster_id == homes[key] else replace(record, cluster_id=homes[key])
        for key, record in sorted(records.items())
    }
    replicas = _replicas(links)
    kept: dict[str, ClusterRecord] = {}
    for cluster_id, component in sorted(members.items()):
        known = clusters.get(cluster_id, ClusterRecord(id=cluster_id))
        active = [key for key in component if key not in stale]
        if cluster_id not in frozen:
            known = observe_ackers(_refresh(known, active, servers, links), servers, replicas)
        kept[cluster_id] = known
    return Assignment(servers, kept, next_number)


def _stands_alone(key: InstanceKey, links: Links, stale: Mapping[InstanceKey, StalePrimary]) -> bool:
    """No server that counts holds this stale one in its cluster: it has no source, or that is stale too (a ring)."""
    source = links[key]
    return source is None or source in stale


def _replicas(links: Links) -> Replicas:
    """The links the other way round."""
    replicas: dict[InstanceKey, list[InstanceKey]] = {}
    for key, source in links.items():
        if source is not None:
            replicas.setdefault(source, []).append(key)
    return replicas


def _components(links: Links, records: Records, frozen: frozenset[str]) -> list[list[InstanceKey]]:
    """Connected components (union-find), each sorted, in the order of their least key.

    A cluster in ``frozen`` is one component from the start, and no link joins it with servers of another cluster. A new
    server goes where its source is before where its replicas are.
    """
    parent = {key: key for key in sorted(records)}
    homes = {key: {record.cluster_id} - {""} for key, record in records.items()}

    def root(key: InstanceKey) -> InstanceKey:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    def join(one: InstanceKey, other: InstanceKey) -> None:
        together = homes[root(one)] | homes[root(other)]
        if len(together) <= 1 or not together & frozen:
            homes[root(other)] = together
            parent[root(one)] = root(other)

    first_of_frozen: dict[str, InstanceKey] = {}
    for key in parent:
        if records[key].cluster_id in frozen:
            join(key, first_of_frozen.setdefault(records[key].cluster_id, key))
    for key, other in (*_linked(parent, links, records), *_grouped(parent, records)):
        join(key, other)
    groups: dict[InstanceKey, list[InstanceKey]] = {}
    for key in parent:
        groups.setdefault(root(key), []).append(key)
    return list(groups.values())


def _linked(keys: Iterable[InstanceKey], links: Links, records: Records) -> Iterator[tuple[InstanceKey, InstanceKey]]:
    """Replicas with their sources, new servers first."""
    for key in sorted(keys, key=lambda key: (bool(records[key].cluster_id), key)):
        source = links[key]
        if source is not None:
            yield key, source


def _grouped(keys: Iterable[InstanceKey], records: Records) -> Iterator[tuple[InstanceKey, InstanceKey]]:
    """Each member of a replication group with the first of it."""
    first: dict[str, InstanceKey] = {}
    for key in keys:
        group = _group_name(records[key])
        if group:
            yield first.setdefault(group, key), key


def _group_name(record: ServerRecord) -> str:
    return record.facts.group.group_name if record.facts is not None and record.facts.group is not None else ""


Named = list[tuple[list[InstanceKey], str]]


def _name_components(
    components: list[list[InstanceKey]],
    records: Records,
    clusters: Mapping[str, ClusterRecord],
    outside: frozenset[InstanceKey],
) -> Named:
    """Give each component the cluster it continues, or '' for a new one; a cluster continues in one component only.

    One with a server that stands ``outside`` comes last: it does not take the cluster from those that go on with it.
    """
    claims: list[tuple[bool, bool, int, int, str]] = []
    for position, component in enumerate(components):
        stands_outside = not outside.isdisjoint(component)
        origins = Counter(records[key].cluster_id for key in component)
        for cluster_id, count in origins.items():
            if cluster_id in clusters:
                holds_primary = _is_held(clusters[cluster_id].primary, component, records)
                claims.append((not holds_primary, stands_outside, -count, position, cluster_id))
    named: dict[int, str] = {}
    given: set[str] = set()
    for *_, position, cluster_id in sorted(claims):
        if position not in named and cluster_id not in given:
            named[position] = cluster_id
            given.add(cluster_id)
    return [(component, named.get(position, "")) for position, component in enumerate(components)]


def _take_home(
    named: Named, records: Records, outside: frozenset[InstanceKey]
) -> Iterator[tuple[list[InstanceKey], str]]:
    """Components; a nameless one with a server that stands ``outside`` goes to the one that continues its cluster."""
    homes = {cluster_id: component for component, cluster_id in named if cluster_id}
    for component, cluster_id in named:
        home = next((records[key].cluster_id for key in component if key in outside), "")
        if not cluster_id and home in homes:
            homes[home] = sorted([*homes[home], *component])
        elif not cluster_id:
            yield component, ""
    yield from ((component, cluster_id) for cluster_id, component in homes.items())


def _is_held(primary: InstanceKey | None, component: list[InstanceKey], records: Records) -> bool:
    """A dead primary that all its replicas have left does not keep the cluster from them."""
    return primary in component and (len(component) > 1 or records[primary].reachable)


def _refresh(
    cluster: ClusterRecord, members: list[InstanceKey], records: Mapping[InstanceKey, ServerRecord], links: Links
) -> ClusterRecord:
    """Primary, alias and domain of a cluster that nobody is recovering now."""
    primary = _primary(cluster, members, records, links)
    facts = records[primary].facts if primary is not None else None
    changed = primary != cluster.primary
    return replace(
        cluster,
        primary=primary,
        alias=cluster.alias_by_hand or (facts.cluster_alias if facts else "") or cluster.alias,
        domain=(facts.cluster_domain if facts else "") or cluster.domain,
        generation=cluster.generation + 1 if changed else cluster.generation,
        ackers=() if changed else cluster.ackers,
        released=() if changed else cluster.released,
        left_behind=tuple(key for key in cluster.left_behind if key in members and key != primary),
    )


def _primary(
    cluster: ClusterRecord, members: list[InstanceKey], records: Mapping[InstanceKey, ServerRecord], links: Links
) -> InstanceKey | None:
    """The member without a source; the recorded one wins a tie, then a writable one, then the least address.

    Where everybody has one, it is a replica of a server that counts no more (a stale primary). In a circle the recorded
    primary stays, unless another one takes writes and it does not.
    """
    if not members:
        return cluster.primary if cluster.primary in records else None
    elected = [key for key in members if _is_elected(records[key])]
    if elected:
        return min(elected, key=lambda key: (not records[key].reachable, key != cluster.primary, key))
    inside = set(members)
    roots = [key for key in members if links[key] not in inside]
    if cluster.primary in roots:
        return cluster.primary
    circle = [key for key in members if _in_circle(key, links)]
    ahead = [key for key in roots if key not in cluster.left_behind]
    if circle and not ahead:
        return min(circle, key=lambda key: (_is_read_only(records[key]), key != cluster.primary, key))
    return min(ahead or roots, key=lambda key: (links[key] is not None, _is_read_only(records[key]), key))


def _is_elected(record: ServerRecord) -> bool:
    """A group said that it takes the writes; of one that died since, another member that says so is the newer word."""
    facts = record.facts
    return facts is not None and facts.is_group_member and facts.group is not None and facts.group.role == "PRIMARY"


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


def observe_ackers(cluster: ClusterRecord, records: Records, replicas: Replicas) -> ClusterRecord:
    """Add every replica of the primary that has semi-sync on. Nothing is ever removed here (D4).

    One that was released stays so only while it does not answer.
    """
    released = tuple(key for key in cluster.released if key in records and not records[key].reachable)
    of_primary = replicas.get(cluster.primary, ()) if cluster.primary is not None else ()
    found = {key for key in of_primary if (facts := records[key].facts) is not None and facts.semi_sync.replica_enabled}
    missing = found - {*cluster.ackers, *released}
    if not missing and released == cluster.released:
        return cluster
    return replace(cluster, ackers=tuple(sorted({*cluster.ackers, *missing})), released=released)


def with_new_ackers(cluster: ClusterRecord, records: Records) -> ClusterRecord:
    """The same for one cluster, whatever else is not to change."""
    return observe_ackers(cluster, records, _replicas(resolve_sources(records)))
