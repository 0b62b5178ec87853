"""Three real nodes on loopback: sockets, SQLite files, one loop."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from orchestrator_raft.core.errors import InvalidInput, Refused, StartupError, Unavailable
from orchestrator_raft.raft.node import RaftNode
from orchestrator_raft.raft.settings import Limits, RaftSettings
from orchestrator_raft.raft.status import Role
from orchestrator_raft.tasks import Tasks
from tests.free_ports import free_port
from tests.raft.cluster import Cluster, Node, never, running, until
from tests.raft.counting import Add, Break, Counter, codec


async def test_commands_proposed_anywhere_are_applied_everywhere(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        leader, followers = await cluster.leader(), await cluster.followers()
        assert 5 == await cluster.add(leader, 5)
        assert 7 == await cluster.add(followers[0], 2)
        assert 10 == await cluster.add(followers[1], 3)
        await cluster.level()
        assert {10} == {node.state.total for node in cluster.nodes.values()}
        assert 1 == len({node.status().digest for node in cluster.nodes.values()})


async def test_one_node_has_authority_and_the_others_know_who(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        leader, followers = await cluster.leader(), await cluster.followers()
        authority = leader.authority()
        assert authority is not None and authority.term == leader.term
        assert [None, None] == [node.authority() for node in followers]
        assert {leader.node_id} == {node.leader() for node in cluster.nodes.values()}


async def test_another_node_leads_when_the_leader_stops_and_knows_everything(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        old = await cluster.leader()
        for _ in range(20):
            await cluster.add(old)
        await cluster.stop(old.node_id)
        new = await cluster.leader()
        assert 20 == new.state.total
        assert 21 == await cluster.add(new)


async def test_a_cluster_that_was_stopped_remembers_everything(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        await cluster.add(await cluster.leader(), 42)
        await cluster.level()
        for entry in cluster.entries:
            await cluster.stop(entry)
        await cluster.start()
        assert 43 == await cluster.add(await cluster.leader())


async def test_a_command_proposed_twice_counts_once(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        follower = (await cluster.followers())[0]
        first = await follower.propose(Add("same", 3), timeout_s=10)
        again = await (await cluster.leader()).propose(Add("same", 3), timeout_s=10)
        assert (3, 3) == (first, again)


async def test_a_minority_leader_loses_authority_before_the_others_elect(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        old, followers = await cluster.leader(), await cluster.followers()
        for follower in followers:
            cut(old, follower)
        seen: list[tuple[bool, bool]] = []

        def both() -> bool:
            new = any(follower.authority() for follower in followers)
            seen.append((old.authority() is not None, new))
            return new

        await until(both)
        assert (True, True) not in seen
        with pytest.raises(Unavailable, match="unknown"):
            await old.propose(Add("lost?"), timeout_s=0.2)
        for follower in followers:
            heal(old, follower)
        await until(lambda: old.leader() in {follower.node_id for follower in followers})
        await cluster.add(old)
        await cluster.level()


def transport(node: Node):  # type: ignore[no-untyped-def]
    return node._known.transport


def cut(one: Node, other: Node) -> None:
    transport(one).cut(other.node_id)
    transport(other).cut(one.node_id)


def heal(one: Node, other: Node) -> None:
    transport(one).heal(other.node_id)
    transport(other).heal(one.node_id)


async def test_proposals_without_a_leader_did_nothing_and_say_so(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3)
    await cluster.start(cluster.entries[:1])
    lonely = cluster.nodes[cluster.entries[0]]
    with pytest.raises(Unavailable, match="nothing was done"):
        await lonely.propose(Add("x"), timeout_s=0.3)
    with pytest.raises(Unavailable, match="no leader"):
        await lonely.barrier(timeout_s=0.3)
    assert Role.CANDIDATE is lonely.status().role
    await lonely.stop()


async def test_a_barrier_shows_what_was_acknowledged_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        leader, followers = await cluster.leader(), await cluster.followers()
        for total in range(1, 30):
            await cluster.add(leader)
            await followers[total % 2].barrier(timeout_s=10)
            assert total == followers[total % 2].state.total


async def test_leadership_is_handed_over_on_request(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        old, followers = await cluster.leader(), await cluster.followers()
        await cluster.add(old)
        await old.transfer(followers[1].node_id, timeout_s=10)
        assert old.authority() is None
        await until(followers[1].authority)
        with pytest.raises(Refused, match="does not lead"):
            await old.transfer(None, timeout_s=1)
        with pytest.raises(InvalidInput, match="no member"):
            await old.transfer("10.0.0.1:1", timeout_s=1)


async def test_subscribers_see_the_newest_change_and_no_backlog(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        leader = await cluster.leader()
        await cluster.level()
        with leader.subscribe() as changes:
            for _ in range(10):
                await cluster.add(leader)
            assert leader.applied_index == (await changes.next()).applied_index
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(changes.next(), 0.01)


async def test_members_and_status_tell_what_a_person_needs(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        leader = await cluster.leader()
        await cluster.add(leader)
        await until(lambda: all(member.round_trip_s is not None for member in leader.members()))
        await until(lambda: {member.match_index for member in leader.members()} == {leader.status().last_index})
        await until(lambda: leader.applied_index == leader.status().last_index)
        status = leader.status()
        assert Role.LEADER is status.role and 0 < status.lease_left_s <= 0.5
        assert sorted(cluster.entries) == [member.id for member in status.members]
        assert all(member.is_connected for member in status.members)
        assert 3 == len({member.node_id for member in status.members})
        assert 0 < status.store_bytes and status.applied_index == status.commit_index == status.last_index


async def test_a_node_that_was_away_gets_a_snapshot(tmp_path: Path) -> None:
    limits = Limits(journal_entries=50, retained_entries=10)
    async with running(tmp_path, limits=limits) as cluster:
        away = (await cluster.followers())[0].node_id
        await cluster.stop(away)
        leader = await cluster.leader()
        await asyncio.gather(*(cluster.add(leader) for _ in range(300)))
        await until(lambda: (leader.status().snapshot_index or 0) > 200)
        await cluster.start([away])
        await cluster.level()
        assert 300 == cluster.nodes[away].state.total
        assert 200 < (cluster.nodes[away].status().snapshot_index or 0)


async def test_a_snapshot_on_request_trims_the_journal_and_survives_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path, size=1) as cluster:
        node = await cluster.leader()
        for _ in range(10):
            await cluster.add(node)
        node.compact()
        await until(lambda: node.status().snapshot_index == node.applied_index and node.status().journal_entries == 2)
        digest = node.status().digest
        await cluster.stop(cluster.entries[0])
        await cluster.start()
        assert (10, digest) == (
            cluster.nodes[cluster.entries[0]].state.total,
            cluster.nodes[cluster.entries[0]].status().digest,
        )


async def test_many_proposals_at_once_share_their_way(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        await cluster.followers()
        nodes = list(cluster.nodes.values())
        results = await asyncio.gather(*(cluster.add(nodes[number % 3]) for number in range(300)))
        assert list(range(1, 301)) == sorted(results)


async def test_a_command_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, size=1) as cluster:
        leader = await cluster.leader()
        with pytest.raises(InvalidInput, match="too large"):
            await leader.propose(Add("big", padding="x" * Limits().command_bytes), timeout_s=1)


async def test_more_proposals_than_the_limit_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path, size=1, limits=Limits(pending_proposals=2)) as cluster:
        leader = await cluster.leader()
        tasks = Tasks("test", lambda _, error: never(error))
        waiting = [tasks.start("proposal", cluster.add(leader)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="2 proposals wait"):
            await cluster.add(leader)
        await asyncio.gather(*waiting)


async def test_a_node_alone_works_and_remembers(tmp_path: Path) -> None:
    settings = RaftSettings(data_dir=tmp_path, bind=f"127.0.0.1:{free_port()}")
    for expected in (1, 2, 3):
        node: Node = RaftNode(settings, Counter(), codec(), on_fatal=never)
        await node.start()
        await until(node.authority)
        assert expected == await node.propose(Add(f"n{expected}"), timeout_s=10)
        await node.barrier(timeout_s=1)
        await node.stop()


async def test_without_raft_a_node_works_in_memory_and_listens_nowhere() -> None:
    node: Node = RaftNode(RaftSettings(enabled=False, nodes=("a", "b", "c")), Counter(), codec(), on_fatal=never)
    await node.start()
    await until(node.authority)
    assert 1 == await node.propose(Add("n"), timeout_s=10)
    assert [node.node_id] == [member.id for member in node.members()]
    await node.stop()


async def test_a_machine_that_raises_stops_the_node_loudly(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    settings = RaftSettings(data_dir=tmp_path, bind=f"127.0.0.1:{free_port()}")
    node: Node = RaftNode(settings, Counter(), codec(), on_fatal=failures.append)
    await node.start()
    await until(node.authority)
    with pytest.raises(Unavailable, match="this machine is broken"):
        await node.propose(Break("b"), timeout_s=5)
    assert ["this machine is broken"] == [str(failure) for failure in failures]
    assert node.authority() is None and node.leader() is None
    with pytest.raises(Unavailable, match="not running"):
        await node.propose(Add("a"), timeout_s=5)
    assert Role.STOPPED is node.status().role
    await node.stop()


async def refused(settings: RaftSettings) -> str:
    node: Node = RaftNode(settings, Counter(), codec(), on_fatal=never)
    with pytest.raises(StartupError) as caught:
        await node.start()
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_a_node_that_is_not_in_the_list_does_not_start(tmp_path: Path) -> None:
    nodes = ("127.0.0.1:9", "127.0.0.1:10")
    text = await refused(RaftSettings(data_dir=tmp_path, bind="127.0.0.1:11", nodes=nodes))
    assert "RaftNodes lists 127.0.0.1:9, 127.0.0.1:10, but none is this node, which calls itself 127.0.0.1:11" in text


async def test_a_port_in_use_is_named_and_everything_is_let_go(tmp_path: Path) -> None:
    async with running(tmp_path / "one", size=1) as cluster:
        settings = RaftSettings(data_dir=tmp_path / "two", bind=cluster.entries[0])
        text = await refused(settings)
        assert f"cannot listen on {cluster.entries[0]}" in text and "in use" in text
        assert text == await refused(settings)


async def test_two_processes_cannot_share_a_directory(tmp_path: Path) -> None:
    async with running(tmp_path, size=1) as cluster:
        settings = cluster.settings(cluster.entries[0])
        assert "in use by another process" in await refused(settings)


async def test_off_loopback_a_node_wants_tls_or_permission(tmp_path: Path) -> None:
    settings = RaftSettings(data_dir=tmp_path, bind=f"0.0.0.0:{free_port()}", plaintext=False)
    text = await refused(settings)
    assert "orchestrator-raft pki" in text and "ORCHESTRATOR_RAFT_PLAINTEXT=1" in text


async def test_a_cluster_needs_a_directory() -> None:
    nodes = ("127.0.0.1:9", "127.0.0.1:10")
    assert "RaftDataDir is not set" in await refused(RaftSettings(bind="127.0.0.1:9", nodes=nodes))


async def test_every_node_shows_all_and_who_does_not_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        leader, followers = await cluster.leader(), await cluster.followers()
        await cluster.add(leader)
        assert await leader.snapshot(timeout_s=10) >= 2
        await until(lambda: all(member.match_index == leader.applied_index for member in leader.members()))
        await cluster.level()
        shown = await followers[0].overview()
        assert followers[0].node_id == shown["asked"]
        assert sorted(cluster.nodes) == [node["id"] for node in shown["nodes"]]
        by_id = {node["id"]: node for node in shown["nodes"]}
        first = by_id[leader.node_id]
        assert "leader" == first["role"] and first["lease_left_s"] > 0 and first["disk_free_bytes"] > 0
        assert first["snapshot_index"] >= 2 and first["snapshot_age_s"] >= 0
        assert {first["applied_index"]} == {member["match_index"] for member in first["members"]}
        assert 1 == len({node["digest"] for node in shown["nodes"]})
        await cluster.stop(followers[1].node_id)
        again = {node["id"]: node for node in (await followers[0].overview())["nodes"]}
        assert "not connected" in again[followers[1].node_id]["error"]
        assert "follower" == again[followers[0].node_id]["role"]


async def test_a_snapshot_on_request_is_on_disk_when_it_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path, size=1) as cluster:
        (node,) = cluster.nodes.values()
        for _ in range(5):
            await cluster.add(node)
        index = await node.snapshot(timeout_s=10)
        assert index == node.applied_index == node.status().snapshot_index
        assert index == await node.snapshot(timeout_s=10)
        await cluster.stop(node.node_id)
        await cluster.start()
        (again,) = cluster.nodes.values()
        assert index == again.status().snapshot_index
        assert again.status().snapshot_age_s is not None


def break_sync(node: Node) -> None:
    """From now on every write to the write-ahead log works, and every sync of it fails: so is the null device."""
    wal = node.status().store + "-wal"
    (descriptor,) = (int(each.name) for each in Path("/proc/self/fd").iterdir() if os.path.realpath(each) == wal)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    os.close(null)


async def test_a_leader_whose_disk_fails_to_sync_stops_and_another_one_leads(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3)
    await cluster.start()
    try:
        leader = await cluster.leader()
        await cluster.add(leader)
        break_sync(leader)
        with pytest.raises(Unavailable, match=r"cannot write .*raft\.sqlite: disk I/O error"):
            await leader.propose(Add("unsynced"), timeout_s=10)
        assert leader.authority() is None and Role.STOPPED is leader.status().role
        assert [RuntimeError] == [type(each) for each in cluster.failures]
        await cluster.stop(leader.node_id)
        new = await cluster.leader()
        assert await new.propose(Add("later"), timeout_s=10) >= 2
    finally:
        for entry in list(cluster.nodes):
            await cluster.stop(entry)
