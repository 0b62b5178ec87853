"""The stock library under the same simulator: PySyncObj as it comes, with its own journal, meta file, dump and pickle.

What is the same as for ours: the network, the clocks, the faults, the clients' habits. What is kind to the library: its
connections break and come back as ours do, not after the five seconds of its own transport; files are written back soon
and sanely (``stock_files``); the disk never fills up, hangs or rots; nobody sends it pickles.

A run does not end at the first broken promise, so that each kind can be counted: commands that were acknowledged and
are gone, nodes that differ in what they have applied, two leaders that believe in themselves at one time, answers that
are not linearizable, a node that cannot start, a cluster that does not come to rest.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated
from pysyncobj.transport import Transport

from orchestrator_raft.raft.seam import Slot
from tests.sim.checks import Violation, linearizable
from tests.sim.faults import FAULTS, Fault
from tests.sim.linearizable import Operation
from tests.sim.statistics import Statistics
from tests.sim.stock_files import Files, stock_library
from tests.sim.world import Killed, Site, World

LINKS = ("cut", "cut_one_way", "isolate", "bridge", "flap", "slow_down", "pause")
KILLS = ("kill", "kill_some", "kill_inside")
POWER = ("lose_power", "lose_power_of_some")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens in the runs of one kind."""

    faults: tuple[str, ...]
    compacts: bool = True
    """The journal is short, so that dumps are written all the time."""


TROUBLES = {
    "none": Trouble(()),
    "links-uncompacted": Trouble(LINKS, compacts=False),
    "links": Trouble((*LINKS, "compact")),
    "kill-uncompacted": Trouble((*LINKS, *KILLS), compacts=False),
    "kill": Trouble((*LINKS, *KILLS, "compact")),
    "power": Trouble((*LINKS, *KILLS, *POWER, "compact")),
}
NEVER = 10**9
TICK_S = 0.05
READS_BEFORE_TIME_PASSES = 200
CALM_S = 60.0
"""Twice the library's default for a leader that hears nobody to give up."""


class StockTransport(Transport):  # type: ignore[misc]
    """Hands messages to the simulated network."""

    def __init__(self, world: StockWorld, site: Site) -> None:
        super().__init__(None, None, [])
        self._world, self._site = world, site

    def send(self, node: Slot, message: Any) -> bool:
        self._site.burn()
        self._world.network.send(self._site.name, node.id, message)
        self._site.burn()
        return self._world.network.is_connected(self._site.name, node.id)

    def received(self, peer: str, message: Any) -> None:
        self._onMessageReceived(Slot(peer), message)

    def connection(self, peer: str, is_up: bool) -> None:
        (self._onNodeConnected if is_up else self._onNodeDisconnected)(Slot(peer))


class StockNode(SyncObj):  # type: ignore[misc]
    """The counter, as somebody would write it with the library. Attributes set after its constructor are the state."""

    def __init__(self, name: str, others: Sequence[str], transport: StockTransport, compact_entries: int) -> None:
        self.wire = transport
        conf = SyncObjConf(
            autoTick=False, journalFile=f"{name}/journal", fullDumpFile=f"{name}/dump", useFork=False,
            logCompactionMinEntries=compact_entries, pollerType="select",
        )  # fmt: skip
        super().__init__(Slot(name), [Slot(other) for other in others], conf, transport=transport)
        self.total = 0
        self.order: list[str] = []

    @replicated  # type: ignore[untyped-decorator]
    def add(self, command_id: str) -> int:
        self.total += 1
        self.order.append(command_id)
        return self.total

    @property
    def is_leader(self) -> bool:
        return bool(self._isLeader())

    def compact(self) -> None:
        self.forceLogCompaction()


@dataclass(slots=True)
class Findings:
    """What was wrong in one run."""

    seed: int
    acknowledged: int = 0
    lost: int = 0
    """Acknowledged commands that are missing in the end on a node that leads or has applied as much."""
    diverged: bool = False
    two_leaders: bool = False
    two_leaders_of_a_term: bool = False
    not_linearizable: bool = False
    cannot_start: str = ""
    stuck: bool = False
    exceptions: int = 0
    """Raised out of the library's tick; its thread logs them and goes on."""
    statistics: Statistics = field(default_factory=Statistics)

    @property
    def kinds(self) -> list[str]:
        found = {
            "acknowledged commands lost": self.lost, "nodes diverged": self.diverged, "two leaders": self.two_leaders,
            "two leaders of one term": self.two_leaders_of_a_term, "not linearizable": self.not_linearizable,
            "a node cannot start": self.cannot_start, "no progress after the faults": self.stuck,
        }  # fmt: skip
        return [kind for kind, is_found in found.items() if is_found]


@dataclass(slots=True)
class StockClock:
    """Time stands still within a step, but for a loop that waits for it to pass, as the library's send loop does."""

    boot_s: Callable[[], float] = lambda: 0.0
    reads: int = 0

    def enter(self, boot_s: Callable[[], float]) -> None:
        self.boot_s, self.reads = boot_s, 0

    def __call__(self) -> float:
        self.reads += 1
        return self.boot_s() + 0.01 * max(0, self.reads - READS_BEFORE_TIME_PASSES)


