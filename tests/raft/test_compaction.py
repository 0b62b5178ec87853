"""When a snapshot is taken: before a start would take long, and one at a time."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator_raft.raft.machine import Replicated
from orchestrator_raft.raft.replica import Replica
from orchestrator_raft.raft.settings import Limits, Timing
from orchestrator_raft.raft.store import MemoryStore, Operation, SaveSnapshot
from tests.raft.counting import Add, Break, Counted, Counter, codec
from tests.raft.virtual import World

ELECTION_S = 2.0
LEVEL = 1


class LazyStore(MemoryStore):
    """Nothing is synced before ``sync``."""

    def __init__(self) -> None:
        super().__init__()
        self.snapshots = 0
        self._mark = 0

    def write(self, operations: Sequence[Operation], mark: int) -> None:
        before = self.synced_mark
        super().write(operations, mark)
        self.synced_mark, self._mark = before, mark
        self.snapshots += sum(isinstance(operation, SaveSnapshot) for operation in operations)

    def sync(self) -> None:
        self.synced_mark = self._mark


class Lonely:
    """A single voter on a clock that moves only when it is told to; its machine takes ``apply_s`` for a command."""

    def __init__(self, limits: Limits, apply_s: float = 0.0) -> None:
        self.now_s = 100.0
        self.apply_s = apply_s
        self.store = LazyStore()
        self.codec = codec()
        self.replica = Replica(
            "a", [], store=self.store, image=self.store.load(),
            replicated=Replicated(self, self.codec, lambda *_: None), deliver=lambda *_: None,
            clock=lambda: self.now_s, wall=lambda: self.now_s, timing=Timing(), limits=limits,
        )  # fmt: skip
        self._machine = Counter()
        self.now_s += ELECTION_S
        self.steps(4)

    def initial(self) -> Counted:
        return Counted()

    def apply(self, state: Counted, command: Add | Break) -> tuple[Counted, int]:
        self.now_s += self.apply_s
        return self._machine.apply(state, command)

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.replica.tick()
            self.store.sync()
            self.replica.synced()

    def write(self, count: int) -> None:
        for number in range(count):
            assert self.replica.submit(self.codec.encode_command(Add(f"c{self.replica.applied_index}-{number}"), LEVEL))
            self.steps(2)


def test_a_journal_that_takes_long_to_apply_again_becomes_a_snapshot() -> None:
    node = Lonely(Limits(replay_s=1.0), apply_s=0.3)
    node.write(3)
    assert 0 == node.store.snapshots
    node.write(2)
    node.steps(4)
    assert 1 == node.store.snapshots
    node.write(2)
    assert 1 == node.store.snapshots
    node.write(2)
    assert 2 == node.store.snapshots


def test_a_quick_machine_needs_no_snapshot_before_the_journal_is_long() -> None:
    node = Lonely(Limits(replay_s=1.0, journal_entries=60), apply_s=0.001)
    node.write(50)
    assert 0 == node.store.snapshots


def test_a_snapshot_that_is_under_way_is_not_asked_for_again() -> None:
    """Else each one would be followed by a needless one of nearly the same state: up to 39 instead of 22 here."""
    commands, journal_entries = 400, 20
    world = World(0, limits=Limits(journal_entries=journal_entries, retained_entries=5))
    world.sync_s = (0.02, 0.04)
    assert world.run(10, lambda: bool(world.leaders()))
    taken: set[tuple[str, int]] = set()
    for number in range(commands):
        world.submit(world.leaders()[0], Add(f"c{number}"))
        world.run(0.005)
        for site in world.alive():
            newest = site.replica.snapshot() if site.replica is not None else None
            taken |= {(site.name, newest.index)} if newest is not None else set()
    assert len(world.sites) <= len(taken) <= 1.2 * len(world.sites) * commands / journal_entries
