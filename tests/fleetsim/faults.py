"""What can go wrong, one row a fault: the matrix of failures of databases, managers, ways between them, and people.

A run draws which of them happen and how often. A fault has a beginning and, where it does not end by itself, an end
that is put on the agenda with it. Whatever is left is ended by ``World.end_faults``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fleetsim.node import ManagerNode
from tests.fleetsim.people import ask, change_semi_sync, some_move, some_operation
from tests.fleetsim.server import Server
from tests.fleetsim.world import World
from tests.seeded.agenda import START_S

Ways = Sequence[tuple[str, str]]


def primary(world: World) -> Server:
    """Whom the manager takes for the primary, else whoever takes writes, else anybody."""
    for cluster in world.checks.newest.clusters.values():
        found = world.by_key.get(cluster.primary) if cluster.primary is not None else None
        if found is not None:
            return found
    return next((each for each in world.servers.values() if not each.read_only), next(iter(world.servers.values())))


def some_server(world: World) -> Server:
    """The primary, half of the time: it is where faults hurt."""
    if world.dice.random() < 0.5:
        return primary(world)
    return world.servers[world.dice.choice(sorted(world.servers))]


def some_node(world: World) -> ManagerNode:
    leader = world.leader()
    if leader is not None and world.dice.random() < 0.6:
        return leader
    return world.nodes[world.dice.choice(sorted(world.nodes))]


def some_time_s(world: World) -> float:
    """Mostly short, sometimes beyond every patience."""
    ranges = ((0.05, 0.6), (0.4, 1.5), (0.4, 2.5), (2.0, 6.0), (5.0, 15.0))
    return world.dice.uniform(*world.dice.choice(ranges))


def back_later(world: World, host: Server | ManagerNode) -> None:
    """At once (faster than anybody looks), soon, or after a while."""
    ranges = ((0.02, 0.2), (0.3, 2.0), (2.0, 8.0), (5.0, 20.0))
    world.at(world.dice.uniform(*world.dice.choice(ranges)), host.start)


def later(world: World, delay_s: float, action: Callable[..., None], *arguments: object) -> None:
    """A fault that comes after another one, unless the faults are over by then."""
    world.at(delay_s, lambda: action(*arguments) if world.troubled else None)


def both(one: str, other: str) -> list[tuple[str, str]]:
    return [(one, other), (other, one)]


# databases


def kill_server(world: World) -> None:
    world.statistics.server_kills += 1
    server = some_server(world)
    server.kill()
    back_later(world, server)


def lose_server(world: World) -> None:
    """With its machine: nobody is told."""
    world.statistics.server_power_losses += 1
    server = some_server(world)
    server.kill(silently=True)
    back_later(world, server)


def blink_primary(world: World) -> None:
    """Restarted faster than anybody looks, with what its configuration says."""
    world.statistics.server_kills += 1
    server = primary(world)
    server.kill()
    world.at(world.dice.uniform(0.005, 0.1), server.start)


def kill_two_servers(world: World) -> None:
    world.statistics.double_deaths += 1
    second = world.servers[world.dice.choice(sorted(world.servers))]
    for server in (primary(world), second):
        later(world, world.dice.choice((0.0, world.dice.uniform(0, 0.2))), server.kill)
        back_later(world, server)


def freeze_server(world: World) -> None:
    world.statistics.server_freezes += 1
    some_server(world).freeze(some_time_s(world))


def hang_primary(world: World) -> None:
    """Longer than anybody's patience; connections to it are taken, and nothing is said on them."""
    world.statistics.server_freezes += 1
    primary(world).freeze(world.dice.uniform(4.0, 30.0))


def fill_disk(world: World) -> None:
    world.statistics.server_disks_full += 1
    server = some_server(world)
    server.disk_full_until_s = world.now_s + some_time_s(world)
    world.note(f"the disk of {server.name} is full until {server.disk_full_until_s - START_S:.2f}")


