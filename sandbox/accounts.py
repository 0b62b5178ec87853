"""What every server's template holds: accounts, the ledger's schema and the cluster's names, as statements.

Accounts (the password is the name)
- ``orc``   the manager's; the least with which a failover can be carried out, one line of reason per privilege below;
- ``repl``  replication, nothing else;
- ``app``   an application: reads and writes in schema ``app``, no admin right, so read-only binds it;
- ``root``  everything, from everywhere; for tests only.
"""

from __future__ import annotations

from sandbox.binaries import Flavor

MANAGER_PRIVILEGES: dict[Flavor, dict[str, str]] = {
    Flavor.MYSQL: {
        "REPLICATION CLIENT": "SHOW REPLICA STATUS, SHOW BINARY LOG STATUS",
        "REPLICATION SLAVE": "SHOW REPLICAS",
        "REPLICATION_SLAVE_ADMIN": "start, stop, change and reset replication",
        "RELOAD": "RESET REPLICA",
        "SYSTEM_VARIABLES_ADMIN": "read_only, super_read_only, semi-sync, SET PERSIST",
        "PROCESS": "see everybody's sessions",
        "CONNECTION_ADMIN": "kill them, and a connection beyond max_connections",
        "SYSTEM_USER": "kill those of accounts that hold it, such as root",
    },
    Flavor.MARIADB: {
        "REPLICA MONITOR": "SHOW REPLICA STATUS",
        "BINLOG MONITOR": "SHOW BINLOG STATUS",
        "REPLICATION MASTER ADMIN": "SHOW REPLICA HOSTS, semi-sync",
        "REPLICATION SLAVE ADMIN": "start, stop, change and reset replication",
        "RELOAD": "RESET SLAVE",
        "READ_ONLY ADMIN": "set read_only",
        "REPLICATION SLAVE": "read binary logs, to save lost transactions",
        "PROCESS": "see everybody's sessions",
        "CONNECTION ADMIN": "kill them, and a connection beyond max_connections",
    },
}

MANAGER_READS: dict[Flavor, tuple[str, ...]] = {
    Flavor.MYSQL: ("performance_schema.*", "mysql.slave_master_info", "meta.*"),
    Flavor.MARIADB: ("mysql.*", "meta.*"),
}
"""What the manager may SELECT: sessions and replication tables, the channels' credentials, the cluster's names.

On MariaDB ``mysql.*``: information_schema shows other accounts' privileges (who may write while read_only) only so.
"""

CLUSTER_ALIAS = "demo"
CLUSTER_DOMAIN = "demo.example"


def template_statements(flavor: Flavor) -> list[str]:
    """Everything that is made in a fresh data directory, one statement per line."""
    manager = ", ".join(MANAGER_PRIVILEGES[flavor])
    users = [f"CREATE USER '{name}'@'%' IDENTIFIED BY '{name}'" for name in ("root", "orc", "repl", "app")]
    inherited = ["DROP USER IF EXISTS 'root'@'127.0.0.1', 'root'@'::1', ''@'localhost'"]
    moment = "DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)"
    name = "VARCHAR(128) NOT NULL"
    return [
        "CREATE DATABASE app",
        f"CREATE TABLE app.ledger (id BIGINT PRIMARY KEY, at {moment}, server INT UNSIGNED NOT NULL) ENGINE=InnoDB",
        "CREATE DATABASE meta",
        f"CREATE TABLE meta.cluster (cluster_name {name} PRIMARY KEY, cluster_domain {name}) ENGINE=InnoDB",
        f"INSERT INTO meta.cluster VALUES ('{CLUSTER_ALIAS}', '{CLUSTER_DOMAIN}')",
        "ALTER USER 'root'@'localhost' IDENTIFIED BY 'root'",
        *(inherited if flavor is Flavor.MARIADB else []),
        *users,
        "GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION",
        f"GRANT {manager} ON *.* TO 'orc'@'%'",
        *(f"GRANT SELECT ON {table} TO 'orc'@'%'" for table in MANAGER_READS[flavor]),
        "GRANT REPLICATION SLAVE ON *.* TO 'repl'@'%'",
        "GRANT ALL PRIVILEGES ON app.* TO 'app'@'%'",
    ]
