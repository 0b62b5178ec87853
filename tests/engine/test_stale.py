"""Stale primaries: fenced the moment they answer, before anything else, and by the leader of this term only."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import pytest_asyncio

from orchestrator_raft.core.recovery.model import EndState
from orchestrator_raft.core.replicated.commands import ClaimRecovery, MarkStale, PauseWrites
from orchestrator_raft.core.topology import StalePrimary, StaleStatus
from orchestrator_raft.engine.leadership import Leader
from orchestrator_raft.engine.stale import EAGER_PERIOD_S, EAGER_S, LOST, PATIENT_S
from tests.engine.bench import PRIMARY, R2, R3, Bench, Gate, never


class Stage:
    """The old primary is dead, and a successor was promoted."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.leader: Leader = bench.leader()
        self.sessions = bench.sessions["n1"]

    async def begin(self) -> Stage:
        await self.bench.known(self.leader)
        self.bench.fleet.crash(PRIMARY.port)
        await self.bench.known(self.leader)
        await self.bench.claimed(self.leader)
        self.leader.supervisor.look()
        await self.bench.until(lambda: self.bench.raft.state.recoveries["r1"].end is EndState.SUCCEEDED)
        assert self.mark.status is StaleStatus.OUT_OF_REACH
        self.sessions.said.clear()
        return self

    @property
    def mark(self) -> StalePrimary:
        return self.bench.raft.state.stale[PRIMARY]

    @property
    def dialled(self) -> int:
        return self.bench.probers["n1"].probed.count(PRIMARY)

    def comes_back(self) -> None:
        self.bench.fleet.servers[PRIMARY].down = None


@pytest_asyncio.fixture
async def stage(bench: Bench) -> Stage:
    return await Stage(bench).begin()


async def test_it_is_fenced_as_soon_as_it_answers_and_once(stage: Stage) -> None:
    for _ in range(3):
        stage.leader.guard.look()
    await asyncio.sleep(10.0)
    assert stage.sessions.said_to(PRIMARY) == []
    assert stage.bench.facts(PRIMARY).is_writable
    stage.comes_back()
    await stage.bench.until(lambda: stage.mark.status is StaleStatus.FENCED, at_most_s=2 * EAGER_S)
    assert stage.bench.facts(PRIMARY).super_read_only
    assert stage.sessions.said_to(PRIMARY).count("SET GLOBAL super_read_only = ON") == 1
    stage.leader.guard.look()
    await asyncio.sleep(10.0)
    assert stage.sessions.said_to(PRIMARY).count("SET GLOBAL super_read_only = ON") == 1


async def test_while_writes_are_paused_not_even_a_fence_is_put_up(stage: Stage) -> None:
    propose = stage.leader.proposals.propose
    stage.leader.guard.look()
    assert (await propose(PauseWrites, paused=True, reason="a person works there")).ok
    stage.comes_back()
    stage.leader.guard.look()
    await asyncio.sleep(10.0)
    assert stage.sessions.said_to(PRIMARY) == []
    assert (await propose(PauseWrites, paused=False)).ok
    stage.leader.guard.look()
    await stage.bench.until(lambda: stage.mark.status is StaleStatus.FENCED, at_most_s=2 * EAGER_S)


async def test_it_is_dialled_often_at_first_and_patiently_later(stage: Stage) -> None:
    stage.leader.guard.look()
    before = stage.dialled
    await asyncio.sleep(1.0)
    assert stage.dialled - before >= 15
    await asyncio.sleep(EAGER_PERIOD_S)
    before = stage.dialled
    await asyncio.sleep(10 * PATIENT_S)
    assert 9 <= stage.dialled - before <= 11


async def test_without_authority_nothing_is_said_to_it(stage: Stage) -> None:
    stage.leader.guard.look()
    await asyncio.sleep(1.0)
    stage.bench.raft.elect("n2")
    stage.comes_back()
    await asyncio.sleep(10.0)
    assert stage.sessions.said_to(PRIMARY) == []
    following = stage.bench.leader("n2")
    following.guard.look()
    await stage.bench.until(lambda: stage.mark.status is StaleStatus.FENCED, at_most_s=1.0)


async def test_one_that_cannot_be_fenced_is_told_once_and_tried_again(stage: Stage) -> None:
    stage.sessions.failure_of = lambda _key, sql: ("access denied", 1227) if "super_read_only" in sql else None
    stage.leader.guard.look()
    stage.comes_back()
    await asyncio.sleep(5.0)
    assert "access denied" in stage.mark.detail
    assert stage.mark.status is StaleStatus.OUT_OF_REACH
    assert sum(isinstance(each, MarkStale) for each in stage.bench.raft.log) == 1
    stage.sessions.failure_of = lambda _key, _sql: None
    await stage.bench.until(lambda: stage.mark.status is StaleStatus.FENCED, at_most_s=1.0)


async def test_one_that_hangs_is_told_and_tried_again(stage: Stage) -> None:
    at_once = stage.sessions.before_statement
    stage.sessions.before_statement = never
    stage.leader.guard.look()
    stage.comes_back()
    await stage.bench.until(lambda: stage.mark.detail == "the fence was not up in time", at_most_s=10.0)
    stage.sessions.before_statement = at_once
    await stage.bench.until(lambda: stage.mark.status is StaleStatus.FENCED, at_most_s=10.0)


async def test_without_a_quorum_it_is_fenced_all_the_same_and_recorded_later(stage: Stage) -> None:
    """The committed entry on the list is what authorises the fence."""
    stage.leader.guard.look()
    stage.bench.raft.refuse_proposals = True
    stage.comes_back()
    await stage.bench.until(lambda: stage.bench.facts(PRIMARY).super_read_only, at_most_s=1.0)
    assert stage.mark.status is StaleStatus.OUT_OF_REACH
    stage.bench.raft.refuse_proposals = False
    await stage.bench.until(lambda: stage.mark.status is StaleStatus.FENCED, at_most_s=2.0)


