"""A set too long for a record is kept in fewer words that say the same; where that cannot be, it ends and says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import Facts
from orchestrator_raft.core.recovery import dead_primary, losses, takeover, undo
from orchestrator_raft.core.recovery.losses import TARGET_RECORDED_MAX, target_text, without_common
from orchestrator_raft.core.recovery.model import SHORTENED_TEXT_MAX, TEXT_MAX, EndState, RefusedServer
from tests.recovery.harness import Story, interruptions
from tests.recovery.stories import PERSON, STORIES, star

PIECES = "P:" + ":".join(str(number) for number in range(1, 30_000, 2))
USERS = (dead_primary, takeover, undo)


def always_short(target: GtidSet | None, compared: Iterable[Facts | None]) -> str | None:
    return str(without_common(target, compared)) if target is not None else ""


def in_pieces(kind: str) -> Story:
    """Everybody's set has 15,000 pieces, and R1 has one transaction more than the others."""
    change = (f"P,R1,R2,R3 has={PIECES}", f"R1 has={PIECES}:30000")
    if kind == "takeover":
        return Story("takeover", star(""), kind=kind, change=change[:1], request=PERSON, promise=False)
    return Story("dead primary", star(""), change=(*change, "P dead"), promise=False)


@pytest.mark.parametrize("kind", ["dead_primary", "takeover"])
def test_sets_in_many_pieces_are_recorded_without_what_everybody_has(kind: str) -> None:
    run = in_pieces(kind).begin()
    run.claim()
    recovery = run.play()
    assert recovery.end is EndState.SUCCEEDED, recovery.errors
    assert len(recovery.target_gtids) < 200
    run.settle()
    run.check(recovery)
    if kind == "dead_primary":
        assert recovery.successor == run.fleet["R1"].key
        assert run.world.said(recovery.target_gtids) == "P:30000"


def test_a_set_that_is_too_long_even_so_has_no_text() -> None:
    run = in_pieces("takeover").begin()
    facts = run.manager.topology.server(run.fleet["R1"].key).fresh
    assert facts is not None and facts.executed is not None
    assert len(str(facts.executed)) > TARGET_RECORDED_MAX
    assert target_text(facts.executed, ()) is None
    assert target_text(facts.executed, (facts,)) == ""
    assert target_text(None, ()) == ""


@pytest.mark.parametrize("kind", ["dead_primary", "takeover"])
def test_where_nothing_can_be_recorded_it_ends_and_says_why(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "TARGET_RECORDED_MAX", -1)
    run = in_pieces(kind).begin()
    run.claim()
    recovery = run.play()
    assert recovery.end is (EndState.UNDONE if kind == "takeover" else EndState.FAILED)
    assert "in too many pieces to be recorded" in " ".join(recovery.errors)
    run.settle()
    run.check(recovery)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_the_short_form_says_the_same(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in USERS:
        monkeypatch.setattr(module, "target_text", always_short)
    for name, arm in list(interruptions(story))[::4]:
        run = story.begin()
        run.claim()
        arm(run)
        try:
            recovery = run.play()
            run.settle()
            run.check(recovery)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}\n" + "\n".join(run.said)) from error


def test_what_is_cut_down_keeps_its_meaning_and_loses_its_words() -> None:
    run = STORIES[0].begin()
    run.claim()
    recovery = run.manager.state.recoveries["r1"]
    key = run.fleet["R1"].key
    long = recovery.with_errors(tuple(f"{number}{'x' * 900}" for number in range(99))).marked("waiting", 1, "y" * 900)
    long = replace(long, refused=(RefusedServer(key, "z" * 9_000),), lost_gtids="u" * 9_000, successor=key)
    cut = long.cut_down()
    assert max(map(len, cut.errors)) == SHORTENED_TEXT_MAX
    assert max(len(mark.text) for mark in cut.timeline) == SHORTENED_TEXT_MAX
    assert [len(each.reason) for each in cut.refused] == [SHORTENED_TEXT_MAX]
    assert len(cut.lost_gtids) < TEXT_MAX + 10
    assert (cut.successor, cut.phase, cut.target_gtids) == (key, long.phase, long.target_gtids)
