"""Sets of positive numbers as half-open intervals: the arithmetic under both families of GTID sets.

Theory
- ``Intervals`` is a tuple of ``(start, stop)`` pairs, ``stop`` not included. It is *canonical*: sorted, no pair empty,
  no two pairs overlap or touch. So equal sets are equal tuples, and a stretch without a gap is exactly one pair.
- Every function takes canonical tuples and returns one (only ``merged`` takes any pairs), and walks both from left to
  right once. Cost depends on the number of intervals, never on how many numbers they hold: 10^12 transactions in one
  interval cost as much as one.
- Nothing here knows what the numbers count.
"""

from __future__ import annotations

from collections.abc import Iterable

Interval = tuple[int, int]
Intervals = tuple[Interval, ...]


def merged(pairs: Iterable[Interval]) -> Intervals:
    """Pairs in any order, overlapping, touching or empty, as one canonical tuple."""
    joined: list[Interval] = []
    end = -1
    for start, stop in sorted(pairs):
        if stop <= start:
            continue
        if start > end:
            joined.append((start, stop))
            end = stop
        elif stop > end:
            joined[-1] = (joined[-1][0], stop)
            end = stop
    return tuple(joined)


def minus(left: Intervals, right: Intervals) -> Intervals:
    """Numbers in ``left`` that are not in ``right``."""
    remaining: list[Interval] = []
    position = 0
    for start, stop in left:
        while position < len(right) and right[position][1] <= start:
            position += 1
        cut = position
        while cut < len(right) and right[cut][0] < stop:
            if start < right[cut][0]:
                remaining.append((start, right[cut][0]))
            start = right[cut][1]
            cut += 1
        if start < stop:
            remaining.append((start, stop))
    return tuple(remaining)


def intersection(left: Intervals, right: Intervals) -> Intervals:
    """Numbers in both."""
    i = j = 0
    shared: list[Interval] = []
    while i < len(left) and j < len(right):
        start = max(left[i][0], right[j][0])
        stop = min(left[i][1], right[j][1])
        if start < stop:
            shared.append((start, stop))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(shared)


def covers(left: Intervals, right: Intervals) -> bool:
    """Whether every number of ``right`` is in ``left``; canonical pairs never touch, so one pair has to hold each."""
    position = 0
    for start, stop in right:
        while position < len(left) and left[position][1] < stop:
            position += 1
        if position == len(left) or left[position][0] > start:
            return False
    return True


def count(intervals: Intervals) -> int:
    """How many numbers there are."""
    return sum(stop - start for start, stop in intervals)
