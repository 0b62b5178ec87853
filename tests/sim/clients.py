"""Clients, and what ``RaftNode`` does for them, in virtual time.

``NodeFace`` follows ``RaftNode.propose`` and ``RaftNode.barrier`` line by line: a command goes to the leader, again and
again under its id, until an entry with that id is applied on the node that was asked; a read waits until that node has
applied what the leader had committed when it was asked. Clients call one node after another, one operation at a time
each; when a node does not answer they ask another one under the same id, or give up and do not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Literal

from orchestrator_raft.raft.messages import Call, CallFailure, CallPart
from orchestrator_raft.raft.node import ASK_S, PROPOSE, READ_INDEX, RESUBMIT_S, RETRY_S
from tests.raft.counting import Add
from tests.sim.joining import is_readable
from tests.sim.linearizable import Operation
from tests.sim.processes import Process, Signal, Steps, Wait
from tests.sim.world import Site, World

CALL_MESSAGES = (Call, CallPart, CallFailure)


class NodeFace:
    """Propose and barrier of every node. ``asks_authority`` False is a planted bug."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._answers: dict[int, Signal] = {}
        self._numbers = count(1)
        self.asks_authority = True
        world.on_call = self._heard

    def start(self, site: Site, steps: Steps) -> Signal:
        """Run ``steps`` inside the process on ``site``; fires with what they return, if it lives to tell."""
        world, life = self._world, site.life
        process = Process(world, steps, alive=lambda: site.life == life != 0, wakes_s=lambda: site.wakes_s)
        return process.done

    # between nodes

    def _call(self, site: Site, leader: str, method: str, payload: bytes) -> Signal:
        number = next(self._numbers)
        answer = self._answers[number] = Signal()
        self._world.send(site.name, leader, Call(number, method, payload, ASK_S))
        return answer

    def _heard(self, here: str, there: str, message: object) -> None:
        match message:
            case Call(number, method, payload, _):
                answer = self._served(self._world.sites[here], method, payload)
                failed = CallFailure(number, "Refused", "it does not lead")
                self._world.send(here, there, failed if answer is None else CallPart(number, answer, True))
            case CallPart(number, data, _):
                self._answers.pop(number, Signal()).fire(data)
            case CallFailure(number):
                self._answers.pop(number, Signal()).fire(None)

    def _served(self, site: Site, method: str, payload: bytes) -> bytes | None:
        if method == READ_INDEX:
            index = self._own_read_index(site)
            return None if index is None else str(index).encode()
        assert site.replica is not None
        taken = is_readable(payload, site.version) and self._world.step(site, site.replica.submit, payload)
        return b"" if taken else None

    def _own_read_index(self, site: Site) -> int | None:
        replica = site.replica
        if replica is None or (self.asks_authority and replica.authority() is None):
            return None
        return replica.commit_index

    # what RaftNode offers

    def propose(self, site: Site, command: Add, timeout_s: float) -> Steps:
        """The result, or None if it is not known."""
        world, data, applied = self._world, self._world.encoded(site, command), Signal()
        site.waiting.setdefault(command.id, []).append(applied.fire)
        deadline_s = world.now_s + timeout_s
        taken = False
        while not applied.fired and world.now_s < deadline_s:
            world.statistics.resubmissions += taken
            taken = yield from self._hand_in(site, data)
            left_s = deadline_s - world.now_s
            yield Wait(max(0.0, min(left_s, RESUBMIT_S if taken else RETRY_S)), applied)
        site.waiting.pop(command.id, None)
        if not applied.fired:
            return None
        assert site.replica is not None
        return applied.value, site.replica.applied_index

    def _hand_in(self, site: Site, data: bytes) -> Steps:
        replica = site.replica
        assert replica is not None
        leader = replica.leader
        if leader == site.name:
            return bool(self._world.step(site, replica.submit, data))
        if leader is None or not self._world.network.is_connected(site.name, leader):
            return False
        answer = self._call(site, leader, PROPOSE, data)
        yield Wait(ASK_S, answer)
        return not answer.fired or answer.value is not None

    def read(self, site: Site, timeout_s: float) -> Steps:
        """The total behind a barrier, or None if none was reached in time."""
        world = self._world
        deadline_s = world.now_s + timeout_s
        while (index := (yield from self._read_index(site))) is None:
            if world.now_s >= deadline_s:
                return None
            yield Wait(RETRY_S)
        while site.replica is not None and site.replica.applied_index < index:
            if world.now_s >= deadline_s:
                return None
            yield Wait(0.01)
        return site.replicated.state.total if site.replicated is not None else None

    def _read_index(self, site: Site) -> Steps:
        replica = site.replica
        assert replica is not None
        leader = replica.leader
        if leader == site.name:
            return self._own_read_index(site)
        if leader is None or not self._world.network.is_connected(site.name, leader):
            return None
        answer = self._call(site, leader, READ_INDEX, b"")
        yield Wait(ASK_S, answer)
        return int(answer.value) if answer.fired and answer.value is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How clients behave in one run."""

    count: int = 3
    pause_s: tuple[float, float] = (0.0, 0.5)
    read_share: float = 0.3
    timeout_s: float = 3.0
    attempts: int = 3
    padding: int = 0
    rest_s: float = 0.0
    """Now and then nobody writes for so long: quiet logs are equal logs, and anybody can win an election."""


class Clients:
    def __init__(self, world: World, face: NodeFace, habits: Habits) -> None:
        self._world, self._face, self._habits = world, face, habits
        self._answered: list[Operation] = []
        self._pending: dict[str, Operation] = {}
        """Adds whose outcome nobody was told, or not yet."""
        self.is_open = True
        for number in range(habits.count):
            self.start(self._live(f"client{number}"))

    def start(self, steps: Steps) -> Signal:
        return Process(self._world, steps, alive=lambda: True, wakes_s=lambda: 0.0).done

    def _live(self, name: str) -> Steps:
        dice, habits = self._world.dice, self._habits
        for number in count():
            yield Wait(dice.uniform(*habits.pause_s))
            if not self.is_open:
                return
            quiet = habits.rest_s > 0 and self._world.now_s % (2 * habits.rest_s) < habits.rest_s
            if quiet or dice.random() < habits.read_share:
                yield from self.read(name)
            else:
                yield from self.add(name, Add(f"{name}-{number}", dice.choice((1, 1, 1, 2)), "x" * habits.padding))

    def last(self) -> Steps:
        """One more add, after everything, until it is answered."""
        while "last" not in self._world.ledger.acknowledged:
            yield from self.add("last", Add("last"))

    def _site(self) -> Site | None:
        """Some node whose machine answers at all; in the end a voter that the leader knows, for others may know nobody:
        who was removed while it was down may take itself for a member for ever."""
        sites = [site for site in self._world.sites.values() if site.replica is not None]
        if not self.is_open:
            leaders = [self._world.sites[name].replica for name in self._world.leaders()]
            voters = {name for leader in leaders if leader is not None for name in leader.voters}
            sites = [site for site in sites if site.name in voters]
        return self._world.dice.choice(sites) if sites else None

    def add(self, name: str, command: Add) -> Steps:
        """One add, through one node after another until one answers, or until the client has enough."""
        world, habits = self._world, self._habits
        invoked_s = world.now_s
        self._pending[command.id] = Operation(name, "add", command.amount, None, invoked_s, None)
        for _ in range(world.dice.randint(1, habits.attempts)):
            site = self._site()
            if site is not None:
                done = self._face.start(site, self._face.propose(site, command, habits.timeout_s))
                answer = yield Wait(habits.timeout_s + 0.5, done)
                if answer is not None:
                    result, index = answer
                    world.ledger.answered(command.id, result, index)
                    world.statistics.acknowledged += 1
                    del self._pending[command.id]
                    self._record(name, "add", command.amount, result, invoked_s)
                    return
            yield Wait(world.dice.uniform(0, 0.2))
        world.statistics.unknown_outcomes += 1

    def read(self, name: str) -> Steps:
        world, habits = self._world, self._habits
        site, invoked_s = self._site(), world.now_s
        if site is None:
            return
        total = yield Wait(habits.timeout_s + 0.5, self._face.start(site, self._face.read(site, habits.timeout_s)))
        if total is not None:
            world.statistics.reads += 1
            self._record(name, "read", 0, total, invoked_s)

    def history(self) -> list[Operation]:
        return [*self._answered, *self._pending.values(), *self._world.ledger.unanswered]

    def _record(self, name: str, kind: Literal["add", "read"], value: int, result: int, invoked_s: float) -> None:
        self._answered.append(Operation(name, kind, value, result, invoked_s, self._world.now_s))
