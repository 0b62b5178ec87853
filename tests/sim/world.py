"""A whole cluster in virtual time: real replicas (PySyncObj, seam, journal, outbox), modelled machines around them.

One seed, one thread, no waiting. A *site* is a machine with a name, clocks and a disk; the process on it comes and
goes. A step is one call of a replica, as ``Driver`` makes it; it may be cut short by a kill at any place where
something could escape: around a message to the network, around a group to the disk, around an applied entry.
After every step the promises are checked that may never break, whatever fails.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator_raft.core.errors import OrchestratorError
from orchestrator_raft.raft import membership
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.machine import Machine, Replicated
from orchestrator_raft.raft.membership import Contact
from orchestrator_raft.raft.messages import RaftMessage, decode, encode
from orchestrator_raft.raft.replica import Replica
from orchestrator_raft.raft.settings import Limits, Timing
from orchestrator_raft.raft.store import Operation, Snapshot
from tests.raft import next_version
from tests.raft.counting import Add, Break, Counted, Counter
from tests.seeded.agenda import Agenda
from tests.sim.checks import CRASHED, THIN, UNREADABLE, Ledger, Violation
from tests.sim.clocks import MachineClock
from tests.sim.disk import Disk
from tests.sim.joining import CODECS, Node, encoded, entries_of, identity_of, is_outdated, levels_of
from tests.sim.network import Network
from tests.sim.statistics import Statistics

SYNC_MAX_S = 4.0
NEWCOMERS_S = 0.9
"""When people start nodes that are no founders: another list of members, told before, would keep all from founding."""
Heard = Callable[[str, Any], None]


class Killed(BaseException):
    """The process ends here, in the middle of whatever it does."""


class WatchedState(Replicated[Counted, Add | Break, int]):
    """The replicated state, which tells the world what it holds whenever that has changed."""

    def __init__(self, site: Site, world: World) -> None:
        self._site, self._world = site, world
        self._data = b""
        machine: Any = world.machine if site.version == 1 else next_version.Counter()
        super().__init__(machine, CODECS[site.version - 1], self._told)

    def apply(self, index: int, data: bytes) -> None:
        self._site.burn()
        self._data = data
        super().apply(index, data)
        self._world.ledger.holds(self._site.name, self.digest, self.state)
        self._site.burn()

    def _told(self, index: int, command: Add | Break, result: int) -> None:
        amount = getattr(command, "amount", 0) * getattr(command, "times", 1)
        if self._world.ledger.applied(self._site.name, index, command.id, amount, self.digest):
            self._world.first_applied(self._site, index, self._data)
        self._site.applied(command.id, result)

    def snapshot(self, *arguments: Any) -> Callable[[], bytes]:
        self._world.statistics.snapshots_taken += 1
        return super().snapshot(*arguments)

    def restore(self, snapshot: Snapshot) -> None:
        super().restore(snapshot)
        self._world.ledger.holds(self._site.name, self.digest, self.state)
        if self._site.replica is not None:
            self._world.statistics.snapshots_installed += 1


class SiteDisk(Disk):
    """The disk as the replica sees it: giving it something may be the last thing a process does."""

    def __init__(self, burn: Callable[[], None]) -> None:
        super().__init__()
        self._burn = burn

    def write(self, operations: Sequence[Operation], mark: int) -> None:
        self._burn()
        super().write(operations, mark)
        self._burn()


@dataclass(slots=True)
class Site:
    """One machine, and the process on it if there is one."""

    name: str
    clock: MachineClock
    life: int = 0
    replica: Replica | None = None
    replicated: WatchedState | None = None
    wakes_s: float = 0.0
    fuse: int | None = None
    """So many more chances to escape, then the process is gone."""
    is_stepping: bool = False
    waiting: dict[str, list[Callable[[int], None]]] = field(default_factory=dict)
    """Whom to tell the result of a command, by its id."""
    version: int = 1
    node: Node | None = None
    """What stands around the replica."""
    disk: SiteDisk = field(init=False)

    def __post_init__(self) -> None:
        self.disk = SiteDisk(self.burn)

    @property
    def is_up(self) -> bool:
        return self.replica is not None

    def burn(self) -> None:
        if self.fuse is not None and self.is_stepping:
            self.fuse -= 1
            if self.fuse <= 0:
                raise Killed

    def applied(self, command_id: str, result: int) -> None:
        for tell in self.waiting.get(command_id, ()):
            tell(result)


class World(Agenda):
    """``heard`` gets what is no Raft message: the clients' calls between nodes. ``wire`` encodes every message."""

    def __init__(
        self, seed: int, size: int = 3, limits: Limits | None = None, *, delay_s: tuple[float, float] = (0.0005, 0.003),
        sync_s: tuple[float, float] = (0.0005, 0.005), drift: float = 0.01, wire: bool = True, newcomers: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dice = random.Random(seed)
        random.seed(seed)
        self.timing, self.limits = Timing(), limits or Limits()
        self.sync_s, self.wire = sync_s, wire
        self.statistics, self.ledger = Statistics(), Ledger()
        self.machine: Machine[Counted, Add | Break, int] = Counter()
        self._newest: tuple[int, bytes, frozenset[str]] = 0, b"", frozenset()
        """The newest command that anybody has applied, and the voters by which it was counted."""
        self.emptied = ""
        """A member whose disk was emptied, and who does not vote again yet: never two, for that may lose a majority."""
        self.on_call: Callable[[str, str, Any], None] = lambda _here, _there, _call: None
        names = [chr(ord("a") + number) for number in range(size + newcomers)]
        self.sites = {
            name: Site(name, MachineClock(self.dice.uniform(1 - drift, 1 + drift), self.dice.uniform(0, 9)))
            for name in names
        }
        self._founders = names[:size]
        self.network = Network(self, names, delay_s)
        for number, name in enumerate(names):
            if number < size:
                self.start(name)
            else:
                self.at(NEWCOMERS_S, self.start, name)
            self._ticking(self.sites[name])

    # events

    def _ticking(self, site: Site) -> None:
        if site.replica is not None and self.now_s >= site.wakes_s:
            self._found_if_due(site)
        if site.replica is not None and self.now_s >= site.wakes_s and not site.replica.rests():
            self.step(site, site.replica.tick)
        self.at(max(self.timing.tick_s / site.clock.rate, site.wakes_s - self.now_s), self._ticking, site)

    # processes

    def start(self, name: str, fuse: int | None = None) -> None:
        """With ``fuse``, it may not survive its start."""
        site = self.sites[name]
        if site.replica is not None:
            return
        self.note(f"{name} starts")
        life = self.next_life()
        site.fuse, site.waiting, site.is_stepping = fuse, {}, True
        try:
            site.replicated = WatchedState(site, self)
            self._assemble(site, life)
        except Killed:
            self.statistics.kills_at_start += 1
            site.replica, site.fuse = None, None
            site.disk.crash(self.dice)
            self._revive_later(site)
            return
        except (OrchestratorError, RuntimeError, ValueError, AssertionError) as error:
            site.replica = None
            if is_outdated(error, site.version):
                self._upgrade(site)
                return
            raise Violation(UNREADABLE, f"{name}: {type(error).__name__}: {error}") from error
        finally:
            site.is_stepping = False
        site.life = life
        self._after_step(site)

    def _upgrade(self, site: Site) -> None:
        """A node that does not know the cluster's level has said so and is gone; somebody installs the next version."""
        self.note(f"{site.name} is upgraded")
        site.version += 1
        site.fuse = None
        site.disk.crash(self.dice)
        self._revive_later(site)

    def _assemble(self, site: Site, life: int) -> None:
        """As ``assembly.assemble`` does it."""
        image = site.disk.load()
        identity = identity_of(site.name, dict(image.facts), entries_of(site.name, self._founders), life)
        others = [slot for slot in identity.founders if slot != site.name] if identity.founders else None
        site.replica = self._replica(site, others, Contact(incarnation=identity.node_id, address=site.name))
        site.node = Node(identity, site.replica, levels_of(site.version), self.now_s)
        if unsaved := site.node.unsaved(dict(image.facts)):
            site.replica.save_facts(unsaved)

    def _replica(self, site: Site, others: list[str] | None, own: Contact) -> Replica:
        assert site.replicated is not None
        return Replica(
            site.name, others, store=site.disk, image=site.disk.load(), own=own,
            replicated=site.replicated, deliver=lambda peer, message: self._deliver(site, peer, message),
            clock=lambda: site.clock.boot_s(self.now_s), wall=lambda: site.clock.wall_s(self.now_s),
            timing=self.timing, limits=self.limits,
        )  # fmt: skip

    def step(self, site: Site, action: Callable[..., Any], *arguments: Any) -> Any:
        """One call of the replica; None if it did not survive it. Raises ProtocolError, as ``Driver.step`` does."""
        replica = site.replica
        if replica is None:
            return None
        site.is_stepping = True
        try:
            result = action(*arguments)
        except Killed:
            self.statistics.kills_inside += 1
            self.kill(site.name, power_lost=self.dice.random() < 0.5)
            self._revive_later(site)
            return None
        except (ProtocolError, Violation):
            raise
        except Exception as error:
            if is_outdated(error, site.version):
                self.kill(site.name, power_lost=False)
                self._upgrade(site)
                return None
            raise Violation(CRASHED, f"{site.name}: {type(error).__name__}: {error}") from error
        finally:
            site.is_stepping = False
        self._after_step(site)
        return result

    def _after_step(self, site: Site) -> None:
        replica = site.replica
        if replica is not None and site.node is not None:
            for peer in site.node.strangers():
                self.at(0.0, self.network.abort, site.name, peer)
            self.statistics.levels_reached = max(self.statistics.levels_reached, replica.members.level - 1)
        if site.disk.has_work:
            site.disk.begin()
            takes_s = min(SYNC_MAX_S, self.dice.uniform(*self.sync_s) * site.disk.slowness * site.disk.age)
            self.at(takes_s, self._written, site, site.life)
        if replica is not None and replica.is_leader:
            rivals = self._leaders_but(site)
            if self.trace is not None and replica.term not in self.ledger.leaders:
                self.note(f"{site.name} leads in term {replica.term}")
            self.ledger.office(site.name, replica, rivals)

    def _leaders_but(self, site: Site) -> Iterator[tuple[str, Replica]]:
        """A machine that stands still can do nothing, and nobody can ask it."""
        for other in self.sites.values():
            replica = other.replica
            if other is not site and replica is not None and not other.clock.is_frozen and replica.is_leader:
                yield other.name, replica

    def kill(self, name: str, *, power_lost: bool) -> None:
        """What the disk keeps is the same for both; with the power, the news of it is lost, too."""
        site = self.sites[name]
        if site.replica is None:
            return
        self.note(f"{name} {'loses power' if power_lost else 'is killed'}")
        self.statistics.kills += not power_lost
        self.statistics.power_losses += power_lost
        site.replica, site.node, site.fuse, site.life, site.wakes_s, site.waiting = None, None, None, 0, 0.0, {}
        site.clock.thaw(self.now_s)
        lost = site.disk.groups_lost
        site.disk.crash(self.dice)
        self.statistics.groups_lost += site.disk.groups_lost - lost
        self.network.died(name, silently=power_lost)

    def _revive_later(self, site: Site) -> None:
        self.at(self.dice.uniform(0.01, 2), self.start, site.name)

    def pause(self, name: str, for_s: float, *, freeze: bool = False) -> None:
        """The process stands still; with ``freeze`` the whole machine does, its boot clock included."""
        site = self.sites[name]
        if site.replica is None or self.now_s < site.wakes_s:
            return
        self.note(f"{name} {'freezes' if freeze else 'pauses'} for {for_s:.3f} s")
        site.wakes_s = self.now_s + for_s
        if freeze:
            site.clock.freeze(self.now_s)
        self.at(for_s, self._wake, site, site.life)

    def _wake(self, site: Site, life: int) -> None:
        if site.life != life or site.replica is None:
            return
        site.clock.thaw(self.now_s)
        site.wakes_s = self.now_s
        self._after_step(site)
        self.at(self.dice.choice((0.0, 0.002)), self.network.woke, site.name)

    # the disk

    def _written(self, site: Site, life: int) -> None:
        if site.life != life:
            return
        disk = site.disk
        if disk.is_hung or site.clock.is_frozen:
            self.at(0.05, self._written, site, life)
        elif disk.is_full:
            self.kill(site.name, power_lost=False)
            self._revive_later(site)
        else:
            mark = disk.finish()
            if disk.has_cut:
                self.check_disks()
            self.at(0.0001, self._synced, site, life, mark)
            if disk.has_work and self.now_s >= site.wakes_s:
                self._after_step(site)

    def _synced(self, site: Site, life: int, mark: int) -> None:
        """The news may be late, of a process that was woken before its time; a mark is never taken back."""
        if site.life != life or site.replica is None:
            return
        if self.now_s < site.wakes_s:
            self.at(site.wakes_s - self.now_s, self._synced, site, life, mark)
            return
        if mark > site.disk.synced_mark:
            site.disk.synced_mark = mark
            self.step(site, site.replica.synced)

    def _found_if_due(self, site: Site) -> None:
        replica, node = site.replica, site.node
        configuration = node.to_found(self.now_s) if node is not None else None
        if replica is not None and node is not None and configuration is not None:
            self._save_roster(site)
            if site.replica is replica:
                self.step(site, replica.found, configuration)

    def _save_roster(self, site: Site) -> None:
        if site.replica is not None and site.node is not None:
            self.step(site, site.replica.save_facts, site.node.roster.facts())

    # what the network tells and asks

    def life(self, name: str) -> int:
        return self.sites[name].life

    def wakes_s(self, name: str) -> float:
        return self.sites[name].wakes_s

    def dials(self, name: str, peer: str) -> bool:
        node = self.sites[name].node
        return node is not None and node.dials(peer)

    def accepts(self, name: str, peer: str) -> bool:
        """Whether this node takes the other for a member, as the handshake asks."""
        node, other = self.sites[name].node, self.sites[peer].node
        return node is not None and other is not None and node.meet(other.hello)

    def peer_connected(self, name: str, peer: str) -> None:
        site = self.sites[name]
        if site.replica is not None and site.node is not None:
            self.step(site, site.replica.connected, peer, site.node.contact(peer))
            self._found_if_due(site)

    def peer_disconnected(self, name: str, peer: str) -> None:
        site = self.sites[name]
        if site.replica is not None:
            self.step(site, site.replica.disconnected, peer)

    def peer_said(self, name: str, peer: str, frame: Any) -> bool:
        site = self.sites[name]
        message = decode(frame) if type(frame) is bytes else frame
        if site.replica is None:
            return True
        if not isinstance(message, RaftMessage):
            self.on_call(name, peer, message)
            return True
        if site.node is not None and site.node.is_taken_in(peer, message):
            self._save_roster(site)
        replica = self.sites[name].replica
        if replica is None:
            return True
        try:
            self.step(site, replica.received, peer, [message])
        except ProtocolError:
            self._after_step(site)
            return False
        return True

    def _deliver(self, site: Site, peer: str, message: RaftMessage) -> None:
        site.burn()
        self.send(site.name, peer, message)
        site.burn()

    def send(self, name: str, peer: str, message: Any) -> None:
        self.network.send(name, peer, encode(message) if self.wire else message)

    # what tests and clients ask

    def submit(self, name: str, command: Add) -> bool:
        """Whether this node took it into its log, as a leader."""
        site = self.sites[name]
        if site.replica is None or self.now_s < site.wakes_s:
            return False
        return bool(self.step(site, site.replica.submit, self.encoded(site, command)))

    def encoded(self, site: Site, command: Add) -> bytes:
        """As that node writes it now."""
        assert site.replica is not None
        return encoded(command, site.version, site.replica.members.level)

    def running(self) -> Iterator[Site]:
        return (site for site in self.sites.values() if site.replica is not None and self.now_s >= site.wakes_s)

    def leaders(self) -> list[str]:
        return [site.name for site in self.running() if site.replica and site.replica.authority() is not None]

    def end_faults(self) -> None:
        """Everything works again, and everybody is started."""
        self.network.heal()
        for site in self.sites.values():
            site.disk.is_hung = site.disk.is_full = False
            site.disk.slowness = 1.0
            site.fuse = None
            if site.replica is not None and self.now_s < site.wakes_s:
                self._wake(site, site.life)
            self.start(site.name)

    def settled(self) -> bool:
        """All members are up, one leads, nothing is to be done about the members, and all have applied the same."""
        leaders = self.leaders()
        leader = self.sites[leaders[0]].replica if len(leaders) == 1 else None
        if leader is None or self.emptied or membership.going(leader.members.configuration):
            return False
        configuration = leader.members.configuration
        replicas = [self.sites[slot].replica for slot in sorted(configuration.slots)]
        if any(replica is None for replica in replicas) or configuration.slots != configuration.voters:
            return False
        if configuration.level != min(self.sites[slot].version for slot in configuration.slots):
            return False
        return len({(replica.applied_index, replica.journal.last_index) for replica in replicas if replica}) == 1

    def first_applied(self, site: Site, index: int, data: bytes) -> None:
        """Whoever applies a command first leads, and has counted by the members that it knows."""
        voters = site.replica.voters if site.replica is not None else frozenset()
        self._newest = index, data, voters
        self.check_disks()

    def check_disks(self) -> None:
        """What somebody has applied survives the loss of power everywhere, and of any minority of the voters' disks:
        of those that it was counted by, or of those that there are now. The one that was lost may have been one."""
        index, data, counted_by = self._newest
        if not counted_by:
            return
        known = (site.replica.voters for site in self.sites.values() if site.replica is not None)
        for voters in (counted_by, *known):
            holders = sum(name == self.emptied or self.sites[name].disk.holds(index, data) for name in voters)
            if holders > len(voters) // 2:
                return
        raise Violation(THIN, f"entry {index} is applied, but no majority of {', '.join(sorted(counted_by))} has it")

    def check_settled(self) -> None:
        leader = self.sites[self.leaders()[0]].replica
        assert leader is not None
        members = [self.sites[slot] for slot in sorted(leader.voters)]
        self.ledger.settled((site.name, site.replicated.state) for site in members if site.replicated is not None)
