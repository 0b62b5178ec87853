"""GTID sets of MariaDB: what @@gtid_binlog_state says, compared per pair of domain and server id (design D10).

Theory
- A transaction is domain-server-number (``0-1-42``). One server gives its own transactions of a domain rising numbers,
  and replication keeps the order within a domain, so a server that has ``0-1-42`` has every earlier transaction of the
  pair (0, 1) as well. Hence the highest number of a pair, which is what @@gtid_binlog_state lists, stands for all of
  the pair's history: the interval from 1 to it. Comparing intervals pair by pair compares histories.
- Why not by the domain's newest number (gtid_slave_pos, gtid_binlog_pos): after a failover both the old primary and its
  successor may have written number 101 in domain 0. By domain they look equal; as 0-1-101 and 0-2-101 neither covers
  the other, and the divergence is seen. Numbers of a pair have gaps where another server wrote; these phantom numbers
  are the same for everybody, so they change no comparison. They do count: ``count()`` is an upper bound.
- gtid_slave_pos and Gtid_IO_Pos have the same text form and are merged in with ``union``: having applied or received
  0-2-50 means having all of that pair up to 50. They name one transaction per domain, the newest; what another server
  wrote just before it is counted only once it is applied.
- What is conservative: history that a server cannot show counts as not held. After a restore from a backup, RESET
  MASTER or DELETE_DOMAIN_ID a server's data may hold transactions of pairs that its state no longer lists; it then does
  not cover a server that lists them, and looks behind or diverged until a person decides. It never looks as if it had
  more than it has, short of a position set by hand.
- What no comparison of positions can see: two servers with one server id, or one that was restored and wrote the same
  numbers again. Duplicate server ids are a problem of their own.
- Text: ``D-S-N`` joined by commas is 1 to N of the pair. Differences may begin elsewhere; they print, and parse again,
  as ``D-S-first..last``, which is ours: no server reads it. Number 0 (a server prints it for a position set by hand) is
  nothing. Printed sorted by pair; a server's own order within a domain, whose last entry is the newest, is not kept, so
  never set gtid_binlog_state from this text.
- Domain and server id are 32-bit, numbers 64-bit, all unsigned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.gtid.gtid_set import (
    BLANK,
    PARSED_TEXTS_MAX,
    DomainServer,
    Family,
    GtidSet,
    Key,
    Source,
    canonical,
    malformed,
    shortened,
)
from orchestrator_raft.core.gtid.intervals import Interval, Intervals

ID_MAX = 2**32 - 1
NUMBER_MAX = 2**64 - 1

_ENTRY = re.compile(r"\s*([0-9]{1,40})-([0-9]{1,40})-([0-9]{1,40})(?:\.\.([0-9]{1,40}))?\s*", re.ASCII)


@dataclass(frozen=True, slots=True, repr=False)
class MariadbGtidSet(GtidSet):
    """Transactions by (domain, server id), which are its sources too."""

    family: ClassVar[Family] = "mariadb"
    count_is_exact: ClassVar[bool] = False

    def __str__(self) -> str:
        return ",".join(entry for key, intervals in self.lines for entry in _entries(key, intervals))

    @staticmethod
    def source_of(key: Key) -> Source:
        return DomainServer(*key)

    @staticmethod
    def canonical_source(source: Source) -> Source:
        if isinstance(source, str):
            raise ValueError(f"'{source}' is no source of a MariaDB GTID set; those are pairs of domain and server id")
        return source

    def sources_of_server(self, *, server_uuid: str, server_id: int) -> frozenset[Source]:
        return frozenset(DomainServer(*key) for key, _ in self.held if key[1] == server_id)


def parse_mariadb(text: str) -> MariadbGtidSet:
    """A position as a server prints it, or a set as ``str`` prints it; empty text is the empty set.

    Raises InvalidInput for anything else, naming the first thing that is wrong in it.
    """
    return _parse(text)


@lru_cache(maxsize=PARSED_TEXTS_MAX)
def _parse(text: str) -> MariadbGtidSet:
    pieces: dict[Key, list[Interval]] = {}
    for entry in text.split(",") if text.strip(BLANK) else ():
        key, interval = _entry(entry, text)
        pieces.setdefault(key, []).append(interval)
    return MariadbGtidSet(canonical(pieces))


def _entry(entry: str, text: str) -> tuple[Key, Interval]:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise _malformed(text, f"'{shortened(entry)}' is not domain-server-number")
    domain_id, server_id, number = int(match[1]), int(match[2]), int(match[3])
    if max(domain_id, server_id) > ID_MAX:
        raise _malformed(text, f"a domain or server id in '{shortened(match[0])}' is greater than {ID_MAX}")
    first, last = (1, number) if match[4] is None else (number, int(match[4]))
    if last > NUMBER_MAX or (match[4] is not None and not 1 <= first <= last):
        raise _malformed(
            text, f"the numbers in '{shortened(match[0])}' must run upwards and end at {NUMBER_MAX} at most"
        )
    return DomainServer(domain_id, server_id), (first, last + 1)


def _entries(key: Key, intervals: Intervals) -> Iterator[str]:
    for first, stop in intervals:
        span = f"{stop - 1}" if first == 1 else f"{first}..{stop - 1}"
        yield f"{key[0]}-{key[1]}-{span}"


def _malformed(text: str, reason: str) -> InvalidInput:
    return malformed("MariaDB", text, f"{reason} (write 0-1-42, several joined by commas)")
