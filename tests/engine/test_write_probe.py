"""Whose turn it is to write, and what becomes of the result. The writer is scripted, the rest is real."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest_asyncio

from orchestrator_raft.core.analysis import analyze
from orchestrator_raft.core.instance import InstanceKey, Reached
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.replicated.commands import PauseWrites
from orchestrator_raft.engine.leadership import Leader
from orchestrator_raft.engine.write_probe import WritePace, WriteProbes
from tests.engine.bench import PRIMARY, Bench

HANGS = "timeout in query after 2 s"


class ScriptedWriter:
    """Gives the same answer until it is given another."""

    def __init__(self) -> None:
        self.answer: str | None = ""
        self.asked: list[InstanceKey] = []

    async def try_write(self, key: InstanceKey, *, timeout_s: float) -> str | None:
        self.asked.append(key)
        return self.answer


class Stage:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.writer = ScriptedWriter()
        self.leader: Leader = bench.leader()
        self.probes = WriteProbes(self.writer, self.leader.inventory, bench.clock, WritePace(interval_s=5.0))

    async def asked_within(self, seconds: float) -> int:
        """How often somebody was asked to write, looked at twice a second."""
        before = len(self.writer.asked)
        for _ in range(round(seconds * 2)):
            for _name, work in self.probes.due(self.leader.viewer.moment()):
                await work
            await asyncio.sleep(0.5)
        return len(self.writer.asked) - before

    def codes(self) -> dict[InstanceKey, str]:
        found = analyze(self.leader.viewer.moment().topology, Policy())
        return {each.situation.key: each.code for each in found if each.problem is not None}


@pytest_asyncio.fixture
async def stage(bench: Bench) -> Stage:
    made = Stage(bench)
    await bench.known(made.leader)
    return made


async def test_only_the_primary_is_asked_and_only_now_and_then(stage: Stage) -> None:
    assert await stage.asked_within(20.0) == 4
    assert set(stage.writer.asked) == {PRIMARY}
    assert stage.codes() == {}


async def test_two_failures_running_are_a_problem_and_one_success_ends_it(stage: Stage) -> None:
    stage.writer.answer = HANGS
    await stage.asked_within(1.0)
    assert stage.codes() == {}
    await stage.asked_within(5.0)
    assert stage.codes() == {PRIMARY: "MasterCannotWrite"}
    stage.writer.answer = ""
    await stage.asked_within(20.0)
    assert stage.codes() == {}


async def test_while_writes_fail_the_next_comes_later_and_later(stage: Stage) -> None:
    stage.writer.answer = HANGS
    assert await stage.asked_within(600.0) < 20


async def test_one_that_could_not_be_asked_says_nothing(stage: Stage) -> None:
    stage.writer.answer = None
    await stage.asked_within(30.0)
    assert stage.codes() == {}


async def test_a_primary_that_does_not_answer_is_not_asked(stage: Stage) -> None:
    stage.bench.fleet.crash(PRIMARY.port)
    await stage.leader.discovery.probe_now(PRIMARY, timeout_s=1.0)
    assert await stage.asked_within(20.0) == 0


async def test_a_primary_that_is_read_only_is_not_asked(stage: Stage) -> None:
    inventory, facts = stage.leader.inventory, stage.bench.facts(PRIMARY)
    closed = Reached(replace(facts, read_only=True))
    inventory.record(PRIMARY, closed, stage.bench.clock.monotonic_s(), stage.bench.raft.state.servers)
    assert await stage.asked_within(20.0) == 0


async def test_nobody_is_asked_to_write_while_writes_are_paused(stage: Stage) -> None:
    assert (await stage.leader.proposals.propose(PauseWrites, paused=True, reason="a person works there")).ok
    assert await stage.asked_within(10.0) == 0
    assert (await stage.leader.proposals.propose(PauseWrites, paused=False)).ok
    assert await stage.asked_within(10.0) > 0
