"""Whatever stands in a file, reading it gives settings or a StartupError with printable lines, nothing else."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_raft.config import load
from orchestrator_raft.config.credentials import BadCredentials, parse_credentials
from orchestrator_raft.config.keys import Kind
from orchestrator_raft.config.registry import KEYS
from orchestrator_raft.config.values import parse_address
from orchestrator_raft.core.errors import StartupError

TEXTS = st.one_of(
    st.text(),
    st.sampled_from(
        ["", "*", "(", "${A}", "${B}", "alias~=[", "http://a:1", ":3000", "::1", "a" * 500, "\0", "\n", "%"]
    ),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
NAMES = st.one_of(st.sampled_from(sorted(KEYS)), st.sampled_from(sorted(KEYS)).map(str.lower), TEXTS)
FEW = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(content)
        file.flush()
        try:
            loaded = load([Path(file.name)], {"A": "x"})
        except StartupError as problem:
            lines = str(problem).split("\n")
        else:
            json.dumps(loaded.settings.masked())
            lines = [*loaded.warnings, *loaded.notes]
    assert all(line and line.isprintable() for line in lines), lines


@FEW
@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_any_values_for_any_keys(values: Any) -> None:
    read(json.dumps(values).encode())


def values_of(kind: Kind) -> st.SearchStrategy[Any]:
    return {
        "FLAG": st.booleans(), "WHOLE": st.integers(-2, 10**12), "NUMBER": st.floats() | st.integers(), "TEXT": TEXTS,
        "TEXTS": st.lists(TEXTS, max_size=3), "TEXT_MAP": st.dictionaries(TEXTS, TEXTS, max_size=3),
    }[kind.name]  # fmt: skip


@FEW
@given(st.data())
def test_any_values_of_the_right_type(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(KEYS)), max_size=6, unique=True))
    read(json.dumps({name: data.draw(values_of(KEYS[name].kind)) for name in names}).encode())


@FEW
@given(st.text() | st.lists(st.sampled_from('{}[]",:\\ \n1a'), max_size=30).map("".join))
def test_any_text(text: str) -> None:
    read(text.encode("utf-8", "surrogatepass"))


@FEW
@given(st.binary())
def test_any_bytes(content: bytes) -> None:
    read(content)


@FEW
@given(st.text() | st.lists(st.sampled_from(["[client]\n", "user", "=", '"', "\\", "#", "a", " ", "\n"])).map("".join))
def test_any_credentials(text: str) -> None:
    try:
        parse_credentials(text)
    except BadCredentials as problem:
        assert str(problem).isprintable()


@FEW
@given(TEXTS, st.none() | st.integers(1, 65535))
def test_an_address_that_is_accepted_survives_being_printed(text: str, port: int | None) -> None:
    try:
        address = parse_address(text, port)
    except ValueError:
        return
    assert address == parse_address(str(address))
