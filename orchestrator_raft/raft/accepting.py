"""The listening side: new connections, TLS, and what people cost whom nobody knows yet.

Rules
- A stranger is a connection that has not yet proved that it belongs. There are at most ``STRANGERS_MAX`` of them, at
  most ``STRANGERS_PER_IP`` from one address, and each has ``HANDSHAKE_S`` for everything, TLS included; so whoever
  opens connections and says nothing holds few places for a short time, and members from other addresses pass.
- What goes wrong is told in the log, at a bounded rate (``complaints``).
- The certificates are asked for at each connection, so renewed ones are used at once.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.complaints import Complaints
from orchestrator_raft.raft.connection import BROKEN, why
from orchestrator_raft.raft.settings import Address
from orchestrator_raft.tasks import Tasks

HANDSHAKE_S = 2.0
STRANGERS_MAX = 64
STRANGERS_PER_IP = 8
BACKLOG = 128
PAUSE_S = 0.2
"""After accepting has failed, mostly for want of file descriptors."""
NOT_HERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
M = TypeVar("M")


class Acceptor(Generic[M]):
    """``meet`` finds out who a stranger is and gives what ``serve`` needs, or None; ``serve`` then has no deadline."""

    def __init__(
        self, *, tasks: Tasks, complaints: Complaints, context: Callable[[], ssl.SSLContext | None],
        meet: Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[M | None]],
        serve: Callable[[M], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._tasks = tasks
        self._complaints = complaints
        self._context = context
        self._meet = meet
        self._serve = serve
        self._listening: list[asyncio.Task[None]] = []
        self._sockets: list[socket.socket] = []
        self._is_closing = False
        self._from: Counter[str] = Counter()

    @property
    def strangers(self) -> int:
        return self._from.total()

    async def start(self, bind: Address) -> None:
        """Listen. Raises StartupError that names the address and the cause."""
        try:
            self._sockets = await _sockets(bind)
        except OSError as error:
            raise StartupError(f"cannot listen on {bind} (RaftBind): {error.strerror or error}") from error
        self._listening = [self._tasks.start(f"accept on {bind}", self._keep_accepting(each)) for each in self._sockets]

    def abort(self) -> None:
        """Accept nothing more; whoever is being met is dropped."""
        self._is_closing = True
        for task in self._listening:
            task.cancel()

    async def close(self) -> None:
        """Until the address is free again."""
        self.abort()
        if self._listening:
            await asyncio.wait(self._listening)
        for each in self._sockets:  # a task that was cancelled before its first step has closed nothing
            each.close()

    async def _keep_accepting(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listening:
            while True:
                try:
                    connected, address = await loop.sock_accept(listening)
                except ConnectionAbortedError:
                    continue
                except OSError as error:
                    self._complaints.note("accepting", f"cannot accept connections of other nodes: {why(error)}")
                    await asyncio.sleep(PAUSE_S)
                    continue
                self._accepted(connected, str(address[0]).partition("%")[0])

    def _accepted(self, connected: socket.socket, ip: str) -> None:
        crowd = self.strangers >= STRANGERS_MAX
        if crowd or self._from[ip] >= STRANGERS_PER_IP:
            connected.close()
            limit, where = (STRANGERS_MAX, "") if crowd else (STRANGERS_PER_IP, f" from {ip}")
            self._complaints.stranger(ip, f"more than {limit} connections{where} wait for a handshake; closed one")
            return
        self._from[ip] += 1
        self._tasks.start(f"accepted from {ip}", self._admit(connected, ip))

    async def _admit(self, connected: socket.socket, ip: str) -> None:
        met: M | None = None
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                reader, writer = await self._open(connected)
                met = await self._meet(reader, writer, ip)
        except BROKEN as error:
            self._complaints.stranger(ip, f"a connection from {ip} was refused: {why(error)}")
        finally:
            self._from[ip] -= 1
            self._from += Counter()  # drops those that are zero
            if met is None:
                _drop(connected, writer)
        if met is not None:
            await self._serve(met)

    async def _open(self, connected: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connected.setblocking(False)
        loop, context = asyncio.get_running_loop(), self._context()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, connected, ssl=context, ssl_handshake_timeout=HANDSHAKE_S if context is not None else None
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def _drop(connected: socket.socket, writer: asyncio.StreamWriter | None) -> None:
    if writer is None:
        connected.close()
    elif not writer.transport.is_closing():
        writer.transport.abort()


async def _sockets(bind: Address) -> list[socket.socket]:
    """One for each address that ``bind`` stands for; of a wildcard, those families that this machine has."""
    found = await asyncio.get_running_loop().getaddrinfo(
        None if bind.is_wildcard else bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "the name stands for no address")
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sockets.append(_listening(family, address))
            except OSError as error:
                failure = error
                if error.errno not in NOT_HERE:
                    raise
        if not sockets:
            raise failure
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def _listening(family: int, address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made
