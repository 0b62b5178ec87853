"""Housekeeping: downtimes end when their time has come, servers long unseen are forgotten, nothing else is touched."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated.commands import BeginDowntime, EndDowntime, ForgetServers
from orchestrator_raft.engine.housekeeping import Housekeeping, long_unseen
from orchestrator_raft.engine.leadership import Leader
from tests.engine.bench import POLICY, PRIMARY, R1, R2, R3, Bench


class Stage:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.leader: Leader = bench.leader()
        self.housekeeping = Housekeeping(self.leader.proposals)

    async def do(self) -> list[str]:
        """Do what is due; its names."""
        names = []
        for name, work in self.housekeeping.due(self.leader.viewer.moment()):
            names.append(name)
            await work
        return names

    async def released(self) -> None:
        """The primary is read until whoever is gone counts no more."""
        for _ in range(8):
            await asyncio.sleep(1.0)
            await self.leader.discovery.probe_now(PRIMARY, timeout_s=1.0)
            await self.do()

    async def downtime(self, key: InstanceKey, seconds: float) -> None:
        ends_ms = self.bench.clock.wall_ms() + round(seconds * 1000)
        result = await self.leader.proposals.propose(
            BeginDowntime, key=key, owner="anna", reason="work", ends_ms=ends_ms
        )
        assert result.ok

    async def crash(self, key: InstanceKey) -> None:
        self.bench.fleet.crash(key.port)
        await self.leader.discovery.probe_now(key, timeout_s=1.0)
        await self.leader.recorder.flush()


@pytest_asyncio.fixture
async def stage(bench: Bench) -> Stage:
    made = Stage(bench)
    await bench.known(made.leader)
    return made


async def test_in_a_healthy_fleet_nothing_is_due(stage: Stage) -> None:
    await asyncio.sleep(2 * POLICY.unseen_forget_s)
    assert await stage.do() == []


async def test_a_downtime_ends_when_its_time_has_come_and_not_before(stage: Stage) -> None:
    await stage.downtime(R1, 60.0)
    await stage.downtime(R2, 120.0)
    await asyncio.sleep(59.9)
    assert await stage.do() == []
    await asyncio.sleep(0.2)
    assert await stage.do() == [f"end downtime {R1}"]
    assert set(stage.bench.raft.state.downtimes) == {R2}
    assert await stage.do() == []
    (end,) = [each for each in stage.bench.raft.log if isinstance(each, EndDowntime)]
    assert end.expired


async def test_a_server_unseen_for_long_enough_is_forgotten_and_not_before(stage: Stage) -> None:
    await stage.crash(R1)
    await stage.released()
    await asyncio.sleep(POLICY.unseen_forget_s - 9.0)
    assert await stage.do() == []
    await asyncio.sleep(2.0)
    assert await stage.do() == ["forget unseen"]
    assert R1 not in stage.bench.raft.state.servers
    assert R2 in stage.bench.raft.state.servers
    (forgotten,) = [each for each in stage.bench.raft.log if isinstance(each, ForgetServers)]
    assert forgotten.reason == "not seen for 240 hours (UnseenInstanceForgetHours)"


async def test_a_possible_acker_is_not_forgotten_while_the_promise_rests_on_it(stage: Stage) -> None:
    """It acknowledged to a primary that died with it; forgotten, nobody would wait for it."""
    await stage.crash(R1)
    await stage.crash(PRIMARY)
    await asyncio.sleep(POLICY.unseen_forget_s + 2.0)
    await stage.do()
    assert R1 in stage.bench.raft.state.servers


async def test_a_stale_primary_is_never_forgotten_by_itself(stage: Stage) -> None:
    """It has to be fenced when it comes back, be that after a year."""
    await stage.crash(PRIMARY)
    await stage.bench.claimed(stage.leader)
    stage.leader.supervisor.look()
    await stage.bench.until(lambda: stage.bench.raft.state.recoveries["r1"].promoted)
    await stage.bench.until(lambda: not stage.bench.raft.state.active_recoveries)
    await stage.crash(R3)
    await asyncio.sleep(POLICY.unseen_forget_s + 2.0)
    await stage.do()
    assert PRIMARY in stage.bench.raft.state.servers
    assert PRIMARY in stage.bench.raft.state.stale
    assert R3 not in stage.bench.raft.state.servers


async def test_nobody_is_forgotten_while_the_cluster_is_recovered(stage: Stage) -> None:
    await stage.crash(R1)
    await stage.bench.claimed(stage.leader)
    await asyncio.sleep(POLICY.unseen_forget_s + 2.0)
    assert long_unseen(stage.leader.viewer.moment()) == ()


@pytest.mark.parametrize("seen_again_after_s", [10.0, POLICY.unseen_forget_s - 1.0])
async def test_the_time_begins_anew_when_a_server_is_seen(stage: Stage, seen_again_after_s: float) -> None:
    await stage.crash(R1)
    await asyncio.sleep(seen_again_after_s)
    stage.bench.fleet.servers[R1].down = None
    await stage.leader.discovery.probe_now(R1, timeout_s=1.0)
    await stage.leader.recorder.flush()
    await stage.crash(R1)
    await asyncio.sleep(POLICY.unseen_forget_s - 1.0)
    assert await stage.do() == []
