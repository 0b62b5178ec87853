"""One Raft node as a process of its own, for tests that kill it: commands on stdin, JSON lines on stdout.

    add ID          propose one command; answers {"added": ID, "error": "" or why not}
    read NUMBER     a read behind a barrier; answers {"read": NUMBER, "total": commands applied, or null}
    scale ID N      propose a command of the next version; answers as ``add``
    state           after a barrier; answers {"state": [ids in order], "total", "digest", "applied"}
    level           answers {"level": of the cluster, "problems": [why each peer that is missing is not connected]}

While the node has authority it says so every few milliseconds and at each change, with the machine's boot clock:
{"authority": term, "at": seconds, "until": seconds}.

A ``plant`` is a fault of the product, put in on purpose to see that the tests find it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from orchestrator_raft.core.errors import OrchestratorError
from orchestrator_raft.raft.clock import boot_time_s
from orchestrator_raft.raft.lease import Authority
from orchestrator_raft.raft.node import RaftNode
from orchestrator_raft.raft.settings import Limits, RaftSettings
from orchestrator_raft.tasks import Tasks
from tests.raft import counting, next_version
from tests.raft.counting import Add, Break, Counted, Counter

Node = RaftNode[Counted, Add | Break, int]
LIMITS = Limits(journal_entries=200, retained_entries=50)
PROPOSE_S, BARRIER_S = 3.0, 20.0
PADDING_BYTES = 200
POLL_S = 0.005
BELIEF_S = 0.05
"""How far ahead a leader believes in itself that ignores its lease."""


class Plant(Enum):
    """What is broken in this process."""

    NOTHING = ""
    IGNORES_LEASE = "the leader believes in itself as long as the library does"
    APPLIES_TWICE = "the machine does not remember ids"


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What one process is told on its command line."""

    directory: str
    bind: str
    advertise: str
    nodes: list[str]
    plant: str = ""
    is_next_version: bool = False

    def text(self) -> str:
        return json.dumps(asdict(self))


class WithoutLease(RaftNode[Counted, Add | Break, int]):
    def authority(self) -> Authority | None:
        return Authority(self.term, boot_time_s() + BELIEF_S) if self._replica.is_leader else None


class WithoutMemory(Counter):
    def apply(self, state: Counted, command: Add | Break) -> tuple[Counted, int]:
        forgotten = {known: total for known, total in state.results.items() if known != command.id}
        after, total = super().apply(Counted(state.total, forgotten), command)
        return Counted(after.total, {**state.results, command.id: total}), total


def tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def die(error: BaseException) -> None:
    tell(fatal=f"{type(error).__name__}: {error}")
    os._exit(1)


async def propose(node: Node, command: Any) -> None:
    try:
        await node.propose(command, timeout_s=PROPOSE_S)
    except OrchestratorError as error:
        tell(added=command.id, error=str(error))
    else:
        tell(added=command.id, error="")


async def read(node: Node, number: str) -> None:
    try:
        await node.barrier(timeout_s=PROPOSE_S)
    except OrchestratorError:
        tell(read=number, total=None)
    else:
        tell(read=number, total=node.state.total)


async def tell_state(node: Node) -> None:
    await node.barrier(timeout_s=BARRIER_S)
    status = node.status()
    order = sorted(node.state.results, key=lambda command_id: node.state.results[command_id])
    tell(state=order, total=node.state.total, digest=status.digest, applied=status.applied_index)


def tell_level(node: Node) -> None:
    status = node.status()
    tell(level=status.level, problems=[member.problem for member in status.members if not member.is_connected])


def tell_authority(node: Node) -> None:
    at_s = boot_time_s()
    authority = node.authority()
    if authority is not None:
        tell(authority=authority.term, at=at_s, until=authority.until_s)


async def poll_authority(node: Node) -> None:
    while True:
        tell_authority(node)
        await asyncio.sleep(POLL_S)


async def follow_changes(node: Node) -> None:
    with node.subscribe() as changes:
        async for _ in changes:
            tell_authority(node)


async def serve(orders: Orders) -> None:
    settings = RaftSettings(
        data_dir=Path(orders.directory), bind=orders.bind, advertise=orders.advertise,
        nodes=tuple(orders.nodes), limits=LIMITS,
    )  # fmt: skip
    plant = Plant(orders.plant)
    kind = WithoutLease if plant is Plant.IGNORES_LEASE else RaftNode
    version: Any = next_version if orders.is_next_version else counting
    machine = WithoutMemory() if plant is Plant.APPLIES_TWICE else version.Counter()
    node: Node = kind(settings, machine, version.codec(), on_fatal=die)
    tasks = Tasks("test", lambda _, error: die(error))
    await node.start()
    tell(ready=True)
    tasks.start("poll", poll_authority(node))
    tasks.start("changes", follow_changes(node))
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        match line.decode().split():
            case ["add", command_id]:
                tasks.start("add", propose(node, version.Add(command_id, padding="x" * PADDING_BYTES)))
            case ["scale", command_id, factor]:
                tasks.start("scale", propose(node, version.Scale(command_id, int(factor))))
            case ["level"]:
                tell_level(node)
            case ["read", number]:
                tasks.start("read", read(node, number))
            case ["state"]:
                tasks.start("state", tell_state(node))
    await tasks.close()
    await node.stop()


if __name__ == "__main__":
    try:
        asyncio.run(serve(Orders(**json.loads(sys.argv[1]))))
    except OrchestratorError as refused:
        die(refused)