class StockWorld(World):
    """``World`` with stock nodes in place of replicas."""

    def __init__(
        self, findings: Findings, files: Files, clock: StockClock, *, compact_entries: int, power_fails: bool,
        **settings: Any,
    ) -> None:  # fmt: skip
        self.findings, self.files, self._clock = findings, files, clock
        files.burn = lambda name: self.sites[name].burn()
        self._compact_entries, self._power_fails = compact_entries, power_fails
        self._nodes: dict[str, StockNode] = {}
        self._broken: set[str] = set()
        super().__init__(findings.seed, **settings)
        findings.statistics = self.statistics
        for name in self.sites:
            self.files.machine(name).write_back()
            self._writing_back(name, self.dice.uniform(0.2, 5.0))

    def _enter(self, site: Site) -> None:
        self._clock.enter(lambda: site.clock.boot_s(self.now_s))

    def _writing_back(self, name: str, period_s: float) -> None:
        self.files.machine(name).write_back()
        self.at(period_s, self._writing_back, name, period_s)

    # processes

    def node(self, site: Site) -> StockNode | None:
        return self._nodes.get(site.name)

    def start(self, name: str, fuse: int | None = None) -> None:
        del fuse
        site = self.sites[name]
        if name in self._nodes or name in self._broken:
            return
        life = self.next_life()
        site.fuse = None
        self._enter(site)
        others = [other for other in self.sites if other != name]
        try:
            node = StockNode(name, others, StockTransport(self, site), self._compact_entries)
        except Exception as error:  # noqa: BLE001 - whatever the library makes of its own files
            self.findings.cannot_start = f"{name}: {type(error).__name__}: {error}"
            self._broken.add(name)
            return
        self._nodes[name] = site.replica = node
        site.life = life

    def _ticking(self, site: Site) -> None:
        node = self.node(site)
        if node is not None and self.now_s >= site.wakes_s:
            self.step(site, node.doTick, 0)
        self.at(max(TICK_S, site.wakes_s - self.now_s), self._ticking, site)

    def step(self, site: Site, action: Callable[..., Any], *arguments: Any) -> Any:
        if self.node(site) is None:
            return None
        self._enter(site)
        result, site.is_stepping = None, True
        try:
            result = action(*arguments)
        except Killed:
            assert site.fuse is not None and site.fuse <= 0
        except Exception:  # noqa: BLE001 - so does the library's own thread
            self.findings.exceptions += 1
        finally:
            site.is_stepping = False
        if site.fuse is not None and site.fuse <= 0:  # the library may have swallowed it in a bare except
            self.statistics.kills_inside += 1
            self.kill(site.name, power_lost=self.dice.random() < 0.5)
            self._revive_later(site)
            return None
        self._after_step(site)
        return result

    def _after_step(self, site: Site) -> None:
        node = self.node(site)
        if node is None or not node.is_leader:
            return
        for other in self.running():
            rival = self.node(other)
            if other is not site and rival is not None and rival.is_leader and self.now_s >= site.wakes_s:
                self.findings.two_leaders = True
                if rival.raftCurrentTerm == node.raftCurrentTerm:
                    self.findings.two_leaders_of_a_term = True

    def kill(self, name: str, *, power_lost: bool) -> None:
        site = self.sites[name]
        if self._nodes.pop(name, None) is None:
            return
        power_lost = power_lost and self._power_fails
        self.statistics.kills += not power_lost
        self.statistics.power_losses += power_lost
        site.replica, site.fuse, site.life, site.wakes_s = None, None, 0, 0.0
        site.clock.thaw(self.now_s)
        if power_lost:
            self.files.machine(name).lose_power(self.dice)
        self.network.died(name, silently=power_lost)

    # network

    def dials(self, name: str, peer: str) -> bool:
        del name, peer
        return True

    def accepts(self, name: str, peer: str) -> bool:
        """The library asks for nothing but a known address, and all are known."""
        del name, peer
        return True

    def peer_connected(self, name: str, peer: str) -> None:
        self._tell(name, lambda node: node.wire.connection(peer, True))

    def peer_disconnected(self, name: str, peer: str) -> None:
        self._tell(name, lambda node: node.wire.connection(peer, False))

    def peer_said(self, name: str, peer: str, frame: Any) -> bool:
        self._tell(name, lambda node: node.wire.received(peer, frame))
        self._tell(name, lambda node: node.doTick(0))
        return True

    def _tell(self, name: str, what: Callable[[StockNode], None]) -> None:
        site = self.sites[name]
        node = self.node(site)
        if node is not None:
            self.step(site, what, node)

    # the end

    def settled(self) -> bool:
        nodes = list(self._nodes.values())
        leaders = [node for node in nodes if node.is_leader]
        return (
            len(nodes) + len(self._broken) == len(self.sites)
            and len(leaders) == 1
            and (len({node.raftLastApplied for node in nodes}) == 1)
        )

    def can_work(self) -> bool:
        return len(self._nodes) > len(self.sites) // 2

    def judge(self, clients: StockClients) -> None:
        """Compare what is there in the end with what was acknowledged."""
        findings, nodes = self.findings, list(self._nodes.values())
        findings.acknowledged = len(clients.acknowledged)
        newest = max((node.raftLastApplied for node in nodes), default=0)
        for node in nodes:
            if node.is_leader or node.raftLastApplied == newest:
                findings.lost = max(findings.lost, len(clients.acknowledged - set(node.order)))
        orders = sorted((node.order for node in nodes), key=len)
        findings.diverged = any(longer[: len(order)] != order for order, longer in itertools.pairwise(orders))
        try:
            linearizable(clients.history)
        except Violation:
            findings.not_linearizable = True


