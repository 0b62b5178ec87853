"""The rule of the self-check, and the digest of a state."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from orchestrator_raft.raft.digests import Difference, Mark, Report, equal_at, judge, pack, unpack
from orchestrator_raft.raft.state_digest import ITEMS_PER_STEP, StateDigest
from tests.raft.counting import codec


def marks(text: str, version: str = "v1") -> Report:
    """``7ax 8bx``: at index 7 commands a and state x, at index 8 commands b and state x."""
    return Report(
        version, tuple(Mark(int(word[:-2]), word[-2].encode() * 16, word[-1].encode() * 16) for word in text.split())
    )


THREE, FIVE = ("n1", "n2", "n3"), ("n1", "n2", "n3", "n4", "n5")
CASES: Mapping[str, tuple[tuple[str, ...], dict[str, Report], dict[str, str], str]] = {
    "equal": (THREE, {"n1": marks("7ax"), "n2": marks("7ax"), "n3": marks("7ax")}, {}, ""),
    "nothing in common": (THREE, {"n1": marks("7ax"), "n2": marks("8by"), "n3": marks("9cz")}, {}, ""),
    "one has another state": (
        THREE, {"n1": marks("7ax"), "n2": marks("7ay"), "n3": marks("7ax")}, {"n2": "state 7"}, "",
    ),
    "one has other commands": (
        THREE, {"n1": marks("7bx"), "n2": marks("7ax"), "n3": marks("7ax")}, {"n1": "commands 7"}, "",
    ),
    "the first difference is named": (
        THREE, {"n1": marks("7ax 8bx"), "n2": marks("7ax 8bx"), "n3": marks("7ay 8by")}, {"n3": "state 7"}, "",
    ),
    "two of three are up": (THREE, {"n1": marks("7ax"), "n2": marks("7ay")}, {}, "state 7"),
    "two voters": (("n1", "n2"), {"n1": marks("7ax"), "n2": marks("7bx")}, {}, "commands 7"),
    "everybody differs": (THREE, {"n1": marks("7ax"), "n2": marks("7ay"), "n3": marks("7az")}, {}, "state 7"),
    "an odd node disputes nothing": (
        THREE, {"n1": marks("7ax 8bx"), "n2": marks("7ax"), "n3": marks("7ay 8by")}, {"n3": "state 7"}, "",
    ),
    "the third decides a dispute": (
        THREE, {"n1": marks("7ax 8bx"), "n2": marks("7ay 8by"), "n3": marks("8bx")}, {"n2": "state 8"}, "",
    ),
    "two of five are odd": (
        FIVE, {name: marks("7ay" if name in ("n2", "n5") else "7ax") for name in FIVE},
        {"n2": "state 7", "n5": "state 7"}, "",
    ),
    "two against two of five": (
        FIVE, {name: marks("7ay" if name in ("n2", "n4") else "7ax") for name in FIVE[:4]}, {}, "state 7",
    ),
    "another version writes states differently": (
        THREE, {"n1": marks("7ax"), "n2": marks("7ax"), "n3": marks("7ay", "v2")}, {}, "",
    ),
    "commands are compared between versions": (
        THREE, {"n1": marks("7ax"), "n2": marks("7ax"), "n3": marks("7by", "v2")}, {"n3": "commands 7"}, "",
    ),
    "in an upgrade too few can compare states": (
        THREE, {"n1": marks("7ax"), "n2": marks("7ay"), "n3": marks("7az", "v2")}, {}, "state 7",
    ),
    "a learner is no majority": (
        ("n1", "n2"), {"n1": marks("7ax"), "n2": marks("7ay"), "l": marks("7ax")}, {}, "state 7",
    ),
    "a learner can be odd": (
        ("n1", "n2"), {"n1": marks("7ax"), "n2": marks("7ax"), "l": marks("7ay")}, {"l": "state 7"}, "",
    ),
    "a single node": (("n1",), {"n1": marks("7ax")}, {}, ""),
}  # fmt: skip


def said(difference: Difference | None) -> str:
    return f"{difference.what} {difference.index}" if difference is not None else ""


@pytest.mark.parametrize("name", CASES)
def test_who_is_odd_and_what_is_disputed(name: str) -> None:
    voters, reports, odd, disputed = CASES[name]
    verdict = judge(reports, voters)
    assert odd == {node: said(why) for node, why in (verdict.odd or {}).items()}
    assert disputed == said(verdict.disputed)


@pytest.mark.parametrize("name", CASES)
def test_the_order_of_reports_changes_nothing(name: str) -> None:
    voters, reports, _, _ = CASES[name]
    turned = dict(sorted(reports.items(), reverse=True))
    assert judge(reports, voters) == judge(turned, tuple(reversed(voters)))


def test_the_newest_equal_index() -> None:
    mine = marks("3ax 5bx 9cx")
    assert 9 == equal_at(mine, marks("5bx 9cx 11dx"))
    assert 5 == equal_at(mine, marks("5bx 9cy"))
    assert 9 == equal_at(mine, marks("5bx 9cy", "v2"))
    assert 0 == equal_at(mine, marks("5cx"))


def test_marks_travel_and_nothing_else_passes_for_marks() -> None:
    several = marks("3ax 5by 900cz").marks
    assert several == unpack(pack(several))
    for bad in (b"x", pack(several)[:-1], pack(several) * 6):
        with pytest.raises(ValueError, match="no marks"):
            unpack(bad)


@dataclass(frozen=True, slots=True)
class Shelf:
    label: str = ""
    count: int = 0
    books: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    history: tuple[tuple[str, int], ...] = ()


ENCODE = codec().encode_part


def digest_of(state: object) -> bytes:
    digest = StateDigest(ENCODE)
    digest.begin(state)
    return finished(digest)


def finished(digest: StateDigest) -> bytes:
    while True:
        found = digest.step()
        if found is not None:
            return found


def test_the_digest_of_a_state_does_not_depend_on_how_it_came_about() -> None:
    shuffle = random.Random(7)
    digest, state = StateDigest(ENCODE), Shelf()
    for number in range(300):
        key = f"b{shuffle.randrange(40)}"
        books = {each: value for each, value in state.books.items() if shuffle.random() > 0.05}
        state = replace(
            state, label=f"l{number % 3}", count=number % 7, books={**books, key: (number % 5,)},
            history=(*state.history, (key, number))[-20:],
        )  # fmt: skip
        digest.begin(state)
        again = Shelf(state.label, state.count, dict(reversed(list(state.books.items()))), tuple(state.history))
        assert finished(digest) == digest_of(again)


@pytest.mark.parametrize(
    "other",
    [
        Shelf("m", 1, {"a": (1,), "b": (2,)}, (("x", 1),)),
        Shelf("l", 2, {"a": (1,), "b": (2,)}, (("x", 1),)),
        Shelf("l", 1, {"a": (2,), "b": (1,)}, (("x", 1),)),
        Shelf("l", 1, {"a": (1,)}, (("x", 1),)),
        Shelf("l", 1, {"a": (1,), "c": (2,)}, (("x", 1),)),
        Shelf("l", 1, {"a": (1,), "b": (2,)}, ()),
        Shelf("l", 1, {"a": (1,), "b": (2,)}, (("x", 1), ("x", 1))),
        Shelf("l", 1, {"a": (1,), "b": (2,)}, (("x", 2),)),
    ],
)
def test_any_change_of_a_state_changes_its_digest(other: Shelf) -> None:
    state = Shelf("l", 1, {"a": (1,), "b": (2,)}, (("x", 1),))
    digest = StateDigest(ENCODE)
    digest.begin(state)
    before = finished(digest)
    digest.begin(other)
    assert before != finished(digest) == digest_of(other)
    digest.begin(state)
    assert before == finished(digest)


def test_a_large_state_is_read_in_portions() -> None:
    digest = StateDigest(ENCODE)
    digest.begin(Shelf(books={str(number): (number,) for number in range(2 * ITEMS_PER_STEP)}))
    assert [None, None] == [digest.step(), digest.step()]
    assert digest.step() is not None


def test_a_state_that_is_no_dataclass_is_one_item() -> None:
    assert digest_of("one") != digest_of("two")
    assert digest_of("one") == digest_of("one")
