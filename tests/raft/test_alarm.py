"""The alarm of a quiet node: it can be brought forward, not put off, and never rings for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator_raft.raft.alarm import FAR_S, LATE_S, Alarm
from orchestrator_raft.tasks import Tasks

HOUR_S = 3600.0


class Timers:
    """A loop whose clock stands still until ``pass_time``; records the timers that are armed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        self.tasks = Tasks("test", lambda name, error: pytest.fail(f"{name}: {error!r}"))
        self.armed: list[tuple[float, Callable[[], Any], list[bool]]] = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: self.now_s)
        monkeypatch.setattr(loop, "call_at", self._call_at)

    def _call_at(self, at_s: float, ring: Callable[[], Any]) -> Any:
        cancelled = [False]

        class Handle:
            def cancel(self) -> None:
                cancelled[0] = True

        self.armed.append((at_s, ring, cancelled))
        return Handle()

    def live(self) -> list[float]:
        return [at_s for at_s, _, cancelled in self.armed if not cancelled[0]]

    async def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        due = [timer for timer in self.armed if timer[0] <= self.now_s and not timer[2][0]]
        self.armed = [timer for timer in self.armed if timer not in due]
        for _, ring, _ in due:
            ring()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_it_is_brought_forward_and_not_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    timers, alarm = Timers(monkeypatch), Alarm()
    waiting = timers.tasks.start("wait", alarm.wait(0.1))
    await asyncio.sleep(0)
    alarm.set(0.2)
    assert timers.live() == [pytest.approx(100.1 + LATE_S)]
    alarm.set(0.01)
    assert timers.live() == [pytest.approx(100.01 + LATE_S)]
    await timers.pass_time(0.01)
    assert not waiting.done()
    await timers.pass_time(LATE_S)
    assert waiting.done()


async def test_it_rings_soon_for_a_moment_that_is_far_away_since_machines_sleep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers, alarm = Timers(monkeypatch), Alarm()
    waiting = timers.tasks.start("wait", alarm.wait(HOUR_S))
    await asyncio.sleep(0)
    await timers.pass_time(FAR_S + 2 * LATE_S)
    assert waiting.done()


async def test_set_while_nobody_waits_arms_nothing_and_a_waiter_that_leaves_takes_its_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers, alarm = Timers(monkeypatch), Alarm()
    alarm.set(0.1)
    assert timers.live() == []
    waiting = timers.tasks.start("wait", alarm.wait(0.1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert timers.live() == []
