"""Real inputs to begin with: one of every message and command, states, a snapshot, databases with and without a log."""

from __future__ import annotations

import dataclasses
import tempfile
import types
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Union, get_args, get_origin, get_type_hints

from orchestrator_raft.app.consensus import codec
from orchestrator_raft.core.gtid import GtidSet, parse
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated import COMMANDS, State
from orchestrator_raft.raft import messages
from orchestrator_raft.raft.sqlite_store import SqliteStore
from orchestrator_raft.raft.store import AddEntry, Operation, SaveSnapshot, SetCommit, SetFact, SetTerm, Snapshot

PLAIN = {str: "x1", int: 3, float: 0.5, bool: True, bytes: b"\0bytes"}
DEPTH_MAX = 12


def sample(kind: Any, depth: int = 0) -> Any:
    """A value of ``kind`` with something in every field, as far as ``DEPTH_MAX`` allows."""
    if kind in PLAIN:
        return PLAIN[kind]
    if isinstance(kind, type) and issubclass(kind, GtidSet):
        return parse("mysql", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7")
    if kind is InstanceKey:
        return InstanceKey("x1", 3)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        given = [field.name for field in dataclasses.fields(kind) if field.init]
        return kind(**{name: sample(hints[name], depth + 1) for name in given})
    return _container(kind, depth)


def _container(kind: Any, depth: int) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    is_deep = depth > DEPTH_MAX
    if origin in (Union, types.UnionType):
        return None if is_deep and types.NoneType in arguments else sample(_first(arguments), depth + 1)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return tuple(sample(argument, depth + 1) for argument in arguments)
    made = [] if is_deep else [tuple(sample(argument, depth + 1) for argument in arguments if argument is not Ellipsis)]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict(made)
    items = [item for (item,) in made]
    return frozenset(items) if origin in (frozenset, set) else tuple(items)


def _first(members: Sequence[Any]) -> Any:
    return next(member for member in members if member is not types.NoneType)


@cache
def encoded_messages() -> list[bytes]:
    made = [sample(kind) for kind in messages.TAGS.values() if kind is not messages.Append]
    entries = ((b"\0x", 4, 1), (b"\1", 5, 2))
    return [messages.encode(message) for message in [messages.Append(3, 3, 1, 2, 0.5, entries), *made]]


@cache
def encoded_commands() -> list[bytes]:
    return [codec().encode_command(sample(kind)) for kind in COMMANDS]


@cache
def encoded_states() -> list[bytes]:
    return [codec().encode_state(State()), codec().encode_state(sample(State))]


def snapshot_of(index: int) -> bytes:
    """Ends with entry ``index`` of the databases here."""
    made: Snapshot = sample(Snapshot)
    return dataclasses.replace(made, previous=entry(index - 1), last=entry(index)).encode()


def entry(index: int) -> tuple[bytes, int, int]:
    return (b"\0entry %d" % index, index, 1 + index // 5)


def operations() -> list[Operation]:
    return [
        SetTerm(4, "10.0.0.1:10008"),
        SetFact("slot", "10.0.0.1:10008"),
        SetFact("node_id", "9f" * 16),
        *(AddEntry(entry(index)) for index in range(1, 16)),
        SetCommit(12),
        SaveSnapshot(7, lambda: snapshot_of(7)),
        SaveSnapshot(10, lambda: snapshot_of(10)),
    ]


WRITE_S = 30.0


@cache
def stores() -> list[tuple[bytes, bytes]]:
    """Databases and their write-ahead logs: as after a clean end, as after a kill, and a new one."""
    with tempfile.TemporaryDirectory(dir=fast_directory()) as directory:
        path = Path(directory) / "raft.sqlite"
        new = open_store(path)
        new.load()
        new.close()
        found = [(path.read_bytes(), b"")]
        running = open_store(path)
        running.load()
        running.write(operations(), 1)
        ends_s = monotonic() + WRITE_S
        while running.synced_mark < 1:
            assert monotonic() < ends_s, "the store does not write"
            sleep(0.001)
        found.append((path.read_bytes(), path.with_name("raft.sqlite-wal").read_bytes()))
        running.close()
        found.append((path.read_bytes(), b""))
    return found


def open_store(path: Path) -> SqliteStore:
    """Without a loop: what the writing thread tells is called there."""

    def notify(call: Callable[[], None]) -> None:
        call()

    return SqliteStore(path, notify=notify, on_synced=lambda: None, on_failure=_raise)


def _raise(error: BaseException) -> None:
    raise error


def fast_directory() -> str | None:
    """Memory where there is such a file system: nothing here is about durability."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None
