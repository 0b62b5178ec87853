"""Which replicas of a cluster tell how fast something may write: those whose lag a schema change should watch.

In each data centre the two busiest replicas of the primary, the two busiest replicas of each of them, and the two
busiest of those below. Busy means feeding many replicas: their lag is felt by most.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator_raft.core.topology.model import Server, Topology

EACH_MAX = 2
DEEPEST = 3


def control_replicas(topology: Topology, cluster_id: str) -> tuple[Server, ...]:
    """Replicas that answer and hold data, nearest to the primary first."""
    fit = [each for each in topology.members(cluster_id) if each.fresh is not None and not each.fresh.is_binlog_server]
    first = _busiest_by_place(each for each in fit if each.depth == 1)
    chosen = list(first)
    for server in first:
        chosen += _busiest(each for each in topology.replicas_of(server.key) if each in fit)
    chosen += _busiest_by_place(each for each in fit if each.depth == DEEPEST)
    return tuple(sorted(dict.fromkeys(chosen), key=lambda each: (each.depth, each.key)))


def _busiest(servers: Iterable[Server]) -> list[Server]:
    return sorted(servers, key=lambda each: (-len(each.replicas), each.key))[:EACH_MAX]


def _busiest_by_place(servers: Iterable[Server]) -> list[Server]:
    places: dict[str, list[Server]] = {}
    for server in servers:
        place = server.facts.location.data_center if server.facts is not None else ""
        places.setdefault(place, []).append(server)
    return [server for _, inside in sorted(places.items()) for server in _busiest(inside)]
