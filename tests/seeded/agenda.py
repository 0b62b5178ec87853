"""What happens next in a simulated world: one queue, one virtual clock, no waiting."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

START_S = 1000.0


class Agenda:
    """``violation`` is a broken promise that somebody has noted: it ends the run after the event that broke it."""

    def __init__(self) -> None:
        self.now_s = START_S
        self.events = 0
        self.trace: list[str] | None = None
        """What happens, in words, if somebody wants to know."""
        self.violation: Exception | None = None
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = self._lives = 0

    def at(self, delay_s: float, action: Callable[..., None], *arguments: Any) -> None:
        self._number += 1
        heapq.heappush(self._queue, (self.now_s + delay_s, self._number, action, arguments))

    def run(self, for_s: float, until: Callable[[], bool] | None = None) -> bool:
        """Until the time is over or the condition holds; says which. Raises what was noted as a violation."""
        end_s, queue = self.now_s + for_s, self._queue
        while queue and queue[0][0] <= end_s:
            self.now_s, _, action, arguments = heapq.heappop(queue)
            self.events += 1
            action(*arguments)
            if self.violation is not None:
                raise self.violation
            if until is not None and until():
                return True
        self.now_s = end_s
        return until is not None and until()

    def note(self, text: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now_s - START_S:9.4f} {text}")

    def next_life(self) -> int:
        """The number of a process that starts; none has had it before."""
        self._lives += 1
        return self._lives
