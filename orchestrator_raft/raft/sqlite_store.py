"""The store on disk: one SQLite file, one thread that writes it, one fsync for everything that waits (design D5).

Rules
- WAL with synchronous=FULL: a group is committed by one transaction, and it counts as synced when COMMIT has returned.
- The thread takes all groups that wait into one transaction, so under load many commands share an fsync. It is the
  only thread of a node; an fsync therefore never delays a heartbeat.
- Every row has a checksum, since SQLite checks the form of its pages but not their content. Damaged, foreign or newer
  files are refused with the file's name and the way out, and never touched; nothing in them is executed.
- An error while writing (disk full, failed fsync) is final: nothing is marked synced any more, the owner is told once.
- A new file is made under another name and renamed when it is whole, so a file that is there is never half made.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.appends import Entry
from orchestrator_raft.raft.packed import shown
from orchestrator_raft.raft.store import (
    SNAPSHOTS_KEPT,
    AddEntry,
    ClearEntries,
    CutEntries,
    Image,
    Operation,
    SaveSnapshot,
    SetCommit,
    SetFact,
    SetTerm,
    damaged,
)  # fmt: skip

APPLICATION_ID = 0x6F726166
FORMAT = 1
CLOSE_TIMEOUT_S = 10.0
SQLITE_HEADER = b"SQLite format 3\0"
TABLES = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL)",
    "CREATE TABLE vote (one INTEGER PRIMARY KEY, term INTEGER NOT NULL, vote TEXT, checksum INTEGER NOT NULL)",
    "CREATE TABLE hint (one INTEGER PRIMARY KEY, commit_index INTEGER NOT NULL, checksum INTEGER NOT NULL)",
    "CREATE TABLE journal (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, data BLOB NOT NULL, checksum INT NOT NULL)",
    "CREATE TABLE snapshot (idx INTEGER PRIMARY KEY, data BLOB NOT NULL)",
)
"""A file with anything else in it, a view or a trigger say, is not read at all."""
NOT_DAMAGE = frozenset(
    (sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
     sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH)
)  # fmt: skip
"""Errors of the file's surroundings; every other one means that its content is wrong."""
Notify = Callable[[Callable[[], None]], object]
Group = tuple[Sequence[Operation], int]


class SqliteStore:
    """One file. ``notify`` carries calls from the writing thread to the owner's loop: ``call_soon_threadsafe``."""

    def __init__(
        self, path: Path, *, notify: Notify, on_synced: Callable[[], None], on_failure: Callable[[BaseException], None]
    ) -> None:
        self.where = str(path)
        self.synced_mark = 0
        self._path = path
        self._notify = notify
        self._on_synced = on_synced
        self._on_failure = on_failure
        self._groups: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._thread: threading.Thread | None = None
        self._owner_left = False

    def load(self) -> Image:
        """Open or create the file, check it, read it, and start the thread. Raises StartupError."""
        try:
            self._connection = _open(self._path)
            image = _read(self._connection, self.where)
        except sqlite3.DatabaseError as error:
            raise _refusal(self._path, error) from error
        except OSError as error:
            raise StartupError(f"{self.where} cannot be opened: {error.strerror or error}; check its rights") from error
        except (TypeError, ValueError) as error:
            raise damaged(self.where, str(error)) from error
        self._thread = threading.Thread(target=self._run, name="raft-store", daemon=True)
        self._thread.start()
        return image

    def write(self, operations: Sequence[Operation], mark: int) -> None:
        self._groups.put((operations, mark))

    def size_bytes(self) -> int:
        """Of the file and its write-ahead log."""
        parts = [self._path, self._path.with_name(self._path.name + "-wal")]
        return sum(part.stat().st_size for part in parts if part.exists())

    @property
    def is_writing(self) -> bool:
        """After ``close``: the disk hangs, and what was given may still reach the file until the process ends."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Write what was given and close the file; waits for that at most ``CLOSE_TIMEOUT_S``: see ``is_writing``."""
        if self._thread is not None:
            self._groups.put(None)
            self._thread.join(CLOSE_TIMEOUT_S)
            self._owner_left = True
            if self._thread.is_alive():
                return
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self) -> None:
        assert self._connection is not None
        closing = False
        while not closing:
            groups, closing = self._waiting()
            if not groups:
                continue
            try:
                _write(self._connection, groups)
            except Exception as error:  # noqa: BLE001 - handed to the owner, who stops the node
                self._tell(partial(self._on_failure, error))
                return
            self._tell(partial(self._synced, groups[-1][1]))

    def _tell(self, news: Callable[[], None]) -> None:
        if not self._owner_left:
            self._notify(news)

    def _waiting(self) -> tuple[list[Group], bool]:
        """All groups that wait, at least one unless the store is closing."""
        groups: list[Group] = []
        group = self._groups.get()
        while group is not None:
            groups.append(group)
            try:
                group = self._groups.get_nowait()
            except queue.Empty:
                return groups, False
        return groups, True

    def _synced(self, mark: int) -> None:
        self.synced_mark = mark
        self._on_synced()


def _refusal(path: Path, error: sqlite3.DatabaseError) -> StartupError:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in NOT_DAMAGE:
        return StartupError(
            f"{path} cannot be opened ({error}): check its rights and the space on its disk, then start again"
        )
    return damaged(str(path), str(error))


