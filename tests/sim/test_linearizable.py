"""The checker of histories, itself checked: hand-written histories, generated ones, and a stupid checker beside it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.linearizable import Operation, Undecided, violation


def add(client: str, invoked_s: float, returned_s: float | None, total: int | None, amount: int = 1) -> Operation:
    return Operation(client, "add", amount, total, invoked_s, returned_s)


def read(client: str, invoked_s: float, returned_s: float | None, total: int | None) -> Operation:
    return Operation(client, "read", 0, total, invoked_s, returned_s)


GOOD = {
    "nothing happened": [],
    "one after another": [add("a", 0, 1, 1), read("b", 2, 3, 1), add("a", 4, 5, 2), read("b", 6, 7, 2)],
    "a read beside an add may see it": [add("a", 0, 9, 1), read("b", 3, 4, 1)],
    "a read beside an add may miss it": [add("a", 0, 9, 1), read("b", 3, 4, 0)],
    "two adds at once in either order": [add("a", 0, 9, 2), add("b", 0, 9, 1), read("c", 10, 11, 2)],
    "a lost add that took effect": [add("a", 0, None, None), read("b", 1, 2, 1)],
    "a lost add that took effect much later": [add("a", 0, None, None), read("b", 1, 2, 0), read("b", 8, 9, 1)],
    "a lost add that never took effect": [add("a", 0, None, None), read("b", 1, 2, 0), add("b", 3, 4, 1)],
    "a lost read says nothing": [read("a", 0, None, None), add("b", 1, 2, 1)],
    "of three lost adds the right two": [
        *(add("abc"[number], 0, None, None, amount) for number, amount in enumerate((1, 2, 4))),
        read("d", 1, 2, 0), read("d", 3, 4, 4), read("d", 5, 6, 5),
    ],
    "an answer without a total": [add("a", 0, 1, None), read("b", 2, 3, 1)],
    "touching ends may stand in either order": [add("a", 0, 1, 1), read("b", 1, 2, 0)],
}  # fmt: skip

BAD = {
    "an acknowledged add is missing": [add("a", 0, 1, 1), read("b", 2, 3, 0)],
    "a read of what nobody wrote": [read("a", 0, 1, 1)],
    "a read of an add that was called later": [read("a", 0, 1, 1), add("b", 2, 3, 1)],
    "an old value after a new one was seen": [add("a", 0, 9, 1), read("b", 1, 2, 1), read("c", 3, 4, 0)],
    "a lost add was seen and vanished": [add("a", 0, None, None), read("b", 1, 2, 1), read("b", 3, 4, 0)],
    "an add applied twice": [add("a", 0, 1, 1), read("b", 2, 3, 2)],
    "two adds were told the same total": [add("a", 0, 9, 1), add("b", 0, 9, 1)],
    "an add without a total is missing": [add("a", 0, 1, None), read("b", 2, 3, 0)],
    "lost adds cannot make this total": [
        add("a", 0, None, None, 2), add("b", 0, None, None, 4), read("c", 1, 2, 3),
    ],
    "a total that leaves no room for an add between": [
        add("a", 0, 1, 1), add("b", 2, 3, None), read("c", 4, 5, 1),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_passes(name: str) -> None:
    assert "" == violation(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_fails(name: str) -> None:
    assert "not linearizable" in violation(BAD[name])


def executed(seed: int, length: int, amounts: Sequence[int] = (1,), clients: int = 5) -> list[Operation]:
    """A history as a correct counter would give it: each client does one thing at a time, some answers are lost."""
    dice = random.Random(seed)
    free_s = {f"c{number}": 0.0 for number in range(clients)}
    total, now_s, history = 0, 0.0, []
    for _ in range(length):
        now_s += dice.uniform(0.01, 0.3)
        client = dice.choice(sorted(free_s))
        invoked_s = max(free_s[client], now_s - dice.uniform(0, 0.6))
        if invoked_s > now_s:
            continue
        returned_s = now_s + dice.uniform(0, 0.6)
        is_lost, is_done = dice.random() < 0.15, dice.random() < 0.5
        free_s[client] = returned_s
        if dice.random() < 0.4:
            history.append(read(client, invoked_s, returned_s, total))
            continue
        amount = dice.choice(amounts)
        total += amount if is_done or not is_lost else 0
        told = None if is_lost or dice.random() < 0.1 else total
        history.append(add(client, invoked_s, None if is_lost else returned_s, told, amount))
    return history


def allowed(operations: Sequence[Operation], total: int = 0) -> bool:
    """The stupid checker: every order of every choice of lost adds."""
    open_operations = [operation for operation in operations if operation.returned_s is not None]
    if not open_operations:
        return True
    for position, operation in enumerate(operations):
        if any(other.deadline_s < operation.invoked_s for other in open_operations):
            continue
        after = total + operation.value if operation.kind == "add" else total
        rest = [*operations[:position], *operations[position + 1 :]]
        if operation.result in (None, after) and allowed(rest, after):
            return True
    return False


@pytest.mark.parametrize("seed", range(60))
def test_what_a_counter_really_did_passes(seed: int) -> None:
    assert "" == violation(executed(seed, 300))


@pytest.mark.parametrize("seed", range(30))
def test_what_a_counter_really_did_with_several_amounts_passes(seed: int) -> None:
    assert "" == violation(executed(seed, 80, amounts=(1, 2, 5)))


@given(st.integers(0, 10**6), st.sampled_from([(1,), (1, 2), (1, 3, 7)]), st.integers(-3, 3), st.randoms())
@settings(max_examples=400, deadline=None)
def test_it_agrees_with_the_stupid_checker_on_a_mutated_read(
    seed: int, amounts: tuple[int, ...], change: int, dice: random.Random
) -> None:
    history = executed(seed, 8, amounts, clients=3)
    numbers = [number for number, operation in enumerate(history) if operation.result is not None]
    if numbers:
        number = dice.choice(numbers)
        told = history[number].result
        assert told is not None
        history[number] = replace(history[number], result=max(0, told + change))
    assert allowed(history) == (violation(history) == "")


TIMES = st.integers(0, 6).map(float)
ANY = st.builds(
    lambda kind, value, result, invoked_s, length: Operation(
        "x", kind, value, None if length is None else result, invoked_s, None if length is None else invoked_s + length
    ),
    st.sampled_from(["add", "read"]), st.integers(1, 3), st.none() | st.integers(0, 6), TIMES, st.none() | TIMES,
)  # fmt: skip


@given(st.lists(ANY, max_size=6))
@settings(max_examples=400, deadline=None)
def test_it_agrees_with_the_stupid_checker_on_anything(history: list[Operation]) -> None:
    assert allowed(history) == (violation(history) == "")


def bounds(history: Sequence[Operation], number: int) -> tuple[int, int]:
    """What read ``number`` may see at least and at most, by real time alone."""
    seen = history[number]
    adds = [operation for operation in history if operation.kind == "add"]
    least = sum(operation.value for operation in adds if operation.deadline_s < seen.invoked_s)
    most = sum(operation.value for operation in adds if operation.invoked_s <= seen.deadline_s)
    return least, most


@pytest.mark.parametrize("seed", range(40))
def test_one_impossible_read_among_hundreds_is_found(seed: int) -> None:
    history = executed(seed, 300)
    dice = random.Random(seed)
    number = dice.choice([number for number, operation in enumerate(history) if operation.kind == "read"])
    least, most = bounds(history, number)
    impossible = most + 1 if least == 0 or dice.random() < 0.5 else least - 1
    history[number] = replace(history[number], result=impossible)
    assert violation(history)


def test_the_order_in_which_operations_are_given_does_not_matter() -> None:
    for order in itertools.permutations(GOOD["of three lost adds the right two"]):
        assert "" == violation(order)
    for order in itertools.permutations(BAD["an old value after a new one was seen"]):
        assert violation(order)


def test_a_search_that_is_too_long_says_so() -> None:
    lost = [add(f"c{number}", 0, None, None, amount=2**number) for number in range(24)]
    with pytest.raises(Undecided, match="more than 1000 states"):
        violation([*lost, read("r", 1, 2, 2**24)], states_max=1000)


@pytest.mark.parametrize("wrong", [add("a", 0, 1, 1, amount=0), add("a", 2, 1, 1), add("a", 2, None, 1)])
def test_an_operation_that_cannot_be_is_refused(wrong: Operation) -> None:
    with pytest.raises(ValueError, match="a add"):
        violation([wrong])


def test_a_long_history_is_decided_quickly_enough_to_be_used_in_every_run() -> None:
    history = executed(7, 5000)
    assert len(history) > 2000
    assert "" == violation(history, states_max=len(history) + 1)
