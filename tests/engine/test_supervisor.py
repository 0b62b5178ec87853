"""The supervisor: nothing is done that is not recorded first, and whoever cannot record does nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from orchestrator_raft.core.errors import AuthorityLost, InvalidInput, Unavailable
from orchestrator_raft.core.instance import InstanceKey, ProbeResult, Unreachable, UnreachableKind
from orchestrator_raft.core.recovery import model
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.replicated import Command, Result
from orchestrator_raft.core.replicated.commands import (
    FinishRecovery,
    ObserveServers,
    PauseWrites,
    RecordPhase,
    ResumeRecovery,
)
from orchestrator_raft.engine.leadership import Leader
from tests.engine.bench import PRIMARY, R1, R2, R3, SECRET, Bench, Gate, never

OPENS = "SET GLOBAL read_only = OFF"
ENDINGS = (Unavailable("there is no quorum"), AuthorityLost("deposed"), Result(False, "taken over by n2"))


class Stage:
    """A dead primary, and a recovery of it that was granted to n1."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.leader = bench.leader()
        self.sessions = bench.sessions["n1"]

    async def begin(self) -> Stage:
        await self.bench.known(self.leader)
        self.bench.fleet.crash(PRIMARY.port)
        await self.bench.known(self.leader)
        await self.bench.claimed(self.leader)
        return self

    @property
    def record(self) -> Recovery:
        return self.bench.raft.state.recoveries["r1"]

    @property
    def is_idle(self) -> bool:
        return len(self.leader.tasks) == 0

    async def run(self, leader: Leader | None = None) -> Recovery:
        """Look, and let everything that follows from it come to its end."""
        one = leader or self.leader
        one.supervisor.look()
        await self.bench.until(lambda: len(one.tasks) == 0)
        return self.record

    def holds(self, server: InstanceKey, sql: str) -> Gate:
        gate = self.sessions.before_statement = Gate(lambda key, said: key == server and said.startswith(sql))
        return gate

    @property
    def writable(self) -> list[InstanceKey]:
        servers = self.bench.fleet.servers.values()
        return [each.facts.key for each in servers if each.down is None and each.facts.is_writable]


@pytest_asyncio.fixture
async def stage(bench: Bench) -> AsyncIterator[Stage]:
    yield await Stage(bench).begin()


async def recover_once() -> list[Command]:
    """The log of a recovery in which nothing goes wrong."""
    bench = Bench()
    stage = await Stage(bench).begin()
    recovery = await stage.run()
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    await bench.close()
    return bench.raft.log


# -- the whole of it


async def test_a_granted_recovery_is_carried_through_and_lets_go_of_the_servers(stage: Stage) -> None:
    recovery = await stage.run()
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    assert recovery.successor is not None and stage.writable == [recovery.successor]
    others = {R1, R2, R3} - {recovery.successor}
    assert {stage.bench.facts(each).source for each in others} == {recovery.successor}
    assert stage.bench.raft.state.clusters[recovery.cluster_id].primary == recovery.successor
    assert stage.sessions.open_count == 0


async def test_what_was_paused_after_its_claim_does_not_begin(stage: Stage) -> None:
    proposals = stage.leader.proposals
    assert (await proposals.propose(PauseWrites, paused=True, reason="a person works there")).ok
    said = {key: stage.sessions.said_to(key) for key in stage.bench.fleet.servers}
    recovery = await stage.run()
    assert recovery.end is EndState.UNDONE
    assert "given up before it began: writes to its servers are paused" in recovery.timeline[-1].text
    assert {key: stage.sessions.said_to(key) for key in stage.bench.fleet.servers} == said


async def test_looking_often_starts_a_recovery_once(stage: Stage) -> None:
    for _ in range(5):
        stage.leader.supervisor.look()
    while not stage.is_idle:
        stage.leader.supervisor.look()
        await asyncio.sleep(0.001)
    phases = [each.recovery.phase for each in stage.bench.raft.log if isinstance(each, RecordPhase)]
    assert phases == ["promote", "repoint"], "phases without steps are not recorded"
    assert sum(isinstance(each, FinishRecovery) for each in stage.bench.raft.log) == 1


async def test_without_authority_of_its_term_it_starts_nothing(stage: Stage) -> None:
    stage.bench.raft.without_authority.add("n1")
    stage.leader.supervisor.look()
    assert stage.is_idle
    stage.bench.raft.without_authority.clear()
    stage.bench.raft.elect("n1")
    stage.leader.supervisor.look()
    assert stage.is_idle
    assert stage.sessions.said == []


# -- recorded first, done then


