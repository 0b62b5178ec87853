"""The directory of one node: made at first start, held by one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from orchestrator_raft.core.errors import StartupError

STORE_FILE = "raft.sqlite"
LOCK_FILE = "raft.lock"


class DataDir:
    """``path`` exists, is writable and belongs to this process until ``release``. Raises StartupError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartupError(
                f"RaftDataDir {path} cannot be used: {error.strerror or error}; make it writable for this user"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StartupError(
                f"RaftDataDir {path} is in use by another process: stop that one, or give this node its own"
            ) from error

    @property
    def store(self) -> Path:
        return self.path / STORE_FILE

    def release(self) -> None:
        os.close(self._lock)
