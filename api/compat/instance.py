"""The Instance object of the compatible API, misspellings and doubled keys included, in the order of its wire form."""

from __future__ import annotations

from orchestrator_raft.core.instance import (
    Channel,
    Coordinates,
    Facts,
    Flavor,
    InstanceKey,
    PromotionRule,
    ThreadState,
)
from orchestrator_raft.core.topology import Server

from . import shown
from .go import Json, coordinates_json, key_json, keys_json, nanoseconds, null_bool, null_int, quoted, timestamp
from .shown import Scene

NOTHING = Coordinates()
CANDIDATE_RULES = (PromotionRule.MUST, PromotionRule.PREFER)
_NOT_BOOL = ("", "0", "OFF", "FALSE", "NO")


def instance_json(server: Server, scene: Scene) -> Json:
    """One server. A server that nobody has reached yet has its key and empty values."""
    facts = server.facts or Facts(key=server.key, flavor=Flavor.MYSQL, version="")
    fresh = shown.freshness(server, scene)
    errant = shown.errant_text(server, scene.moment)
    return {
        **_identity(server, facts),
        **_replication(server, facts, errant, scene),
        **_place(server, facts, scene),
        **_semi_sync(facts),
        **_checks(server, facts, fresh, scene),
        **_channel_options(facts.channel),
        "Problems": shown.problems(server, scene, fresh, errant),
        "LastDiscoveryLatency": nanoseconds(fresh.latency_s),
        **_group(facts),
        "QSP": {},
    }


def _group(facts: Facts) -> dict[str, Json]:
    """Its place in a replication group, where it is in one."""
    group = facts.group if facts.is_group_member else None
    peers = group.members if group is not None else ()
    primary = next((InstanceKey(each.hostname, each.port) for each in peers if each.role == "PRIMARY"), None)
    is_single = group is not None and group.single_primary
    return {
        "ReplicationGroupName": group.group_name if group is not None else "",
        "ReplicationGroupIsSinglePrimary": is_single,
        "ReplicationGroupMemberState": group.state if group is not None else "",
        "ReplicationGroupMemberRole": group.role if group is not None else "",
        "ReplicationGroupMembers": [key_json(InstanceKey(each.hostname, each.port)) for each in peers],
        "ReplicationGroupPrimaryInstanceKey": key_json(primary if is_single else None),
    }


def flavor_name(server: Server) -> str:
    facts = server.facts
    if facts is None:
        return "unknown"
    if facts.flavor is Flavor.MARIADB:
        return "MariaDB"
    return "Percona" if "percona" in facts.version_comment.lower() else "MySQL"


def _identity(server: Server, facts: Facts) -> dict[str, Json]:
    return {
        "Key": key_json(server.key),
        "InstanceAlias": facts.alias,
        "Uptime": facts.uptime_s,
        "ServerID": facts.server_id,
        "ServerUUID": facts.server_uuid,
        "Version": facts.version,
        "VersionComment": facts.version_comment,
        "FlavorName": flavor_name(server),
        "ReadOnly": facts.read_only,
        "Binlog_format": facts.binlog.format,
        "BinlogRowImage": facts.binlog.row_image,
        "LogBinEnabled": facts.binlog.enabled,
        "LogSlaveUpdatesEnabled": facts.binlog.logs_replica_updates,
        "LogReplicationUpdatesEnabled": facts.binlog.logs_replica_updates,
        "SelfBinlogCoordinates": coordinates_json(facts.binlog.coordinates),
    }


def source_key(server: Server) -> InstanceKey | None:
    """The known server it replicates from, else the address it names (a detached one keeps its mark)."""
    if server.source is not None:
        return server.source
    channel = server.channel
    return channel.source if channel is not None else None


def _replication(server: Server, facts: Facts, errant: str, scene: Scene) -> dict[str, Json]:
    channel = facts.channel
    applier, receiver = (shown.thread_state(channel, receiver=each) for each in (False, True))
    lag, seconds_behind = null_int(facts.lag_s), null_int(channel.lag_s if channel else None)
    return {
        "MasterKey": key_json(source_key(server)),
        "MasterUUID": channel.source_uuid if channel else "",
        "AncestryUUID": _ancestry(server, facts, scene),
        "IsDetachedMaster": channel is not None and channel.source.is_detached,
        "Slave_SQL_Running": applier is ThreadState.RUNNING,
        "ReplicationSQLThreadRuning": applier is ThreadState.RUNNING,
        "Slave_IO_Running": receiver is ThreadState.RUNNING,
        "ReplicationIOThreadRuning": receiver is ThreadState.RUNNING,
        "ReplicationSQLThreadState": int(applier),
        "ReplicationIOThreadState": int(receiver),
        "HasReplicationFilters": channel is not None and channel.has_filters,
        "GTIDMode": facts.gtid_mode,
        "SupportsOracleGTID": shown.supports_gtid(facts),
        "UsingOracleGTID": shown.uses_gtid(facts, Flavor.MYSQL),
        "UsingMariaDBGTID": shown.uses_gtid(facts, Flavor.MARIADB),
        "UsingPseudoGTID": False,
        "ReadBinlogCoordinates": coordinates_json(channel.read if channel else NOTHING),
        "ExecBinlogCoordinates": coordinates_json(channel.executed if channel else NOTHING),
        "IsDetached": False,
        "RelaylogCoordinates": coordinates_json(channel.relay if channel else NOTHING, relay=True),
        "LastSQLError": quoted(channel.applier_error if channel else ""),
        "LastIOError": quoted(channel.receiver_error if channel else ""),
        "SecondsBehindMaster": seconds_behind,
        "SQLDelay": channel.delay_s if channel else 0,
        "ExecutedGtidSet": str(facts.executed) if facts.executed is not None else "",
        "GtidPurged": str(facts.purged) if facts.purged is not None else "",
        "GtidErrant": errant,
        "SlaveLagSeconds": lag,
        "ReplicationLagSeconds": lag,
        "SlaveHosts": keys_json(server.replicas),
        "Replicas": keys_json(server.replicas),
    }


