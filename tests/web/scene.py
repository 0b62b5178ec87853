"""Nodes over modelled servers in a thread of their own, for pages that a browser of this thread looks at."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.rest.rig import Rig

START_S = 30.0
T = TypeVar("T")


class Scene:
    """A running ``Rig``; ``do`` runs a coroutine where it lives."""

    def __init__(self, rig: Rig, loop: asyncio.AbstractEventLoop) -> None:
        self.rig = rig
        self._loop = loop

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S)

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Have it run there, and go on."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def url(self, node: str = "n1") -> str:
        return self.rig[node].url

    def get(self, path: str) -> Any:
        return self.do(self.rig.first.get(path)).json

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition on the rig, asked where it lives; the test fails when it never comes."""
        self.do(self.rig.until(condition))

    def post(self, path: str, body: dict[str, Any] | None = None) -> int:
        return self.do(self.rig.first.ask("POST", path, json=body or {})).status


@contextmanager
def running(make: Callable[[], Rig], *ports: int) -> Iterator[Scene]:
    """The rig that ``make`` makes, with the servers on these ports discovered."""
    ready, ended = threading.Event(), asyncio.Event()
    found: list[Scene] = []
    failed: list[BaseException] = []

    async def run() -> None:
        async with make() as rig:
            scene = Scene(rig, asyncio.get_running_loop())
            await rig.until(lambda: any(node.service.may_act for node in rig.nodes.values()))
            for port in ports:
                await rig.first.get(f"/api/discover/127.0.0.1/{port}")
            await rig.until(lambda: set(rig.raft.state.servers) >= set(rig.fleet.servers))
            found.append(scene)
            ready.set()
            await ended.wait()

    def body() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=body, name="rig", daemon=True)
    thread.start()
    assert ready.wait(START_S), "the rig did not start"
    if failed:
        raise failed[0]
    try:
        yield found[0]
    finally:
        found[0]._loop.call_soon_threadsafe(ended.set)
        thread.join(START_S)
    assert not thread.is_alive(), "the rig did not end"
    if failed:
        raise failed[0]
