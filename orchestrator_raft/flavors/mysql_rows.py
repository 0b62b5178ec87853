"""MySQL: what a probe asks, and its rows as facts.

Rules
- No statement may wait for a lock that a hanging commit holds, or a primary that only lost its ackers looks dead. So
  there is no SHOW BINARY LOG STATUS here: it waits for the binary log's lock, which a rotation holds while commits wait
  for an acknowledgement; our own binary log position stays unknown. Account statements in that state block reads of
  tables, so what reads tables is optional and comes after what must be there.
- Variables by name cost microseconds of server CPU, SHOW VARIABLES and performance_schema.global_variables three
  milliseconds. So semi-sync is asked by name, although a server without the plugins answers with an error.
- Everything here works with performance_schema=OFF too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from orchestrator_raft.core.gtid import GtidSet, parse_mysql
from orchestrator_raft.core.health import GroupMember, GroupPeer
from orchestrator_raft.core.instance import Binlog, Channel, Facts, Flavor, InstanceKey, SemiSync
from orchestrator_raft.flavors import rows as read
from orchestrator_raft.flavors.base import Detection, ProbeQuery, Row, Rows
from orchestrator_raft.flavors.options import Kind, Option, read_options

SHOW_CHANNELS = "SHOW REPLICA STATUS"
UNKNOWN_VARIABLE = frozenset({1193})
_GROUP_REPLICATION = "group_replication_"

_VARIABLES = (
    "SELECT @@global.hostname AS hostname, @@global.port AS port, @@global.report_host AS report_host, "
    "@@global.report_port AS report_port, @@global.version AS version, @@global.version_comment AS version_comment, "
    "@@global.server_id AS server_id, @@global.server_uuid AS server_uuid, @@global.read_only AS read_only, "
    "@@global.super_read_only AS super_read_only, @@global.log_bin AS log_bin, "
    "@@global.log_replica_updates AS log_replica_updates, @@global.binlog_format AS binlog_format, "
    "@@global.binlog_row_image AS binlog_row_image, @@global.gtid_mode AS gtid_mode, "
    "@@global.gtid_executed AS gtid_executed, @@global.gtid_purged AS gtid_purged, "
    "@@global.sync_binlog AS sync_binlog, @@global.innodb_flush_log_at_trx_commit AS redo_flush, "
    "@@global.replica_net_timeout AS net_timeout, @@global.max_connections AS max_connections, "
    "@@global.event_scheduler AS event_scheduler"
)
_STATUS = (
    "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME IN ('Uptime', "
    "'Rpl_semi_sync_source_status', 'Rpl_semi_sync_source_clients', 'Rpl_semi_sync_replica_status', "
    "'Rpl_semi_sync_master_status', 'Rpl_semi_sync_master_clients', 'Rpl_semi_sync_slave_status', "
    "'Threads_connected', 'Innodb_data_fsyncs', 'Innodb_data_pending_fsyncs', 'Innodb_os_log_pending_fsyncs')"
)
_CONNECTIONS = (
    "SELECT * FROM performance_schema.replication_connection_configuration "
    "LEFT JOIN performance_schema.replication_applier_configuration USING (CHANNEL_NAME)"
)
_RECEIVERS = (
    "SELECT CHANNEL_NAME, COUNT_RECEIVED_HEARTBEATS, QUEUEING_TRANSACTION, "
    "LEAST(TIMESTAMPDIFF(MICROSECOND, HEARD, NOW(6)) / 1e6, UNIX_TIMESTAMP() + 1 - UNIX_TIMESTAMP(HEARD)) AS SILENT_S "
    "FROM (SELECT *, GREATEST(LAST_HEARTBEAT_TIMESTAMP, LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP) AS HEARD "
    "FROM performance_schema.replication_connection_status) AS receivers"
)
"""NOW() jumps when summer time begins; the seconds since 1970 do not, but have no fraction."""
_WORKERS = (
    "SELECT CHANNEL_NAME, LAST_ERROR_NUMBER, LAST_ERROR_MESSAGE "
    "FROM performance_schema.replication_applier_status_by_worker WHERE LAST_ERROR_NUMBER <> 0"
)
_GROUP = (
    "SELECT @@global.group_replication_group_name AS GROUP_NAME, "
    "@@global.group_replication_single_primary_mode AS SINGLE_PRIMARY, MEMBER_STATE, MEMBER_ROLE FROM (SELECT 1) AS me "
    "LEFT JOIN performance_schema.replication_group_members ON MEMBER_ID = @@global.server_uuid"
)
_GROUP_MEMBERS = (
    "SELECT MEMBER_HOST, MEMBER_PORT, MEMBER_STATE, MEMBER_ROLE FROM performance_schema.replication_group_members "
    "WHERE MEMBER_HOST <> '' AND MEMBER_PORT > 0 ORDER BY MEMBER_ID"
)
_SEMI_SYNC_SOURCE = (
    "SELECT @@global.rpl_semi_sync_{source}_enabled AS enabled, @@global.rpl_semi_sync_{source}_timeout AS timeout_ms, "
    "@@global.rpl_semi_sync_{source}_wait_for_{replica}_count AS wait_count, "
    "@@global.rpl_semi_sync_{source}_wait_no_{replica} AS wait_alone, "
    "@@global.rpl_semi_sync_{source}_wait_point AS wait_point"
)
_SEMI_SYNC_REPLICA = "SELECT @@global.rpl_semi_sync_{replica}_enabled AS enabled"
_WORDS = (("source", "replica"), ("master", "slave"))
"""Either plugin has a new and an old version, which differ in these words."""

_STATUS_OPTIONS: tuple[Option, ...] = (
    Option("SOURCE_BIND", "Source_Bind", host_bound=True),
    Option("NETWORK_NAMESPACE", "Network_Namespace", host_bound=True),
    Option("SOURCE_CONNECT_RETRY", "Connect_Retry", Kind.NUMBER),
    Option("SOURCE_RETRY_COUNT", "Source_Retry_Count", Kind.NUMBER),
    Option("SOURCE_DELAY", "SQL_Delay", Kind.NUMBER),
    Option("SOURCE_SSL", "Source_SSL_Allowed", Kind.SWITCH),
    Option("SOURCE_SSL_CA", "Source_SSL_CA_File"),
    Option("SOURCE_SSL_CAPATH", "Source_SSL_CA_Path"),
    Option("SOURCE_SSL_CERT", "Source_SSL_Cert"),
    Option("SOURCE_SSL_KEY", "Source_SSL_Key"),
    Option("SOURCE_SSL_CIPHER", "Source_SSL_Cipher"),
    Option("SOURCE_SSL_CRL", "Source_SSL_Crl"),
    Option("SOURCE_SSL_CRLPATH", "Source_SSL_Crlpath"),
    Option("SOURCE_SSL_VERIFY_SERVER_CERT", "Source_SSL_Verify_Server_Cert", Kind.SWITCH),
    Option("SOURCE_TLS_VERSION", "Source_TLS_Version"),
    Option("SOURCE_PUBLIC_KEY_PATH", "Source_public_key_path"),
    Option("GET_SOURCE_PUBLIC_KEY", "Get_Source_public_key", Kind.SWITCH),
)
_CONNECTION_OPTIONS: tuple[Option, ...] = (
    Option("SOURCE_HEARTBEAT_PERIOD", "HEARTBEAT_INTERVAL", Kind.SECONDS),
    Option("SOURCE_TLS_CIPHERSUITES", "TLS_CIPHERSUITES"),
    Option("SOURCE_COMPRESSION_ALGORITHMS", "COMPRESSION_ALGORITHM"),
    Option("SOURCE_ZSTD_COMPRESSION_LEVEL", "ZSTD_COMPRESSION_LEVEL", Kind.NUMBER),
    Option("SOURCE_CONNECTION_AUTO_FAILOVER", "SOURCE_CONNECTION_AUTO_FAILOVER", Kind.SWITCH),
    Option("REQUIRE_ROW_FORMAT", "REQUIRE_ROW_FORMAT", Kind.SWITCH),
    Option("REQUIRE_TABLE_PRIMARY_KEY_CHECK", "REQUIRE_TABLE_PRIMARY_KEY_CHECK", Kind.WORD),
    Option("PRIVILEGE_CHECKS_USER", "PRIVILEGE_CHECKS_USER", Kind.ACCOUNT),
    Option("GTID_ONLY", "GTID_ONLY", Kind.SWITCH),
)
OPTIONS = _STATUS_OPTIONS + _CONNECTION_OPTIONS


def probe_queries(detection: Detection) -> tuple[ProbeQuery, ...]:
    """Two statements that must succeed, then those that may be refused or unknown, then the configured ones."""
    semi_sync = tuple(
        ProbeQuery(f"semi_sync_{word}", sql.format(source=source, replica=replica), True, UNKNOWN_VARIABLE)
        for source, replica in _WORDS
        for word, sql in ((source, _SEMI_SYNC_SOURCE), (replica, _SEMI_SYNC_REPLICA))
    )
    return (
        ProbeQuery("variables", _VARIABLES),
        ProbeQuery("channels", SHOW_CHANNELS),
        *semi_sync,
        ProbeQuery("replicas", "SHOW REPLICAS", optional=True),
        ProbeQuery("status", _STATUS, optional=True),
        ProbeQuery("connections", _CONNECTIONS, optional=True),
        ProbeQuery("receivers", _RECEIVERS, optional=True),
        ProbeQuery("workers", _WORKERS, optional=True),
        ProbeQuery("group", _GROUP, True, UNKNOWN_VARIABLE),
        ProbeQuery("group_members", _GROUP_MEMBERS, optional=True),
        ProbeQuery("grants", "SHOW GRANTS", optional=True, once=True),
        *read.configured_queries(detection),
    )


def facts_of(asked: InstanceKey, rows: Mapping[str, Rows], detection: Detection) -> Facts:
    """Facts from the rows of a probe. Raises ValueError on nonsense."""
    variables = read.only_row(rows, "variables")
    status = read.named_values(rows.get("status", ()))
    shown = channels(rows.get("channels", ()), rows.get("connections", ()))
    found = tuple(_with_details(channel, rows) for channel in shown)
    has_gtids = read.text(variables, "gtid_mode") not in ("", "OFF")
    facts = Facts(
        key=read.server_key(asked, variables, detection),
        flavor=Flavor.MYSQL,
        version=read.text(variables, "version"),
        version_comment=read.text(variables, "version_comment"),
        server_id=read.number(variables, "server_id"),
        server_uuid=read.text(variables, "server_uuid"),
        uptime_s=int(status.get("uptime", "0")),
        read_only=read.flag(variables, "read_only"),
        super_read_only=read.flag(variables, "super_read_only"),
        binlog=Binlog(
            enabled=read.flag(variables, "log_bin"),
            format=read.text(variables, "binlog_format"),
            row_image=read.text(variables, "binlog_row_image"),
            logs_replica_updates=read.flag(variables, "log_replica_updates"),
        ),
        gtid_mode=read.text(variables, "gtid_mode"),
        executed=parse_mysql(read.text(variables, "gtid_executed")) if has_gtids else None,
        purged=parse_mysql(read.text(variables, "gtid_purged")) if has_gtids else None,
        semi_sync=semi_sync(rows, status),
        channels=found,
        replicas=read.replica_keys(rows.get("replicas", ())),
        replica_ids=read.replica_ids(rows.get("replicas")),
        has_replication_credentials=any(channel.user for channel in found),
        settings=read.settings(variables),
        load=read.load(variables, status),
        group=_group(read.first_row(rows, "group"), rows.get("group_members", ())),
        fence_lacks=fence_lacks(rows.get("grants", ())),
    )
    return read.with_configured(facts, rows, detection)


def semi_sync(rows: Mapping[str, Rows], status: Mapping[str, str]) -> SemiSync:
    """Set-up and state, under whichever names the server uses."""
    sides = ((word, read.first_row(rows, f"semi_sync_{word}")) for pair in _WORDS for word in pair)
    present = {word: row for word, row in sides if row}
    source = present.get("source", present.get("master", {}))
    replica = present.get("replica", present.get("slave", {}))
    new, old = _WORDS
    source_word = new[0] if "source" in present else old[0]
    replica_word = new[1] if "replica" in present else old[1]
    return SemiSync(
        available=bool(source) and bool(replica),
        source_enabled=read.flag(source, "enabled"),
        source_active=_is_on(status, f"rpl_semi_sync_{source_word}_status"),
        source_clients=int(status.get(f"rpl_semi_sync_{source_word}_clients", "0")),
        wait_for_replica_count=read.number(source, "wait_count"),
        wait_without_replicas=read.flag(source, "wait_alone"),
        after_sync=read.text(source, "wait_point") == "AFTER_SYNC",
        timeout_ms=read.number(source, "timeout_ms"),
        replica_enabled=read.flag(replica, "enabled"),
        replica_active=_is_on(status, f"rpl_semi_sync_{replica_word}_status"),
        new_names="source" in present or "replica" in present,
    )


def _is_on(status: Mapping[str, str], name: str) -> bool:
    return status.get(name, "").upper() == "ON"


def channels(shown: Rows, connections: Rows = ()) -> tuple[Channel, ...]:
    """The channels of SHOW REPLICA STATUS, with what performance_schema adds; not those of group replication."""
    added = {read.text(row, "CHANNEL_NAME"): row for row in connections}
    return tuple(_channel(row, added.get(read.text(row, "Channel_Name"), {})) for row in shown if _has_source(row))


def _with_details(channel: Channel, rows: Mapping[str, Rows]) -> Channel:
    """What performance_schema knows of the receiver, and which worker's error stopped the applier."""
    receiver = _of_channel(channel, rows.get("receivers", ()))
    worker = _of_channel(channel, rows.get("workers", ()))
    silent = read.text(receiver, "SILENT_S")
    is_between = silent != "" and read.text(receiver, "QUEUEING_TRANSACTION") == ""
    is_cause = channel.applier_error_number == read.number(worker, "LAST_ERROR_NUMBER") != 0
    return replace(
        channel,
        heartbeats=read.number(receiver, "COUNT_RECEIVED_HEARTBEATS"),
        silent_s=max(0.0, float(silent)) if is_between else None,
        applier_error=read.text(worker, "LAST_ERROR_MESSAGE") if is_cause else channel.applier_error,
    )