async def test_every_act_was_recorded_before(stage: Stage) -> None:
    """What was committed when a statement reached its server."""
    acted: list[tuple[str, str]] = []

    async def before(key: InstanceKey, sql: str) -> None:
        await asyncio.sleep(0)
        state, record = stage.bench.raft.state, stage.record
        if sql.startswith("STOP REPLICA IO_THREAD"):
            assert record.phase == "begin", "phases without steps are not recorded"
        if sql == OPENS or sql.startswith("RESET"):
            assert record.phase == "promote"
            assert record.successor == key
            assert PRIMARY in state.stale, "the old primary is not on the list of stale ones"
        if sql.startswith("CHANGE"):
            assert record.phase in ("promote", "repoint")
            assert record.successor is not None and f"SOURCE_PORT = {record.successor.port}" in sql
        acted.append((record.phase, sql))

    stage.sessions.before_statement = before
    assert (await stage.run()).end is EndState.SUCCEEDED
    assert ("promote", OPENS) in acted
    assert any(sql.startswith("CHANGE") for _, sql in acted)


async def test_nothing_is_done_while_a_record_is_not_committed(stage: Stage) -> None:
    gate = asyncio.Event()
    stage.leader.supervisor.look()
    for _ in range(20):
        stage.bench.raft.gate = gate
        await stage.bench.until(lambda: stage.bench.raft.at_gate > 0 or stage.is_idle)
        await asyncio.sleep(10.0)  # what goes on beside the required steps has ended
        said, ran = len(stage.sessions.said), len(stage.bench.hooks["n1"].ran)
        await asyncio.sleep(10.0)
        assert (len(stage.sessions.said), len(stage.bench.hooks["n1"].ran)) == (said, ran)
        stage.bench.raft.gate = None
        gate.set()
        if stage.is_idle:
            break
        await asyncio.sleep(0)
        gate = asyncio.Event()
    assert stage.record.end is EndState.SUCCEEDED


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: type(ending).__name__)
async def test_a_record_that_fails_ends_the_run_and_the_next_phase_never_begins(ending: Result | Exception) -> None:
    log = await recover_once()
    records = [each for each in log if isinstance(each, RecordPhase | FinishRecovery)]
    for count in range(len(records)):
        bench = Bench()
        stage = await Stage(bench).begin()
        commit, left = bench.raft.commit, [count]

        async def commit_some(command: Command, commit=commit, left=left) -> Result:  # type: ignore[no-untyped-def]
            if isinstance(command, RecordPhase | FinishRecovery):
                left[0] -= 1
                if left[0] < 0:
                    await asyncio.sleep(0)
                    if isinstance(ending, Exception):
                        raise ending
                    return ending
            return await commit(command)  # type: ignore[no-any-return]

        bench.raft.commit = commit_some  # type: ignore[method-assign]
        record = await stage.run()
        assert left[0] == -1, "it tried to record again"
        assert record.is_active
        assert record.phase == (records[count - 1].recovery.phase if count else "begin")
        if record.phase == "begin":
            assert stage.writable == [] and not any(each.sql.startswith("RESET") for each in stage.sessions.said)
        bench.raft.commit = commit  # type: ignore[method-assign]
        assert (await stage.run()).end is EndState.SUCCEEDED
        assert len(stage.writable) == 1
        await bench.close()


@pytest.mark.parametrize("error", ENDINGS[:2], ids=lambda ending: type(ending).__name__)
@pytest.mark.parametrize("kind", [ResumeRecovery, ObserveServers])
async def test_other_proposals_that_fail_end_the_run_as_well(
    bench: Bench, kind: type[Command], error: Exception
) -> None:
    """Taking over, and writing down the structure that goes with the last record."""
    stage = await Stage(bench).begin()
    if kind is ResumeRecovery:
        bench.raft.elect("n1")
        stage.leader = bench.leader()
        await bench.known(stage.leader)
    commit = bench.raft.commit
    seen = bench.refuse(kind, error)
    assert (await stage.run()).is_active
    assert len(seen) == 1
    assert bench.failures == [], "a lost quorum is no defect"
    if kind is ResumeRecovery:
        assert stage.sessions.said == []
    bench.raft.commit = commit  # type: ignore[method-assign]
    assert (await stage.run()).end is EndState.SUCCEEDED


async def test_nothing_that_a_run_began_goes_on_after_it(stage: Stage) -> None:
    """A replica is slow to follow while the record of the promotion fails."""
    gate = stage.holds(R3, "CHANGE")
    stage.leader.supervisor.look()
    await gate.reached.wait()
    stage.bench.refuse(RecordPhase, Unavailable("there is no quorum"))
    await stage.bench.until(lambda: "0 recoveries" in repr(stage.leader.supervisor))
    gate.open()
    await asyncio.sleep(60.0)
    assert not any(sql.startswith("CHANGE") for sql in stage.sessions.said_to(R3))
    assert R1 in stage.writable


