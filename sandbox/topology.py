"""A primary with its replicas: real servers that replicate by GTID, started together.

Every server is set up alike (``dialects``): read-only, semi-sync in both roles. The topology then points the replicas
to the primary, waits until they replicate and acknowledge, and only then makes the primary writable. Afterwards nothing
here remembers roles: ``primary`` and ``replicas`` ask the servers, so they stay true when somebody else fails over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sandbox import dialects
from sandbox.accounts import CLUSTER_ALIAS, CLUSTER_DOMAIN
from sandbox.binaries import Flavor, ServerBinary
from sandbox.dialects import Settings
from sandbox.errors import SandboxError
from sandbox.install import Say, cache_folder, find_or_install, silent
from sandbox.servers import Row, Server
from sandbox.templates import template

REPLICATING_TIMEOUT_S = 30.0
PAUSE_S = 0.02
PORT_MAX = 32767
"""Higher ports are ephemeral: any client may hold one at the moment a server wants it."""


class Topology:
    """Servers of one flavour on consecutive ports, each in a directory named after its port."""

    def __init__(self, binary: ServerBinary, data: Path, base_port: int, directory: Path, settings: Settings) -> None:
        self.binary = binary
        self.settings = settings
        self.base_port = base_port
        self.directory = directory
        self.servers: list[Server] = []
        self._template = data

    def __repr__(self) -> str:
        return f"Topology of {len(self.servers)} x {self.binary}, ports from {self.base_port}"

    @property
    def flavor(self) -> Flavor:
        return self.binary.flavor

    def new_server(self) -> Server:
        """A server on the next free port of the topology, not started, replicating from nobody."""
        port = self.base_port + len(self.servers)
        if not 1024 <= port <= PORT_MAX:
            raise SandboxError(f"port {port} is outside 1024 to {PORT_MAX}: choose another base port")
        options = dialects.server_options(self.flavor, port, self.settings)
        server = Server(self.binary, port, self.directory / str(port), options, self._template)
        self.servers.append(server)
        return server

    def add_replica(self, source: Server | None = None) -> Server:
        """Start one more replica from the template; its source (default: the primary) must have all binary logs."""
        server = self.new_server()
        server.prepare(afresh=True)
        server.start()
        self.point(server, source or self.primary())
        self.wait_replicating([server])
        return server

    def point(self, replica: Server, source: Server) -> None:
        """Let a server replicate from another one, by GTID; any chain may be built."""
        if replica_status(replica) is not None:
            replica.execute("STOP REPLICA")
        replica.execute(dialects.change_source(self.flavor, source.key, self.settings))
        replica.execute("START REPLICA")

    def make_writable(self, server: Server) -> None:
        """Turn semi-sync's source side on, where it is used, then writes. Does not look at the other servers."""
        for statement in dialects.make_writable(self.flavor, semi_sync=self.settings.semi_sync):
            server.execute(statement)

    def promote(self, server: Server, others: Iterable[Server] = ()) -> None:
        """A plain promotion by hand, for tests of the sandbox: drain, detach, repoint the others, make writable."""
        server.execute("STOP REPLICA IO_THREAD")
        self._until(lambda: is_drained(server), f"{server} did not apply all it had received")
        server.execute("STOP REPLICA")
        server.execute("RESET REPLICA ALL")
        for other in others:
            self.point(other, server)
        self.make_writable(server)

    def running(self) -> list[Server]:
        return [server for server in self.servers if server.is_running()]

    def primary(self) -> Server:
        """The one running server that is writable. Raises SandboxError if there is none, or more than one."""
        writable = [server for server in self.running() if server.value("@@global.read_only") == 0]
        if len(writable) != 1:
            names = ", ".join(str(server) for server in writable) or "none"
            raise SandboxError(f"exactly one server should be writable, but: {names}")
        return writable[0]

    def replicas(self) -> list[Server]:
        """The running servers that have a source."""
        return [server for server in self.running() if replica_status(server) is not None]

    def wait_replicating(
        self, replicas: Iterable[Server] | None = None, timeout_s: float = REPLICATING_TIMEOUT_S
    ) -> None:
        """Until both replication threads run on these replicas (default: all). Raises SandboxError at the deadline."""
        for replica in self.replicas() if replicas is None else replicas:
            self._until(lambda: replicates(replica), f"{replica} does not replicate", timeout_s, replica)  # noqa: B023

    def wait_caught_up(self, timeout_s: float = REPLICATING_TIMEOUT_S) -> None:
        """Until every replica has applied what the primary had committed at the time of the call."""
        gtids = str(self.primary().value(dialects.EXECUTED_GTIDS[self.flavor])).replace("\n", "")
        expression = dialects.wait_for_gtids(self.flavor, gtids, timeout_s)
        for replica in self.replicas():
            if replica.value(expression, timeout_s=timeout_s + 5) != 0:
                raise SandboxError(
                    f"{replica} did not apply {gtids} within {timeout_s:.0f} s: {replica_status(replica)}"
                )

    def wait_acknowledging(self, source: Server, count: int, timeout_s: float = REPLICATING_TIMEOUT_S) -> None:
        """Until ``count`` replicas are ready to acknowledge to that source."""
        name = dialects.SEMI_SYNC_CLIENTS[self.flavor]
        self._until(
            lambda: int(source.status(name)[name]) >= count,
            f"{source} has fewer than {count} semi-sync replicas",
            timeout_s,
        )

    def stop_all(self, *, discard: bool = False) -> None:
        """Kill all servers at once; ``discard`` deletes their data and leaves configurations and error logs."""
        in_parallel(Server.discard if discard else Server.kill, self.servers)

    def describe(self) -> str:
        """One line per server: address, role and source, for people."""
        return "\n".join(describe(server) for server in self.servers)

    def _until(
        self,
        condition: Callable[[], bool],
        complaint: str,
        timeout_s: float = REPLICATING_TIMEOUT_S,
        about: Server | None = None,
    ) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                detail = f": {replica_status(about)}\n{about.log_tail()}" if about is not None else ""
                raise SandboxError(f"{complaint} after {timeout_s:.0f} s{detail}")
            time.sleep(PAUSE_S)


