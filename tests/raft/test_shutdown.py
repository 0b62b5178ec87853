"""How a node ends: what its disk and its handlers still do then."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft import sqlite_store
from orchestrator_raft.raft.data_dir import STORE_FILE, DataDir
from orchestrator_raft.tasks import Tasks
from tests.raft.cluster import running, until


async def test_a_directory_stays_locked_while_its_disk_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next process would read the store, and then the last writes of this one would land on it."""
    monkeypatch.setattr(sqlite_store, "CLOSE_TIMEOUT_S", 0.2)
    async with running(tmp_path, 1) as cluster:
        node = await cluster.leader()
        await cluster.add(node)
        place = cluster.settings(node.node_id).data_dir
        assert place is not None
        with closing(sqlite3.connect(place / STORE_FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            tasks = Tasks("test", lambda *_: None)
            waiting = tasks.start("add", cluster.add(node))
            await asyncio.sleep(0.05)
            await cluster.stop(node.node_id)
            with pytest.raises(StartupError, match="in use by another process"):
                DataDir(place)
            other.execute("ROLLBACK")
        await asyncio.gather(waiting, return_exceptions=True)


async def test_other_tasks_go_on_while_a_node_waits_for_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What frees the disk here is such a task: without it the directory would stay locked."""
    monkeypatch.setattr(sqlite_store, "CLOSE_TIMEOUT_S", 2.0)
    async with running(tmp_path, 1) as cluster:
        node = await cluster.leader()
        place = cluster.settings(node.node_id).data_dir
        assert place is not None
        tasks = Tasks("test", lambda *_: None)
        with closing(sqlite3.connect(place / STORE_FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = tasks.start("add", cluster.add(node))
            await asyncio.sleep(0.05)
            stopping = tasks.start("stop", cluster.stop(node.node_id))
            await asyncio.sleep(0.05)
            assert not stopping.done()
            other.execute("ROLLBACK")
            await stopping
        DataDir(place).release()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_handler_is_ended_when_its_caller_no_longer_waits(tmp_path: Path) -> None:
    ended: list[str] = []

    async def pieces(node_id: str, payload: bytes) -> AsyncIterator[bytes]:
        del node_id, payload
        try:
            while True:
                yield b"x" * 1000
        finally:
            await asyncio.sleep(0)
            ended.append(asyncio.current_task().get_name())  # type: ignore[union-attr]

    async with running(tmp_path) as cluster:
        leader, follower = await cluster.leader(), (await cluster.followers())[0]
        leader.channel.serve("pieces", pieces)
        stream = follower.channel.stream(leader.node_id, "pieces", b"", timeout_s=10)
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        await until(lambda: ended, "the end of the handler")
    assert ["raft:answer pieces"] == ended, "it was left to the garbage collector"
