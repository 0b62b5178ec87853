"""One configuration file from disk to (name, value) pairs: reading, JSON, repeated keys. Meaning comes later.

A file that is no JSON object gives one error with the place and the text there; the text is left out where it may
belong to a password. Names are still as written here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from orchestrator_raft.config.findings import Findings, error, shown, total, warning
from orchestrator_raft.config.registry import KEYS, find, is_remark

FILE_BYTES_MAX = 4_000_000
EXCERPT_LENGTH = 24
SECRET_REACH = 300
"""Characters after the name of a secret key in which no excerpt is shown, whatever other names stand between."""
DIGITS_MAX = 40
_KEY_NAME = re.compile("|".join(sorted(KEYS, key=len, reverse=True)), re.IGNORECASE)
_HINTS = (
    ("}]", "a comma too many before it?"),
    ("/#", "JSON knows no comments"),
    ("'", "texts need double quotes"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """The content of one file: names as written, JSON values."""

    path: Path
    values: Mapping[str, Any]
    wrong: frozenset[str] = frozenset()
    """Names whose value must not be used."""


class _Unusable(ValueError):
    """JSON to the letter, but with a value that no key could take."""


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its keys in order, repeated ones included."""


def read_document(path: Path) -> tuple[Document | None, Findings]:
    """Read one file. Nothing is raised: without a document the findings say why."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None, error(f"{path}: no such file: name yours with --config")
    except (OSError, ValueError) as problem:
        reason = os.strerror(problem.errno) if isinstance(problem, OSError) and problem.errno else str(problem)
        return None, error(f"{path}: cannot be read: {reason}")
    if len(content) > FILE_BYTES_MAX:
        return None, error(f"{path}: more than {FILE_BYTES_MAX} bytes: this is no configuration file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        return None, error(f"{path}: byte {problem.start + 1} is not UTF-8: save the file as UTF-8")
    return _parse(path, text)


def _parse(path: Path, text: str) -> tuple[Document | None, Findings]:
    try:
        content = json.loads(text, object_pairs_hook=_Pairs, parse_constant=_no_constant, parse_int=_whole_number)
    except json.JSONDecodeError as problem:
        return None, error(f"{path}: {_json_problem(text, problem)}")
    except _Unusable as problem:
        return None, error(f"{path}: {problem}")
    except RecursionError:
        return None, error(f"{path}: brackets are nested too deep: this is no configuration file")
    if not isinstance(content, _Pairs):
        return None, error(f"{path}: holds no JSON object: the whole file has to be one {{ ... }}")
    findings = total(_repeated(path, content)) + total(_unprintable(path, content))
    wrong = frozenset(name for name, value in content if _is_unprintable(name, value))
    return Document(path, {name: _plain(value) for name, value in content}, wrong), findings


def _no_constant(text: str) -> NoReturn:
    raise _Unusable(f"{text} is no JSON value: write a number")


def _whole_number(text: str) -> int:
    if len(text) > DIGITS_MAX:
        raise _Unusable(f"a number of {len(text)} digits fits no key")
    return int(text)


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _json_problem(text: str, problem: json.JSONDecodeError) -> str:
    excerpt = text[problem.pos : problem.pos + EXCERPT_LENGTH].split("\n", 1)[0].rstrip()
    if problem.pos >= len(text):
        there = "at the end of the file"
    elif _is_near_secret(text, problem.pos):
        there = "(the text there is not shown, it is near a password)"
    else:
        there = f"at {shown(excerpt)}"
    hint = next((f" ({words})" for signs, words in _HINTS if excerpt and excerpt[0] in signs), "")
    what = problem.msg.removesuffix(" at").removesuffix(" starting")
    return f"line {problem.lineno}, column {problem.colno}: not JSON: {what} {there}{hint}"


def _is_near_secret(text: str, position: int) -> bool:
    """Does the text at this place belong to a secret key: is the last name before it one, or one close before it?"""
    secret = False
    for match in _KEY_NAME.finditer(text, 0, position + EXCERPT_LENGTH):
        key = find(match[0])
        is_secret = key is not None and key.secret
        if is_secret and match.end() > position - SECRET_REACH:
            return True
        secret = is_secret
    return secret


def _repeated(path: Path, pairs: _Pairs) -> Iterator[Findings]:
    """A key that stands twice, in any letter case. Only the same line written twice is harmless."""
    seen: dict[str, tuple[str, Any]] = {}
    for name, value in pairs:
        if is_remark(name):
            continue
        if name.lower() not in seen:
            seen[name.lower()] = (name, value)
            continue
        first_name, first_value = seen[name.lower()]
        if first_name == name and json.dumps(first_value) == json.dumps(value):
            yield warning(f"{path}: {shown(name)}: stands twice with the same value: remove one")
        else:
            names = shown(name) if name == first_name else f"{shown(first_name)} and {shown(name)}"
            yield error(f"{path}: {names}: the same key stands twice: it is not clear which one counts")


def _unprintable(path: Path, pairs: _Pairs) -> Iterator[Findings]:
    for name, value in pairs:
        if not is_remark(name) and _is_unprintable(name, value):
            yield error(f"{path}: {shown(name)}: holds a character that no text can hold (NUL or half a character)")


def _is_unprintable(name: str, value: Any) -> bool:
    return any(sign == "\0" or "\ud800" <= sign <= "\udfff" for text in (name, *_texts(value)) for sign in text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