def start(
    flavor: Flavor, count: int, base_port: int, directory: Path, *,
    semi_sync: bool = True, wait_for_replica_count: int = 1, lean: bool = True, server_defaults: bool = False,
    report_port_offset: int = 0, cluster: tuple[str, str] = (CLUSTER_ALIAS, CLUSTER_DOMAIN),
    binary: Path | None = None, say: Say = silent,
) -> Topology:  # fmt: skip
    """Start one primary and ``count - 1`` replicas on ports from ``base_port``; return when all replicate.

    ``cluster`` is the alias and domain in ``meta.cluster``. Raises SandboxError; nothing keeps running then.
    """
    settings = Settings(
        semi_sync=semi_sync,
        wait_for_replica_count=wait_for_replica_count,
        lean=lean,
        server_defaults=server_defaults,
        report_port_offset=report_port_offset,
    )
    if semi_sync and count <= wait_for_replica_count:
        raise SandboxError(f"{count} servers cannot give {wait_for_replica_count} acknowledgements: use more servers")
    found = find_or_install(flavor, binary=binary, say=say)
    topology = Topology(found, template(found, cache_folder(), say=say), base_port, directory, settings)
    try:
        bring_up(topology, count, cluster)
    except BaseException:
        topology.stop_all()
        raise
    return topology


def bring_up(topology: Topology, count: int, cluster: tuple[str, str]) -> None:
    """Start the servers in parallel, point the replicas, then let the primary take writes."""
    servers = [topology.new_server() for _ in range(count)]
    primary, replicas = servers[0], servers[1:]
    in_parallel(lambda server: server.prepare(afresh=True), servers)
    for server in servers:
        server.launch()
    in_parallel(Server.wait_ready, servers)
    in_parallel(lambda replica: topology.point(replica, primary), replicas)
    topology.wait_replicating(replicas)
    if topology.settings.semi_sync:
        topology.wait_acknowledging(primary, len(replicas))
    topology.make_writable(primary)
    if cluster != (CLUSTER_ALIAS, CLUSTER_DOMAIN):
        primary.execute("UPDATE meta.cluster SET cluster_name = %s, cluster_domain = %s", cluster)


def in_parallel(action: Callable[[Server], Any], servers: Iterable[Server]) -> None:
    """Do it to all servers at once; the first failure is raised when all are done."""
    targets = list(servers)
    with ThreadPoolExecutor(max_workers=max(1, min(8, len(targets)))) as pool:
        outcomes = [pool.submit(action, server) for server in targets]
    for outcome in outcomes:
        outcome.result()


def replica_status(server: Server) -> Row | None:
    """The row of SHOW REPLICA STATUS; None if the server has no source."""
    rows = server.execute("SHOW REPLICA STATUS")
    return rows[0] if rows else None


def replicates(server: Server) -> bool:
    """Both replication threads run."""
    status = replica_status(server)
    return status is not None and all(status[column] == "Yes" for column in dialects.THREAD_COLUMNS[server.flavor])


def is_drained(server: Server) -> bool:
    """The applier has done all that the receiver had brought.

    On MySQL by GTID: with parallel workers the applier's position is brought up to date only every 300 ms.
    """
    status = replica_status(server)
    if status is None:
        return True
    if server.flavor is Flavor.MYSQL:
        received = str(status["Retrieved_Gtid_Set"]).replace("\n", "")
        return bool(server.value(f"GTID_SUBSET('{received}', @@global.gtid_executed)") == 1)
    brought = (status["Master_Log_File"], status["Read_Master_Log_Pos"])
    return brought == (status["Relay_Master_Log_File"], status["Exec_Master_Log_Pos"])


def describe(server: Server) -> str:
    """Address, version and role of one server."""
    if not server.is_running():
        return f"{server} not running"
    status = replica_status(server)
    role = "writable" if server.value("@@global.read_only") == 0 else "read-only"
    if status is not None:
        word = "Source" if server.flavor is Flavor.MYSQL else "Master"
        role += f", replicates from {status[f'{word}_Host']}:{status[f'{word}_Port']}"
        role += "" if replicates(server) else " (not running)"
    return f"{server} {role}"
