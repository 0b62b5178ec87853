"""A node's store on a disk that takes time, hangs, fills up, and forgets what was not synced.

It does what ``SqliteStore`` does: one writer takes all groups that wait into one transaction, and they count as synced
when that has ended. A group is on disk whole or not at all, and never without those before it. So after a crash, of the
groups that were not reported as synced, any first few are there: which, the dice decide.
"""

from __future__ import annotations

import random
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from orchestrator_raft.raft.store import SNAPSHOT_MAGIC, ClearEntries, CutEntries, Image, Operation

_HEAD_BYTES = len(SNAPSHOT_MAGIC) + 32
Group = tuple[Sequence[Operation], int]


def copied(image: Image) -> Image:
    return replace(image, entries=list(image.entries), snapshots=list(image.snapshots), facts=dict(image.facts))


class Disk:
    """The world calls ``begin`` and ``finish``, which are the writer's transaction; the rest is the ``Store`` port."""

    where = "virtual disk"

    def __init__(self) -> None:
        self.durable = Image()
        self.synced_mark = 0
        self.is_hung = False
        self.is_full = False
        self.slowness = self.age = 1.0
        """How much slower it is than others, now and always."""
        self.groups_lost = 0
        self.has_cut = False
        """The newest transaction took entries away."""
        self._damaged: set[int] = set()
        """Snapshots that rot; one at a time, or the node would rightly refuse to start."""
        self._waiting: deque[Group] = deque()
        self._writing: list[Group] = []

    # the port

    def load(self) -> Image:
        return copied(self.durable)

    def write(self, operations: Sequence[Operation], mark: int) -> None:
        self._waiting.append((operations, mark))

    def holds(self, index: int, data: bytes) -> bool:
        """Whether an entry, or a snapshot with it, would survive a power cut now."""
        if any(index <= kept for kept, _ in self.durable.snapshots):
            return True
        entries = self.durable.entries
        position = index - entries[0][1] if entries else -1
        return 0 <= position < len(entries) and entries[position][0].endswith(data)

    def size_bytes(self) -> int:
        return sum(len(entry[0]) for entry in self.durable.entries)

    def close(self) -> None:
        """Nothing to let go."""

    # the writer

    @property
    def has_work(self) -> bool:
        return bool(self._waiting) and not self._writing

    def begin(self) -> None:
        self._writing = list(self._waiting)
        self._waiting.clear()

    def finish(self) -> int:
        """The transaction is on disk. Gives the mark to report as synced."""
        self.has_cut = False
        for operations, _ in self._writing:
            self._apply(operations)
            self.has_cut |= any(isinstance(operation, CutEntries | ClearEntries) for operation in operations)
        mark = self._writing[-1][1]
        self._writing = []
        return mark

    def _apply(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            self.durable.apply(operation)
            if self._damaged:
                self._damaged &= {index for index, _ in self.durable.snapshots}

    # crashes

    def crash(self, dice: random.Random) -> None:
        """The process is gone, and with it what no transaction had taken."""
        groups = [*self._writing, *self._waiting]
        kept = 0 if dice.random() < 0.5 else dice.randint(0, len(groups))
        for operations, _ in groups[:kept]:
            self._apply(operations)
        self.groups_lost += len(groups) - kept
        self._writing, self.synced_mark = [], 0
        self._waiting.clear()

    def empty(self) -> None:
        """Of a node that is down: it is replaced by a new one."""
        self.durable = Image()
        self._damaged.clear()

    def damage_newest_snapshot(self, dice: random.Random) -> bool:
        """Some bytes of it change while the node is down, in the worst way: it can still be unpacked."""
        if len(self.durable.snapshots) < 2 or self._damaged:
            return False
        index, data = self.durable.snapshots[-1]
        self._damaged.add(index)
        body = bytearray(zlib.decompress(data[_HEAD_BYTES:]))
        digits = [place for place in range(len(body) // 2, len(body)) if 0 < body[place] < 0x70]
        place = dice.choice(digits)
        body[place] ^= 1
        self.durable.snapshots[-1] = index, data[:_HEAD_BYTES] + zlib.compress(bytes(body), 1)
        return True