class StockClients:
    """Each does one thing at a time, through any node; an outcome that is not success is unknown."""

    TIMEOUT_S = 3.0

    def __init__(self, world: StockWorld, count: int, pause_s: tuple[float, float], read_share: float) -> None:
        self._world, self._pause_s, self._read_share = world, pause_s, read_share
        self._number = 0
        self.is_open = True
        self.acknowledged: set[str] = set()
        self.history: list[Operation] = []
        for number in range(count):
            world.at(world.dice.uniform(0.5, 1.5), self._next, f"c{number}")

    def _again(self, client: str) -> None:
        self._world.at(self._world.dice.uniform(*self._pause_s) + 0.001, self._next, client)

    def _next(self, client: str) -> None:
        world = self._world
        sites = list(world.running())
        if not self.is_open:
            return
        if not sites:
            self._again(client)
        elif world.dice.random() < self._read_share:
            self._read(client, sites)
        else:
            self._add(client, world.dice.choice(sites))

    def _read(self, client: str, sites: Sequence[Site]) -> None:
        """On a node that says that it leads and is ready, as the library's users do."""
        nodes = [node for site in sites if (node := self._world.node(site)) and node.is_leader and node.isReady()]
        if nodes:
            now_s, node = self._world.now_s, self._world.dice.choice(nodes)
            self.history.append(Operation(client, "read", 0, node.total, now_s, now_s))
        self._again(client)

    def _add(self, client: str, site: Site) -> None:
        world, node = self._world, self._world.node(site)
        assert node is not None
        self._number += 1
        command_id, invoked_s, is_over = f"{client}-{self._number}", world.now_s, False

        def over(total: int | None, error: int | None) -> None:
            nonlocal is_over
            if is_over:
                return
            is_over = True
            is_known = error == FAIL_REASON.SUCCESS
            returned_s = world.now_s if is_known else None
            self.history.append(Operation(client, "add", 1, total if is_known else None, invoked_s, returned_s))
            if is_known:
                self.acknowledged.add(command_id)
                world.statistics.acknowledged += 1
            self._again(client)

        world.at(self.TIMEOUT_S, over, None, None)
        world.step(site, partial(node.add, command_id, callback=over))


def run(seed: int, trouble: str = "power") -> Findings:
    """One run of the stock library; ``trouble`` is a key of ``TROUBLES``."""
    findings, files, clock = Findings(seed), Files(), StockClock()
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with stock_library(files, clock):
            _run(findings, files, clock, TROUBLES[trouble])
    finally:
        logging.disable(level)
    return findings


def _run(findings: Findings, files: Files, clock: StockClock, trouble: Trouble) -> None:
    dice = random.Random(f"stock {findings.seed}")
    world = StockWorld(
        findings, files, clock, compact_entries=dice.choice((20, 40, 200)) if trouble.compacts else NEVER,
        power_fails="lose_power" in trouble.faults, size=dice.choice((3, 3, 3, 5)),
        delay_s=dice.choice(((0.0002, 0.001), (0.0005, 0.003), (0.005, 0.04))),
    )  # fmt: skip
    pause_s = dice.choice(((0.0, 0.1), (0.0, 0.5), (0.2, 2.0)))
    clients = StockClients(world, dice.randint(2, 5), pause_s, dice.choice((0.1, 0.3)))
    ends_s = world.now_s + dice.uniform(10, 25)
    began_s = world.now_s
    rows = [fault for fault in FAULTS if fault.begin.__name__ in trouble.faults]
    world.at(1.0, _trouble, world, rows, dice.choice((0.3, 0.8, 2.0)), ends_s)
    world.run(ends_s - world.now_s)
    _calm_down(world, clients)
    world.judge(clients)
    findings.statistics.virtual_s = world.now_s - began_s


def _trouble(world: StockWorld, rows: Sequence[Fault], mean_gap_s: float, ends_s: float) -> None:
    """One fault, and the next a little later."""
    if rows and world.now_s < ends_s:
        world.dice.choices(rows, [fault.weight for fault in rows])[0].begin(world)
        world.at(world.dice.expovariate(1 / mean_gap_s), _trouble, world, rows, mean_gap_s, ends_s)


def _calm_down(world: StockWorld, clients: StockClients) -> None:
    world.end_faults()
    world.run(5.0)
    clients.is_open = False
    ends_s = world.now_s + CALM_S
    while not world.settled() and world.now_s < ends_s:
        world.run(0.5)
        world.end_faults()
    world.findings.stuck = not world.settled() and world.can_work()
