"""Blocks of ports that nobody else uses: several test runs and demos may share a machine.

A block is reserved by a lock on a small file, which the kernel gives back when the process ends, and taken only if all
its ports are free at that moment. All blocks lie below the ephemeral ports, which any client may occupy at any time.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.errors import SandboxError

FIRST, LAST, BLOCK = 20000, 31999, 20


@contextmanager
def reserved() -> Iterator[range]:
    """A block of ``BLOCK`` ports, ours inside the with statement. Raises SandboxError if none is left."""
    folder = Path(tempfile.gettempdir(), f"orchestrator-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for base in range(FIRST, LAST - BLOCK + 2, BLOCK):
        with (folder / f"{base}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            block = range(base, base + BLOCK)
            if all(is_free(port) for port in block):
                yield block
                return
    raise SandboxError(f"no {BLOCK} free ports in a row between {FIRST} and {LAST}: end what is listening there")


def is_free(port: int) -> bool:
    """Nobody listens there on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
