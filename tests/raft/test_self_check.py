"""A node whose state goes wrong is found, and nobody else is; in virtual time and with real nodes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator_raft.core.errors import StartupError, Unavailable
from orchestrator_raft.raft.replica import Replica
from orchestrator_raft.raft.self_check import ROUND_S, OddOneOut
from orchestrator_raft.raft.settings import Limits
from orchestrator_raft.raft.status import Role
from tests.raft.cluster import Cluster, running, until
from tests.raft.counting import Add, Break, Counted, Counter
from tests.raft.test_replica import led, settle, shake, write
from tests.raft.virtual import CODEC, World

SOON_S = 4 * ROUND_S


class Forgetful(Counter):
    """A machine that is not deterministic: it counts one command wrong, and answers as if nothing had happened."""

    def __init__(self, wrong: str) -> None:
        self._wrong = wrong

    def apply(self, state: Counted, command: Add | Break) -> tuple[Counted, int]:
        after, result = super().apply(state, command)
        if command.id == self._wrong:
            after = replace(after, results={**after.results, command.id: -1})
        return after, result


def replica_of(world: World, name: str) -> Replica:
    replica = world.sites[name].replica
    assert replica is not None
    return replica


def make_wrong(world: World, name: str, command_id: str) -> None:
    replicated = world.sites[name].replicated
    assert replicated is not None
    replicated._machine = Forgetful(command_id)


def found(world: World, name: str) -> OddOneOut:
    """Run until ``name`` stops because it is odd, and take it out as the end of its process would."""
    with pytest.raises(OddOneOut, match=f"^{name} differs from the majority") as caught:
        world.run(SOON_S)
    world.kill(name, power_lost=False)
    return caught.value


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_node_whose_machine_is_not_deterministic_is_found_and_stops(who: str) -> None:
    world = World(21)
    leader = led(world)
    name = leader if who == "leader" else next(each for each in world.sites if each != leader)
    make_wrong(world, name, "w3")
    write(world, 5, "w")
    assert "state up to entry" in str(found(world, name))
    assert led(world) != name
    write(world, 5, "y")


@pytest.mark.parametrize("seed", range(5))
def test_under_load_it_is_found_at_an_index_that_all_have_marked(seed: int) -> None:
    world = World(100 + seed)
    leader = led(world)
    name = next(each for each in world.sites if each != leader)
    world.run(ROUND_S)
    make_wrong(world, name, "x50")
    until_s = world.now_s + SOON_S

    def load() -> None:
        world.submit(leader, Add(f"x{len(world.submitted)}"))
        world.at(0.003, load)

    load()
    with pytest.raises(OddOneOut, match=f"^{name} differs"):
        world.run(SOON_S)
    assert world.now_s < until_s


def test_while_an_odd_node_is_connected_nobody_acts_and_afterwards_the_majority_does() -> None:
    world = World(22)
    leader = led(world)
    name = next(each for each in world.sites if each != leader)
    make_wrong(world, name, "w0")
    replica_of(world, name).self_check.heard = lambda peer, message: None  # type: ignore[method-assign]
    write(world, 1, "w")
    check = replica_of(world, leader).self_check
    assert world.run(SOON_S, lambda: check.suspends)
    for _ in range(20):
        world.run(0.5)
        assert [] == world.leaders()
        assert f"{name} is odd by state up to entry" in check.problem
    world.kill(name, power_lost=False)
    assert world.run(1, lambda: world.leaders() == [leader])
    assert "" == check.problem


def test_an_odd_node_does_not_come_back_with_its_store() -> None:
    world = World(23)
    leader = led(world)
    name = next(each for each in world.sites if each != leader)
    make_wrong(world, name, "w2")
    write(world, 5, "w")
    found(world, name)
    with pytest.raises(StartupError, match=r"virtual disk holds a state.*empty its RaftDataDir, start it and add"):
        world.start(name)


def test_where_the_mark_was_lost_the_store_shows_the_same_difference_again() -> None:
    world = World(24, limits=Limits(journal_entries=20, retained_entries=5))
    leader = led(world)
    name = next(each for each in world.sites if each != leader)
    make_wrong(world, name, "w2")
    with pytest.raises(OddOneOut):
        write(world, 40, "w")
        world.run(SOON_S)
    world.kill(name, power_lost=False)
    disk = world.sites[name].disk
    for image in (disk.image, disk.durable):
        image.facts.pop("odd", None)
    assert disk.image.snapshots, "the wrong state is in a snapshot"
    world.start(name)
    assert "state" in str(found(world, name))


def test_another_journal_is_found_after_a_restart() -> None:
    world = World(25)
    leader = led(world)
    write(world, 5, "w")
    world.run(1)
    name = next(each for each in world.sites if each != leader)
    world.kill(name, power_lost=False)
    disk = world.sites[name].disk
    entries = disk.image.entries
    position, (_, index, term) = next((at, entry) for at, entry in enumerate(entries) if b"w3" in entry[0])
    other = b"\x00\x00" + CODEC.encode_command(Add("w3", amount=7))
    assert len(entries[position][0]) == len(other), "the library's frame around a command has changed"
    entries[position] = (other, index, term)
    disk.restart(power_lost=False)
    world._applied = lambda *arguments: None  # type: ignore[method-assign]
    world.start(name)
    assert "commands up to entry" in str(found(world, name))


def test_without_a_majority_nobody_acts_until_a_third_node_decides() -> None:
    world = World(26)
    leader = led(world)
    wrong, absent = (each for each in sorted(world.sites) if each != leader)
    world.kill(absent, power_lost=False)
    make_wrong(world, wrong, "w0")
    write(world, 1, "w")
    assert world.run(SOON_S, lambda: replica_of(world, leader).self_check.verdict.disputed is not None)
    for _ in range(20):
        world.run(0.5)
        assert [] == world.leaders()
        assert "no majority tells who is right" in replica_of(world, leader).self_check.problem
    world.start(absent)
    found(world, wrong)
    assert led(world) != wrong
    assert "" == replica_of(world, absent).self_check.problem


def test_a_dispute_is_not_forgotten_with_the_connection() -> None:
    world = World(27, size=5)
    leader = led(world)
    others = [each for each in sorted(world.sites) if each != leader]
    for name in others[2:]:
        world.kill(name, power_lost=False)
    make_wrong(world, others[0], "w0")
    write(world, 1, "w")
    world.run(SOON_S)
    assert [] == world.leaders()
    world.kill(others[0], power_lost=False)
    world.run(0.2)
    assert replica_of(world, leader).self_check.suspends
    for name in others[2:]:
        world.start(name)
    assert led(world)


def transfer(world: World) -> None:
    """Leadership changes hands while the log moves."""
    for name in world.leaders():
        replica_of(world, name).hand_over()
        world.run(0.05)
        if world.sites[name].replica is not None:
            replica_of(world, name).ask_to_take_over(None)
    world.run(0.3)


@pytest.mark.parametrize("seed", range(20))
def test_no_false_alarm_whatever_fails(seed: int) -> None:
    dice = random.Random(seed)
    limits = Limits(journal_entries=dice.choice((10, 40)), retained_entries=dice.choice((0, 5)))
    world = World(1000 + seed, size=dice.choice((2, 3, 5)), limits=limits)
    for _ in range(6):
        shake(world, 10)
        transfer(world)
    settle(world)
    world.run(SOON_S)
    newest = world.sites[led(world)].replica.applied_index  # type: ignore[union-attr]
    for name in world.sites:
        check = replica_of(world, name).self_check
        assert "" == check.problem
        assert {peer: newest for peer in world.sites.keys() - {name}} == {
            peer: compared.index for peer, compared in check.compared.items()
        }


async def test_a_real_node_that_is_odd_stops_and_its_directory_is_refused(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3)
    await cluster.start()
    try:
        leader, followers = await cluster.leader(), await cluster.followers()
        odd = followers[0]
        odd._replicated._machine = Forgetful("wrong")
        await leader.propose(Add("wrong"), timeout_s=10)
        await until(lambda: cluster.failures, "the odd node's end")
        assert isinstance(cluster.failures[0], OddOneOut)
        assert Role.STOPPED is odd.status().role
        with pytest.raises(Unavailable, match="differs from the majority"):
            await odd.propose(Add("again"), timeout_s=5)
        await cluster.stop(odd.node_id)
        store = tmp_path / odd.node_id.replace(":", "-") / "raft.sqlite"
        with pytest.raises(StartupError, match=f"^{store} holds a state that was found to differ"):
            await cluster.start([odd.node_id])
        await cluster.add(await cluster.leader())
    finally:
        for entry in list(cluster.nodes):
            await cluster.stop(entry)


async def test_real_nodes_say_when_they_were_last_equal(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        await cluster.add(await cluster.leader())
        await cluster.level()
        index = next(iter(cluster.nodes.values())).applied_index

        def all_compared() -> bool:
            checks = [node._replica.self_check for node in cluster.nodes.values()]
            return all(
                len(check.compared) == 2 and all(each.index >= index for each in check.compared.values())
                for check in checks
            )

        await until(all_compared, "equal digests between all nodes")
