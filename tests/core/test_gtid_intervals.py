"""Interval arithmetic against Python sets, on every pair of subsets of a small range."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from orchestrator_raft.core.gtid import intervals, numbers

NUMBERS = range(1, 7)
SUBSETS = [frozenset(chosen) for size in range(7) for chosen in combinations(NUMBERS, size)]


def canonical(members: frozenset[int]) -> intervals.Intervals:
    """Stretches without a gap, found by looking at each number in turn."""
    starts = [number for number in range(8) if number in members and number - 1 not in members]
    stops = [number for number in range(9) if number not in members and number - 1 in members]
    return tuple(zip(starts, stops, strict=True))


def test_every_pair_of_subsets_gives_what_python_sets_give() -> None:
    written = {subset: canonical(subset) for subset in SUBSETS}
    for left, left_intervals in written.items():
        for right, right_intervals in written.items():
            assert written[left - right] == intervals.minus(left_intervals, right_intervals)
            assert written[left & right] == intervals.intersection(left_intervals, right_intervals)
            assert (left >= right) == intervals.covers(left_intervals, right_intervals)


def test_every_pair_of_subsets_gives_the_same_in_two_parts() -> None:
    """Closed parts that are the same object, equal ones and different ones: ``canonical`` makes a new one each time."""
    shared = {subset: numbers.numbers_of(canonical(subset)) for subset in SUBSETS}
    for left, one in shared.items():
        for right in SUBSETS:
            for other in (shared[right], numbers.numbers_of(canonical(right))):
                if one is None or other is None:
                    continue
                assert canonical(left | right) == numbers.intervals_of(numbers.union(one, other))
                assert canonical(left - right) == numbers.intervals_of(numbers.minus(one, other))
                assert canonical(left & right) == numbers.intervals_of(numbers.intersection(one, other))
                assert (left >= right) == numbers.covers(one, other)


def test_every_subset_is_counted() -> None:
    assert [len(subset) for subset in SUBSETS] == [intervals.count(canonical(subset)) for subset in SUBSETS]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], ()),
        ([(3, 3), (5, 4)], ()),
        ([(1, 2), (2, 3)], ((1, 3),)),
        ([(1, 2), (3, 4)], ((1, 2), (3, 4))),
        ([(5, 9), (1, 3)], ((1, 3), (5, 9))),
        ([(1, 10), (2, 3), (4, 5)], ((1, 10),)),
        ([(1, 4), (1, 4), (2, 6)], ((1, 6),)),
        ([(1, 2), (0, 0), (2, 2), (2, 5)], ((1, 5),)),
    ],
)
def test_pairs_in_any_order_become_canonical(pairs: list[intervals.Interval], expected: intervals.Intervals) -> None:
    every_order = chain.from_iterable(
        (pairs[turn:] + pairs[:turn], pairs[turn:][::-1] + pairs[:turn]) for turn in NUMBERS
    )
    for order in every_order:
        assert expected == intervals.merged(order)
