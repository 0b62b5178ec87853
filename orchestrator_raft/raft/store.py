"""What a node keeps: journal, term, vote, commit index, snapshots and facts about itself, behind one small interface.

Rules
- Everything that changes is an ``Operation``. Operations are written in order, in groups; a group is on disk whole or
  not at all. Each has a mark, a rising number: when ``synced_mark`` has reached it, it survives a power cut.
- The newest two snapshots are kept, and the journal from the older one on: a snapshot that turns out to be unreadable
  costs a longer start, not the data.
- ``Image`` is the meaning of the operations, as a plain value. The memory store is nothing but an image; the SQLite
  store must load as the image says, which is tested with random operations; the simulator's forgets the unsynced.
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgpack

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft import membership
from orchestrator_raft.raft.appends import Entry
from orchestrator_raft.raft.membership import Configuration
from orchestrator_raft.raft.packed import unpacked

SNAPSHOTS_KEPT = 2
START_OVER = (
    "remove this node from the cluster (raftctl member remove), empty its RaftDataDir, start it and add it again "
    "(raftctl member add): it then gets everything from the others"
)
"""The way out for a node whose store must not be used."""
SNAPSHOT_MAGIC = b"ORS1"
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class AddEntry:
    entry: Entry


@dataclass(frozen=True, slots=True)
class CutEntries:
    """Entries from ``first_index`` on go away."""

    first_index: int


@dataclass(frozen=True, slots=True)
class ClearEntries:
    """The whole journal goes away, and snapshots older than the newest with it."""


@dataclass(frozen=True, slots=True)
class SetTerm:
    term: int
    vote: str | None


@dataclass(frozen=True, slots=True)
class SetCommit:
    """A hint that saves time at the next start; it promises nothing and waits for no disk."""

    index: int


@dataclass(frozen=True, slots=True)
class SetFact:
    name: str
    value: str


@dataclass(slots=True)
class SaveSnapshot:
    """A snapshot that ends with entry ``index``. ``build`` may run in the store's thread: it sees immutable values."""

    index: int
    build: Callable[[], bytes]
    data: bytes | None = None

    def built(self) -> bytes:
        if self.data is None:
            self.data = self.build()
        return self.data


Operation = AddEntry | CutEntries | ClearEntries | SetTerm | SetCommit | SetFact | SaveSnapshot


