"""What a follower does with one append, as a pure function: the cure for reference defects B1 and B2.

PySyncObj cuts its journal behind ``prevLogIdx`` even where the entries are equal, so that a late or smaller append
un-stores what was acknowledged (B1), and it steps back one entry after a conflict only to be led back to its old end by
the next append (B2). Therefore the library is never shown an append as it came, but one for which cutting is right:

- equal entries are skipped; what is cut was proven to differ from the leader's;
- when all is present and more follows, the library gets an empty append at its own end;
- after a conflict the differing tail is cut at once, and the answer asks for exactly what is missing;
- nothing at or below the commit index is ever cut: such an append means that two histories exist, ``Diverged``.

Logs match by Raft's own property: equal index and term means equal entries, and equal everything before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Entry = tuple[bytes, int, int]
"""What PySyncObj keeps: command, index, term."""


class Diverged(Exception):
    """A leader asks to replace committed entries. The node must stop: somebody's disk broke its promise."""


class LogView(Protocol):
    """The journal, as far as a decision needs it."""

    @property
    def first_index(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    def term_at(self, index: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Append:
    """The log part of a leader's append."""

    prev_index: int
    prev_term: int
    entries: Sequence[Entry]
    commit_index: int

    @property
    def last_index(self) -> int:
        return self.prev_index + len(self.entries)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the leader is told. ``success`` proves everything before ``next_index`` equal, else it is to go there."""

    next_index: int
    success: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The append to show the library, and the answer to send when the journal is on disk."""

    shown: Append
    answer: Answer


def plan(log: LogView, committed: int, asked: Append) -> Plan:
    """Raises Diverged when the append contradicts something committed here."""
    if asked.prev_index > log.last_index:
        return Plan(_nothing(log), Answer(log.last_index + 1, success=False))
    first_new = _first_difference(log, asked)
    if first_new is None:
        return _conflict(log, committed, asked)
    if first_new > asked.last_index:
        commit_index = min(asked.commit_index, asked.last_index)
        return Plan(_nothing(log, commit_index), Answer(asked.last_index + 1, success=True))
    if first_new <= log.last_index and first_new <= committed:
        raise Diverged(f"a leader replaces entry {first_new}, but everything up to {committed} is committed here")
    prev_index = first_new - 1
    entries = asked.entries[prev_index - asked.prev_index :]
    commit_index = min(asked.commit_index, asked.last_index)
    shown = Append(prev_index, log.term_at(prev_index), entries, commit_index)
    return Plan(shown, Answer(asked.last_index + 1, success=True))


def heartbeat(log: LogView) -> Append:
    """The append that changes nothing: it tells the library only that the leader lives."""
    return _nothing(log)


def _nothing(log: LogView, commit_index: int = 0) -> Append:
    return Append(log.last_index, log.term_at(log.last_index), (), commit_index)


def _first_difference(log: LogView, asked: Append) -> int | None:
    """Index of the first entry that is missing or differs here; None when already the one before them differs.

    What lies before the journal's first entry is in the snapshot, hence committed and equal.
    """
    if asked.prev_index >= log.first_index and log.term_at(asked.prev_index) != asked.prev_term:
        return None
    for _, index, term in asked.entries:
        if index > log.last_index or (index >= log.first_index and log.term_at(index) != term):
            return index
    return asked.last_index + 1


def _conflict(log: LogView, committed: int, asked: Append) -> Plan:
    """The entry before the new ones differs: cut it, and with it what the order of terms proves to differ."""
    cut = asked.prev_index
    while cut - 1 > max(committed, log.first_index) and log.term_at(cut - 1) > asked.prev_term:
        cut -= 1
    if cut <= max(committed, log.first_index):
        raise Diverged(f"a leader has another entry {cut}, but everything up to {committed} is committed here")
    return Plan(Append(cut - 1, log.term_at(cut - 1), (), 0), Answer(cut, success=False))
