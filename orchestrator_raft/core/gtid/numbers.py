"""The numbers that are held of one source, in two parts: what stands still, and the newest interval, which grows.

A source that writes only makes its newest interval longer. So what two servers hold of it differs there and nowhere
else, nearly always: the *closed* intervals before it are equal, and as a rule the very same tuple, since the parsers
give equal ones as one object. Then two comparisons say all there is to say, however many intervals there are. Whatever
else is the case goes through ``intervals``, to the same result.

``Numbers`` is never empty: of a source of which nothing is held, nothing is said (None). It is canonical, as its
intervals are: equal sets are equal values.
"""

from __future__ import annotations

from orchestrator_raft.core.gtid import intervals
from orchestrator_raft.core.gtid.intervals import Interval, Intervals

Numbers = tuple[Intervals, Interval]
"""(closed intervals, newest interval)."""


def numbers_of(whole: Intervals) -> Numbers | None:
    """Canonical intervals as numbers; None if there are none."""
    return (whole[:-1], whole[-1]) if whole else None


def intervals_of(numbers: Numbers | None) -> Intervals:
    """All intervals, the newest last; none for None."""
    return (*numbers[0], numbers[1]) if numbers is not None else ()


def union(left: Numbers, right: Numbers) -> Numbers:
    """Numbers in either."""
    (closed, (start, stop)), (other_closed, (other_start, other_stop)) = left, right
    if start <= other_stop and other_start <= stop and _same(closed, other_closed):
        return closed, (min(start, other_start), max(stop, other_stop))
    joined = intervals.merged(intervals_of(left) + intervals_of(right))
    return joined[:-1], joined[-1]


def minus(left: Numbers, right: Numbers) -> Numbers | None:
    """Numbers in ``left`` that are not in ``right``."""
    (closed, (start, stop)), (other_closed, (other_start, other_stop)) = left, right
    if other_start <= start < other_stop and _same(closed, other_closed):
        return ((), (other_stop, stop)) if other_stop < stop else None
    return numbers_of(intervals.minus(intervals_of(left), intervals_of(right)))


def intersection(left: Numbers, right: Numbers) -> Numbers | None:
    """Numbers in both."""
    return numbers_of(intervals.intersection(intervals_of(left), intervals_of(right)))


def covers(left: Numbers, right: Numbers) -> bool:
    """Whether every number of ``right`` is in ``left``."""
    (closed, (start, stop)), (other_closed, (other_start, other_stop)) = left, right
    if start <= other_start and other_stop <= stop and _same(closed, other_closed):
        return True
    return intervals.covers(intervals_of(left), intervals_of(right))


def _same(closed: Intervals, other: Intervals) -> bool:
    return closed is other or closed == other
