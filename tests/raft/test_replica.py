"""Whole clusters in virtual time: elections, faults, and the promises that hold through them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from orchestrator_raft.raft.settings import Limits
from tests.raft.counting import Add
from tests.raft.virtual import World


def led(world: World) -> str:
    assert world.run(10, lambda: len(world.leaders()) == 1), "no leader within ten seconds"
    return world.leaders()[0]


def write(world: World, count: int, prefix: str) -> None:
    for number in range(count):
        leader = led(world)
        world.submit(leader, Add(f"{prefix}{number}"))
        world.run(0.01)


def settle(world: World) -> None:
    world.heal()
    for name, site in world.sites.items():
        site.paused_until_s = 0.0
        site.disk.is_hung = False
        world.revive(name)
    assert world.run(20, world.settled), "the cluster does not come to rest after the faults have ended"
    world.assert_kept()


def test_three_nodes_elect_one_and_apply_what_it_commits() -> None:
    world = World(1)
    write(world, 20, "w")
    settle(world)
    assert 20 == world.states()[0].total


def test_a_single_node_commits_only_what_its_disk_has() -> None:
    world = World(2, size=1)
    write(world, 5, "w")
    world.kill("a", power_lost=True)
    world.start("a")
    settle(world)
    assert 5 == world.states()[0].total


def test_a_cut_off_leader_loses_authority_before_another_has_it() -> None:
    world = World(3)
    old = led(world)
    for other in world.sites.keys() - {old}:
        world.sever(old, other, silent=True)
    assert world.run(10, lambda: world.leaders() not in ([], [old]))
    settle(world)


def test_a_cut_off_follower_raises_no_term_and_deposes_nobody() -> None:
    world = World(4)
    leader = led(world)
    follower = next(name for name in world.sites if name != leader)
    term = world.sites[leader].replica.term  # type: ignore[union-attr]
    for other in world.sites.keys() - {follower}:
        world.sever(follower, other)
    world.run(20)
    settle(world)
    assert [leader] == world.leaders()
    assert term == world.sites[leader].replica.term  # type: ignore[union-attr]


def test_a_node_that_fell_far_behind_gets_a_snapshot() -> None:
    world = World(5, limits=Limits(journal_entries=20, retained_entries=5, snapshot_chunk_bytes=100))
    leader = led(world)
    follower = next(name for name in world.sites if name != leader)
    world.kill(follower, power_lost=True)
    write(world, 100, "w")
    world.start(follower)
    settle(world)
    assert world.sites[follower].replica.snapshot() is not None  # type: ignore[union-attr]


def test_a_transfer_hands_over_without_an_election_timeout() -> None:
    world = World(6)
    old = led(world)
    world.run(1)
    target = next(name for name in world.sites if name != old)
    replica = world.sites[old].replica
    assert replica is not None
    replica.hand_over()
    assert replica.authority() is None
    assert target == replica.ask_to_take_over(target)
    assert world.run(0.4, lambda: world.leaders() == [target])


def test_a_leader_that_finds_no_successor_steps_down() -> None:
    world = World(7)
    replica = world.sites[led(world)].replica
    assert replica is not None
    replica.hand_over()
    assert world.run(3, lambda: not replica.is_leader)
    settle(world)


def test_a_leader_whose_disk_hangs_gives_way_and_does_not_come_back_until_it_answers() -> None:
    world = World(8)
    old = led(world)
    world.sites[old].disk.is_hung = True
    world.submit(old, Add("stuck"))
    assert world.run(10, lambda: world.leaders() not in ([], [old]))
    write(world, 10, "w")
    assert world.leaders() != [old]
    settle(world)


def test_a_lone_voter_keeps_its_authority_when_it_is_asked_to_hand_over() -> None:
    world = World(9, size=1)
    replica = world.sites[led(world)].replica
    assert replica is not None
    replica.hand_over()
    assert ["a"] == world.leaders()


def pair(world: World) -> tuple[str, str]:
    one, other = world.random.sample(sorted(world.sites), 2)
    return one, other


def cut(world: World) -> None:
    world.sever(*pair(world), silent=world.random.random() < 0.5)


def isolate(world: World) -> None:
    name, _ = pair(world)
    for peer in sorted(world.sites.keys() - {name}):
        world.sever(name, peer, silent=world.random.random() < 0.5)


def kill(world: World) -> None:
    stop(world, pair(world)[:1], power_lost=False)


def lose_power(world: World) -> None:
    """Of some or all, shortly after something was written."""
    submit(world)
    world.run(world.random.uniform(0, 0.02))
    count = world.random.randint(1, len(world.sites))
    stop(world, world.random.sample(sorted(world.sites), count), power_lost=True)


def stop(world: World, names: Sequence[str], *, power_lost: bool) -> None:
    for name in names:
        if world.sites[name].replica is not None:
            world.kill(name, power_lost=power_lost)
            world.at(world.random.uniform(0.01, 2), lambda name=name: world.revive(name))  # type: ignore[misc]


def pause(world: World) -> None:
    world.pause(pair(world)[0], world.random.uniform(0.1, 3))


def submit(world: World) -> None:
    for _ in range(world.random.choice((1, 3, 20))):
        for site in list(world.alive()):
            world.submit(site.name, Add(f"s{len(world.submitted)}"))


def hang(world: World) -> None:
    """A disk stops answering, and goes on after a while."""
    disk = world.sites[pair(world)[0]].disk
    disk.is_hung = True
    world.at(world.random.uniform(0.5, 4), lambda: setattr(disk, "is_hung", False))


FAULTS = (cut, cut, isolate, kill, lose_power, pause, hang, World.heal, submit, submit, submit, submit)


def shake(world: World, steps: int) -> None:
    """Random faults, with writes through whoever believes to lead."""
    for _ in range(steps):
        world.random.choice(FAULTS)(world)
        world.run(world.random.choice((0.001, 0.01, 0.1, 0.5, 1.5)))


@pytest.mark.parametrize("seed", range(40))
def test_promises_hold_through_random_faults(seed: int) -> None:
    dice = random.Random(seed)
    limits = Limits(
        journal_entries=dice.choice((10, 40, 10_000)), retained_entries=dice.choice((0, 5, 100)),
        batch_bytes=dice.choice((60, 400, 10**6)), in_flight_bytes=dice.choice((200, 10**6)),
        snapshot_chunk_bytes=dice.choice((100, 10**6)),
    )  # fmt: skip
    world = World(seed, size=dice.choice((2, 3, 3, 3, 5)), limits=limits)
    world.sync_s = dice.choice(((0.0001, 0.001), (0.001, 0.02), (0.01, 0.3)))
    shake(world, 60)
    settle(world)
