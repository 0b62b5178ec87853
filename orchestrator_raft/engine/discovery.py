"""Probing: who is due, at most one probe a server at a time, never more than the limit at once.

Each watched server has one task that sleeps until its interval has passed or somebody wakes it. A connection that a
server closes wakes its own probe and those of its source and replicas at once, so a crash is noticed in milliseconds
and the interval only bounds the rest (design D3.1). A dead server costs its own task's time and nobody else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from orchestrator_raft.core.errors import ServerError
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.observation import Observation
from orchestrator_raft.core.topology import ServerRecord
from orchestrator_raft.engine.figures import Figures
from orchestrator_raft.engine.inventory import Change, Inventory
from orchestrator_raft.ports import Clock, Prober
from orchestrator_raft.tasks import Tasks

SHORTEST_PROBE_S = 0.05
SAMPLE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often one server is probed, and how long a probe may take."""

    interval_s: float
    timeout_s: float
    late_s: float | None = None
    """A probe that takes longer is told of while it is still under way."""


class Discovery:
    """Owns the probing of all watched servers; runs on the leader only."""

    def __init__(
        self, prober: Prober, inventory: Inventory, clock: Clock, tasks: Tasks, *, concurrency_max: int = 300,
        figures: Figures | None = None,
    ) -> None:  # fmt: skip
        self._prober = prober
        self._inventory = inventory
        self._clock = clock
        self._tasks = tasks
        self._slots = asyncio.Semaphore(concurrency_max)
        self._figures = figures or Figures(clock)
        self._asked = 0
        self._active = 0
        self._watched: dict[InstanceKey, _Watched] = {}
        self._turns: WeakValueDictionary[InstanceKey, asyncio.Lock] = WeakValueDictionary()
        """Each lives as long as somebody has it or waits for it, whether the server is watched or not."""
        self._records: Mapping[InstanceKey, ServerRecord] = {}
        self._listener: Callable[[Change], None] = lambda _change: None
        self._late_listener: Callable[[InstanceKey], None] = lambda _key: None

    def __repr__(self) -> str:
        return f"<Discovery of {len(self._watched)} servers>"

    def on_change(self, listener: Callable[[Change], None]) -> None:
        """Have ``listener`` called after each probe result; it must not block."""
        self._listener = listener

    def on_late(self, listener: Callable[[InstanceKey], None]) -> None:
        """Have ``listener`` called when a probe takes longer than the server's pace allows; it must not block."""
        self._late_listener = listener

    def watch(self, paces: Mapping[InstanceKey, Pace], records: Mapping[InstanceKey, ServerRecord]) -> None:
        """From now on probe exactly these servers, at these paces."""
        self._records = records
        for key in [key for key in self._watched if key not in paces]:
            self._watched.pop(key).stop()
            self._prober.forget(key)
        for key, pace in paces.items():
            known = self._watched.get(key)
            if known is None:
                watched = _Watched(pace)
                self._watched[key] = watched
                watched.task = self._tasks.start(f"probe {key}", self._probe_for_ever(key, watched))
            else:
                known.set_pace(pace)

    def wake(self, keys: Iterable[InstanceKey]) -> None:
        """Probe these at once (after the probe that may be under way)."""
        for key in keys:
            watched = self._watched.get(key)
            if watched is not None:
                watched.wake.set()

    async def probe_now(self, key: InstanceKey, *, timeout_s: float) -> Observation:
        """One probe that starts after this call; its observation is in the inventory when this returns.

        ``timeout_s`` bounds all of it. Raises ServerError when the probe under way has not ended by then.
        """
        ends_at_s = self._clock.monotonic_s() + timeout_s
        async with AsyncExitStack() as turn:
            try:
                async with asyncio.timeout(timeout_s):
                    turn.enter_context(self._waiting())
                    await turn.enter_async_context(self._turn(key))
                    await turn.enter_async_context(self._slots)
            except TimeoutError:
                raise ServerError(f"{key}: an earlier probe has not ended within {timeout_s:g} s") from None
            return await self._probe(key, max(SHORTEST_PROBE_S, ends_at_s - self._clock.monotonic_s()))

    def _turn(self, key: InstanceKey) -> asyncio.Lock:
        return self._turns.setdefault(key, asyncio.Lock())

    async def _probe(self, key: InstanceKey, timeout_s: float) -> Observation:
        asked_at_s = self._clock.monotonic_s()
        self._active += 1
        try:
            result = await self._prober.probe(key, timeout_s=timeout_s)
        finally:
            self._active -= 1
        self._figures.probed(key, result, self._clock.monotonic_s() - asked_at_s)
        change = self._inventory.record(key, result, self._clock.monotonic_s(), self._records, asked_at_s=asked_at_s)
        self._listener(change)
        return self._inventory.observations[change.key]

    async def _probe_for_ever(self, key: InstanceKey, watched: _Watched) -> None:
        while True:
            watched.wake.clear()
            async with AsyncExitStack() as turn:
                turn.enter_context(self._waiting())
                await turn.enter_async_context(self._turn(key))
                await turn.enter_async_context(self._slots)
                with self._telling_when_late(key, watched.pace.late_s):
                    await self._probe(key, watched.pace.timeout_s)
            await watched.wait_until_due()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Counts those who want to probe, whether they wait for their turn or are at it."""
        self._asked += 1
        try:
            yield
        finally:
            self._asked -= 1

    async def sample_for_ever(self) -> None:
        """Note once a second how many probes are under way and how many wait."""
        while True:
            self._figures.sample(self._active, self._asked - self._active)
            await self._clock.sleep(SAMPLE_S)

    @contextmanager
    def _telling_when_late(self, key: InstanceKey, late_s: float | None) -> Iterator[None]:
        if late_s is None:
            yield
            return
        alarm = asyncio.get_running_loop().call_later(late_s, lambda: self._late_listener(key))
        try:
            yield
        finally:
            alarm.cancel()


class _Watched:
    """One server's task and pace."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def set_pace(self, pace: Pace) -> None:
        """A shorter interval counts at once, a longer one after the next probe."""
        if pace.interval_s < self.pace.interval_s:
            self.wake.set()
        self.pace = pace

    async def wait_until_due(self) -> None:
        try:
            async with asyncio.timeout(self.pace.interval_s):
                await self.wake.wait()
        except TimeoutError:
            return

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