def _open(path: Path) -> sqlite3.Connection:
    if not path.exists():
        _create(path)
    with path.open("rb") as file:
        header = file.read(len(SQLITE_HEADER))
    if header != SQLITE_HEADER:
        raise damaged(str(path), "it is no SQLite file" if header else "it is empty")
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        _check_format(connection, str(path))
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    unfinished = path.with_name(path.name + ".new")
    for suffix in (".new", "-wal", "-shm"):
        # a write-ahead log whose file was moved away would be replayed into the new file
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    connection = sqlite3.connect(unfinished, isolation_level=None)
    unfinished.chmod(0o600)
    connection.execute("BEGIN")
    for table in TABLES:
        connection.execute(table)
    connection.execute("INSERT INTO vote VALUES (1, 0, NULL, ?)", (_checksum_of(0, None),))
    connection.execute("INSERT INTO hint VALUES (1, 1, ?)", (_checksum_of(1),))
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={FORMAT}")
    connection.execute("COMMIT")
    connection.close()
    unfinished.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_format(connection: sqlite3.Connection, where: str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StartupError(f"{where} is a database of another program: give this node another RaftDataDir")
    if version > FORMAT:
        raise StartupError(
            f"{where} is in format {version}, this version reads up to {FORMAT}: start the newer version"
        )
    found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    if found != set(TABLES):
        raise damaged(where, "its tables are not those of a store")


def _read(connection: sqlite3.Connection, where: str) -> Image:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise damaged(where, " ".join(str(verdict).split()))
    term, vote = _read_vote(connection)
    return Image(
        term=term,
        vote=vote,
        commit_index=_read_commit_index(connection),
        entries=_read_entries(connection),
        snapshots=list(connection.execute("SELECT idx, CAST(data AS BLOB) FROM snapshot ORDER BY idx")),
        facts=_read_facts(connection),
    )


def _read_vote(connection: sqlite3.Connection) -> tuple[int, str | None]:
    ((term, vote, checksum),) = connection.execute("SELECT term, vote, checksum FROM vote")
    if type(term) is not int or not isinstance(vote, str | None) or checksum != _checksum_of(term, vote):
        raise ValueError("the checksum of its term and vote is wrong")
    return term, vote


def _read_commit_index(connection: sqlite3.Connection) -> int:
    ((commit_index, checksum),) = connection.execute("SELECT commit_index, checksum FROM hint")
    if type(commit_index) is not int or checksum != _checksum_of(commit_index):
        raise ValueError("the checksum of its commit index is wrong")
    return commit_index


def _read_facts(connection: sqlite3.Connection) -> dict[str, str]:
    facts: dict[str, str] = {}
    for name, value, checksum in connection.execute("SELECT name, value, checksum FROM facts"):
        if type(name) is not str or type(value) is not str or checksum != _checksum_of(name, value):
            raise ValueError(f"the checksum of the fact {shown(name)} is wrong")
        facts[name] = value
    return facts


def _read_entries(connection: sqlite3.Connection) -> list[Entry]:
    entries: list[Entry] = []
    rows = connection.execute("SELECT idx, term, CAST(data AS BLOB), checksum FROM journal ORDER BY idx")
    for index, term, data, checksum in rows:
        entry = (data, index, term)
        if type(term) is not int or not data or checksum != _checksum(entry):
            raise ValueError(f"the checksum of entry {index} is wrong")
        entries.append(entry)
    return entries


def _checksum(entry: Entry) -> int:
    data, index, term = entry
    return zlib.crc32(data, zlib.crc32(b"%d/%d" % (index, term)))


def _checksum_of(*values: str | int | None) -> int:
    return zlib.crc32(repr(values).encode(errors="surrogatepass"))


def _write(connection: sqlite3.Connection, groups: Sequence[Group]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for operations, _ in groups:
        for operation in operations:
            _execute(connection, operation)
    connection.execute("COMMIT")


def _execute(connection: sqlite3.Connection, operation: Operation) -> None:
    execute = connection.execute
    match operation:
        case AddEntry((data, index, term) as entry):
            execute("INSERT INTO journal VALUES (?, ?, ?, ?)", (index, term, data, _checksum(entry)))
        case CutEntries(first_index):
            execute("DELETE FROM journal WHERE idx >= ?", (first_index,))
        case ClearEntries():
            execute("DELETE FROM journal")
            execute("DELETE FROM snapshot WHERE idx < (SELECT max(idx) FROM snapshot)")
        case SetTerm(term, vote):
            execute("UPDATE vote SET term = ?, vote = ?, checksum = ?", (term, vote, _checksum_of(term, vote)))
        case SetCommit(index):
            execute("UPDATE hint SET commit_index = ?, checksum = ?", (index, _checksum_of(index)))
        case SetFact(name, value):
            execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (name, value, _checksum_of(name, value)))
        case SaveSnapshot(index=index):
            _save(connection, index, operation.built())


def _save(connection: sqlite3.Connection, index: int, data: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?)", (index, data))
    kept = "SELECT idx FROM snapshot ORDER BY idx DESC LIMIT ?"
    connection.execute(f"DELETE FROM snapshot WHERE idx NOT IN ({kept})", (SNAPSHOTS_KEPT,))
    connection.execute("DELETE FROM journal WHERE idx < (SELECT min(idx) FROM snapshot) - 1")
