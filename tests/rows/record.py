"""Records the rows of a probe from real servers, as JSON files beside this one: one for each version and role.

    python -m tests.rows.record

The "special" replica is set up so that most columns hold something: a delay, TLS files, filters, an error.
Identities, clocks and positions differ from run to run; UUIDs are replaced, the rest is left as it came.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.flavors import recognise
from orchestrator_raft.flavors.base import Detection
from orchestrator_raft.mysql import Connector, MysqlSettings, TlsMode
from sandbox import ports, topology
from sandbox.binaries import Flavor
from sandbox.servers import Server
from sandbox.topology import Topology

FOLDER = Path(__file__).resolve().parent
DETECTION = Detection(
    mysql_hostname_resolve_method="@@report_host",
    cluster_alias_query="SELECT cluster_name FROM meta.cluster",
    cluster_domain_query="SELECT cluster_domain FROM meta.cluster",
    instance_alias_query="SELECT CONCAT('db-', @@server_id)",
    promotion_rule_query="SELECT 'prefer_not'",
    region_query="SELECT 'north' UNION SELECT 'south'",
    semi_sync_enforced_query="SELECT 2",
    lag_query="SELECT 0.25",
    data_center_pattern=r"^(\d+)\.",
    environment_pattern=r"nowhere",
)
TLS = "{0}_SSL = 1, {0}_SSL_CA = '/etc/mysql/ca.pem', {0}_SSL_VERIFY_SERVER_CERT = 1, {0}_HEARTBEAT_PERIOD = 1.5"
MYSQL_ONLY = "SOURCE_TLS_CIPHERSUITES = 'TLS_AES_256_GCM_SHA384', SOURCE_COMPRESSION_ALGORITHMS = 'zstd'"
MARIADB_ONLY = "IGNORE_SERVER_IDS = (7, 8), DO_DOMAIN_IDS = (0, 3)"
SPECIAL = {
    Flavor.MYSQL: (
        f"CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 30, {TLS.format('SOURCE')}, {MYSQL_ONLY}",
        "CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (scratch)",
    ),
    Flavor.MARIADB: (
        "SET GLOBAL replicate_ignore_db = 'scratch'",
        f"CHANGE MASTER TO MASTER_DELAY = 30, {TLS.format('MASTER')}, {MARIADB_ONLY}",
    ),
}


def main() -> None:
    for flavor in Flavor:
        with ports.reserved() as block, tempfile.TemporaryDirectory() as folder:
            made = topology.start(flavor, 3, block[0], Path(folder), lean=False)
            try:
                record(made)
            finally:
                made.stop_all(discard=True)


def record(made: Topology) -> None:
    """A primary with two replicas; at last the second one's channel is set up specially."""
    primary, replica, special = made.servers
    for number in range(3):
        primary.execute(f"INSERT INTO app.ledger (id, server) VALUES ({number}, 1)")
    made.wait_caught_up()
    write(made, "primary", primary)
    write(made, "replica", replica)
    for statement in ("STOP REPLICA", *SPECIAL[made.flavor], "START REPLICA"):
        special.execute(statement)
    time.sleep(1)  # the receiver needs a moment to fail
    write(made, "special", special)


def write(made: Topology, role: str, server: Server) -> None:
    text = json.dumps(asyncio.run(rows_of(server)), indent=1)
    for place, other in enumerate(made.servers):
        text = anonymous(text, other, place)
    version = ".".join(str(part) for part in made.binary.version)
    (FOLDER / f"{made.flavor.value}-{version}-{role}.json").write_text(text + "\n")


def anonymous(text: str, server: Server, place: int) -> str:
    """The same in every recording: UUIDs by place, ports from 3306."""
    if server.flavor is Flavor.MYSQL:
        text = text.replace(str(server.value("@@server_uuid")), f"00000000-0000-0000-0000-00000000000{place}")
    return text.replace(str(server.port), str(3306 + place))


async def rows_of(server: Server) -> dict[str, object]:
    """Every query of a probe, one at a time, with what it brought; those that fail are left out."""
    settings = MysqlSettings(user="orc", password="orc", tls=TlsMode.NONE)
    connection = await Connector(settings).connect(InstanceKey(server.host, server.port), timeout_s=5.0)
    rows: dict[str, object] = {}
    for query in recognise(connection.server_version).probe(DETECTION):
        reply = await connection.query(query.sql, timeout_s=5.0)
        if reply.error is None:
            rows[query.name] = list(reply.results[0])
    greeting = connection.server_version
    await connection.quit_and_wait()
    return {"greeting": greeting, "rows": rows}


if __name__ == "__main__":
    main()
