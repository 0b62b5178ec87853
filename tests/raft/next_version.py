"""``counting`` as its next version would be: level 2 brings a command, a field of a command and a field of the state.

The classes have the names of those in ``counting``, because the name is what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from orchestrator_raft.raft.codec import Codec
from orchestrator_raft.raft.levels import Levels
from tests.raft.counting import Break

LEVELS = Levels(oldest=1, newest=2, since={"Add.times": 2, "Scale": 2, "Counted.scaled": 2})


@dataclass(frozen=True, slots=True)
class Add:
    id: str
    amount: int = 1
    padding: str = ""
    times: int = 1


@dataclass(frozen=True, slots=True)
class Scale:
    id: str
    factor: int


@dataclass(frozen=True, slots=True)
class Counted:
    total: int = 0
    results: Mapping[str, int] = field(default_factory=dict)
    scaled: int = 0
    """How often."""


class Counter:
    def initial(self) -> Counted:
        return Counted()

    def apply(self, state: Counted, command: Add | Scale | Break) -> tuple[Counted, int]:
        if isinstance(command, Break):
            raise RuntimeError("this machine is broken")
        if command.id in state.results:
            return state, state.results[command.id]
        if isinstance(command, Scale):
            total, scaled = state.total * command.factor, state.scaled + 1
        else:
            total, scaled = state.total + command.amount * command.times, state.scaled
        return replace(state, total=total, results={**state.results, command.id: total}, scaled=scaled), total


def codec() -> Codec[Counted, Add | Scale | Break]:
    return Codec(commands=[Add, Scale, Break], state_type=Counted, levels=LEVELS)
