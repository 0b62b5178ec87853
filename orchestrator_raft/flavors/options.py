"""Channel options: read from result rows, written into a CHANGE statement, by one table per dialect.

A table row says how the CHANGE statement names the option, in which column the server reports it, and what kind of
value it is. Passwords have no row: they are never read here. Values the server reports as NULL are left out, which
means: its default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from orchestrator_raft.core.instance import ChannelOption
from orchestrator_raft.flavors.base import Row


class Kind(Enum):
    """How a value is read from a row and written into a statement."""

    TEXT = "text"
    NUMBER = "number"
    SECONDS = "seconds with a fraction"
    SWITCH = "switch"
    WORD = "keyword, written without quotes"
    ACCOUNT = "account, quoted by the server itself"
    NUMBERS = "list of numbers"


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a channel."""

    name: str
    column: str
    kind: Kind = Kind.TEXT
    host_bound: bool = False
    """It names something of this very host, such as a network interface, and means nothing on another one."""


_ON = frozenset({"1", "ON", "YES"})
_WORD = re.compile(r"[A-Z_]+")
_ACCOUNT = re.compile(r"'[^'\\]+'@'[^'\\]+'")
_NUMBERS = re.compile(r"(\d+(, *\d+)*)?")


def quoted(value: str) -> str:
    """A string literal; sessions that say it have backslash escapes on (see ``mysql.sessions``)."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def read_options(table: Iterable[Option], row: Row) -> tuple[ChannelOption, ...]:
    """Every option of the table that the row has. Raises ValueError for a value that is not of its kind."""
    found = ((option, row.get(option.column)) for option in table)
    return tuple(
        ChannelOption(option.name, _read(option.kind, str(value))) for option, value in found if value is not None
    )


def _read(kind: Kind, value: str) -> str | int | float:
    if kind is Kind.NUMBER:
        return int(value)
    if kind is Kind.SECONDS:
        return float(value)
    if kind is Kind.SWITCH:
        return int(value.upper() in _ON)
    return value


def write_options(table: Iterable[Option], options: Iterable[ChannelOption]) -> Iterator[str]:
    """The options as terms of a CHANGE statement. Raises ValueError for one that the table does not know."""
    kinds = {option.name: option.kind for option in table}
    for option in options:
        if option.name not in kinds:
            raise ValueError(f"{option.name} is no channel option of this dialect")
        yield f"{option.name} = {_written(option, kinds[option.name])}"


def _written(option: ChannelOption, kind: Kind) -> str:
    value = option.value
    if isinstance(value, int | float):
        return f"{value}"
    plain = {Kind.WORD: _WORD, Kind.ACCOUNT: _ACCOUNT, Kind.NUMBERS: _NUMBERS}.get(kind)
    if plain is None:
        return quoted(value)
    if plain.fullmatch(value) is None:
        raise ValueError(f"{option.name} cannot be written: {value!r}")
    return f"({value})" if kind is Kind.NUMBERS else value


def without_host_bound(table: Iterable[Option], options: Iterable[ChannelOption]) -> tuple[ChannelOption, ...]:
    """Options that may be carried over to another host."""
    bound = {option.name for option in table if option.host_bound}
    return tuple(option for option in options if option.name not in bound)
