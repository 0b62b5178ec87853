"""The keys of orchestrator that do not reach ``Settings``, or reach it before anybody reads them. Data only.

``UNUSED``   deliberately without effect here, with the sentence that says why.
``NOT_YET``  a checked field of ``Settings`` that no part of this version reads. Whoever builds the part takes the name
             out of the table in the same commit; until then a file that sets the key is told the truth.
``OLD``      earlier names of keys.
``RETIRED``  names that stand in files in circulation though orchestrator itself ignores them.

A key is reported only if the file sets it to something else than its default, so that a stock file is quiet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from orchestrator_raft.config.keys import Kind

FLAG, WHOLE, TEXT, TEXTS = Kind.FLAG, Kind.WHOLE, Kind.TEXT, Kind.TEXTS


@dataclass(frozen=True, slots=True)
class Unused:
    """Keys without effect. ``quiet``: what the key asks for is not missed, so one note for all of them is enough."""

    group: str
    reason: str
    keys: tuple[tuple[str, Kind, Any], ...]
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class NotYet:
    """Fields that nobody reads in this version."""

    reason: str
    names: tuple[str, ...]


class Merge(Enum):
    """How an old name and the new one make one value."""

    SYNONYM = "two names of one setting; two different values are an error"
    EITHER = "on if either of the two is switched on in the file"
    BLOCK_PERIOD = "minutes; used only where RecoveryPeriodBlockSeconds is 0"


@dataclass(frozen=True, slots=True)
class OldName:
    """An earlier name of a key; ``default`` is orchestrator's."""

    name: str
    kind: Kind
    default: Any
    new: str
    merge: Merge


