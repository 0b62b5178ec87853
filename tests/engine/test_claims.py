"""Claims: at most one recovery of a cluster, a reason for every refusal, and none that was not granted counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from orchestrator_raft.core.analysis import Diagnosis, analyze
from orchestrator_raft.core.errors import Unavailable
from orchestrator_raft.core.gtid import EMPTY_MYSQL
from orchestrator_raft.core.instance import ChannelOption, InstanceKey
from orchestrator_raft.core.recovery.model import Acknowledgement, EndState, Recovery
from orchestrator_raft.core.replicated import Result
from orchestrator_raft.core.replicated.commands import (
    ClaimRecovery,
    RecordBlocked,
    RecordDetection,
    SwitchRecoveries,
)
from orchestrator_raft.core.topology import Cluster
from orchestrator_raft.engine.claims import FAILED_RETRY_S, RETURN_RETRY_S
from orchestrator_raft.engine.leadership import Leader
from orchestrator_raft.engine.view import Moment
from orchestrator_raft.ports import HookReport
from tests.engine.bench import POLICY, PRIMARY, R1, R2, R3, Bench, Gate
from tests.engine.fleet import running_channel

Work = Coroutine[Any, Any, object]


class Stage:
    """A leader that has seen the primary die, and claims for it; nobody runs what is claimed."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.leader = bench.leader()

    async def begin(self) -> Stage:
        await self.bench.known(self.leader)
        self.bench.fleet.crash(PRIMARY.port)
        await self.bench.known(self.leader)
        self.bench.raft.without_authority.add("n1")  # so that the supervisor starts nothing
        return self

    @property
    def moment(self) -> Moment:
        return self.leader.viewer.moment()

    def diagnosis(self) -> Diagnosis:
        return next(each for each in analyze(self.moment.topology, self.bench.policy) if each.problem is not None)

    def claim(self, leader: Leader | None = None) -> Work | None:
        diagnosis = self.diagnosis()
        assert diagnosis.problem is not None
        claims = (leader or self.leader).claims
        return claims.claim(diagnosis, diagnosis.problem, ("it is dead",), self.moment, noticed_ms=1)

    def claim_return(self) -> Work | None:
        (cluster,) = self.moment.topology.clusters.values()
        assert isinstance(cluster, Cluster)
        return self.leader.claims.claim_return(cluster, self.moment)

    @property
    def running(self) -> list[str]:
        return [each.id for each in self.bench.raft.state.active_recoveries]

    def proposed(self, kind: type) -> int:
        return sum(isinstance(each, kind) for each in self.bench.raft.log)


@pytest_asyncio.fixture
async def stage(bench: Bench) -> AsyncIterator[Stage]:
    yield await Stage(bench).begin()


async def done(work: Work | None) -> None:
    assert work is not None
    await work


# -- one at a time


async def test_two_claims_made_at_the_same_moment_give_one_recovery(stage: Stage) -> None:
    stage.bench.raft.elect("n1")
    stage.bench.raft.without_authority.add("n1")
    second = stage.bench.leader()
    await asyncio.gather(done(stage.claim()), done(stage.claim(second)))
    assert stage.proposed(ClaimRecovery) == 2
    assert len(stage.running) == 1
    assert stage.proposed(RecordDetection) == 1


async def test_while_one_runs_no_other_is_claimed(stage: Stage) -> None:
    await done(stage.claim())
    other = stage.bench.leader()
    work = stage.claim(other)
    await done(work)
    assert stage.proposed(ClaimRecovery) == 1
    assert stage.proposed(RecordBlocked) == 1
    (blocked,) = stage.bench.raft.state.blocked
    assert blocked.blocking_recovery_id == stage.running[0]
    assert stage.claim(other) is None, "each reason is recorded once"


async def test_a_person_does_not_get_a_second_one_either(stage: Stage) -> None:
    await done(stage.claim())
    recovery = stage.bench.recovery(stage.leader, name="r2")
    assert recovery.request.forced
    result = await stage.leader.proposals.propose(ClaimRecovery, recovery=recovery, block_ms=0)
    assert not result.ok and stage.running[0] in result.reason
    assert len(stage.running) == 1


async def test_switched_off_it_is_recorded_as_blocked_once(stage: Stage) -> None:
    await stage.leader.proposals.propose(SwitchRecoveries, enabled=False)
    await done(stage.claim())
    assert stage.running == []
    assert "raftctl recoveries enable" in stage.bench.raft.state.blocked[0].reason
    assert stage.claim() is None


# -- again


async def test_a_claim_that_could_not_be_proposed_is_made_again_at_once(stage: Stage) -> None:
    commit = stage.bench.raft.commit
    stage.bench.refuse(ClaimRecovery, Unavailable("there is no quorum"))
    with pytest.raises(Unavailable):
        await done(stage.claim())
    stage.bench.raft.commit = commit  # type: ignore[method-assign]
    await done(stage.claim())
    assert len(stage.running) == 1


