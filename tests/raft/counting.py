"""A small machine for tests: it counts, and remembers ids as every machine must."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator_raft.raft.codec import Codec


@dataclass(frozen=True, slots=True)
class Add:
    id: str
    amount: int = 1
    padding: str = ""


@dataclass(frozen=True, slots=True)
class Break:
    """A command on which the machine raises: a bug, for the tests of what happens then."""

    id: str


@dataclass(frozen=True, slots=True)
class Counted:
    total: int = 0
    results: Mapping[str, int] = field(default_factory=dict)
    """The total after each command, in the order of their application."""


class Counter:
    def initial(self) -> Counted:
        return Counted()

    def apply(self, state: Counted, command: Add | Break) -> tuple[Counted, int]:
        if isinstance(command, Break):
            raise RuntimeError("this machine is broken")
        if command.id in state.results:
            return state, state.results[command.id]
        total = state.total + command.amount
        return Counted(total, {**state.results, command.id: total}), total


def codec() -> Codec[Counted, Add | Break]:
    return Codec(commands=[Add, Break], state_type=Counted)
