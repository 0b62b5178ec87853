"""The files of the stock library, byte by byte, on machines that may lose power.

PySyncObj keeps a journal in a memory map, term, vote and commit index in a small file that is written anew and renamed,
and a dump of the state that is written anew and renamed. It never asks for a sync. Therefore
- after kill -9 everything that was written is there: the operating system has it;
- after a power cut there is what the operating system has written back by itself. The world does that every 0.2 to
  5 s, which is sooner than a usual Linux; of what has changed since then, each page of a map is there or is not, and of
  the renames some first few have happened.
It is kind where file systems differ: a rename never shows a file with missing content, and no file has a wrong size.

Every write may be the last thing that a process does: ``burn`` is called before it takes effect.
"""

from __future__ import annotations

import io
import random
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pysyncobj.journal as journal_module
import pysyncobj.serializer as serializer_module
import pysyncobj.syncobj as library_module

from orchestrator_raft.raft import seam

PAGE_BYTES = 4096


@dataclass(slots=True, eq=False)
class Inode:
    """A file's content as processes see it, and as it is on the disk."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    dirty: set[int] = field(default_factory=set)
    """Pages that differ, perhaps."""

    def write(self, offset: int, data: bytes) -> None:
        self.content[offset : offset + len(data)] = data
        self.dirty.update(range(offset // PAGE_BYTES, (offset + max(1, len(data)) - 1) // PAGE_BYTES + 1))

    def write_back(self) -> None:
        self.durable = bytes(self.content)
        self.dirty.clear()

    def lose_power(self, dice: random.Random) -> None:
        for page in sorted(self.dirty):
            if dice.random() < 0.5:
                place = slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
                old = self.durable[place]
                self.content[place] = old.ljust(len(self.content[place]), b"\0")
        self.write_back()


class Writer(io.BytesIO):
    """A file that is written from its beginning."""

    def __init__(self, inode: Inode, burn: Callable[[], None]) -> None:
        super().__init__()
        self._inode, self._burn = inode, burn

    def write(self, data: Any, /) -> int:
        self._burn()
        self._inode.write(self.tell(), bytes(data))
        return super().write(data)


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that is opened to be mapped."""

    inode: Inode
    burn: Callable[[], None]

    def fileno(self) -> Opened:
        return self

    def close(self) -> None:
        """Nothing to let go."""


class Map:
    """What ``mmap.mmap`` gives."""

    def __init__(self, opened: Opened, length: int) -> None:
        del length
        if not opened.inode.content:
            raise ValueError("cannot mmap an empty file")
        self._inode, self._burn = opened.inode, opened.burn

    def size(self) -> int:
        return len(self._inode.content)

    def resize(self, size: int) -> None:
        self._burn()
        self._inode.write(self.size(), bytes(size - self.size()))

    def __getitem__(self, place: slice) -> bytes:
        return bytes(self._inode.content[place])

    def __setitem__(self, place: slice, data: bytes) -> None:
        self._burn()
        self._inode.write(place.start, data)

    def flush(self) -> None:
        self._inode.write_back()

    def close(self) -> None:
        """Nothing to let go."""


@dataclass(slots=True)
class Machine:
    """The files of one machine: what is there, what would be there without power, and the renames between the two."""

    names: dict[str, Inode] = field(default_factory=dict)
    durable: dict[str, Inode] = field(default_factory=dict)
    renames: list[tuple[str, str, Inode]] = field(default_factory=list)

    def write_back(self) -> None:
        for inode in self.names.values():
            inode.write_back()
        self.durable = dict(self.names)
        self.renames.clear()

    def lose_power(self, dice: random.Random) -> None:
        for old, new, inode in self.renames[: dice.randint(0, len(self.renames))]:
            inode.write_back()
            self.durable.pop(old, None)
            self.durable[new] = inode
        self.names = dict(self.durable)
        for inode in self.names.values():
            inode.lose_power(dice)
        self.write_back()


class Files:
    """All machines. A path is ``machine/name``. ``burn`` is told the machine before anything changes."""

    def __init__(self) -> None:
        self.burn: Callable[[str], None] = lambda _machine: None
        self._machines: dict[str, Machine] = {}

    def machine(self, name: str) -> Machine:
        return self._machines.setdefault(name, Machine())

    def exists(self, path: str) -> bool:
        machine, _, name = path.partition("/")
        return name in self.machine(machine).names

    def open(self, path: str, mode: str) -> Any:
        machine, _, name = path.partition("/")
        names = self.machine(machine).names

        def burn() -> None:
            self.burn(machine)

        if mode == "wb":
            burn()
            names[name] = Inode()
            return Writer(names[name], burn)
        if name not in names:
            raise FileNotFoundError(path)
        return io.BytesIO(bytes(names[name].content)) if mode == "rb" else Opened(names[name], burn)

    def rename(self, old_path: str, new_path: str) -> None:
        machine, _, old = old_path.partition("/")
        new = new_path.partition("/")[2]
        self.burn(machine)
        files = self.machine(machine)
        inode = files.names.pop(old)
        files.names[new] = inode
        files.renames.append((old, new, inode))


@contextmanager
def stock_library(files: Files, clock: Callable[[], float]) -> Iterator[None]:
    """Inside, PySyncObj is as it comes: its own pickle, journal and dump, on ``files`` and by ``clock``."""
    path = types.SimpleNamespace(exists=files.exists, isfile=files.exists)
    changes: list[tuple[types.ModuleType, Mapping[str, Any]]] = [
        (journal_module, {"open": files.open, "os": types.SimpleNamespace(path=path),
                          "mmap": types.SimpleNamespace(mmap=Map), "shutil": types.SimpleNamespace(move=files.rename)}),
        (serializer_module, {"open": files.open, "atomicReplace": files.rename}),
        (library_module, {"os": types.SimpleNamespace(path=path), "monotonicTime": clock,
                          "PIPE_NOTIFIER_ENABLED": False, "pickle": seam._STOCK["pickle"],
                          "createJournal": seam._STOCK["createJournal"]}),
    ]  # fmt: skip
    absent = object()
    before = [(module, name, module.__dict__.get(name, absent)) for module, new in changes for name in new]
    try:
        for module, new in changes:
            module.__dict__.update(new)
        yield
    finally:
        for module, name, value in before:
            if value is absent:
                module.__dict__.pop(name, None)
            else:
                module.__dict__[name] = value
