"""A leader's sending: what each follower has, what it gets next, and snapshots for those too far behind.

PySyncObj decides *when* a heartbeat is due and *what* is committed; which entries travel is decided here, from the
journal: each entry once per connection, what is outstanding in one message, at most ``in_flight_bytes`` unacknowledged.

Rules
- Learners and members that are to hear of their removal are sent the same; what they have is never told the library.
- A follower's claim counts only up to this node's own synced index, because the library counts this node for everything
  in its journal (design D5): ``Progress.counted``.
- Connections keep order, so entries are sent ahead of the answers; a new connection starts again behind what was
  acknowledged.
- While a snapshot travels, a few pieces at a time, its follower gets plain heartbeats in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field

from orchestrator_raft.raft.appends import Entry
from orchestrator_raft.raft.journal import Journal
from orchestrator_raft.raft.messages import Ack, Append, Heartbeat, RaftMessage, SnapshotPart, SnapshotProgress
from orchestrator_raft.raft.settings import Limits

PARTS_ON_THE_WAY = 4


@dataclass(slots=True)
class Transfer:
    """A snapshot on its way to one follower."""

    index: int
    data: bytes
    sent: int = 0
    taken: int = 0


@dataclass(slots=True)
class Progress:
    """What is known of one follower in this term."""

    next_index: int
    match_index: int = 0
    """Everything up to here is on its disk."""
    counted: int = 0
    """What the library was told of that."""
    told_commit: int = 0
    heartbeat_due: bool = True
    probing: bool = True
    """It is not known where its log ends: one append at a time, until one succeeds."""
    probed: bool = False
    in_flight: deque[tuple[int, int]] = field(default_factory=deque)
    """(last index, bytes) of appends without an answer."""
    in_flight_bytes: int = 0
    transfer: Transfer | None = None

    def landed(self, index: int) -> None:
        while self.in_flight and self.in_flight[0][0] <= index:
            self.in_flight_bytes -= self.in_flight.popleft()[1]

    def probe(self, next_index: int) -> None:
        """Nothing counts as on the way any more; find out from here."""
        self.next_index = next_index
        self.probing, self.probed = True, False
        self.in_flight.clear()
        self.in_flight_bytes = 0


class Replication:
    def __init__(self, journal: Journal, limits: Limits) -> None:
        self._journal = journal
        self._limits = limits
        self._followers: dict[str, Progress] = {}
        self._leads = False
        self._connected: set[str] = set()
        self.snapshot: tuple[int, bytes] | None = None
        """(index, encoded) of the newest snapshot."""

    # role and connections

    def begin(self, followers: Iterable[str]) -> None:
        """This node has become leader: its first entry is the last of the journal."""
        self._leads = True
        self._followers = {follower: Progress(self._journal.last_index) for follower in followers}

    def follow(self, followers: Iterable[str], voters: Container[str]) -> None:
        """A leader's followers are these from now on. Who becomes a voter must be counted from the beginning."""
        if not self._leads:
            return
        kept = self._followers
        self._followers = {each: kept.get(each) or Progress(self._journal.last_index) for each in followers}
        for peer, progress in self._followers.items():
            progress.counted = progress.counted if peer in voters else 0

    def forget(self, peer: str) -> None:
        """Nothing is known any more of what it has."""
        if self._followers.pop(peer, None) is not None:
            self._followers[peer] = Progress(self._journal.last_index)

    def end(self) -> None:
        self._followers = {}
        self._leads = False

    def was_told(self, peer: str, index: int) -> bool:
        """Whether it has that entry, and was told that it is committed."""
        progress = self._followers.get(peer)
        return progress is None or min(progress.match_index, progress.told_commit) >= index

    def connected(self, peer: str) -> None:
        self._connected.add(peer)
        progress = self._followers.get(peer)
        if progress is None:
            return
        progress.probe(progress.match_index + 1 if progress.match_index else self._journal.last_index)
        progress.transfer = None

    def disconnected(self, peer: str) -> None:
        self._connected.discard(peer)

    @property
    def connections(self) -> frozenset[str]:
        return frozenset(self._connected)

    def match_index(self, peer: str) -> int | None:
        progress = self._followers.get(peer)
        return None if progress is None else progress.match_index

    def all_match(self, peer: str) -> bool:
        return self.match_index(peer) == self._journal.last_index

    def best_follower(self, voters: Container[str]) -> str | None:
        """The connected voter that has most."""
        candidates = [
            (progress.match_index, peer)
            for peer, progress in self._followers.items()
            if peer in self._connected and peer in voters
        ]
        return max(candidates)[1] if candidates else None

    # answers

    def heartbeat_due(self, peer: str) -> None:
        if peer in self._followers:
            self._followers[peer].heartbeat_due = True

    def heartbeats_due(self, voters: Container[str]) -> None:
        """For those of whom the library knows nothing."""
        for peer, progress in self._followers.items():
            progress.heartbeat_due = progress.heartbeat_due or peer not in voters

    def answered(self, peer: str, ack: Ack) -> None:
        """The follower says what it has; an answer that cannot be true changes nothing."""
        progress = self._followers.get(peer)
        if progress is None or not 1 < ack.next_index <= self._journal.last_index + 1:
            return
        if ack.success:
            progress.probing = False
            progress.match_index = max(progress.match_index, ack.next_index - 1)
            progress.next_index = max(progress.next_index, ack.next_index)
            progress.landed(ack.next_index - 1)
            if progress.transfer is not None and ack.next_index > progress.transfer.index:
                progress.transfer = None
        elif not progress.probing or ack.asked_index == progress.next_index - 1:
            progress.probe(ack.next_index)

    def taken(self, peer: str, message: SnapshotProgress) -> None:
        progress = self._followers.get(peer)
        transfer = progress.transfer if progress is not None else None
        if transfer is not None and message.index == transfer.index:
            transfer.taken = max(transfer.taken, min(message.offset, transfer.sent))

    def provable(self, voters: Container[str]) -> Iterator[tuple[str, int]]:
        """(voter, index) for everything that may newly count, now that this node's disk has it, too."""
        for peer, progress in self._followers.items():
            if peer not in voters:
                continue
            index = min(progress.match_index, self._journal.synced_index)
            if index > progress.counted:
                progress.counted = index
                yield peer, index

    # sending

    def outgoing(self, *, term: int, commit_index: int, now_s: float) -> Iterator[tuple[str, RaftMessage]]:
        """Everything that should go now."""
        for peer in sorted(self._connected & self._followers.keys()):
            progress = self._followers[peer]
            if progress.transfer is None and progress.next_index - 1 < self._journal.oldest_index:
                self._start_transfer(progress)
            sender = self._parts if progress.transfer is not None else self._appends
            for message in sender(progress, term, commit_index, now_s):
                yield peer, message

    def _start_transfer(self, progress: Progress) -> None:
        if self.snapshot is None:
            raise RuntimeError(f"entry {progress.next_index} is neither in the journal nor in a snapshot")
        progress.transfer = Transfer(*self.snapshot)

    def _parts(self, progress: Progress, term: int, commit_index: int, now_s: float) -> Iterator[RaftMessage]:
        del commit_index
        transfer = progress.transfer
        assert transfer is not None
        if progress.heartbeat_due:
            progress.heartbeat_due = False
            yield Heartbeat(term, now_s)
        chunk_bytes = self._limits.snapshot_chunk_bytes
        while transfer.sent < len(transfer.data) and transfer.sent - transfer.taken < PARTS_ON_THE_WAY * chunk_bytes:
            data = transfer.data[transfer.sent : transfer.sent + chunk_bytes]
            yield SnapshotPart(term, transfer.index, len(transfer.data), transfer.sent, data)
            transfer.sent += len(data)

    def _appends(self, progress: Progress, term: int, commit_index: int, now_s: float) -> Iterator[RaftMessage]:
        journal, limits = self._journal, self._limits
        must_speak = progress.heartbeat_due or progress.told_commit != commit_index
        must_speak = must_speak or (progress.probing and not progress.probed)
        while must_speak or (progress.next_index <= journal.last_index and not progress.probing):
            previous = progress.next_index - 1
            entries: tuple[Entry, ...] = ()
            if progress.in_flight_bytes < limits.in_flight_bytes:
                entries = tuple(journal.batch(progress.next_index, limits.batch_bytes))
            if not entries and not must_speak:
                return
            yield Append(term, previous, journal.term_at(previous), commit_index, now_s, entries)
            must_speak = progress.heartbeat_due = False
            progress.told_commit = commit_index
            progress.probed = True
            if entries and not progress.probing:
                size = sum(len(entry[0]) for entry in entries)
                progress.next_index = entries[-1][1] + 1
                progress.in_flight.append((entries[-1][1], size))
                progress.in_flight_bytes += size
