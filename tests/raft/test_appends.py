"""A follower's log after any appends is what Raft says, and the library is never shown more than that needs."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_raft.raft.appends import Answer, Append, Diverged, Entry, heartbeat, plan


@dataclass
class Log:
    """Terms of the entries from ``first`` on."""

    terms: list[int] = field(default_factory=lambda: [0])
    first: int = 1

    @property
    def first_index(self) -> int:
        return self.first

    @property
    def last_index(self) -> int:
        return self.first + len(self.terms) - 1

    def term_at(self, index: int) -> int:
        assert self.first <= index <= self.last_index
        return self.terms[index - self.first]

    def show(self, shown: Append) -> None:
        """What PySyncObj does with an append: cut behind the previous entry, then add."""
        assert self.term_at(shown.prev_index) == shown.prev_term
        del self.terms[shown.prev_index - self.first + 1 :]
        self.terms += [entry[2] for entry in shown.entries]


def entries(prev_index: int, terms: list[int]) -> tuple[Entry, ...]:
    return tuple((b"x", prev_index + 1 + number, term) for number, term in enumerate(terms))


def append(prev_index: int, prev_term: int, terms: list[int], commit_index: int = 0) -> Append:
    return Append(prev_index, prev_term, entries(prev_index, terms), commit_index)


def test_new_entries_are_added_and_proven() -> None:
    planned = plan(Log([0, 1]), 1, append(2, 1, [1, 1], 9))
    assert (append(2, 1, [1, 1], 4), Answer(5, success=True)) == (planned.shown, planned.answer)


def test_a_late_append_takes_nothing_away() -> None:
    planned = plan(Log([0, 1, 1, 1]), 1, append(1, 0, [1], 9))
    assert append(4, 1, [], 2) == planned.shown
    assert Answer(3, success=True) == planned.answer


def test_only_the_part_that_differs_is_replaced() -> None:
    planned = plan(Log([0, 1, 1, 1]), 2, append(1, 0, [1, 2, 2], 2))
    assert append(2, 1, [2, 2], 2) == planned.shown


def test_a_gap_asks_for_what_is_missing() -> None:
    planned = plan(Log([0, 1]), 1, append(5, 1, [1], 5))
    assert (append(2, 1, []), Answer(3, success=False)) == (planned.shown, planned.answer)


def test_a_conflict_cuts_at_once_all_that_the_terms_prove_different() -> None:
    planned = plan(Log([0, 1, 4, 4, 4]), 2, append(5, 3, [5]))
    assert (append(2, 1, []), Answer(3, success=False)) == (planned.shown, planned.answer)


def test_what_the_snapshot_covers_is_skipped() -> None:
    planned = plan(Log([2, 2, 2], first=10), 11, append(5, 1, [1, 1, 1, 1, 2, 2, 2, 2], 13))
    assert append(12, 2, [2], 13) == planned.shown
    old = plan(Log([2, 2], first=10), 11, append(5, 1, [1, 1]))
    assert Answer(8, success=True) == old.answer


@pytest.mark.parametrize("asked", [append(1, 0, [2]), append(2, 2, [2]), append(3, 2, [2])])
def test_committed_entries_are_never_replaced(asked: Append) -> None:
    with pytest.raises(Diverged):
        plan(Log([0, 1, 1]), 3, asked)


def test_a_heartbeat_changes_nothing() -> None:
    assert append(3, 1, []) == heartbeat(Log([0, 1, 1]))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """A leader's log and a follower's that share a committed beginning and differ behind as Raft lets them."""
    rising = st.lists(st.integers(1, 3), min_size=0, max_size=6).map(sorted)
    shared = [0, *draw(rising)]
    top = shared[-1]
    leader_terms = draw(st.lists(st.integers(top, top + 2), max_size=6).map(sorted))
    follower_terms = draw(st.lists(st.integers(top, top + 2), max_size=6).map(sorted))
    leader, follower = shared + leader_terms, shared + follower_terms
    committed = draw(st.integers(1, len(shared)))
    return leader, only_raft(leader, follower), committed


def only_raft(leader: list[int], follower: list[int]) -> list[int]:
    """Equal index and term means equal beginnings: cut the follower where it would break that."""
    differs = False
    kept: list[int] = []
    for index, term in enumerate(follower):
        same = index < len(leader) and leader[index] == term
        if differs and same:
            break
        differs = differs or not same
        kept.append(term)
    return kept


@given(histories(), st.data())
def test_any_appends_in_any_order_lead_to_the_leaders_log(history: tuple[list[int], list[int], int], data: st.DataObject) -> None:  # fmt: skip  # noqa: E501
    leader, follower, committed = history
    log = Log(list(follower))
    matched = 0
    for _ in range(data.draw(st.integers(1, 12))):
        prev = data.draw(st.integers(1, len(leader)))
        count = data.draw(st.integers(0, len(leader) - prev))
        asked = append(prev, leader[prev - 1], leader[prev : prev + count], data.draw(st.integers(1, committed)))
        planned = plan(log, committed, asked)
        log.show(planned.shown)
        if planned.answer.success:
            matched = max(matched, planned.answer.next_index - 1)
        assert log.terms[:matched] == leader[:matched], "what was acknowledged is gone"
        assert log.terms[:committed] == leader[:committed]
        assert planned.shown.commit_index <= log.last_index
    wanted = log.last_index + 1
    for _ in range(20):
        prev = min(wanted, len(leader) + 1) - 1
        answer_to = plan(log, committed, append(prev, leader[prev - 1], leader[prev:]))
        log.show(answer_to.shown)
        wanted = answer_to.answer.next_index
    assert log.terms[: len(leader)] == leader