async def test_a_claim_that_was_refused_is_made_again_at_once(stage: Stage) -> None:
    commit = stage.bench.raft.commit
    stage.bench.refuse(ClaimRecovery, Result(False, "the fleet has moved on"))
    await done(stage.claim())
    stage.bench.raft.commit = commit  # type: ignore[method-assign]
    await done(stage.claim())
    assert len(stage.running) == 1


async def fail_first(stage: Stage) -> None:
    """The first recovery ends without having promoted anybody."""
    await done(stage.claim())
    stage.bench.raft.without_authority.clear()
    stage.bench.sessions["n1"].failure_of = lambda _key, _sql: ("reset", 0)
    stage.leader.supervisor.look()
    await stage.bench.until(lambda: stage.running == [])
    stage.bench.raft.without_authority.add("n1")


async def test_one_that_promoted_nobody_is_not_tried_again_for_a_while(stage: Stage) -> None:
    await fail_first(stage)
    assert stage.claim() is None
    await asyncio.sleep(FAILED_RETRY_S)
    await done(stage.claim())
    assert len(stage.running) == 1


async def test_it_is_tried_again_as_soon_as_other_servers_answer(stage: Stage) -> None:
    await fail_first(stage)
    stage.bench.fleet.crash(R3.port)
    await stage.leader.discovery.probe_now(R3, timeout_s=1.0)
    await done(stage.claim())
    assert len(stage.running) == 1


async def test_one_that_ended_because_the_primary_came_back_does_not_delay_the_next() -> None:
    lists = {"PreFailoverProcesses": ("a",), "PostUnsuccessfulFailoverProcesses": ("b",)}
    bench = Bench(policy=replace(POLICY, hooks=lists))
    stage = await Stage(bench).begin()
    hooks, run = bench.hooks["n1"], bench.hooks["n1"].run

    async def slow(name: str, recovery: Recovery, *, fail_stop: bool, timeout_s: float) -> HookReport:
        await asyncio.sleep(8.0)
        bench.fleet[PRIMARY.port].down = None
        bench.fleet.settle()
        return await run(name, recovery, fail_stop=fail_stop, timeout_s=timeout_s)

    hooks.run = slow  # type: ignore[method-assign]
    await done(stage.claim())
    (name,) = stage.running
    bench.raft.without_authority.clear()
    stage.leader.supervisor.look()
    await bench.until(lambda: stage.running == [])
    recovery = bench.raft.state.recoveries[name]
    assert (recovery.end, recovery.promoted) == (EndState.CAME_BACK, False)
    assert [each for each, _ in hooks.ran] == list(lists)
    assert bench.sessions["n1"].said == [], "something was said to a server"
    bench.raft.without_authority.add("n1")
    bench.fleet.crash(PRIMARY.port)
    await bench.known(stage.leader)
    await done(stage.claim())
    assert len(stage.running) == 1
    await bench.close()


# -- returns


async def promoted(stage: Stage) -> InstanceKey:
    """Recover, and let the old primary come back."""
    await done(stage.claim())
    stage.bench.raft.without_authority.clear()
    stage.leader.supervisor.look()
    await stage.bench.until(lambda: stage.running == [] and len(stage.leader.tasks) == 0)
    stage.bench.raft.without_authority.add("n1")
    (cluster,) = stage.bench.raft.state.clusters.values()
    assert cluster.primary not in (None, PRIMARY)
    stage.bench.fleet.servers[PRIMARY].down = None
    await stage.bench.known(stage.leader)
    assert cluster.primary is not None
    return cluster.primary


async def test_an_old_primary_gets_the_channel_options_and_semi_sync_of_its_cluster(stage: Stage) -> None:
    successor = await promoted(stage)
    for server in stage.bench.fleet.servers.values():
        if server.channel is not None:  # a delay is a replica's own
            delayed = (*server.channel.options, ChannelOption("SOURCE_DELAY", 3600))
            server.facts = replace(server.facts, channels=(replace(server.channel, options=delayed),))
    await stage.bench.known(stage.leader)
    await done(stage.claim_return())
    rejoin = stage.bench.raft.state.recoveries[stage.running[0]]
    assert (rejoin.kind, rejoin.subject.key) == ("rejoin", PRIMARY)
    wanted = running_channel(successor, EMPTY_MYSQL).options
    assert wanted
    assert rejoin.channel_options == wanted
    assert rejoin.semi_sync
    stage.bench.raft.without_authority.clear()
    stage.leader.supervisor.look()
    await stage.bench.until(lambda: stage.running == [])
    (change,) = [sql for sql in stage.bench.sessions["n1"].said_to(PRIMARY) if sql.startswith("CHANGE")]
    for option in wanted:
        assert f"{option.name} = {option.value}" in change
    assert stage.bench.facts(PRIMARY).source == successor


