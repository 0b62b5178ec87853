"""The leader keeps the set of possible ackers true by itself, and says it once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.policy import HostFilters, Policy
from orchestrator_raft.core.recovery.model import EndState
from orchestrator_raft.core.replicated.commands import AdmitAckers, Command, ForgetServers, LapsePromise, ReleaseAckers
from orchestrator_raft.core.topology import ClusterRecord
from tests.engine.bench import POLICY, PRIMARY, R1, R2, R3, Bench
from tests.engine.fleet import key, replica_facts

STRANGER = key(24009)


class Stage:
    """A promise that is made, by an engine that runs."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        bench.raft.elect("n1")
        bench.engine()

    @property
    def cluster(self) -> ClusterRecord:
        return self.bench.raft.state.clusters["c1"]

    async def promised(self) -> Stage:
        await self.bench.until(lambda: "c1" in self.bench.raft.state.clusters and self.cluster.caught_up)
        return self

    def count(self, kind: type[Command]) -> int:
        return sum(isinstance(each, kind) for each in self.bench.raft.log)

    def crash(self, each: InstanceKey) -> None:
        for prober in self.bench.probers.values():
            prober.crash(each.port)


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    policy = Policy(recover_primary=POLICY.recover_primary, discovery_ignore=HostFilters((str(STRANGER),)))
    bench = Bench(policy=policy)
    yield await Stage(bench).promised()
    await bench.close()


def semi_sync_replica() -> Facts:
    return replica_facts(STRANGER, PRIMARY)


async def test_a_dead_replica_is_released_once_and_the_primary_replaced_without_it(stage: Stage) -> None:
    stage.crash(R3)
    await stage.bench.until(lambda: stage.cluster.ackers == (R1, R2))
    await asyncio.sleep(60.0)
    assert stage.count(ReleaseAckers) == 1
    stage.crash(PRIMARY)
    await stage.bench.until(lambda: any(not each.is_active for each in stage.bench.raft.state.recoveries.values()))
    (recovery,) = stage.bench.raft.state.recoveries.values()
    assert (recovery.end, recovery.promised) == (EndState.SUCCEEDED, True), recovery.errors


async def test_one_that_is_connected_again_and_does_not_answer_is_admitted(stage: Stage) -> None:
    stage.crash(R3)
    await stage.bench.until(lambda: stage.cluster.released == (R3,))
    fleet = stage.bench.fleet
    down, fleet.servers[R3].down = fleet.servers[R3].down, None
    fleet.settle()
    fleet.servers[R3].down = down
    await stage.bench.until(lambda: stage.cluster.ackers == (R1, R2, R3))
    assert stage.count(AdmitAckers) == 1
    assert stage.cluster.caught_up


async def test_a_replica_that_people_exclude_ends_the_promise_until_it_acknowledges_no_more(stage: Stage) -> None:
    """The command that says it is written once, and its end is awaited for a while."""
    stage.bench.fleet.add(semi_sync_replica())
    await stage.bench.until(lambda: not stage.cluster.caught_up)
    assert "4 replicas acknowledge" in stage.cluster.lapsed_because
    await asyncio.sleep(60.0)
    assert stage.count(LapsePromise) == 1 and not stage.cluster.caught_up
    stage.bench.fleet.servers[STRANGER].set_channel(None)
    await stage.bench.until(lambda: stage.cluster.caught_up)
    assert stage.cluster.lapsed_because == ""


async def test_a_quiet_fleet_needs_none_of_it(stage: Stage) -> None:
    await asyncio.sleep(120.0)
    assert [stage.count(kind) for kind in (ReleaseAckers, AdmitAckers, LapsePromise)] == [0, 0, 0]


# -- a failover that waits for one of them


def ended(stage: Stage, count: int) -> bool:
    return sum(not each.is_active for each in stage.bench.raft.state.recoveries.values()) >= count


def is_replaced(stage: Stage) -> bool:
    return any(each.promoted and not each.is_active for each in stage.bench.raft.state.recoveries.values())


async def refused(stage: Stage) -> None:
    """A replica dies and then its primary, before the replica was released."""
    stage.crash(R3)
    stage.crash(PRIMARY)
    await stage.bench.until(lambda: ended(stage, 1))
    (recovery,) = stage.bench.raft.state.recoveries.values()
    assert not recovery.promoted and str(R3) in " ".join(recovery.errors)


async def test_it_is_tried_again_at_once_when_the_missing_one_answers(stage: Stage) -> None:
    await refused(stage)
    await asyncio.sleep(20.0)
    assert len(stage.bench.raft.state.recoveries) == 1
    stage.bench.fleet.servers[R3].down = None
    stage.bench.fleet.settle()
    await stage.bench.until(lambda: is_replaced(stage), at_most_s=5.0)


async def test_it_is_tried_again_at_once_when_a_person_gives_the_missing_one_up(stage: Stage) -> None:
    await refused(stage)
    await asyncio.sleep(20.0)
    gone = ForgetServers(id="forget", at_ms=stage.bench.clock.wall_ms(), keys=(R3,))
    assert (await stage.bench.raft.commit(gone)).ok
    await stage.bench.until(lambda: is_replaced(stage), at_most_s=5.0)
    last = list(stage.bench.raft.state.recoveries.values())[-1]
    assert f"{R3}: forgotten" in " ".join(last.errors)
