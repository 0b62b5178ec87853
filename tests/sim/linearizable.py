"""Is a history of a replicated counter linearizable? A search after Wing and Gong, for adds and reads of one total.

The object starts at zero. ``add`` raises the total by ``value`` (at least 1) and answers the new total; ``read``
answers the total. A history is linearizable if every operation can be given one instant between its call and its
return such that the answers are those of one counter that takes them one after another. An operation that was answered
before another was called comes first; where the times are equal, either order is allowed.

An outcome may be unknown: ``returned_s`` None means that nobody was told, so an add took effect at any time after its
call or never, and a read says nothing. ``result`` None with a return means: done, but the total was not told.

The search takes at each step the operations that may come next, and remembers the sets it has been through. Because a
total only grows, three choices need no branch:
- a read of the present total may come at once: it changes nothing that comes later;
- an add whose answer follows from the present total comes before every other add, or never;
- of adds with the same amount and no known answer, the one that must come first may come first: swapping two of them
  changes no total.
What is left are unknown adds of different amounts. The search is bounded: ``Undecided`` says that the bound was hit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

STATES_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Operation:
    """What one client did and saw. ``value`` is the amount of an add; ``result`` is the total that was answered."""

    client: str
    kind: Literal["add", "read"]
    value: int
    result: int | None
    invoked_s: float
    returned_s: float | None

    @property
    def deadline_s(self) -> float:
        return math.inf if self.returned_s is None else self.returned_s

    def __str__(self) -> str:
        amount = f" {self.value}" if self.kind == "add" else ""
        until = "?" if self.returned_s is None else f"{self.returned_s:.4f}"
        answer = "?" if self.result is None else str(self.result)
        return f"{self.client} {self.kind}{amount} = {answer} [{self.invoked_s:.4f}, {until}]"


class Undecided(Exception):
    """The history needs a longer search than was allowed; nothing is known about it."""


@dataclass(frozen=True, slots=True)
class _State:
    """``done`` has a bit for every operation from number ``first`` on; all before ``first`` are done."""

    first: int
    done: int
    total: int
    pending: int
    """Operations with a known return that are not done yet: with none left, the search has succeeded."""


def violation(history: Sequence[Operation], states_max: int = STATES_MAX) -> str:
    """Why ``history`` is not linearizable, for people; empty if it is. Raises Undecided, ValueError for bad input."""
    for operation in history:
        _validate(operation)
    operations = sorted((operation for operation in history if _says_something(operation)), key=_call_time)
    start = _State(0, 0, 0, sum(operation.returned_s is not None for operation in operations))
    waiting, seen, furthest = [start], {start}, start
    while waiting:
        state = waiting.pop()
        if state.pending == 0:
            return ""
        if state.pending < furthest.pending:
            furthest = state
        if len(seen) > states_max:
            raise Undecided(f"{len(operations)} operations need more than {states_max} states")
        for number in _moves(operations, state):
            following = _after(operations, state, number)
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return _explanation(operations, furthest)


def _validate(operation: Operation) -> None:
    if operation.kind == "add" and operation.value < 1:
        raise ValueError(f"'{operation}': an add raises the total by 1 or more")
    if operation.invoked_s > operation.deadline_s:
        raise ValueError(f"'{operation}' returned before it was called")
    if operation.returned_s is None and operation.result is not None:
        raise ValueError(f"'{operation}' was answered but never returned")


def _says_something(operation: Operation) -> bool:
    return operation.kind == "add" or (operation.returned_s is not None and operation.result is not None)


def _call_time(operation: Operation) -> float:
    return operation.invoked_s


def _available(operations: Sequence[Operation], state: _State) -> list[int]:
    """Numbers of the operations that may come next: no other open one had returned when they were called."""
    deadline_s, found = math.inf, []
    for number in range(state.first, len(operations)):
        if state.done >> (number - state.first) & 1:
            continue
        if operations[number].invoked_s > deadline_s:
            break
        deadline_s = min(deadline_s, operations[number].deadline_s)
        found.append(number)
    return [number for number in found if operations[number].invoked_s <= deadline_s]


def _moves(operations: Sequence[Operation], state: _State) -> Iterator[int]:
    by_amount: dict[int, int] = {}
    forced: int | None = None
    for number in _available(operations, state):
        operation = operations[number]
        if operation.result is None:
            best = by_amount.setdefault(operation.value, number)
            if operation.deadline_s < operations[best].deadline_s:
                by_amount[operation.value] = number
            continue
        before = operation.result - (operation.value if operation.kind == "add" else 0)
        if before < state.total:
            return
        if before == state.total and (forced is None or operation.kind == "read"):
            forced = number
    yield from by_amount.values() if forced is None else (forced,)


def _after(operations: Sequence[Operation], state: _State, number: int) -> _State:
    operation = operations[number]
    first, done = state.first, state.done | 1 << (number - state.first)
    while done & 1:
        first, done = first + 1, done >> 1
    total = state.total + (operation.value if operation.kind == "add" else 0)
    return _State(first, done, total, state.pending - (operation.returned_s is not None))


def _explanation(operations: Sequence[Operation], state: _State) -> str:
    open_operations = [operations[number] for number in _available(operations, state)]
    shown = "; ".join(str(operation) for operation in open_operations[:6])
    told = sum(operation.returned_s is not None for operation in operations)
    return (
        f"not linearizable: {told - state.pending} of {told} answered operations fit in one order, which leads to a "
        f"total of {state.total}; none of these can come next: {shown}"
    )
