"""Servers that are kept out, with whole engines: what only they have is saved once, and never holds anything up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
import pytest_asyncio

from orchestrator_raft.core.gtid import parse_mysql
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.rebuild import is_saved
from orchestrator_raft.core.recovery.salvage import Salvage
from orchestrator_raft.core.topology import SavedTransactions, StalePrimary, StaleStatus
from orchestrator_raft.engine.leadership import Engine, Outside
from tests.engine.bench import PRIMARY, Bench
from tests.engine.fleet import uuid_of

EXTRA = f"{uuid_of(PRIMARY)}:21-23"
MORE = f"{uuid_of(PRIMARY)}:21-24"


@dataclass
class SlowSalvager:
    """``ports.Salvager`` that takes its time and answers as it is told."""

    answer: SavedTransactions
    takes_s: float = 0.0
    asked: list[Salvage] = field(default_factory=list)

    async def save(self, wanted: Salvage, *, timeout_s: float) -> SavedTransactions:
        self.asked.append(wanted)
        await asyncio.sleep(self.takes_s)
        return self.answer


class KeptOut(Bench):
    """The old primary came back with three transactions of its own."""

    def __init__(self, salvager: SlowSalvager | None) -> None:
        super().__init__()
        self.salvager = salvager
        self.engine_of_n1: Engine | None = None

    def outside(self, node: str = "n1") -> Outside:
        return replace(super().outside(node), salvager=self.salvager)

    async def begin(self) -> KeptOut:
        self.engine_of_n1 = self.engine()
        await self.until(lambda: set(self.raft.state.servers) == set(self.fleet.servers))
        await asyncio.sleep(3.0)
        self.probers["n1"].crash(PRIMARY.port)
        await self.until(lambda: self.ended("dead_primary") is not None)
        server = self.fleet.servers[PRIMARY]
        assert server.facts.executed is not None
        server.facts = replace(server.facts, executed=server.facts.executed.union(parse_mysql(EXTRA)))
        server.down = None
        await self.until(lambda: self.ended("rejoin") is not None)
        assert self.rejoin.end is EndState.QUARANTINED
        return self

    def ended(self, kind: str) -> Recovery | None:
        found = [each for each in self.raft.state.recoveries.values() if each.kind == kind and not each.is_active]
        return found[-1] if found else None

    @property
    def rejoin(self) -> Recovery:
        found = self.ended("rejoin")
        assert found is not None
        return found

    @property
    def mark(self) -> StalePrimary:
        return self.raft.state.stale[PRIMARY]


@pytest_asyncio.fixture
async def kept_out(request: pytest.FixtureRequest) -> AsyncIterator[KeptOut]:
    takes_s = getattr(request, "param", 5.0)
    salvager = SlowSalvager(SavedTransactions(path="/a.sql", size_bytes=5, gtids=EXTRA), takes_s=takes_s)
    made = await KeptOut(salvager).begin()
    yield made
    await made.close()


async def test_what_only_it_has_is_saved_once_and_recorded_with_its_return(kept_out: KeptOut) -> None:
    assert kept_out.mark.saved is None
    await kept_out.until(lambda: kept_out.mark.saved is not None)
    salvager = kept_out.salvager
    assert salvager is not None
    (wanted,) = salvager.asked
    assert (wanted.key, wanted.folder, str(wanted.extra)) == (PRIMARY, kept_out.rejoin.id, EXTRA)
    assert wanted.common.intersection(wanted.extra).is_empty
    saved = kept_out.rejoin.saved
    assert saved == kept_out.mark.saved
    assert saved is not None
    assert (saved.node_id, saved.path, saved.wanted) == ("n1", "/a.sql", EXTRA)
    assert [mark.text for mark in kept_out.rejoin.timeline if mark.name == "saved"] == ["/a.sql on node n1, 5 bytes"]
    await asyncio.sleep(120.0)
    assert len(salvager.asked) == 1


def is_saved_there(kept_out: KeptOut) -> bool:
    assert kept_out.engine_of_n1 is not None
    leader = kept_out.engine_of_n1.leader
    assert leader is not None
    topology = leader.viewer.moment().topology
    server = topology.server(PRIMARY)
    primary = topology.primary_of(server.cluster_id)
    assert primary is not None
    return is_saved(server, primary)


async def test_saved_means_exactly_what_it_has_extra_now(kept_out: KeptOut) -> None:
    await kept_out.until(lambda: kept_out.mark.saved is not None)
    assert is_saved_there(kept_out)
    server = kept_out.fleet.servers[PRIMARY]
    assert server.facts.executed is not None
    server.facts = replace(server.facts, executed=server.facts.executed.union(parse_mysql(MORE)))
    await asyncio.sleep(15.0)
    assert kept_out.mark.saved is not None
    assert not is_saved_there(kept_out)


@pytest.mark.parametrize("kept_out", [60.0], indirect=True)
async def test_a_save_that_was_begun_for_an_earlier_return_counts_for_nothing(kept_out: KeptOut) -> None:
    salvager, first = kept_out.salvager, kept_out.rejoin.id
    assert salvager is not None
    await kept_out.until(lambda: bool(salvager.asked))
    server = kept_out.fleet.servers[PRIMARY]
    assert server.facts.executed is not None
    executed = server.facts.executed.union(parse_mysql(MORE))
    server.facts = replace(server.facts, executed=executed, read_only=False, super_read_only=False)
    await kept_out.until(lambda: kept_out.rejoin.id != first)
    assert len(salvager.asked) == 1, "it was kept out anew before the first save ended"
    await kept_out.until(lambda: kept_out.mark.saved is not None, at_most_s=200.0)
    assert [each.folder for each in salvager.asked] == [first, kept_out.rejoin.id]
    assert kept_out.mark.saved is not None
    assert kept_out.mark.saved.wanted == MORE


async def test_what_could_not_be_saved_is_told_and_not_tried_again_by_itself() -> None:
    stage = await KeptOut(SlowSalvager(SavedTransactions(problem="the disk is full"))).begin()
    try:
        await stage.until(lambda: stage.mark.saved is not None)
        await asyncio.sleep(120.0)
        assert stage.salvager is not None
        assert len(stage.salvager.asked) == 1
        assert stage.mark.status is StaleStatus.QUARANTINED
        said = [each.message for each in stage.raft.state.audit if each.type == "save-lost-transactions"]
        assert said == ["nothing was saved: the disk is full"]
    finally:
        await stage.close()


async def test_once_the_primary_has_them_it_comes_back_by_itself(kept_out: KeptOut) -> None:
    """As after a person has applied the file there."""
    (cluster,) = kept_out.raft.state.clusters.values()
    assert cluster.primary is not None
    primary = kept_out.fleet.servers[cluster.primary]
    assert primary.facts.executed is not None
    primary.facts = replace(primary.facts, executed=primary.facts.executed.union(parse_mysql(EXTRA)))
    await kept_out.until(lambda: PRIMARY not in kept_out.raft.state.stale)
    assert kept_out.rejoin.end is EndState.SUCCEEDED
    assert kept_out.facts(PRIMARY).source == cluster.primary


async def test_without_a_place_for_files_nothing_is_tried() -> None:
    stage = await KeptOut(None).begin()
    try:
        await asyncio.sleep(30.0)
        assert stage.mark.saved is None
    finally:
        await stage.close()
