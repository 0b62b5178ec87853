"""The clock of leases and elections, and how a jump of time is noticed.

- ``boot_time_s`` is CLOCK_BOOTTIME: it runs on while the machine sleeps, so that nobody wakes with a live lease (D4).
- A virtual machine that was paused may find that clock unmoved. Then the wall clock is corrected sooner or later, and
  its distance to the boot clock changes: ``JumpWatch`` notices, and the lease is dropped.
- The simulator puts its own two functions in their place; nothing else in this package reads a clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]


def boot_time_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class JumpWatch:
    """Watches the distance between two clocks. A correction slower than the tolerance per second is no jump."""

    def __init__(self, clock: Clock, wall: Clock, tolerance_s: float) -> None:
        self._clock = clock
        self._wall = wall
        self._tolerance_s = tolerance_s
        self._distance_s = wall() - clock()

    def jumped(self) -> bool:
        """Whether the distance changed by more than the tolerance since the last call.

        A process that was put aside between the two readings has learned nothing and judges next time.
        """
        before_s = self._clock()
        distance_s = self._wall() - before_s
        if self._clock() - before_s > self._tolerance_s / 2:
            return False
        changed_s, self._distance_s = abs(distance_s - self._distance_s), distance_s
        return changed_s > self._tolerance_s