def kill_intermediate(world: World) -> None:
    """A replica that has replicas."""
    sources = {world.by_key[each].name for server in world.servers.values() if (each := server.replication.source)}
    names = sorted(sources - {primary(world).name})
    if names:
        world.statistics.intermediate_kills += 1
        server = world.servers[world.dice.choice(names)]
        server.kill(silently=world.dice.random() < 0.3)
        back_later(world, server)


def restart_servers(world: World) -> None:
    """All of them within a moment, as after a power cut."""
    world.statistics.server_storms += 1
    for server in world.servers.values():
        later(world, world.dice.uniform(0.0, 0.5), server.kill)
        world.at(world.dice.uniform(0.6, 4.0), server.start)


def restart_nodes(world: World) -> None:
    world.statistics.node_storms += 1
    power_lost = world.dice.random() < 0.3
    for node in world.nodes.values():
        later(world, world.dice.uniform(0.0, 0.5), lambda node=node: node.kill(power_lost=power_lost))
        world.at(world.dice.uniform(0.6, 4.0), node.start)


def write_on_a_replica(world: World) -> None:
    """Somebody with SUPER, on the wrong server."""
    primary_name = primary(world).name
    names = [each for each in sorted(world.servers) if each != primary_name and world.servers[each].is_awake]
    if names:
        world.statistics.errant_writes += 1
        server = world.servers[world.dice.choice(names)]
        world.note(f"somebody writes on {server.name}")
        server.write_behind_backs()


def slow_applier(world: World) -> None:
    world.statistics.slow_appliers += 1
    server = world.servers[world.dice.choice(sorted(world.servers))]
    server.slow_apply_until_s = world.now_s + some_time_s(world)
    world.note(f"the applier of {server.name} hangs until {server.slow_apply_until_s - 1000:.2f}")


# managers


def kill_node(world: World) -> None:
    world.statistics.node_kills += 1
    node = some_node(world)
    node.kill(power_lost=world.dice.random() < 0.4)
    back_later(world, node)


def kill_inside(world: World) -> None:
    """The process ends in the middle of what it does next."""
    node = some_node(world)
    if node.is_up:
        node.fuse = world.dice.randint(1, 30)


def stall_inside(world: World) -> None:
    """It stands still between a check and the statement after it."""
    node = some_node(world)
    if node.is_up:
        node.stalls = (world.dice.randint(0, 12), world.dice.choice((0.1, 0.6, 1.5, 4.0)))


def pause_node(world: World) -> None:
    world.statistics.node_pauses += 1
    some_node(world).pause(some_time_s(world))


def freeze_node(world: World) -> None:
    world.statistics.node_freezes += 1
    some_node(world).pause(some_time_s(world) / 2, freeze=True)


def step_wall_clock(world: World) -> None:
    clock = some_node(world).clock
    if not clock.is_frozen:
        world.statistics.wall_steps += 1
        clock.step_wall(world.dice.choice((0.02, -0.04, 0.3, -2.0, 30.0, -3600.0)))


def trouble_disk(world: World) -> None:
    disk = some_node(world).disk
    match world.dice.randint(0, 2):
        case 0:
            disk.is_full = True
            world.at(world.dice.uniform(0.2, 2), setattr, disk, "is_full", False)
        case 1:
            disk.is_hung = True
            world.at(world.dice.uniform(0.2, 3), setattr, disk, "is_hung", False)
        case _:
            disk.slowness = world.dice.choice((5.0, 30.0))
            world.at(world.dice.uniform(0.5, 5), setattr, disk, "slowness", 1.0)


def double_death(world: World) -> None:
    """The primary and the manager's leader at once, or the leader a moment later, in the middle of the recovery."""
    world.statistics.double_deaths += 1
    leader, server = world.leader(), primary(world)
    if leader is None:
        return
    server.kill(silently=world.dice.random() < 0.3)
    back_later(world, server)
    match world.dice.randint(0, 3):
        case 0:
            leader.kill(power_lost=world.dice.random() < 0.5)
            back_later(world, leader)
        case 1:
            leader.fuse = world.dice.randint(1, 80)
        case 2:
            leader.stalls = (world.dice.randint(0, 14), world.dice.choice((0.6, 1.5, 4.0)))
        case _:
            later(world, world.dice.uniform(0.0, 0.3), leader.pause, some_time_s(world))


