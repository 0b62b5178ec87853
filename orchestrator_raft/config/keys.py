"""How a key of the configuration file is declared: one call of ``key()`` beside one typed field of the model.

Rules
- The name in the file is the alias, in orchestrator's own capitals; the field is the same name in snake_case.
- The help is one line with the unit in it. It becomes the JSON Schema, the reference page and ``config explain``.
- ``expands`` marks credentials, addresses and paths, the only places where ``${NAME}`` is replaced (design D9).
- ``hidden`` marks values that may hold a secret though they are no password: hook commands, the query that returns the
  replication password. They are kept out of ``repr`` and of ``Settings.masked()`` like a SecretStr.
- Every number has limits. The widest ones keep a sum with today's date inside the calendar.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from pydantic import Field

SECONDS_MAX = 3_600_000_000
MINUTES_MAX = 60_000_000
HOURS_MAX = 1_000_000
DAYS_MAX = 40_000
COUNT_MAX = 2_147_483_647
PORT_MAX = 65_535
UNITS: Mapping[str, int] = {
    "Milliseconds": 3_600_000,
    "Seconds": SECONDS_MAX,
    "Minutes": MINUTES_MAX,
    "Hours": HOURS_MAX,
    "Days": DAYS_MAX,
    "Port": PORT_MAX,
}


class Kind(Enum):
    """The JSON type of a value; the text is what a person is told to write."""

    FLAG = "true or false"
    WHOLE = "a whole number"
    NUMBER = "a number"
    TEXT = "a text"
    TEXTS = "a list of texts"
    TEXT_MAP = "an object whose values are texts"

    def fits(self, value: object) -> bool:
        """Does this JSON value have the type?"""
        match self:
            case Kind.FLAG:
                return isinstance(value, bool)
            case Kind.WHOLE:
                return isinstance(value, int) and not isinstance(value, bool)
            case Kind.NUMBER:
                return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            case Kind.TEXT:
                return isinstance(value, str)
            case Kind.TEXTS:
                return isinstance(value, list) and all(isinstance(item, str) for item in value)
            case Kind.TEXT_MAP:
                return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def most_for(name: str) -> int:
    """The upper limit of a number, by the unit in its name."""
    return next((most for unit, most in UNITS.items() if name.endswith(unit)), COUNT_MAX)


def key(
    name: str, default: Any, help_text: str, *, least: int = 0, most: int | None = None,
    expands: bool = False, hidden: bool = False,
) -> Any:  # fmt: skip
    """Declare the field of one key. ``least`` and ``most`` count only for numbers."""
    is_number = isinstance(default, int | float) and not isinstance(default, bool)
    limits: dict[str, Any] = {"ge": least, "le": most_for(name) if most is None else most} if is_number else {}
    marks: dict[str, Any] = {"expands": expands, "hidden": hidden}
    return Field(default=default, alias=name, description=help_text, json_schema_extra=marks, **limits)
