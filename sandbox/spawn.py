"""Start a child process that cannot outlive us, whatever happens to us.

Theory. The kernel sends a child the signal it asked for (PR_SET_PDEATHSIG) when the *thread* that started it ends. So
every child is started by one thread of this module that lives as long as the process, and asks through ``setpriv`` of
util-linux, since Python code between fork and exec is unsafe with threads. Where there is no setpriv, an atexit handler
ends what is left; only a SIGKILL of ourselves then leaves children behind, and their pid files let the next run end
them (``end_stale``).
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sandbox.errors import SandboxError

SPAWN_TIMEOUT_S = 30.0
END_TIMEOUT_S = 10.0

Process = subprocess.Popen[bytes]

_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-spawn")
_CHILDREN: weakref.WeakSet[Process] = weakref.WeakSet()


def spawn(command: Sequence[str], *, log: Path, environ: Mapping[str, str], folder: Path) -> Process:
    """Start a program in a session of its own, its output appended to ``log``; it is killed when we end."""
    return _SPAWNER.submit(_start, command, log, environ, folder).result(SPAWN_TIMEOUT_S)


def _start(command: Sequence[str], log: Path, environ: Mapping[str, str], folder: Path) -> Process:
    setpriv = shutil.which("setpriv")
    ask = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*ask, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder,
            env={**os.environ, **environ}, start_new_session=True,
        )  # fmt: skip
    _CHILDREN.add(process)
    return process


@atexit.register
def kill_children() -> None:
    """End everything that is still running."""
    for process in list(_CHILDREN):
        if process.poll() is None:
            process.kill()


def command_line(pid: int) -> list[str]:
    """The arguments of a running process; empty if there is none (or it is a zombie)."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [part.decode(errors="replace") for part in text.split(b"\0") if part]


def end_stale(pid_file: Path, argument: str) -> None:
    """Kill the process of an earlier run, by its pid file, but only if its command line holds ``argument``.

    A pid that meanwhile belongs to somebody else is left alone. Raises SandboxError if the process does not end.
    """
    text = pid_file.read_text().strip() if pid_file.exists() else ""
    if not text.isdigit() or argument not in command_line(int(text)):
        return
    os.kill(int(text), signal.SIGKILL)
    deadline_s = time.monotonic() + END_TIMEOUT_S
    while argument in command_line(int(text)):
        if time.monotonic() > deadline_s:
            raise SandboxError(f"process {text} of an earlier run ({argument}) does not end: kill it by hand")
        time.sleep(0.01)
