"""Upkeep: what drifts is put right in the whole engine, once it lasts, and what a person did on purpose is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from orchestrator_raft.core.instance import ThreadState
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.upkeep import CHORES, due
from orchestrator_raft.core.replicated import Result
from orchestrator_raft.engine.leadership import Leader
from orchestrator_raft.engine.upkeep import RETRY_S, SETTLE_S, Upkeep
from tests.engine.bench import PRIMARY, R1, R2, Bench


class Stage:
    """A leader that knows a healthy cluster, and its claims for upkeep."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.leader: Leader = bench.leader()
        self.upkeep = Upkeep("n1", self.leader.term, self.leader.proposals, on_claimed=self.leader.look)

    async def begin(self) -> Stage:
        await self.bench.known(self.leader)
        return self

    def found(self, policy: Policy | None = None) -> list[tuple[str, str]]:
        moment = self.leader.viewer.moment()
        (cluster,) = moment.topology.clusters.values()
        return [(str(key), chore.name) for key, chore, _ in due(moment.topology, cluster, policy or moment.policy)]

    async def claim(self) -> Result | None:
        """One look at the upkeep; what it claims is run to its end."""
        moment = self.leader.viewer.moment()
        (cluster,) = moment.topology.clusters.values()
        work = self.upkeep.claim(cluster, moment)
        if work is None:
            return None
        await work
        await self.bench.until(lambda: not self.bench.raft.state.active_recoveries)
        return Result(True)

    @property
    def last(self) -> Recovery:
        return tuple(self.bench.raft.state.recoveries.values())[-1]


@pytest_asyncio.fixture
async def stage(bench: Bench) -> AsyncIterator[Stage]:
    yield await Stage(bench).begin()


async def later(stage: Stage, seconds: float) -> None:
    await stage.bench.clock.sleep(seconds)
    await stage.bench.known(stage.leader)


async def test_a_healthy_cluster_needs_none(stage: Stage) -> None:
    assert stage.found() == []
    assert await stage.claim() is None


async def test_a_writable_replica_is_closed_once_that_lasts(stage: Stage) -> None:
    server = stage.bench.fleet[R1.port]
    server.facts = replace(server.facts, read_only=False, super_read_only=False)
    await stage.bench.known(stage.leader)
    assert stage.found() == [(str(R1), "read-only replica")]
    assert await stage.claim() is None, "it may be on its way somewhere"
    await later(stage, SETTLE_S)
    assert await stage.claim() is not None
    assert stage.last.end is EndState.SUCCEEDED, stage.last
    assert server.facts.super_read_only
    assert stage.last.subject.evidence == (f"the replica {R1} takes writes",)
    assert [each.type for each in stage.bench.raft.state.audit][-2:] == ["claim-recovery", "finish-recovery"]
    await stage.bench.known(stage.leader)
    assert stage.found() == []


async def test_one_that_somebody_opens_again_is_left_alone_for_a_while(stage: Stage) -> None:
    server = stage.bench.fleet[R1.port]
    was_claimed = True
    for _ in range(2):
        server.facts = replace(server.facts, read_only=False, super_read_only=False)
        await stage.bench.known(stage.leader)
        await stage.claim()
        await later(stage, SETTLE_S)
        was_claimed = await stage.claim() is not None
    assert not was_claimed
    await later(stage, RETRY_S)
    assert await stage.claim() is not None


async def test_super_read_only_is_set_where_only_read_only_is(stage: Stage) -> None:
    server = stage.bench.fleet[R2.port]
    server.facts = replace(server.facts, super_read_only=False)
    await stage.bench.known(stage.leader)
    assert stage.found() == [(str(R2), "super-read-only replica")]
    await stage.claim()
    await later(stage, SETTLE_S)
    await stage.claim()
    assert server.facts.super_read_only


@pytest.mark.parametrize(("error", "wanted"), [(2003, True), (0, False), (1236, False)])
async def test_only_a_receiver_that_gave_up_is_started(stage: Stage, error: int, wanted: bool) -> None:
    server = stage.bench.fleet[R1.port]
    channel = server.channel
    assert channel is not None
    stopped = replace(channel, receiver=ThreadState.STOPPED, receiver_error_number=error, receiver_error="it failed")
    server.set_channel(stopped)
    await stage.bench.known(stage.leader)
    assert bool(stage.found()) is wanted


async def test_nothing_is_kept_up_while_the_primary_is_not_well(stage: Stage) -> None:
    server = stage.bench.fleet[R1.port]
    server.facts = replace(server.facts, read_only=False)
    stage.bench.fleet.crash(PRIMARY.port)
    await stage.bench.known(stage.leader)
    assert stage.found() == []


@pytest.mark.parametrize("chore", CHORES, ids=lambda chore: chore.name)
async def test_each_chore_has_its_switch(stage: Stage, chore: object) -> None:
    server = stage.bench.fleet[R1.port]
    channel = server.channel
    assert channel is not None
    off = Policy(
        recover_primary=stage.bench.policy.recover_primary, close_replicas=False, use_super_read_only=False,
        restart_receivers=False,
    )  # fmt: skip
    server.set_channel(replace(channel, receiver=ThreadState.STOPPED, receiver_error_number=2003))
    server.facts = replace(server.facts, read_only=False, super_read_only=False)
    await stage.bench.known(stage.leader)
    assert stage.found(off) == []