# ways


def cut(world: World, ways: Ways, for_s: float) -> None:
    world.statistics.cuts += 1
    world.note(f"cut for {for_s:.2f} s: {', '.join('>'.join(way) for way in ways)}")
    for one, other in ways:
        world.tcp.block(one, other)
        world.at(for_s, world.tcp.unblock, one, other)


def cut_nodes(world: World) -> None:
    """One manager node from another, or from all others."""
    world.statistics.cuts += 1
    name, for_s = some_node(world).name, some_time_s(world)
    others = [each for each in world.slots if each != name]
    if world.dice.random() < 0.5:
        others = [world.dice.choice(others)]
    world.note(f"{name} is cut from {', '.join(others)} for {for_s:.2f} s")
    for other in others:
        for one, another in both(name, other):
            if world.dice.random() < 0.8:
                world.network.block(one, another)
                world.at(for_s, world.network.unblock, one, another)


def cut_node_from_server(world: World) -> None:
    ways = both(some_node(world).name, some_server(world).name)
    cut(world, ways if world.dice.random() < 0.7 else ways[:1], some_time_s(world))


def cut_node_from_all_servers(world: World) -> None:
    name = some_node(world).name
    cut(world, [way for server in sorted(world.servers) for way in both(name, server)], some_time_s(world))


def cut_managers_from_primary(world: World) -> None:
    """The partition that only the manager suffers."""
    name = primary(world).name
    cut(world, [way for node in world.slots for way in both(node, name)], some_time_s(world))


def cut_servers(world: World) -> None:
    names = sorted(world.servers)
    one = some_server(world).name
    cut(world, both(one, world.dice.choice([each for each in names if each != one])), some_time_s(world))


def isolate_server(world: World) -> None:
    """From everybody but its clients."""
    name, for_s = some_server(world).name, some_time_s(world)
    others = [*world.slots, *(each for each in sorted(world.servers) if each != name)]
    cut(world, [way for other in others for way in both(name, other)], for_s)


def isolate_replicas(world: World) -> None:
    """The primary is alive, and its replicas hear nothing of it."""
    name = primary(world).name
    others = [each for each in sorted(world.servers) if each != name]
    cut(world, [way for other in others for way in both(name, other)], some_time_s(world))


def isolate_but_for_witnesses(world: World) -> None:
    """Neither the leader nor any replica reaches the primary; the other nodes do, and so do its clients."""
    name, leader = primary(world).name, world.leader()
    others = [each for each in sorted(world.servers) if each != name] + ([leader.name] if leader is not None else [])
    cut(world, [way for other in others for way in both(name, other)], world.dice.uniform(5.0, 12.0))


def slow_link(world: World) -> None:
    world.statistics.slow_links += 1
    server = some_server(world).name
    other = world.dice.choice([*world.slots, *(each for each in sorted(world.servers) if each != server)])
    factor, for_s = world.dice.choice((20.0, 100.0, 500.0)), some_time_s(world)
    world.note(f"{server} and {other}: {factor:g} times slower for {for_s:.2f} s")
    for way in both(server, other):
        world.tcp.slow_down(*way, factor)
        world.at(for_s, world.tcp.slow_down, *way, 1.0)


# people


def operate(world: World) -> None:
    name, arguments = some_operation(world, primary(world))
    ask(world, name, **arguments)


def rearrange(world: World) -> None:
    name, arguments = some_move(world)
    ask(world, name, **arguments)


def fail_over(world: World) -> None:
    """Somebody replaces a primary, dead or alive."""
    ask(world, "force-master-failover", cluster=str(primary(world).key))


def take_over(world: World) -> None:
    ask(world, "graceful-master-takeover-auto", cluster=str(primary(world).key))


