"""What goes into an operation and what comes out of it.

A handler gets typed arguments and answers with domain values; how those look in JSON, of which dialect, is the
business of ``api``. Refusals are errors of ``core.errors``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator_raft.core.errors import InvalidInput, ServerError
from orchestrator_raft.core.instance import InstanceKey, Unreachable
from orchestrator_raft.engine.view import Moment
from orchestrator_raft.operations import Kind, Operation, Parameter

WAIT_S = 900.0
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SET = ("true", "1", "yes", "")
_UNSET = ("false", "0", "no")
_DURATION = re.compile(r"^(\d{1,9})([smhdw])$")


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks."""

    name: str
    may_write: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation asked for. Arguments are typed by ``typed_arguments``."""

    operation: Operation
    arguments: Mapping[str, Any] = field(default_factory=dict)
    person: Person = Person("")
    request_id: str = ""
    intention: str = ""
    """The same text when the same request comes again; empty where that cannot be known."""
    if_version: int | None = None
    """Set a policy only where it is of this version still; 0: where there is none."""
    wait_s: float = WAIT_S
    """For so long the end of a long operation is waited for."""

    def text(self, name: str, default: str = "") -> str:
        value = self.arguments.get(name)
        return default if value is None else str(value)

    def number(self, name: str, default: int = 0) -> int:
        value = self.arguments.get(name)
        return default if value is None else int(value)

    def flag(self, name: str) -> bool:
        return bool(self.arguments.get(name, False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer: a message for people, a value, and the moment it was taken from."""

    message: str = ""
    value: object = None
    moment: Moment | None = None
    version: int | None = None
    """Of a policy: another number each time it is set, 0 where there is none."""
    under_way: str = ""
    """Id of the recovery that goes on after this answer."""


class NotReached(ServerError):
    """A server did not answer a probe. ``unreachable`` says how, for dialects that have words of their own for it."""

    def __init__(self, asked: InstanceKey, unreachable: Unreachable) -> None:
        super().__init__(f"{asked}: {unreachable.detail}")
        self.unreachable = unreachable


class NotKnown(InvalidInput):
    """Nobody knows the server or cluster that was named. ``peers`` is what orchestrator says then."""

    def __init__(self, text: str, *, peers: str) -> None:
        super().__init__(text)
        self.peers = peers


def typed_arguments(operation: Operation, raw: Mapping[str, str]) -> dict[str, Any]:
    """Texts to typed values. A SERVER is given as ``host:port``. Raises InvalidInput naming parameter and value.

    An empty text is no value, but for a FLAG, which it sets.
    """
    known = {parameter.name for parameter in operation.parameters}
    found: dict[str, Any] = {}
    for parameter in operation.parameters:
        text = raw.get(parameter.name)
        if text is None or (text == "" and parameter.kind is not Kind.FLAG):
            if parameter.required:
                raise InvalidInput(f"{operation.name} needs '{parameter.name}': {parameter.help}")
            continue
        found[parameter.name] = _typed(parameter, text)
    unknown = sorted(set(raw) - known)
    if unknown:
        raise InvalidInput(f"{operation.name} has no parameter '{unknown[0]}'")
    return found


def _typed(parameter: Parameter, text: str) -> object:
    if parameter.kind is Kind.SERVER:
        return parse_server(text)
    if parameter.kind is Kind.NUMBER:
        if not re.fullmatch(r"\d{1,9}", text):
            raise InvalidInput(f"'{text}' is no number ({parameter.name})")
        return int(text)
    if parameter.kind is Kind.DURATION:
        return parse_duration(text)
    if parameter.kind is Kind.FLAG:
        return parse_flag(parameter.name, text)
    return text


def parse_flag(name: str, text: str) -> bool:
    """A flag that is named without a value is set. Raises InvalidInput: a word misread as no could start a failover."""
    word = text.lower()
    if word in _SET:
        return True
    if word in _UNSET:
        return False
    raise InvalidInput(f"'{text}' is neither true nor false ({name}): write {name}=true or {name}=false")


def parse_server(text: str) -> InstanceKey:
    """``host:port`` as a key; the host may be a name of any form, since aliases are allowed here."""
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch(r"\d{1,5}", port) or not 0 < int(port) < 65536:
        raise InvalidInput(f"Invalid port: {port or text}: write host:port")
    return InstanceKey(host.removeprefix("[").removesuffix("]"), int(port))


def parse_duration(text: str) -> int:
    """``30s``, ``10m``, ``2h``, ``1d``, ``1w`` as seconds."""
    match = _DURATION.match(text)
    if match is None:
        raise InvalidInput(f"'{text}' is no duration: write a number and s, m, h, d or w, as in 30s or 10m")
    return int(match[1]) * _UNITS_S[match[2]]
