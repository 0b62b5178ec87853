"""The shared secret that proves membership where there is no TLS: 32 random bytes in a file that only its owner reads.

Three nodes on one machine have three data directories and so three files. Therefore the accepting node names the path
of its file, and the dialling one uses that file if it can: whoever may read it belongs here. Where it cannot, it uses
its own, for people who gave all nodes the same file. Nothing but a proof ever travels.

A listener may name any path, so the named file is used only if it looks exactly like one of ours: the name, a regular
file, the owner, the rights, the length and the form of its content.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from orchestrator_raft.core.errors import StartupError

SECRET_FILE = "raft.secret"
_FORM = re.compile(rb"^[0-9a-f]{64}\n$")
_LENGTH = 65


@dataclass(frozen=True, slots=True)
class Secret:
    """A key and where it lies; the key never appears in messages."""

    key: bytes
    path: str = ""

    def __repr__(self) -> str:
        return f"<Secret in {self.path or 'memory'}>"


def own_secret(data_dir: Path) -> Secret:
    """The secret of this node, made at its first start. Raises StartupError if it lies open or is malformed."""
    path = data_dir.absolute() / SECRET_FILE
    try:
        _create(path)
        key = _read(path)
    except OSError as error:
        raise StartupError(
            f"{path} cannot be used: {error.strerror or error}; check the rights of its directory"
        ) from error
    except ValueError as error:
        raise StartupError(
            f"{path} cannot be used: {error}; correct that, or remove it on all nodes and restart them"
        ) from error
    return Secret(key, str(path))


def named_secret(path_text: str) -> Secret | None:
    """The secret of a node on this machine that names its file; None if that is not ours to use."""
    path = Path(path_text)
    if not path.is_absolute() or path.name != SECRET_FILE:
        return None
    try:
        return Secret(_read(path), path_text)
    except (OSError, ValueError):
        return None


def _create(path: Path) -> None:
    """Write it whole under another name first: two processes that start at once end up with one and the same."""
    if path.exists():
        return
    draft = path.with_name(f".{SECRET_FILE}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def _read(path: Path) -> bytes:
    """Raises OSError or ValueError with what is wrong."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        if status.st_uid not in (os.geteuid(), 0):
            raise ValueError("it belongs to another user")
        if status.st_mode & 0o077:
            raise ValueError("others may read it (its mode must be 0600)")
        content = file.read(_LENGTH + 1)
    if _FORM.match(content) is None:
        raise ValueError("it is no secret: 64 hexadecimal digits and a line end are expected")
    return bytes.fromhex(content.decode().strip())
