"""Wakes the one that waits at a moment which may still be brought forward, never put off: who wakes too early looks at
its deadlines and sets the alarm anew. A quiet node thus sleeps until something is due, instead of looking all the time.
"""

from __future__ import annotations

import asyncio

FAR_S = 0.25
"""The longest sleep: the loop's clock stands still while the machine sleeps, the deadlines' clock does not."""
LATE_S = 0.001
"""Added to every sleep, because the loop counts in milliseconds and would wake just before the moment."""


class Alarm:
    """For one task. ``set`` may be called at any time, ``wait`` by that task only."""

    def __init__(self) -> None:
        self._at_s = float("inf")
        self._timer: asyncio.TimerHandle | None = None
        self._woken: asyncio.Future[None] | None = None

    def set(self, after_s: float) -> None:
        """Wake not later than ``after_s`` from now."""
        loop = asyncio.get_running_loop()
        at_s = loop.time() + min(after_s, FAR_S) + LATE_S
        if self._woken is None or at_s >= self._at_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._at_s, self._timer = at_s, loop.call_at(at_s, self._ring)

    async def wait(self, after_s: float) -> None:
        """Until ``after_s`` from now, or the earlier moment that is ``set`` meanwhile."""
        self._woken = asyncio.get_running_loop().create_future()
        self._at_s = float("inf")
        self.set(after_s)
        try:
            await self._woken
        finally:
            self._woken = None
            if self._timer is not None:
                self._timer.cancel()

    def _ring(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
