"""``analyze`` for a view of which little has changed since the last one: only that part is diagnosed anew.

A rule looks from its server along links (sources, replicas), at the members of its cluster and at the cluster's
primary, never further; the part holds all that the rules can ask about the servers that have changed. Their diagnoses
keep that part and not the whole view, so that views of the past can be let go. The result equals that of ``analyze``,
always; what is remembered between calls is compared with the arguments, not trusted, and saves nothing but time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator_raft.core.analysis.analyze import Diagnosis
from orchestrator_raft.core.analysis.analyze import analyze as analyze_whole
from orchestrator_raft.core.differences import differences
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Topology

PART_SHARE = 4
"""Where more than one server in so many is concerned, all are diagnosed anew."""


@dataclass(slots=True)
class Known:
    """The last view and what was said of it, in the order of keys."""

    topology: Topology
    policy: Policy
    diagnoses: dict[InstanceKey, Diagnosis]
    led: dict[InstanceKey, set[str]]
    """Clusters by their primary, which need not be among the members."""


_known: Known | None = None


def analyze(topology: Topology, policy: Policy) -> tuple[Diagnosis, ...]:
    """Diagnoses of all servers, ordered by key. The view must not change any more."""
    global _known
    known, _known = _known, None
    keys = _concerned(known, topology) if known is not None and known.policy == policy else None
    if known is None or keys is None:
        diagnoses = {each.situation.key: each for each in analyze_whole(topology, policy)}
        led = _led(topology)
    else:
        diagnoses = _renewed(known.diagnoses, topology, keys, policy)
        led = known.led
    _known = Known(topology, policy, diagnoses, led)
    return tuple(diagnoses.values())


def _renewed(
    before: dict[InstanceKey, Diagnosis], topology: Topology, keys: set[InstanceKey], policy: Policy
) -> dict[InstanceKey, Diagnosis]:
    part = part_of(topology, keys)
    diagnoses = {**before, **{each.situation.key: each for each in analyze_whole(part, policy)}}
    if len(part.servers) == len(keys) and len(diagnoses) == len(before):
        return diagnoses
    kept = (key for key in diagnoses if key in topology.servers)
    return {key: diagnoses[key] for key in sorted(kept)}


def _concerned(known: Known, topology: Topology) -> set[InstanceKey] | None:
    """Whose diagnosis may be another one now; None if that is not less than everybody."""
    keys_max = len(topology.servers) // PART_SHARE
    differing = differences(known.topology.servers, topology.servers)
    if len(differing) > keys_max:
        return None
    changed = {*differing}
    clusters = differences(known.topology.clusters, topology.clusters)
    if any(_primary(known.topology, each) != _primary(topology, each) for each in clusters):
        known.led = _led(topology)
    led = [cluster_id for key in differing for cluster_id in known.led.get(key, ())]
    for cluster_id in (*clusters, *led):
        changed |= {server.key for each in (known.topology, topology) for server in each.members(cluster_id)}
    return _together(changed, (known.topology, topology), keys_max)


def _primary(topology: Topology, cluster_id: str) -> InstanceKey | None:
    cluster = topology.clusters.get(cluster_id)
    return cluster.primary if cluster is not None else None


def _led(topology: Topology) -> dict[InstanceKey, set[str]]:
    found: dict[InstanceKey, set[str]] = {}
    for cluster in topology.clusters.values():
        if cluster.primary is not None:
            found.setdefault(cluster.primary, set()).add(cluster.id)
    return found


def _together(start: Iterable[InstanceKey], topologies: tuple[Topology, ...], keys_max: int) -> set[InstanceKey] | None:
    """Everybody whom the rules can see from these, now or at the last view; None if that is more than ``keys_max``."""
    found = set(start)
    ahead = list(found)
    while ahead:
        key = ahead.pop()
        for topology in topologies:
            new = set(_seen_from(topology, key)) - found
            found |= new
            ahead.extend(new)
        if len(found) > keys_max:
            return None
    return found


def _seen_from(topology: Topology, key: InstanceKey) -> Iterator[InstanceKey]:
    server = topology.servers.get(key)
    if server is None:
        return
    cluster = topology.clusters.get(server.cluster_id)
    if cluster is not None:
        yield from cluster.members
        if cluster.primary is not None:
            yield cluster.primary
    if server.source is not None:
        yield server.source
    yield from server.replicas


def part_of(topology: Topology, keys: Iterable[InstanceKey]) -> Topology:
    """These servers and their clusters, as far as they are in the view."""
    servers = {key: topology.servers[key] for key in keys if key in topology.servers}
    ids = {server.cluster_id for server in servers.values()}
    return Topology(servers, {each: topology.clusters[each] for each in ids if each in topology.clusters})
