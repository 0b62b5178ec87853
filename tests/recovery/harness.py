"""Recoveries under attack: a fleet that is written to all the time, an interruption, and what has to hold throughout.

Invariants, checked after every step (style of Patroni's quorum tests: no expected answers, only what may never be):
- at most one server takes writes, apart from stale ones, which are fenced as soon as they answer;
and at the end, when everybody who can be taken back was taken back:
- the recovery ended in a named state, and the successor that was recorded first is the one promoted, unless it died;
- a living primary takes writes, and everybody else who answers replicates from it, or is kept out and named;
- everything that was acknowledged under semi-sync is there, where the promise held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.model import EndState, Recovery, Request
from orchestrator_raft.core.recovery.steps import Outcome, Step
from orchestrator_raft.core.topology import StaleStatus
from tests.core.fleet import Fleet
from tests.core.manager import Crash, Manager
from tests.core.scenario import World

Prepare = Callable[[World], None]


@dataclass(frozen=True)
class Story:
    """What is recovered: a fleet, what happened to it, and which recovery is claimed."""

    name: str
    fleet: str
    kind: str = "dead_primary"
    on: str = "P"
    change: tuple[str, ...] = ()
    request: Request = field(default_factory=Request)
    promise: bool = True

    def begin(self) -> Run:
        world = World(self.fleet.splitlines())
        for name in list(world.fleet.by_name):
            if world.fleet[name].is_open:
                world.fleet.write(name)
        world.manager.look()
        for line in self.change:
            world.change_line(line)
        world.manager.look()
        return Run(self, world, died={name for name, each in world.fleet.by_name.items() if not each.alive})


@dataclass
class Run:
    """One playing of a story."""

    story: Story
    world: World
    successors: list[InstanceKey] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    absence_ms: int = 0
    """How long nobody leads after a crash, beside the time of an election."""
    died: set[str] = field(default_factory=set)
    """Servers that died, or came back, while the recovery ran; a restarted one is read-only until somebody opens it."""

    def __post_init__(self) -> None:
        hooks = self.manager.hooks
        hooks.before_step = lambda step: self.between()
        hooks.after_step = self._done
        hooks.before_record = self._recorded
        self.manager.guards = True

    @property
    def manager(self) -> Manager:
        return self.world.manager

    @property
    def fleet(self) -> Fleet:
        return self.world.fleet

    def claim(self) -> None:
        self.manager.claim(self.story.kind, self.story.on, request=self.story.request)

    def between(self) -> None:
        """Clients write wherever they can, and nobody may find two servers that let them."""
        self.fleet.flow()
        for name in self.fleet.open_names:
            self.fleet.write(name)
        stale = self.manager.state.stale
        writable = [name for name in self.fleet.open_names if self.fleet[name].key not in stale]
        assert len(writable) <= 1, f"{writable} take writes at once"

    def _done(self, outcome: Outcome) -> None:
        self.said.append(f"{outcome.step} {'ok' if outcome.ok else outcome.detail}")
        self.between()

    def _recorded(self, recovery: Recovery) -> None:
        self.said.append(f"-> {recovery.phase} {recovery.end.value}")
        if recovery.successor is not None and recovery.successor not in self.successors:
            self.successors.append(recovery.successor)

    # -- playing

    def disarm(self) -> None:
        self.manager.hooks.crash_within = lambda sequences: None
        self.manager.hooks.before_record = self._recorded

    def play(self) -> Recovery:
        """To the end, taking over as often as the leader dies."""
        recovery = self.manager.state.recoveries["r1"]
        while recovery.is_active:
            try:
                recovery = self.manager.run()
            except Crash:
                self.said.append("-- crash")
                self.disarm()
                self.manager.now_ms += self.absence_ms
                self.manager.take_over()
                recovery = self.manager.state.recoveries["r1"]
        return recovery

    def settle(self) -> None:
        """Afterwards: stale primaries are fenced, whoever waits for it is taken back."""
        self.disarm()
        self.manager.hooks.before_step = lambda step: self.between()
        self.manager.look()
        self.manager.guard()
        self.manager.bring_back()
        self.between()

    # -- what has to hold at the end

    def check(self, recovery: Recovery) -> None:
        state = self.manager.state
        (cluster,) = state.clusters.values()
        assert recovery.end is not EndState.RUNNING
        assert cluster.primary is not None
        primary = self.fleet.by_key[cluster.primary]
        if recovery.promoted:
            assert recovery.successor == cluster.primary
            lost = [key for key in self.successors if key != recovery.successor]
            assert all(self.fleet.by_key[key].name in self.died for key in lost), "it changed its mind"
        else:
            assert self.story.on == primary.name
        if primary.alive and primary.reachable and recovery.end is not EndState.ABANDONED:
            assert primary.is_open or primary.name in self.died, f"{primary.name} is the primary and takes no writes"
            self._check_replicas(primary.key)
            self._check_acknowledged()

    def _check_replicas(self, primary: InstanceKey) -> None:
        state = self.manager.state
        for server in self.fleet.by_key.values():
            if server.key == primary or not server.alive or not server.reachable:
                continue
            mark = state.stale.get(server.key)
            if mark is not None and mark.status is StaleStatus.QUARANTINED:
                assert server.read_only and mark.extra
                continue
            assert mark is None, f"{server.name} is {mark} although it answers"
            assert primary == server.source, f"{server.name} replicates from {server.source}, not {primary}"
            assert server.receiver_on and server.applier_on, f"{server.name} was left stopped"
            assert server.read_only, f"{server.name} is a writable replica"

    def _check_acknowledged(self) -> None:
        if not self.story.promise:
            return
        (cluster,) = self.manager.state.clusters.values()
        assert cluster.primary is not None
        self.fleet.flow()
        has = self.fleet.by_key[cluster.primary].has
        lost = self.fleet.acknowledged.minus(has)
        assert not lost, f"acknowledged and lost: {self.world.said(str(lost))}"


def interruptions(story: Story) -> Iterator[tuple[str, Callable[[Run], None]]]:
    """Every way in which the leader can die: within each turn any part of each sequence done, and before each record.

    Of turns that repeat the one before (attempts that wait for something) the first two are taken.
    """
    turns = _turns_of(story)
    new = [turn for turn in range(len(turns)) if turns[max(0, turn - 2) : turn] != [turns[turn]] * 2]
    for turn in new:
        for counts in product(*(range(length + 1) for length in turns[turn])):
            yield f"turn {turn} after {counts}", _crash_within(turn, counts)
        yield f"before record {turn}", _crash_before_record(turn)
    yield "before the last record", _crash_before_record(len(turns))


def _turns_of(story: Story) -> list[list[int]]:
    """Lengths of the sequences of each turn when nothing interrupts."""
    run, seen = story.begin(), []

    def note(sequences: Sequence[Sequence[Step]]) -> None:
        seen.append([len(sequence) for sequence in sequences])

    run.manager.hooks.crash_within = note
    run.claim()
    run.play()
    return seen


def _crash_within(turn: int, counts: Sequence[int]) -> Callable[[Run], None]:
    def arm(run: Run) -> None:
        left = [turn]

        def within(sequences: Sequence[Sequence[Step]]) -> Sequence[int] | None:
            left[0] -= 1
            return counts if left[0] == -1 else None

        run.manager.hooks.crash_within = within

    return arm


def _crash_before_record(number: int) -> Callable[[Run], None]:
    def arm(run: Run) -> None:
        left, note = [number], run.manager.hooks.before_record

        def before(recovery: Recovery) -> None:
            left[0] -= 1
            if left[0] == -1:
                raise Crash
            note(recovery)

        run.manager.hooks.before_record = before

    return arm