async def test_the_structure_it_led_to_is_recorded_before_its_end(stage: Stage) -> None:
    await stage.run()
    log = stage.bench.raft.log
    (end,) = [number for number, each in enumerate(log) if isinstance(each, FinishRecovery)]
    seen = {each.key: each.facts for command in log[:end] if isinstance(command, ObserveServers)
            for each in command.servers}  # fmt: skip
    successor = stage.record.successor
    assert successor is not None
    for key in {R1, R2, R3} - {successor}:
        facts = seen[key]
        assert facts is not None and facts.source == successor
    promoted = seen[successor]
    assert promoted is not None and promoted.is_writable


async def test_a_record_that_is_too_large_is_cut_down_once_and_not_tried_for_ever(stage: Stage) -> None:
    seen = stage.bench.refuse(RecordPhase, InvalidInput("a command of 600,000 bytes is too large"))
    for _ in range(3):
        await stage.run()
    assert len(seen) == 2
    assert stage.record.phase == "begin"
    assert [type(error) for _, error in stage.bench.failures] == [InvalidInput]
    stage.bench.failures.clear()


async def test_a_record_that_was_too_large_goes_on_with_fewer_words(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "SHORTENED_TEXT_MAX", 5)
    commit = stage.bench.raft.commit

    async def commit_small(command: Command) -> Result:
        if isinstance(command, RecordPhase) and any(len(each.reason) > 5 for each in command.recovery.refused):
            raise InvalidInput("a command of 600,000 bytes is too large")
        return await commit(command)

    stage.bench.raft.commit = commit_small  # type: ignore[method-assign]
    recovery = await stage.run()
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    assert recovery.refused and all(len(each.reason) == 5 for each in recovery.refused)


# -- another leader


async def hand_over(stage: Stage, at: str, server: InstanceKey) -> Leader:
    """The old leader hangs before such a statement; meanwhile n2 is elected, and the statement goes on to be said."""
    gate = stage.holds(server, at)
    stage.leader.supervisor.look()
    await gate.reached.wait()
    stage.bench.raft.elect("n2")
    following = stage.bench.leader("n2")
    await stage.bench.known(following)
    gate.open()
    return following


@pytest.mark.parametrize(
    ("at", "phase"), [("STOP REPLICA IO_THREAD", "begin"), ("RESET", "promote"), (OPENS, "promote")]
)
async def test_a_new_leader_goes_on_where_the_record_stands(stage: Stage, at: str, phase: str) -> None:
    following = await hand_over(stage, at, R1)
    assert stage.record.phase == phase
    chosen = stage.record.successor
    await stage.bench.until(lambda: stage.is_idle)
    assert stage.record.phase == phase, "the deposed leader recorded something"
    recovery = await stage.run(following)
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    assert (recovery.holder, recovery.term) == ("n2", 2)
    assert chosen in (None, recovery.successor)
    assert stage.writable == [recovery.successor]
    resumed = [mark.text for mark in recovery.timeline if mark.name == "resumed"]
    assert resumed == ["n2"]


@pytest.mark.parametrize(("at", "led_nobody_s"), [("STOP REPLICA IO_THREAD", 0.0), ("RESET", 0.0), ("RESET", 60.0)])
async def test_a_new_leader_that_has_seen_nobody_looks_before_it_decides(
    stage: Stage, at: str, led_nobody_s: float
) -> None:
    gate = stage.holds(R1, at)
    stage.leader.supervisor.look()
    await gate.reached.wait()
    chosen = stage.record.successor
    await stage.leader.close()
    await asyncio.sleep(led_nobody_s)
    stage.bench.raft.elect("n2")
    recovery = await stage.run(stage.bench.leader("n2"))
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    assert chosen in (None, recovery.successor)
    assert stage.writable == [recovery.successor]
    assert not {"fenced", "successor lost", "waiting"} & {mark.name for mark in recovery.timeline}
    assert not recovery.fenced, "nobody fenced the dead primary"


async def test_a_server_that_does_not_answer_holds_a_new_leader_up_for_one_probe_only(stage: Stage) -> None:
    gate = stage.holds(R1, "RESET")
    stage.leader.supervisor.look()
    await gate.reached.wait()
    await stage.leader.close()
    stage.bench.raft.elect("n2")
    prober, probe = stage.bench.probers["n2"], stage.bench.probers["n2"].probe
    asked: dict[InstanceKey, float] = {}

    async def hangs(key: InstanceKey, *, timeout_s: float) -> ProbeResult:
        asked.setdefault(key, timeout_s)
        if key not in (PRIMARY, R3):
            return await probe(key, timeout_s=timeout_s)
        await asyncio.sleep(timeout_s)
        return Unreachable(key, UnreachableKind.NO_GREETING, "no answer")

    prober.probe = hangs  # type: ignore[method-assign]
    recovery = await stage.run(stage.bench.leader("n2"))
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    assert asked == dict.fromkeys((PRIMARY, R1, R2, R3), 1.0)
    assert recovery.successor == R1
    assert recovery.lost == (R3,)


