"""What can go wrong, one row a fault. A run draws which of them happen, how often, and for how long.

A fault has a beginning and, where it does not end by itself, an end that is put on the agenda with it. Whatever is left
is ended by ``World.end_faults``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator_raft.raft.transport import SILENCE_S
from tests.raft.counting import Add
from tests.sim import people
from tests.sim.linearizable import Operation
from tests.sim.world import Site, World

Begin = Callable[[World], None]


def names(world: World) -> list[str]:
    return sorted(world.sites)


def some_site(world: World) -> Site:
    """The leader, half of the time: it is where faults hurt."""
    leading = [site for site in world.sites.values() if site.replica is not None and site.replica.is_leader]
    if leading and world.dice.random() < 0.5:
        return leading[-1]
    return world.sites[world.dice.choice(names(world))]


def pair(world: World) -> tuple[str, str]:
    one = some_site(world).name
    other = world.dice.choice([name for name in names(world) if name != one])
    return (one, other) if world.dice.random() < 0.5 else (other, one)


def block(world: World, ways: Sequence[tuple[str, str]], for_s: float) -> None:
    world.note(f"blocked for {for_s:.3f} s: {', '.join('>'.join(way) for way in ways)}")
    for source, target in ways:
        world.network.block(source, target)
        world.at(for_s, world.network.unblock, source, target)


def both(one: str, other: str) -> list[tuple[str, str]]:
    return [(one, other), (other, one)]


def some_time_s(world: World) -> float:
    """Mostly short, sometimes beyond the silence limit of a connection."""
    ranges = ((0.05, 0.6), (0.4, 1.2), (0.4, 1.2), (0.3, 2.5), (2.0, 6.0))
    return world.dice.uniform(*world.dice.choice(ranges))


def cut(world: World) -> None:
    world.statistics.cuts += 1
    block(world, both(*pair(world)), some_time_s(world))


def cut_one_way(world: World) -> None:
    world.statistics.one_way_cuts += 1
    block(world, [pair(world)], some_time_s(world))


def isolate(world: World) -> None:
    """One node sees nobody, or is heard by nobody, or hears nobody."""
    world.statistics.cuts += 1
    name, kind, for_s = some_site(world).name, world.dice.randint(0, 2), some_time_s(world)
    for other in sorted(world.sites.keys() - {name}):
        block(world, [way for way in both(name, other) if kind == 0 or way[kind - 1] == name], for_s)


def bridge(world: World) -> None:
    """Two groups do not see each other, and one node sees both."""
    world.statistics.bridges += 1
    order = names(world)
    world.dice.shuffle(order)
    middle = len(order) // 2
    for_s = some_time_s(world)
    for one in order[:middle]:
        for other in order[middle + 1 :]:
            block(world, both(one, other), for_s)


def flap(world: World) -> None:
    world.statistics.flaps += 1
    ways = both(*pair(world))
    every_s = world.dice.uniform(0.05, 0.7)
    for turn in range(6):
        world.at(turn * every_s, block, world, ways, every_s * world.dice.uniform(0.2, 0.8))


def slow_down(world: World) -> None:
    world.statistics.delay_spikes += 1
    factor, for_s = world.dice.choice((10.0, 60.0, 300.0)), some_time_s(world)
    for source, target in world.dice.sample(both(*pair(world)), world.dice.randint(1, 2)):
        world.network.slow_down(source, target, factor)
        world.at(for_s, world.network.slow_down, source, target, 1.0)


def kill(world: World) -> None:
    _stop(world, [some_site(world).name], power_lost=False)


def kill_some(world: World) -> None:
    _stop(world, world.dice.sample(names(world), world.dice.randint(1, len(names(world)))), power_lost=False)


def lose_power(world: World) -> None:
    _stop(world, [some_site(world).name], power_lost=True)


def lose_power_of_some(world: World) -> None:
    _stop(world, world.dice.sample(names(world), world.dice.randint(1, len(names(world)))), power_lost=True)


def _stop(world: World, victims: Sequence[str], *, power_lost: bool) -> None:
    """Down for a while; while one is down its newest snapshot may rot."""
    for name in victims:
        site = world.sites[name]
        if site.replica is None:
            continue
        world.kill(name, power_lost=power_lost)
        if world.dice.random() < 0.15 and site.disk.damage_newest_snapshot(world.dice):
            world.statistics.snapshots_damaged += 1
        world.at(world.dice.choice((world.dice.uniform(0.01, 0.1), world.dice.uniform(0.05, 3))), world.start, name)


def strand(world: World) -> None:
    """Only a bare majority works; then one of it goes down for long, another loses power and is soon back."""
    order = names(world)
    world.dice.shuffle(order)
    behind = order[: (len(order) - 1) // 2]
    for_s = world.dice.uniform(0.2, 2.0)
    for one in behind:
        block(world, [way for other in order if other != one for way in both(one, other)], for_s)
    rest = order[len(behind) :]
    world.at(for_s * world.dice.uniform(0.7, 1.0), _fell, world, rest)


def _fell(world: World, rest: Sequence[str]) -> None:
    for name in rest:
        world.kill(name, power_lost=True)
        world.at(world.dice.uniform(0.01, 0.2) if name != rest[0] else world.dice.uniform(1.5, 4), world.start, name)


def isolate_by_halves(world: World) -> None:
    """First nobody is heard by one node, then it is not heard either: answers pile up on the way to it."""
    world.statistics.one_way_cuts += 1
    name, for_s = some_site(world).name, world.dice.uniform(0.4, 1.2)
    others = sorted(world.sites.keys() - {name})
    block(world, [(other, name) for other in others], for_s)
    later_s = world.dice.uniform(0.02, 0.4)
    world.at(later_s, block, world, [(name, other) for other in others], for_s - later_s)


def bounce(world: World) -> None:
    """A process is killed and back at once, while another lost sight of the leader: who forgets its promises now,
    breaks them."""
    leader, other = leader_first(world)[:2]
    block(world, both(leader, other), 1.6)
    for third in leader_first(world)[2:]:
        for at_s in (0.6, 0.9, 1.2):
            world.at(at_s + world.dice.uniform(0, 0.3), _blink, world, third)


def _blink(world: World, name: str) -> None:
    world.kill(name, power_lost=False)
    world.at(0.005, world.start, name)


def leader_first(world: World) -> list[str]:
    leaders = [site.name for site in world.running() if site.replica is not None and site.replica.is_leader]
    others = [name for name in names(world) if name not in leaders]
    world.dice.shuffle(others)
    return leaders + others


def relapse(world: World) -> None:
    """A leader writes to a minority and loses its office; it is leader again when an old answer reaches it.

    Of five: ``leader`` and ``partner`` are alone together, the partner's answers stall. The others elect one, the two
    follow it, and it hands over to the old leader. That one then reaches a single follower, writes, and hears what the
    partner said long ago: two disks have the entry, and who counts the old answer counts three.
    """
    leader, partner, *others = leader_first(world)
    if len(others) < 3:
        return
    world.network.block(partner, leader)
    block(world, [way for one in (leader, partner) for other in others for way in both(one, other)], 1.6)
    for number in range(12):
        world.at(0.05 + 0.04 * number, _write_in_vain, world, leader)
    for turn in range(10):
        world.at(1.7 + 0.08 * turn, _hand_to, world, leader)
    world.at(1.8, _again, world, leader, partner, others, world.now_s + 3.0)


def _again(world: World, leader: str, partner: str, others: Sequence[str], until_s: float) -> None:
    replica = world.sites[leader].replica
    if world.now_s > until_s:
        world.network.unblock(partner, leader)
    elif replica is None or not replica.is_leader or replica.commit_index != replica.journal.last_index:
        world.at(0.005, _again, world, leader, partner, others, until_s)
    else:
        block(world, [(leader, partner), *(way for other in others[1:] for way in both(leader, other))], 1.0)
        for number in range(2):
            world.at(0.001 + 0.02 * number, _write_in_vain, world, leader)
        world.at(0.1, world.network.unblock, partner, leader)


def late_frames(world: World) -> None:
    """What a leader sent over a connection that has been replaced arrives after what it sent over the new one; only the
    one that gets it, and the leader, have what was written in between."""
    leader, follower, *others = leader_first(world)
    for_s = SILENCE_S + world.dice.uniform(0.3, 0.8)
    world.network.block(leader, follower)
    world.at(for_s, world.network.unblock, leader, follower, world.dice.uniform(0.6, 1.0))
    for number in range(12):
        world.at(world.dice.uniform(0.05, SILENCE_S), _write_in_vain, world, leader)
        world.at(for_s + 0.4 + 0.01 * number, _write_in_vain, world, leader)
    spare = others[len(names(world)) // 2 - 1 :]
    world.at(for_s, block, world, [way for other in spare for way in both(leader, other)], 1.3)


def late_echo(world: World) -> None:
    """A leader's machine stands still while answers are on their way to it; they arrive after it has woken, and its
    clock does not know how old they are."""
    leader, *others = leader_first(world)
    for_s = world.dice.uniform(1.2, 2.5)
    begins_s = world.dice.uniform(0.12, 0.3)
    for other in others:
        world.network.block(other, leader)
        world.at(begins_s + for_s + world.dice.uniform(0.03, 0.15), world.network.unblock, other, leader, 0.0)
    world.at(begins_s, _freeze, world, leader, for_s)


def stutter(world: World) -> None:
    """A leader's machine stands still again and again, never long, while nobody reaches it."""
    leader, *others = leader_first(world)
    block(world, [way for other in others for way in both(leader, other)], world.dice.uniform(1.2, 1.8))
    every_s = world.dice.uniform(0.06, 0.08)
    world.at(0.001, _write_in_vain, world, leader)
    for turn in range(int(1.5 / every_s)):
        world.at(0.01 + turn * every_s, _freeze, world, leader, world.dice.uniform(0.035, 0.048))


