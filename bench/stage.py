"""What the benches on real servers play on: a topology, three nodes with default settings, a writing application."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import ledger, ports, topology, writer
from sandbox.binaries import Flavor
from sandbox.nodes import Nodes
from sandbox.topology import Topology

SERVERS = 4
SETTLE_S = 2.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs; ended with the ``with`` that it came from."""

    servers: Topology
    nodes: Nodes
    log: Path

    def outages(self) -> list[ledger.Outage]:
        """What the application has seen until now."""
        return ledger.outages(ledger.read(self.log))

    def wait_until_writable(self, outages_least: int = 1) -> list[ledger.Outage]:
        """The outages, when there were as many and all are over."""

        def over() -> list[ledger.Outage]:
            found = self.outages()
            return found if len(found) >= outages_least and all(each.end_ns for each in found) else []

        found: list[ledger.Outage] = self.nodes.wait("writes are back", over, 60.0)
        return found

    def compare(self) -> ledger.Comparison:
        """Every acknowledged write, looked for on the primary of this moment."""
        return ledger.compare(ledger.read(self.log), self.servers.primary())


@contextmanager
def stage(flavor: str, *, writing: bool = True, **settings: Any) -> Iterator[Stage]:
    """A primary with three replicas, watched; ``settings`` are those of ``sandbox.topology.start``."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-bench-")))
        block = stack.enter_context(ports.reserved())
        servers = topology.start(Flavor(flavor), SERVERS, block[0], directory / "servers", **settings)
        stack.callback(servers.stop_all, discard=True)
        nodes = Nodes(directory / "nodes", http_port=block[10], raft_port=block[11])
        stack.callback(nodes.stop_all)
        nodes.start()
        primary = servers.primary()
        nodes.discover(primary.host, primary.port, SERVERS)
        log = directory / "writer.log"
        if writing:
            application = writer.launch([server.port for server in servers.servers], log)
            stack.callback(writer.end, application)
        time.sleep(SETTLE_S)
        yield Stage(servers, nodes, log)
