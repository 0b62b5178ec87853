"""Figures about probing: how long each took, how many wait. For people and metrics; nothing is decided from them.

What is kept is bounded by age and by number; the two counters go on for as long as the process runs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from orchestrator_raft.core.instance import InstanceKey, ProbeResult, Reached
from orchestrator_raft.ports import Clock

PROBES_MAX = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFigure:
    """One probe."""

    at_ms: int
    key: InstanceKey
    total_s: float
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigure:
    """Probes under way and probes that wait for a slot, at one moment."""

    at_ms: int
    active: int
    waiting: int


class Figures:
    """The newest figures of this node."""

    def __init__(self, clock: Clock, *, kept_s: float = 120.0, samples_max: int = 120) -> None:
        self._clock = clock
        self._kept_ms = kept_s * 1000
        self._probes: deque[ProbeFigure] = deque(maxlen=PROBES_MAX)
        self._samples: deque[QueueFigure] = deque(maxlen=samples_max)
        self.probes_made = 0
        self.probes_failed = 0

    def probed(self, key: InstanceKey, result: ProbeResult, total_s: float) -> None:
        """One probe has ended."""
        error = "" if isinstance(result, Reached) else result.detail
        self.probes_made += 1
        self.probes_failed += bool(error)
        now_ms = self._clock.wall_ms()
        self._probes.append(ProbeFigure(at_ms=now_ms, key=key, total_s=total_s, error=error))
        while self._probes[0].at_ms < now_ms - self._kept_ms:
            self._probes.popleft()

    def sample(self, active: int, waiting: int) -> None:
        """Taken once a second."""
        self._samples.append(QueueFigure(at_ms=self._clock.wall_ms(), active=active, waiting=waiting))

    def probes(self, newest_s: int) -> list[ProbeFigure]:
        """Those of the last ``newest_s`` seconds, oldest first."""
        since_ms = self._clock.wall_ms() - newest_s * 1000
        return [each for each in self._probes if each.at_ms >= since_ms]

    def samples(self, newest_s: int) -> list[QueueFigure]:
        since_ms = self._clock.wall_ms() - newest_s * 1000
        return [each for each in self._samples if each.at_ms >= since_ms]