async def test_a_deposed_leader_says_at_most_the_statement_that_was_under_way(stage: Stage) -> None:
    await hand_over(stage, "RESET", R1)
    said = len(stage.sessions.said)
    await stage.bench.until(lambda: stage.is_idle)
    late = [each.sql for each in stage.sessions.said[said:]]
    assert late == ["RESET REPLICA ALL FOR CHANNEL ''"]
    stage.leader.supervisor.look()
    assert stage.is_idle


async def test_a_recovery_that_another_leader_took_over_is_left_to_it(stage: Stage) -> None:
    """Even by one that still believes in its authority: the log says no."""
    gate = stage.holds(R1, "STOP REPLICA IO_THREAD")
    stage.leader.supervisor.look()
    await gate.reached.wait()
    taken = ResumeRecovery(id="x", at_ms=stage.bench.clock.wall_ms(), recovery_id="r1", holder="n2", term=2)
    assert (await stage.bench.raft.commit(taken)).ok
    gate.open()
    await stage.bench.until(lambda: stage.is_idle)
    assert (stage.record.holder, stage.record.phase) == ("n2", "begin")
    assert stage.writable == []


async def test_a_later_term_of_the_same_node_takes_its_own_recovery_over(stage: Stage) -> None:
    gate = stage.holds(R1, "STOP REPLICA IO_THREAD")
    stage.leader.supervisor.look()
    await gate.reached.wait()
    stage.bench.raft.elect("n1")
    gate.open()
    await stage.bench.until(lambda: stage.is_idle)
    following = stage.bench.leader()
    await stage.bench.known(following)
    recovery = await stage.run(following)
    assert (recovery.end, recovery.term) == (EndState.SUCCEEDED, 2)


# -- what may never be seen


async def test_no_secret_is_in_the_log(stage: Stage) -> None:
    """The old primary, which has no account of its own, is taken back: with the account of a replica."""
    await stage.run()
    stage.bench.fleet.servers[PRIMARY].down = None
    await stage.bench.known(stage.leader)
    stage.sessions.failure_of = lambda _key, sql: ("reset", 0) if SECRET in sql else None
    await stage.bench.claimed(stage.leader, "rejoin", on=PRIMARY, name="r2")
    await stage.run()
    assert any(SECRET in each.sql for each in stage.sessions.said)
    rejoin = stage.bench.raft.state.recoveries["r2"]
    assert any("CHANGE REPLICATION SOURCE" in error for error in rejoin.errors)
    assert SECRET not in repr(stage.bench.raft.log) + repr(stage.bench.raft.state)


async def test_a_successor_that_hangs_is_given_up_in_bounded_time(stage: Stage) -> None:
    """Its deadline ends each step, so another one is promoted, or the recovery says why nobody was."""

    async def hangs(key: InstanceKey, sql: str) -> None:
        await (never() if key == R1 and stage.record.phase == "promote" else asyncio.sleep(0))

    stage.sessions.before_statement = hangs
    stage.leader.supervisor.look()
    await stage.bench.until(lambda: not stage.record.is_active, at_most_s=600.0)
    assert R1 not in stage.writable
    assert len(stage.writable) <= 1
    assert stage.record.errors


async def test_two_running_records_are_two_tasks(bench: Bench) -> None:
    """Recoveries of different clusters do not wait for each other."""
    from tests.engine.fleet import Fleet, key, primary_facts, replica_facts

    other = key(24100)
    facts = [each.facts for each in Fleet.cluster().servers.values()]
    more = [primary_facts(other, cluster_alias="other"), *(replica_facts(key(24100 + n), other) for n in (1, 2, 3))]
    await bench.close()
    two = Bench(fleet=Fleet([*facts, *(replace(each, cluster_alias="other") for each in more)]))
    stage = Stage(two)
    await two.known(stage.leader)
    for port in (24000, 24100):
        two.fleet.crash(port)
    await two.known(stage.leader)
    await two.claimed(stage.leader)
    await two.claimed(stage.leader, on=other, name="r2")
    stage.holds(R1, "STOP REPLICA IO_THREAD")
    stage.leader.supervisor.look()
    await two.until(lambda: not two.raft.state.recoveries["r2"].is_active)
    assert two.raft.state.recoveries["r2"].end is EndState.SUCCEEDED
    await two.close()
