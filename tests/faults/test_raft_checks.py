"""The checks of the fault tests can fail: on made-up histories, and on real clusters in which a fault is planted."""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator_raft.raft.data_dir import STORE_FILE
from tests.faults.raft_cluster import NODES, Clients, RaftCluster, finish, raft_cluster
from tests.faults.raft_history import Command, Final, History, Read, Tenure, tenures, violations
from tests.faults.raft_process import Plant


def good() -> History:
    """Two acknowledged commands, one whose outcome nobody knows, one that nobody took."""
    commands = [
        Command("a", 1.0, 2.0, may_be_taken=True),
        Command("b", 3.0, 4.0, may_be_taken=True),
        Command("unknown", 3.5, may_be_taken=True),
        Command("untaken", 3.6),
    ]
    return History(
        commands={command.id: command for command in commands},
        reads=[Read(2.5, 2.6, 1), Read(4.5, 4.6, 3)],
        tenures=[Tenure("one", 1, 1, 0.0, 2.0), Tenure("two", 2, 2, 2.0, 5.0), Tenure("two", 3, 3, 4.0, 6.0)],
        finals=[Final(node, ("a", "unknown", "b"), 3, 9, "d") for node in NODES],
    )


def held(order: tuple[str, ...], *, total: int | None = None, digest: str = "d", applied: int = 9) -> Final:
    return Final("two", order, len(order) if total is None else total, applied, digest)


BAD_FINALS = {
    "has lost 1 acknowledged": held(("a", "unknown")),
    "applied 3 commands 4 times": held(("a", "unknown", "b"), total=4),
    "another order": held(("a", "b", "unknown")),
    "different digests": held(("a", "unknown", "b"), digest="e"),
    "two stands at 8": held(("a", "unknown", "b"), applied=8),
    "nobody proposed": held(("a", "unknown", "b", "x")),
    "nothing was done": held(("a", "unknown", "b", "untaken")),
}


def test_a_good_history_has_no_violation() -> None:
    assert [] == violations(good())


@pytest.mark.parametrize("complaint", BAD_FINALS)
def test_a_bad_state_of_one_node_is_found(complaint: str) -> None:
    history = good()
    history.finals[1] = BAD_FINALS[complaint]
    assert any(complaint in text for text in violations(history))


def test_an_order_against_time_is_found_though_all_nodes_agree() -> None:
    history = good()
    history.finals = [Final(node, ("b", "unknown", "a"), 3, 9, "d") for node in NODES]
    assert ["a stands behind a command that was proposed after its acknowledgement"] == violations(history)


@pytest.mark.parametrize("total", [0, 4])
def test_a_read_of_the_past_or_of_the_future_is_found(total: int) -> None:
    history = good()
    history.reads.append(Read(2.1, 3.2, total))
    assert 1 == len(violations(history))


@pytest.mark.parametrize(
    ("later", "count"),
    [
        (Tenure("three", 4, 4, 5.9, 7.0), 1),
        (Tenure("three", 4, 4, 6.0, 7.0), 0),
        (Tenure("three", 4, 3, 6.0, 7.0), 1),
    ],
)
def test_leases_that_overlap_or_share_a_term_are_found(later: Tenure, count: int) -> None:
    history = good()
    history.tenures.append(later)
    assert count == len(violations(history))


def test_a_tenure_lasts_to_the_end_of_its_last_lease() -> None:
    samples = [("one", 7, 1, 0.0, 0.4), ("one", 7, 1, 0.1, 0.5), ("one", 7, 2, 3.0, 3.1), ("two", 8, 3, 4.0, 4.5)]
    assert [
        Tenure("one", 7, 1, 0.0, 0.5),
        Tenure("one", 7, 2, 3.0, 3.1),
        Tenure("two", 8, 3, 4.0, 4.5),
    ] == tenures(samples)


# planted in real processes


def cut_off(cluster: RaftCluster, node: str) -> None:
    for other in NODES:
        if other != node:
            cluster.network.hold(node, other)
            cluster.network.hold(other, node)


async def test_a_leader_that_ignores_its_lease_is_found(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Plant.IGNORES_LEASE) as cluster:
        clients = Clients(cluster)
        await cluster.progress()
        old = cluster.samples[-1][0]
        cut_off(cluster, old)
        await cluster.until(lambda: any(sample[0] != old for sample in cluster.samples), "another leader")
        found = await finish(cluster, clients)
    assert any("had authority at once" in text for text in found)


async def test_a_machine_that_applies_a_repeated_command_twice_is_found(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path, Plant.APPLIES_TWICE) as cluster:
        clients = Clients(cluster)
        await cluster.progress()
        cluster.tell(NODES[0], "add again")
        cluster.tell(NODES[1], "add again")
        await cluster.progress()
        found = await finish(cluster, clients)
    assert any("times" in text for text in found)


async def test_disks_that_forget_what_they_had_synced_are_found(tmp_path: Path) -> None:
    """All nodes lose the last entries of their journals, as if no fsync had been one: the client's record shows it."""
    async with raft_cluster(tmp_path) as cluster:
        clients = Clients(cluster)
        await cluster.progress(100)
        await clients.stop()
        await cluster.level()
        await cluster.kill(*NODES)
        end = max(final.applied_index for final in cluster.history.finals)
        for node in NODES:
            forget(cluster.directory(node) / STORE_FILE, end - 10)
        await asyncio.gather(*(cluster.start(node) for node in NODES))
        await cluster.level()
        found = violations(cluster.history)
    assert len(NODES) == len([text for text in found if "acknowledged commands" in text])


def forget(store: Path, last_index: int) -> None:
    """Cut the journal behind ``last_index``, with everything that would tell of it."""
    with closing(sqlite3.connect(store)) as database, database:
        assert database.execute("DELETE FROM journal WHERE idx > ?", (last_index,)).rowcount > 0
        database.execute("DELETE FROM snapshot WHERE idx > ?", (last_index,))
        ((hint,),) = database.execute("SELECT commit_index FROM hint")
        commit_index = min(hint, last_index)
        checksum = zlib.crc32(repr((commit_index,)).encode())
        database.execute("UPDATE hint SET commit_index = ?, checksum = ?", (commit_index, checksum))
