"""MariaDB: what a probe asks, and its rows as facts.

Rules
- No statement may wait for a lock that a hanging commit holds, or a primary that only lost its ackers looks dead. So
  there is no SHOW MASTER STATUS here, which hangs as soon as two commits do; the status variables Binlog_snapshot_...
  tell the same. Account statements in that state block SHOW STATUS, so that is optional.
- Variables are read by name and alone: together with an aggregate MariaDB 10.11 answers wrong values. Semi-sync is
  built in, so its variables are always there.
- What a server has executed is @@gtid_binlog_state joined with @@gtid_slave_pos; see ``core.gtid.mariadb`` for why.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator_raft.core.gtid import GtidSet, parse_mariadb
from orchestrator_raft.core.instance import Binlog, Channel, Coordinates, Facts, Flavor, InstanceKey, SemiSync
from orchestrator_raft.flavors import rows as read
from orchestrator_raft.flavors.base import Detection, ProbeQuery, Row, Rows
from orchestrator_raft.flavors.options import Kind, Option, read_options

SHOW_CHANNELS = "SHOW ALL SLAVES STATUS"
_GTID_MODES = ("SLAVE_POS", "CURRENT_POS")

_VARIABLES = (
    "SELECT @@global.hostname AS hostname, @@global.port AS port, @@global.report_host AS report_host, "
    "@@global.report_port AS report_port, @@global.version AS version, @@global.version_comment AS version_comment, "
    "@@global.server_id AS server_id, @@global.read_only AS read_only, @@global.log_bin AS log_bin, "
    "@@global.log_slave_updates AS log_slave_updates, @@global.binlog_format AS binlog_format, "
    "@@global.binlog_row_image AS binlog_row_image, @@global.gtid_binlog_state AS gtid_binlog_state, "
    "@@global.gtid_slave_pos AS gtid_slave_pos, @@global.rpl_semi_sync_master_enabled AS source_enabled, "
    "@@global.rpl_semi_sync_master_timeout AS timeout_ms, @@global.rpl_semi_sync_master_wait_no_slave AS wait_alone, "
    "@@global.rpl_semi_sync_master_wait_point AS wait_point, @@global.rpl_semi_sync_slave_enabled AS replica_enabled, "
    "@@global.sync_binlog AS sync_binlog, @@global.innodb_flush_log_at_trx_commit AS redo_flush, "
    "@@global.slave_net_timeout AS net_timeout, @@global.max_connections AS max_connections, "
    "@@global.event_scheduler AS event_scheduler"
)
_STATUS = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Rpl_semi_sync_master_status', "
    "'Rpl_semi_sync_master_clients', 'Rpl_semi_sync_slave_status', 'Binlog_snapshot_file', 'Binlog_snapshot_position', "
    "'Threads_connected', 'Innodb_data_fsyncs', 'Innodb_data_pending_fsyncs')"
)

OPTIONS: tuple[Option, ...] = (
    Option("MASTER_CONNECT_RETRY", "Connect_Retry", Kind.NUMBER),
    Option("MASTER_HEARTBEAT_PERIOD", "Slave_heartbeat_period", Kind.SECONDS),
    Option("MASTER_DELAY", "SQL_Delay", Kind.NUMBER),
    Option("MASTER_SSL", "Master_SSL_Allowed", Kind.SWITCH),
    Option("MASTER_SSL_CA", "Master_SSL_CA_File"),
    Option("MASTER_SSL_CAPATH", "Master_SSL_CA_Path"),
    Option("MASTER_SSL_CERT", "Master_SSL_Cert"),
    Option("MASTER_SSL_KEY", "Master_SSL_Key"),
    Option("MASTER_SSL_CIPHER", "Master_SSL_Cipher"),
    Option("MASTER_SSL_CRL", "Master_SSL_Crl"),
    Option("MASTER_SSL_CRLPATH", "Master_SSL_Crlpath"),
    Option("MASTER_SSL_VERIFY_SERVER_CERT", "Master_SSL_Verify_Server_Cert", Kind.SWITCH),
    Option("IGNORE_SERVER_IDS", "Replicate_Ignore_Server_Ids", Kind.NUMBERS),
    Option("DO_DOMAIN_IDS", "Replicate_Do_Domain_Ids", Kind.NUMBERS),
    Option("IGNORE_DOMAIN_IDS", "Replicate_Ignore_Domain_Ids", Kind.NUMBERS),
)


def probe_queries(detection: Detection) -> tuple[ProbeQuery, ...]:
    """Two statements that must succeed, then those that may be refused, then the configured ones."""
    return (
        ProbeQuery("variables", _VARIABLES),
        ProbeQuery("channels", SHOW_CHANNELS),
        ProbeQuery("replicas", "SHOW SLAVE HOSTS", optional=True),
        ProbeQuery("status", _STATUS, optional=True),
        *read.configured_queries(detection),
    )


def facts_of(asked: InstanceKey, rows: Mapping[str, Rows], detection: Detection) -> Facts:
    """Facts from the rows of a probe. Raises ValueError on nonsense."""
    variables = read.only_row(rows, "variables")
    status = read.named_values(rows.get("status", ()))
    found = channels(rows.get("channels", ()))
    facts = Facts(
        key=read.server_key(asked, variables, detection),
        flavor=Flavor.MARIADB,
        version=read.text(variables, "version"),
        version_comment=read.text(variables, "version_comment"),
        server_id=read.number(variables, "server_id"),
        uptime_s=int(status.get("uptime", "0")),
        read_only=read.flag(variables, "read_only"),
        binlog=Binlog(
            enabled=read.flag(variables, "log_bin"),
            format=read.text(variables, "binlog_format"),
            row_image=read.text(variables, "binlog_row_image"),
            logs_replica_updates=read.flag(variables, "log_slave_updates"),
            coordinates=Coordinates(
                status.get("binlog_snapshot_file", ""), int(status.get("binlog_snapshot_position") or 0)
            ),
        ),
        executed=executed(variables),
        semi_sync=semi_sync(variables, status),
        channels=found,
        replicas=read.replica_keys(rows.get("replicas", ())),
        replica_ids=read.replica_ids(rows.get("replicas")),
        has_replication_credentials=any(channel.user for channel in found),
        settings=read.settings(variables),
        load=read.load(variables, status),
    )
    return read.with_configured(facts, rows, detection)


def executed(variables: Row) -> GtidSet:
    """Everything this server has applied or written, from a row with both positions."""
    state, position = read.text(variables, "gtid_binlog_state"), read.text(variables, "gtid_slave_pos")
    return parse_mariadb(state).union(parse_mariadb(position))


def semi_sync(variables: Row, status: Mapping[str, str]) -> SemiSync:
    """Set-up and state. MariaDB always waits for one replica."""
    return SemiSync(
        available=True,
        source_enabled=read.flag(variables, "source_enabled"),
        source_active=status.get("rpl_semi_sync_master_status", "").upper() == "ON",
        source_clients=int(status.get("rpl_semi_sync_master_clients", "0")),
        wait_for_replica_count=1,
        wait_without_replicas=read.flag(variables, "wait_alone"),
        after_sync=read.text(variables, "wait_point") == "AFTER_SYNC",
        timeout_ms=read.number(variables, "timeout_ms"),
        replica_enabled=read.flag(variables, "replica_enabled"),
        replica_active=status.get("rpl_semi_sync_slave_status", "").upper() == "ON",
    )


def channels(shown: Rows) -> tuple[Channel, ...]:
    """The channels of SHOW ALL SLAVES STATUS."""
    return tuple(_channel(row) for row in shown if read.text(row, "Master_Host"))


def _channel(row: Row) -> Channel:
    heartbeat = read.text(row, "Slave_heartbeat_period")
    return Channel(
        name=read.text(row, "Connection_name"),
        source=InstanceKey(read.text(row, "Master_Host"), read.number(row, "Master_Port")),
        source_server_id=read.number(row, "Master_Server_Id"),
        user=read.text(row, "Master_User"),
        receiver=read.thread_state(row, "Slave_IO_Running"),
        applier=read.thread_state(row, "Slave_SQL_Running"),
        receiver_error_number=read.number(row, "Last_IO_Errno"),
        receiver_error=read.text(row, "Last_IO_Error"),
        applier_error_number=read.number(row, "Last_SQL_Errno"),
        applier_error=read.text(row, "Last_SQL_Error"),
        uses_gtid=read.text(row, "Using_Gtid").upper() in _GTID_MODES,
        has_filters=read.is_filtered(row),
        read=read.coordinates(row, "Master_Log_File", "Read_Master_Log_Pos"),
        executed=read.coordinates(row, "Relay_Master_Log_File", "Exec_Master_Log_Pos"),
        relay=read.coordinates(row, "Relay_Log_File", "Relay_Log_Pos"),
        retrieved=parse_mariadb(read.text(row, "Gtid_IO_Pos")),
        lag_s=read.optional_number(row, "Seconds_Behind_Master"),
        delay_s=read.number(row, "SQL_Delay"),
        heartbeat_period_s=float(heartbeat) if heartbeat else None,
        heartbeats=read.number(row, "Slave_received_heartbeats"),
        options=read_options(OPTIONS, row),
    )
