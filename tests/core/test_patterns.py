"""Patterns of requests: what might keep the leader's loop busy is refused, what people write is taken."""

from __future__ import annotations

import re

import pytest

from orchestrator_raft.core.moves.model import Refusal
from orchestrator_raft.core.moves.patterns import PATTERN_CHARACTERS_MAX, compiled

COSTLY = (
    r"(\w+[-.]?)+x$", r"(a+)+$", r"((a*))*b", r"(?:a|aa)+$", r"(?P<x>a?){30}a", r"(a+){2,}x", r"([)]a+)+x",
    r"(\)a+)*?x", r"([^]+(]a+)+x", r"((a+)b)+x", r"(?x)(a+) +$", r"(?i-x:a)", r"(a+(?#[)b)+x", r"\w*\w*\w*\w*\w*\w*x",
)  # fmt: skip
TAKEN = (
    r"^db\d+(-\d+)?\.example\.com:3306$", r"10\.0\.0\.(3|4):", r"(db)+[0-9]", r"[(+*]a+", r"\(a+\)+", r"(eu|us)-.*:33",
    r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}:\d+",
)  # fmt: skip


@pytest.mark.parametrize("pattern", COSTLY)
def test_what_could_search_for_ever_is_refused(pattern: str) -> None:
    found = compiled(pattern)
    assert isinstance(found, Refusal)
    assert "could take too long" in found.reason


@pytest.mark.parametrize("pattern", TAKEN)
def test_what_people_write_is_taken(pattern: str) -> None:
    assert isinstance(compiled(pattern), re.Pattern)


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "*"])
def test_what_is_no_expression_is_said_to_be_none(pattern: str) -> None:
    found = compiled(pattern)
    assert isinstance(found, Refusal)
    assert "is no regular expression" in found.reason


def test_a_pattern_has_a_limit() -> None:
    assert isinstance(compiled("a" * PATTERN_CHARACTERS_MAX), re.Pattern)
    found = compiled("a" * (PATTERN_CHARACTERS_MAX + 1))
    assert isinstance(found, Refusal)
    assert "201 characters" in found.reason
