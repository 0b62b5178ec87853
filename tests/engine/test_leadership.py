"""Leadership, with whole engines: a node's parts live for one term, and exactly one node looks after the fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from orchestrator_raft.core.instance import InstanceKey, ProbeResult, Reached, UnreachableKind
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.replicated.commands import ClaimRecovery, FinishRecovery
from orchestrator_raft.engine.leadership import Engine
from tests.engine.bench import PRIMARY, R1, R2, R3, Bench, Gate
from tests.engine.twins import ScriptedProber


class Stage:
    """Three nodes with their engines; n1 leads and knows the fleet."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.engines = {name: bench.engine(name) for name in ("n1", "n2", "n3")}

    async def begin(self) -> Stage:
        await self.bench.until(lambda: set(self.bench.raft.state.servers) == set(self.bench.fleet.servers))
        await asyncio.sleep(3.0)
        return self

    @property
    def n1(self) -> Engine:
        return self.engines["n1"]

    @property
    def recoveries(self) -> list[Recovery]:
        return list(self.bench.raft.state.recoveries.values())

    async def recovered(self, kind: str = "dead_primary") -> Recovery:
        def ended() -> list[Recovery]:
            return [each for each in self.recoveries if each.kind == kind and not each.is_active]

        await self.bench.until(lambda: bool(ended()))
        return ended()[0]

    def claims(self) -> int:
        return sum(isinstance(each, ClaimRecovery) for each in self.bench.raft.log)

    def crash(self, key: InstanceKey = PRIMARY) -> None:
        """Its connections close on every node."""
        for prober in self.bench.probers.values():
            prober.crash(key.port)


@pytest_asyncio.fixture
async def stage(bench: Bench) -> AsyncIterator[Stage]:
    yield await Stage(bench).begin()


# -- the whole of it


async def test_a_dead_primary_is_replaced_and_taken_back(stage: Stage) -> None:
    stage.crash()
    recovery = await stage.recovered()
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    stage.bench.fleet.servers[PRIMARY].down = None
    rejoin = await stage.recovered("rejoin")
    assert rejoin.end is EndState.SUCCEEDED, rejoin.errors
    assert stage.bench.facts(PRIMARY).source == recovery.successor
    assert stage.bench.facts(PRIMARY).super_read_only
    await asyncio.sleep(5.0)
    assert stage.bench.sessions["n1"].open_count == 0
    assert [name for name in ("n2", "n3") if stage.bench.sessions[name].said] == []


async def test_a_quiet_fleet_is_left_alone_and_the_log_stands_still(stage: Stage) -> None:
    count = len(stage.bench.raft.log)
    await asyncio.sleep(120.0)
    assert stage.bench.raft.log[count:] == []
    assert all(sessions.said == [] for sessions in stage.bench.sessions.values())


async def test_one_dead_primary_is_claimed_once(stage: Stage) -> None:
    stage.crash()
    await stage.recovered()
    await asyncio.sleep(10.0)
    assert stage.claims() == 1
    assert len(stage.recoveries) == 1


# -- terms


@pytest.mark.parametrize("successor", ["n2", None])
async def test_a_deposed_leader_stops_everything(stage: Stage, successor: str | None) -> None:
    gate = stage.bench.sessions["n1"].before_statement = Gate(lambda _key, sql: sql.startswith("RESET"))
    stage.crash()
    await gate.reached.wait()
    stage.bench.raft.elect(successor)
    await asyncio.sleep(1.0)
    assert stage.n1.leader is None
    assert stage.bench.sessions["n1"].open_count == 0
    said, probed = len(stage.bench.sessions["n1"].said), len(stage.bench.probers["n1"].probed)
    gate.open()
    stage.bench.probers["n1"].crash(R3.port)
    await asyncio.sleep(8.0)
    assert len(stage.bench.sessions["n1"].said) == said
    asked = sum(1 for caller, node, _ in stage.bench.raft.network.calls if node == "n1" and caller != "n1")
    assert len(stage.bench.probers["n1"].probed) <= probed + asked


