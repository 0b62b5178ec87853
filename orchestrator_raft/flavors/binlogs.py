"""Reading single transactions out of binary logs with the server's own client program, by dialect; text only.

Theory. The program connects like a replica and writes SQL that a person can read and apply. MySQL's takes a set of
GTIDs to include, from whichever log they begin in; MariaDB's takes the last transaction before (exclusive) and the last
one wanted (inclusive) of each domain, and the server finds the log itself. The transactions that have come are read off
the program's own comments, so a purged log is noticed: then some are missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator_raft.core.gtid import GtidSet, parse_mysql
from orchestrator_raft.core.instance import Flavor, InstanceKey
from orchestrator_raft.core.recovery.salvage import Salvage

LIST_LOGS = "SHOW BINARY LOGS"
LOGS_READ_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What differs between the two programs."""

    title: str
    options: Callable[[Salvage], tuple[str, ...]]
    seen: re.Pattern[bytes]
    """The first group of a line that begins a transaction is its GTID."""
    how_to_apply: tuple[str, ...]
    """Lines for the head of the file; {file} is its path."""


def _mysql_options(wanted: Salvage) -> tuple[str, ...]:
    return (f"--include-gtids={wanted.extra}", "--get-server-public-key")


def _mariadb_options(wanted: Salvage) -> tuple[str, ...]:
    before, last = _newest(wanted.common), _newest(wanted.extra)
    start = (f"--start-position={before}",) if before else ()
    return (*start, f"--stop-position={last}")


def _newest(gtids: GtidSet) -> str:
    """A MariaDB position: the newest transaction of each domain."""
    newest: dict[int, tuple[int, int]] = {}
    for (domain_id, server_id), intervals in gtids.lines:
        number = intervals[-1][1] - 1
        newest[domain_id] = max(newest.get(domain_id, (0, 0)), (number, server_id))
    return ",".join(f"{domain}-{server}-{number}" for domain, (number, server) in sorted(newest.items()))


READERS: dict[Flavor, Reader] = {
    Flavor.MYSQL: Reader(
        title="MySQL's mysqlbinlog",
        options=_mysql_options,
        seen=re.compile(rb"^SET @@SESSION\.GTID_NEXT= '([0-9a-fA-F-]{36}(?::\w+)?:\d+)'"),
        how_to_apply=(
            "read it, then, on the primary, if these transactions are wanted:  mysql --host=PRIMARY < {file}",
            "They keep their GTIDs. Once the primary has all of them, the server comes back as a replica by itself.",
        ),
    ),
    Flavor.MARIADB: Reader(
        title="MariaDB's mariadb-binlog",
        options=_mariadb_options,
        seen=re.compile(rb"^#\d{6}\s.*\tGTID (\d+-\d+-\d+)\b"),
        how_to_apply=(
            "read it, then, on the primary, if these transactions are wanted:",
            r"  sed -E '/SET @@session\.(gtid_domain_id|server_id|gtid_seq_no)=/d' {file} | mariadb --host=PRIMARY",
            "They get GTIDs of the primary. The server itself stays kept out until it is rebuilt.",
        ),
    ),
}


def arguments(wanted: Salvage, first_log: str) -> tuple[str, ...]:
    """Command line after the program and its option file; no secrets."""
    return (
        "--read-from-remote-server", f"--host={wanted.key.hostname}", f"--port={wanted.key.port}", "--verbose",
        *READERS[wanted.flavor].options(wanted), "--to-last-log", first_log,
    )  # fmt: skip


def header(wanted: Salvage, path: str) -> str:
    """The head of the file, as SQL comments."""
    said = (f"Transactions that only {wanted.key} has: {wanted.extra}", *READERS[wanted.flavor].how_to_apply)
    return "".join(f"-- {line}\n" for line in (text.replace("{file}", path) for text in said))


def previous_gtids(log: str) -> str:
    """The statement whose rows show what had been executed before this log began (MySQL)."""
    return f"SHOW BINLOG EVENTS IN '{log}' LIMIT 3"


def begins_before(rows: Sequence[dict[str, object]], extra: GtidSet) -> bool:
    """Whether the log of these rows was begun before the first of the wanted transactions."""
    told = [str(row["Info"]) for row in rows if row["Event_type"] == "Previous_gtids"]
    return bool(told) and parse_mysql(told[0]).intersection(extra).is_empty


def missing(extra: GtidSet, seen: GtidSet) -> GtidSet:
    """What was wanted and has not come. On MariaDB the newest of a pair stands for those before it."""
    return extra.minus(seen)


def file_name(key: InstanceKey) -> str:
    """A server as the name of a file."""
    return re.sub(r"[^\w.-]", "_", f"{key.hostname}-{key.port}")
