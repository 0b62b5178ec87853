"""What came of a run: whether all promises were kept, and what happened in it.

A simulator whose faults do not happen proves nothing, so everything is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Generic, Self, TypeVar


@dataclass(slots=True)
class Counts:
    """Counts of one run, or of many added up."""

    virtual_s: float = 0.0
    events: int = 0

    def add(self, other: Self) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def rows(self) -> list[tuple[str, str]]:
        return [(each.name.replace("_", " "), f"{getattr(self, each.name):,.0f}") for each in fields(self)]


Statistics = TypeVar("Statistics", bound=Counts)


@dataclass(slots=True)
class Outcome(Generic[Statistics]):
    """``kind`` is empty if all promises were kept, else the name of the one that was not."""

    seed: int
    statistics: Statistics
    kind: str = ""
    text: str = ""
    at_s: float = 0.0
    trace: list[str] = field(default_factory=list)