async def test_a_new_leader_finishes_what_the_old_one_began(stage: Stage) -> None:
    gate = stage.bench.sessions["n1"].before_statement = Gate(lambda _key, sql: sql.startswith("RESET"))
    stage.crash()
    await gate.reached.wait()
    (before,) = stage.recoveries
    assert before.successor is not None
    stage.bench.raft.elect("n2")
    recovery = await stage.recovered()
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    assert (recovery.id, recovery.holder, recovery.successor) == (before.id, "n2", before.successor)
    assert stage.claims() == 1
    writable = [each.facts.key for each in stage.bench.fleet.servers.values()
                if each.down is None and each.facts.is_writable]  # fmt: skip
    assert writable == [before.successor]


async def test_a_node_that_leads_again_in_a_later_term_begins_anew(stage: Stage) -> None:
    before = stage.n1.leader
    stage.bench.raft.elect("n1")
    await asyncio.sleep(1.0)
    assert stage.n1.leader is not None and stage.n1.leader is not before
    assert stage.n1.leader.term == 2
    assert before is not None and len(before.tasks) == 0


async def test_authority_that_lapses_for_a_moment_costs_no_restart_but_nothing_is_done_meanwhile(stage: Stage) -> None:
    before = stage.n1.leader
    stage.bench.raft.without_authority.add("n1")
    stage.bench.raft.changed()
    stage.crash()
    await asyncio.sleep(10.0)
    assert (stage.claims(), stage.bench.sessions["n1"].said) == (0, [])
    stage.bench.raft.without_authority.clear()
    stage.bench.raft.changed()
    assert (await stage.recovered()).end is EndState.SUCCEEDED
    assert stage.n1.leader is before


async def test_a_recovery_interrupted_by_a_lapse_goes_on_when_authority_is_back(stage: Stage) -> None:
    gate = stage.bench.sessions["n1"].before_statement = Gate(lambda _key, sql: sql.startswith("RESET"))
    stage.crash()
    await gate.reached.wait()
    stage.bench.raft.without_authority.add("n1")
    gate.open()
    await asyncio.sleep(10.0)
    assert stage.recoveries[0].is_active
    assert not any("read_only = OFF" in each.sql for each in stage.bench.sessions["n1"].said)
    stage.bench.raft.without_authority.clear()
    assert (await stage.recovered()).end is EndState.SUCCEEDED
    assert sum(isinstance(each, FinishRecovery) for each in stage.bench.raft.log) == 1


async def test_a_lost_quorum_delays_and_neither_breaks_nor_doubles_anything(stage: Stage) -> None:
    stage.bench.raft.refuse_proposals = True
    stage.crash()
    await asyncio.sleep(10.0)
    assert stage.bench.sessions["n1"].said == []
    stage.bench.raft.refuse_proposals = False
    begun_s = stage.bench.clock.monotonic_s()
    assert (await stage.recovered()).end is EndState.SUCCEEDED
    assert stage.bench.clock.monotonic_s() - begun_s < 10.0
    assert stage.bench.failures == []


async def test_the_parts_of_an_earlier_term_decide_nothing_under_a_later_one(bench: Bench) -> None:
    """The node leads again; its old parts, not taken down yet, must not use what they saw before."""
    old = bench.leader()
    await bench.known(old)
    bench.fleet.crash(PRIMARY.port)
    await bench.known(old)
    bench.raft.elect("n1")
    for _ in range(5):
        old.watch.look()
        await asyncio.sleep(0.5)
    assert not any(isinstance(each, ClaimRecovery) for each in bench.raft.log)


# -- looking


async def test_a_new_leader_decides_nothing_before_it_has_seen_every_server(bench: Bench) -> None:
    stage = await Stage(bench).begin()
    prober = bench.probers["n2"]
    probe, gate = type(prober).probe, asyncio.Event()

    async def slowly(key: InstanceKey, *, timeout_s: float) -> ProbeResult:
        if key == R2:
            await gate.wait()
        return await probe(prober, key, timeout_s=timeout_s)

    prober.probe = slowly  # type: ignore[method-assign]
    bench.raft.elect("n2")
    stage.crash()
    await asyncio.sleep(8.0)
    assert stage.claims() == 0
    gate.set()
    assert (await stage.recovered()).holder == "n2"


