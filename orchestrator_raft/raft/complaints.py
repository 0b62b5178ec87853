"""What is worth a line in the log, once: a cause that lasts is not told ten times a second.

Rules
- About one peer a text is logged when it differs from the last one, and again after ``REPEAT_S``; never more than
  ``LINES_MAX`` lines in that time, however the texts alternate.
- All strangers together get ``STRANGER_LINES_MAX`` lines in that time, whatever addresses they come from; what was left
  out is counted in the next line.
- The newest text about each is kept for the status, and the number of subjects is bounded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator_raft.raft.clock import Clock

log = logging.getLogger("orchestrator_raft.raft")
REPEAT_S = 60.0
LINES_MAX = 6
STRANGER_LINES_MAX = 20
SUBJECTS_MAX = 256
STRANGERS_KEPT = 16
STRANGER_KEPT_S = 600.0


@dataclass(frozen=True, slots=True)
class Refused:
    """A connection that was refused: from which IP address, why, and when, on this node's boot clock."""

    origin: str
    reason: str
    at_s: float


@dataclass(slots=True)
class _Told:
    """What was told about one subject in the present window; ``logged`` is the last text that reached the log."""

    since_s: float
    lines: int = 0
    left_out: int = 0
    newest: str = ""
    logged: str = ""
    logged_s: float = 0.0

    def may(self, limit: int, now_s: float) -> bool:
        """Whether one more line fits; the line is counted, one way or the other."""
        if now_s - self.since_s >= REPEAT_S:
            self.since_s, self.lines = now_s, 0
        if self.lines >= limit:
            self.left_out += 1
            return False
        self.lines += 1
        return True


class Complaints:
    """``clock`` gives seconds that never run back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, _Told] = {}
        self._strangers = _Told(clock())
        self._refused: dict[str, Refused] = {}

    def note(self, subject: str, text: str) -> None:
        """Something is wrong with a peer or with this node's own part."""
        now_s = self._clock()
        if subject not in self._told and len(self._told) >= SUBJECTS_MAX:
            self._told.pop(next(iter(self._told)))
        told = self._told.setdefault(subject, _Told(now_s))
        told.newest = text
        if text == told.logged and now_s - told.logged_s < REPEAT_S:
            return
        if told.may(LINES_MAX, now_s):
            told.logged, told.logged_s = text, now_s
            log.warning(text)

    def stranger(self, origin: str, text: str) -> None:
        """A connection from ``origin`` was refused before anybody knew whose it is."""
        now_s, before = self._clock(), self._refused.pop(origin, None)
        self._refused[origin] = Refused(origin, text, now_s)
        if len(self._refused) > STRANGERS_KEPT:
            self._refused.pop(next(iter(self._refused)))
        if before is not None and before.reason == text and now_s - before.at_s < REPEAT_S:
            self._strangers.left_out += 1
        elif self._strangers.may(STRANGER_LINES_MAX, now_s):
            left_out, self._strangers.left_out = self._strangers.left_out, 0
            log.warning("%s%s", text, f" ({left_out} like it were not logged)" if left_out else "")

    def settled(self, subject: str) -> None:
        """It works (again); told only if it had been complained about."""
        told = self._told.pop(subject, None)
        if told is not None and told.logged:
            log.info("%s is connected", subject)

    def about(self, subject: str) -> str:
        """The newest complaint about a peer that has not been settled; empty if there is none."""
        told = self._told.get(subject)
        return told.newest if told is not None else ""

    def refused(self) -> tuple[Refused, ...]:
        """Strangers that were refused lately, newest last."""
        now_s = self._clock()
        kept: Mapping[str, Refused] = self._refused
        return tuple(each for each in kept.values() if now_s - each.at_s < STRANGER_KEPT_S)