def take_over_badly(world: World) -> None:
    """Something happens in the middle of a planned change."""
    take_over(world)
    fault = world.dice.choice(
        (kill_server, kill_node, freeze_server, cut_servers, stall_inside, kill_inside, cut_nodes)
    )
    later(world, world.dice.uniform(0.0, 0.4), fault, world)


def touch_semi_sync(world: World) -> None:
    world.statistics.semi_sync_changes += 1
    change_semi_sync(world, primary(world))


def lapse_and_die(world: World) -> None:
    """Semi-sync gives up while no replica hears the primary, which goes on alone, and then it dies."""
    world.statistics.semi_sync_changes += 1
    server = primary(world)
    if not server.is_awake:
        return
    variables, usual_ms = server.semi_sync, server.semi_sync.timeout_ms
    variables.timeout_ms = 200
    world.at(1.5, setattr, variables, "timeout_ms", usual_ms)
    others = [each for each in sorted(world.servers) if each != server.name]
    cut(world, [way for other in others for way in both(server.name, other)], world.dice.uniform(5.0, 8.0))
    later(world, world.dice.uniform(3.5, 4.9), server.kill)
    world.at(world.dice.uniform(15.0, 25.0), server.start)


def die_with_the_only_acker(world: World) -> None:
    """For a while one replica alone hears the primary; then both die, and the replica is not back soon."""
    server = primary(world)
    replicas = [each for each in sorted(world.servers) if world.servers[each].replication.source == server.key]
    if not server.is_awake or len(replicas) < 2:
        return
    world.statistics.double_deaths += 1
    acker = world.servers[world.dice.choice(replicas)]
    others = [each for each in replicas if each != acker.name]
    cut(world, [way for other in others for way in both(server.name, other)], 3.0)
    for victim in (server, acker):
        later(world, 2.0, victim.kill)
        world.at(world.dice.uniform(14.0, 25.0), victim.start)


def pause_writes(world: World) -> None:
    ask(world, "pause-writes", reason="we look")
    if world.dice.random() < 0.6:
        world.at(world.dice.uniform(5.0, 20.0), ask, world, "resume-writes")


def pause_and_die(world: World) -> None:
    """What would be repaired at once has to wait."""
    pause_writes(world)
    later(world, world.dice.uniform(0.0, 9.0), kill_server, world)


def disable_recoveries(world: World) -> None:
    ask(world, "disable-global-recoveries")


def change_members(world: World) -> None:
    """Somebody comes, goes, or takes the place of somebody else."""
    members = sorted(world.members())
    new = [slot for slot in world.slots if slot not in members]
    world.statistics.member_changes += 1
    if new and world.dice.random() < 0.6:
        slot = world.dice.choice(new)
        world.nodes[slot].start()
        if world.dice.random() < 0.4:
            ask(world, "raft-replace-peer", addr=world.dice.choice(members), by=slot)
        else:
            ask(world, "raft-add-peer", addr=slot)
    elif len(members) > 3:
        ask(world, "raft-remove-peer", addr=world.dice.choice(members))


@dataclass(frozen=True, slots=True)
class Fault:
    """``themes``: a run has one, or all, or a few of any."""

    begin: Callable[[World], None]
    weight: float
    themes: str