UNUSED = (
    Unused(
        "Audit and key-value stores",
        "Consul always gets the keys of one primary in one transaction of their own",
        (("ConsulKVStoreProvider", TEXT, "consul"), ("ConsulMaxKVsPerTransaction", WHOLE, 5)),
        quiet=True,
    ),
    Unused(
        "Backend database",
        "there is no backend database, the nodes keep their state in RaftDataDir",
        (
            ("BackendDB", TEXT, "mysql"),
            ("SQLite3DataFile", TEXT, ""),
            ("SkipOrchestratorDatabaseUpdate", FLAG, False),
            ("PanicIfDifferentDatabaseDeploy", FLAG, False),
            ("MySQLOrchestratorHost", TEXT, ""),
            ("MySQLOrchestratorPort", WHOLE, 3306),
            ("MySQLOrchestratorDatabase", TEXT, ""),
            ("MySQLOrchestratorUser", TEXT, ""),
            ("MySQLOrchestratorPassword", TEXT, ""),
            ("MySQLOrchestratorCredentialsConfigFile", TEXT, ""),
            ("MySQLOrchestratorSSLPrivateKeyFile", TEXT, ""),
            ("MySQLOrchestratorSSLCertFile", TEXT, ""),
            ("MySQLOrchestratorSSLCAFile", TEXT, ""),
            ("MySQLOrchestratorSSLSkipVerify", FLAG, False),
            ("MySQLOrchestratorUseMutualTLS", FLAG, False),
            ("MySQLOrchestratorMaxPoolConnections", WHOLE, 128),
            ("MySQLOrchestratorReadTimeoutSeconds", WHOLE, 30),
            ("MySQLOrchestratorRejectReadOnly", FLAG, False),
            ("MySQLOrchestratorMaxAllowedPacket", WHOLE, -1),
            ("BufferInstanceWrites", FLAG, False),
            ("InstanceWriteBufferSize", WHOLE, 100),
            ("InstanceFlushIntervalMilliseconds", WHOLE, 100),
            ("AuditToBackendDB", FLAG, False),
        ),
        quiet=True,
    ),
    Unused(
        "Service and logging",
        "logs and audit go to standard error, from where systemd or the container passes them on",
        (("EnableSyslog", FLAG, False), ("AuditToSyslog", FLAG, False)),
    ),
    Unused(
        "Access to database servers",
        "each server has one lasting connection, which learns by itself whether the server requires TLS",
        (("TLSCacheTTLFactor", WHOLE, 100), ("MySQLConnectionLifetimeSeconds", WHOLE, 0)),
    ),
    Unused(
        "Access to database servers",
        "no statement sent to a server comes near the driver's limit",
        (("MySQLTopologyMaxAllowedPacket", WHOLE, -1),),
    ),
    Unused(
        "Discovery",
        "a probe has a deadline of its own, so a hung one is a failed one at once",
        (("ReasonableInstanceCheckSeconds", WHOLE, 1),),
    ),
    Unused(
        "Discovery",
        "there is no queue: a server is probed when it is due, one probe of it at a time",
        (("DiscoveryQueueCapacity", WHOLE, 100000),),
    ),
    Unused(
        "Discovery",
        "MaxScale is not supported, and binlog servers are never moved",
        (("SkipMaxScaleCheck", FLAG, True), ("SkipBinlogServerUnresolveCheck", FLAG, True)),
    ),
    Unused(
        "Discovery",
        "a pool's servers are named exactly, by host, alias or first label: a write never guesses",
        (("SupportFuzzyPoolHostnames", FLAG, True),),
    ),
    Unused(
        "Recovery",
        "a failure is always confirmed by several eyes: the replicas and the other nodes",
        (("ExpectFailureAnalysisConcensus", FLAG, True),),
    ),
    Unused(
        "Recovery",
        "the analysis is computed in memory and needs no such saving",
        (("ReduceReplicationAnalysisCount", FLAG, True),),
    ),
    Unused(
        "Recovery",
        "orchestrator never reads it either",
        (("MasterFailoverLostInstancesDowntimeMinutes", WHOLE, 0),),
    ),
    Unused(
        "Access to the API, and its TLS",
        "OAuth is not supported",
        (("OAuthClientId", TEXT, ""), ("OAuthClientSecret", TEXT, ""), ("OAuthScopes", TEXTS, None)),
    ),
    Unused(
        "Access to the API, and its TLS",
        "nodes forward requests over their own connections, whose certificates are always verified",
        (("SSLSkipVerify", FLAG, False),),
        quiet=True,
    ),
    Unused(
        "Metrics and key-value stores",
        "metrics are served for Prometheus and not pushed to Graphite",
        (
            ("GraphiteAddr", TEXT, ""),
            ("GraphitePath", TEXT, ""),
            ("GraphiteConvertHostnameDotsToUnderscores", FLAG, True),
            ("GraphitePollSeconds", WHOLE, 60),
        ),
    ),
    Unused(
        "Audit and key-value stores",
        "pictures of old topologies are not kept: audit, recoveries and events tell what changed",
        (("SnapshotTopologiesIntervalHours", WHOLE, 0),),
    ),
    Unused(
        "Metrics and key-value stores",
        "ZooKeeper is not supported; use Consul, hooks, or the health routes",
        (("ZkAddress", TEXT, ""),),
    ),
    Unused(
        "Pseudo-GTID",
        "servers are matched by GTID only, never by Pseudo-GTID",
        (
            ("AutoPseudoGTID", FLAG, False),
            ("PseudoGTIDPattern", TEXT, ""),
            ("PseudoGTIDPatternIsFixedSubstring", FLAG, False),
            ("PseudoGTIDMonotonicHint", TEXT, ""),
            ("DetectPseudoGTIDQuery", TEXT, ""),
            ("BinlogEventsChunkSize", WHOLE, 10000),
            ("SkipBinlogEventsContaining", TEXTS, []),
        ),
    ),
    Unused(
        "Agents",
        "orchestrator-agent and its seeding are not supported",
        (
            ("ServeAgentsHttp", FLAG, False),
            ("AgentsServerPort", TEXT, ":3001"),
            ("AgentsUseSSL", FLAG, False),
            ("AgentsUseMutualTLS", FLAG, False),
            ("AgentSSLSkipVerify", FLAG, False),
            ("AgentSSLPrivateKeyFile", TEXT, ""),
            ("AgentSSLCertFile", TEXT, ""),
            ("AgentSSLCAFile", TEXT, ""),
            ("AgentSSLValidOUs", TEXTS, []),
            ("AgentPollMinutes", WHOLE, 60),
            ("UnseenAgentForgetHours", WHOLE, 6),
            ("StaleSeedFailMinutes", WHOLE, 60),
            ("SeedAcceptableBytesDiff", WHOLE, 8192),
            ("SeedWaitSecondsBeforeSend", WHOLE, 2),
        ),
    ),
)

