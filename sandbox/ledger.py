"""What became of every write: the writer's log read back, outages measured, acknowledged rows looked for.

Pure but for ``compare``, which asks a server for its rows. The writer gives each attempt an id of its own and never
uses it again, so three outcomes are enough
- acknowledged: the server said OK; the row must be there for ever, whatever happens to servers later;
- refused: the server said no before committing; the row must not be there;
- unknown: no answer (connection lost, deadline passed); the row may be there or not, both are right.
Times are nanoseconds of the machine's monotonic clock, comparable among its processes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

OUTAGE_LEAST_S = 0.1
"""A gap between two acknowledged writes is an outage from here on, or if any attempt in between failed."""


class Outcome(Enum):
    """What the writer learned about one attempt."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One INSERT: its row's id, the server's port, begin and end."""

    id: int
    port: int
    start_ns: int
    end_ns: int
    outcome: Outcome
    error: str = ""


@dataclass(frozen=True, slots=True)
class Outage:
    """From the last acknowledged write to the next one; ``end_ns`` is None while writes are not back."""

    start_ns: int
    end_ns: int | None

    @property
    def duration_s(self) -> float | None:
        return None if self.end_ns is None else (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The log against the rows of one server."""

    acknowledged: int
    missing: tuple[int, ...]
    """Acknowledged, but not there: lost."""
    unknown_present: tuple[int, ...]
    """Nobody was promised these, and they are there."""
    refused_present: tuple[int, ...]
    """The server said no, and yet they are there."""


class Asked(Protocol):
    """What ``compare`` needs of a server."""

    def execute(self, statement: str) -> list[dict[str, Any]]: ...


def to_line(attempt: Attempt) -> str:
    """An attempt as one line of the log."""
    return json.dumps(asdict(attempt) | {"outcome": attempt.outcome.value}) + "\n"


def parse(text: str) -> list[Attempt]:
    """The attempts in a log; an unfinished last line (the writer still writes, or was killed) is left out."""
    whole = text[: text.rfind("\n") + 1]
    fields = (json.loads(line) for line in whole.splitlines())
    return [Attempt(**{**field, "outcome": Outcome(field["outcome"])}) for field in fields]


def read(log: Path) -> list[Attempt]:
    """The attempts in a log file; none if there is no file yet."""
    return parse(log.read_text()) if log.exists() else []


def ids(attempts: Iterable[Attempt], outcome: Outcome) -> list[int]:
    """The ids with that outcome, in order."""
    return [attempt.id for attempt in attempts if attempt.outcome is outcome]


def acknowledged(attempts: Iterable[Attempt]) -> list[int]:
    return ids(attempts, Outcome.ACKNOWLEDGED)


def missing(promised: Iterable[int], present: Collection[int]) -> list[int]:
    """The promised ids that are not there."""
    there = frozenset(present)
    return sorted(number for number in promised if number not in there)


def outages(attempts: Sequence[Attempt], least_s: float = OUTAGE_LEAST_S) -> list[Outage]:
    """The times without acknowledged writes, oldest first. Before the first acknowledged write there is none."""
    found: list[Outage] = []
    last_ns: int | None = None
    failed = False
    for attempt in attempts:
        if attempt.outcome is not Outcome.ACKNOWLEDGED:
            failed = True
            continue
        if last_ns is not None and (failed or attempt.end_ns - last_ns >= least_s * 1e9):
            found.append(Outage(last_ns, attempt.end_ns))
        last_ns, failed = attempt.end_ns, False
    if failed and last_ns is not None:
        found.append(Outage(last_ns, None))
    return found


def ports_in_order(attempts: Iterable[Attempt]) -> list[int]:
    """The servers that acknowledged, in order, repetitions left out: [22000, 22002] is one clean failover."""
    ports = (attempt.port for attempt in attempts if attempt.outcome is Outcome.ACKNOWLEDGED)
    return [port for port, _ in groupby(ports)]


def compare(attempts: Sequence[Attempt], server: Asked) -> Comparison:
    """Read ``app.ledger`` from a server and compare it with the log."""
    present = {row["id"] for row in server.execute("SELECT id FROM app.ledger")}
    promised = acknowledged(attempts)
    return Comparison(
        acknowledged=len(promised),
        missing=tuple(missing(promised, present)),
        unknown_present=tuple(sorted(present.intersection(ids(attempts, Outcome.UNKNOWN)))),
        refused_present=tuple(sorted(present.intersection(ids(attempts, Outcome.REFUSED)))),
    )
