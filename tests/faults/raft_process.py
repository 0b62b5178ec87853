"""One Raft node as a process of its own, for tests that kill it: commands on stdin, JSON lines on stdout.

    add ID          propose one command; answers {"acknowledged": ID} or {"failed": ID, "error": ...}
    state           after a barrier; answers {"state": [ids in order], "digest": ..., "applied": ...}

While the node has authority it says so every few milliseconds, with the machine's boot clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from orchestrator_raft.core.errors import OrchestratorError
from orchestrator_raft.raft.clock import boot_time_s
from orchestrator_raft.raft.node import RaftNode
from orchestrator_raft.raft.settings import Limits, RaftSettings
from orchestrator_raft.tasks import Tasks
from tests.raft.counting import Add, Break, Counted, Counter, codec

Node = RaftNode[Counted, Add | Break, int]
PROPOSE_S, BARRIER_S = 5.0, 20.0


def tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def die(error: BaseException) -> None:
    tell(fatal=f"{type(error).__name__}: {error}")
    os._exit(1)


async def add(node: Node, command_id: str) -> None:
    try:
        await node.propose(Add(command_id), timeout_s=PROPOSE_S)
    except OrchestratorError as error:
        tell(failed=command_id, error=str(error))
    else:
        tell(acknowledged=command_id)


async def tell_state(node: Node) -> None:
    await node.barrier(timeout_s=BARRIER_S)
    status = node.status()
    tell(state=list(node.state.results), digest=status.digest, applied=status.applied_index)


async def tell_authority(node: Node) -> None:
    while True:
        authority = node.authority()
        if authority is not None:
            tell(authority=authority.term, at=boot_time_s())
        await asyncio.sleep(0.005)


async def serve(directory: str, bind: str, nodes: str) -> None:
    limits = Limits(journal_entries=200, retained_entries=50)
    settings = RaftSettings(data_dir=Path(directory), bind=bind, nodes=tuple(nodes.split(",")), limits=limits)
    node: Node = RaftNode(settings, Counter(), codec(), on_fatal=die)
    tasks = Tasks("test", lambda _, error: die(error))
    await node.start()
    tell(ready=bind)
    tasks.start("authority", tell_authority(node))
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        match line.decode().split():
            case ["add", command_id]:
                tasks.start("add", add(node, command_id))
            case ["state"]:
                tasks.start("state", tell_state(node))
    await tasks.close()
    await node.stop()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
