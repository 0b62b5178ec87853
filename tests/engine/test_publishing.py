"""Publishing: committed records only, with live authority, and a target that is down holds up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator_raft.core.errors import Refused, ServerError, Unavailable
from orchestrator_raft.core.replicated.commands import RecordAudit
from orchestrator_raft.core.replicated.publications import Published
from orchestrator_raft.core.replicated.state import Publication
from orchestrator_raft.engine.publishing import BACK_OFF_MAX_S, COMPARE_S, Outlet, Publishing, Standing
from orchestrator_raft.tasks import Tasks
from tests.engine.bench import PRIMARY, R1, R2, Bench

A_MOMENT_S = 0.1


class MemoryTarget:
    """``ports.Target`` that remembers what it was told, with the faults that a test wants."""

    def __init__(self, name: str = "store", only: str = "") -> None:
        self.name = name
        self.only = only
        self.has: dict[str, Publication] = {}
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.before_write: Callable[[], None] = lambda: None
        self.gate: asyncio.Event | None = None
        self.writes = 0

    def takes(self, alias: str) -> bool:
        return self.only in ("", alias)

    async def publish(
        self, published: Published, *, forced: bool, before_write: Callable[[], None], timeout_s: float
    ) -> bool:
        record = published.record
        self.asked.append(record.alias)
        await (self.gate.wait() if self.gate is not None else asyncio.sleep(0))
        if self.error is not None:
            raise self.error
        there = self.has.get(record.alias)
        if there is not None and there.generation > record.generation and not forced:
            raise Refused(f"generation {there.generation} is there")
        if there == record:
            return False
        self.before_write()
        before_write()
        self.has[record.alias] = record
        self.writes += 1
        return True

    async def close(self) -> None:
        return


class Stage:
    """The lines of one term's leader over memory targets, and records to publish."""

    def __init__(self, bench: Bench, *targets: MemoryTarget) -> None:
        self.bench = bench
        self.raft = bench.raft
        self.number = 0
        self.tasks = Tasks("publishing", bench._failed)
        leader = bench.leader()
        self.publishing = Publishing(
            1, bench.raft.nodes["n1"], bench.clock, self.tasks,
            outlet=Outlet(targets=targets), proposals=leader.proposals,
        )  # fmt: skip

    def commit(self, alias: str, primary: object = PRIMARY) -> Publication:
        self.number += 1
        record = Publication(alias=alias, cluster_id="1", primary=primary, generation=self.number, at_ms=0)  # type: ignore[arg-type]
        self.raft.state = replace(self.raft.state, publications={**self.raft.state.publications, alias: record})
        self.publishing.look()
        return record

    def audits(self) -> list[str]:
        return [each.message for each in self.raft.log if isinstance(each, RecordAudit)]

    def standing(self, alias: str) -> list[Standing]:
        return [each.standing for each in self.publishing.statuses(self.raft.state.publications[alias])]


async def test_a_new_leader_compares_everything_and_writes_what_differs(bench: Bench) -> None:
    target = MemoryTarget()
    stage = Stage(bench, target)
    shop, store = stage.commit("shop"), stage.commit("store")
    target.has["store"] = store
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    assert target.has == {"shop": shop, "store": store}
    assert target.writes == 1
    assert stage.standing("shop") == stage.standing("store") == [Standing.CURRENT]
    assert stage.audits() == [f"store: the primary of shop is {PRIMARY} (generation 1)"]
    await stage.tasks.close()


async def test_a_change_is_published_at_once_and_alone(bench: Bench) -> None:
    target = MemoryTarget()
    stage = Stage(bench, target)
    stage.commit("shop")
    stage.commit("store")
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    target.asked.clear()
    newest = stage.commit("shop", R1)
    assert stage.standing("shop") == [Standing.WAITING]
    await asyncio.sleep(A_MOMENT_S)
    assert target.has["shop"] == newest
    assert target.asked == ["shop"]
    await stage.tasks.close()


async def test_a_target_that_is_down_holds_up_no_other_and_is_caught_up(bench: Bench) -> None:
    down, up = MemoryTarget("down"), MemoryTarget("up")
    down.error = Unavailable("down does not answer")
    stage = Stage(bench, down, up)
    stage.publishing.start()
    for number in range(5):
        stage.commit(f"shop{number}")
    await asyncio.sleep(A_MOMENT_S)
    assert len(up.has) == 5
    assert Standing.FAILED in stage.standing("shop4")
    assert stage.publishing.complaints(("shop4",)) == ("down: down does not answer",)
    await asyncio.sleep(1000.0)
    assert len(down.asked) < 1000.0 / BACK_OFF_MAX_S + 15, "it is asked less and less often"
    down.error = None
    await asyncio.sleep(BACK_OFF_MAX_S + A_MOMENT_S)
    assert down.has == up.has
    news = [each for each in stage.audits() if each.startswith("down:")]
    assert news[:2] == ["down: down does not answer", "down: it takes publications again"]
    assert len(news) == 2 + 5
    await stage.tasks.close()


