"""Levels: how nodes of two versions live in one cluster, and what may be written while they do (rolling upgrade).

A *level* is a whole number that a version raises when it adds something to what is replicated: a command, a field of a
command or of the state, a value of an enumeration. Each version knows the levels ``oldest`` to ``newest``; the cluster
has one, which stands in the configuration of its members, in the log.

Rules
- What is written, a command or a snapshot, is written as the cluster's level has it: later fields are left out, later
  commands are refused until then. So every member can read every entry, whichever version leads.
- The layout of snapshots and of the list of members belongs to the level as well: whoever changes one adds a level and
  goes on writing the old one below it.
- A command at a level means the same for ever. Who wants another meaning adds a command or a field, with a later level;
  ``since`` has a row for each. Behaviour never depends on the version of the node that applies.
- The leader raises the level when every member is connected and says that it knows the next one, and never lowers it.
- A node that does not know the cluster's level is refused by the others, refuses to go on by itself, and says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator_raft.core.errors import InvalidInput, Refused

FIRST = 1


@dataclass(frozen=True, slots=True)
class Levels:
    """What one version knows. ``since``: 'Class', 'Class.field' or 'Enum.MEMBER' to the level that brought it."""

    oldest: int = FIRST
    newest: int = FIRST
    since: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        late = [name for name, level in self.since.items() if not self.oldest <= level <= self.newest]
        if not FIRST <= self.oldest <= self.newest or late:
            raise ValueError(f"levels {self.oldest} to {self.newest} make no sense, or do not hold {late}")

    def knows(self, level: int) -> bool:
        return self.oldest <= level <= self.newest

    def of(self, name: str) -> int:
        """The level that brought it."""
        return self.since.get(name, FIRST)

    def late_fields(self, kind: type[Any], level: int) -> dict[str, Any]:
        """The fields of a dataclass that ``level`` does not have, with the default that they have there."""
        each = {one.name: one for one in dataclasses.fields(kind)}
        return {name: _default(kind, one) for name, one in each.items() if self.of(f"{kind.__name__}.{name}") > level}

    def check(self, level: int) -> None:
        """Raises InvalidInput if a cluster at ``level`` cannot be joined by this version."""
        if not self.knows(level):
            raise InvalidInput(
                f"the cluster is at level {level}, this version knows levels {self.oldest} to {self.newest}: "
                f"{self.advice(level)}"
            )

    def advice(self, level: int) -> str:
        """What to do about a node of this version in a cluster at ``level``."""
        if level > self.newest:
            return "install the version that the other nodes run"
        return "first install a version in between, on all nodes"

    def too_early(self, name: str, level: int) -> Refused:
        return Refused(
            f"{name} needs level {self.of(name)} and the cluster is at level {level}: it rises by itself as soon as "
            "every member is connected and runs a version that knows it"
        )


ONE_LEVEL = Levels()


def _default(kind: type[Any], one: dataclasses.Field[Any]) -> Any:
    if one.default is not dataclasses.MISSING:
        return one.default
    if one.default_factory is not dataclasses.MISSING:
        return one.default_factory()
    raise ValueError(f"{kind.__name__}.{one.name} is later than its class and has no default for older entries")
