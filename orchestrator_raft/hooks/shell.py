"""Runs one shell command to its end: own process group, bounded time, bounded output.

The group is killed when the time is over or the caller is cancelled. What a command leaves running in the background
on purpose (``daemon &`` inside of it) is left alone once the command itself has ended, and does not hold anybody up:
its output is not waited for.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

OUTPUT_MAX = 8192
"""Bytes of output kept of each command: the last ones, since they tell why it failed."""
DRAIN_S = 0.2
"""Seconds to wait for the rest of the output after the command has ended."""
KILL_S = 2.0
"""Seconds to wait for a killed command to be gone."""
_CONTROL = re.compile(r"[^\S\n\t ]|[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_HINTS = {127: " (a program it needs was not found)", 126: " (a program of it is not executable)"}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended; ``failure`` is empty when it ended well."""

    failure: str
    output: str
    elapsed_ms: int


class _Process(asyncio.SubprocessProtocol):
    """Hears of the process, keeps the tail of its output, ends it with all that it started."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.exited = asyncio.Event()
        self.drained = asyncio.Event()
        self._transport: asyncio.SubprocessTransport | None = None
        self._tail = bytearray()
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self.connected.set()

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        if isinstance(data, bytes):
            self._size += len(data)
            self._tail = (self._tail + data)[-OUTPUT_MAX:]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.drained.set()

    def process_exited(self) -> None:
        self.exited.set()

    @property
    def output(self) -> str:
        text = _CONTROL.sub("", bytes(self._tail).decode("utf-8", "replace")).strip()
        cut = self._size - len(self._tail)
        return f"({cut} bytes left out) {text}" if cut else text

    @property
    def code(self) -> int:
        return (self._transport.get_returncode() if self._transport else None) or 0

    async def end(self) -> None:
        """Kill what still runs and let go. It leads its own group, whose number is its own until it has exited."""
        transport = self._transport
        if transport is None:
            return
        if transport.get_returncode() is None:
            with suppress(ProcessLookupError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
        await _happens(self.exited, KILL_S)
        transport.close()


async def run_command(
    shell: str, command: str, arguments: Sequence[str], environ: Mapping[str, str], *, timeout_s: float
) -> Ended:
    """Run ``shell -c command`` with positional ``arguments``; standard input is empty. Never raises for the command."""
    begun_s = time.monotonic()
    process = _Process()
    start = asyncio.get_running_loop().subprocess_exec(
        lambda: process, shell, "-c", command, "orchestrator_raft", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env=dict(environ), start_new_session=True,
    )  # fmt: skip
    try:
        await asyncio.shield(start)
    except (OSError, ValueError) as error:
        return Ended(f"could not be started with {shell}: {error}", "", _elapsed_ms(begun_s))
    except asyncio.CancelledError:
        await _happens(process.connected, KILL_S)
        await process.end()
        raise
    try:
        in_time = await _happens(process.exited, timeout_s)
        if in_time:
            await _happens(process.drained, DRAIN_S)
    finally:
        await process.end()
    return Ended(_failure(process, in_time, timeout_s), process.output, _elapsed_ms(begun_s))


async def _happens(event: asyncio.Event, timeout_s: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()


def _failure(process: _Process, in_time: bool, timeout_s: float) -> str:
    if not in_time:
        rest = "" if process.exited.is_set() else ", and it is still there"
        return f"not done within {timeout_s:.3g} s, so it was killed with all it had started{rest}"
    if process.code < 0:
        return f"killed by signal {-process.code}"
    return f"exit code {process.code}{_HINTS.get(process.code, '')}" if process.code else ""


def _elapsed_ms(begun_s: float) -> int:
    return round((time.monotonic() - begun_s) * 1000)