async def test_a_target_that_hangs_holds_up_no_other(bench: Bench) -> None:
    hung, up = MemoryTarget("hung"), MemoryTarget("up")
    hung.gate = asyncio.Event()
    stage = Stage(bench, hung, up)
    stage.publishing.start()
    newest = stage.commit("shop")
    await asyncio.sleep(A_MOMENT_S)
    assert up.has == {"shop": newest}
    await stage.tasks.close()


async def test_an_error_of_one_record_lets_the_others_through(bench: Bench) -> None:
    class Picky(MemoryTarget):
        async def publish(self, published: Published, **more: object) -> bool:
            if published.record.alias == "bad":
                raise ServerError("there is no hostgroup for bad")
            return await super().publish(published, **more)  # type: ignore[arg-type]

    target = Picky()
    stage = Stage(bench, target)
    stage.commit("shop")
    stage.commit("bad")
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    assert list(target.has) == ["shop"]
    assert stage.standing("bad") == [Standing.FAILED]
    await stage.tasks.close()


async def test_nothing_is_written_without_live_authority(bench: Bench) -> None:
    target = MemoryTarget()
    stage = Stage(bench, target)
    target.before_write = lambda: stage.raft.without_authority.add("n1")
    stage.commit("shop")
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    assert target.asked
    assert target.has == {}
    assert stage.standing("shop") == [Standing.FAILED]
    target.before_write = lambda: None
    asked = len(target.asked)
    await asyncio.sleep(10.0)
    assert len(target.asked) == asked, "it does not even ask the target"
    stage.raft.without_authority.clear()
    await asyncio.sleep(BACK_OFF_MAX_S)
    assert list(target.has) == ["shop"]
    await stage.tasks.close()


async def test_a_record_that_was_replaced_meanwhile_is_not_written(bench: Bench) -> None:
    target = MemoryTarget()
    stage = Stage(bench, target)
    written: list[Publication] = []

    def changes_meanwhile() -> None:
        target.before_write = lambda: written.append(stage.raft.state.publications["shop"])
        stage.commit("shop", R2)

    target.before_write = changes_meanwhile
    stage.commit("shop", R1)
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    assert target.has["shop"].primary == R2
    assert target.writes == 1
    await stage.tasks.close()


async def test_something_newer_at_the_target_is_reported_until_a_person_decides(bench: Bench) -> None:
    target = MemoryTarget()
    stage = Stage(bench, target)
    ours = stage.commit("shop")
    theirs = replace(ours, generation=99, primary=R2)
    target.has["shop"] = theirs
    stage.publishing.start()
    await asyncio.sleep(3 * COMPARE_S)
    assert target.has["shop"] == theirs
    assert stage.standing("shop") == [Standing.REFUSED]
    assert stage.audits() == ["store: generation 99 is there"]
    assert await stage.publishing.submit(("shop",), forced=False, timeout_s=10.0) == ("store: generation 99 is there",)
    assert await stage.publishing.submit(("shop",), forced=True, timeout_s=10.0) == ()
    assert target.has["shop"] == ours
    await stage.tasks.close()


async def test_what_was_changed_at_the_target_is_put_right_in_a_minute_or_when_asked(bench: Bench) -> None:
    target = MemoryTarget()
    stage = Stage(bench, target)
    ours = stage.commit("shop")
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    target.has.clear()
    assert await stage.publishing.submit(("shop",), forced=False, timeout_s=10.0) == ()
    assert target.has == {"shop": ours}
    target.has.clear()
    await asyncio.sleep(2 * COMPARE_S)
    assert target.has == {"shop": ours}
    await stage.tasks.close()


async def test_a_submission_tells_of_a_target_that_is_down_and_waits_for_none_that_hangs(bench: Bench) -> None:
    down, hung = MemoryTarget("down"), MemoryTarget("hung")
    down.error = Unavailable("down does not answer")
    hung.gate = asyncio.Event()
    stage = Stage(bench, down, hung)
    stage.commit("shop")
    stage.publishing.start()
    found = await stage.publishing.submit(("shop",), forced=False, timeout_s=3.0)
    assert found == ("down: down does not answer", "hung: waiting")
    await stage.tasks.close()


async def test_a_target_gets_only_the_aliases_it_takes(bench: Bench) -> None:
    target = MemoryTarget(only="shop")
    stage = Stage(bench, target)
    stage.commit("shop")
    stage.commit("store")
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    assert list(target.has) == ["shop"]
    assert stage.standing("store") == []
    await stage.tasks.close()


@pytest.mark.parametrize("deposed", [False, True])
async def test_only_the_leader_of_this_term_publishes(bench: Bench, deposed: bool) -> None:
    target = MemoryTarget()
    stage = Stage(bench, target)
    stage.commit("shop")
    if deposed:
        stage.raft.elect("n2")
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    assert bool(target.asked) is not deposed
    await stage.tasks.close()
