"""What reaches the log, and what is kept for the status, however much somebody complains."""

from __future__ import annotations

import pytest

from orchestrator_raft.raft import complaints as module
from orchestrator_raft.raft.complaints import Complaints


class Hand:
    """A clock that is turned by hand."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def hand() -> Hand:
    return Hand()


def test_a_lasting_cause_is_told_once_a_minute(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    told = Complaints(hand)
    for _ in range(1000):
        told.note("b", "no answer in time")
        hand.now_s += 0.1
    assert 2 == caplog.text.count("no answer in time")
    assert "no answer in time" == told.about("b")
    told.settled("b")
    assert "" == told.about("b")


def test_alternating_causes_are_bounded_too_and_the_newest_is_kept(
    hand: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    told = Complaints(hand)
    for number in range(500):
        told.note("b", f"cause {number}")
    assert module.LINES_MAX == len(caplog.records)
    assert "cause 499" == told.about("b")
    hand.now_s += module.REPEAT_S
    told.note("b", "a later cause")
    assert "a later cause" in caplog.text


def test_all_strangers_together_get_a_few_lines_a_minute(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    told = Complaints(hand)
    for number in range(10_000):
        told.stranger(f"10.0.{number // 250}.{number % 250}", f"refused {number}")
    assert module.STRANGER_LINES_MAX == len(caplog.records)
    kept = told.refused()
    assert module.STRANGERS_KEPT == len(kept) and "refused 9999" == kept[-1].reason
    hand.now_s += module.REPEAT_S
    told.stranger("10.9.9.9", "refused later")
    left_out = 10_000 - module.STRANGER_LINES_MAX
    assert f"refused later ({left_out} like it were not logged)" in caplog.text


def test_strangers_are_forgotten_after_a_while(hand: Hand) -> None:
    told = Complaints(hand)
    told.stranger("10.0.0.1", "early")
    hand.now_s += module.STRANGER_KEPT_S / 2
    told.stranger("10.0.0.2", "late")
    assert ["early", "late"] == [each.reason for each in told.refused()]
    hand.now_s += module.STRANGER_KEPT_S / 2
    assert ["late"] == [each.reason for each in told.refused()]


def test_peers_without_number_do_not_fill_memory(hand: Hand) -> None:
    told = Complaints(hand)
    for number in range(10 * module.SUBJECTS_MAX):
        told.note(f"peer {number}", "x")
    assert module.SUBJECTS_MAX >= len(told._told)
