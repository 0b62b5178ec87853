"""A rolling upgrade of real processes to a fake next version, while clients write and a node is killed in between."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from tests.faults.raft_cluster import NODES, PAUSE_S, WAIT_S, Clients, RaftCluster, finish, raft_cluster

LEVEL_1, LEVEL_2 = 1, 2


async def levels(cluster: RaftCluster) -> set[int]:
    """What the running nodes say now."""
    cluster.levels.clear()
    running = [node for node in NODES if node in cluster.ready]
    for node in running:
        cluster.tell(node, "level")
    await cluster.until(lambda: cluster.levels.keys() >= set(running), "levels of all nodes")
    return {cluster.levels[node] for node in running}


async def wait_level(cluster: RaftCluster, level: int) -> None:
    deadline_s = asyncio.get_running_loop().time() + WAIT_S
    while {level} != await levels(cluster):
        assert asyncio.get_running_loop().time() < deadline_s, f"not all are at level {level}: {cluster.levels}"
        await asyncio.sleep(PAUSE_S)


async def upgrade(cluster: RaftCluster, node: str) -> None:
    await cluster.kill(node)
    cluster.upgraded.add(node)
    await cluster.start(node)
    await cluster.next_leader()


async def test_nodes_are_upgraded_one_after_another_while_clients_write(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path) as cluster:
        clients = Clients(cluster)
        for node in NODES[:2]:
            await cluster.progress()
            await upgrade(cluster, node)
            await cluster.progress()
            early = await cluster.ask(node, f"scale early-{node} 2", f"early-{node}")
            assert "needs level 2 and the cluster is at level 1" in early["error"]
            assert {LEVEL_1} == await levels(cluster)
        leader = await cluster.next_leader()
        await cluster.kill(leader)
        await cluster.progress()
        await cluster.start(leader)
        assert {LEVEL_1} == await levels(cluster)
        await upgrade(cluster, NODES[2])
        await wait_level(cluster, LEVEL_2)
        await cluster.progress()
        assert ([], []) == (await finish(cluster, clients), cluster.fatal)
        total = cluster.history.finals[0].total
        assert {"error": ""}.items() <= (await cluster.ask(NODES[0], "scale late 2", "late")).items()
        await cluster.level()
        assert {2 * total} == {final.total for final in cluster.history.finals}


async def test_the_old_version_is_kept_out_of_the_new_level_with_a_clear_line(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path) as cluster:
        node, *others = NODES
        await cluster.kill(node)
        shutil.copytree(cluster.directory(node), tmp_path / "backup")
        await cluster.start(node)
        for each in NODES:
            await upgrade(cluster, each)
        await wait_level(cluster, LEVEL_2)
        await cluster.kill(node)
        cluster.upgraded.discard(node)

        await cluster.start(node)
        assert node not in cluster.ready and 1 == cluster.processes[node].returncode
        assert "the cluster is at level 2, this version knows levels 1 to 1: install the version" in cluster.fatal[-1]

        shutil.rmtree(cluster.directory(node))
        shutil.copytree(tmp_path / "backup", cluster.directory(node))
        await cluster.start(node)

        def refused() -> bool:
            cluster.tell(node, "level")
            problems = cluster.problems.get(node, [])
            return 2 == sum("knows levels 1 to 1" in problem for problem in problems)

        await cluster.until(refused, "the old node says why it is alone")
        assert node != await cluster.next_leader()
        answer = await cluster.ask(others[0], "scale late 3", "late")
        assert "" == answer["error"]
