"""ClusterInfo of the compatible API."""

from __future__ import annotations

from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Cluster, Server

from .go import Json
from .shown import Scene


def cluster_json(cluster: Cluster, scene: Scene) -> Json:
    members = [scene.moment.topology.servers[key] for key in cluster.members]
    return {
        **cluster_details(cluster.name, cluster.alias, cluster.record.domain, count=len(members)),
        "HeuristicLag": _lag_s(members),
        **automation(cluster.name, cluster.alias, scene.moment.policy),
    }


def cluster_details(name: str, alias: str, domain: str, *, count: int) -> dict[str, Json]:
    return {
        "ClusterName": name,
        "ClusterAlias": alias,
        "ClusterDomain": domain,
        "CountInstances": count,
        "HeuristicLag": 0,
    }


def automation(name: str, alias: str, policy: Policy) -> dict[str, Json]:
    return {
        "HasAutomatedMasterRecovery": policy.recover_primary.match(name, alias),
        "HasAutomatedIntermediateMasterRecovery": policy.recover_intermediate.match(name, alias),
    }


def _lag_s(members: list[Server]) -> int:
    """The greatest lag of those replicas that ought to keep up: reached, not in downtime, not delayed on purpose."""
    lags = []
    for server in members:
        facts = server.fresh
        if facts is None or facts.channel is None or facts.channel.delay_s or server.downtime or server.stale:
            continue
        lags.append(facts.lag_s or 0.0)
    return int(max(lags, default=0.0))
