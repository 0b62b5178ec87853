"""Snapshots on one node: taking them, starting from one, and receiving one in pieces.

Rules
- A snapshot and the trimming of the journal are one transaction of the store; the library trims its memory only after
  that has been synced. So there is no moment in which entries are gone and no snapshot holds them.
- A snapshot is encoded in the store's thread, from immutable values, so that a large state delays no heartbeat.
- One is taken when the journal is long, or would take long to apply again at the next start, but so that no more than a
  third of the time goes into taking them.
- A received snapshot is checked whole before anything is replaced, and it is refused where this node already has what
  is in it, because the library would clear a longer log for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator_raft.raft.appends import Entry
from orchestrator_raft.raft.clock import Clock
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.journal import Journal
from orchestrator_raft.raft.machine import Replicated
from orchestrator_raft.raft.messages import SnapshotPart
from orchestrator_raft.raft.replication import Replication
from orchestrator_raft.raft.seam import Library, Snapshots
from orchestrator_raft.raft.settings import Limits
from orchestrator_raft.raft.store import Loaded, SaveSnapshot, Snapshot, decode_snapshot

SAVED_FACT = "snapshot_saved_s"
REPLAYS_PER_SNAPSHOT = 2
"""So many times longer than taking the last snapshot must applying the journal take before the next one is worth it."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest snapshot, for people."""

    index: int
    bytes: int
    age_s: float | None
    """None where an older version has taken it."""


class Incoming:
    """A snapshot that arrives in pieces from one peer."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._from = ""
        self._index = 0
        self._data = bytearray()

    def add(self, peer: str, part: SnapshotPart) -> tuple[int, bytes | None]:
        """(bytes so far, everything if it is complete). A piece out of place changes nothing. Raises ProtocolError."""
        if not 0 < part.size <= self.limit_bytes or part.offset + len(part.data) > part.size:
            raise ProtocolError(f"a snapshot of {part.size} bytes, at most {self.limit_bytes} are allowed")
        if part.offset == 0:
            self._from, self._index, self._data = peer, part.index, bytearray()
        if (peer, part.index, part.offset) != (self._from, self._index, len(self._data)):
            return len(self._data), None
        self._data += part.data
        if len(self._data) < part.size:
            return len(self._data), None
        whole = bytes(self._data)
        self.forget(peer)
        return len(whole), whole

    def forget(self, peer: str) -> None:
        if peer == self._from:
            self._from, self._index, self._data = "", 0, bytearray()


class Compaction:
    """Stands between the library's idea of snapshots (``face``) and the journal, the state and the store."""

    def __init__(
        self, journal: Journal, replicated: Replicated[Any, Any, Any], replication: Replication, incoming: Incoming,
        *, limits: Limits, clock: Clock, wall: Clock, saved_s: str | None,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._replicated = replicated
        self._replication = replication
        self._limit_bytes = incoming.limit_bytes
        self._limits = limits
        self._clock = clock
        self._replay_s = self._begun_s = self._took_s = 0.0
        self._wall = wall
        self._saved_s = float(saved_s) if saved_s is not None else None
        self._taking: tuple[SaveSnapshot, int] | None = None
        self._restoring: Snapshot | None = None
        self.is_wanted = False
        """Somebody has asked for one."""
        self.face = Snapshots()
        self.face.take = self._take
        self.face.is_saved = self._is_saved
        self.face.restore = self._restore

    @property
    def is_taking(self) -> bool:
        return self._taking is not None

    @property
    def is_due(self) -> bool:
        """Whether a snapshot should be taken soon. None is before this node knows who the members are: a newcomer may
        read for a while what the founders wrote before the log named them."""
        journal, limits = self._journal, self._limits
        if self.is_taking or journal.history.at(journal.commit_index) is None:
            return False
        slow = self._replay_s > max(limits.replay_s, REPLAYS_PER_SNAPSHOT * self._took_s)
        return self.is_wanted or slow or len(journal) > limits.journal_entries or journal.bytes > limits.journal_bytes

    def apply(self, index: int, data: bytes) -> None:
        """Apply an entry, and count the time that this would take again at the next start."""
        begun_s = self._clock()
        self._replicated.apply(index, data)
        self._replay_s += self._clock() - begun_s

    def newest(self) -> Newest | None:
        known = self._replication.snapshot
        if known is None:
            return None
        age_s = None if self._saved_s is None else max(0.0, self._wall() - self._saved_s)
        return Newest(known[0], len(known[1]), age_s)

    def restore(self, loaded: Loaded, library: Library) -> None:
        """At the start: the newest snapshot of the store, if there is one."""
        if loaded.snapshot is not None:
            self._replication.snapshot = (loaded.snapshot.index, loaded.encoded)
            self._restoring = loaded.snapshot
            library.restore(loaded.snapshot.index)

    def install(self, peer: str, term: int, data: bytes, library: Library) -> int:
        """Take a leader's snapshot, unless everything in it is here. Gives the next index wanted from the leader.

        Raises ProtocolError for a damaged one; an error of the machine's codec goes through and stops the node.
        """
        try:
            snapshot = decode_snapshot(data, self._limit_bytes)
        except ValueError as error:
            raise ProtocolError(f"a snapshot arrived damaged: {error}") from error
        index, term_there = snapshot.index, snapshot.last[2]
        if index <= library.applied_index:
            return library.commit_index + 1
        if index <= self._journal.last_index and self._journal.term_at(index) == term_there:
            return index + 1
        self._journal.save_snapshot(SaveSnapshot(index, lambda: data))
        self._note_time()
        self._restoring = snapshot
        library.install(peer, term, index)
        self._journal.history.reset(snapshot.members_index, snapshot.members)
        self._replication.snapshot = (index, data)
        return index + 1

    def _take(self, previous: Entry, last: Entry) -> None:
        known = self._journal.history.at(last[1])
        if known is None:
            raise RuntimeError(f"entry {last[1]} is applied, but nothing before it says who the members are")
        operation = SaveSnapshot(last[1], self._replicated.snapshot(previous, last, known))
        self._taking = operation, self._journal.save_snapshot(operation)
        self._replay_s, self._begun_s, self.is_wanted = 0.0, self._clock(), False
        self._note_time()

    def _note_time(self) -> None:
        self._saved_s = self._wall()
        self._journal.save_fact(SAVED_FACT, f"{self._saved_s:.3f}")

    def _is_saved(self) -> bool:
        if self._taking is None or not self._journal.is_synced(self._taking[1]):
            return False
        (operation, _), self._taking = self._taking, None
        self._took_s = self._clock() - self._begun_s
        newest = self._replication.snapshot
        if newest is None or operation.index > newest[0]:
            self._replication.snapshot = (operation.index, operation.built())
        return True

    def _restore(self) -> tuple[Entry, Entry]:
        snapshot = self._restoring
        if snapshot is None:
            raise RuntimeError("PySyncObj wants to load a snapshot that nobody gave it")
        self._restoring = None
        self._replicated.restore(snapshot)
        return snapshot.previous, snapshot.last