def _freeze(world: World, name: str, for_s: float) -> None:
    world.statistics.freezes += 1
    world.pause(name, for_s, freeze=True)


def _write_in_vain(world: World, name: str) -> None:
    world.statistics.unknown_outcomes += 1
    world.ledger.unanswered.append(Operation("nobody", "add", 1, None, world.now_s, None))
    world.submit(name, Add(f"vain-{world.now_s:.6f}"))


def _hand_to(world: World, name: str) -> None:
    for site in list(world.running()):
        replica = site.replica
        if site.name != name and replica is not None and replica.authority() is not None:
            world.statistics.transfers += 1
            world.step(site, replica.hand_over)
            world.step(site, replica.ask_to_take_over, name)


def hand_over_badly(world: World) -> None:
    """A transfer, while one way of a link gets slow."""
    slow_down(world)
    transfer(world)


def kill_inside(world: World) -> None:
    """The process ends in the middle of one of its next steps."""
    site = some_site(world)
    if site.is_up:
        site.fuse = world.dice.randint(1, 12)


def pause(world: World) -> None:
    world.statistics.pauses += 1
    world.pause(some_site(world).name, world.dice.choice((world.dice.uniform(0.02, 0.5), world.dice.uniform(0.3, 4))))


def freeze(world: World) -> None:
    ranges = ((0.01, 0.1), (0.1, 0.6), (0.5, 4))
    _freeze(world, some_site(world).name, world.dice.uniform(*world.dice.choice(ranges)))


