"""A MySQL replication group: members of a single-primary group on loopback, and asynchronous replicas below them.

The members are servers like all others of the sandbox, with the plugin and its options. Nothing here starts a member
that was killed into the group again: that is what a person does, or what a test is about.
"""

from __future__ import annotations

import time
from pathlib import Path

from sandbox.accounts import CLUSTER_ALIAS
from sandbox.binaries import Flavor
from sandbox.dialects import HOST, REPLICATION, Settings, server_options
from sandbox.errors import SandboxError
from sandbox.install import Say, cache_folder, find_or_install, silent
from sandbox.servers import Server
from sandbox.templates import template
from sandbox.topology import Topology, in_parallel

MEMBERS = 3
ONLINE_TIMEOUT_S = 90.0
PAUSE_S = 0.1
NAME = "6f1ac0de-0000-4000-8000-000000000001"
_MEMBERS = "SELECT MEMBER_PORT AS port, MEMBER_STATE AS state, MEMBER_ROLE AS role FROM performance_schema."
_RECOVERY = (
    f"CHANGE REPLICATION SOURCE TO SOURCE_USER = '{REPLICATION}', SOURCE_PASSWORD = '{REPLICATION}' "
    "FOR CHANNEL 'group_replication_recovery'"
)


def start_group(base_port: int, directory: Path, *, count: int = MEMBERS, say: Say = silent) -> Topology:
    """Start ``count`` members on ports from ``base_port``; the next ``count`` ports are for the group itself.

    The first member is the primary. Raises SandboxError; nothing keeps running then.
    """
    found = find_or_install(Flavor.MYSQL, say=say)
    data = template(found, cache_folder(), say=say)
    topology = Topology(found, data, base_port, directory, Settings(semi_sync=False))
    members = [topology.new_server() for _ in range(count)]
    seeds = ",".join(f"{HOST}:{server.port + count}" for server in members)
    try:
        for server in members:
            server.options |= _options(server.port + count, seeds)
            server.prepare(afresh=True)
            server.launch()
        in_parallel(Server.wait_ready, members)
        in_parallel(lambda server: server.execute(_RECOVERY), members)
        members[0].execute("SET GLOBAL group_replication_bootstrap_group = ON")
        members[0].execute("START GROUP_REPLICATION")
        members[0].execute("SET GLOBAL group_replication_bootstrap_group = OFF")
        in_parallel(lambda server: server.execute("START GROUP_REPLICATION", timeout_s=ONLINE_TIMEOUT_S), members[1:])
        wait_online(members[0], count)
        members[0].execute("UPDATE meta.cluster SET cluster_name = %s", (CLUSTER_ALIAS,))
    except BaseException:
        topology.stop_all()
        raise
    return topology


def _options(local_port: int, seeds: str) -> dict[str, object]:
    return {
        "plugin-load": "group_replication.so",
        "loose-group-replication-group-name": NAME,
        "loose-group-replication-local-address": f"{HOST}:{local_port}",
        "loose-group-replication-group-seeds": seeds,
        "loose-group-replication-start-on-boot": "OFF",
        "loose-group-replication-bootstrap-group": "OFF",
        "loose-group-replication-recovery-get-public-key": "ON",
        "loose-group-replication-member-expel-timeout": 5,
    }


def add_replica(topology: Topology, source: Server, port: int) -> Server:
    """Start an asynchronous replica of one member, on a port of its own."""
    options = server_options(Flavor.MYSQL, port, topology.settings)
    data = template(topology.binary, cache_folder())
    replica = Server(topology.binary, port, topology.directory / str(port), options, data)
    topology.servers.append(replica)
    replica.prepare(afresh=True)
    replica.start()
    topology.point(replica, source)
    topology.wait_replicating([replica])
    return replica


def members_of(server: Server) -> dict[int, tuple[str, str]]:
    """State and role of every member by its port, as this one sees them."""
    rows = server.execute(f"{_MEMBERS}replication_group_members")
    return {int(row["port"]): (row["state"], row["role"]) for row in rows if row["port"]}


def wait_online(server: Server, count: int, timeout_s: float = ONLINE_TIMEOUT_S) -> None:
    """Until this member sees ``count`` members online. Raises SandboxError."""
    deadline_s = time.monotonic() + timeout_s
    while [state for state, _ in members_of(server).values()].count("ONLINE") != count:
        if time.monotonic() > deadline_s:
            raise SandboxError(
                f"{server} does not see {count} members online: {members_of(server)}\n{server.log_tail()}"
            )
        time.sleep(PAUSE_S)
