"""What is it like? Clusters and servers as one immutable value, built from records, observations and marks."""

from orchestrator_raft.core.topology.clusters import assign_clusters, observe_ackers, resolve_sources
from orchestrator_raft.core.topology.model import (
    Cluster,
    ClusterRecord,
    Downtime,
    Maintenance,
    Marks,
    RegisteredRule,
    SavedTransactions,
    Server,
    ServerRecord,
    StalePrimary,
    StaleStatus,
    Topology,
)
from orchestrator_raft.core.topology.rebuild import build
from orchestrator_raft.core.topology.regions import reassign_clusters

__all__ = [
    "Cluster",
    "ClusterRecord",
    "Downtime",
    "Maintenance",
    "Marks",
    "RegisteredRule",
    "SavedTransactions",
    "Server",
    "ServerRecord",
    "StalePrimary",
    "StaleStatus",
    "Topology",
    "assign_clusters",
    "build",
    "observe_ackers",
    "reassign_clusters",
    "resolve_sources",
]