def step_wall_clock(world: World) -> None:
    """Somebody sets it. Not while the machine stands still: what a freeze is noticed by must not be undone."""
    clock = some_site(world).clock
    if not clock.is_frozen:
        world.statistics.wall_steps += 1
        clock.step_wall(world.dice.choice((0.02, -0.04, 0.3, -2.0, 3600.0, -86400.0)))


def fill_disk(world: World) -> None:
    world.statistics.disks_full += 1
    disk = some_site(world).disk
    disk.is_full = True
    world.at(world.dice.uniform(0.2, 3), setattr, disk, "is_full", False)


def hang_disk(world: World) -> None:
    world.statistics.disks_hung += 1
    disk = some_site(world).disk
    disk.is_hung = True
    world.at(world.dice.uniform(0.2, 4), setattr, disk, "is_hung", False)


def slow_disk(world: World) -> None:
    world.statistics.disks_slow += 1
    disk = some_site(world).disk
    disk.slowness = world.dice.choice((5.0, 30.0, 150.0))
    world.at(world.dice.uniform(0.5, 5), setattr, disk, "slowness", 1.0)


def transfer(world: World) -> None:
    """The leader is asked to hand over: as ``RaftNode.transfer`` does it, for half a second."""
    for site in list(world.running()):
        if site.replica is None or not site.replica.is_leader:
            continue
        if any(world.network.is_connected(site.name, peer) for peer in sorted(site.replica.others)):
            world.statistics.transfers += 1
            world.step(site, site.replica.hand_over)
            _ask(world, site, site.life, world.now_s + 0.5)


