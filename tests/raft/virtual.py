"""Three replicas in virtual time: the real PySyncObj, seam, journal and outbox; a modelled network, disk and clock.

One seed, one thread, no waiting. The network keeps order inside a connection and loses what was under way when the
connection breaks; the disk forgets what was not synced when power is lost; clocks run at slightly different rates.
After every step the promises are checked that may never break, whatever fails.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from orchestrator_raft.raft.machine import Replicated
from orchestrator_raft.raft.messages import RaftMessage, decode, encode
from orchestrator_raft.raft.replica import Replica
from orchestrator_raft.raft.settings import Limits, Timing
from orchestrator_raft.raft.store import Image, Operation
from tests.raft.counting import Add, Break, Counted, Counter, codec

TICK_S = 0.025
CODEC = codec()


def copy(image: Image) -> Image:
    return replace(image, entries=list(image.entries), snapshots=list(image.snapshots), facts=dict(image.facts))


class Disk:
    """A store whose syncs take time; ``lose_power`` forgets what was not synced."""

    where = "virtual disk"

    def __init__(self) -> None:
        self.image = Image()
        self.durable = Image()
        self.synced_mark = 0
        self.is_hung = False
        self._waiting: list[tuple[Sequence[Operation], int]] = []

    def load(self) -> Image:
        return copy(self.image)

    def write(self, operations: Sequence[Operation], mark: int) -> None:
        for operation in operations:
            self.image.apply(operation)
        self._waiting.append((operations, mark))

    def sync(self) -> bool:
        if not self._waiting or self.is_hung:
            return False
        for operations, mark in self._waiting:
            for operation in operations:
                self.durable.apply(operation)
            self.synced_mark = mark
        self._waiting.clear()
        return True

    def restart(self, power_lost: bool) -> None:
        self.image = copy(self.durable if power_lost else self.image)
        self.durable = copy(self.image)
        self.synced_mark = 0
        self._waiting.clear()

    def size_bytes(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing to let go."""


@dataclass(slots=True)
class Site:
    """One node and its surroundings."""

    name: str
    rate: float
    offset_s: float
    disk: Disk = field(default_factory=Disk)
    replica: Replica | None = None
    replicated: Replicated[Counted, Add | Break, int] | None = None
    paused_until_s: float = 0.0
    acknowledged: list[str] = field(default_factory=list)


