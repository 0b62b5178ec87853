"""Commands and reads under way: what their callers wait for, and what is known when time runs out.

A command is found again by its own id, wherever and however often it was submitted: whoever proposed it waits until an
entry with that id is applied *here*. So the way it took does not matter, a repeated submission does no harm (the
machine remembers ids), and an outcome is never guessed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from orchestrator_raft.core.errors import Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The newest of what subscribers wait for."""

    applied_index: int = 0
    term: int = 0
    leader: str | None = None
    has_authority: bool = False


class Proposals:
    """Callers that wait for a command id or for an index. At most ``limit`` at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._commands: dict[str, list[asyncio.Future[Any]]] = defaultdict(list)
        self._indices: list[tuple[int, asyncio.Future[None]]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def command(self, command_id: str) -> Iterator[asyncio.Future[Any]]:
        """A future with the result of the command; it is forgotten at the end of the block. Raises Unavailable."""
        with self._one_more():
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._commands[command_id].append(future)
            try:
                yield future
            finally:
                self._commands[command_id].remove(future)
                if not self._commands[command_id]:
                    del self._commands[command_id]
                future.cancel()

    @contextmanager
    def index(self, index: int) -> Iterator[asyncio.Future[None]]:
        """A future that is done when everything up to ``index`` has been applied. Raises Unavailable."""
        with self._one_more():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting = (index, future)
            self._indices.append(waiting)
            try:
                yield future
            finally:
                self._indices.remove(waiting)
                future.cancel()

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        if self._count >= self._limit:
            raise Unavailable(f"{self._limit} proposals wait on this node already; ask again later")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    def applied(self, command_id: str, result: Any) -> None:
        for future in self._commands.get(command_id, ()):
            if not future.done():
                future.set_result(result)

    def reached(self, applied_index: int) -> None:
        for index, future in self._indices:
            if index <= applied_index and not future.done():
                future.set_result(None)

    def fail(self, make_error: Callable[[], Exception]) -> None:
        """The node stops: nobody waits for ever."""
        waiting: list[asyncio.Future[Any]] = [future for futures in self._commands.values() for future in futures]
        waiting += [future for _, future in self._indices]
        for future in waiting:
            if not future.done():
                future.set_exception(make_error())


class Subscription:
    """Changes of one node, newest only: a slow reader never sees a backlog. Iterate, or await ``next``.

    Use it as a context manager, or ``close`` it.
    """

    def __init__(self, publisher: Publisher, current: Change) -> None:
        self._publisher = publisher
        self._current = current
        self._changed = asyncio.Event()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Change:
        return await self.next()

    async def next(self) -> Change:
        """The newest change, as soon as there is one that has not been given yet."""
        await self._changed.wait()
        self._changed.clear()
        return self._current

    def close(self) -> None:
        self._publisher.forget(self)

    def put(self, change: Change) -> None:
        self._current = change
        self._changed.set()


class Publisher:
    """Tells subscribers what changed; whoever waits for a leader waits for a change of leadership only."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._turn: asyncio.Future[None] | None = None
        self.current = Change()

    def subscribe(self) -> Subscription:
        subscription = Subscription(self, self.current)
        self._subscriptions.add(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def publish(self, change: Change) -> None:
        before, self.current = self.current, change
        if change == before:
            return
        for subscription in self._subscriptions:
            subscription.put(change)
        if self._turn is not None and replace(before, applied_index=change.applied_index) != change:
            self._turn.set_result(None)
            self._turn = None

    async def turned(self, timeout_s: float, awaited: asyncio.Future[Any] | None = None) -> None:
        """Until term, leader or authority changes or ``awaited`` is done, at most ``timeout_s``."""
        if self._turn is None:
            self._turn = asyncio.get_running_loop().create_future()
        waiting = {self._turn} if awaited is None else {self._turn, awaited}
        await asyncio.wait(waiting, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
