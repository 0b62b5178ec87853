"""Who acknowledges to a primary, as it tells itself: replicas that nobody knows, that are gone, that are back.

Theory. What n-k+1 answers are worth (``promise``) rests on one thing: whoever may have acknowledged is in the
replicated set of possible ackers. A replica gets into it when it is seen as a semi-sync replica of the primary. One
that we do not probe (DiscoveryIgnoreHostnameFilters), that was forgotten, or that attached itself just now acknowledges
all the same. The primary knows better than we do, and tells it with every probe:
- how many semi-sync replicas are connected (``source_clients``). More than those possible ackers that are connected
  means that somebody unknown acknowledges: the promise lapses, and is made anew when that is no longer so.
- which replicas are connected, by server id (``replica_ids``, SHOW REPLICAS on both flavours). A replica is entered
  there before its dump thread begins and taken out after that has ended, and without a dump thread nothing reaches the
  primary. So a replica that is not listed acknowledges nothing. Other ways to learn that are worse: the number of
  clients alone does not say who left, a dead replica cannot be asked, the process list names addresses that are the
  same for many replicas behind one gateway, and MariaDB has no performance_schema by default.

``gone`` are possible ackers that are not connected and cannot come back unseen: they do not answer us, so that
``reachable`` would have to change first, or what is replicated of them says that they do not acknowledge to this
primary. What may be done about them is in ``sights``.

All of this is looked at with each probe of the primary, not between two of them: a replica that connects after the last
probe before the primary dies, acknowledges, and is dead or unknown itself when the replicas are stopped, is not seen.
One that answers by then is asked, released or not (``possible_ackers``).
"""

from __future__ import annotations

from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.topology import ClusterRecord, Server, Topology


def possible_ackers(topology: Topology, cluster: ClusterRecord) -> tuple[InstanceKey, ...]:
    """Those on record, and released ones that answer again, which the record will say in a moment."""
    back = {key for key in cluster.released if key in topology.servers and topology.servers[key].reached}
    return tuple(sorted({*cluster.ackers, *back}))


def unknown_ackers(topology: Topology, cluster: ClusterRecord) -> int:
    """How many replicas acknowledge to the primary now that are no possible ackers; 0 while it does not answer."""
    primary = _primary(topology, cluster)
    return _unknown(topology, cluster, primary) if primary is not None else 0


def _unknown(topology: Topology, cluster: ClusterRecord, primary: Facts) -> int:
    connected = [key for key in (*cluster.ackers, *cluster.released) if _may_be_connected(topology, key, primary)]
    return max(0, primary.semi_sync.source_clients - len(connected))


def described(topology: Topology, cluster: ClusterRecord) -> str:
    """What is said of unknown ackers; empty without any."""
    primary = _primary(topology, cluster)
    unknown = _unknown(topology, cluster, primary) if primary is not None else 0
    if primary is None or not unknown:
        return ""
    clients = primary.semi_sync.source_clients
    how_many = "1 replica acknowledges" if clients == 1 else f"{clients} replicas acknowledge"
    known = f"only {clients - unknown} of them are known" if clients > unknown else "none of them is known"
    return f"{how_many} to {primary.key} and {known}"


def gone(topology: Topology, cluster: ClusterRecord) -> tuple[InstanceKey, ...]:
    """Possible ackers that acknowledge nothing now; none while the primary does not answer, or does not tell."""
    primary = _primary(topology, cluster)
    if primary is None or primary.replica_ids is None:
        return ()
    servers = [topology.servers[key] for key in cluster.ackers if key in topology.servers]
    return tuple(server.key for server in servers if _is_gone(server, primary, primary.replica_ids))


def returned(topology: Topology, cluster: ClusterRecord) -> tuple[InstanceKey, ...]:
    """Released replicas that are connected to the primary again, whether we reach them or not."""
    primary = _primary(topology, cluster)
    if primary is None or primary.replica_ids is None:
        return ()
    return tuple(key for key in cluster.released if _may_be_connected(topology, key, primary))


def _primary(topology: Topology, cluster: ClusterRecord) -> Facts | None:
    server = topology.servers.get(cluster.primary) if cluster.primary is not None else None
    return server.fresh if server is not None else None


def _may_be_connected(topology: Topology, key: InstanceKey, primary: Facts) -> bool:
    server = topology.servers.get(key)
    if server is None or server.facts is None:
        return False
    return primary.replica_ids is None or server.facts.server_id in primary.replica_ids


def _is_gone(server: Server, primary: Facts, connected: tuple[int, ...]) -> bool:
    if server.facts is None or server.record is None or server.observation is None:
        return False
    fresh, is_connected = server.fresh, server.facts.server_id in connected
    if fresh is None:
        return not is_connected and not server.record.reachable
    if server.source != primary.key:
        return not is_connected
    return not fresh.semi_sync.replica_enabled and not fresh.semi_sync.replica_active
