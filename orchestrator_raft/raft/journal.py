"""The journal as PySyncObj uses it, in memory, with every change also given to the store in order.

Rules
- The eleven methods in camel case are the library's ``Journal`` interface; positions there count from the first entry
  that the library sees. Everything of ours speaks of indices.
- Each change gets a mark; what leaves the node waits until the store has synced the mark it depends on (``Outbox``).
- ``synced_index`` is how far the journal here is on disk. A leader counts itself only up to there.
- Entries that the library has trimmed are kept for a while, so that a follower slightly behind needs no snapshot.
- Who the members are is read off the entries as they come and go: ``history``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import overload

from orchestrator_raft.raft import membership
from orchestrator_raft.raft.appends import Entry
from orchestrator_raft.raft.membership import Configuration, History
from orchestrator_raft.raft.settings import Limits
from orchestrator_raft.raft.store import (
    AddEntry,
    ClearEntries,
    CutEntries,
    Image,
    Loaded,
    Operation,
    SaveSnapshot,
    SetCommit,
    SetFact,
    SetTerm,
)


class Journal:
    """Entries, term, vote and commit index of one node. ``founding``: the members before any entry names them."""

    def __init__(self, image: Image, loaded: Loaded, limits: Limits, founding: Configuration | None = None) -> None:
        self._entries = loaded.entries
        self.history = _history(loaded, founding)
        self._limits = limits
        self._retained: deque[Entry] = deque()
        self._retained_bytes = 0
        self._retain(loaded.retained)
        self._term, self._vote = image.term, image.vote
        base = loaded.snapshot.index if loaded.snapshot is not None else 1
        self._commit_index = max(image.commit_index, base)
        self._commit_written = self._commit_index
        self._operations: list[Operation] = []
        self._mark = 0
        self._synced_mark = 0
        self._unsynced: deque[tuple[int, int]] = deque()
        """(mark, last index) of appends that the disk does not hold yet."""
        self.bytes = sum(len(entry[0]) for entry in self._entries)
        self.log_mark = 0
        self.term_mark = 0
        self.synced_index = self.last_index if self._entries else 0

    # what this package asks

    @property
    def first_index(self) -> int:
        return self._entries[0][1]

    @property
    def last_index(self) -> int:
        return self._entries[-1][1]

    @property
    def last_term(self) -> int:
        return self._entries[-1][2]

    @property
    def term(self) -> int:
        return self._term

    @property
    def commit_index(self) -> int:
        return self._commit_index

    @property
    def oldest_index(self) -> int:
        """The first entry that can still be sent; for anything before it a follower needs a snapshot."""
        return self._retained[0][1] if self._retained else self.first_index

    def term_at(self, index: int) -> int:
        return self._at(index)[2]

    def batch(self, first_index: int, limit_bytes: int) -> Sequence[Entry]:
        """Entries from ``first_index`` on, as many as fit the limit and at least one if there is one."""
        found: list[Entry] = []
        size = 0
        for index in range(first_index, self.last_index + 1):
            entry = self._at(index)
            size += len(entry[0])
            if found and size > limit_bytes:
                break
            found.append(entry)
        return found

    def first_of_term(self, term: int) -> int | None:
        """The first entry of the newest term, if that is ``term``."""
        found = None
        for entry in reversed(self._entries):
            if entry[2] != term:
                break
            found = entry[1]
        return found

    def _at(self, index: int) -> Entry:
        position = index - self._entries[0][1]
        if position >= 0:
            return self._entries[position]
        return self._retained[len(self._retained) + position]

    # what goes to the store

    def take(self) -> tuple[list[Operation], int]:
        """The operations since the last call, as one group, and its mark. A lone commit index waits for company."""
        if not self._operations:
            return [], self._mark
        if self._commit_index != self._commit_written:
            self._commit_written = self._commit_index
            self._record(SetCommit(self._commit_index))
        operations, self._operations = self._operations, []
        return operations, self._mark

    def synced(self, mark: int) -> None:
        """The store holds everything up to ``mark``."""
        self._synced_mark = mark
        while self._unsynced and self._unsynced[0][0] <= mark:
            self.synced_index = self._unsynced.popleft()[1]

    def is_synced(self, mark: int) -> bool:
        return mark <= self._synced_mark

    @property
    def all_synced(self) -> bool:
        return max(self.log_mark, self.term_mark) <= self._synced_mark

    def save_snapshot(self, snapshot: SaveSnapshot) -> int:
        """Give a snapshot to the store; it is kept when the mark that comes back is synced."""
        return self._record(snapshot)

    def save_facts(self, facts: Mapping[str, str]) -> None:
        for name, value in facts.items():
            self.save_fact(name, value)

    def save_fact(self, name: str, value: str) -> None:
        self._record(SetFact(name, value))

    def _record(self, operation: Operation) -> int:
        self._mark += 1
        self._operations.append(operation)
        return self._mark

    # the library's interface

    def add(self, command: bytes, idx: int, term: int) -> None:
        entry = (bytes(command), idx, term)
        self._entries.append(entry)
        self.bytes += len(entry[0])
        self.log_mark = self._record(AddEntry(entry))
        self._unsynced.append((self.log_mark, idx))
        if membership.is_configuration(entry[0]):
            self.history.add(idx, membership.decode(entry[0]))

    def clear(self) -> None:
        self._entries = []
        self._retained.clear()
        self._retained_bytes = 0
        self._unsynced.clear()
        self.bytes = self.synced_index = 0
        self.log_mark = self._record(ClearEntries())

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        first_index = self._entries[entryFrom][1] if entryFrom < len(self._entries) else self.last_index + 1
        self.bytes -= sum(len(entry[0]) for entry in self._entries[entryFrom:])
        del self._entries[entryFrom:]
        self.history.cut(first_index)
        self.log_mark = self._record(CutEntries(first_index))
        self.synced_index = min(self.synced_index, first_index - 1)
        self._unsynced = deque((mark, min(index, first_index - 1)) for mark, index in self._unsynced)

    def deleteEntriesTo(self, entryTo: int) -> None:
        """The store has trimmed in the transaction that saved the snapshot; here only memory follows."""
        self.bytes -= sum(len(entry[0]) for entry in self._entries[:entryTo])
        self._retain(self._entries[:entryTo])
        self._entries = self._entries[entryTo:]
        self.history.trim(self.first_index)

    def _retain(self, entries: Sequence[Entry]) -> None:
        self._retained.extend(entries)
        self._retained_bytes += sum(len(entry[0]) for entry in entries)
        entries_max, bytes_max = self._limits.retained_entries, self._limits.retained_bytes
        while self._retained and (len(self._retained) > entries_max or self._retained_bytes > bytes_max):
            self._retained_bytes -= len(self._retained.popleft()[0])

    @overload
    def __getitem__(self, item: int) -> Entry: ...
    @overload
    def __getitem__(self, item: slice) -> list[Entry]: ...
    def __getitem__(self, item: int | slice) -> Entry | list[Entry]:
        return self._entries[item]

    def __len__(self) -> int:
        return len(self._entries)

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        self._commit_index = raftCommitIndex

    def getRaftCommitIndex(self) -> int:
        return self._commit_index

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        self._term, self._vote = term, votedForNodeId
        self.term_mark = self._record(SetTerm(term, votedForNodeId))

    def getCurrentTerm(self) -> int:
        return self._term

    def getVotedForNodeId(self) -> str | None:
        return self._vote

    def onOneSecondTimer(self) -> None:
        """Writes a commit index that moved while nothing else did."""
        if self._commit_index != self._commit_written and not self._operations:
            self._commit_written = self._commit_index
            self._record(SetCommit(self._commit_index))

    def _destroy(self) -> None:
        """The store has its own owner."""


def _history(loaded: Loaded, founding: Configuration | None) -> History:
    """The members as snapshot and entries name them."""
    history = History(0, founding)
    if loaded.snapshot is not None:
        history.reset(loaded.snapshot.members_index, loaded.snapshot.members)
    for data, index, _ in loaded.retained + loaded.entries:
        if membership.is_configuration(data) and index > history.newest_index:
            history.add(index, membership.decode(data))
    return history
