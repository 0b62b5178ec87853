"""The real clock: the only place of the engine that asks the operating system for the time."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """``ports.Clock`` on Linux. CLOCK_BOOTTIME goes on while the machine sleeps, as leases need it to."""

    def monotonic_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
