"""``build`` for a fleet of which little has changed since the last call: only that part is built anew.

A server's place in the view depends on others only within its region (``bonds``), by the newest facts. The result
equals that of ``build`` in value and in order, always; what is remembered between calls is compared with the arguments,
not trusted, and saves nothing but time. Servers and clusters in regions where nothing has changed are the same objects
as in the last view, so that whoever decides on views can see what is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator_raft.core.differences import differences
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.observation import Observations
from orchestrator_raft.core.topology import bonds
from orchestrator_raft.core.topology.bonds import Bonds, Mark, Part, marks_of_cluster, marks_of_server
from orchestrator_raft.core.topology.build import build as build_whole
from orchestrator_raft.core.topology.build import with_newest
from orchestrator_raft.core.topology.model import ClusterRecord, Marks, ServerRecord, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a view is built from."""

    records: Mapping[InstanceKey, ServerRecord]
    clusters: Mapping[str, ClusterRecord]
    observations: Observations
    marks: Marks
    now_ms: int
    living: Marks
    """Those that have not ended."""

    def built(self) -> Topology:
        return build_whole(self.records, self.clusters, self.observations, self.marks, self.now_ms)

    def marks_of(self, part: Part) -> frozenset[Mark]:
        if isinstance(part, str):
            cluster = self.clusters.get(part)
            return marks_of_cluster(cluster) if cluster is not None else frozenset()
        record = self.records.get(part)
        if record is None:
            return frozenset()
        newest = with_newest(record, self.observations.get(part))
        return marks_of_server(record) | marks_of_server(newest)


@dataclass(slots=True)
class Known:
    """The last view, and what it was built from."""

    sources: Sources
    topology: Topology
    bonds: Bonds | None = None
    """Of these sources; not worked out as long as everything changes every time."""

    def bound(self) -> Bonds:
        if self.bonds is None:
            self.bonds = Bonds()
            parts: tuple[Part, ...] = (*self.sources.records, *self.sources.clusters)
            for part in parts:
                self.bonds.note(part, self.sources.marks_of(part))
        return self.bonds


_known: Known | None = None


def build(
    records: Mapping[InstanceKey, ServerRecord],
    clusters: Mapping[str, ClusterRecord],
    observations: Observations,
    marks: Marks,
    now_ms: int,
) -> Topology:
    """The fleet at one moment. ``now_ms`` is replicated time: a mark that has ended counts no more.

    The mappings must not change any more.
    """
    global _known
    known, _known = _known, None
    sources = Sources(records=records, clusters=clusters, observations=observations, marks=marks, now_ms=now_ms,
                      living=marks.living(now_ms))  # fmt: skip
    if known is None or not _renew(known, sources):
        known = Known(sources, sources.built())
    _known = known
    return known.topology


def _renew(known: Known, sources: Sources) -> bool:
    """Build what has changed; False where that would not be less work."""
    parts_max = len(sources.records) // bonds.REGION_SHARE
    changed = _changed(known.sources, sources)
    if len(changed) > parts_max:
        return False
    start: set[Mark] = set(changed)
    bound = known.bound()
    for part in changed:
        marks = sources.marks_of(part)
        start |= marks | bound.note(part, marks)
    region = bound.region(start, parts_max)
    if region is None:
        return False
    part_of_fleet = build_whole(
        {part: sources.records[part] for part in region if isinstance(part, InstanceKey)},
        {part: sources.clusters[part] for part in region if isinstance(part, str)},
        sources.observations,
        sources.marks,
        sources.now_ms,
    )
    last = known.topology
    servers = {**last.servers, **part_of_fleet.servers}
    if list(servers) != list(sources.records):
        servers = {key: servers[key] for key in sources.records}
    clusters = {**last.clusters, **part_of_fleet.clusters}
    if list(clusters) != list(sources.clusters):
        clusters = {cluster_id: clusters[cluster_id] for cluster_id in sources.clusters}
    known.sources, known.topology = sources, Topology(servers, clusters)
    return True


def _changed(before: Sources, after: Sources) -> set[Part]:
    servers: tuple[InstanceKey, ...] = (
        *differences(before.records, after.records),
        *differences(before.observations, after.observations),
        *differences(before.living.downtimes, after.living.downtimes),
        *differences(before.living.maintenances, after.living.maintenances),
        *differences(before.living.rules, after.living.rules),
        *differences(before.marks.stale, after.marks.stale),
    )
    clusters: tuple[str, ...] = differences(before.clusters, after.clusters)
    return {*servers, *clusters}
