"""The hands: no statement without live authority of exactly the recovery's term, and never a session opened twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator_raft.core.errors import AuthorityLost, ServerError
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.steps import (
    Fence,
    PointTo,
    ResetReplication,
    ServerStep,
    SetReadOnly,
    SetSemiSync,
    SetWritable,
    StartReplication,
    StopReceiver,
    StopReplication,
    WaitApplied,
)
from orchestrator_raft.engine.hands import Hands
from orchestrator_raft.flavors.base import Account
from tests.engine.bench import PRIMARY, R1, R2, Bench, Gate, never
from tests.engine.fleet import uuid_of
from tests.engine.twins import MemoryRaft

TERM = 1
STEPS: tuple[ServerStep, ...] = (
    Fence(key=R1),
    SetReadOnly(key=R1),
    SetWritable(key=R1),
    StopReceiver(key=R1),
    StopReplication(key=R1),
    StartReplication(key=R1),
    ResetReplication(key=R1),
    WaitApplied(key=R1, gtids=f"{uuid_of(PRIMARY)}:1-20"),
    PointTo(key=R1, source=R2),
    SetSemiSync(key=R1, source_enabled=True, replica_enabled=False, wait_for_replica_count=2, timeout_ms=1000),
)


def lapses(raft: MemoryRaft) -> None:
    raft.without_authority.add("n1")


def goes_to_another(raft: MemoryRaft) -> None:
    raft.elect("n2")


def comes_back_in_a_later_term(raft: MemoryRaft) -> None:
    raft.elect("n1")


LOSSES: tuple[Callable[[MemoryRaft], None], ...] = (lapses, goes_to_another, comes_back_in_a_later_term)
losses = pytest.mark.parametrize("lose", LOSSES)
steps = pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)


@pytest.fixture
def hands(bench: Bench) -> Hands:
    return Hands(bench.raft.nodes["n1"], bench.sessions["n1"], bench.clock)


async def perform(bench: Bench, hands: Hands, step: ServerStep, account: Account | None = None) -> None:
    await hands.perform(step, bench.facts(step.key), term=TERM, account=account)


async def statements_of(step: ServerStep) -> list[str]:
    """What is said when nothing goes wrong."""
    bench = Bench()
    await perform(bench, Hands(bench.raft.nodes["n1"], bench.sessions["n1"], bench.clock), step)
    said = bench.sessions["n1"].said_to(step.key)
    await bench.close()
    return said


# -- authority


@losses
@steps
async def test_nothing_is_opened_or_said_without_authority(
    bench: Bench, hands: Hands, step: ServerStep, lose: Callable[[MemoryRaft], None]
) -> None:
    lose(bench.raft)
    with pytest.raises(AuthorityLost):
        await perform(bench, hands, step)
    assert bench.sessions["n1"].opened == []


@losses
@steps
async def test_authority_lost_after_any_statement_of_a_step_stops_it_there(
    step: ServerStep, lose: Callable[[MemoryRaft], None]
) -> None:
    every = await statements_of(step)
    assert len(every) >= 2
    for count in range(1, len(every)):
        bench = Bench()
        sessions = bench.sessions["n1"]

        async def lose_after(_key: InstanceKey, _sql: str, bench: Bench = bench, count: int = count) -> None:
            if len(bench.sessions["n1"].said) == count:
                lose(bench.raft)

        sessions.after_statement = lose_after
        with pytest.raises(AuthorityLost):
            await perform(bench, Hands(bench.raft.nodes["n1"], sessions, bench.clock), step)
        assert sessions.said_to(R1) == every[:count]
        assert sessions.open_count == 0, "the session was kept"
        await bench.close()


@losses
async def test_authority_lost_while_waiting_for_the_servers_turn(
    bench: Bench, hands: Hands, lose: Callable[[MemoryRaft], None]
) -> None:
    sessions = bench.sessions["n1"]
    gate = sessions.before_statement = Gate(lambda _key, sql: sql == "STOP REPLICA FOR CHANNEL ''")
    first = bench.begin(perform(bench, hands, StopReplication(key=R1)))
    await gate.reached.wait()
    second = bench.begin(perform(bench, hands, SetWritable(key=R1)))
    await asyncio.sleep(0.01)
    lose(bench.raft)
    gate.open()
    for task in (first, second):
        with pytest.raises(AuthorityLost):
            await task
    assert not bench.facts(R1).is_writable
    assert not any("read_only" in sql for sql in sessions.said_to(R1))
    assert sessions.opened == [R1]


@losses
async def test_authority_lost_while_the_session_is_opened(
    bench: Bench, hands: Hands, lose: Callable[[MemoryRaft], None]
) -> None:
    async def opening(_key: InstanceKey) -> None:
        lose(bench.raft)

    bench.sessions["n1"].opening = opening
    with pytest.raises(AuthorityLost):
        await perform(bench, hands, SetWritable(key=R1))
    assert bench.sessions["n1"].said == []
    assert bench.sessions["n1"].open_count == 0


@losses
async def test_nobody_who_holds_the_lock_is_killed_once_authority_is_lost(
    bench: Bench, hands: Hands, lose: Callable[[MemoryRaft], None]
) -> None:
    """Connecting takes its time, and the holder may be the next leader by then."""
    sessions = bench.sessions["n1"]
    sessions.held.add(R1)
    await perform(bench, hands, SetReadOnly(key=R1))
    await hands.let_go()
    said = len(sessions.said)

    async def connects(_key: InstanceKey) -> None:
        await asyncio.sleep(0.5)
        lose(bench.raft)

    sessions.opening = connects
    with pytest.raises(AuthorityLost):
        await perform(bench, hands, SetReadOnly(key=R1))
    assert (sessions.open_count, len(sessions.said)) == (0, said)
    assert sessions.closed == [1], "the session of the other leader was taken over"


@losses
async def test_authority_lost_while_a_post_condition_is_awaited(
    bench: Bench, hands: Hands, lose: Callable[[MemoryRaft], None]
) -> None:
    bench.fleet.crash(PRIMARY.port)
    step = PointTo(key=R1, source=PRIMARY, deadline_s=5.0)
    task = bench.begin(perform(bench, hands, step))
    await bench.until(lambda: len(bench.sessions["n1"].said) > 10)
    before = len(bench.sessions["n1"].said)
    lose(bench.raft)
    with pytest.raises(AuthorityLost):
        await task
    assert len(bench.sessions["n1"].said) == before


async def test_reading_needs_authority_as_well(bench: Bench, hands: Hands) -> None:
    lapses(bench.raft)
    with pytest.raises(AuthorityLost):
        await hands.ask(R1, "SHOW REPLICA STATUS", term=TERM, timeout_s=1.0)
    assert bench.sessions["n1"].opened == []


# -- sessions


async def test_one_session_serves_all_steps_on_a_server(bench: Bench, hands: Hands) -> None:
    for step in STEPS:
        await perform(bench, hands, step, Account("repl", "pass-word-1"))
    assert bench.sessions["n1"].opened == [R1]


def breaks(bench: Bench, sql: str) -> None:
    bench.sessions["n1"].failure_of = lambda _key, said: ("connection reset", 0) if said.startswith(sql) else None


def is_refused(bench: Bench, sql: str) -> None:
    bench.sessions["n1"].failure_of = lambda _key, said: ("access denied", 1227) if said.startswith(sql) else None


def hangs(bench: Bench, sql: str) -> None:
    bench.sessions["n1"].before_statement = Gate(lambda _key, said: said.startswith(sql))


def loses_authority(bench: Bench, sql: str) -> None:
    async def after(_key: InstanceKey, said: str) -> None:
        if said.startswith(sql):
            lapses(bench.raft)

    bench.sessions["n1"].after_statement = after


FAILURES = (
    (breaks, ServerError),
    (is_refused, ServerError),
    (hangs, TimeoutError),
    (loses_authority, AuthorityLost),
)


@pytest.mark.parametrize(("fail", "error"), FAILURES)
async def test_after_a_failure_the_session_is_dropped_and_not_opened_again_in_the_step(
    bench: Bench, hands: Hands, fail: Callable[[Bench, str], None], error: type[Exception]
) -> None:
    sessions = bench.sessions["n1"]
    await perform(bench, hands, SetReadOnly(key=R1))
    before = len(sessions.said)
    fail(bench, "STOP REPLICA")
    with pytest.raises(error):
        await perform(bench, hands, ResetReplication(key=R1))
    assert sessions.opened == [R1]
    assert sessions.open_count == 0
    assert not any(said.sql.startswith("RESET") for said in sessions.said[before:])
    bench.raft.without_authority.clear()
    quiet = type(sessions)(bench.fleet)
    sessions.before_statement, sessions.after_statement = quiet.before_statement, quiet.after_statement
    sessions.failure_of = quiet.failure_of
    await perform(bench, hands, ResetReplication(key=R1))
    assert sessions.opened == [R1, R1]
    assert bench.facts(R1).channel is None


@pytest.mark.parametrize("fail", [breaks, is_refused, hangs])
async def test_after_a_failed_question_the_session_is_dropped(
    bench: Bench, hands: Hands, fail: Callable[[Bench, str], None]
) -> None:
    fail(bench, "SHOW")
    with pytest.raises((ServerError, TimeoutError)):
        await hands.ask(R1, "SHOW REPLICA STATUS", term=TERM, timeout_s=1.0)
    assert bench.sessions["n1"].open_count == 0


async def test_a_cancelled_step_drops_its_session(bench: Bench, hands: Hands) -> None:
    hangs(bench, "STOP REPLICA")
    task = bench.begin(perform(bench, hands, StopReplication(key=R1)))
    await bench.until(lambda: len(bench.sessions["n1"].said) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.sessions["n1"].open_count == 0


async def test_letting_go_closes_the_named_sessions_only(bench: Bench, hands: Hands) -> None:
    for key in (R1, R2):
        await perform(bench, hands, SetReadOnly(key=key))
    await hands.let_go([R1, PRIMARY])
    assert bench.sessions["n1"].closed == [1]
    await perform(bench, hands, SetReadOnly(key=R1))
    assert bench.sessions["n1"].opened == [R1, R2, R1]
    await hands.let_go()
    assert bench.sessions["n1"].open_count == 0


# -- turns and deadlines


async def test_steps_on_one_server_wait_for_each_other_and_those_on_others_do_not(bench: Bench, hands: Hands) -> None:
    sessions = bench.sessions["n1"]
    gate = sessions.before_statement = Gate(lambda key, sql: key == R1 and sql.startswith("STOP"))
    first = bench.begin(perform(bench, hands, StopReplication(key=R1)))
    await gate.reached.wait()
    second = bench.begin(perform(bench, hands, SetReadOnly(key=R1)))
    await perform(bench, hands, StopReplication(key=R2))
    said = len(sessions.said_to(R1))
    await asyncio.sleep(0.5)
    assert len(sessions.said_to(R1)) == said
    gate.open()
    await asyncio.gather(first, second)


async def is_late(bench: Bench, hands: Hands, step: ServerStep) -> None:
    begun_s = bench.clock.monotonic_s()
    with pytest.raises(TimeoutError):
        await perform(bench, hands, step)
    assert bench.clock.monotonic_s() - begun_s == pytest.approx(step.deadline_s)


@steps
async def test_a_session_that_hangs_ends_the_step_at_its_deadline(bench: Bench, hands: Hands, step: ServerStep) -> None:
    bench.sessions["n1"].before_statement = never
    await is_late(bench, hands, replace(step, deadline_s=1.5))


async def test_a_session_that_does_not_open_ends_the_step_at_its_deadline(bench: Bench, hands: Hands) -> None:
    bench.sessions["n1"].opening = never
    await is_late(bench, hands, SetWritable(key=R1, deadline_s=1.5))


async def test_waiting_for_the_turn_counts_towards_the_deadline(bench: Bench, hands: Hands) -> None:
    hangs(bench, "STOP REPLICA")
    bench.begin(perform(bench, hands, StopReplication(key=R1, deadline_s=60.0)))
    await bench.until(lambda: bool(bench.sessions["n1"].said))
    await is_late(bench, hands, SetWritable(key=R1, deadline_s=1.5))


async def test_a_post_condition_that_does_not_come_true_is_told_before_the_deadline(bench: Bench, hands: Hands) -> None:
    bench.fleet.crash(PRIMARY.port)
    begun_s = bench.clock.monotonic_s()
    with pytest.raises(ServerError, match="does not replicate from"):
        await perform(bench, hands, PointTo(key=R1, source=PRIMARY, deadline_s=2.0))
    assert bench.clock.monotonic_s() - begun_s < 2.0
    assert bench.sessions["n1"].open_count == 0


# -- what is said


async def test_an_error_that_means_it_is_so_already_does_not_end_the_step(bench: Bench, hands: Hands) -> None:
    lock_wait_timeout = 1205
    bench.sessions["n1"].failure_of = lambda _key, sql: (
        ("lock wait timeout", lock_wait_timeout) if sql.startswith("SET GLOBAL super_read_only") else None
    )
    await perform(bench, hands, SetReadOnly(key=PRIMARY))
    assert bench.facts(PRIMARY).super_read_only


async def test_no_secret_is_in_the_message_of_a_failure(bench: Bench, hands: Hands) -> None:
    bench.sessions["n1"].failure_of = lambda _key, sql: ("reset", 0) if sql.startswith("CHANGE") else None
    bench.fleet.servers[R1].set_channel(None)
    account = Account("repl", "pass-word-1")
    with pytest.raises(ServerError) as failure:
        await perform(bench, hands, PointTo(key=R1, source=R2), account)
    assert any("pass-word-1" in sql for sql in bench.sessions["n1"].said_to(R1))
    assert "CHANGE REPLICATION SOURCE" in str(failure.value)
    assert "pass-word-1" not in f"{failure.value!r} {failure.value} {account!r}"
