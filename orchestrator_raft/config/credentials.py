r"""The file named by MySQLTopologyCredentialsConfigFile: user and password in a section ``[client]``.

The syntax is git's: ``[section]``, ``name = value``, ``#`` and ``;`` begin a comment, double quotes keep spaces and
comment signs, and ``\"``, ``\\``, ``\n``, ``\t``, ``\b`` are escapes. Single quotes are ordinary characters. Errors
name the file and the line, never its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

BYTES_MAX = 100_000
_SECTION = re.compile(r'^\[\s*(?P<name>[A-Za-z0-9.-]+)\s*(?:"[^"]*")?\s*\]\s*(?:[#;].*)?$')
_SETTING = re.compile(r"^(?P<name>[A-Za-z][A-Za-z0-9_-]*)\s*(?:=\s*(?P<value>.*))?$")
_PIECE = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|\\(?P<escape>.)|(?P<comment>[#;].*)|(?P<plain>[^"\\#;]+)')
_ESCAPED = re.compile(r"\\(.)")
_ESCAPES: Mapping[str, str] = {'"': '"', "\\": "\\", "n": "\n", "t": "\t", "b": "\b"}


class BadCredentials(ValueError):
    """The file cannot be used; the text says where and why, without its content."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the file gives; None for what it does not name."""

    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, password={'***' if self.password else self.password!r})"


def read_credentials(path: Path) -> Credentials:
    """Read the file. Raises BadCredentials if it cannot be read, is malformed, or has no section [client]."""
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
        raise BadCredentials(f"cannot be read: {reason}") from None
    if len(content) > BYTES_MAX:
        raise BadCredentials(f"has more than {BYTES_MAX} bytes: this is no credentials file")
    try:
        return parse_credentials(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise BadCredentials("is not UTF-8 text") from None


def parse_credentials(text: str) -> Credentials:
    """The same for the content of a file."""
    found = Credentials()
    section = ""
    sections: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            section = _section(line, number)
            sections.add(section)
            continue
        name, value = _setting(line, number)
        if section == "client" and name in ("user", "password"):
            found = replace(found, **{name: value})
    if "client" not in sections:
        raise BadCredentials("has no section [client]")
    return found


def _section(line: str, number: int) -> str:
    match = _SECTION.match(line)
    if match is None:
        raise BadCredentials(f"line {number}: is no section: write [client]")
    return match["name"].lower()


def _setting(line: str, number: int) -> tuple[str, str]:
    match = _SETTING.match(line)
    if match is None:
        raise BadCredentials(f"line {number}: is no setting: write name = value")
    return match["name"].lower(), _value(match["value"] or "", number)


def _value(text: str, number: int) -> str:
    """Join quoted and plain pieces; only plain text loses the space at its ends."""
    value, kept, position = "", 0, 0
    while position < len(text):
        piece = _PIECE.match(text, position)
        if piece is None:
            raise BadCredentials(f"line {number}: a quote is not closed, or a backslash stands alone")
        position = piece.end()
        if piece["comment"] is not None:
            break
        if piece["plain"] is not None:
            value += piece["plain"]
            kept = max(kept, len(value.rstrip()))
            continue
        value += _unescaped(piece["quoted"] if piece["escape"] is None else piece[0], number)
        kept = len(value)
    return value[:kept]


def _unescaped(text: str, number: int) -> str:
    unknown = [sign for sign in _ESCAPED.findall(text) if sign not in _ESCAPES]
    if unknown:
        raise BadCredentials(f'line {number}: only \\" \\\\ \\n \\t \\b may follow a backslash')
    return _ESCAPED.sub(lambda match: _ESCAPES[match[1]], text)
