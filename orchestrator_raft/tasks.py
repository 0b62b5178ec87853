"""The one place that creates asyncio tasks: every task has an owner, a name and somebody who hears of its failure.

Rules
- Nothing else in the product calls ``asyncio.create_task``; test_tidy and ruff hold that.
- The owner is a ``Tasks``: closing it cancels what it started and waits until that has ended.
- A task that ends with an exception is never silent: the owner's ``on_failure`` hears of it, once, at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
OnFailure = Callable[[str, BaseException], None]


class Tasks:
    """Owner of the background tasks of one part of the program."""

    def __init__(self, owner: str, on_failure: OnFailure) -> None:
        self._owner = owner
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __repr__(self) -> str:
        names = ", ".join(sorted(task.get_name() for task in self._tasks))
        return f"<Tasks of {self._owner}: {names or 'none'}>"

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` in the background. After ``close`` it is refused: RuntimeError, and ``work`` never runs."""
        if self._closed:
            work.close()
            raise RuntimeError(f"{self._owner} is closed and starts no task '{name}'")
        task = asyncio.create_task(work, name=f"{self._owner}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        failure = task.exception()
        if failure is not None:
            self._on_failure(task.get_name(), failure)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Cancel everything and wait at most ``timeout_s`` seconds for it to end. Safe to call twice."""
        self._closed = True
        current = asyncio.current_task()
        running = {task for task in self._tasks if task is not current}
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=timeout_s)
