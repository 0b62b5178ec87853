"""How Go's encoding/json writes things: the small shapes that all replies are made of.

Rules: a nullable number is an object, a duration is integer nanoseconds, a key is an object and a missing key an empty
one, times are texts. Nothing here knows servers or clusters.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from orchestrator_raft.core.instance import Coordinates, InstanceKey

Json = Any
NO_KEY = {"Hostname": "", "Port": 0}
ZERO_TIME = "0001-01-01T00:00:00Z"
_ESCAPES = ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"),
            ("\u2028".encode(), b"\\u2028"), ("\u2029".encode(), b"\\u2029"))  # fmt: skip
_QUOTED = {"\\": "\\\\", '"': '\\"', "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
           "\v": "\\v"}  # fmt: skip


def dump(value: Json) -> bytes:
    """Compact JSON with ``<``, ``>`` and ``&`` escaped, as Go does. These never stand outside a JSON text."""
    text = orjson.dumps(value)
    for plain, escaped in _ESCAPES:
        text = text.replace(plain, escaped)
    return text


def key_json(key: InstanceKey | None) -> Json:
    return {"Hostname": key.hostname, "Port": key.port} if key is not None else dict(NO_KEY)


def keys_json(keys: Iterable[InstanceKey]) -> Json:
    return [key_json(key) for key in keys]


def coordinates_json(coordinates: Coordinates, *, relay: bool = False) -> Json:
    return {"LogFile": coordinates.log_file, "LogPos": coordinates.log_position, "Type": 1 if relay else 0}


def null_int(value: float | None) -> Json:
    """sql.NullInt64."""
    return {"Int64": int(value) if value is not None else 0, "Valid": value is not None}


def null_bool(value: bool | None) -> Json:
    """sql.NullBool."""
    return {"Bool": bool(value), "Valid": value is not None}


def timestamp(at_ms: float | None) -> str:
    """RFC 3339 in UTC, to the second; empty for no time (None or 0)."""
    if not at_ms:
        return ""
    return datetime.fromtimestamp(int(at_ms) // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


def quoted(text: str) -> str:
    """A text as Go quotes it, which is how error texts of replication threads are shown; '' stays ''."""
    if not text:
        return ""
    return '"' + "".join(_QUOTED.get(char) or _printable(char) for char in text) + '"'


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
