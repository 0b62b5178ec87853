"""A stage whose nodes reach the servers through proxies, so that single nodes can be cut off from single servers.

The servers report the addresses of their proxies, and the nodes know no others. The servers' own replication and the
application go past the proxies: a cut here is one that only the manager suffers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sandbox import ports, topology
from sandbox.binaries import Flavor
from sandbox.nodes import Node, Nodes
from sandbox.proxy import Network
from sandbox.servers import Server
from sandbox.topology import Topology
from tests.faults.stage import Stage

OFFSET = 5
CALL_TIMEOUT_S = 30.0
SERVERS = 3


class CutStage(Stage):
    """A stage with a network between its nodes and its servers."""

    def __init__(self, servers: Topology, nodes: Nodes, directory: Path, stack: ExitStack) -> None:
        super().__init__(servers, nodes, directory, stack)
        self._loop = asyncio.new_event_loop()
        self._failures: list[BaseException] = []
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        stack.callback(self._end, thread)
        self._network = self._call(self._place())
        stack.callback(lambda: self._call(self._network.close()))

    async def _place(self) -> Network:
        network = Network(self._pids, lambda _name, error: self._failures.append(error))
        for server in self.servers.servers:
            real = (server.host, server.port)
            await network.place(str(server), (server.host, server.port + OFFSET), real)
        return network

    def _pids(self) -> dict[str, int]:
        """Who may dial: the nodes, and the servers when they were told to by a node."""
        found = {str(node.number): node.pid for node in self.nodes.nodes}
        found |= {str(server): server.pid for server in self.servers.servers}
        return {name: pid for name, pid in found.items() if pid is not None}

    def key(self, server: Server) -> str:
        """The server's address as the nodes know it."""
        return f"{server.host}:{server.port + OFFSET}"

    def cut(self, node: Node, server: Server) -> None:
        """Nothing passes between the two any more, in silence."""
        for one, other in ((str(node.number), str(server)), (str(server), str(node.number))):
            self._soon(lambda one=one, other=other: self._network.hold(one, other))

    def heal(self) -> None:
        self._soon(self._network.heal)

    def check_network(self) -> None:
        assert self._failures == []

    def _soon(self, act: Callable[[], None]) -> None:
        async def do() -> None:
            act()

        self._call(do())

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    def _end(self, thread: threading.Thread) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join(CALL_TIMEOUT_S)
        self._loop.close()


def open_cut_stage(stack: ExitStack, directory: Path, **settings: Any) -> CutStage:
    """MySQL servers and three nodes; ``stack`` ends them. ``settings`` are keys of the configuration file."""
    block = stack.enter_context(ports.reserved())
    servers = topology.start(
        Flavor.MYSQL, SERVERS, block[0], directory / "servers", report_port_offset=OFFSET
    )  # fmt: skip
    stack.callback(servers.stop_all, discard=True)
    nodes = Nodes(directory / "nodes", http_port=block[10], raft_port=block[11], settings=settings)
    stack.callback(nodes.stop_all)
    nodes.start()
    stage = CutStage(servers, nodes, directory, stack)
    primary = servers.primary()
    nodes.discover(primary.host, primary.port + OFFSET, SERVERS)
    return stage
