"""What is worth a line in the log, once: a cause that lasts is not told ten times a second.

A text is logged when it differs from the last one about the same subject, and again after ``REPEAT_S``. The number of
subjects is bounded, so that strangers cannot fill memory with themselves.
"""

from __future__ import annotations

import logging

from orchestrator_raft.raft.clock import Clock

log = logging.getLogger("orchestrator_raft.raft")
REPEAT_S = 60.0
SUBJECTS_MAX = 256


class Complaints:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, tuple[str, float]] = {}

    def note(self, subject: str, text: str) -> None:
        told, at_s = self._told.get(subject, ("", 0.0))
        now_s = self._clock()
        if text == told and now_s - at_s < REPEAT_S:
            return
        if len(self._told) >= SUBJECTS_MAX:
            self._told.pop(next(iter(self._told)))
        self._told[subject] = text, now_s
        log.warning(text)

    def settled(self, subject: str) -> None:
        """It works (again); told only if it had been complained about."""
        if self._told.pop(subject, None) is not None:
            log.info("%s is connected", subject)
