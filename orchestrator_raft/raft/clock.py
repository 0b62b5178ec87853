"""The clock of leases and elections, and how a jump of time is noticed.

- ``boot_time_s`` is CLOCK_BOOTTIME: it runs on while the machine sleeps, so that nobody wakes with a live lease (D4).
- A virtual machine that was paused may find that clock unmoved. Then the wall clock is corrected sooner or later, and
  its distance to the boot clock changes: ``JumpWatch`` notices, and the lease is dropped.
- The simulator puts its own two functions in their place; nothing else in this package reads a clock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

Clock = Callable[[], float]
SAMPLES = 16
"""Of the distance, in one window."""
READINGS = 3
"""So often a process that was put aside between two clocks looks again."""


def boot_time_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class JumpWatch:
    """Watches the distance between two clocks: it may not change by more than the tolerance within the window.

    What endangers a lease is time that its clock has not counted since the send time that it rests on, which is at most
    one lease ago. So the window is the length of a lease, and several short pauses of a machine add up in it; the
    margin of the lease has to hold the tolerance and the drift of the clocks (``Timing``). A process that stands still
    (SIGSTOP, a busy machine) is no danger, however often: the boot clock goes on, and the lease ends by it.
    A wall clock that somebody steps, or slews by more than the tolerance in a window, looks the same, and costs the
    authority of one round trip.
    """

    def __init__(self, clock: Clock, wall: Clock, tolerance_s: float, window_s: float) -> None:
        self._clock = clock
        self._wall = wall
        self._tolerance_s = tolerance_s
        self._window_s = window_s
        self._seen: deque[tuple[float, float]] = deque([self._read()])
        """(boot clock, distance), oldest first; the first may be older than the window."""

    def jumped(self) -> bool:
        """Whether the distance has changed by more than the tolerance. What was before a jump is then forgotten."""
        now_s, distance_s = self._read()
        while len(self._seen) > 1 and self._seen[1][0] <= now_s - self._window_s:
            self._seen.popleft()
        if now_s - self._seen[-1][0] >= self._window_s / SAMPLES or len(self._seen) == 1:
            self._seen.append((now_s, distance_s))
        jumped = any(abs(distance_s - known_s) > self._tolerance_s for _, known_s in self._seen)
        if jumped:
            self._seen.clear()
            self._seen.append((now_s, distance_s))
        return jumped

    def _read(self) -> tuple[float, float]:
        """Both clocks at one time, as far as the process is let: else their distance is off, which counts as a jump."""
        before_s, wall_s = self._clock(), self._wall()
        for _ in range(READINGS - 1):
            if self._clock() - before_s <= self._tolerance_s / 2:
                break
            before_s, wall_s = self._clock(), self._wall()
        return before_s, wall_s - before_s
