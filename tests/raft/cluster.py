"""Real nodes on loopback, in one process: for tests of what only sockets and a disk can show."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from orchestrator_raft.raft.node import RaftNode
from orchestrator_raft.raft.settings import Limits, RaftSettings
from tests.free_ports import free_port
from tests.raft.counting import Add, Break, Counted, Counter, codec

Node = RaftNode[Counted, Add | Break, int]
WAIT_S = 30.0


def never(error: BaseException) -> None:
    """``on_fatal`` of a node that must not fail."""
    raise AssertionError(f"the node stopped: {error!r}") from error


async def until(condition: Callable[[], Any], what: str = "what the test waits for") -> Any:
    """The first true value of ``condition``; fails after a long while."""
    deadline_s = asyncio.get_running_loop().time() + WAIT_S
    while not (value := condition()):
        assert asyncio.get_running_loop().time() < deadline_s, f"{what} did not come"
        await asyncio.sleep(0.01)
    return value


class Cluster:
    def __init__(self, root: Path, size: int, limits: Limits | None = None) -> None:
        self.root = root
        self.limits = limits or Limits()
        self.entries = [f"127.0.0.1:{free_port()}" for _ in range(size)]
        self.nodes: dict[str, Node] = {}
        self.failures: list[BaseException] = []
        self._number = itertools.count()

    def settings(self, entry: str) -> RaftSettings:
        directory = self.root / entry.replace(":", "-")
        return RaftSettings(data_dir=directory, bind=entry, nodes=tuple(self.entries), limits=self.limits)

    async def start(self, entries: Sequence[str] | None = None) -> None:
        for entry in entries or self.entries:
            node: Node = RaftNode(self.settings(entry), Counter(), codec(), on_fatal=self.failures.append)
            await node.start()
            self.nodes[entry] = node

    async def stop(self, entry: str) -> None:
        await self.nodes.pop(entry).stop()

    async def leader(self) -> Node:
        found: Node = await until(
            lambda: next((node for node in self.nodes.values() if node.authority()), None), "a leader"
        )
        return found

    async def followers(self) -> list[Node]:
        leader = await self.leader()
        followers = [node for node in self.nodes.values() if node is not leader]
        await until(lambda: all(node.leader() == leader.node_id for node in followers), "a leader known to all")
        return followers

    async def add(self, node: Node, amount: int = 1) -> int:
        return await node.propose(Add(f"c{next(self._number)}", amount), timeout_s=WAIT_S)

    async def level(self) -> None:
        """Until all nodes have applied the same, and a leader has met every member."""

        def is_level() -> bool:
            members = [member for node in self.nodes.values() for member in node.members()]
            logs = {(node.applied_index, node.status().last_index) for node in self.nodes.values()}
            return len(logs) == 1 and all(member.is_recorded for member in members)

        await until(is_level, "equal states")


@asynccontextmanager
async def running(root: Path, size: int = 3, limits: Limits | None = None) -> AsyncIterator[Cluster]:
    """A started cluster. At the end every node is stopped, and none may have failed."""
    cluster = Cluster(root, size, limits)
    try:
        await cluster.start()
        yield cluster
    finally:
        for entry in list(cluster.nodes):
            await cluster.stop(entry)
        await asyncio.sleep(0)
    assert [] == cluster.failures
