"""What clients and nodes have seen of a Raft cluster, and what must be true of it: pure, so that it can be tested.

Times are seconds of CLOCK_BOOTTIME, which is one clock for all processes of a machine.

Every check gives its violations as text. They are themselves tested: on made-up histories, and on clusters in which a
fault of the product is planted (``test_raft_checks.py``).
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

NEVER = float("inf")


@dataclass(slots=True)
class Command:
    """One command of a client, however often it was proposed."""

    id: str
    submitted_s: float
    acknowledged_s: float = NEVER
    may_be_taken: bool = False
    """Some node took it, or did not live to say that nobody has."""


@dataclass(frozen=True, slots=True)
class Read:
    """A read behind a barrier: how many commands had been applied."""

    begun_s: float
    ended_s: float
    total: int


@dataclass(frozen=True, slots=True)
class Tenure:
    """One process's authority in one term: from the first moment it said so to the end of its last lease."""

    node: str
    process: int
    term: int
    begin_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Final:
    """What a node holds in the end: command ids in the order of their application, and how many were applied."""

    node: str
    order: tuple[str, ...]
    total: int
    applied_index: int
    digest: str


@dataclass(slots=True)
class History:
    commands: dict[str, Command] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    tenures: list[Tenure] = field(default_factory=list)
    finals: list[Final] = field(default_factory=list)

    @property
    def acknowledged(self) -> list[Command]:
        return [command for command in self.commands.values() if command.acknowledged_s != NEVER]


def violations(history: History) -> list[str]:
    """Every promise that was broken; ``history.finals`` must come from nodes that have applied the same."""
    found: list[str] = []
    for check in (lost, twice, unlike, phantoms, out_of_order, stale_reads, two_authorities):
        found += check(history)
    return found


def lost(history: History) -> Iterator[str]:
    for final in history.finals:
        missing = {command.id for command in history.acknowledged} - set(final.order)
        if missing:
            yield f"{final.node} has lost {len(missing)} acknowledged commands: {sorted(missing)[:5]}"


def twice(history: History) -> Iterator[str]:
    for final in history.finals:
        if final.total != len(final.order):
            yield f"{final.node} has applied {len(final.order)} commands {final.total} times"


def unlike(history: History) -> Iterator[str]:
    for one, other in itertools.pairwise(history.finals):
        if one.applied_index != other.applied_index:
            yield f"{one.node} stands at {one.applied_index}, {other.node} at {other.applied_index}"
        if one.order != other.order:
            yield f"{one.node} and {other.node} have applied different commands, or in another order"
        if one.digest != other.digest:
            yield f"{one.node} and {other.node} have different digests"


def phantoms(history: History) -> Iterator[str]:
    """A command that nobody had proposed, or of which all nodes said that nobody took it."""
    for final in history.finals:
        for command_id in final.order:
            command = history.commands.get(command_id)
            if command is None:
                yield f"{final.node} has applied {command_id}, which nobody proposed"
            elif command.acknowledged_s == NEVER and not command.may_be_taken:
                yield f"{final.node} has applied {command_id}, of which it was said that nothing was done"


def out_of_order(history: History) -> Iterator[str]:
    """What was acknowledged before something else was proposed must stand before it."""
    for final in history.finals[:1]:
        newest_s = -NEVER
        for command_id in final.order:
            command = history.commands.get(command_id)
            if command is None:
                continue  # a phantom, told above
            if command.acknowledged_s < newest_s:
                yield f"{command_id} stands behind a command that was proposed after its acknowledgement"
            newest_s = max(newest_s, command.submitted_s)


def stale_reads(history: History) -> Iterator[str]:
    acknowledged_s = sorted(command.acknowledged_s for command in history.commands.values())
    submitted_s = sorted(command.submitted_s for command in history.commands.values())
    for read in history.reads:
        before = bisect_left(acknowledged_s, read.begun_s)
        possible = bisect_right(submitted_s, read.ended_s)
        if not before <= read.total <= possible:
            yield f"a read at {read.begun_s:.3f} saw {read.total} commands, not {before} to {possible}"


def two_authorities(history: History) -> Iterator[str]:
    """Leases of different nodes overlap, or one term has two leaders."""
    spans = sorted(history.tenures, key=lambda tenure: tenure.begin_s)
    for number, tenure in enumerate(spans):
        for later in spans[number + 1 :]:
            if later.node != tenure.node and later.begin_s < tenure.until_s:
                overlap_s = min(tenure.until_s, later.until_s) - later.begin_s
                yield f"{tenure.node} and {later.node} had authority at once for {overlap_s:.3f} s"
    holders = Counter(term for term, _ in {(tenure.term, tenure.node) for tenure in spans})
    for term, count in holders.items():
        if count > 1:
            yield f"term {term} had {count} leaders"


def tenures(samples: Sequence[tuple[str, int, int, float, float]]) -> list[Tenure]:
    """From what nodes said: (node, process, term, at_s, until_s) for each moment at which they had authority."""
    spans: dict[tuple[str, int, int], tuple[float, float]] = {}
    for node, process, term, at_s, until_s in samples:
        begin_s, end_s = spans.get((node, process, term), (at_s, at_s))
        spans[node, process, term] = min(begin_s, at_s), max(end_s, until_s)
    return [Tenure(*key, *span) for key, span in spans.items()]