NOT_YET = (
    NotYet(
        "the nodes keep the audit, in a fixed length, and write it to no file",
        ("AuditLogFile", "AuditPurgeDays"),
    ),
    NotYet(
        "dead servers are probed like the others",
        (
            "DeadInstancePollSecondsMultiplyFactor", "DeadInstancePollSecondsMax",
            "DeadInstanceDiscoveryMaxConcurrency", "DeadInstanceDiscoveryLogsEnabled",
        ),
    ),
    NotYet(
        "only DiscoveryIgnoreHostnameFilters keeps servers out, silently",
        (
            "DiscoveryIgnoreReplicaHostnameFilters", "DiscoveryIgnoreMasterHostnameFilters",
            "DiscoveryIgnoreReplicationUsernameFilters", "EnableDiscoveryFiltersLogs",
        ),
    ),
    NotYet(
        "resolved names are neither kept nor refused",
        ("ExpiryHostnameResolvesMinutes", "RejectHostnameResolvePattern"),
    ),
    NotYet(
        "every question to a server has a deadline of its own: ProbeTimeoutMilliseconds, or the step's",
        ("MySQLDiscoveryReadTimeoutSeconds", "MySQLTopologyReadTimeoutSeconds"),
    ),
    NotYet("there is no policy that counts seconds", ("DataLossSeconds",)),
    NotYet(
        "a successor is always waited for until it has applied what it received, at most MaxCatchUpSeconds",
        ("DelayMasterPromotionIfSQLThreadNotUpToDate",),
    ),
    NotYet(
        "nothing is detached or postponed: replicas follow the successor or are reported",
        (
            "DetachLostReplicasAfterMasterFailover", "MasterFailoverDetachReplicaMasterHost",
            "PostponeReplicaRecoveryOnLagMinutes",
        ),
    ),
    NotYet(
        "each step of a move has a limit of its own",
        ("InstanceBulkOperationsWaitTimeoutSeconds",),
    ),
)  # fmt: skip

OLD = (
    OldName("SlaveLagQuery", TEXT, "", "ReplicationLagQuery", Merge.SYNONYM),
    OldName("PostponeSlaveRecoveryOnLagMinutes", WHOLE, 0, "PostponeReplicaRecoveryOnLagMinutes", Merge.SYNONYM),
    OldName("DetachLostSlavesAfterMasterFailover", FLAG, True, "DetachLostReplicasAfterMasterFailover", Merge.EITHER),
    OldName("MasterFailoverDetachSlaveMasterHost", FLAG, False, "MasterFailoverDetachReplicaMasterHost", Merge.EITHER),
    OldName("RecoveryPeriodBlockMinutes", WHOLE, 60, "RecoveryPeriodBlockSeconds", Merge.BLOCK_PERIOD),
)

RETIRED = frozenset(
    {
        "ActiveNodeExpireSeconds", "AgentAutoDiscover", "AuditPageSize", "AutoRecoveryGloballyEnabled",
        "BufferBinlogEvents", "DatabaselessMode__experimental", "HttpTimeoutSeconds", "MaintenanceExpireMinutes",
        "MaintenanceOwner", "MaintenancePurgeDays", "MaxOutdatedKeysToShow", "MySQLTopologyMaxPoolConnections",
        "PseudoGTIDCoordinatesHistoryHeuristicMinutes", "PseudoGTIDPreferIndependentMultiMatch",
        "RaftEnabledSingleNode", "ReadLongRunningQueries", "RecoveryPollSeconds", "RemoteSSHCommand",
        "RemoteSSHCommandUseSudo",
        "RemoteSSHForMasterFailover", "SlaveStartPostWaitMilliseconds", "StatusSimpleHealth",
        "UnreachableMasterWithStaleSlavesProcesses",
    }
)  # fmt: skip