async def test_a_closed_connection_wakes_the_server_its_source_and_its_replicas(stage: Stage) -> None:
    prober = stage.bench.probers["n1"]
    probed = prober.probed
    await asyncio.sleep(0.2)
    count = len(probed)
    prober._listener(R1)
    await asyncio.sleep(0.005)
    assert set(probed[count:]) == {R1, PRIMARY}
    count = len(probed)
    prober._listener(PRIMARY)
    await asyncio.sleep(0.005)
    assert set(probed[count:]) == {PRIMARY, R1, R2, R3}


async def test_other_nodes_are_asked_about_a_primary_that_hung_up_and_not_about_a_replica(stage: Stage) -> None:
    prober, network = stage.bench.probers["n1"], stage.bench.raft.network

    def calls() -> list[tuple[str, str, str]]:
        return [call for call in network.calls if call[2] == "witness"]

    prober._listener(R1)
    await asyncio.sleep(0.01)
    assert calls() == []
    prober._listener(PRIMARY)
    await asyncio.sleep(0.01)
    assert [(caller, node) for caller, node, _ in calls()] == [("n1", "n2"), ("n1", "n3")]


async def test_a_primary_that_a_witness_reaches_is_not_replaced(stage: Stage) -> None:
    """And one that only silent witnesses were asked about is not either."""
    prober = stage.bench.probers["n2"]

    async def reaches(key: InstanceKey, *, timeout_s: float) -> None:
        return None

    prober.try_connect = reaches  # type: ignore[method-assign]
    stage.crash()
    await asyncio.sleep(10.0)
    assert stage.claims() == 0
    prober.try_connect = ScriptedProber(stage.bench.fleet).try_connect  # type: ignore[method-assign]
    assert (await stage.recovered()).end is EndState.SUCCEEDED


async def test_silent_witnesses_confirm_nothing(stage: Stage) -> None:
    stage.bench.raft.network.lost_answers |= {"n2", "n3"}
    stage.crash()
    await asyncio.sleep(10.0)
    assert stage.claims() == 0
    stage.bench.raft.network.lost_answers.discard("n3")
    assert (await stage.recovered()).end is EndState.SUCCEEDED


@pytest.mark.parametrize("kind", [UnreachableKind.AUTHENTICATION, UnreachableKind.TOO_MANY_CONNECTIONS])
async def test_a_primary_that_answers_with_an_error_is_not_replaced(stage: Stage, kind: UnreachableKind) -> None:
    stage.bench.fleet.crash(PRIMARY.port, kind)
    await asyncio.sleep(8.0)
    assert stage.claims() == 0


async def test_facts_are_those_of_the_leader_or_as_replicated(stage: Stage) -> None:
    mine, recorded = stage.n1.facts_of(R1), stage.engines["n2"].facts_of(R1)
    assert mine is not None and mine.executed is not None
    assert recorded is not None and recorded.executed is None
    assert isinstance(await stage.bench.probers["n1"].probe(R1, timeout_s=1.0), Reached)


async def test_a_leader_that_has_lost_its_eyes_says_that_it_is_broken(stage: Stage) -> None:
    """A watch or a probe that ends by a defect: nothing would be noticed any more, so the node must not go on."""

    async def fails(key: InstanceKey, *, timeout_s: float) -> ProbeResult:
        raise KeyError(f"a defect in the probe of {key}")

    stage.bench.probers["n1"].probe = fails  # type: ignore[method-assign]
    await stage.bench.until(lambda: bool(stage.bench.broken))
    name, error = stage.bench.broken[0]
    assert "probe" in name and isinstance(error, KeyError)
    stage.bench.broken.clear()
