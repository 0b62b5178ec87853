"""Three real Raft processes under kill -9 and SIGSTOP: nothing acknowledged is lost, two never have authority at once.

``ORCHESTRATOR_FAULT_SEED`` gives other choices of victims and moments; every failure names the seed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.faults.raft_cluster import NODES, Clients, RaftCluster, finish, raft_cluster

SEED = int(os.environ.get("ORCHESTRATOR_FAULT_SEED", "1"))
LEASE_S = 0.5
Shot = Callable[[RaftCluster, random.Random], Awaitable[None]]


async def under_fire(root: Path, shots: int, shoot: Shot) -> None:
    """``shoot`` again and again while clients write, with progress in between; then compare everything."""
    choice = random.Random(SEED)
    async with raft_cluster(root) as cluster:
        clients = Clients(cluster)
        for _ in range(shots):
            await cluster.progress()
            await shoot(cluster, choice)
        await cluster.progress()
        found = await finish(cluster, clients)
        assert ([], []) == (found, cluster.fatal), f"seed {SEED}"


async def test_nothing_is_lost_when_leaders_are_killed(tmp_path: Path) -> None:
    async def kill(cluster: RaftCluster, choice: random.Random) -> None:
        del choice
        leader = await cluster.next_leader()
        await cluster.kill(leader)
        await cluster.next_leader(other_than=leader)
        await cluster.progress()
        await cluster.start(leader)

    await under_fire(tmp_path, 5, kill)


async def test_nothing_is_lost_when_one_two_or_all_are_killed_at_once(tmp_path: Path) -> None:
    async def kill_some(cluster: RaftCluster, choice: random.Random) -> None:
        victims = choice.sample(NODES, choice.randint(1, len(NODES)))
        await cluster.kill(*victims)
        await asyncio.sleep(choice.uniform(0, 2 * LEASE_S))
        await asyncio.gather(*(cluster.start(node) for node in victims))

    await under_fire(tmp_path, 6, kill_some)


async def test_who_was_stopped_beyond_its_lease_has_no_authority_when_it_wakes(tmp_path: Path) -> None:
    async def freeze(cluster: RaftCluster, choice: random.Random) -> None:
        leader = await cluster.next_leader()
        cluster.freeze(leader)
        await cluster.next_leader(other_than=leader)
        await asyncio.sleep(choice.uniform(0, LEASE_S))
        cluster.thaw(leader)

    await under_fire(tmp_path, 5, freeze)


async def test_a_stop_near_the_end_of_the_lease_gives_no_second_authority(tmp_path: Path) -> None:
    async def blink(cluster: RaftCluster, choice: random.Random) -> None:
        for node in choice.sample(NODES, 2):
            cluster.freeze(node)
            await asyncio.sleep(choice.uniform(0.5, 2.5) * LEASE_S)
            cluster.thaw(node)

    await under_fire(tmp_path, 5, blink)
