"""What can go wrong, one row a fault. A run draws which of them happen, how often, and for how long.

A fault has a beginning and, where it does not end by itself, an end that is put on the agenda with it. Whatever is left
is ended by ``World.end_faults``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    one, other = world.dice.sample(names(world), 2)
    return one, other


def block(world: World, ways: Sequence[tuple[str, str]], for_s: float) -> None:
    world.note(f"blocked for {for_s:.3f} s: {', '.join('>'.join(way) for way in ways)}")
    for source, target in ways:
        world.network.block(source, target)
        world.at(for_s, world.network.unblock, source, target)


def both(one: str, other: str) -> list[tuple[str, str]]:
    return [(one, other), (other, one)]


def some_time_s(world: World) -> float:
    """Mostly short, sometimes beyond the silence limit of a connection."""
    return world.dice.choice((world.dice.uniform(0.05, 0.6), world.dice.uniform(0.3, 2.5), world.dice.uniform(2, 6)))


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


def kill_inside(world: World) -> None:
    """The process ends in the middle of one of its next steps."""
    site = some_site(world)
    if site.is_up:
        site.fuse = world.dice.randint(1, 12)


def pause(world: World) -> None:
    world.statistics.pauses += 1
    world.pause(some_site(world).name, world.dice.choice((world.dice.uniform(0.02, 0.5), world.dice.uniform(0.3, 4))))


def freeze(world: World) -> None:
    world.statistics.freezes += 1
    name = some_site(world).name
    for_s = world.dice.choice((world.dice.uniform(0.01, 0.1), world.dice.uniform(0.1, 0.6), world.dice.uniform(0.5, 4)))
    world.pause(name, for_s, freeze=True)


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
        connected = any(world.network.is_connected(site.name, peer) for peer in world.sites)
        if site.replica is not None and site.replica.is_leader and connected:
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


@dataclass(frozen=True, slots=True)
class Fault:
    begin: Begin
    weight: float
    needs_peers: bool = False


FAULTS = (
    Fault(cut, 2, needs_peers=True), Fault(cut_one_way, 2, needs_peers=True), Fault(isolate, 2, needs_peers=True),
    Fault(bridge, 1, needs_peers=True), Fault(flap, 1, needs_peers=True), Fault(slow_down, 2, needs_peers=True),
    Fault(kill, 2), Fault(kill_some, 1), Fault(kill_inside, 4), Fault(lose_power, 2), Fault(lose_power_of_some, 1),
    Fault(pause, 2), Fault(freeze, 1.5), Fault(step_wall_clock, 0.5), Fault(fill_disk, 0.5), Fault(hang_disk, 0.5),
    Fault(slow_disk, 1), Fault(transfer, 1, needs_peers=True), Fault(compact, 0.5),
)  # fmt: skip


class Troublemaker:
    """Begins one fault after another, of the kinds that this run has drawn, until it is told to stop."""

    def __init__(self, world: World, mean_gap_s: float) -> None:
        possible = [fault for fault in FAULTS if len(world.sites) > 2 or not fault.needs_peers]
        kinds = world.dice.randint(1, len(possible))
        self._kinds = possible if world.dice.random() < 0.5 else world.dice.sample(possible, kinds)
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
