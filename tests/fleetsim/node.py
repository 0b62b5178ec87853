"""A manager node: a machine with clocks and a disk, and the process on it, wired as ``app.run`` wires it.

Everything of the process is the product's own, but for the twins of what is outside: transport and disk of the Raft
node, the connector to servers, hooks, clocks. The process may end, or stand still, at any place where something
leaves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from orchestrator_raft.app.consensus import Node, NodeAdmin, RaftConsensus, ReplicatedMachine, codec
from orchestrator_raft.core.errors import OrchestratorError
from orchestrator_raft.core.instance import Facts
from orchestrator_raft.core.replicated import Command, Result, State
from orchestrator_raft.engine.leadership import Engine, EngineSettings, Outside, Reports
from orchestrator_raft.engine.service import Service
from orchestrator_raft.engine.service.calls import Call, Person, Reply, typed_arguments
from orchestrator_raft.engine.witness import serve_witness
from orchestrator_raft.mysql.sessions import MysqlSessions
from orchestrator_raft.operations import OPERATION_BY_NAME
from orchestrator_raft.raft.assembly import Parts
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.identity import Identity
from orchestrator_raft.raft.membership import Contact
from orchestrator_raft.raft.messages import Message, decode, encode
from orchestrator_raft.raft.node import RaftNode
from orchestrator_raft.raft.replica import Replica
from orchestrator_raft.raft.settings import Address, Limits, RaftSettings, Timing
from orchestrator_raft.raft.store import Operation
from orchestrator_raft.tasks import Tasks
from tests.fleetsim.loop import ProcessLoop
from tests.fleetsim.ports import SimConnector, SimHooks, SimProber
from tests.fleetsim.tcp import Connection
from tests.sim.clocks import MachineClock
from tests.sim.disk import Disk
from tests.sim.joining import Node as Joined

if TYPE_CHECKING:
    from tests.fleetsim.world import World

CODEC = codec()
WALL_BEGIN_MS = 1_795_000_000_000


class NodeDisk(Disk):
    """The disk as the replica sees it: writing may be the last thing that a process does."""

    def __init__(self, node: ManagerNode) -> None:
        super().__init__()
        self._node = node

    def write(self, operations: Sequence[Operation], mark: int) -> None:
        node = self._node
        if node.is_inert or node.burns():
            return
        super().write(operations, mark)
        node.has_written()
        node.burns()


class NodeTransport:
    """What the Raft node needs of ``Transport``, over the simulated network between nodes."""

    def __init__(self, node: ManagerNode, peers: Sequence[str]) -> None:
        self._node = node
        self._peers = peers
        self.links = self

    def get(self, slot: str) -> SimpleNamespace | None:
        joined = self._node.joined
        if slot not in self._peers or joined is None:
            return None
        active = SimpleNamespace(peer=joined.greeting(slot)) if self.is_connected(slot) else None
        return SimpleNamespace(active=active, heard_s=None, round_trip_s=None)

    def is_connected(self, slot: str) -> bool:
        return self._node.world.network.is_connected(self._node.name, slot)

    def send(self, slot: str, message: Message) -> bool:
        node = self._node
        if node.is_inert or node.burns() or not self.is_connected(slot):
            return False
        world = node.world
        world.network.send(node.name, slot, encode(message) if world.wire else message)
        node.burns()
        return True

    async def drain(self, slot: str) -> None:
        """There is always room."""

    def follow(self) -> None:
        """Who is no member any more is not to stay connected."""
        node = self._node
        for slot in node.joined.strangers() if node.joined is not None else ():
            node.world.at(0.0, node.world.network.abort, node.name, slot)

    def abort(self) -> None:
        for slot in self._peers:
            self._node.world.network.abort(self._node.name, slot)

    async def close(self) -> None:
        self.abort()

    def complaint(self, slot: str) -> str:
        return "" if slot in self._peers else "unknown"

    def refused(self) -> tuple[Any, ...]:
        return ()


class NodeClock:
    """``ports.Clock``."""

    def __init__(self, node: ManagerNode) -> None:
        self._node = node

    def monotonic_s(self) -> float:
        return self._node.clock.boot_s(self._node.world.now_s)

    def wall_ms(self) -> int:
        return WALL_BEGIN_MS + round(self._node.clock.wall_s(self._node.world.now_s) * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class WatchedConsensus(RaftConsensus):
    """Tells the checks what is proposed, and when."""

    def __init__(self, node: ManagerNode, raft: Node) -> None:
        super().__init__(raft)
        self._watched = node

    async def propose(self, command: Command, *, timeout_s: float) -> Result:
        self._watched.world.checks.proposes(self._watched, command)
        return await super().propose(command, timeout_s=timeout_s)


class ManagerNode:
    def __init__(self, world: World, name: str, clock: MachineClock) -> None:
        self.world = world
        self.name = name
        self.clock = clock
        self.disk = NodeDisk(self)
        self.life = 0
        self.wakes_s = 0.0
        self.is_silent = False
        self.loop: ProcessLoop | None = None
        self.raft: Node | None = None
        self.engine: Engine | None = None
        self.service: Service | None = None
        self.joined: Joined | None = None
        """Who it is, and whom it takes for a member."""
        self.fuse: int | None = None
        """So many more chances to escape, then the process is gone."""
        self.stalls: tuple[int, float] | None = None
        """After so many more statements it stands still, right before the next, for so long."""
        self._tasks: Tasks
        self._pumps_s = float("inf")
        self._running_life = 0
        self.started_s = 0.0

    # the process

    @property
    def is_up(self) -> bool:
        return self.life != 0

    @property
    def is_awake(self) -> bool:
        return self.life != 0 and self.wakes_s <= self.world.now_s

    @property
    def is_inert(self) -> bool:
        """What runs now belongs to a process that is gone."""
        return self.life == 0 or (self._running_life not in (0, self.life))

    def start(self) -> None:
        if self.life:
            return
        self.world.note(f"{self.name} starts")
        self.life = self.world.next_life()
        self.fuse = self.stalls = None
        self.is_silent = False
        self.started_s = self.world.now_s
        self.loop = ProcessLoop(lambda: self.clock.boot_s(self.world.now_s), self._uncaught)
        self.call(self._begin)

    def _begin(self) -> None:
        self._tasks = Tasks("process", self._failed)
        self._tasks.start("main", self._main())

    async def _main(self) -> None:
        world = self.world
        node: Node = RaftNode(world.raft_settings, ReplicatedMachine(), CODEC, on_fatal=self._fatal)
        self.raft = node
        self._assemble(node)
        tasks = Tasks("node", self._failed)
        prober = SimProber(self, tasks)
        outside = Outside(
            consensus=WatchedConsensus(self, node), channel=node.channel, prober=prober,
            sessions=MysqlSessions(SimConnector(self, acts=True)),  # type: ignore[arg-type]
            hooks=SimHooks(self), clock=NodeClock(self),
        )  # fmt: skip
        serve_witness(node.channel, prober)
        settings: EngineSettings = world.engine_settings
        self.engine = Engine(outside, settings, Reports(self._failed, self._failed))
        self.engine.start()
        self.service = Service(outside, self.engine, NodeAdmin(node, is_enabled=True))

    def _assemble(self, node: Node) -> None:
        """As ``RaftNode.start`` and ``assembly.assemble`` do it, on our disk and network."""
        world, driver, replicated = self.world, node._driver, node._replicated
        replicated._on_applied = lambda index, command, result: self._applied(node, index, command, result)
        image = self.disk.load()
        identity = self._identity(image.facts)
        others = [slot for slot in identity.founders if slot != self.name] if identity.founders else None
        replica = Replica(
            self.name, others, store=self.disk, image=image,
            own=Contact(incarnation=f"{self.name}0", address=self.name), replicated=replicated,
            deliver=driver.deliver, clock=lambda: self.clock.boot_s(world.now_s),
            wall=lambda: self.clock.wall_s(world.now_s), timing=world.raft_settings.timing, limits=world.limits,
        )  # fmt: skip
        self.joined = Joined(identity, replica, CODEC.levels, world.now_s)
        roster = self.joined.roster
        if unsaved := self.joined.unsaved(dict(image.facts)):
            replica.save_facts(unsaved)
        transport: Any = NodeTransport(self, [slot for slot in world.slots if slot != self.name])
        node._parts = Parts(roster=roster, replica=replica, store=self.disk, transport=transport, data_dir=None)
        driver.transport, driver.roster = transport, roster
        node.channel.open(roster.slot, transport)
        driver.run(replica)
        driver.tasks.start("ticks", driver.keep_ticking())
        world.checks.restored(self, replicated.digest)

    def _identity(self, facts: Mapping[str, str]) -> Identity:
        """As ``identity.identify``: founders know their cluster from the start, others by their disk, or not yet."""
        world = self.world
        is_founder = self.name in world.founders
        entries = {*world.founders, self.name}
        return Identity(
            slot=self.name, node_id=f"{self.name}0",
            cluster_id=world.cluster_id if is_founder else facts.get("cluster_id", ""),
            addresses={slot: Address(*_host_and_port(slot)) for slot in sorted(entries)},
            founders=world.founders if is_founder else tuple(facts.get("slots", "").split()),
        )  # fmt: skip

    def _applied(self, node: Node, index: int, command: Any, result: Any) -> None:
        if not self.is_inert:
            replicated = node._replicated
            self.world.checks.applied(self, index, command, result, (replicated.state, replicated.digest))
        node._driver.command_applied(index, command, result)

    def _fatal(self, error: BaseException) -> None:
        """The Raft node stops itself: with a full disk that is right."""
        if not self.is_inert:
            self.world.checks.crashed(self, error)

    def _failed(self, name: str, error: BaseException) -> None:
        if not self.is_inert:
            self.world.checks.task_failed(self, name, error)

    def _uncaught(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and not isinstance(error, OrchestratorError) and type(error).__name__ != "Unreached":
            self._failed(str(context.get("message")), error)

    # running

    def call(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Have this done by the process as soon as it runs."""
        if self.loop is not None and self.life:
            self.loop.call_soon(action, *arguments)
            self.poke()

    def poke(self) -> None:
        """See to it that the loop runs when something of it is due."""
        loop, now_s = self.loop, self.world.now_s
        if loop is None or not self.life or self._running_life:
            return
        due_s = loop.due_at_s()
        if due_s is None:
            return
        left_s = max(0.0, due_s - loop.time()) / self.clock.rate
        when_s = max(now_s + left_s, self.wakes_s)
        if when_s < self._pumps_s - 1e-9:
            self._pumps_s = when_s
            self.world.at(when_s - now_s, self._pump, self.life, when_s)

    def _pump(self, life: int, when_s: float) -> None:
        if life != self.life or when_s != self._pumps_s:
            return
        self._pumps_s = float("inf")
        if self.wakes_s <= self.world.now_s and self.loop is not None:
            self._running_life = life
            try:
                self.loop.run_due(lambda: life == self.life and self.wakes_s <= self.world.now_s)
            finally:
                self._running_life = 0
        self.poke()

    def kill(self, *, power_lost: bool) -> None:
        if not self.life:
            return
        world = self.world
        world.note(f"{self.name} {'loses power' if power_lost else 'is killed'}")
        self.life, self.wakes_s, self._pumps_s = 0, 0.0, float("inf")
        self.is_silent = power_lost
        self.fuse = self.stalls = None
        if self.loop is not None:
            world.graveyard.append(self.loop)
        self.loop = self.raft = self.engine = self.service = self.joined = None
        self.clock.thaw(world.now_s)
        self.disk.crash(world.dice)
        world.network.died(self.name, silently=power_lost)
        world.tcp.died(self)

    def pause(self, for_s: float, *, freeze: bool = False) -> None:
        """The process stands still; with ``freeze`` its whole machine does, boot clock included."""
        if not self.is_awake:
            return
        self.world.note(f"{self.name} {'freezes' if freeze else 'stands still'} for {for_s:.3f} s")
        self.wakes_s = self.world.now_s + for_s
        if freeze:
            self.clock.freeze(self.world.now_s)
        self.world.at(for_s, self.wake, self.life)

    def wake(self, life: int) -> None:
        if life != self.life or not life:
            return
        self.clock.thaw(self.world.now_s)
        self.wakes_s = min(self.wakes_s, self.world.now_s)
        self.world.stood_still_until_s[self.name] = self.world.now_s
        self._pumps_s = float("inf")
        self.poke()
        self.world.network.woke(self.name)
        self.world.tcp.woke(self)

    def burns(self) -> bool:
        """One more chance to escape is over; says whether the process is gone."""
        if self.fuse is None:
            return self.is_inert
        self.fuse -= 1
        if self.fuse <= 0:
            self.world.statistics.kills_inside += 1
            self.kill(power_lost=self.world.dice.random() < 0.3)
            self.world.at(self.world.dice.uniform(0.05, 3), self.start)
        return self.is_inert

    def before_statement(self) -> float:
        """A statement is about to leave. Gives how long the process stands still right here."""
        if self.burns() or self.stalls is None:
            return 0.0
        count, for_s = self.stalls
        if count > 0:
            self.stalls = (count - 1, for_s)
            return 0.0
        self.stalls = None
        self.world.statistics.pauses_inside += 1
        self.pause(for_s)
        return for_s

    def accept(self, connection: Connection) -> None:
        """Nobody dials a manager in this model."""
        connection.hang_up()

    # the disk

    def has_written(self) -> None:
        if self.disk.has_work:
            self.world.at(0.0, self._write, self.life)

    def _write(self, life: int) -> None:
        if life == self.life and self.disk.has_work:
            self.disk.begin()
            takes_s = self.world.dice.uniform(*self.world.sync_s) * self.disk.slowness
            self.world.at(min(4.0, takes_s), self._written, life)

    def _written(self, life: int) -> None:
        if life != self.life or not life:
            return
        if self.disk.is_hung or self.clock.is_frozen:
            self.world.at(0.05, self._written, life)
        elif self.disk.is_full:
            self.kill(power_lost=False)
            self.world.at(self.world.dice.uniform(0.1, 2), self.start)
        else:
            mark = self.disk.finish()
            self.call(self._synced, mark)
            self._write(life)

    def _synced(self, mark: int) -> None:
        if self.raft is not None and mark > self.disk.synced_mark:
            self.disk.synced_mark = mark
            self.raft._driver.synced()

    # the network between nodes

    def peer_connected(self, peer: str) -> None:
        if self.raft is not None:
            self.call(self.raft._driver.peer_connected, peer)

    def peer_disconnected(self, peer: str) -> None:
        if self.raft is not None:
            self.call(self.raft._driver.peer_disconnected, peer)

    def peer_said(self, peer: str, frame: Any) -> None:
        self.call(self._peer_said, peer, frame)

    def _peer_said(self, peer: str, frame: Any) -> None:
        message = decode(frame) if type(frame) is bytes else frame
        if self.raft is None or message is None:
            return
        try:
            self.raft._driver.peer_said(peer, [message])
        except ProtocolError:
            self.world.network.abort(self.name, peer)

    # what the world and people ask

    @property
    def replica(self) -> Replica | None:
        parts = self.raft._parts if self.raft is not None else None
        return parts.replica if parts is not None else None

    @property
    def state(self) -> State | None:
        return self.raft.state if self.raft is not None else None

    @property
    def term_with_authority(self) -> int:
        """The term in which this node may act, now; 0 if it may not."""
        held = self.raft.authority() if self.raft is not None and self.raft._parts is not None else None
        return held.term if held is not None else 0

    def facts_of(self, key: Any) -> Facts | None:
        return self.engine.facts_of(key) if self.engine is not None else None

    def operate(self, name: str, on_end: Callable[[Reply | BaseException], None], **arguments: str) -> None:
        """Somebody asks this node for an operation."""

        async def work() -> None:
            assert self.service is not None
            operation = OPERATION_BY_NAME[name]
            try:
                typed = typed_arguments(operation, arguments)
                on_end(await self.service.call(Call(operation=operation, arguments=typed, person=Person("anna"))))
            except OrchestratorError as error:
                on_end(error)

        if self.service is not None:
            self.call(lambda: self._tasks.start(name, work()))


def _host_and_port(slot: str) -> tuple[str, int]:
    host, _, port = slot.rpartition(":")
    return host, int(port)


def raft_settings(limits: Limits, pace: float) -> RaftSettings:
    """With the default times, or ``pace`` times those."""
    usual = Timing()
    timing = Timing(
        election_min_s=pace * usual.election_min_s, election_max_s=pace * usual.election_max_s,
        heartbeat_s=pace * usual.heartbeat_s, tick_s=pace * usual.tick_s,
    )  # fmt: skip
    return RaftSettings(bind="127.0.0.1:10008", limits=limits, timing=timing)
