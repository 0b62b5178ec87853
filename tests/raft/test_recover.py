"""A lost majority: one node is made the whole cluster, the others cannot come back unasked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator_raft.core.errors import InvalidInput, Refused, StartupError
from orchestrator_raft.raft.recover import Recovered, recover
from orchestrator_raft.raft.roster import PATIENCE_S
from orchestrator_raft.raft.settings import RaftSettings
from tests.free_ports import free_port
from tests.raft.cluster import WAIT_S, until
from tests.raft.test_changes import Growing, growing, voters


async def recovered(cluster: Growing, entry: str, entries: list[str]) -> Recovered:
    settings = RaftSettings(data_dir=cluster.root / cluster.places[entry], bind=entry, nodes=tuple(entries))
    return await recover(settings, by="somebody", at="now")


async def test_one_of_three_goes_on_alone_and_grows_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with growing(tmp_path, 3) as (cluster, entries):
        first, second, third = entries
        for _ in range(10):
            await cluster.add(cluster.nodes[first])
        await cluster.level()
        with pytest.raises(StartupError, match="in use by another process"):
            await recovered(cluster, first, entries)
        for entry in entries:
            await cluster.stop(entry)
        cluster.empty(third)
        done = await recovered(cluster, first, entries)
        assert (first, tuple(sorted(entries))) == (done.slot, done.old_voters)
        node = await cluster.run(first, entries)
        await cluster.add(node)
        assert ({first}, 11) == (voters(node), node.state.total)
        assert "somebody declared at now that the quorum is lost" in node.unreported_recovery
        node.recovery_is_reported()
        old = await cluster.run(second, entries)
        await until(lambda: f"belongs to cluster {done.old_cluster_id}" in caplog.text)
        assert old.leader() is None and old.state.total <= 10
        await cluster.stop(second)
        cluster.empty(second)
        empty = [await cluster.run(entry, entries) for entry in (second, third)]
        await asyncio.sleep(PATIENCE_S + 1.0)
        assert {""} == {each.status().cluster_id for each in empty}, "two emptied disks founded beside the survivor"
        for entry in (second, third):
            await node.add_member(entry, timeout_s=WAIT_S)
        await until(lambda: voters(node) == set(entries), "all voting again")
        await cluster.add(node)
        await cluster.level()
        assert {12} == {each.state.total for each in cluster.nodes.values()}
        await cluster.stop(first)
        assert "" == (await cluster.run(first, entries)).unreported_recovery


async def test_what_never_had_a_cluster_is_left_alone(tmp_path: Path) -> None:
    entry, other = (f"127.0.0.1:{free_port()}" for _ in range(2))
    cluster = Growing(tmp_path)
    cluster.places[entry] = "nothing"
    with pytest.raises(Refused, match="never belonged to a cluster"):
        await recovered(cluster, entry, [entry, other])
    await cluster.run(entry, [entry, other], "waiting")
    await cluster.stop(entry)
    with pytest.raises(Refused, match="holds no cluster"):
        await recovered(cluster, entry, [entry, other])
    with pytest.raises(InvalidInput, match="RaftDataDir is not set"):
        await recover(RaftSettings(bind=entry), by="somebody", at="now")
