"""The promises of the cluster, and whether they are kept. It knows no right answers, only what may never be.

The ledger is a reference of its own: it learns the log from whoever applies an entry first, and everybody else has to
agree with it: same command at the same index, same digest, same state. What a client was told is compared with it at
once, and with every node in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from orchestrator_raft.raft.lease import Authority
from orchestrator_raft.raft.machine import NO_DIGEST
from tests.raft.counting import Counted
from tests.sim.linearizable import Operation, Undecided, violation

TWO_AUTHORITIES = "two authorities"
TWO_LEADERS = "two leaders of one term"
UNSEEN = "authority without what was acknowledged"
LOST = "acknowledged command lost"
DIVERGED = "nodes diverged"
TWICE = "applied twice"
WRONG_ANSWER = "wrong answer"
STALE_READ = "not linearizable"
THIN = "committed on too few disks"
STUCK = "no progress after the faults"
CRASHED = "a node stopped by itself"
UNREADABLE = "a node cannot start"


class Violation(Exception):
    """A promise is broken. ``kind`` is one of the texts above."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


class Leads(Protocol):
    """What the checks look at in a replica."""

    @property
    def is_leader(self) -> bool: ...
    @property
    def term(self) -> int: ...
    @property
    def applied_index(self) -> int: ...
    def authority(self) -> Authority | None: ...


class Ledger:
    def __init__(self) -> None:
        self.order: list[str] = []
        """The ids of all commands, as they took effect."""
        self.results: dict[str, int] = {}
        self.acknowledged: dict[str, int] = {}
        """Command id -> index by which it was in effect."""
        self.acknowledged_index = 0
        self.unanswered: list[Operation] = []
        """What was asked without waiting for an answer."""
        self.terms_with_authority: set[int] = set()
        self.leaders: dict[int, str] = {}
        self._entries: dict[int, tuple[bytes, str]] = {}
        self._states: dict[bytes, tuple[int, int]] = {NO_DIGEST: (0, 0)}
        """Digest -> (total, number of commands in effect)."""
        self._newest = 0
        self._total = 0

    # the log

    def applied(self, name: str, index: int, command_id: str, amount: int, digest: bytes) -> bool:
        """A node has applied a command; its state is compared by ``holds``. Says whether it is the first to do so."""
        known = self._entries.get(index)
        if known is not None:
            if known[0] != digest:
                self._diverged(name, index, f"{known[1]} has another history there")
            return False
        if index <= self._newest:
            self._diverged(name, index, "the others have no command there")
        self._newest = index
        if command_id not in self.results:
            self._total += amount
            self.results[command_id] = self._total
            self.order.append(command_id)
        self._entries[index] = digest, name
        self._states[digest] = self._total, len(self.order)
        return True

    def holds(self, name: str, digest: bytes, state: Counted) -> None:
        """A node's state, after an entry or from a snapshot."""
        expected = self._states.get(digest)
        if expected is None:
            raise Violation(DIVERGED, f"{name} has a state with a digest that no log leads to")
        if len(state.results) != expected[1]:
            raise Violation(DIVERGED, f"{name} has {len(state.results)} commands where the log has {expected[1]}")
        if state.total != expected[0]:
            raise Violation(TWICE, f"{name} counts {state.total} where each command once makes {expected[0]}")

    def _diverged(self, name: str, index: int, how: str) -> None:
        kind = LOST if index <= self.acknowledged_index else DIVERGED
        raise Violation(kind, f"{name} applies entry {index}, but {how}")

    @property
    def newest_index(self) -> int:
        """Of all entries that anybody has applied."""
        return self._newest

    # clients

    def answered(self, command_id: str, result: int, index: int) -> None:
        """A client was told ``result`` by a node that has applied everything up to ``index``."""
        if self.results.get(command_id) != result:
            raise Violation(WRONG_ANSWER, f"{command_id} was answered {result}, it is {self.results.get(command_id)}")
        if command_id not in self.acknowledged:
            self.acknowledged[command_id] = index
        self.acknowledged_index = max(self.acknowledged_index, index)

    # leaders

    def office(self, name: str, replica: Leads, others: Iterable[tuple[str, Leads]]) -> None:
        """After a step of ``name``, which leads. ``others`` are all other leaders whose clocks run."""
        term = replica.term
        first = self.leaders.setdefault(term, name)
        if first != name:
            raise Violation(TWO_LEADERS, f"{first} and {name} lead in term {term}")
        if replica.applied_index < self.acknowledged_index and replica.authority() is not None:
            raise Violation(
                UNSEEN, f"{name} has applied {replica.applied_index} of {self.acknowledged_index} in term {term}"
            )
        rivals = [other for other, leader in others if leader.authority() is not None]
        if rivals and replica.authority() is not None:
            raise Violation(TWO_AUTHORITIES, f"{name} in term {term}, and {', '.join(rivals)}")
        if term not in self.terms_with_authority and replica.authority() is not None:
            self.terms_with_authority.add(term)

    # the end

    def settled(self, states: Iterable[tuple[str, Counted]]) -> None:
        """Everybody has everything that was acknowledged, once, in one order."""
        for name, state in states:
            missing = self.acknowledged.keys() - state.results.keys()
            if missing:
                raise Violation(LOST, f"{name} lacks {len(missing)}, among them {min(missing)}")
            if list(state.results) != self.order:
                raise Violation(DIVERGED, f"{name} has another order")
            if state.total != self._total:
                raise Violation(TWICE, f"{name} counts {state.total}, each command once makes {self._total}")


def linearizable(history: Sequence[Operation]) -> bool:
    """Whether it could be decided. Raises Violation if the history is not."""
    try:
        found = violation(history)
    except Undecided:
        return False
    if found:
        raise Violation(STALE_READ, found)
    return True
