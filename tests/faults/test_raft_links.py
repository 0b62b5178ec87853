"""Three real Raft processes whose TCP links are cut: silently, one way only, again and again, and with resets."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.faults.raft_cluster import NODES, Clients, RaftCluster, finish, raft_cluster

SEED = int(os.environ.get("ORCHESTRATOR_FAULT_SEED", "1"))
ELECTION_MAX_S = 1.0
Cut = Callable[[RaftCluster, random.Random], Awaitable[None]]


async def under_cuts(root: Path, rounds: int, cut: Cut) -> None:
    """``cut`` and heal while clients write, with progress after each; then compare everything."""
    choice = random.Random(SEED)
    async with raft_cluster(root) as cluster:
        clients = Clients(cluster)
        for _ in range(rounds):
            await cluster.progress()
            await cut(cluster, choice)
            cluster.network.heal()
        await cluster.progress()
        found = await finish(cluster, clients)
        assert ([], []) == (found, cluster.fatal), f"seed {SEED}"


def others(node: str) -> list[str]:
    return [other for other in NODES if other != node]


async def test_a_leader_cut_off_in_silence_is_replaced_and_its_late_frames_do_no_harm(tmp_path: Path) -> None:
    async def isolate(cluster: RaftCluster, choice: random.Random) -> None:
        leader = await cluster.next_leader()
        for other in others(leader):
            cluster.network.hold(leader, other)
            cluster.network.hold(other, leader)
        await cluster.next_leader(other_than=leader)
        await cluster.progress()
        await asyncio.sleep(choice.uniform(0, ELECTION_MAX_S))

    await under_cuts(tmp_path, 4, isolate)


async def test_a_leader_that_is_not_heard_but_hears_gives_way(tmp_path: Path) -> None:
    async def mute(cluster: RaftCluster, choice: random.Random) -> None:
        del choice
        leader = await cluster.next_leader()
        for other in others(leader):
            cluster.network.hold(leader, other)
        await cluster.next_leader(other_than=leader)
        await cluster.progress()

    await under_cuts(tmp_path, 3, mute)


async def test_a_leader_that_hears_nobody_gives_way_though_it_is_heard(tmp_path: Path) -> None:
    async def deafen(cluster: RaftCluster, choice: random.Random) -> None:
        del choice
        leader = await cluster.next_leader()
        for other in others(leader):
            cluster.network.hold(other, leader)
        await cluster.next_leader(other_than=leader)
        await cluster.progress()

    await under_cuts(tmp_path, 3, deafen)


async def test_a_node_whose_links_flap_does_not_stop_the_others(tmp_path: Path) -> None:
    async def flap(cluster: RaftCluster, choice: random.Random) -> None:
        victim = choice.choice(NODES)
        for _ in range(8):
            for other in others(victim):
                cluster.network.refuse(victim, other)
            await asyncio.sleep(choice.uniform(0, ELECTION_MAX_S))
            cluster.network.heal()
            await asyncio.sleep(choice.uniform(0, ELECTION_MAX_S / 2))
        await cluster.progress()

    await under_cuts(tmp_path, 1, flap)


async def test_any_links_cut_in_any_way(tmp_path: Path) -> None:
    """Among them bridges (two nodes see each other only through the third) and a cluster without any majority."""

    async def some(cluster: RaftCluster, choice: random.Random) -> None:
        for _ in range(choice.randint(1, 4)):
            one, other = choice.sample(NODES, 2)
            choice.choice((cluster.network.hold, cluster.network.refuse))(one, other)
            await asyncio.sleep(choice.uniform(0, ELECTION_MAX_S))

    await under_cuts(tmp_path, 8, some)
