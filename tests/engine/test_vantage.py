"""A leader that reaches fewer primaries than another node hands over, once in ten minutes, and fails nobody over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest_asyncio

from orchestrator_raft.core.analysis.doubt import better_placed
from orchestrator_raft.core.instance import InstanceKey, Unreachable, UnreachableKind
from orchestrator_raft.core.replicated.commands import ClaimRecovery, GiveWay
from orchestrator_raft.engine.vantage import AUDIT_TYPE, reached_of, serve_reach
from tests.engine.bench import PRIMARY, R1, R2, R3, Bench

ALL = (PRIMARY, R1, R2, R3)
NODES = ("n1", "n2", "n3")


class Stage:
    """Three whole nodes over one fleet, each with a view of it that can be taken away."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.hidden: dict[str, set[InstanceKey]] = {name: set() for name in NODES}
        for name in NODES:
            serve_reach(bench.raft.network.channel(name), bench.probers[name])
            self._cover(name)
        self.engines = [bench.engine(name) for name in NODES]

    def _cover(self, name: str) -> None:
        prober = self.bench.probers[name]
        probe = prober.probe

        async def see(key: InstanceKey, *, timeout_s: float) -> object:
            if key in self.hidden[name]:
                await asyncio.sleep(timeout_s)
                return Unreachable(key, UnreachableKind.NETWORK, "no route to host")
            return await probe(key, timeout_s=timeout_s)

        prober.probe = see  # type: ignore[method-assign,assignment]

    def hide(self, name: str, servers: Iterable[InstanceKey] = ALL) -> None:
        self.hidden[name] |= set(servers)

    @property
    def leader(self) -> str | None:
        return self.bench.raft.leader

    @property
    def handed_over(self) -> int:
        return sum(isinstance(each, GiveWay) for each in self.bench.raft.log)

    @property
    def claims(self) -> list[str]:
        return [each.recovery.kind for each in self.bench.raft.log if isinstance(each, ClaimRecovery)]

    @property
    def reports(self) -> list[str]:
        return [each.message for each in self.bench.raft.state.audit if each.type == AUDIT_TYPE]


@pytest_asyncio.fixture
async def stage(bench: Bench) -> AsyncIterator[Stage]:
    made = Stage(bench)
    await bench.until(lambda: set(bench.raft.state.servers) == set(bench.fleet.servers))
    await asyncio.sleep(3.0)
    yield made


async def test_a_leader_that_sees_nothing_hands_over_and_nobody_fails_over(stage: Stage) -> None:
    stage.hide("n1")
    await stage.bench.until(lambda: stage.leader != "n1")
    await asyncio.sleep(120.0)
    assert stage.leader == "n2"
    assert stage.handed_over == 1
    assert stage.claims == []
    (said,) = [each.message for each in stage.bench.raft.state.audit if each.type == "give-leadership-away"]
    assert said == f"to n2: node n2 reaches {PRIMARY}, and the leader, n1, does not"


async def test_a_leader_hands_over_to_the_node_that_sees(stage: Stage) -> None:
    stage.hide("n1")
    stage.hide("n2", (PRIMARY,))
    await stage.bench.until(lambda: stage.leader != "n1")
    assert stage.leader == "n3"
    await asyncio.sleep(60.0)
    assert (stage.leader, stage.handed_over, stage.claims) == ("n3", 1, [])


async def test_it_is_done_once_in_ten_minutes_whoever_leads(stage: Stage) -> None:
    stage.hide("n1")
    await stage.bench.until(lambda: stage.leader == "n2")
    await asyncio.sleep(5.0)
    stage.hidden["n1"].clear()
    stage.hide("n2")
    await stage.bench.until(lambda: bool(stage.reports))
    await asyncio.sleep(300.0)
    assert stage.leader == "n2"
    (said,) = stage.reports
    assert said.startswith(f"node n1 reaches {PRIMARY}, and the leader, n2, does not; leadership was given away")
    await stage.bench.until(lambda: stage.leader != "n2", at_most_s=400.0)
    assert stage.claims == []


async def test_a_primary_that_nobody_reaches_moves_no_leadership(stage: Stage) -> None:
    for name in NODES:
        stage.hide(name, (PRIMARY,))
    await asyncio.sleep(30.0)
    assert (stage.leader, stage.handed_over) == ("n1", 0)


async def test_a_dead_primary_is_replaced_by_the_leader_there_is(stage: Stage) -> None:
    for prober in stage.bench.probers.values():
        prober.crash(PRIMARY.port)
    await stage.bench.until(lambda: any(each.promoted for each in stage.bench.raft.state.recoveries.values()))
    assert (stage.leader, stage.handed_over) == ("n1", 0)


async def test_a_short_hiccup_of_the_leader_moves_nothing(stage: Stage) -> None:
    stage.hide("n1", (PRIMARY,))
    await asyncio.sleep(1.2)
    stage.hidden["n1"].clear()
    await asyncio.sleep(30.0)
    assert (stage.leader, stage.handed_over, stage.claims) == ("n1", 0, [])


async def test_a_node_without_links_to_the_others_compares_with_nobody(stage: Stage) -> None:
    stage.bench.raft.network.cut("n1", "n2")
    stage.bench.raft.network.cut("n1", "n3")
    stage.hide("n1")
    await asyncio.sleep(30.0)
    assert (stage.leader, stage.handed_over, stage.claims) == ("n1", 0, [])


async def test_a_server_that_answers_with_an_error_counts_as_reached(stage: Stage) -> None:
    stage.bench.fleet.crash(PRIMARY.port, UnreachableKind.TOO_MANY_CONNECTIONS)
    stage.bench.fleet.crash(R1.port, UnreachableKind.REFUSED)
    assert await reached_of(stage.bench.probers["n2"], ALL, 0.5) == {PRIMARY, R2, R3}


def test_only_a_node_that_reaches_strictly_more_is_better_placed() -> None:
    one, two = frozenset((R1,)), frozenset((R1, R2))
    assert better_placed(one, {"n2": two, "n3": two}) == "n2"
    assert better_placed(one, {"n2": frozenset((R2,))}) is None
    assert better_placed(two, {"n2": one, "n3": frozenset()}) is None
    assert better_placed(one, {}) is None
