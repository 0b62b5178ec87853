"""What differs between MySQL and MariaDB here: options and replication statements, as text. No I/O.

Rules of a server's configuration
- It starts **read-only**, semi-sync is on in **both roles**, a commit waits AFTER_SYNC, also when no replica is
  connected, and for a day before it would give up. So however a server comes back, it cannot acknowledge a write that
  no replica holds.
- That alone would stop every replica: on both flavours an *applier's* commit waits for acks too, and a replica has no
  replicas. So the statement that a server runs whenever its applier starts (init_replica, init_slave) turns the source
  side off while the server is read-only. Whoever promotes a server turns it on again **before** making it writable.
- ``lean`` servers trade durability against a power loss (never against kill -9) for memory and speed.
- Accounts are made at '%': with skip-name-resolve an account at 'localhost' does not match a TCP client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.binaries import Flavor
from sandbox.errors import SandboxError

HOST = "127.0.0.1"
ROOT, MANAGER, REPLICATION, APPLICATION = "root", "orc", "repl", "app"
"""The accounts; each password is the account's name."""

SEMI_SYNC_TIMEOUT_MS = 86_400_000
NET_TIMEOUT_S = 4
HEARTBEAT_S = 1
CONNECT_RETRY_S = 1

Options = Mapping[str, object]
Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the servers of one topology are set up."""

    semi_sync: bool = True
    wait_for_replica_count: int = 1
    lean: bool = True
    server_defaults: bool = False
    """Leave net timeout, heartbeat and connect retry as the server has them (a minute), for honest figures."""
    report_port_offset: int = 0
    """A server says that it is to be found so many ports further, where a proxy stands in front of it."""


_COMMON: Options = {
    "bind-address": HOST, "report-host": HOST, "skip-name-resolve": "ON", "log-bin": "binlog", "relay-log": "relay",
    "socket": "mysqld.sock", "pid-file": "mysqld.pid",
}  # fmt: skip
_FLAVOR: dict[Flavor, Options] = {
    Flavor.MYSQL: {
        "secure-file-priv": "NULL", "mysqlx": "OFF", "gtid-mode": "ON", "enforce-gtid-consistency": "ON",
        "log-replica-updates": "ON", "super-read-only": "ON", "log-error-verbosity": 2,
    },
    Flavor.MARIADB: {
        "gtid-strict-mode": "ON", "log-slave-updates": "ON", "binlog-format": "ROW", "read-only": "ON",
        "innodb-data-file-path": "ibdata1:4M:autoextend",
    },
}  # fmt: skip
_LEAN_COMMON: Options = {
    "max-connections": 100, "table-open-cache": 200, "table-open-cache-instances": 1, "table-definition-cache": 400,
    "thread-cache-size": 4, "key-buffer-size": "8K", "innodb-buffer-pool-dump-at-shutdown": "OFF",
    "innodb-buffer-pool-load-at-startup": "OFF", "innodb-read-io-threads": 1, "innodb-purge-threads": 1,
    "innodb-use-native-aio": "OFF", "innodb-doublewrite": "OFF", "innodb-flush-log-at-trx-commit": 2,
    "innodb-flush-method": "nosync", "innodb-autoextend-increment": 1, "sync-binlog": 0, "performance-schema": "OFF",
}  # fmt: skip
_LEAN: dict[Flavor, Options] = {
    Flavor.MYSQL: {
        "replica-parallel-workers": 1, "event-scheduler": "OFF", "innodb-buffer-pool-size": "5M",
        "innodb-redo-log-capacity": "8M", "innodb-log-buffer-size": "1M", "innodb-write-io-threads": 1,
        "innodb-page-cleaners": 1,
    },
    Flavor.MARIADB: {
        "innodb-buffer-pool-size": "6M", "innodb-log-file-size": "4M", "innodb-log-buffer-size": "2M",
        "innodb-write-io-threads": 2, "aria-pagecache-buffer-size": "128K",
    },
}  # fmt: skip

PLUGINS = {Flavor.MYSQL: ("semisync_source.so", "semisync_replica.so", "mysql_clone.so"), Flavor.MARIADB: ()}


def semi_sync_options(flavor: Flavor, wait_for_replica_count: int) -> Options:
    """Semi-sync in both roles. Raises SandboxError for a wait count that the flavour does not have."""
    if flavor is Flavor.MARIADB:
        if wait_for_replica_count != 1:
            raise SandboxError("MariaDB's semi-sync always waits for one replica: leave wait_for_replica_count at 1")
        return {
            "rpl-semi-sync-master-enabled": "ON", "rpl-semi-sync-slave-enabled": "ON",
            "rpl-semi-sync-master-wait-point": "AFTER_SYNC", "rpl-semi-sync-master-wait-no-slave": "ON",
            "rpl-semi-sync-master-timeout": SEMI_SYNC_TIMEOUT_MS,
            "init-slave": '"SET GLOBAL rpl_semi_sync_master_enabled = (@@global.read_only = 0)"',
        }  # fmt: skip
    return {
        "rpl-semi-sync-source-enabled": "ON", "rpl-semi-sync-replica-enabled": "ON",
        "rpl-semi-sync-source-wait-point": "AFTER_SYNC", "rpl-semi-sync-source-wait-no-replica": "ON",
        "rpl-semi-sync-source-wait-for-replica-count": wait_for_replica_count,
        "rpl-semi-sync-source-timeout": SEMI_SYNC_TIMEOUT_MS,
        "init-replica": '"SET GLOBAL rpl_semi_sync_source_enabled = (@@global.read_only = 0)"',
    }  # fmt: skip


def server_options(flavor: Flavor, port: int, settings: Settings) -> dict[str, object]:
    """Every option of one server but the places of its files."""
    options: dict[str, object] = {
        "port": port,
        "server-id": port,
        "report-port": port + settings.report_port_offset,
        **_COMMON,
        **_FLAVOR[flavor],
    }
    if settings.semi_sync:
        options |= semi_sync_options(flavor, settings.wait_for_replica_count)
    if not settings.server_defaults:
        options["replica-net-timeout" if flavor is Flavor.MYSQL else "slave-net-timeout"] = NET_TIMEOUT_S
    if settings.lean:
        options |= {**_LEAN_COMMON, **_LEAN[flavor]}
    return options


def configuration(options: Options, plugins: tuple[str, ...] = ()) -> str:
    """Options as the text of a my.cnf."""
    lines = [f"{name} = {value}" for name, value in options.items()]
    return "\n".join(["[mysqld]", *(f"plugin-load-add = {plugin}" for plugin in plugins), *lines, ""])


def change_source(flavor: Flavor, source: Address, settings: Settings) -> str:
    """The statement that points a replica to a source by GTID."""
    host, port = source
    if flavor is Flavor.MYSQL:
        prefix, statement = "SOURCE", "CHANGE REPLICATION SOURCE TO"
        rest = ["SOURCE_AUTO_POSITION = 1", "GET_SOURCE_PUBLIC_KEY = 1"]
    else:
        prefix, statement = "MASTER", "CHANGE MASTER TO"
        rest = ["MASTER_USE_GTID = slave_pos"]
    if not settings.server_defaults:
        rest += [f"{prefix}_CONNECT_RETRY = {CONNECT_RETRY_S}", f"{prefix}_HEARTBEAT_PERIOD = {HEARTBEAT_S}"]
        rest += ["SOURCE_RETRY_COUNT = 86400"] if flavor is Flavor.MYSQL else []
    terms = [f"{prefix}_HOST = '{host}'", f"{prefix}_PORT = {port}"]
    terms += [f"{prefix}_USER = '{REPLICATION}'", f"{prefix}_PASSWORD = '{REPLICATION}'", *rest]
    return f"{statement} {', '.join(terms)}"


def make_writable(flavor: Flavor, *, semi_sync: bool) -> list[str]:
    """What makes a server a primary: semi-sync first, writes last."""
    variable = "rpl_semi_sync_source_enabled" if flavor is Flavor.MYSQL else "rpl_semi_sync_master_enabled"
    first = [f"SET GLOBAL {variable} = ON"] if semi_sync else []
    return [*first, "SET GLOBAL read_only = OFF"]


def wait_for_gtids(flavor: Flavor, gtids: str, timeout_s: float) -> str:
    """An expression that is 1 when it timed out, after waiting until the server has applied ``gtids``."""
    if flavor is Flavor.MYSQL:
        return f"WAIT_FOR_EXECUTED_GTID_SET('{gtids}', {timeout_s})"
    return f"MASTER_GTID_WAIT('{gtids}', {timeout_s}) <> 0"


EXECUTED_GTIDS = {Flavor.MYSQL: "@@global.gtid_executed", Flavor.MARIADB: "@@global.gtid_binlog_pos"}
THREAD_COLUMNS = {
    Flavor.MYSQL: ("Replica_IO_Running", "Replica_SQL_Running"),
    Flavor.MARIADB: ("Slave_IO_Running", "Slave_SQL_Running"),
}
SEMI_SYNC_CLIENTS = {
    Flavor.MYSQL: "Rpl_semi_sync_source_clients", Flavor.MARIADB: "Rpl_semi_sync_master_clients",
}  # fmt: skip


def place_options(flavor: Flavor, prefix: Path | None) -> dict[str, object]:
    """Where a server in a private prefix finds its own files; nothing for an installed one, which knows."""
    if prefix is None:
        return {}
    places: dict[str, object] = {"basedir": prefix, "plugin-dir": prefix / "lib" / "mysql" / "plugin"}
    for name in ("mysql", "mariadb"):
        if (prefix / "share" / name / "english").is_dir():
            places["lc-messages-dir"] = prefix / "share" / name
    if flavor is Flavor.MYSQL:
        places["character-sets-dir"] = prefix / "share" / "mysql" / "charsets"
    return places
