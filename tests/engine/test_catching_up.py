"""The leader confirms that replicas have caught up, once, and by what the primary had when semi-sync was in force."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from orchestrator_raft.core.gtid import parse_mysql
from orchestrator_raft.core.replicated.commands import ConfirmCaughtUp
from orchestrator_raft.core.topology import ClusterRecord
from orchestrator_raft.engine.catching_up import CatchingUp
from orchestrator_raft.engine.leadership import Leader
from orchestrator_raft.engine.pacing import Paces, Pacing
from tests.engine.bench import PRIMARY, R1, Bench
from tests.engine.fleet import STOPPED, uuid_of


def cluster(bench: Bench) -> ClusterRecord:
    (found,) = bench.raft.state.clusters.values()
    return found


async def probed(bench: Bench, leader: Leader) -> None:
    """Everybody was probed a moment later, and it is recorded; nothing is confirmed yet."""
    await asyncio.sleep(0.5)
    for each in bench.fleet.servers:
        await leader.discovery.probe_now(each, timeout_s=1.0)
    await leader.recorder.flush()


async def confirmed(leader: Leader, catching_up: CatchingUp) -> int:
    """How many confirmations are made, once the primary has been probed again."""
    count = 0
    for _ in range(2):
        for _name, work in catching_up.due(leader.viewer.moment()):
            await work
            count += 1
        await asyncio.sleep(0.5)
        await leader.discovery.probe_now(PRIMARY, timeout_s=1.0)
    return count


def stop_receivers(bench: Bench) -> None:
    for server in bench.fleet.servers.values():
        if server.channel is not None:
            server.set_channel(replace(server.channel, receiver=STOPPED))


def write(bench: Bench, last: int) -> None:
    server = bench.fleet.servers[PRIMARY]
    server.facts = replace(server.facts, executed=parse_mysql(f"{uuid_of(PRIMARY)}:1-{last}"))
    bench.fleet.settle()


async def test_a_healthy_cluster_is_confirmed_once(bench: Bench) -> None:
    leader = bench.leader()
    catching_up = CatchingUp(leader.proposals)
    await probed(bench, leader)
    assert await confirmed(leader, catching_up) == 1
    assert cluster(bench).caught_up
    assert await confirmed(leader, catching_up) == 0


async def test_a_primary_that_is_always_ahead_of_what_was_read_of_its_replicas_is_confirmed(bench: Bench) -> None:
    leader = bench.leader()
    catching_up = CatchingUp(leader.proposals)
    stop_receivers(bench)
    write(bench, 30)
    await probed(bench, leader)
    assert await confirmed(leader, catching_up) == 0
    one = bench.fleet.servers[R1]
    assert one.channel is not None
    one.set_channel(replace(one.channel, retrieved=parse_mysql(f"{uuid_of(PRIMARY)}:1-30")))
    write(bench, 40)
    await probed(bench, leader)
    assert await confirmed(leader, catching_up) == 1


async def test_after_a_lapse_the_primary_is_read_anew(bench: Bench) -> None:
    """What it had at the first sight says nothing of what it acknowledged while semi-sync was off."""
    leader = bench.leader()
    catching_up = CatchingUp(leader.proposals)
    await probed(bench, leader)
    assert await confirmed(leader, catching_up) == 1
    stop_receivers(bench)
    bench.fleet.servers[PRIMARY].set_semi_sync(source_enabled=False)
    await probed(bench, leader)
    write(bench, 30)
    bench.fleet.servers[PRIMARY].set_semi_sync(source_enabled=True)
    await probed(bench, leader)
    assert await confirmed(leader, catching_up) == 0
    assert not cluster(bench).caught_up


async def test_what_is_not_yet_replicated_is_not_built_on(bench: Bench) -> None:
    leader = bench.leader()
    catching_up = CatchingUp(leader.proposals)
    server = bench.fleet.servers[PRIMARY]
    server.set_semi_sync(source_enabled=False)
    await probed(bench, leader)
    server.set_semi_sync(source_enabled=True)
    await leader.discovery.probe_now(PRIMARY, timeout_s=1.0)
    assert await confirmed(leader, catching_up) == 0
    await leader.recorder.flush()
    assert await confirmed(leader, catching_up) == 1


async def test_an_engine_confirms_by_itself(bench: Bench) -> None:
    bench.raft.elect("n1")
    bench.engine()
    await bench.until(lambda: any(each.caught_up for each in bench.raft.state.clusters.values()))
    commands = [each for each in bench.raft.log if isinstance(each, ConfirmCaughtUp)]
    assert len(commands) == 1


async def test_possible_ackers_are_looked_at_like_primaries_until_the_promise_is_made(bench: Bench) -> None:
    """At the pace of replicas, a primary that died within that time would have been replaced without a promise."""
    leader = bench.leader()
    paces = Paces(poll_s=60.0, primary_interval_s=0.5)
    await probed(bench, leader)
    assert Pacing(paces).paces(leader.viewer.moment())[R1].interval_s == paces.primary_interval_s
    assert await confirmed(leader, CatchingUp(leader.proposals)) == 1
    assert Pacing(paces).paces(leader.viewer.moment())[R1].interval_s == paces.poll_s
