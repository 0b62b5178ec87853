"""What people ask the publishing for: force counts once, for one record, while somebody waits; silence is no answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from orchestrator_raft.core.errors import Unavailable
from orchestrator_raft.core.replicated.publications import Published
from orchestrator_raft.core.replicated.state import Publication
from orchestrator_raft.engine.publishing import BACK_OFF_MAX_S, COMPARE_S, Standing
from tests.engine.bench import R1, R2, Bench
from tests.engine.test_publishing import A_MOMENT_S, MemoryTarget, Stage

LONG_S = 2 * (BACK_OFF_MAX_S + COMPARE_S)


def newer(record: Publication) -> Publication:
    """What another manager wrote."""
    return replace(record, generation=99, primary=R2)


async def test_a_force_that_is_asked_for_during_a_round_counts_in_the_next_one(bench: Bench) -> None:
    target = MemoryTarget()
    target.gate = asyncio.Event()
    stage = Stage(bench, target)
    ours = stage.commit("shop")
    target.has["shop"] = newer(ours)
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    asked = stage.tasks.start("ask", stage.publishing.submit(("shop",), forced=True, timeout_s=5.0))
    await asyncio.sleep(A_MOMENT_S)
    target.gate.set()
    assert await asked == ()
    assert target.has["shop"] == ours
    await stage.tasks.close()


async def test_a_round_under_way_does_not_use_up_a_force(bench: Bench) -> None:
    class Overwritten(MemoryTarget):
        async def publish(self, published: Published, **more: object) -> bool:
            changed = await super().publish(published, **more)  # type: ignore[arg-type]
            if len(self.asked) == 1:
                self.has["shop"] = newer(published.record)
            return changed

    target = Overwritten()
    target.gate = asyncio.Event()
    stage = Stage(bench, target)
    ours = stage.commit("shop")
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    asked = stage.tasks.start("ask", stage.publishing.submit(("shop",), forced=True, timeout_s=5.0))
    await asyncio.sleep(A_MOMENT_S)
    target.gate.set()
    assert await asked == ()
    assert target.has["shop"] == ours
    await stage.tasks.close()


async def test_a_force_ends_when_nobody_waits_for_it_any_more(bench: Bench) -> None:
    target = MemoryTarget()
    target.error = Unavailable("it does not answer")
    stage = Stage(bench, target)
    theirs = newer(stage.commit("shop"))
    stage.publishing.start()
    assert await stage.publishing.submit(("shop",), forced=True, timeout_s=5.0) == ("store: it does not answer",)
    await asyncio.sleep(5.0)
    target.has["shop"], target.error = theirs, None
    await asyncio.sleep(LONG_S)
    assert target.has["shop"] == theirs
    assert stage.standing("shop") == [Standing.REFUSED]
    await stage.tasks.close()


async def test_a_force_is_for_the_record_that_was_there_and_for_no_newer_one(bench: Bench) -> None:
    target = MemoryTarget()
    target.error = Unavailable("it does not answer")
    stage = Stage(bench, target)
    theirs = newer(stage.commit("shop"))
    stage.publishing.start()
    stage.tasks.start("ask", stage.publishing.submit(("shop",), forced=True, timeout_s=LONG_S))
    await asyncio.sleep(A_MOMENT_S)
    stage.commit("shop", R1)
    target.has["shop"], target.error = theirs, None
    await asyncio.sleep(LONG_S / 2)
    assert target.has["shop"] == theirs
    assert stage.standing("shop") == [Standing.REFUSED]
    await stage.tasks.close()


@pytest.mark.parametrize("hangs", [True, False])
async def test_what_was_not_tried_is_complained_of_although_it_was_right_before(bench: Bench, hangs: bool) -> None:
    target = MemoryTarget()
    stage = Stage(bench, target)
    stage.commit("shop")
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    assert stage.standing("shop") == [Standing.CURRENT]
    target.gate = asyncio.Event() if hangs else None
    target.error = Unavailable("it does not answer")
    stage.commit("newest")
    await asyncio.sleep(A_MOMENT_S)
    found = await stage.publishing.submit(("shop",), forced=False, timeout_s=3.0)
    assert found == (("store: waiting",) if hangs else ("store: it does not answer",))
    target.error = None
    (target.gate or asyncio.Event()).set()
    await asyncio.sleep(LONG_S)
    assert stage.publishing.complaints(("shop", "newest")) == ()
    await stage.tasks.close()


@pytest.mark.parametrize("error", [ValueError("no number: 'x'"), KeyError("port"), OSError("the socket is gone")])
async def test_an_error_that_no_target_should_raise_is_said_and_ends_nothing(bench: Bench, error: Exception) -> None:
    class Defective(MemoryTarget):
        broken = True

        async def publish(self, published: Published, **more: object) -> bool:
            if published.record.alias == "bad" and self.broken:
                raise error
            return await super().publish(published, **more)  # type: ignore[arg-type]

    target = Defective()
    stage = Stage(bench, target)
    stage.commit("shop")
    stage.commit("bad")
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    assert list(target.has) == ["shop"], "the record behind it goes on"
    assert stage.standing("bad") == [Standing.FAILED]
    (complaint,) = stage.publishing.complaints(("bad",))
    assert str(error) in complaint and type(error).__name__ in complaint
    assert complaint.removeprefix("store: ") in "".join(stage.audits())
    target.broken = False
    await asyncio.sleep(BACK_OFF_MAX_S)
    assert stage.publishing.complaints(("bad",)) == ()
    await stage.tasks.close()


async def test_a_line_that_has_ended_is_complained_of(bench: Bench) -> None:
    target = MemoryTarget()
    stage = Stage(bench, target)
    stage.commit("shop")
    stage.publishing.start()
    await asyncio.sleep(A_MOMENT_S)
    await stage.tasks.close()
    assert await stage.publishing.submit(("shop",), forced=False, timeout_s=3.0) == ("store: waiting",)