def _of_channel(channel: Channel, rows: Rows) -> Row:
    return next((row for row in rows if read.text(row, "CHANNEL_NAME") == channel.name), {})


def _group(row: Row, members: Rows) -> GroupMember | None:
    """Also of a server that has the plugin and is in no group now: it belongs to that group all the same."""
    name = read.text(row, "GROUP_NAME")
    if not name:
        return None
    peers = tuple(
        GroupPeer(hostname=read.text(each, "MEMBER_HOST"), port=read.number(each, "MEMBER_PORT"),
                  state=read.text(each, "MEMBER_STATE"), role=read.text(each, "MEMBER_ROLE"))
        for each in members
    )  # fmt: skip
    state = read.text(row, "MEMBER_STATE") or "OFFLINE"
    return GroupMember(name, state, read.text(row, "MEMBER_ROLE"), read.flag(row, "SINGLE_PRIMARY"), peers)


_GLOBAL_GRANT = re.compile(r"^GRANT (.*) ON \*\.\* TO ")
_FENCE_NEEDS = (("CONNECTION_ADMIN", "SUPER"), ("SYSTEM_USER",))
"""Of each, one is enough."""


def fence_lacks(grants: Rows) -> tuple[str, ...]:
    """What our account would need to end every session, and has not; empty where roles leave that open."""
    said = [str(value) for row in grants for value in row.values()]
    if not said or any(" ON " not in each for each in said):
        return ()
    found = (_GLOBAL_GRANT.match(each) for each in said)
    held = {name.strip() for match in found if match is not None for name in match[1].split(",")}
    return tuple(names[0] for names in _FENCE_NEEDS if held.isdisjoint(names))


