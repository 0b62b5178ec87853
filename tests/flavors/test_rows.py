"""Recorded rows of real servers, one file for each version and role, give exactly these facts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator_raft.core.gtid import parse_mariadb, parse_mysql
from orchestrator_raft.core.health import GroupMember, GroupPeer, ServerSettings
from orchestrator_raft.core.instance import (
    Channel,
    ChannelOption,
    Coordinates,
    Facts,
    Flavor,
    InstanceKey,
    Location,
    PromotionRule,
    SemiSync,
    ThreadState,
)
from orchestrator_raft.flavors import DIALECTS, mysql_rows, recognise
from tests.rows.record import DETECTION, FOLDER

ASKED = InstanceKey("asked.example", 3306)
UUID = "00000000-0000-0000-0000-00000000000"
PRIMARY, REPLICA, SPECIAL = (InstanceKey("127.0.0.1", 3306 + place) for place in range(3))
FILES = sorted(FOLDER.glob("*.json"))
SEMI_SYNC = SemiSync(
    available=True, wait_for_replica_count=1, wait_without_replicas=True, after_sync=True, timeout_ms=86_400_000,
    replica_enabled=True,
)  # fmt: skip


def recorded(name: str) -> Facts:
    """Facts of the newest recording whose name begins and ends so."""
    flavor, role = name.split("-")
    path = max(FOLDER.glob(f"{flavor}-*-{role}.json"))
    return facts_of(path)


def facts_of(path: Path) -> Facts:
    recording = json.loads(path.read_text())
    return recognise(recording["greeting"]).parse(ASKED, recording["rows"], DETECTION)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recording_gives_the_same_facts_about_names_and_places(path: Path) -> None:
    facts = facts_of(path)
    flavor, version, role = path.stem.split("-")
    assert facts.flavor.value == flavor
    assert facts.version.startswith(version)
    assert facts.key == {"primary": PRIMARY, "replica": REPLICA, "special": SPECIAL}[role]
    assert facts.server_id == facts.key.port
    assert facts.server_uuid == (f"{UUID}{facts.key.port - 3306}" if flavor == "mysql" else "")
    assert (facts.cluster_alias, facts.cluster_domain) == ("demo", "demo.example")
    assert facts.alias == f"db-{facts.key.port}"
    assert facts.location == Location("127", "north", "")
    assert facts.promotion_rule is PromotionRule.PREFER_NOT
    assert facts.semi_sync_priority == 2
    assert facts.lag_s == 0.25
    assert (facts.binlog.enabled, facts.binlog.format, facts.binlog.row_image) == (True, "ROW", "FULL")
    assert facts.binlog.logs_replica_updates
    assert facts.read_only is (role != "primary")
    assert facts.super_read_only is (role != "primary" and flavor == "mysql")
    assert facts.has_replication_credentials is (role != "primary")
    assert facts.settings == ServerSettings(binlog_sync=1 if flavor == "mysql" else 0, redo_flush=1, net_timeout_s=4)
    assert facts.load.connections is not None
    assert 0 < facts.load.connections < (facts.load.connections_max or 0)
    assert not facts.load.is_saturated
    assert facts.load.syncs > 0
    assert facts.group is None
    assert not facts.is_binlog_server


@pytest.mark.parametrize("flavor", list(Flavor))
def test_a_primary(flavor: Flavor) -> None:
    facts = recorded(f"{flavor.value}-primary")
    assert facts.channels == ()
    assert facts.replicas == (REPLICA, SPECIAL)
    if flavor is Flavor.MYSQL:
        assert facts.executed == parse_mysql(f"{UUID}0:1-3")
        assert facts.purged == parse_mysql("")
        assert facts.gtid_mode == "ON"
    else:
        assert facts.executed == parse_mariadb("0-3306-3")
        assert facts.purged is None
        assert facts.binlog.coordinates.log_file == "binlog.000001"
    new_names = flavor is Flavor.MYSQL
    active = replace(SEMI_SYNC, source_enabled=True, source_active=True, new_names=new_names)
    assert replace(facts.semi_sync, source_clients=0) == active
    assert facts.semi_sync.source_clients == 2


@pytest.mark.parametrize("flavor", list(Flavor))
def test_a_replica(flavor: Flavor) -> None:
    facts = recorded(f"{flavor.value}-replica")
    channel = facts.channel
    assert channel is not None
    executed = parse_mysql(f"{UUID}0:1-3") if flavor is Flavor.MYSQL else parse_mariadb("0-3306-3")
    assert facts.executed == facts.received == channel.retrieved == executed
    assert facts.source == PRIMARY
    assert facts.semi_sync == replace(SEMI_SYNC, replica_active=True, new_names=flavor is Flavor.MYSQL)
    if flavor is Flavor.MYSQL:
        assert channel.silent_s is not None
        assert 0 <= channel.silent_s <= 1.5
    else:
        assert channel.silent_s is None
    bare = replace(
        channel, read=Coordinates(), executed=Coordinates(), relay=Coordinates(), options=(), lag_s=0, silent_s=None,
        heartbeats=0,
    )  # fmt: skip
    assert bare == Channel(
        source=PRIMARY, source_uuid=f"{UUID}0" if flavor is Flavor.MYSQL else "", source_server_id=3306, user="repl",
        receiver=ThreadState.RUNNING, applier=ThreadState.RUNNING, uses_gtid=True, retrieved=executed, lag_s=0,
        heartbeat_period_s=1.0,
    )  # fmt: skip
    assert channel.read.log_file == channel.executed.log_file == "binlog.000001"
    assert channel.read.log_position >= channel.executed.log_position > 0
    assert channel.relay.log_file.startswith("relay.")


@pytest.mark.parametrize("flavor", list(Flavor))
def test_a_replica_with_options_and_a_broken_receiver(flavor: Flavor) -> None:
    channel = recorded(f"{flavor.value}-special").channel
    assert channel is not None
    assert (channel.receiver, channel.applier) == (ThreadState.CONNECTING, ThreadState.RUNNING)
    assert channel.receiver_error_number == 2026
    assert "SSL connection error" in channel.receiver_error
    assert (channel.delay_s, channel.heartbeat_period_s, channel.has_filters) == (30, 1.5, True)
    assert not channel.replicates
    assert not channel.stopped_on_purpose
    assert channel.options == tuple(ChannelOption(name, value) for name, value in OPTIONS[flavor])


OPTIONS: dict[Flavor, list[tuple[str, Any]]] = {
    Flavor.MYSQL: [
        ("SOURCE_BIND", ""),
        ("NETWORK_NAMESPACE", ""),
        ("SOURCE_CONNECT_RETRY", 1),
        ("SOURCE_RETRY_COUNT", 86400),
        ("SOURCE_DELAY", 30),
        ("SOURCE_SSL", 1),
        ("SOURCE_SSL_CA", "/etc/mysql/ca.pem"),
        ("SOURCE_SSL_CAPATH", ""),
        ("SOURCE_SSL_CERT", ""),
        ("SOURCE_SSL_KEY", ""),
        ("SOURCE_SSL_CIPHER", ""),
        ("SOURCE_SSL_CRL", ""),
        ("SOURCE_SSL_CRLPATH", ""),
        ("SOURCE_SSL_VERIFY_SERVER_CERT", 1),
        ("SOURCE_TLS_VERSION", ""),
        ("SOURCE_PUBLIC_KEY_PATH", ""),
        ("GET_SOURCE_PUBLIC_KEY", 1),
        ("SOURCE_HEARTBEAT_PERIOD", 1.5),
        ("SOURCE_TLS_CIPHERSUITES", "TLS_AES_256_GCM_SHA384"),
        ("SOURCE_COMPRESSION_ALGORITHMS", "zstd"),
        ("SOURCE_ZSTD_COMPRESSION_LEVEL", 3),
        ("SOURCE_CONNECTION_AUTO_FAILOVER", 0),
        ("REQUIRE_ROW_FORMAT", 0),
        ("REQUIRE_TABLE_PRIMARY_KEY_CHECK", "STREAM"),
        ("GTID_ONLY", 0),
    ],
    Flavor.MARIADB: [
        ("MASTER_CONNECT_RETRY", 1),
        ("MASTER_HEARTBEAT_PERIOD", 1.5),
        ("MASTER_DELAY", 30),
        ("MASTER_SSL", 1),
        ("MASTER_SSL_CA", "/etc/mysql/ca.pem"),
        ("MASTER_SSL_CAPATH", ""),
        ("MASTER_SSL_CERT", ""),
        ("MASTER_SSL_KEY", ""),
        ("MASTER_SSL_CIPHER", ""),
        ("MASTER_SSL_CRL", ""),
        ("MASTER_SSL_CRLPATH", ""),
        ("MASTER_SSL_VERIFY_SERVER_CERT", 1),
        ("IGNORE_SERVER_IDS", "7, 8"),
        ("DO_DOMAIN_IDS", "0, 3"),
        ("IGNORE_DOMAIN_IDS", ""),
    ],
}


def rows_of(flavor: Flavor) -> dict[str, Any]:
    recording: dict[str, Any] = json.loads(max(FOLDER.glob(f"{flavor.value}-*-replica.json")).read_text())
    rows: dict[str, Any] = recording["rows"]
    return rows


@pytest.mark.parametrize("flavor", list(Flavor))
def test_what_was_left_out_costs_only_its_own_facts(flavor: Flavor) -> None:
    every = rows_of(flavor)
    rows = {name: every[name] for name in ("variables", "channels")}
    facts = DIALECTS[flavor].parse(ASKED, rows, DETECTION)
    full = DIALECTS[flavor].parse(ASKED, every, DETECTION)
    assert facts.executed == full.executed
    assert facts.source == full.source
    assert (facts.uptime_s, facts.replicas, facts.alias, facts.queried_lag_s) == (0, (), "", None)
    assert facts.semi_sync.available is (flavor is Flavor.MARIADB)


@pytest.mark.parametrize("flavor", list(Flavor))
@pytest.mark.parametrize(("method", "host"), [("none", "asked.example"), ("@@hostname", "db.example")])
def test_the_address_is_found_as_configured(flavor: Flavor, method: str, host: str) -> None:
    rows = rows_of(flavor)
    rows["variables"] = [rows["variables"][0] | {"hostname": "db.example", "port": "3399"}]
    facts = DIALECTS[flavor].parse(ASKED, rows, replace(DETECTION, mysql_hostname_resolve_method=method))
    assert facts.key == InstanceKey(host, 3306 if method == "none" else 3399)


@pytest.mark.parametrize("flavor", list(Flavor))
def test_a_server_that_does_not_tell_its_address_is_nonsense(flavor: Flavor) -> None:
    rows = rows_of(flavor)
    rows["variables"] = [rows["variables"][0] | {"report_host": None}]
    with pytest.raises(ValueError, match="@@report_host is empty"):
        DIALECTS[flavor].parse(ASKED, rows, DETECTION)
    with pytest.raises(ValueError, match="'variables' brought no row"):
        DIALECTS[flavor].parse(ASKED, {}, DETECTION)


def test_replicas_without_an_address_are_left_out() -> None:
    rows = rows_of(Flavor.MYSQL)
    rows["replicas"] = [
        {"Server_Id": "1", "Host": "", "Port": "3306"},
        {"Server_Id": "2", "Host": "db-2", "Port": "3306"},
    ]
    assert DIALECTS[Flavor.MYSQL].parse(ASKED, rows, DETECTION).replicas == (InstanceKey("db-2", 3306),)


@pytest.mark.parametrize(("flavor", "column"), [(Flavor.MYSQL, "Server_Id"), (Flavor.MARIADB, "Server_id")])
def test_connected_replicas_are_known_by_server_id_with_an_address_or_without(flavor: Flavor, column: str) -> None:
    rows = rows_of(flavor)
    rows["replicas"] = [{column: each, "Host": "", "Port": "3306"} for each in ("7", "2", "7")]
    assert DIALECTS[flavor].parse(ASKED, rows, DETECTION).replica_ids == (2, 7)
    assert DIALECTS[flavor].parse(ASKED, rows | {"replicas": []}, DETECTION).replica_ids == ()
    del rows["replicas"]
    assert DIALECTS[flavor].parse(ASKED, rows, DETECTION).replica_ids is None


def test_without_gtids_nothing_is_known_of_what_was_executed() -> None:
    rows = rows_of(Flavor.MYSQL)
    rows["variables"] = [rows["variables"][0] | {"gtid_mode": "OFF"}]
    facts = DIALECTS[Flavor.MYSQL].parse(ASKED, rows, DETECTION)
    assert (facts.executed, facts.purged, facts.received) == (None, None, None)


def test_group_replication_is_no_channel_of_ours() -> None:
    rows = rows_of(Flavor.MYSQL)
    group = rows["channels"][0] | {"Channel_Name": "group_replication_applier", "Source_Host": "<NULL>"}
    rows["channels"] = [group]
    assert DIALECTS[Flavor.MYSQL].parse(ASKED, rows, DETECTION).channels == ()


def test_old_names_of_semi_sync_are_read_too() -> None:
    rows = rows_of(Flavor.MYSQL)
    rows["semi_sync_master"] = rows.pop("semi_sync_source")
    rows["semi_sync_slave"] = rows.pop("semi_sync_replica")
    words = (("source", "master"), ("replica", "slave"))
    status = json.dumps(rows["status"])
    for new, old in words:
        status = status.replace(f"semi_sync_{new}", f"semi_sync_{old}")
    rows["status"] = json.loads(status)
    semi_sync = DIALECTS[Flavor.MYSQL].parse(ASKED, rows, DETECTION).semi_sync
    assert semi_sync == replace(SEMI_SYNC, replica_active=True, new_names=False)


@pytest.mark.parametrize(
    ("greeting", "flavor"),
    [
        ("9.7.4-2", Flavor.MYSQL),
        ("8.4.0", Flavor.MYSQL),
        ("8.0.36-28", Flavor.MYSQL),
        ("5.5.5-10.11.19-MariaDB-0+deb12u1-log", Flavor.MARIADB),
        ("11.8.6-MariaDB-1", Flavor.MARIADB),
    ],
)
def test_a_dialect_is_recognised_by_the_greeting(greeting: str, flavor: Flavor) -> None:
    assert recognise(greeting).flavor is flavor
    assert recognise(greeting) is DIALECTS[flavor]


def test_what_mysql_says_beside_the_status_of_its_replication() -> None:
    rows = rows_of(Flavor.MYSQL)
    worker = {"CHANNEL_NAME": "", "LAST_ERROR_NUMBER": "1062", "LAST_ERROR_MESSAGE": "Duplicate entry '7'"}
    receiver = {"CHANNEL_NAME": "", "COUNT_RECEIVED_HEARTBEATS": "12", "QUEUEING_TRANSACTION": "", "SILENT_S": "2.5"}
    group = {"GROUP_NAME": "the-group", "SINGLE_PRIMARY": "1", "MEMBER_STATE": "ONLINE", "MEMBER_ROLE": "PRIMARY"}
    member = {"MEMBER_HOST": "db1", "MEMBER_PORT": "3306", "MEMBER_STATE": "ONLINE", "MEMBER_ROLE": "PRIMARY"}
    stopped = rows["channels"][0] | {"Last_SQL_Errno": "1062", "Last_SQL_Error": "see the table of workers"}
    rows |= {"workers": [worker], "receivers": [receiver], "channels": [stopped]}
    rows |= {"group": [group], "group_members": [member]}
    facts = DIALECTS[Flavor.MYSQL].parse(ASKED, rows, DETECTION)
    channel = facts.channel
    assert channel is not None
    assert (channel.applier_error_number, channel.applier_error) == (1062, "Duplicate entry '7'")
    assert (channel.heartbeats, channel.silent_s) == (12, 2.5)
    peer = GroupPeer(hostname="db1", port=3306, state="ONLINE", role="PRIMARY")
    assert facts.group == GroupMember("the-group", "ONLINE", "PRIMARY", single_primary=True, members=(peer,))
    assert facts.is_group_member


def test_a_server_that_is_out_of_its_group_belongs_to_it_all_the_same() -> None:
    group = {"GROUP_NAME": "the-group", "SINGLE_PRIMARY": "1", "MEMBER_STATE": None, "MEMBER_ROLE": None}
    facts = DIALECTS[Flavor.MYSQL].parse(ASKED, rows_of(Flavor.MYSQL) | {"group": [group]}, DETECTION)
    assert facts.group == GroupMember("the-group", "OFFLINE", "")
    assert not facts.is_group_member


@pytest.mark.parametrize(
    "changes", [{"QUEUEING_TRANSACTION": f"{UUID}0:9"}, {"SILENT_S": None}, {"CHANNEL_NAME": "another"}]
)
def test_a_receiver_in_the_middle_of_a_transaction_is_not_silent(changes: dict[str, Any]) -> None:
    """Its times tell of the last whole one, which may be long ago while a large one arrives."""
    rows = rows_of(Flavor.MYSQL)
    receiver = {"CHANNEL_NAME": "", "COUNT_RECEIVED_HEARTBEATS": "12", "QUEUEING_TRANSACTION": "", "SILENT_S": "99"}
    rows["receivers"] = [receiver | changes]
    channel = DIALECTS[Flavor.MYSQL].parse(ASKED, rows, DETECTION).channel
    assert channel is not None
    assert channel.silent_s is None


@pytest.mark.parametrize(
    ("grants", "lacks"),
    [
        ((), ()),
        (("GRANT RELOAD ON *.* TO `o`@`%`", "GRANT CONNECTION_ADMIN,SYSTEM_USER ON *.* TO `o`@`%`"), ()),
        (("GRANT RELOAD, SUPER ON *.* TO `o`@`%`",), ("SYSTEM_USER",)),
        (("GRANT USAGE ON *.* TO `o`@`%`", "GRANT SELECT ON `meta`.* TO `o`@`%`"), ("CONNECTION_ADMIN", "SYSTEM_USER")),
        (("GRANT USAGE ON *.* TO `o`@`%`", "GRANT `dba`@`%` TO `o`@`%`"), ()),
    ],
)
def test_what_fencing_takes_is_read_from_the_grants(grants: tuple[str, ...], lacks: tuple[str, ...]) -> None:
    rows = [{"Grants for o@%": each} for each in grants]
    assert mysql_rows.fence_lacks(rows) == lacks