@dataclass(slots=True)
class Image:
    """What a store holds, and the meaning of every operation."""

    term: int = 0
    vote: str | None = None
    commit_index: int = 1
    entries: list[Entry] = field(default_factory=list)
    snapshots: list[tuple[int, bytes]] = field(default_factory=list)
    """(index, encoded), oldest first."""
    facts: dict[str, str] = field(default_factory=dict)

    def apply(self, operation: Operation) -> None:
        match operation:
            case AddEntry(entry):
                self.entries.append(entry)
            case CutEntries(first_index):
                self.entries = [entry for entry in self.entries if entry[1] < first_index]
            case ClearEntries():
                self.entries = []
                self.snapshots = self.snapshots[-1:]
            case SetTerm(term, vote):
                self.term, self.vote = term, vote
            case SetCommit(index):
                self.commit_index = index
            case SetFact(name, value):
                self.facts[name] = value
            case SaveSnapshot():
                self._save(operation)

    def _save(self, operation: SaveSnapshot) -> None:
        others = [kept for kept in self.snapshots if kept[0] != operation.index]
        self.snapshots = sorted([*others, (operation.index, operation.built())])[-SNAPSHOTS_KEPT:]
        oldest = self.snapshots[0][0]
        self.entries = [entry for entry in self.entries if entry[1] >= oldest - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A state, and where in the log it stands: ``last`` is the last entry in it, ``previous`` the one before."""

    previous: Entry
    last: Entry
    members_index: int
    """The entry in which the members stand; 0 where they are those of the founding."""
    members: Configuration
    digest: bytes
    state: bytes

    @property
    def index(self) -> int:
        return self.last[1]

    def encode(self) -> bytes:
        members = self.members_index, membership.encode(self.members)
        plain = {"v": 1, "previous": self.previous, "last": self.last, "members": members,
                 "digest": self.digest, "state": self.state}  # fmt: skip
        body = zlib.compress(msgpack.packb(plain, use_bin_type=True), 1)
        return SNAPSHOT_MAGIC + hashlib.sha256(body).digest() + body


def decode_snapshot(data: bytes, limit_bytes: int) -> Snapshot:
    """The snapshot in ``data``. Raises ValueError with the reason for anything that is not a whole snapshot."""
    head = len(SNAPSHOT_MAGIC) + _DIGEST_BYTES
    if data[: len(SNAPSHOT_MAGIC)] != SNAPSHOT_MAGIC:
        raise ValueError("it is no snapshot of this format")
    body = data[head:]
    if hashlib.sha256(body).digest() != data[len(SNAPSHOT_MAGIC) : head]:
        raise ValueError("its checksum is wrong")
    try:
        plain = unpacked(_decompress(body, limit_bytes), arrays=tuple, maps=True)
        if type(plain) is not dict or plain.get("v") != 1:
            raise ValueError("it is in a format that this version does not read")
        index, members = plain["members"]
        return Snapshot(previous=_entry(plain["previous"]), last=_entry(plain["last"]), members_index=_index(index),
                        members=membership.decode(_bytes(members)), digest=_bytes(plain["digest"]),
                        state=_bytes(plain["state"]))  # fmt: skip
    except (zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"its content is malformed: {type(error).__name__}") from error


def _decompress(body: bytes, limit_bytes: int) -> bytes:
    unpacker = zlib.decompressobj()
    plain = unpacker.decompress(body, limit_bytes)
    if not unpacker.eof:
        raise ValueError(f"it is cut off or larger than {limit_bytes} bytes")
    return plain


def _entry(plain: Any) -> Entry:
    data, index, term = plain
    if type(data) is not bytes or type(index) is not int or type(term) is not int:
        raise ValueError("an entry in it is malformed")
    return data, index, term


def _bytes(plain: Any) -> bytes:
    if type(plain) is not bytes:
        raise ValueError("bytes in it are malformed")
    return plain


def _index(plain: Any) -> int:
    if type(plain) is not int:
        raise ValueError("the place of its members is malformed")
    return plain


class Store(Protocol):
    """Where a node keeps things. One user; ``load`` first, then ``write``."""

    where: str
    """Names the store in messages: a file, or memory."""

    @property
    def synced_mark(self) -> int:
        """Everything up to this mark is on disk."""

    def load(self) -> Image:
        """What was kept. Raises StartupError that names the file and the way out."""

    def write(self, operations: Sequence[Operation], mark: int) -> None:
        """Start to write one group whose last operation has ``mark``; ``synced_mark`` tells when it is done."""

    def size_bytes(self) -> int: ...

    def close(self) -> None:
        """Write what was given, then let go."""


class MemoryStore:
    """Keeps everything as long as the process lives: for a node that is alone and has no directory, and for tests."""

    where = "memory"

    def __init__(self, image: Image | None = None) -> None:
        self.image = image or Image()
        self.synced_mark = 0

    def load(self) -> Image:
        return self.image

    def write(self, operations: Sequence[Operation], mark: int) -> None:
        for operation in operations:
            self.image.apply(operation)
        self.synced_mark = mark

    def size_bytes(self) -> int:
        return sum(len(entry[0]) for entry in self.image.entries) + sum(len(data) for _, data in self.image.snapshots)

    def close(self) -> None:
        """Nothing to let go."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A start-up's view of an image: the newest readable snapshot, the journal behind it, and older entries."""

    snapshot: Snapshot | None
    encoded: bytes
    entries: list[Entry]
    retained: list[Entry]
    unreadable: tuple[str, ...]
    """Snapshots that had to be passed over, with the reason."""


def choose(image: Image, where: str, limit_bytes: int) -> Loaded:
    """Where to start from. Raises StartupError if the parts of the image do not fit together."""
    unreadable: list[str] = []
    for index, data in reversed(image.snapshots):
        try:
            snapshot = decode_snapshot(data, limit_bytes)
        except ValueError as error:
            unreadable.append(f"snapshot {index}: {error}")
            continue
        loaded = Loaded(snapshot, data, [entry for entry in image.entries if entry[1] >= index - 1],
                        [entry for entry in image.entries if entry[1] < index - 1], tuple(unreadable))  # fmt: skip
        if loaded.entries[:2] == [snapshot.previous, snapshot.last]:
            _check(image, loaded.retained + loaded.entries, where)
            return loaded
        unreadable.append(f"snapshot {index}: the journal does not continue it")
    if image.snapshots or (image.entries and image.entries[0][1] != 1):
        raise damaged(where, "; ".join(unreadable) or "its beginning is missing and there is no snapshot")
    _check(image, image.entries, where)
    return Loaded(None, b"", list(image.entries), [], ())


def _check(image: Image, entries: list[Entry], where: str) -> None:
    for before, after in itertools.pairwise(entries):
        if after[1] != before[1] + 1 or after[2] < before[2]:
            raise damaged(where, f"entry {after[1]} of term {after[2]} follows entry {before[1]} of term {before[2]}")
    if entries and image.commit_index > entries[-1][1]:
        raise damaged(where, f"everything up to {image.commit_index} is committed, but it ends with {entries[-1][1]}")
    if entries and image.term < entries[-1][2]:
        raise damaged(where, f"its term is {image.term}, but it holds an entry of term {entries[-1][2]}")


def damaged(where: str, cause: str) -> StartupError:
    return StartupError(
        f"{where} is damaged and this node must not start from it: {cause}. If the other nodes are a healthy majority, "
        f"{START_OVER}"
    )
