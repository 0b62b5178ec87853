"""``assign_clusters`` for a fleet of which little has changed since the last call: only that part is worked out anew.

What ``assign_clusters`` says of a server or a cluster depends on others only within its region (``bonds``). So the
result is that of the regions in which something has changed, beside the last result.

Rules
- The result equals that of ``assign_clusters`` in value and in order, always. What is remembered between calls saves
  time and nothing else: it is compared with the arguments, not trusted.
- Where a region's result was not what went in (a server moved, a primary changed), it counts as changed once more at
  the next call; so what is left alone is known to stay as it is.
- A value is unchanged if it is the same object. Records that come out equal come out as the objects that went in, so
  that whoever follows can compare in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator_raft.core.differences import differences
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.topology import bonds
from orchestrator_raft.core.topology.bonds import Bonds, Mark, Part, marks_of_cluster, marks_of_server
from orchestrator_raft.core.topology.clusters import Assignment, Records, assign_clusters
from orchestrator_raft.core.topology.model import ClusterRecord, StalePrimary

Clusters = Mapping[str, ClusterRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What ``assign_clusters`` is given, but for the next number."""

    records: Records
    clusters: Clusters
    stale: Mapping[InstanceKey, StalePrimary]
    frozen: frozenset[str]


@dataclass(slots=True)
class Known:
    """The last result, with what it was the result of where that matters."""

    fleet: Fleet
    """As it came out."""
    unsettled: set[Part]
    """What came out as another object than it went in; its marks are noted at the next call."""
    bonds: Bonds = field(default_factory=Bonds)


_known: Known | None = None


def reassign_clusters(
    records: Records,
    clusters: Clusters,
    stale: Mapping[InstanceKey, StalePrimary],
    frozen: frozenset[str],
    next_number: int,
) -> Assignment:
    """What ``assign_clusters`` gives for the same arguments."""
    global _known
    known, _known = _known, None
    fleet = Fleet(records=records, clusters=clusters, stale=stale, frozen=frozen)
    partly = _partly(known, fleet, next_number) if known is not None else None
    assignment, _known = partly or _wholly(fleet, next_number)
    return assignment


def _wholly(fleet: Fleet, next_number: int) -> tuple[Assignment, Known]:
    found = assign_clusters(fleet.records, fleet.clusters, fleet.stale, fleet.frozen, next_number)
    clusters = {cluster_id: _same(fleet.clusters, record) for cluster_id, record in found.clusters.items()}
    came_out = Fleet(records=found.servers, clusters=clusters, stale=fleet.stale, frozen=fleet.frozen)
    known = Known(came_out, _changed(fleet, came_out))
    for key, server in found.servers.items():
        known.bonds.note(key, marks_of_server(server))
    for cluster_id, cluster in clusters.items():
        known.bonds.note(cluster_id, marks_of_cluster(cluster))
    return Assignment(found.servers, clusters, found.next_number), known


def _same(clusters: Clusters, record: ClusterRecord) -> ClusterRecord:
    """The record that went in, where an equal one came out."""
    before = clusters.get(record.id)
    return before if before is not None and before == record else record


def _changed(before: Fleet, after: Fleet) -> set[Part]:
    servers: tuple[InstanceKey, ...] = differences(before.records, after.records)
    clusters: tuple[str, ...] = differences(before.clusters, after.clusters)
    return {*servers, *clusters, *(before.stale.keys() ^ after.stale.keys()), *(before.frozen ^ after.frozen)}


def _partly(known: Known, fleet: Fleet, next_number: int) -> tuple[Assignment, Known] | None:
    """The result by way of the regions that are concerned; None where that would not be less work."""
    parts_max = len(fleet.records) // bonds.REGION_SHARE
    changed = known.unsettled | _changed(known.fleet, fleet)
    if len(changed) > parts_max:
        return None
    start: set[Mark] = set(changed)
    for part in changed:
        marks = _marks(fleet, part)
        start |= marks | known.bonds.note(part, marks)
    region = known.bonds.region(start, parts_max)
    if region is None:
        return None
    before = _within(fleet, region)
    found = assign_clusters(before.records, before.clusters, before.stale, before.frozen, next_number)
    after = Fleet(
        records=found.servers,
        clusters={cluster_id: _same(before.clusters, record) for cluster_id, record in found.clusters.items()},
        stale=fleet.stale,
        frozen=fleet.frozen,
    )
    came_out = _put_together(known.fleet, fleet, before, after)
    known.fleet, known.unsettled = came_out, _changed(before, after)
    return Assignment(came_out.records, came_out.clusters, found.next_number), known


def _marks(fleet: Fleet, part: Part) -> frozenset[Mark]:
    if isinstance(part, InstanceKey):
        server = fleet.records.get(part)
        return marks_of_server(server) if server is not None else frozenset()
    cluster = fleet.clusters.get(part)
    return marks_of_cluster(cluster) if cluster is not None else frozenset()


def _within(fleet: Fleet, region: set[Part]) -> Fleet:
    keys = (part for part in region if isinstance(part, InstanceKey))
    ids = (part for part in region if isinstance(part, str))
    return Fleet(
        records={key: fleet.records[key] for key in keys},
        clusters={cluster_id: fleet.clusters[cluster_id] for cluster_id in ids},
        stale=fleet.stale,
        frozen=fleet.frozen,
    )


def _put_together(last: Fleet, fleet: Fleet, before: Fleet, after: Fleet) -> Fleet:
    """``fleet`` with ``after`` in place of ``before``, in the order of ``assign_clusters``."""
    records, clusters = fleet.records, fleet.clusters
    if differences(before.records, after.records):
        records = {**records, **after.records}
    if list(records) != list(last.records):
        records = dict(sorted(records.items(), key=lambda item: (item[0].hostname, item[0].port)))
    if differences(before.clusters, after.clusters):
        gone = before.clusters.keys() - after.clusters.keys()
        clusters = {**{key: record for key, record in clusters.items() if key not in gone}, **after.clusters}
    if list(clusters) != list(last.clusters):
        clusters = dict(sorted(clusters.items()))
    return Fleet(records=records, clusters=clusters, stale=fleet.stale, frozen=fleet.frozen)
