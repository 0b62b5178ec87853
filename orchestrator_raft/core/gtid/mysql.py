"""GTID sets of MySQL and Percona Server, tags (8.3 and newer) included.

Theory
- A transaction is (UUID, tag, number), the tag possibly empty; a tag has numbers of its own: ``U:1`` and ``U:a:1`` are
  two transactions. The UUID alone says which server wrote it.
- Text: groups joined by commas; a group is ``UUID:item:item...``, an item a number, a range ``first-last`` or a tag; a
  tag holds for the items after it, up to the next tag or the end of the group. UUIDs and tags come in any letter case,
  items in any order and overlapping, the same UUID any number of times; white space is allowed around every token, and
  servers write a newline after each comma. Commas without a group between them are skipped, as the server does.
- Refused although the server reads it as nothing at all: a range that runs backwards, a UUID or a tag without a number.
  No server writes that; a person who did meant something, and we shall not guess what.
- Printed as the server prints it, without the newlines: UUIDs and tags lower-case and sorted, no tag first.
- A number goes from 1 to 2^63 - 2; the server refuses more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import ClassVar

from orchestrator_raft.core.gtid.gtid_set import (
    BLANK,
    PARSED_TEXTS_MAX,
    Family,
    GtidSet,
    Held,
    Key,
    Source,
    canonical,
    malformed,
    shortened,
)
from orchestrator_raft.core.gtid.intervals import Interval, Intervals
from orchestrator_raft.core.gtid.numbers import Numbers, union

NUMBER_MAX = 2**63 - 2
PARSED_GROUPS_MAX = 16_384
GROUP_LENGTH_MAX = 2048
"""Groups that the parser remembers, and how long one may be. In a large set nearly all are of servers that write no
more, so the next probe brings the same texts again. An ordinary group weighs half a kilobyte, the largest 25."""

_UUID = re.compile(r"\s*([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s*", re.ASCII | re.IGNORECASE)
_RANGE = re.compile(r"\s*([0-9]{1,40})\s*(?:-\s*([0-9]{1,40})\s*)?", re.ASCII)
_TAG = re.compile(r"\s*([a-z_][a-z0-9_]{0,31})\s*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True, repr=False)
class MysqlGtidSet(GtidSet):
    """Transactions by (UUID, tag); its sources are UUIDs, so a UUID stands for all of its tags."""

    family: ClassVar[Family] = "mysql"
    count_is_exact: ClassVar[bool] = True

    def __str__(self) -> str:
        return ",".join(
            uuid + "".join(_line_text(tag, intervals) for (_, tag), intervals in lines)
            for uuid, lines in groupby(self.lines, key=lambda line: line[0][0])
        )

    @staticmethod
    def source_of(key: Key) -> Source:
        uuid: str = key[0]
        return uuid

    @staticmethod
    def canonical_source(source: Source) -> Source:
        if not isinstance(source, str):
            raise ValueError(f"{source} is no source of a MySQL GTID set; those are UUIDs")
        return source.lower()

    def sources_of_server(self, *, server_uuid: str, server_id: int) -> frozenset[Source]:
        return self.sources() & {server_uuid.lower()}


def parse_mysql(text: str) -> MysqlGtidSet:
    """The set that a server printed or a person wrote; empty text is the empty set.

    Raises InvalidInput for anything else, naming the first thing that is wrong in it.
    """
    return _parse(text)


@lru_cache(maxsize=PARSED_TEXTS_MAX)
def _parse(text: str) -> MysqlGtidSet:
    together: dict[Key, Numbers] = {}
    try:
        for group in text.split(","):
            if group.strip(BLANK):
                for key, numbers in (_remembered if len(group) <= GROUP_LENGTH_MAX else _held)(group):
                    known = together.get(key)
                    together[key] = numbers if known is None else union(known, numbers)
    except _Malformed as error:
        raise malformed("MySQL", text, f"{error} (write UUID:1-5:7, several joined by commas)") from error
    return MysqlGtidSet(tuple(sorted(together.items())))


class _Malformed(Exception):
    """What is wrong in a group."""


def _held(group: str) -> tuple[Held, ...]:
    pieces: dict[Key, list[Interval]] = {}
    for key, interval in _group(group):
        pieces.setdefault(key, []).append(interval)
    return canonical(pieces)


@lru_cache(maxsize=PARSED_GROUPS_MAX)
def _remembered(group: str) -> tuple[Held, ...]:
    """The same text gives the same tuples, which the algebra then need not look into."""
    return tuple((key, (_one_object(closed), newest)) for key, (closed, newest) in _held(group))


@lru_cache(maxsize=PARSED_GROUPS_MAX)
def _one_object(closed: Intervals) -> Intervals:
    """Of a source that writes only the newest interval changes; the others before it come out as the same tuple."""
    return closed


def _group(group: str) -> Iterator[tuple[Key, Interval]]:
    head, *items = group.split(":")
    match = _UUID.fullmatch(head)
    if match is None:
        raise _Malformed(f"'{shortened(head)}' is no UUID")
    uuid, tag = match[1].lower(), ""
    name_without_number = uuid
    for item in items:
        if match := _RANGE.fullmatch(item):
            yield (uuid, tag), _interval(match)
            name_without_number = ""
        elif match := _TAG.fullmatch(item):
            if tag and name_without_number:
                break
            name_without_number = tag = match[1].lower()
        else:
            raise _Malformed(f"'{shortened(item)}' is neither a transaction number, nor a range first-last, nor a tag")
    if name_without_number:
        raise _Malformed(f"no transaction number follows '{name_without_number}'")


def _interval(match: re.Match[str]) -> Interval:
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    if not 1 <= first <= last <= NUMBER_MAX:
        raise _Malformed(f"'{shortened(match[0])}' must run upwards between 1 and {NUMBER_MAX}")
    return first, last + 1


def _line_text(tag: str, intervals: Intervals) -> str:
    ranges = "".join(f":{first}" if stop == first + 1 else f":{first}-{stop - 1}" for first, stop in intervals)
    return f":{tag}{ranges}" if tag else ranges
