"""What reading a configuration found out, as values: errors, warnings and notes, each one line that stands alone.

An error stops the node. A warning says that the file does not get what it asks for; ``config check --strict`` makes it
an error. A note is worth knowing and needs no action. Nothing here may hold the value of a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

SHOWN_LENGTH_MAX = 60
_URL_CREDENTIALS = re.compile(r"""//[^\s"]*@""")


@dataclass(frozen=True, slots=True)
class Findings:
    """Lines for the reader, in the order in which they were found."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            self.errors + other.errors, self.warnings + other.warnings, self.notes + other.notes
        )  # fmt: skip


def total(parts: Iterable[Findings]) -> Findings:
    found = Findings()
    for part in parts:
        found += part
    return found


def error(line: str) -> Findings:
    return Findings(errors=(printable(line),))


def warning(line: str) -> Findings:
    return Findings(warnings=(printable(line),))


def note(line: str) -> Findings:
    return Findings(notes=(printable(line),))


def printable(text: str) -> str:
    """The text in one line, other signs than printable ones as escapes."""
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text)


def without_credentials(text: str) -> str:
    """The text with the user and password of every URL in it covered."""
    return _URL_CREDENTIALS.sub("//***@", text)


def shown(value: object, length_max: int = SHOWN_LENGTH_MAX) -> str:
    """A JSON value as one short printable line. Not for secrets."""
    text = printable(without_credentials(json.dumps(value, ensure_ascii=False, default=str)))
    return text if len(text) <= length_max else text[: length_max - 3] + "..."
