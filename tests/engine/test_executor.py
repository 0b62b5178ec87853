"""The executor: order on one server, side by side on several, outcomes for everything, nothing after authority."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
import pytest_asyncio

from orchestrator_raft.core.errors import AuthorityLost
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.recovery.steps import (
    FireHook,
    Outcomes,
    Pause,
    PointTo,
    Reprobe,
    ResetReplication,
    ServerStep,
    SetReadOnly,
    SetWritable,
    StartReplication,
    Step,
    StopReceiver,
    StopReplication,
)
from orchestrator_raft.engine.accounts import AccountBook
from orchestrator_raft.engine.executor import Executor
from orchestrator_raft.engine.leadership import Leader
from orchestrator_raft.ports import HookReport
from tests.engine.bench import PRIMARY, R1, R2, R3, SECRET, Bench, Gate, never
from tests.engine.fleet import key
from tests.engine.twins import MemoryRaft


class Stage:
    """An executor, and the recovery it works for."""

    def __init__(self, bench: Bench, leader: Leader, recovery: Recovery, credentials_query: str = "") -> None:
        self.bench = bench
        self.leader = leader
        self.recovery = recovery
        self.sessions = bench.sessions["n1"]
        self.executor = Executor(
            leader.tasks, bench.clock, hands=leader.hands, discovery=leader.discovery, inventory=leader.inventory,
            accounts=AccountBook(leader.hands, credentials_query), hooks=bench.hooks["n1"],
        )  # fmt: skip

    async def perform(self, *steps: Step) -> Outcomes:
        return await self.executor.perform(steps, self.recovery)

    def begin(self, *steps: Step) -> asyncio.Task[Outcomes]:
        return self.bench.begin(self.perform(*steps))

    def holds(self, server: InstanceKey, sql: str) -> Gate:
        """From now on such a statement waits on that server."""
        gate = self.sessions.before_statement = Gate(lambda key, said: key == server and said.startswith(sql))
        return gate

    def fails(self, server: InstanceKey, sql: str) -> None:
        self.sessions.failure_of = lambda key, said: (
            ("it does not want to", 1) if key == server and said.startswith(sql) else None
        )


@pytest_asyncio.fixture
async def stage(bench: Bench) -> Stage:
    leader = bench.leader()
    await bench.known(leader)
    return Stage(bench, leader, bench.recovery(leader))


def verdicts(outcomes: Outcomes) -> list[tuple[str, bool]]:
    return [(str(each.step), each.ok) for each in outcomes]


# -- order


async def test_steps_on_one_server_run_in_the_order_given(stage: Stage) -> None:
    outcomes = await stage.perform(StopReplication(key=R1), ResetReplication(key=R1), SetWritable(key=R1))
    assert all(each.ok for each in outcomes)
    said = stage.sessions.said_to(R1)
    acts = [sql for sql in said if sql.startswith(("STOP", "RESET", "SET GLOBAL"))]
    assert acts == ["STOP REPLICA FOR CHANNEL ''", "RESET REPLICA ALL FOR CHANNEL ''", "SET GLOBAL read_only = OFF"]


async def test_servers_and_hooks_do_not_wait_for_each_other(stage: Stage) -> None:
    gate = stage.holds(R1, "STOP")
    task = stage.begin(StopReplication(key=R1), SetReadOnly(key=R1), StopReplication(key=R2), FireHook(hook="H"))
    await stage.bench.until(lambda: stage.bench.hooks["n1"].ran != [])
    assert gate.reached.is_set()
    await stage.bench.until(lambda: any(sql.startswith("STOP") for sql in stage.sessions.said_to(R2)))
    assert not task.done()
    gate.open()
    assert all(each.ok for each in await task)


async def test_the_first_failure_ends_the_steps_of_its_server_only(stage: Stage) -> None:
    stage.fails(R1, "STOP")
    outcomes = await stage.perform(
        StopReplication(key=R1), SetWritable(key=R1), StopReplication(key=R2), SetReadOnly(key=R2)
    )
    assert verdicts(outcomes) == [
        (f"StopReplication {R1}", False),
        (f"StopReplication {R2}", True),
        (f"SetReadOnly {R2}", True),
    ]
    assert not stage.bench.facts(R1).is_writable


async def test_a_pause_comes_before_everything_else(stage: Stage) -> None:
    begun_s = stage.bench.clock.monotonic_s()
    task = stage.begin(SetReadOnly(key=R1), Pause(deadline_s=7.0))
    await asyncio.sleep(6.9)
    assert stage.sessions.opened == []
    await task
    assert stage.bench.clock.monotonic_s() - begun_s >= 7.0
    assert stage.sessions.opened == [R1]


# -- phases


async def test_a_phase_ends_with_its_required_steps_and_the_next_joins_the_others(stage: Stage) -> None:
    gate = stage.holds(R1, "STOP")
    slow = StopReplication(key=R1, required=False, deadline_s=30.0)
    first = await stage.perform(slow, SetReadOnly(key=R2))
    assert verdicts(first) == [(f"SetReadOnly {R2}", True)]
    joined = stage.begin(replace(slow, required=True))
    await asyncio.sleep(1.0)
    assert not joined.done()
    gate.open()
    assert verdicts(await joined) == [(f"StopReplication {R1}", True)]
    assert stage.sessions.said_to(R1).count("SHOW REPLICA STATUS") == 2, "it was done twice"


async def test_other_steps_on_a_busy_server_wait_and_hold_up_no_other_server(stage: Stage) -> None:
    gate = stage.holds(R1, "STOP")
    slow = StopReplication(key=R1, required=False, deadline_s=60.0)
    await stage.perform(slow, SetReadOnly(key=R1, required=False), SetReadOnly(key=R3))
    task = stage.begin(StartReplication(key=R1), StopReceiver(key=R2))
    await stage.bench.until(lambda: any(sql.startswith("STOP") for sql in stage.sessions.said_to(R2)), 10.0)
    assert not any(sql.startswith("START") for sql in stage.sessions.said_to(R1))
    gate.open()
    assert all(each.ok for each in await task)
    acts = [sql.split()[0] for sql in stage.sessions.said_to(R1) if sql.startswith(("STOP", "START", "SET GLOBAL"))]
    assert acts == ["STOP", "SET", "START"]


# -- authority


def lapses(raft: MemoryRaft) -> None:
    raft.without_authority.add("n1")


def goes_to_another(raft: MemoryRaft) -> None:
    raft.elect("n2")


def comes_back_in_a_later_term(raft: MemoryRaft) -> None:
    raft.elect("n1")


losses = pytest.mark.parametrize("lose", [lapses, goes_to_another, comes_back_in_a_later_term])


@losses
async def test_a_deposed_leaders_executor_touches_nothing_more(
    stage: Stage, lose: Callable[[MemoryRaft], None]
) -> None:
    gate = stage.holds(R1, "STOP")
    task = stage.begin(
        StopReplication(key=R1), SetWritable(key=R1), StopReplication(key=R2, required=False), SetWritable(key=R2)
    )
    await gate.reached.wait()
    await stage.bench.until(lambda: stage.bench.facts(R2).is_writable)
    lose(stage.bench.raft)
    gate.open()
    with pytest.raises(AuthorityLost):
        await task
    with pytest.raises(AuthorityLost):
        await stage.perform(SetWritable(key=R3))
    assert not stage.bench.facts(R1).is_writable
    assert stage.sessions.said_to(R3) == []


@losses
async def test_a_deposed_leaders_executor_runs_no_hook(stage: Stage, lose: Callable[[MemoryRaft], None]) -> None:
    lose(stage.bench.raft)
    with pytest.raises(AuthorityLost):
        await stage.perform(FireHook(hook="PostMasterFailoverProcesses"))
    assert stage.bench.hooks["n1"].ran == []


@losses
async def test_no_second_hook_is_run_when_authority_is_lost_during_the_first(
    stage: Stage, lose: Callable[[MemoryRaft], None]
) -> None:
    hooks = stage.bench.hooks["n1"]

    async def run(name: str, recovery: Recovery, *, fail_stop: bool, timeout_s: float) -> HookReport:
        hooks.ran.append((name, recovery.id))
        lose(stage.bench.raft)
        return HookReport(ok=True, detail="", commands=1)

    hooks.run = run  # type: ignore[method-assign]
    with pytest.raises(AuthorityLost):
        await stage.perform(FireHook(hook="A"), FireHook(hook="B"))
    assert [name for name, _ in hooks.ran] == ["A"]


async def test_steps_that_go_on_in_the_background_stop_with_authority(stage: Stage) -> None:
    gate = stage.holds(R1, "STOP")
    await stage.perform(
        StopReplication(key=R1, required=False), SetWritable(key=R1, required=False), SetReadOnly(key=R2)
    )
    stage.bench.raft.elect("n2")
    gate.open()
    await stage.bench.until(lambda: stage.sessions.open_count == 1)
    assert not stage.bench.facts(R1).is_writable


async def test_closing_the_leader_ends_every_step(stage: Stage) -> None:
    gate = stage.holds(R1, "STOP")
    task = stage.begin(StopReplication(key=R1, deadline_s=60.0), SetWritable(key=R1))
    await gate.reached.wait()
    await stage.leader.close()
    await task
    assert stage.sessions.open_count == 0
    gate.open()
    await asyncio.sleep(1.0)
    assert not stage.bench.facts(R1).is_writable


async def test_a_closed_executor_ends_what_goes_on_in_the_background(stage: Stage) -> None:
    gate = stage.holds(R1, "STOP")
    background = (StopReplication(key=R1, required=False), SetWritable(key=R1, required=False))
    await stage.perform(*background, SetReadOnly(key=R2))
    await stage.executor.close()
    gate.open()
    await asyncio.sleep(10.0)
    assert not stage.bench.facts(R1).is_writable
    assert [each.key for each in stage.sessions.said if each.sql.startswith("STOP")] == []
    await stage.executor.close()


# -- outcomes


async def test_a_step_that_hangs_ends_at_its_deadline(stage: Stage) -> None:
    stage.sessions.before_statement = never
    begun_s = stage.bench.clock.monotonic_s()
    outcomes = await stage.perform(StopReplication(key=R1, deadline_s=1.5), SetWritable(key=R1))
    assert stage.bench.clock.monotonic_s() - begun_s == pytest.approx(1.5)
    assert [(each.ok, each.detail) for each in outcomes] == [(False, "not done within 1.5 s")]


@pytest.mark.parametrize(
    "step",
    [
        ResetReplication(key=R1, deadline_s=1.5),
        PointTo(key=PRIMARY, source=R1, credentials_from=(R1, R2, R3), deadline_s=1.5),
    ],
    ids=lambda step: type(step).__name__,
)
async def test_asking_for_an_account_counts_towards_the_deadline(stage: Stage, step: ServerStep) -> None:
    stage = Stage(stage.bench, stage.leader, stage.recovery, credentials_query="SELECT user, password FROM hidden")
    stage.sessions.before_statement = never
    begun_s = stage.bench.clock.monotonic_s()
    outcomes = await stage.perform(step)
    assert stage.bench.clock.monotonic_s() - begun_s == pytest.approx(step.deadline_s)
    assert not outcomes[0].ok


async def test_a_server_that_was_never_reached_is_said_to_be_so(stage: Stage) -> None:
    outcomes = await stage.perform(SetReadOnly(key=key(24999)))
    assert [(each.ok, each.detail) for each in outcomes] == [(False, f"{key(24999)} has never been reached")]


async def test_a_reprobe_brings_the_facts_as_they_are_now(stage: Stage) -> None:
    (outcome,) = await stage.perform(Reprobe(key=R1))
    assert outcome.facts == stage.bench.facts(R1)
    stage.bench.fleet.crash(R1.port)
    (outcome,) = await stage.perform(Reprobe(key=R1))
    assert not outcome.ok
    assert str(R1) in outcome.detail and "refused" in outcome.detail
    observation = stage.leader.inventory.get(R1)
    assert observation is not None and not observation.reached


@pytest.mark.parametrize("fail_stop", [True, False])
async def test_a_failed_hook_stops_the_rest_only_where_its_list_says_so(stage: Stage, fail_stop: bool) -> None:
    hooks = stage.bench.hooks["n1"]

    async def run(name: str, recovery: Recovery, *, fail_stop: bool, timeout_s: float) -> HookReport:
        hooks.ran.append((name, recovery.id))
        return HookReport(ok=name != "A", detail="exit status 1", commands=1)

    hooks.run = run  # type: ignore[method-assign]
    outcomes = await stage.perform(FireHook(hook="A", fail_stop=fail_stop), FireHook(hook="B", fail_stop=fail_stop))
    assert [name for name, _ in hooks.ran] == (["A"] if fail_stop else ["A", "B"])
    assert (outcomes[0].ok, outcomes[0].detail) == (False, "exit status 1")


# -- accounts


async def test_a_server_without_a_channel_gets_the_account_of_a_replica(stage: Stage) -> None:
    (outcome,) = await stage.perform(PointTo(key=PRIMARY, source=R1, credentials_from=(R1, R2)))
    assert outcome.ok, outcome.detail
    (change,) = [sql for sql in stage.sessions.said_to(PRIMARY) if sql.startswith("CHANGE")]
    assert SECRET in change


async def test_the_account_of_a_server_that_forgets_its_source_is_remembered(stage: Stage) -> None:
    await stage.perform(StopReplication(key=R1), ResetReplication(key=R1), Reprobe(key=R1))
    (outcome,) = await stage.perform(PointTo(key=PRIMARY, source=R1, credentials_from=(R1,)))
    assert outcome.ok, outcome.detail


async def test_without_an_account_it_says_what_to_configure(stage: Stage) -> None:
    (outcome,) = await stage.perform(PointTo(key=PRIMARY, source=R1))
    assert not outcome.ok
    assert "ReplicationCredentialsQuery" in outcome.detail
    assert stage.sessions.said == []


async def test_no_secret_is_in_an_outcome(stage: Stage) -> None:
    stage.fails(PRIMARY, "CHANGE")
    (outcome,) = await stage.perform(PointTo(key=PRIMARY, source=R1, credentials_from=(R1,)))
    assert not outcome.ok and "CHANGE REPLICATION SOURCE" in outcome.detail
    assert SECRET not in repr(outcome)
    assert SECRET not in f"{stage.executor!r} {stage.leader!r} {stage.leader.accounts!r}"


async def test_a_question_that_fails_says_no_secret_and_the_next_server_is_asked(stage: Stage) -> None:
    stage.fails(R1, "SELECT User_name")
    (outcome,) = await stage.perform(PointTo(key=PRIMARY, source=R1, credentials_from=(R1, R2)))
    assert outcome.ok, outcome.detail
    assert any(sql.startswith("SELECT User_name") for sql in stage.sessions.said_to(R2))
