"""One node of the Raft bench, as a process: ``python -m bench.raft_node ORDERS``, questions and answers in JSON lines.

    {"load": {"proposers": 64, "seconds": 5, "commands": 0}}   propose as fast as the answers come; rate and latencies
    {"status": {}}                                             applied index, bytes of the store

It says when it is ready, and each time it gets authority, with the machine's boot clock.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.raft_machine import Put, Tallying, tally_codec
from orchestrator_raft.raft.clock import boot_time_s
from orchestrator_raft.raft.node import RaftNode
from orchestrator_raft.raft.settings import RaftSettings
from orchestrator_raft.tasks import Tasks

PROPOSE_S = 10.0
Node = RaftNode[Any, Any, Any]


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a node is told on its command line."""

    directory: str
    bind: str
    nodes: list[str]
    machine: str = "tally"
    """``tally``, or ``product`` for the product's own state and codec."""

    def text(self) -> str:
        return json.dumps(asdict(self))


def tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def die(error: BaseException) -> None:
    tell(fatal=f"{type(error).__name__}: {error}")
    os._exit(1)


async def load(node: Node, tasks: Tasks, *, proposers: int, seconds: float, commands: int, run: str) -> dict[str, Any]:
    """``proposers`` at once, each waiting for its answer, until ``seconds`` or ``commands`` are over."""
    numbers = itertools.count(1)
    latencies_ms: list[float] = []
    begun_s = time.perf_counter()

    async def propose(name: str) -> None:
        for number in itertools.count(1):
            if (commands and next(numbers) > commands) or (seconds and time.perf_counter() - begun_s > seconds):
                return
            asked_s = time.perf_counter()
            await node.propose(Put(f"{run}-{name}/{number}"), timeout_s=PROPOSE_S)
            latencies_ms.append((time.perf_counter() - asked_s) * 1000)

    await asyncio.gather(*(tasks.start("propose", propose(str(number))) for number in range(proposers)))
    return {"seconds": time.perf_counter() - begun_s, "latencies_ms": latencies_ms}


async def tell_authority(node: Node) -> None:
    had = False
    with node.subscribe() as changes:
        if node.authority() is not None:
            had = True
            tell(leads=node.term, at=boot_time_s())
        async for change in changes:
            if change.has_authority and not had:
                tell(leads=change.term, at=boot_time_s())
            had = change.has_authority


async def questions() -> AsyncIterator[dict[str, Any]]:
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


def product_node(settings: RaftSettings) -> Node:
    """With the product's own state. Its imports would make every other start of a node slower."""
    from orchestrator_raft.app.consensus import ReplicatedMachine, codec

    return RaftNode(settings, ReplicatedMachine(), codec(), on_fatal=die)


async def serve(orders: Orders) -> None:
    settings = RaftSettings(data_dir=Path(orders.directory), bind=orders.bind, nodes=tuple(orders.nodes))
    product = orders.machine == "product"
    node: Node = product_node(settings) if product else RaftNode(settings, Tallying(), tally_codec(), on_fatal=die)
    tasks = Tasks("bench", lambda _, error: die(error))
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    await node.start()
    tell(ready=time.perf_counter() - begun_s, at=boot_time_s(), cpu=time.process_time() - cpu_s)
    tasks.start("authority", tell_authority(node))
    async for question in questions():
        match question:
            case {"load": wanted}:
                tell(load=await load(node, tasks, **wanted))
            case {"status": _}:
                status = node.status()
                servers = len(node.state.servers) if product else 0
                tell(status={"applied": status.applied_index, "servers": servers})
    await tasks.close()
    await node.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Orders(**json.loads(sys.argv[1]))))