# -- a fence does not outlive a restart


async def fenced(stage: Stage) -> None:
    """The old primary is back and fenced; nobody takes it back, as while another server's return holds the lease."""
    stage.leader.guard.look()
    stage.comes_back()
    await stage.bench.until(lambda: stage.mark.status is StaleStatus.FENCED, at_most_s=1.0)
    await stage.leader.discovery.probe_now(PRIMARY, timeout_s=1.0)
    stage.leader.guard.look()
    await asyncio.sleep(1.0)
    assert stage.mark.status is StaleStatus.FENCED
    stage.sessions.said.clear()


def restarts_writable(stage: Stage) -> None:
    server = stage.bench.fleet.servers[PRIMARY]
    server.down = None
    server.facts = replace(server.facts, read_only=False, super_read_only=False)


@pytest.mark.parametrize("status", [StaleStatus.FENCED, StaleStatus.QUARANTINED])
async def test_one_that_restarts_is_fenced_as_soon_as_it_answers(stage: Stage, status: StaleStatus) -> None:
    await fenced(stage)
    await stage.leader.proposals.propose(MarkStale, key=PRIMARY, status=status, extra="a:21")
    stage.bench.fleet.crash(PRIMARY.port)
    stage.leader.connection_closed(PRIMARY)
    await stage.bench.until(lambda: stage.mark.status is StaleStatus.OUT_OF_REACH, at_most_s=EAGER_S)
    assert (stage.mark.extra, stage.mark.detail) == ("a:21", LOST)
    await asyncio.sleep(20.0)
    restarts_writable(stage)
    await stage.bench.until(lambda: stage.bench.facts(PRIMARY).super_read_only, at_most_s=2 * EAGER_S)
    await stage.bench.until(lambda: stage.mark.status is StaleStatus.FENCED, at_most_s=EAGER_S)


async def test_one_that_restarts_so_fast_that_every_dial_succeeds_is_fenced(stage: Stage) -> None:
    await fenced(stage)
    restarts_writable(stage)
    stage.leader.connection_closed(PRIMARY)
    await stage.bench.until(lambda: stage.bench.facts(PRIMARY).super_read_only, at_most_s=2 * EAGER_S)
    await asyncio.sleep(10.0)
    assert stage.sessions.said_to(PRIMARY).count("SET GLOBAL super_read_only = ON") == 1


async def test_one_that_a_person_opens_is_fenced_when_a_probe_finds_it_so(stage: Stage) -> None:
    await fenced(stage)
    await stage.leader.proposals.propose(MarkStale, key=PRIMARY, status=StaleStatus.QUARANTINED, extra="a:21")
    restarts_writable(stage)
    await stage.leader.discovery.probe_now(PRIMARY, timeout_s=1.0)
    stage.leader.guard.look()
    await stage.bench.until(lambda: stage.bench.facts(PRIMARY).super_read_only, at_most_s=EAGER_S)
    await stage.bench.until(lambda: stage.mark.status is StaleStatus.FENCED, at_most_s=EAGER_S)


async def test_one_whose_probe_fails_is_dialled_again(stage: Stage) -> None:
    """Its host went away without a word: no connection closed."""
    await fenced(stage)
    stage.bench.fleet.crash(PRIMARY.port)
    await stage.leader.discovery.probe_now(PRIMARY, timeout_s=1.0)
    stage.leader.guard.look()
    await asyncio.sleep(5.0)
    restarts_writable(stage)
    await stage.bench.until(lambda: stage.bench.facts(PRIMARY).super_read_only, at_most_s=2 * EAGER_S)


async def test_a_new_leader_guards_those_that_an_earlier_one_fenced(stage: Stage) -> None:
    await fenced(stage)
    stage.bench.raft.elect("n2")
    following = stage.bench.leader("n2")
    restarts_writable(stage)
    await following.discovery.probe_now(PRIMARY, timeout_s=1.0)
    following.guard.look()
    await stage.bench.until(lambda: stage.bench.facts(PRIMARY).super_read_only, at_most_s=EAGER_S)


async def test_one_that_was_taken_back_is_guarded_no_more(stage: Stage) -> None:
    await fenced(stage)
    stage.bench.raft.state = replace(stage.bench.raft.state, stale={})
    restarts_writable(stage)
    stage.leader.connection_closed(PRIMARY)
    await asyncio.sleep(5.0)
    assert stage.sessions.said_to(PRIMARY) == []


async def test_a_running_leader_fences_it_while_another_return_holds_the_lease(stage: Stage) -> None:
    """The whole engine of a node, and a rejoin of another server that never ends."""
    await fenced(stage)
    state = stage.bench.raft.state
    (cluster,) = state.clusters.values()
    busy = stage.bench.recovery(stage.leader, "rejoin", on=R2 if cluster.primary != R2 else R3, name="busy")
    assert (await stage.leader.proposals.propose(ClaimRecovery, recovery=busy, block_ms=0)).ok
    stage.sessions.before_statement = Gate(lambda key, _sql: key == busy.subject.key)
    await stage.leader.close()
    stage.bench.raft.elect("n1")
    engine = stage.bench.engine("n1")
    await asyncio.sleep(2.0)
    stage.bench.fleet.crash(PRIMARY.port)
    assert engine.leader is not None
    engine.leader.connection_closed(PRIMARY)
    await asyncio.sleep(3.0)
    restarts_writable(stage)
    await stage.bench.until(lambda: stage.bench.facts(PRIMARY).super_read_only, at_most_s=2 * EAGER_S)
    assert stage.bench.raft.state.recoveries["busy"].is_active
