"""Virtual time for tests of the engine: an event loop whose clock jumps to the next thing that is due.

Nothing here waits. When every task waits for a time, the clock is set to the earliest of them; when every task waits
for somebody else, nothing can ever happen again, and that is a failure at once and not a test that hangs. So a test may
say "30 seconds later" and is over in a millisecond, in the same order every time.
"""

from __future__ import annotations

import asyncio
import selectors

BEGIN_S = 1000.0
WALL_BEGIN_MS = 1_795_000_000_000


class NobodyWillWakeUp(AssertionError):
    """All tasks wait, and none of them for a time."""


class _JumpingSelector(selectors.SelectSelector):
    """Looks at its files without waiting and lets the clock jump by what it should have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = BEGIN_S

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise NobodyWillWakeUp("every task waits for another one")
        self.now_s += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


class VirtualClock:
    """``ports.Clock`` on the time of the running loop."""

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ms(self) -> int:
        return WALL_BEGIN_MS + round((self.monotonic_s() - BEGIN_S) * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