FAULTS = (
    Fault(kill_server, 3, "deaths double disabled lag late"),
    Fault(lose_server, 1.5, "deaths"), Fault(blink_primary, 1, "deaths semi"),
    Fault(kill_two_servers, 1, "deaths double"), Fault(freeze_server, 2, "times deaths"),
    Fault(slow_applier, 1.5, "deaths semi times lag"), Fault(kill_node, 1.5, "managers double"),
    Fault(kill_inside, 1.5, "managers double"), Fault(stall_inside, 2, "managers times double late"),
    Fault(pause_node, 1, "managers times late"), Fault(freeze_node, 0.7, "managers times"),
    Fault(step_wall_clock, 0.5, "times"), Fault(trouble_disk, 0.7, "managers"),
    Fault(double_death, 3, "double managers deaths late"), Fault(cut_nodes, 1.5, "links managers"),
    Fault(cut_node_from_server, 1.5, "links"), Fault(cut_node_from_all_servers, 1, "links"),
    Fault(cut_managers_from_primary, 1, "links"), Fault(cut_servers, 1.5, "links semi"),
    Fault(isolate_server, 2, "links semi deaths"), Fault(isolate_replicas, 1, "links semi"),
    Fault(isolate_but_for_witnesses, 1, "links partitions"), Fault(cut_managers_from_primary, 0.1, "partitions"),
    Fault(slow_link, 1, "links"),
    Fault(operate, 1.5, "people"), Fault(fail_over, 0.7, "people orders"), Fault(take_over, 1.5, "people times lag"),
    Fault(take_over_badly, 2, "people"),
    Fault(touch_semi_sync, 1, "semi"), Fault(lapse_and_die, 0.5, "semi lapsed"),
    Fault(die_with_the_only_acker, 0.7, "deaths semi acker"),
    Fault(disable_recoveries, 0.5, "people disabled"),
    Fault(hang_primary, 1, "times deaths"), Fault(fill_disk, 1, "times disks"), Fault(take_over, 0.3, "disks"),
    Fault(kill_server, 0.3, "disks"), Fault(kill_intermediate, 1.5, "deaths chains"),
    Fault(double_death, 1, "chains"), Fault(take_over, 1, "chains"),
    Fault(change_members, 1, "members"), Fault(double_death, 1, "members"), Fault(kill_node, 0.5, "members"),
    Fault(kill_server, 1, "delays"), Fault(lose_server, 1, "delays"), Fault(isolate_replicas, 1, "doors"),
    Fault(fail_over, 2, "doors"), Fault(kill_server, 0.3, "doors"),
    Fault(rearrange, 3, "moves"), Fault(rearrange, 1, "people chains"), Fault(kill_server, 0.5, "moves"),
    Fault(double_death, 0.5, "moves"), Fault(cut_servers, 0.5, "moves"), Fault(take_over, 0.5, "moves"),
    Fault(restart_servers, 0.3, "storms"), Fault(restart_nodes, 0.5, "storms managers"),
    Fault(kill_server, 0.5, "storms"),
    Fault(write_on_a_replica, 0.5, "people errant"), Fault(kill_server, 1, "errant"), Fault(take_over, 0.5, "errant"),
    Fault(pause_and_die, 0.5, "people paused"), Fault(pause_writes, 0.3, "paused"), Fault(operate, 0.5, "paused"),
)  # fmt: skip
THEMES = (
    "deaths", "double", "managers", "times", "links", "people", "semi", "partitions", "orders", "lag",
    "lapsed", "disabled", "late", "acker", "disks", "chains", "storms", "errant", "paused", "members", "delays",
    "doors", "moves",
)  # fmt: skip


def drawn(dice: random.Random, theme: str) -> Sequence[Fault]:
    """The kinds of faults that one run has; ``theme`` says so beforehand."""
    if not theme:
        match dice.randint(0, 3):
            case 0:
                return FAULTS
            case 1:
                return dice.sample(FAULTS, dice.randint(3, 6))
        theme = dice.choice(THEMES)
    return [fault for fault in FAULTS if theme in fault.themes.split()]


class Troublemaker:
    """Begins one fault after another, of the kinds that this run has drawn, until it is told to stop."""

    def __init__(self, world: World, dice: random.Random, mean_gap_s: float, theme: str = "") -> None:
        self._kinds = drawn(dice, theme)
        self._weights = [fault.weight for fault in self._kinds]
        self._world = world
        self._mean_gap_s = mean_gap_s
        world.at(world.dice.uniform(0.5, 2.0), self._next)

    def _next(self) -> None:
        world = self._world
        if not world.troubled:
            return
        fault = world.dice.choices(self._kinds, self._weights)[0]
        world.note(f"fault: {fault.begin.__name__}")
        fault.begin(world)
        world.at(world.dice.expovariate(1 / self._mean_gap_s), self._next)
