"""Single ports for tests, below the blocks of ``sandbox.ports``: no two test processes ever get the same one.

A process locks a range of its own for as long as it lives and goes round in it, past whatever is in use just now.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FIRST, LAST, COUNT = 12_000, 19_999, 200


@cache
def _own() -> Iterator[int]:
    folder = Path(tempfile.gettempdir(), f"orchestrator-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for first in range(FIRST, LAST, COUNT):
        lock = os.open(folder / f"{first}.lock", os.O_RDWR | os.O_CREAT)  # kept until the process ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return itertools.cycle(range(first, first + COUNT))
    raise AssertionError(f"every range of ports between {FIRST} and {LAST} is taken")


def free_port(hosts: tuple[str, ...] = ("127.0.0.1",)) -> int:
    """A port that nobody has on any of these hosts just now, and no other test process will take."""
    own = _own()
    for _ in range(COUNT):
        port = next(own)
        if all(_is_free(host, port) for host in hosts):
            return port
    raise AssertionError("no free port was found")


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
