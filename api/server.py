"""``ApiServer``: listens for HTTP on an address or a unix socket, and stops in order.

Stopping: no new connections, idle ones closed, requests under way get their time, what is left is cut off. A socket or
an address that cannot be had is a StartupError of one line: which, why, and the way out.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from orchestrator_raft.core.errors import StartupError

IN_USE = "another process listens there: stop it, or set {key} to another one"
NO_NAME = "this name has no address: correct {key}, or leave the host out"
NO_SOCKET = "a file that is no socket is in the way: remove it, or set {key} to another one"
REASONS = {
    errno.EADDRINUSE: IN_USE,
    errno.EADDRNOTAVAIL: "this machine has no such address: set {key} to one it has, or leave the host out",
    errno.EACCES: "this user may not listen there: set {key} to another one, or give the user the right",
    errno.ENOENT: "there is no such directory: create it, or set {key} to another one",
}
NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
CONNECT_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """``host`` None means every address of this machine, IPv4 and IPv6."""

    host: str | None
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host or ""
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A path in the file system."""

    path: str

    def __str__(self) -> str:
        return self.path


Listen = TcpAddress | UnixSocket


def _is_no_strangers_mistake(record: logging.LogRecord) -> bool:
    """aiohttp logs a traceback for each malformed request, so anybody could fill the log: such lines are left out."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


logging.getLogger("aiohttp.server").addFilter(_is_no_strangers_mistake)


class ApiServer:
    """One listening HTTP server."""

    def __init__(
        self,
        app: web.Application,
        listen: Listen,
        *,
        tls: ssl.SSLContext | None = None,
        shutdown_timeout_s: float = 10.0,
    ) -> None:
        self._listen = listen
        self._tls = tls
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=False, shutdown_timeout=shutdown_timeout_s
        )

    def __repr__(self) -> str:
        return f"<ApiServer on {self._listen}>"

    @property
    def port(self) -> int:
        """The port it listens on (the one chosen by the system when 0 was asked for)."""
        return next(int(address[1]) for address in self._runner.addresses if isinstance(address, tuple))

    async def start(self) -> None:
        """Listen. Raises StartupError when the address cannot be had; then nothing is left open."""
        await self._runner.setup()
        try:
            await self._open()
        except OSError as error:
            await self._runner.cleanup()
            raise StartupError(f"cannot serve HTTP on {self._listen}: {self._explain(error)}") from error

    async def _open(self) -> None:
        if isinstance(self._listen, UnixSocket):
            await _require_unused(Path(self._listen.path))
            await web.UnixSite(self._runner, self._listen.path).start()
            return
        host, port = self._listen.host, self._listen.port
        try:
            await self._open_tcp(host, port)
        except OSError as error:
            if host is not None or error.errno not in NO_IPV6:
                raise
            await self._open_tcp("0.0.0.0", port)  # this machine has no IPv6

    async def _open_tcp(self, host: str | None, port: int) -> None:
        site = web.TCPSite(self._runner, host, port, ssl_context=self._tls)
        try:
            await site.start()
        except OSError:
            await site.stop()
            raise

    def _explain(self, error: OSError) -> str:
        key = "ListenAddress" if isinstance(self._listen, TcpAddress) else "ListenSocket"
        if isinstance(error, socket.gaierror):
            return NO_NAME.format(key=key)
        if isinstance(error, FileExistsError):
            return NO_SOCKET.format(key=key)
        reason = REASONS.get(error.errno or 0, f"{error.strerror or error}: set {{key}} to another one")
        return reason.format(key=key)

    async def stop(self) -> None:
        """Stop in order. Safe to call when it never started, and twice."""
        was_open = bool(self._runner.sites)
        await self._runner.cleanup()
        if was_open:
            self._remove_socket()

    def _remove_socket(self) -> None:
        if isinstance(self._listen, UnixSocket):
            Path(self._listen.path).unlink(missing_ok=True)


def _is_socket(path: Path) -> bool:
    """Whether a socket is there. Raises FileExistsError when it is something else."""
    if not path.exists():
        return False
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(errno.EEXIST, "is no socket", str(path))
    return True


async def _require_unused(path: Path) -> None:
    """A socket left behind by a dead process is taken over; one that somebody listens on is not. Raises OSError."""
    if not _is_socket(path):
        return
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_unix_connection(str(path))
    except (ConnectionError, TimeoutError):
        return
    writer.close()
    raise OSError(errno.EADDRINUSE, "in use", str(path))
