"""Do the nodes still have the same state? Pure: what nodes report about themselves, and what follows from comparing it.

A *mark* is what a node had when everything up to one index was applied: the digest chained over the commands, and the
digest of the state that they made. The first shows logs that differ, the second a machine that is not deterministic, a
damaged memory, or a snapshot that decodes to something else.

The rule, the same on every node and without regard to who asks
- Only marks of the same index are compared, and states only between nodes that write them in the same format: during a
  rolling upgrade two versions may encode equal states differently.
- A group of equal nodes that is a majority of *all voters* is right; whoever differs from it is *odd* and ends.
- Where no group is a majority, nobody knows who is right: a *dispute*. Nobody ends and nobody acts, until another node
  decides it by its marks, or a person does. A node known to be odd disputes nothing.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

DIGEST_BYTES = 16
MARKS_MAX = 16
"""Marks that a node keeps and reports."""
_LAYOUT = struct.Struct(f">Q{DIGEST_BYTES}s{DIGEST_BYTES}s")
COMMANDS, STATE = "commands", "state"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """One node at one index."""

    index: int
    commands: bytes
    """Chained over all commands up to ``index``."""
    state: bytes
    """Of the state itself, whatever led to it."""


@dataclass(frozen=True, slots=True)
class Report:
    """A node's newest marks; ``format`` names how it writes states."""

    format: str
    marks: tuple[Mark, ...]

    @property
    def by_index(self) -> Mapping[int, Mark]:
        return {mark.index: mark for mark in self.marks}


@dataclass(frozen=True, slots=True)
class Difference:
    """Groups of nodes that are equal among themselves, and not between each other."""

    index: int
    what: str
    groups: tuple[tuple[str, ...], ...]

    def majority(self, voters: Collection[str]) -> tuple[str, ...]:
        """The group that is right; empty when none is a majority of all voters."""
        return next((group for group in self.groups if 2 * len(set(group) & set(voters)) > len(voters)), ())

    def __str__(self) -> str:
        sides = " and ".join("[" + ", ".join(group) + "]" for group in self.groups)
        return f"{self.what} up to entry {self.index}: {sides} differ"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from all reports."""

    differences: tuple[Difference, ...] = ()
    odd: Mapping[str, Difference] | None = None
    """Nodes that differ from a majority, each with the first difference that shows it."""
    disputed: Difference | None = None
    """The first difference in which nobody can be proved right."""

    def first_of(self, node: str) -> Difference | None:
        return (self.odd or {}).get(node)


def judge(reports: Mapping[str, Report], voters: Collection[str]) -> Verdict:
    """Compare everything that can be compared."""
    differences = tuple(_differences(reports))
    odd: dict[str, Difference] = {}
    for difference in differences:
        right = difference.majority(voters)
        for group in difference.groups if right else ():
            if group != right:
                odd |= {node: difference for node in group if node not in odd}
    disputed = next((each for each in differences if not each.majority(voters) and _remains(each, odd)), None)
    return Verdict(differences, odd, disputed)


def _remains(difference: Difference, odd: Collection[str]) -> bool:
    """Whether nodes that are not odd still differ."""
    return sum(any(node not in odd for node in group) for group in difference.groups) > 1


def _differences(reports: Mapping[str, Report]) -> Iterator[Difference]:
    """In the order of the log, commands before states."""
    marks = {node: report.by_index for node, report in reports.items()}
    for index in sorted({index for known in marks.values() for index in known}):
        here = {node: known[index] for node, known in sorted(marks.items()) if index in known}
        by_commands = _groups((mark.commands, node) for node, mark in here.items())
        if len(by_commands) > 1:
            yield Difference(index, COMMANDS, by_commands)
        for alike in by_commands:
            for peers in _groups((reports[node].format, node) for node in alike):
                by_state = _groups((here[node].state, node) for node in peers)
                if len(by_state) > 1:
                    yield Difference(index, STATE, by_state)


def _groups(pairs: Iterable[tuple[object, str]]) -> tuple[tuple[str, ...], ...]:
    """Nodes with the same value, in the order of their names."""
    found: defaultdict[object, list[str]] = defaultdict(list)
    for value, node in pairs:
        found[value].append(node)
    return tuple(tuple(group) for group in found.values())


def equal_at(one: Report, other: Report) -> int:
    """The newest index at which both have the same commands, and the same state where that can be compared; 0: none."""
    theirs = other.by_index
    found = 0
    for mark in one.marks:
        known = theirs.get(mark.index)
        if known is not None and known.commands == mark.commands and mark.index > found:
            comparable = one.format == other.format
            found = mark.index if known.state == mark.state or not comparable else found
    return found


def pack(marks: Iterable[Mark]) -> bytes:
    return b"".join(_LAYOUT.pack(mark.index, mark.commands, mark.state) for mark in marks)


def unpack(data: bytes) -> tuple[Mark, ...]:
    """Raises ValueError for what ``pack`` did not make."""
    if len(data) % _LAYOUT.size or len(data) > MARKS_MAX * _LAYOUT.size:
        raise ValueError(f"{len(data)} bytes are no marks")
    return tuple(Mark(*fields) for fields in _LAYOUT.iter_unpack(data))
