"""ReplicationAnalysis of the compatible API: one server's diagnosis, or the little that a recovery keeps of it.

One table of empty values fixes the order and the types of all keys; the functions below fill in what they know. That
is how the peers' own answers come about, too: a recovery that is read back has most of it empty.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.analysis import Diagnosis, Problem, Situation, situate
from orchestrator_raft.core.instance import Coordinates, Facts, Flavor
from orchestrator_raft.core.recovery.model import Recovery, Subject
from orchestrator_raft.core.topology import Server

from . import shown
from .cluster import automation, cluster_details
from .go import NO_KEY, Json, coordinates_json, key_json, keys_json, timestamp
from .instance import source_key
from .shown import Scene

EMPTY: dict[str, Json] = {
    "AnalyzedInstanceKey": NO_KEY,
    "AnalyzedInstanceMasterKey": NO_KEY,
    "ClusterDetails": None,
    "AnalyzedInstanceDataCenter": "",
    "AnalyzedInstanceRegion": "",
    "AnalyzedInstancePhysicalEnvironment": "",
    "AnalyzedInstanceBinlogCoordinates": coordinates_json(Coordinates()),
    "IsMaster": False,
    "IsReplicationGroupMember": False,
    "IsCoMaster": False,
    "LastCheckValid": False,
    "LastCheckPartialSuccess": False,
    "CountReplicas": 0,
    "CountValidReplicas": 0,
    "CountValidReplicatingReplicas": 0,
    "CountReplicasFailingToConnectToMaster": 0,
    "CountDowntimedReplicas": 0,
    "ReplicationDepth": 0,
    "Replicas": [],
    "SlaveHosts": [],
    "IsFailingToConnectToMaster": False,
    "Analysis": "NoProblem",
    "Description": "",
    "StructureAnalysis": None,
    "IsDowntimed": False,
    "IsReplicasDowntimed": False,
    "DowntimeEndTimestamp": "",
    "DowntimeRemainingSeconds": 0,
    "IsBinlogServer": False,
    "PseudoGTIDImmediateTopology": False,
    "OracleGTIDImmediateTopology": False,
    "MariaDBGTIDImmediateTopology": False,
    "BinlogServerImmediateTopology": False,
    "SemiSyncMasterEnabled": False,
    "SemiSyncMasterStatus": False,
    "SemiSyncMasterWaitForReplicaCount": 0,
    "SemiSyncMasterClients": 0,
    "CountSemiSyncReplicasEnabled": 0,
    "CountLoggingReplicas": 0,
    "CountStatementBasedLoggingReplicas": 0,
    "CountMixedBasedLoggingReplicas": 0,
    "CountRowBasedLoggingReplicas": 0,
    "CountDistinctMajorVersionsLoggingReplicas": 0,
    "CountDelayedReplicas": 0,
    "CountLaggingReplicas": 0,
    "IsActionableRecovery": False,
    "ProcessingNodeHostname": "",
    "ProcessingNodeToken": "",
    "CountAdditionalAgreeingNodes": 0,
    "StartActivePeriod": "",
    "SkippableDueToDowntime": False,
    "GTIDMode": "",
    "MinReplicaGTIDMode": "",
    "MaxReplicaGTIDMode": "",
    "MaxReplicaGTIDErrant": "",
    "CommandHint": "",
    "IsReadOnly": False,
}


def diagnosis_json(diagnosis: Diagnosis, scene: Scene) -> Json:
    """What the rules say of one server."""
    situation, problem = diagnosis.situation, diagnosis.problem
    cluster = situation.cluster
    name, alias = (cluster.name, cluster.alias) if cluster is not None else (str(situation.key), str(situation.key))
    details = cluster_details(
        name, alias, cluster.record.domain if cluster else "", count=len(cluster.members) if cluster else 1
    )
    return {
        **EMPTY,
        "AnalyzedInstanceKey": key_json(situation.key),
        "AnalyzedInstanceMasterKey": key_json(source_key(situation.server)),
        "ClusterDetails": {**details, **automation(name, alias, scene.moment.policy)},
        **_server(situation.server),
        "IsMaster": situation.is_primary,
        "IsReplicationGroupMember": situation.is_group_member,
        **_replicas(situation, scene),
        "IsFailingToConnectToMaster": situation.is_failing_to_connect,
        "Analysis": diagnosis.code,
        "Description": _description(problem) if problem is not None else "",
        "StructureAnalysis": list(diagnosis.warnings) or None,
        **_downtime(situation, scene),
        "SkippableDueToDowntime": _is_skipped_for_downtime(diagnosis),
        "IsActionableRecovery": problem is not None and problem.is_actionable,
        "ProcessingNodeHostname": scene.node.hostname,
        "ProcessingNodeToken": scene.node.token,
    }


def _server(server: Server) -> dict[str, Json]:
    """What concerns the analysed server itself."""
    facts = server.facts or Facts(key=server.key, flavor=Flavor.MYSQL, version="")
    return {
        "AnalyzedInstanceDataCenter": facts.location.data_center,
        "AnalyzedInstanceRegion": facts.location.region,
        "AnalyzedInstancePhysicalEnvironment": facts.location.environment,
        "AnalyzedInstanceBinlogCoordinates": coordinates_json(facts.binlog.coordinates),
        "IsCoMaster": server.is_co_primary,
        "IsBinlogServer": facts.is_binlog_server,
        "LastCheckValid": server.reached,
        "LastCheckPartialSuccess": server.answers,
        "ReplicationDepth": server.depth,
        "SemiSyncMasterEnabled": facts.semi_sync.source_enabled,
        "SemiSyncMasterStatus": facts.semi_sync.source_active,
        "SemiSyncMasterWaitForReplicaCount": facts.semi_sync.wait_for_replica_count,
        "SemiSyncMasterClients": facts.semi_sync.source_clients,
        "GTIDMode": facts.gtid_mode,
        "IsReadOnly": facts.read_only,
    }


def _replicas(situation: Situation, scene: Scene) -> dict[str, Json]:
    """What concerns its replicas: keys, counts, extremes."""
    keys = keys_json(server.key for server in situation.replicas)
    valid = [server.facts for server in situation.valid if server.facts is not None]
    logging = [server.facts for server in situation.logging if server.facts is not None]
    formats = [facts.binlog.format for facts in logging]
    modes = sorted(facts.gtid_mode for facts in valid)
    return {
        "CountReplicas": len(keys),
        "CountValidReplicas": len(valid),
        "CountValidReplicatingReplicas": len(situation.replicating),
        "CountReplicasFailingToConnectToMaster": len(situation.failing_to_connect),
        "CountDowntimedReplicas": _count_downtimed(situation),
        "Replicas": keys,
        "SlaveHosts": keys,
        "OracleGTIDImmediateTopology": bool(valid) and all(shown.uses_gtid(each, Flavor.MYSQL) for each in valid),
        "MariaDBGTIDImmediateTopology": bool(valid) and all(shown.uses_gtid(each, Flavor.MARIADB) for each in valid),
        "CountSemiSyncReplicasEnabled": len(situation.semi_sync),
        "CountLoggingReplicas": len(logging),
        "CountStatementBasedLoggingReplicas": formats.count("STATEMENT"),
        "CountMixedBasedLoggingReplicas": formats.count("MIXED"),
        "CountRowBasedLoggingReplicas": formats.count("ROW"),
        "CountDistinctMajorVersionsLoggingReplicas": len({facts.major_version for facts in logging}),
        "CountDelayedReplicas": len(situation.delayed),
        "CountLaggingReplicas": len(situation.lagging),
        "MinReplicaGTIDMode": modes[0] if modes else "",
        "MaxReplicaGTIDMode": modes[-1] if modes else "",
        "MaxReplicaGTIDErrant": max((shown.errant_text(each, scene.moment) for each in situation.valid), default=""),
    }


def _count_downtimed(situation: Situation) -> int:
    return sum(1 for server in situation.replicas if server.downtime is not None or server.stale is not None)


def _downtime(situation: Situation, scene: Scene) -> dict[str, Json]:
    mark = shown.downtime(situation.server, scene.moment)
    left_ms = mark.ends_ms - scene.moment.now_ms if mark.holds else 0
    return {
        "IsDowntimed": mark.holds,
        "IsReplicasDowntimed": 0 < len(situation.replicas) == _count_downtimed(situation),
        "DowntimeEndTimestamp": timestamp(mark.ends_ms),
        "DowntimeRemainingSeconds": max(0, left_ms) // 1000,
    }


def _description(problem: Problem) -> str:
    """What is wrong, and what shows it."""
    return f"{problem.rule.text}: {'; '.join(problem.evidence)}" if problem.evidence else problem.rule.text


def _is_skipped_for_downtime(diagnosis: Diagnosis) -> bool:
    situation, problem = diagnosis.situation, diagnosis.problem
    if problem is None:
        return False
    hides = problem.rule.hidden_by_downtimed_replicas
    all_replicas = 0 < len(situation.replicas) == len(situation.downtimed)
    return situation.server.downtime is not None or (hides and all_replicas)


def recorded_json(subject: Subject, *, start_active_period: str = "") -> Json:
    """What the list forms show of a recovery's or detection's subject."""
    keys = keys_json(subject.replicas)
    return {
        **EMPTY,
        "AnalyzedInstanceKey": key_json(subject.key),
        "ClusterDetails": {
            **cluster_details(subject.cluster_name, subject.cluster_alias, subject.cluster_domain, count=0),
            "HasAutomatedMasterRecovery": subject.automated_primary,
            "HasAutomatedIntermediateMasterRecovery": subject.automated_intermediate,
        },
        "CountReplicas": subject.count_replicas,
        "Replicas": keys,
        "SlaveHosts": keys,
        "Analysis": subject.code,
        "StartActivePeriod": start_active_period,
    }


def _situation_at_claim(subject: Subject, scene: Scene) -> Situation | None:
    """The failed server among the replicas that it had when its recovery was claimed, as all of them are now."""
    topology = scene.moment.topology
    server = topology.servers.get(subject.key)
    if server is None:
        return None
    then = replace(server, replicas=tuple(key for key in subject.replicas if key in topology.servers))
    return situate(replace(topology, servers={**topology.servers, then.key: then}), then, scene.moment.policy)


def live_json(recovery: Recovery, scene: Scene) -> Json:
    """What the reply of a takeover or failover shows: the record, and the servers as they are now."""
    subject = recovery.subject
    situation = _situation_at_claim(subject, scene)
    recorded = recorded_json(subject)
    cluster = scene.moment.topology.clusters.get(recovery.cluster_id)
    recorded["ClusterDetails"]["CountInstances"] = len(cluster.members) if cluster is not None else 0
    seen = {**_server(situation.server), **_replicas(situation, scene)} if situation is not None else {}
    return {
        **recorded,
        **seen,
        "ReplicationDepth": 0 if subject.is_primary else seen.get("ReplicationDepth", 0),
        "IsMaster": subject.is_primary,
        "IsCoMaster": subject.is_co_primary,
        "Description": subject.text,
        "IsDowntimed": subject.is_downtimed,
        "IsActionableRecovery": True,
        "ProcessingNodeHostname": scene.node.hostname,
        "ProcessingNodeToken": scene.node.token,
        "CommandHint": recovery.request.command,
    }
