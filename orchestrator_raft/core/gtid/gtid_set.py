"""GTID sets as values: the algebra that says which server has which transactions.

Every decision about loss, divergence and the best replica is a comparison of these sets (design D3, D4, D10), so this
package stays small, pure and checked against a deliberately plain model.

Theory
- A set is a sorted tuple of *lines*: a key and the numbers that are held of it, as canonical intervals. What a key is,
  is all that separates the families: (UUID, tag) on MySQL, (domain, server id) on MariaDB. The algebra knows no more.
- A *source* is the origin that a key names: the UUID with all its tags, or the pair of domain and server id.
- Values are canonical, immutable and hashable. Equal sets are equal values whatever text they came from, as long as
  they are made by the parsers and the algebra; nobody else fills in ``lines``.
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
from orchestrator_raft.core.gtid import intervals as numbers
from orchestrator_raft.core.gtid.intervals import Interval, Intervals

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
Line = tuple[Key, Intervals]


@dataclass(frozen=True, slots=True, repr=False)
class GtidSet(ABC):
    """An immutable set of transactions. Made by ``parse_mysql``, ``parse_mariadb`` and the algebra."""

    lines: tuple[Line, ...] = ()

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

    def union(self, other: GtidSet) -> GtidSet:
        """Transactions in either set."""
        self._require_same_family(other)
        if not self.lines or not other.lines:
            return self if self.lines else other
        together = dict(self.lines)
        for key, theirs in other.lines:
            mine = together.get(key)
            if mine is not theirs:
                together[key] = theirs if mine is None else numbers.union(mine, theirs)
        ordered = together.items() if len(together) == len(self.lines) else sorted(together.items())
        return type(self)(tuple(ordered))

    def minus(self, other: GtidSet) -> GtidSet:
        """Transactions of this set that the other does not have."""
        self._require_same_family(other)
        theirs = dict(other.lines)
        ours = [line for line in self.lines if theirs.get(line[0]) is not line[1]]
        remaining = ((key, numbers.minus(mine, theirs.get(key, ()))) for key, mine in ours)
        return type(self)(tuple(line for line in remaining if line[1]))

    def intersection(self, other: GtidSet) -> GtidSet:
        """Transactions in both sets."""
        self._require_same_family(other)
        theirs = dict(other.lines)
        shared = ((key, numbers.intersection(mine, theirs.get(key, ()))) for key, mine in self.lines)
        return type(self)(tuple(line for line in shared if line[1]))

    def covers(self, other: GtidSet) -> bool:
        """Whether this set has every transaction of the other, so is equal to it or more."""
        self._require_same_family(other)
        mine = dict(self.lines)
        others = [line for line in other.lines if mine.get(line[0]) is not line[1]]
        return all(numbers.covers(mine.get(key, ()), theirs) for key, theirs in others)

    @property
    def is_empty(self) -> bool:
        return not self.lines

    def __bool__(self) -> bool:
        return bool(self.lines)

    def count(self) -> int:
        """How many transactions; no more than this many where ``count_is_exact`` is false."""
        return sum(numbers.count(intervals) for _, intervals in self.lines)

    def sources(self) -> frozenset[Source]:
        """Everybody who wrote some of it: UUIDs (lower-case), or pairs of domain and server id."""
        return frozenset(self.source_of(key) for key, _ in self.lines)

    def only_from(self, sources: AbstractSet[Source]) -> GtidSet:
        """The part that these sources wrote. UUIDs match in any letter case."""
        return self._select(sources, wanted=True)

    def without_sources(self, sources: AbstractSet[Source]) -> GtidSet:
        """The part that none of these sources wrote. UUIDs match in any letter case."""
        return self._select(sources, wanted=False)

    def describe(self, limit: int = 200) -> str:
        """For messages: how many transactions and which, in ``limit`` characters. No range is cut in half.

        What does not fit is counted ("and 3 more ranges"); at least one range is named, even if that is longer.
        """
        if not self.lines:
            return "no transactions"
        ranges = sum(len(intervals) for _, intervals in self.lines)
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
        kept: list[Line] = []
        for key, intervals in self.lines:
            if shown <= 0:
                break
            kept.append((key, intervals[:shown]))
            shown -= len(intervals)
        return type(self)(tuple(kept))

    def _select(self, sources: AbstractSet[Source], *, wanted: bool) -> GtidSet:
        named = {self.canonical_source(source) for source in sources}
        return type(self)(tuple(line for line in self.lines if (self.source_of(line[0]) in named) is wanted))

    def _require_same_family(self, other: GtidSet) -> None:
        if self.family != other.family:
            raise ValueError(
                f"a {self.family} GTID set cannot be compared with a {other.family} one: {self!r}, {other!r}"
            )


def canonical_lines(pieces: Mapping[Key, Sequence[Interval]]) -> tuple[Line, ...]:
    """What a parser collected, as the lines of a set."""
    lines = ((key, numbers.merged(pairs)) for key, pairs in pieces.items())
    return tuple(sorted(line for line in lines if line[1]))


def malformed(family_name: str, text: str, reason: str) -> InvalidInput:
    """The error for text that is no GTID set; shows the text, shortened, on one line."""
    return InvalidInput(f"'{shortened(text)}' is no {family_name} GTID set: {reason}")


def shortened(text: str, length_max: int = 80) -> str:
    """The text on one line, its middle left out where it is longer than ``length_max`` characters."""
    line = " ".join(text.split())
    half = (length_max - 3) // 2
    return line if len(line) <= length_max else f"{line[:half]}...{line[-half:]}"