def _has_source(row: Row) -> bool:
    is_group = read.text(row, "Channel_Name").startswith(_GROUP_REPLICATION)
    return not is_group and read.text(row, "Source_Host") != ""


def _channel(row: Row, connection: Row) -> Channel:
    heartbeat = read.text(connection, "HEARTBEAT_INTERVAL")
    return Channel(
        name=read.text(row, "Channel_Name"),
        source=InstanceKey(read.text(row, "Source_Host"), read.number(row, "Source_Port")),
        source_uuid=read.text(row, "Source_UUID"),
        source_server_id=read.number(row, "Source_Server_Id"),
        user=read.text(row, "Source_User"),
        receiver=read.thread_state(row, "Replica_IO_Running"),
        applier=read.thread_state(row, "Replica_SQL_Running"),
        receiver_error_number=read.number(row, "Last_IO_Errno"),
        receiver_error=read.text(row, "Last_IO_Error"),
        applier_error_number=read.number(row, "Last_SQL_Errno"),
        applier_error=read.text(row, "Last_SQL_Error"),
        uses_gtid=read.flag(row, "Auto_Position"),
        has_filters=read.is_filtered(row),
        read=read.coordinates(row, "Source_Log_File", "Read_Source_Log_Pos"),
        executed=read.coordinates(row, "Relay_Source_Log_File", "Exec_Source_Log_Pos"),
        relay=read.coordinates(row, "Relay_Log_File", "Relay_Log_Pos"),
        retrieved=retrieved(row),
        lag_s=read.optional_number(row, "Seconds_Behind_Source"),
        delay_s=read.number(row, "SQL_Delay"),
        heartbeat_period_s=float(heartbeat) if heartbeat else None,
        options=(*read_options(_STATUS_OPTIONS, row), *read_options(_CONNECTION_OPTIONS, connection)),
    )


def retrieved(row: Row) -> GtidSet:
    return parse_mysql(read.text(row, "Retrieved_Gtid_Set"))


def executed(row: Row) -> GtidSet:
    return parse_mysql(read.text(row, "Executed_Gtid_Set"))
