"""An event loop that belongs to one simulated process: it runs when the world lets it, and its time is that machine's.

A process that is killed is a loop that never runs again: no ``finally`` of it acts, as after kill -9. One that stands
still is a loop that is not called for a while and then finds its clock advanced. Nothing here waits.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio import events
from collections.abc import Callable, Coroutine
from typing import Any

RESOLUTION_S = 1e-7


class _NoFiles:
    """There is nothing to wait for but time."""

    def select(self, timeout: float | None = None) -> list[Any]:
        del timeout
        return []


class _Task(asyncio.Task[Any]):
    """Its hash is its number, so that sets of tasks have the same order in every run."""

    def __init__(self, number: int, coro: Coroutine[Any, Any, Any], **more: Any) -> None:
        self._number = number
        super().__init__(coro, **more)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class ProcessLoop(asyncio.BaseEventLoop):
    """``clock`` gives this machine's monotonic time; ``on_error`` hears of what nobody caught."""

    def __init__(self, clock: Callable[[], float], on_error: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._selector = _NoFiles()
        self._clock_resolution = RESOLUTION_S
        self._now = clock
        self._tasks_made = 0
        self.set_exception_handler(lambda _loop, context: on_error(context))
        self.set_task_factory(self._new_task)

    def _new_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> _Task:
        self._tasks_made += 1
        return _Task(self._tasks_made, coro, loop=loop, **more)

    def time(self) -> float:
        return self._now()

    def _process_events(self, event_list: list[Any]) -> None:
        del event_list

    def _write_to_self(self) -> None:
        """Nobody sleeps, so nobody has to be woken."""

    def due_at_s(self) -> float | None:
        """When it wants to run next, by its own clock; None when it waits for others only."""
        if self._ready:  # type: ignore[attr-defined]
            return self.time()
        scheduled = self._scheduled  # type: ignore[attr-defined]
        return scheduled[0]._when if scheduled else None

    def run_due(self, may_go_on: Callable[[], bool]) -> None:
        """Everything that is due now."""
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(
            firstiter=self._asyncgen_firstiter_hook,  # type: ignore[attr-defined]
            finalizer=self._asyncgen_finalizer_hook,  # type: ignore[attr-defined]
        )
        self._thread_id = threading.get_ident()
        events._set_running_loop(self)
        try:
            while may_go_on() and (due_s := self.due_at_s()) is not None and due_s <= self.time() + RESOLUTION_S:
                self._run_once()  # type: ignore[attr-defined]
        finally:
            events._set_running_loop(None)
            self._thread_id = None  # type: ignore[assignment]
            sys.set_asyncgen_hooks(*hooks)
