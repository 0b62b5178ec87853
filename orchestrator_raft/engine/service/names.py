"""Which server or cluster is meant by a text that somebody typed: pure.

Reads may guess as the peers do (a unique part of the name with the right port). A write never does: it names a server
by its exact host, its exact alias, or its exact first DNS label where that is unique (design D8).
"""

from __future__ import annotations

import ipaddress

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.topology import Cluster, Server, Topology
from orchestrator_raft.engine.service.calls import NotKnown, parse_server


def find_server(topology: Topology, asked: InstanceKey, *, guess: bool) -> Server | None:
    """The known server that is meant, or None. Raises InvalidInput when a write's name is ambiguous."""
    exact = topology.servers.get(asked) or _by_address(topology, asked)
    if exact is not None:
        return exact
    named = [server for server in _with_port(topology, asked.port) if _is_named(server, asked.hostname)]
    if len(named) == 1:
        return named[0]
    if len(named) > 1 and not guess:
        names = ", ".join(str(server.key) for server in named)
        raise InvalidInput(f"'{asked.hostname}' is the name of several servers: {names}; write the exact host")
    if guess and not _is_ip(asked.hostname):
        similar = [server for server in _with_port(topology, asked.port) if asked.hostname in server.key.hostname]
        return similar[0] if len(similar) == 1 else None
    return None


def _by_address(topology: Topology, asked: InstanceKey) -> Server | None:
    return next((each for each in topology.servers.values() if each.record and asked in each.record.addresses), None)


def _with_port(topology: Topology, port: int) -> list[Server]:
    return [server for server in topology.servers.values() if server.key.port == port]


def _is_named(server: Server, text: str) -> bool:
    alias = server.facts.alias if server.facts is not None else ""
    first_label = "" if _is_ip(server.key.hostname) else server.key.hostname.split(".")[0]
    return text != "" and text in (alias, first_label)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def require_server(topology: Topology, asked: InstanceKey, *, guess: bool = False) -> Server:
    """The known server that is meant. Raises InvalidInput when there is none."""
    found = find_server(topology, asked, guess=guess)
    if found is None:
        raise unknown_server(asked, peers=f"Cannot read instance: {asked}")
    return found


def unknown_server(asked: InstanceKey, *, peers: str) -> NotKnown:
    """``peers`` is orchestrator's text, which differs from operation to operation."""
    return NotKnown(f"no server {asked} is known: discover it first (raftctl discover {asked})", peers=peers)


def require_cluster(topology: Topology, hint: str, *, guess: bool = False) -> Cluster:
    """The cluster of this name, alias, id or member. Raises InvalidInput when there is none."""
    if not hint:
        raise NotKnown("which cluster?", peers="Unable to determine cluster name by empty hint")
    for cluster in topology.clusters.values():
        if hint in (cluster.name, cluster.id):
            return cluster
    named = [cluster for cluster in topology.clusters.values() if cluster.alias == hint]
    if len(named) == 1:
        return named[0]
    if len(named) > 1:
        names = ", ".join(cluster.name for cluster in named)
        raise InvalidInput(f"'{hint}' is the alias of several clusters: {names}; write the cluster's name")
    member = _member(topology, hint, guess=guess)
    cluster_found = topology.clusters.get(member.cluster_id) if member is not None else None
    if cluster_found is None:
        raise NotKnown(
            f"no cluster '{hint}' is known, nor a server of that name: see raftctl clusters",
            peers=f"Unable to determine cluster name. clusterHint={hint}",
        )
    return cluster_found


def _member(topology: Topology, hint: str, *, guess: bool) -> Server | None:
    try:
        key = parse_server(hint if ":" in hint else f"{hint}:3306")
    except InvalidInput:
        return None
    return find_server(topology, key, guess=guess)