def _ask(world: World, site: Site, life: int, until_s: float) -> None:
    replica = site.replica
    if site.life != life or replica is None or not replica.is_leader or world.now_s > until_s:
        return
    if world.now_s >= site.wakes_s and world.step(site, replica.ask_to_take_over, None) is not None:
        return
    world.at(0.02, _ask, world, site, life, until_s)


def compact(world: World) -> None:
    site = some_site(world)
    if site.replica is not None and world.now_s >= site.wakes_s:
        world.step(site, site.replica.compact)


def start_badly(world: World) -> None:
    """A process ends, and again while it starts."""
    name = some_site(world).name
    world.kill(name, power_lost=world.dice.random() < 0.5)
    world.at(world.dice.uniform(0.01, 0.5), world.start, name, world.dice.randint(1, 8))


@dataclass(frozen=True, slots=True)
class Fault:
    """``themes``: a run has one, or all, or a few of any."""

    begin: Begin
    weight: float
    themes: str
    needs_peers: bool = False


FAULTS = (
    Fault(cut, 2, "links", needs_peers=True), Fault(cut_one_way, 2, "links disks", needs_peers=True),
    Fault(isolate, 2, "links times disks", needs_peers=True), Fault(bridge, 1, "links", needs_peers=True),
    Fault(late_frames, 0.5, "links", needs_peers=True), Fault(late_echo, 0.5, "times", needs_peers=True),
    Fault(stutter, 0.5, "times", needs_peers=True),
    Fault(isolate_by_halves, 1, "links times", needs_peers=True), Fault(flap, 1, "links", needs_peers=True),
    Fault(slow_down, 2, "links times", needs_peers=True), Fault(relapse, 1, "links offices", needs_peers=True),
    Fault(kill, 2, "crashes"), Fault(kill_some, 1, "crashes"), Fault(kill_inside, 4, "crashes disks"),
    Fault(lose_power, 2, "crashes disks"), Fault(lose_power_of_some, 1, "crashes disks"),
    Fault(strand, 1, "crashes disks", needs_peers=True), Fault(bounce, 1, "crashes offices", needs_peers=True),
    Fault(pause, 2, "times disks"), Fault(freeze, 1.5, "times"), Fault(step_wall_clock, 0.5, "times"),
    Fault(fill_disk, 0.5, "disks"), Fault(hang_disk, 0.5, "disks"), Fault(slow_disk, 1, "disks"),
    Fault(transfer, 1, "offices times", needs_peers=True), Fault(compact, 0.5, "disks"),
    Fault(hand_over_badly, 1, "offices links", needs_peers=True),
    Fault(people.change_members, 8, "offices links crashes disks times"),
    Fault(people.empty_disk, 2, "disks crashes", needs_peers=True), Fault(people.roll_out, 0.5, "offices crashes"),
    Fault(start_badly, 1, "crashes disks"),
)  # fmt: skip
THEMES = ("links", "crashes", "times", "disks", "offices")


def drawn(dice: random.Random, possible: Sequence[Fault], theme: str) -> Sequence[Fault]:
    """The kinds of faults that one run has; ``theme`` says so beforehand."""
    if theme:
        return [fault for fault in possible if theme in fault.themes] or possible
    match dice.randint(0, 3):
        case 0:
            return possible
        case 1:
            return dice.sample(possible, dice.randint(2, 5))
        case _:
            theme = dice.choice(THEMES)
            return [fault for fault in possible if theme in fault.themes] or possible


class Troublemaker:
    """Begins one fault after another, of the kinds that this run has drawn, until it is told to stop."""

    def __init__(self, world: World, mean_gap_s: float, theme: str = "") -> None:
        possible = [fault for fault in FAULTS if len(world.sites) > 2 or not fault.needs_peers]
        self._kinds = drawn(world.dice, possible, theme)
        self._weights = [fault.weight for fault in self._kinds]
        self._world = world
        self._mean_gap_s = mean_gap_s
        self.is_active = True
        world.at(1.0, self._next)

    def _next(self) -> None:
        if not self.is_active:
            return
        world = self._world
        fault = world.dice.choices(self._kinds, self._weights)[0]
        world.note(f"fault: {fault.begin.__name__}")
        fault.begin(world)
        world.at(world.dice.expovariate(1 / self._mean_gap_s), self._next)