def _ancestry(server: Server, facts: Facts, scene: Scene) -> str:
    """Server UUIDs from the top of the tree down to this server."""
    servers = scene.moment.topology.servers
    above = [servers[key].facts for key in reversed(scene.moment.topology.ancestors(server.key))]
    return ",".join(each.server_uuid for each in (*above, facts) if each is not None and each.server_uuid)


def cluster_name(server: Server, scene: Scene) -> str:
    """``host:port`` of the cluster's primary as committed."""
    cluster = scene.moment.topology.clusters.get(server.cluster_id)
    return cluster.name if cluster is not None else str(server.key)


def _place(server: Server, facts: Facts, scene: Scene) -> dict[str, Json]:
    cluster = scene.moment.topology.clusters.get(server.cluster_id)
    channel = facts.channel
    has_account = channel is not None and channel.user != ""
    return {
        "ClusterName": cluster_name(server, scene),
        "SuggestedClusterAlias": facts.cluster_alias or (cluster.record.alias if cluster is not None else ""),
        "DataCenter": facts.location.data_center,
        "Region": facts.location.region,
        "PhysicalEnvironment": facts.location.environment,
        "ReplicationDepth": server.depth,
        "IsCoMaster": server.is_co_primary,
        "HasReplicationCredentials": has_account,
        "ReplicationCredentialsAvailable": has_account or facts.has_replication_credentials,
    }


def _semi_sync(facts: Facts) -> dict[str, Json]:
    semi_sync = facts.semi_sync
    return {
        "SemiSyncAvailable": semi_sync.available,
        "SemiSyncPriority": facts.semi_sync_priority,
        "SemiSyncMasterPluginNewVersion": semi_sync.new_names,
        "SemiSyncReplicaPluginNewVersion": semi_sync.new_names,
        "SemiSyncMasterEnabled": semi_sync.source_enabled,
        "SemiSyncReplicaEnabled": semi_sync.replica_enabled,
        "SemiSyncMasterTimeout": semi_sync.timeout_ms,
        "SemiSyncMasterWaitForReplicaCount": semi_sync.wait_for_replica_count,
        "SemiSyncMasterStatus": semi_sync.source_active,
        "SemiSyncMasterClients": semi_sync.source_clients,
        "SemiSyncReplicaStatus": semi_sync.replica_active,
    }


def _checks(server: Server, facts: Facts, fresh: shown.Freshness, scene: Scene) -> dict[str, Json]:
    downtime = shown.downtime(server, scene.moment)
    return {
        "LastSeenTimestamp": timestamp(fresh.seen_ms),
        "IsLastCheckValid": fresh.valid,
        "IsUpToDate": fresh.up_to_date,
        "IsRecentlyChecked": fresh.recently_checked,
        "SecondsSinceLastSeen": null_int(fresh.since_seen_s),
        "CountMySQLSnapshots": 0,
        "IsCandidate": facts.promotion_rule in CANDIDATE_RULES,
        "PromotionRule": facts.promotion_rule.value,
        "IsDowntimed": downtime.holds,
        "DowntimeReason": downtime.reason,
        "DowntimeOwner": downtime.owner,
        "DowntimeEndTimestamp": timestamp(downtime.ends_ms),
        "ElapsedDowntime": nanoseconds(downtime.elapsed_s),
        "UnresolvedHostname": _virtual_name(server, scene),
    }


def _virtual_name(server: Server, scene: Scene) -> str:
    mark = scene.moment.state.virtual_names.get(server.key)
    return mark.hostname if mark is not None else ""


def _channel_options(channel: Channel | None) -> dict[str, Json]:
    """TLS and the like; dialects name these options alike but for the word source or master in front."""
    found: dict[str, str] = {}
    for option in channel.options if channel is not None else ():
        found[option.name.upper().removeprefix("SOURCE_").removeprefix("MASTER_")] = str(option.value)

    def text(name: str) -> str:
        return found.get(name, "")

    def flag(name: str) -> bool | None:
        return found[name].upper() not in _NOT_BOOL if name in found else None

    return {
        "AllowTLS": bool(flag("SSL")),
        "ReplicationSSLCAFile": text("SSL_CA"),
        "ReplicationSSLCAPath": text("SSL_CAPATH"),
        "ReplicationSSLCert": text("SSL_CERT"),
        "ReplicationSSLCipher": text("SSL_CIPHER"),
        "ReplicationSSLCRLFile": text("SSL_CRL"),
        "ReplicationSSLCRLPath": text("SSL_CRLPATH"),
        "ReplicationSSLKey": text("SSL_KEY"),
        "ReplicationSSLVerifyServerCert": null_bool(flag("SSL_VERIFY_SERVER_CERT")),
        "ReplicationTLSVersion": text("TLS_VERSION"),
        "ReplicationTLSCiphersuites": text("TLS_CIPHERSUITES"),
        "ReplicationSourcePublicKeyPath": text("PUBLIC_KEY_PATH"),
        "ReplicationGetSourcePublicKey": null_bool(flag("GET_SOURCE_PUBLIC_KEY")),
    }
