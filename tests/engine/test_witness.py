"""Witnesses: they answer in time or count for nothing, and only for the suspicion that they were asked about."""

from __future__ import annotations

import asyncio
import json

import pytest

from orchestrator_raft.core.analysis import Eyes
from orchestrator_raft.core.instance import InstanceKey, Unreachable, UnreachableKind
from orchestrator_raft.engine.witness import ANSWER_MAX_AGE_S, ASK_AGAIN_S, METHOD, Witnesses
from orchestrator_raft.tasks import Tasks
from tests.engine.bench import PRIMARY, R1, Bench, never

TIMEOUT_S = 0.4


class Stage:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.failures: list[BaseException] = []
        self.tasks = Tasks("test", lambda _name, error: self.failures.append(error))
        self.heard: list[InstanceKey] = []
        self.witnesses = Witnesses(
            bench.raft.nodes["n1"], bench.raft.network.channel("n1"), bench.clock, self.tasks, timeout_s=TIMEOUT_S
        )
        self.witnesses.on_answer(self.heard.append)

    async def ask(self, key: InstanceKey = PRIMARY, wait_s: float = 1.0) -> Eyes:
        self.witnesses.ask(key)
        await asyncio.sleep(wait_s)
        return self.witnesses.eyes(key)

    def takes(self, node: str, seconds: float) -> None:
        """This node's own try of a server takes so long from now on."""
        prober = self.bench.probers[node]
        try_connect = type(prober).try_connect

        async def slowly(key: InstanceKey, *, timeout_s: float) -> Unreachable | None:
            answer = await try_connect(prober, key, timeout_s=timeout_s)
            await asyncio.sleep(seconds)
            return answer

        prober.try_connect = slowly  # type: ignore[method-assign]


@pytest.fixture
def stage(bench: Bench) -> Stage:
    return Stage(bench)


def said(eyes: Eyes) -> dict[str, bool]:
    return {answer.node_id: answer.reached for answer in eyes.answers}


async def test_every_other_node_says_what_it_found(stage: Stage) -> None:
    assert said(await stage.ask()) == {"n2": True, "n3": True}
    assert stage.heard == [PRIMARY, PRIMARY]
    stage.bench.fleet.crash(R1.port)
    eyes = await stage.ask(R1)
    assert (eyes.witnesses, said(eyes)) == (2, {"n2": False, "n3": False})
    assert all("refused" in answer.detail for answer in eyes.answers)


@pytest.mark.parametrize("kind", [kind for kind in UnreachableKind if kind.is_opinion])
async def test_a_server_that_replies_with_an_error_is_reached(stage: Stage, kind: UnreachableKind) -> None:
    stage.bench.fleet.crash(PRIMARY.port, kind)
    assert set(said(await stage.ask()).values()) == {kind.answers}


async def test_a_node_that_is_silent_counts_for_nothing(stage: Stage) -> None:
    stage.bench.probers["n2"].try_connect = never  # type: ignore[method-assign]
    stage.bench.raft.network.lost_answers.add("n3")
    stage.witnesses.ask(PRIMARY)
    await stage.bench.until(lambda: len(stage.tasks) == 0, at_most_s=TIMEOUT_S + 0.3)
    eyes = stage.witnesses.eyes(PRIMARY)
    assert (eyes.witnesses, eyes.answers, stage.heard, stage.failures) == (2, (), [], [])


async def test_a_node_that_is_not_connected_is_not_asked_but_counts_as_one_that_could_be(stage: Stage) -> None:
    stage.bench.raft.network.cut("n1", "n2")
    eyes = await stage.ask()
    assert (eyes.witnesses, said(eyes)) == (2, {"n3": True})


async def test_a_witness_gives_the_server_no_more_time_than_it_was_told(stage: Stage) -> None:
    given: list[float] = []

    async def note(key: InstanceKey, *, timeout_s: float) -> Unreachable | None:
        given.append(timeout_s)
        return None

    stage.bench.probers["n2"].try_connect = note  # type: ignore[method-assign]
    await stage.ask()
    question = json.dumps({"host": PRIMARY.hostname, "port": PRIMARY.port, "timeout_s": 999}).encode()
    await stage.bench.raft.network.channel("n1").call("n2", METHOD, question, timeout_s=1.0)
    assert given == [TIMEOUT_S, 5.0]


async def test_nobody_is_asked_again_a_moment_later(stage: Stage) -> None:
    for _ in range(10):
        stage.witnesses.ask(PRIMARY)
    await asyncio.sleep(ASK_AGAIN_S)
    assert len(stage.bench.raft.network.calls) == 2
    stage.witnesses.ask(PRIMARY)
    await asyncio.sleep(0.1)
    assert len(stage.bench.raft.network.calls) == 4


async def test_an_answer_counts_for_a_while_only(stage: Stage) -> None:
    assert said(await stage.ask())
    await asyncio.sleep(ANSWER_MAX_AGE_S)
    assert stage.witnesses.eyes(PRIMARY).answers == ()


async def test_the_newest_answer_of_a_node_counts(stage: Stage) -> None:
    assert set(said(await stage.ask()).values()) == {True}
    stage.bench.fleet.crash(PRIMARY.port)
    eyes = await stage.ask()
    assert said(eyes) == {"n2": False, "n3": False}


async def test_what_was_said_about_an_earlier_suspicion_counts_no_more(stage: Stage) -> None:
    assert said(await stage.ask())
    stage.witnesses.clear(PRIMARY)
    assert stage.witnesses.eyes(PRIMARY).answers == ()


@pytest.mark.parametrize("asked_again", [False, True])
async def test_an_answer_that_comes_after_its_suspicion_is_over_counts_no_more(stage: Stage, asked_again: bool) -> None:
    """The witness looked before the server was seen alive; now there is a new suspicion."""
    stage.takes("n2", 0.3)
    stage.bench.raft.network.cut("n1", "n3")
    stage.bench.fleet.crash(PRIMARY.port)
    stage.witnesses.ask(PRIMARY)
    await asyncio.sleep(0.2)
    stage.witnesses.clear(PRIMARY)
    stage.bench.fleet.servers[PRIMARY].down = None
    if asked_again:
        stage.takes("n2", 0.35)
        stage.witnesses.ask(PRIMARY)
    await asyncio.sleep(0.2)
    assert stage.witnesses.eyes(PRIMARY).answers == ()
    await asyncio.sleep(0.5)
    assert said(stage.witnesses.eyes(PRIMARY)) == ({"n2": True} if asked_again else {})


async def test_a_node_that_left_the_cluster_has_no_say(stage: Stage) -> None:
    await stage.ask()
    stage.bench.raft.node_ids = ("n1", "n2")
    eyes = stage.witnesses.eyes(PRIMARY)
    assert (eyes.witnesses, said(eyes)) == (1, {"n2": True})


@pytest.mark.parametrize("kind", [UnreachableKind.OWN_TROUBLE, UnreachableKind.UNRESOLVABLE])
async def test_a_node_that_could_not_even_ask_has_no_opinion(stage: Stage, kind: UnreachableKind) -> None:
    async def fails(key: InstanceKey, *, timeout_s: float) -> Unreachable:
        return Unreachable(key, kind, f"not within {timeout_s} s")

    stage.bench.probers["n2"].try_connect = fails  # type: ignore[method-assign]
    assert said(await stage.ask()) == {"n3": True}