async def test_a_return_that_failed_waits_and_one_that_could_not_be_proposed_does_not(stage: Stage) -> None:
    await promoted(stage)
    commit = stage.bench.raft.commit
    stage.bench.refuse(ClaimRecovery, Unavailable("there is no quorum"))
    with pytest.raises(Unavailable):
        await done(stage.claim_return())
    stage.bench.raft.commit = commit  # type: ignore[method-assign]
    await done(stage.claim_return())
    assert len(stage.running) == 1
    assert stage.claim_return() is None
    stage.bench.raft.without_authority.clear()
    stage.bench.sessions["n1"].failure_of = lambda _key, _sql: ("reset", 0)
    stage.leader.supervisor.look()
    await stage.bench.until(lambda: stage.running == [])
    assert stage.claim_return() is None
    await asyncio.sleep(RETURN_RETRY_S)
    stage.bench.raft.without_authority.add("n1")
    await done(stage.claim_return())
    assert len(stage.running) == 1


async def test_one_that_cannot_be_attached_is_tried_less_and_less_often_and_keeps_nobody_out(stage: Stage) -> None:
    """Two servers wait, and whatever is said to either fails."""
    await promoted(stage)
    state = stage.bench.raft.state
    (cluster,) = state.clusters.values()
    straggler = next(key for key in (R1, R2, R3) if key != cluster.primary)
    left_behind = replace(cluster, left_behind=(straggler,))
    stage.bench.raft.state = replace(state, clusters={cluster.id: left_behind})
    stage.bench.sessions["n1"].failure_of = lambda _key, _sql: ("reset", 0)
    begun_s = stage.moment.now_s
    tried: dict[InstanceKey, list[float]] = {PRIMARY: [], straggler: []}
    while stage.moment.now_s - begun_s < 1000.0:
        work = stage.claim_return()
        if work is None:
            await asyncio.sleep(1.0)
            continue
        at_s = stage.moment.now_s
        await done(work)
        tried[stage.bench.raft.state.recoveries[stage.running[0]].subject.key].append(at_s)
        stage.bench.raft.without_authority.clear()
        stage.leader.supervisor.look()
        await stage.bench.until(lambda: stage.running == [])
        stage.bench.raft.without_authority.add("n1")
    assert tried[straggler][0] - begun_s < RETURN_RETRY_S, "it waits for its own failures only"
    for times in tried.values():
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert len(gaps) >= 4
        assert all(RETURN_RETRY_S * 2**number <= gap for number, gap in enumerate(gaps))


async def test_a_dead_primary_does_not_wait_for_a_return(stage: Stage) -> None:
    """The engine of a node while a return hangs: a statement is never answered."""
    successor = await promoted(stage)
    await stage.leader.close()
    stage.bench.raft.without_authority.clear()
    stage.bench.raft.elect("n1")
    stage.bench.raft.state = replace(
        stage.bench.raft.state,
        recoveries={
            key: replace(each, acknowledged=Acknowledgement(at_ms=1, by="anna", comment="seen"))
            for key, each in stage.bench.raft.state.recoveries.items()
        },
    )
    stage.bench.sessions["n1"].before_statement = Gate(lambda key, sql: key == PRIMARY and sql.startswith("CHANGE"))
    stage.bench.engine("n1")
    await stage.bench.until(lambda: any(each.phase == "attach" for each in stage.bench.raft.state.active_recoveries))
    (back,) = stage.running
    stage.bench.probers["n1"].crash(successor.port)
    await stage.bench.until(lambda: back not in stage.running, at_most_s=2.0)
    assert "it gave way" in stage.bench.raft.state.recoveries[back].timeline[-1].text
    await stage.bench.until(lambda: cluster_primary(stage) not in (successor, PRIMARY), at_most_s=5.0)


def cluster_primary(stage: Stage) -> InstanceKey | None:
    (cluster,) = stage.bench.raft.state.clusters.values()
    return cluster.primary


# -- announcing


async def test_a_problem_is_announced_once(stage: Stage) -> None:
    diagnosis = stage.diagnosis()
    assert diagnosis.problem is not None
    await done(stage.leader.claims.announce(diagnosis, diagnosis.problem, stage.moment))
    assert stage.leader.claims.announce(diagnosis, diagnosis.problem, stage.moment) is None
    assert {each.subject.key for each in stage.bench.raft.state.detections} == {PRIMARY}
    assert {R1, R2, R3} == set(stage.bench.raft.state.detections[0].subject.replicas)


async def test_only_the_other_co_primary_may_succeed_a_dead_one(bench: Bench) -> None:
    leader = bench.leader()
    primary = bench.fleet[PRIMARY.port]
    assert primary.facts.executed is not None
    primary.set_channel(running_channel(R2, primary.facts.executed))
    await bench.known(leader)
    stage = await Stage(bench).begin()
    assert stage.diagnosis().code == "DeadCoMaster"
    work = stage.claim()
    assert work is not None
    await work
    (claimed,) = [each for each in bench.raft.log if isinstance(each, ClaimRecovery)]
    assert claimed.recovery.request.designated == R2
