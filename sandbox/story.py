"""What happened in a failover, told for people: pure text from recorded facts.

All times are milliseconds after the event that started it (the kill). Marks come from the replicated record of the
recovery, the outage from the writer's own log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORDS = {
    "asked for": "asked for by a person",
    "noticed": "noticed: the primary does not answer",
    "confirmed": "confirmed: its replicas and the other nodes agree",
    "claimed": "claimed: the recovery lease is committed in Raft",
    "waiting": "waiting for a replica that may hold an acknowledged write",
    "chosen": "chosen: the successor is committed before anything is promoted",
    "caught up": "caught up",
    "demoted": "demoted: the old primary refuses writes",
    "promoted": "promoted: the new primary takes writes",
    "repointed": "repointed: every other replica follows it",
    "resumed": "resumed by a new leader",
    "left behind": "left behind for now",
    "succeeded": "done",
    "fenced": "the old primary is back and was fenced first",
    "compared": "its transactions were compared with the cluster's",
    "rejoined": "rejoined: it replicates from the new primary",
    "quarantined": "quarantined: it holds transactions nobody was promised",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """One moment of the story."""

    name: str
    after_ms: int
    text: str = ""


def marks(recovery: Mapping[str, Any], zero_ms: int) -> list[Mark]:
    """A recovery's timeline, counted from ``zero_ms`` (wall clock), less its phases, which are no news."""
    found = (each for each in recovery["timeline"] if each["name"] != "phase")
    return [Mark(each["name"], int(each["at_ms"]) - zero_ms, str(each["text"])) for each in found]


def timeline(found: Sequence[Mark]) -> str:
    """The marks as a table: milliseconds, what happened, where."""
    lines = []
    for mark in found:
        words = WORDS.get(mark.name, mark.name)
        lines.append(f"  {mark.after_ms:>7} ms  {words}{f'  [{mark.text}]' if mark.text else ''}")
    return "\n".join(lines)


def after_ms(found: Sequence[Mark], name: str) -> int | None:
    """When the first mark of this name was set."""
    return next((mark.after_ms for mark in found if mark.name == name), None)
