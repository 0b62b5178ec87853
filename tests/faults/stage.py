"""A whole stage for fault tests: real servers, real nodes, an application that writes, and what is asked at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sandbox import ledger, ports, topology, writer
from sandbox.binaries import Flavor
from sandbox.nodes import NoAnswer, Node, Nodes
from sandbox.servers import Server
from sandbox.topology import Topology, replica_status, replicates
from tests.faults.writers import Writers

SERVERS = 4
TIMEOUT_S = 60.0
PAUSE_S = 0.02


class Stage:
    """Servers, nodes and a writer that runs from ``write`` on."""

    def __init__(self, servers: Topology, nodes: Nodes, directory: Path, stack: ExitStack) -> None:
        self.servers = servers
        self.nodes = nodes
        self.log = directory / "writer.log"
        self._stack = stack
        self.writers = Writers(servers.running)

    def write(self) -> None:
        """Start the application, and wait until it is being acknowledged."""
        process = writer.launch([server.port for server in self.servers.servers], self.log)
        self._stack.callback(writer.end, process)
        self.writers.start()
        self._stack.callback(self.writers.end)
        until("the application writes", lambda: len(ledger.acknowledged(ledger.read(self.log))) > 50)

    def recoveries(self, kind: str = "") -> list[dict[str, Any]]:
        """All recoveries of a kind, newest first."""
        found: list[dict[str, Any]] = self.nodes.get("/api/v2/recoveries?every=true")
        return [each for each in found if kind in ("", each["kind"])]

    def ended(self, kind: str, count: int = 1, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The newest recovery of this kind, once ``count`` of them have ended."""

        def newest() -> dict[str, Any] | None:
            found = [each for each in self.recoveries(kind) if each["end"] != "running"]
            return found[0] if len(found) >= count else None

        return dict(self.nodes.wait(f"{count} recoveries of kind {kind} have ended", newest, timeout_s))

    def returned(self, old: Server) -> dict[str, Any]:
        """How an old primary's return ended: it is shut, and follows or is kept out.

        Either is right: a transaction that was in its binary log alone when it died was promised to nobody.
        """
        recovery = self.ended("rejoin")
        assert recovery["end"] in ("succeeded", "quarantined"), recovery
        assert bool(recovery["lost_gtids"]) == (recovery["end"] == "quarantined"), recovery
        until("the old primary is shut", lambda: old.value("@@global.read_only") == 1)
        self.wait_following(but=() if recovery["end"] == "succeeded" else (old,))
        return recovery

    def in_phase(self, kind: str, phase: str) -> dict[str, Any]:
        """The running recovery of this kind, once it is in this phase."""

        def running() -> dict[str, Any] | None:
            found = [each for each in self.recoveries(kind) if each["end"] == "running" and each["phase"] == phase]
            return found[0] if found else None

        return dict(self.nodes.wait(f"a {kind} is in phase {phase}", running, TIMEOUT_S))

    def primary_of_nodes(self) -> str:
        """host:port of the primary, as the nodes say."""
        return str(self.nodes.get("/api/cluster-info/demo")["ClusterName"])

    def server(self, key: str) -> Server:
        return next(server for server in self.servers.servers if f"{server.host}:{server.port}" == key)

    def wait_writes_back(self) -> None:
        """Until the application is acknowledged again."""
        until("writes are back", lambda: all(outage.end_ns is not None for outage in outages(self.log)))

    def wait_following(self, but: tuple[Server, ...] = ()) -> None:
        """Until every running server but the primary and ``but`` replicates from the primary."""

        def following() -> bool:
            primary = self.server(self.primary_of_nodes())
            others = [each for each in self.servers.running() if each not in (primary, *but)]
            return all(replicates(each) and source_port(each) == primary.port for each in others)

        until("every server follows the primary", following)

    def check_nothing_lost(self) -> None:
        """Every acknowledged write is on the primary; exactly one server takes writes, and two never did."""
        primary = self.servers.primary()
        assert f"{primary.host}:{primary.port}" == self.primary_of_nodes()
        assert self.writers.rounds > 0
        assert self.writers.twofold == [], "two servers took writes at one moment"
        compared = ledger.compare(ledger.read(self.log), primary)
        assert compared.missing == ()
        assert compared.refused_present == ()
        assert compared.acknowledged > 0

    def other_node(self, node: Node) -> Node:
        return next(each for each in self.nodes.running() if each is not node)

    def audit(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.nodes.get("/api/v2/audit")
        return found


def outages(log: Path) -> list[ledger.Outage]:
    return ledger.outages(ledger.read(log))


def source_port(server: Server) -> int:
    status = replica_status(server) or {}
    return int(status.get("Source_Port") or status.get("Master_Port") or 0)


def until(what: str, condition: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> Any:
    """The first true answer; an AssertionError that names ``what`` at the deadline."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            found = condition()
        except NoAnswer:
            found = None  # nodes come and go in these tests; the deadline counts
        if found:
            return found
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(PAUSE_S)


def open_stage(
    stack: ExitStack,
    directory: Path,
    flavor: Flavor,
    *,
    settings: Mapping[str, Any] | None = None,
    count: int = SERVERS,
    **server_settings: Any,
) -> Stage:
    """Start everything; ``stack`` ends it. ``settings`` are keys of the configuration file."""
    block = stack.enter_context(ports.reserved())
    servers = topology.start(flavor, count, block[0], directory / "servers", **server_settings)
    stack.callback(servers.stop_all, discard=True)
    nodes = Nodes(directory / "nodes", http_port=block[10], raft_port=block[11], settings=settings)
    stack.callback(nodes.stop_all)
    nodes.start()
    primary = servers.primary()
    nodes.discover(primary.host, primary.port, count)
    return Stage(servers, nodes, directory, stack)