class World:
    def __init__(self, seed: int, size: int = 3, limits: Limits | None = None) -> None:
        self.random = random.Random(seed)
        random.seed(seed)
        self.now_s = 1000.0
        self.timing = Timing()
        self.limits = limits or Limits()
        names = [chr(ord("a") + number) for number in range(size)]
        self.sites = {name: Site(name, self.random.uniform(0.99, 1.01), self.random.uniform(0, 9)) for name in names}
        self.cut: set[frozenset[str]] = set()
        self.connections: dict[frozenset[str], int] = {}
        self.delay_s = (0.0005, 0.003)
        self.sync_s = (0.0005, 0.005)
        self.digests: dict[int, tuple[bytes, str]] = {}
        self.submitted: set[str] = set()
        self.acknowledged: dict[str, int] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._last_arrival: dict[tuple[str, str], float] = {}
        self._number = 0
        for name in names:
            self.start(name)
            self._ticking(name)
        self._reconnecting()

    # events

    def at(self, delay_s: float, action: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now_s + delay_s, self._number, action))

    def run(self, for_s: float, until: Callable[[], bool] | None = None) -> bool:
        """Until the time is over or the condition holds; says which."""
        end_s = self.now_s + for_s
        while self._events and self._events[0][0] <= end_s:
            self.now_s, _, action = heapq.heappop(self._events)
            action()
            self.check()
            if until is not None and until():
                return True
        self.now_s = end_s
        return until is not None and until()

    def _ticking(self, name: str) -> None:
        site = self.sites[name]
        if site.replica is not None and not self.is_paused(site):
            site.replica.tick()
            self._sync_later(site)
        self.at(TICK_S * self.random.uniform(0.9, 1.1), lambda: self._ticking(name))

    def _reconnecting(self) -> None:
        for one in self.sites:
            for other in self.sites:
                if one < other:
                    self._connect(one, other)
        self.at(self.random.uniform(0.05, 0.3), self._reconnecting)

    # nodes

    def clock(self, site: Site) -> float:
        return self.now_s * site.rate + site.offset_s

    def is_paused(self, site: Site) -> bool:
        return self.now_s < site.paused_until_s

    def start(self, name: str) -> None:
        site = self.sites[name]
        site.replicated = Replicated(Counter(), CODEC, lambda index, command, _: self._applied(site, index, command))
        site.replica = Replica(
            name, [other for other in self.sites if other != name], store=site.disk, image=site.disk.load(),
            replicated=site.replicated, deliver=lambda peer, message: self._send(name, peer, message),
            clock=lambda: self.clock(site), wall=lambda: self.clock(site), timing=self.timing, limits=self.limits,
        )  # fmt: skip
        self._sync_later(site)

    def revive(self, name: str) -> None:
        if self.sites[name].replica is None:
            self.start(name)

    def kill(self, name: str, *, power_lost: bool) -> None:
        site = self.sites[name]
        site.replica = None
        site.disk.restart(power_lost)
        for link in [link for link in self.connections if name in link]:
            self._disconnect(link)

    def pause(self, name: str, for_s: float) -> None:
        self.sites[name].paused_until_s = self.now_s + for_s

    def _sync_later(self, site: Site) -> None:
        replica = site.replica

        def sync() -> None:
            if site.replica is replica and replica is not None and site.disk.sync() and not self.is_paused(site):
                replica.synced()

        self.at(self.random.uniform(*self.sync_s), sync)

    def alive(self) -> Iterator[Site]:
        return (site for site in self.sites.values() if site.replica is not None and not self.is_paused(site))

    # network

    def _connect(self, one: str, other: str) -> None:
        link = frozenset((one, other))
        ends = [self.sites[one], self.sites[other]]
        if link in self.cut or link in self.connections or any(site.replica is None for site in ends):
            return
        self._number += 1
        self.connections[link] = self._number
        for here, there in ((one, other), (other, one)):
            self._meet(here, there)
            self._sync_later(self.sites[here])

    def _meet(self, here: str, there: str) -> None:
        replica = self.sites[here].replica
        assert replica is not None
        replica.connected(there)

    def _disconnect(self, link: frozenset[str]) -> None:
        if self.connections.pop(link, None) is None:
            return
        for here in sorted(link):
            (there,) = link - {here}
            replica = self.sites[here].replica
            if replica is not None:
                replica.disconnected(there)

    def sever(self, one: str, other: str, *, silent: bool = False) -> None:
        """Cut a link; silently, both ends notice only after three seconds."""
        link = frozenset((one, other))
        self.cut.add(link)
        number = self.connections.get(link)

        def notice() -> None:
            if number is not None and self.connections.get(link) == number:
                self._disconnect(link)

        self.at(3.0 if silent else 0.001, notice)

    def heal(self) -> None:
        self.cut.clear()

    def _send(self, source: str, target: str, message: RaftMessage) -> None:
        link = frozenset((source, target))
        number = self.connections.get(link)
        if number is None or link in self.cut:
            return
        data = encode(message)
        arrival_s = max(self.now_s + self.random.uniform(*self.delay_s), self._last_arrival.get((source, target), 0.0))
        self._last_arrival[source, target] = arrival_s

        def arrive() -> None:
            site = self.sites[target]
            if self.connections.get(link) != number or link in self.cut or site.replica is None:
                return
            if self.is_paused(site):
                self.at(site.paused_until_s - self.now_s + 0.001, arrive)
                return
            decoded = decode(data)
            assert decoded is not None
            site.replica.received(source, [decoded])  # type: ignore[list-item]
            self._sync_later(site)

        self.at(arrival_s - self.now_s, arrive)

    # clients and checks

    def submit(self, name: str, command: Add) -> bool:
        site = self.sites[name]
        if site.replica is None or self.is_paused(site):
            return False
        self.submitted.add(command.id)
        accepted = site.replica.submit(CODEC.encode_command(command))
        self._sync_later(site)
        return accepted

    def leaders(self) -> list[str]:
        return [site.name for site in self.alive() if site.replica and site.replica.authority() is not None]

    def _applied(self, site: Site, index: int, command: Add | Break) -> None:
        assert site.replicated is not None
        digest, first = self.digests.setdefault(index, (site.replicated.digest, site.name))
        assert digest == site.replicated.digest, f"{site.name} and {first} differ at {index}"
        if site.replica is not None and site.replica.is_leader:
            self.acknowledged.setdefault(command.id, index)

    def check(self) -> None:
        assert len(self.leaders()) <= 1, f"two nodes have authority: {self.leaders()}"

    def states(self) -> list[Counted]:
        return [site.replicated.state for site in self.sites.values() if site.replicated is not None]

    def settled(self) -> bool:
        """Everybody is up, one leads, and all have applied the same."""
        replicas = [site.replica for site in self.sites.values()]
        if any(replica is None for replica in replicas) or len(self.leaders()) != 1:
            return False
        return len({(replica.applied_index, replica.journal.last_index) for replica in replicas if replica}) == 1

    def assert_kept(self) -> None:
        """Nothing that was acknowledged is missing, nothing was applied twice, all are equal."""
        first, *others = self.states()
        for other in others:
            assert list(first.results.items()) == list(other.results.items())
        assert self.acknowledged.keys() <= first.results.keys()
        assert first.total == len(first.results)
