"""``assign_clusters`` for a fleet of which little has changed since the last call: only that part is worked out anew.

Theory. What ``assign_clusters`` says of a server or a cluster depends on others only through what they have in common:
an address, a server_uuid, a cluster. These are its *marks*. A *region* is everything that hangs together by marks, as a
rule one replication topology; what stands in a region is therefore the same whether the rest of the fleet is given to
``assign_clusters`` or not. So the result is that of the regions in which something has changed, beside the last result.

Rules
- The result equals that of ``assign_clusters`` in value and in order, always. What is remembered between calls saves
  time and nothing else: it is compared with the arguments, not trusted.
- Where a region's result was not what went in (a server moved, a primary changed), it counts as changed once more at
  the next call; so what is left alone is known to stay as it is.
- A value is unchanged if it is the same object. Records that come out equal come out as the objects that went in, so
  that whoever follows can compare in the same way.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator_raft.core.differences import differences
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.topology.clusters import Assignment, Records, assign_clusters
from orchestrator_raft.core.topology.model import ClusterRecord, ServerRecord, StalePrimary

Mark = Hashable
"""An address, a server_uuid or a cluster id."""
Part = InstanceKey | str
"""A server, or a cluster by its id."""
Clusters = Mapping[str, ClusterRecord]
REGION_SHARE = 4
"""Where more than one in so many servers is concerned, all are worked out anew."""


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
    marks: dict[Part, frozenset[Mark]] = field(default_factory=dict)
    holders: dict[Mark, set[Part]] = field(default_factory=dict)

    def note(self, part: Part, marks: frozenset[Mark]) -> frozenset[Mark]:
        """From now on ``part`` has these marks, none where it is gone; gives those that it had."""
        had = self.marks.pop(part, frozenset())
        for mark in had - marks:
            self.holders[mark].discard(part)
            if not self.holders[mark]:
                del self.holders[mark]
        for mark in marks - had:
            self.holders.setdefault(mark, set()).add(part)
        if marks:
            self.marks[part] = marks
        return had

    def region(self, start: Iterable[Mark], parts_max: int) -> set[Part] | None:
        """Everything that hangs together with these marks; None if that is more than ``parts_max``."""
        found: set[Part] = set()
        seen: set[Mark] = set(start)
        ahead = list(seen)
        while ahead:
            for part in self.holders.get(ahead.pop(), ()):
                if part in found:
                    continue
                found.add(part)
                new = self.marks[part] - seen
                seen |= new
                ahead.extend(new)
            if len(found) > parts_max:
                return None
        return found


def marks_of_server(record: ServerRecord) -> frozenset[Mark]:
    facts = record.facts
    channel = facts.channel if facts is not None else None
    texts = (record.cluster_id, facts.server_uuid if facts else "", channel.source_uuid if channel else "")
    sources = (channel.source,) if channel is not None else ()
    return frozenset((record.key, *record.addresses, *sources, *filter(None, texts)))


def marks_of_cluster(record: ClusterRecord) -> frozenset[Mark]:
    primary = () if record.primary is None else (record.primary,)
    return frozenset((record.id, *primary, *record.ackers, *record.released, *record.left_behind))


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
        known.note(key, marks_of_server(server))
    for cluster_id, cluster in clusters.items():
        known.note(cluster_id, marks_of_cluster(cluster))
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
    parts_max = len(fleet.records) // REGION_SHARE
    changed = known.unsettled | _changed(known.fleet, fleet)
    if len(changed) > parts_max:
        return None
    start: set[Mark] = set(changed)
    for part in changed:
        marks = _marks(fleet, part)
        start |= marks | known.note(part, marks)
    region = known.region(start, parts_max)
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
