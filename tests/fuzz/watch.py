"""Watches what Python does while foreign bytes are read: nothing may be imported, compiled, unpickled or started.

Python reports such things to audit hooks. A hook cannot be taken away again, so there is one, and it sleeps outside
``watching``. cattrs makes a function for each of our own classes when it first meets it; those are allowed.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FORBIDDEN = (
    "pickle.find_class", "marshal.", "import", "exec", "compile", "code.__new__", "os.system", "os.exec", "os.fork",
    "os.posix_spawn", "os.spawn", "os.startfile", "subprocess.", "pty.", "ctypes.", "socket.connect",
    "sqlite3.enable_load", "sqlite3.load_extension",
)  # fmt: skip
GENERATED = "<cattrs generated"
_seen: list[str] | None = None
_is_installed = False


@contextmanager
def watching() -> Iterator[list[str]]:
    """Collects what happened and must not; the caller looks at it afterwards."""
    global _seen, _is_installed
    if not _is_installed:
        sys.addaudithook(_heard)
        _is_installed = True
    seen: list[str] = []
    _seen = seen
    try:
        yield seen
    finally:
        _seen = None


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is not None and event.startswith(FORBIDDEN) and not _is_generated(event, arguments):
        _seen.append(f"{event} {str(arguments)[:200]}")


def _is_generated(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "exec" and isinstance(arguments[0], types.CodeType):
        return arguments[0].co_filename.startswith(GENERATED)
    return event == "compile" and str(arguments[1]).startswith(GENERATED)
