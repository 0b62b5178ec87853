"""GTID sets as values: the algebra that says which server has which transactions.

Every decision about loss, divergence and the best replica is a comparison of these sets (design D3, D4, D10), so this
package stays small, pure and checked against a deliberately plain model.

Theory
- A set is a sorted tuple of keys and the numbers that are *held* of each. What a key is, is all that separates the
  families: (UUID, tag) on MySQL, (domain, server id) on MariaDB. The algebra knows no more.
- A *source* is the origin that a key names: the UUID with all its tags, or the pair of domain and server id.
- Values are canonical, immutable and hashable. Equal sets are equal values whatever text they came from, as long as
  they are made by the parsers and the algebra; nobody else fills in ``held``.
- Two sets that are compared have most of their sources in common, and the same numbers of those. That costs least.
- The families never mix: comparing a MySQL set with a MariaDB set is a mistake in the program, hence ValueError. Text
  that comes from outside and is wrong is InvalidInput.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.gtid import intervals, numbers
from orchestrator_raft.core.gtid.intervals import Interval, Intervals
from orchestrator_raft.core.gtid.numbers import Numbers, intervals_of, numbers_of

Family = Literal["mysql", "mariadb"]
BLANK = " \t\n\r\v\f"
"""What both servers take for white space; ``\\s`` of an ASCII expression means the same."""

PARSED_TEXTS_MAX = 256
"""Texts that each parser remembers. Large sets of quiet servers come again with every probe; a small one is parsed in
microseconds anyway, and a set of 1,000 intervals weighs 150 KB, so this bounds the memory rather than the work."""


class DomainServer(NamedTuple):
    """Source of MariaDB transactions: who wrote (server id) in which stream (domain)."""

    domain_id: int
    server_id: int


Key = tuple[Any, Any]
"""(UUID, tag) as texts on MySQL, a DomainServer on MariaDB; only ever compared within one family."""
Source = str | DomainServer
Held = tuple[Key, Numbers]


@dataclass(frozen=True, slots=True, repr=False)
class GtidSet(ABC):
    """An immutable set of transactions. Made by ``parse_mysql``, ``parse_mariadb`` and the algebra."""

    held: tuple[Held, ...] = ()

    family: ClassVar[Family]
    count_is_exact: ClassVar[bool]
    """False where numbers that no transaction ever had are counted too (MariaDB; see there)."""

    @abstractmethod
    def __str__(self) -> str:
        """The canonical text; parsing it gives an equal set."""

    @staticmethod
    @abstractmethod
    def source_of(key: Key) -> Source:
        """The source that this key names."""

    @staticmethod
    @abstractmethod
    def canonical_source(source: Source) -> Source:
        """The source as this family writes it. Raises ValueError for a source of the other family."""

    @abstractmethod
    def sources_of_server(self, *, server_uuid: str, server_id: int) -> frozenset[Source]:
        """Those sources of this set that are this one server, by whichever of the two the family goes by."""

    @property
    def lines(self) -> tuple[tuple[Key, Intervals], ...]:
        """Each key with all of its intervals, for readers."""
        return tuple((key, intervals_of(each)) for key, each in self.held)

    def union(self, other: GtidSet) -> GtidSet:
        """Transactions in either set."""
        self._require_same_family(other)
        if not self.held or not other.held:
            return self if self.held else other
        together = dict(self.held)
        for key, theirs in other.held:
            mine = together.get(key)
            if mine is not theirs:
                together[key] = theirs if mine is None else numbers.union(mine, theirs)
        ordered = together.items() if len(together) == len(self.held) else sorted(together.items())
        return type(self)(tuple(ordered))

    def minus(self, other: GtidSet) -> GtidSet:
        """Transactions of this set that the other does not have."""
        self._require_same_family(other)
        known = dict(other.held)
        remaining: list[Held] = []
        for key, mine in self.held:
            theirs = known.get(key)
            if mine is not theirs and (left := mine if theirs is None else numbers.minus(mine, theirs)) is not None:
                remaining.append((key, left))
        return type(self)(tuple(remaining))

    def intersection(self, other: GtidSet) -> GtidSet:
        """Transactions in both sets."""
        self._require_same_family(other)
        known = dict(other.held)
        shared: list[Held] = []
        for key, mine in self.held:
            theirs = known.get(key)
            if theirs is not None and (both := numbers.intersection(mine, theirs)) is not None:
                shared.append((key, both))
        return type(self)(tuple(shared))

    def covers(self, other: GtidSet) -> bool:
        """Whether this set has every transaction of the other, so is equal to it or more."""
        self._require_same_family(other)
        known = dict(self.held)
        for key, theirs in other.held:
            mine = known.get(key)
            if mine is not theirs and (mine is None or not numbers.covers(mine, theirs)):
                return False
        return True

    @property
    def is_empty(self) -> bool:
        return not self.held

    def __bool__(self) -> bool:
        return bool(self.held)

    def count(self) -> int:
        """How many transactions; no more than this many where ``count_is_exact`` is false."""
        return sum(intervals.count(each) for _, each in self.lines)

    def sources(self) -> frozenset[Source]:
        """Everybody who wrote some of it: UUIDs (lower-case), or pairs of domain and server id."""
        return frozenset(self.source_of(key) for key, _ in self.held)

    def only_from(self, sources: AbstractSet[Source]) -> GtidSet:
        """The part that these sources wrote. UUIDs match in any letter case."""
        return self._select(sources, wanted=True)

    def following(self, other: GtidSet) -> GtidSet:
        """What comes after all that the other has of the same key; a key that has anything before that is left out."""
        self._require_same_family(other)
        ends = {key: stop for key, (_, (_, stop)) in other.held}
        return type(self)(tuple(each for each in self.held if intervals_of(each[1])[0][0] >= ends.get(each[0], 0)))

    def without_sources(self, sources: AbstractSet[Source]) -> GtidSet:
        """The part that none of these sources wrote. UUIDs match in any letter case."""
        return self._select(sources, wanted=False)

    def describe(self, limit: int = 200) -> str:
        """For messages: how many transactions and which, in ``limit`` characters. No range is cut in half.

        What does not fit is counted ("and 3 more ranges"); at least one range is named, even if that is longer.
        """
        if not self.held:
            return "no transactions"
        ranges = sum(len(each) for _, each in self.lines)
        whole = self._naming(ranges, ranges)
        if len(whole) <= limit:
            return whole
        fitting = bisect_right(range(1, ranges), limit, key=lambda shown: len(self._naming(shown, ranges)))
        return self._naming(max(1, fitting), ranges)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def _naming(self, shown: int, ranges: int) -> str:
        total, hidden = self.count(), ranges - shown
        amount = f"{'' if self.count_is_exact else 'at most '}{total:,} transaction{'' if total == 1 else 's'}"
        more = f" and {hidden:,} more range{'' if hidden == 1 else 's'}" if hidden > 0 else ""
        return f"{amount}: {self._first_ranges(shown)}{more}"

    def _first_ranges(self, shown: int) -> GtidSet:
        kept: list[Held] = []
        for key, each in self.lines:
            if (first := numbers_of(each[:shown])) is None:
                break
            kept.append((key, first))
            shown -= len(each[:shown])
        return type(self)(tuple(kept))

    def _select(self, sources: AbstractSet[Source], *, wanted: bool) -> GtidSet:
        named = {self.canonical_source(source) for source in sources}
        return type(self)(tuple(each for each in self.held if (self.source_of(each[0]) in named) is wanted))

    def _require_same_family(self, other: GtidSet) -> None:
        if self.family != other.family:
            raise ValueError(
                f"a {self.family} GTID set cannot be compared with a {other.family} one: {self!r}, {other!r}"
            )


def canonical(pieces: Mapping[Key, Sequence[Interval]]) -> tuple[Held, ...]:
    """What a parser collected, as what a set holds."""
    each = ((key, numbers_of(intervals.merged(pairs))) for key, pairs in pieces.items())
    return tuple(sorted((key, known) for key, known in each if known is not None))


def malformed(family_name: str, text: str, reason: str) -> InvalidInput:
    """The error for text that is no GTID set; shows the text, shortened, on one line."""
    return InvalidInput(f"'{shortened(text)}' is no {family_name} GTID set: {reason}")


def shortened(text: str, length_max: int = 80) -> str:
    """The text on one line, its middle left out where it is longer than ``length_max`` characters."""
    line = " ".join(text.split())
    half = (length_max - 3) // 2
    return line if len(line) <= length_max else f"{line[:half]}...{line[-half:]}"
