"""Replicas that say they hear a primary which no node reaches: one at a time has to connect anew, and that decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from orchestrator_raft.core.instance import InstanceKey, ThreadState, Unreachable, UnreachableKind
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.engine.doubt import AGAIN_S, PATIENCE_S
from tests.engine.bench import POLICY, PRIMARY, R1, R2, R3, Bench
from tests.engine.test_vantage import NODES, Stage

STOP = "STOP REPLICA IO_THREAD"


class Doubt(Stage):
    """No node reaches the primary any more."""

    def cut_off(self) -> None:
        for name in NODES:
            self.hide(name, (PRIMARY,))

    def die_unheard(self) -> None:
        """It is gone, and its replicas have not noticed."""
        self.bench.fleet.servers[PRIMARY].down = Unreachable(PRIMARY, UnreachableKind.NO_GREETING, "no greeting")

    def asked(self) -> list[InstanceKey]:
        said = self.bench.sessions["n1"].said
        return [each.key for each in said if each.sql.startswith(STOP)]

    def recoveries(self, kind: str) -> list[Recovery]:
        return [each for each in self.bench.raft.state.recoveries.values() if each.kind == kind]


async def begun(policy: Policy) -> Doubt:
    bench = Bench(policy=policy)
    made = Doubt(bench)
    await bench.until(lambda: set(bench.raft.state.servers) == set(bench.fleet.servers))
    await asyncio.sleep(3.0)
    return made


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Doubt]:
    made = await begun(POLICY)
    yield made
    await made.bench.close()


async def test_a_living_primary_is_told_by_one_replica_a_minute_and_keeps_its_role(stage: Doubt) -> None:
    stage.cut_off()
    await stage.bench.until(lambda: bool(stage.recoveries("reconnect")))
    await asyncio.sleep(AGAIN_S / 2)
    (asked,) = stage.recoveries("reconnect")
    assert asked.end is EndState.SUCCEEDED
    assert stage.asked() == [asked.subject.key]
    assert all(stage.bench.fleet.servers[key].facts.channel.replicates for key in (R1, R2, R3))  # type: ignore[union-attr]
    await asyncio.sleep(AGAIN_S)
    assert len(stage.asked()) == 2
    assert stage.recoveries("dead_primary") == []


async def test_a_dead_primary_is_found_out_and_replaced(stage: Doubt) -> None:
    stage.die_unheard()
    await asyncio.sleep(PATIENCE_S - 1.0)
    assert stage.asked() == []
    await stage.bench.until(lambda: any(each.promoted for each in stage.recoveries("dead_primary")))
    first = stage.recoveries("reconnect")[0]
    assert first.end is EndState.SUCCEEDED
    assert first.number < stage.recoveries("dead_primary")[0].number


@pytest.mark.parametrize(
    "change", [{"delay_s": 60}, {"applier": ThreadState.STOPPED}], ids=lambda change: next(iter(change))
)
async def test_nobody_is_asked_where_one_that_must_be_left_alone_hears_it_as_well(
    stage: Doubt, change: dict[str, object]
) -> None:
    server = stage.bench.fleet.servers[R2]
    assert server.facts.channel is not None
    server.facts = replace(server.facts, channels=(replace(server.facts.channel, **change),))  # type: ignore[arg-type]
    await asyncio.sleep(2.0)
    stage.cut_off()
    await asyncio.sleep(30.0)
    assert stage.recoveries("reconnect") == []


async def test_a_node_that_reaches_it_ends_all_doubt(stage: Doubt) -> None:
    stage.hide("n1", (PRIMARY,))
    stage.hide("n2", (PRIMARY,))
    await asyncio.sleep(30.0)
    assert stage.recoveries("reconnect") == []


@pytest.mark.parametrize(
    "policy", [replace(POLICY, restart_on_doubt=False), Policy()], ids=["switched off", "not ours"]
)
async def test_nobody_is_asked_where_it_is_not_wanted(policy: Policy) -> None:
    stage = await begun(policy)
    try:
        stage.cut_off()
        await asyncio.sleep(30.0)
        assert stage.recoveries("reconnect") == []
    finally:
        await stage.bench.close()
