"""A network between processes on loopback that can be cut: one proxy in front of every node (asyncio, no root needed).

A node listens on its *real* address and is known to the others by the address of its proxy. Who dials is found from
the kernel's table of connections and the dialling process's descriptors, so nothing of what travels is read here.

What a cut looks like, by direction:
- ``hold`` is a network that loses packets: what is under way arrives after ``heal``, late, as TCP's retransmission
  brings it; ends of connections are held, too; a new connection needs both directions and waits until both are open.
- ``refuse`` is a network that says no: connections are reset, new ones too.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator_raft.tasks import Tasks
from sandbox.errors import SandboxError

READ_BYTES = 64 * 1024
CONNECTIONS_MAX = 256
BROKEN = (OSError, EOFError, RuntimeError)
"""How a connection ends that one of its sides has closed. RuntimeError is uvloop's word for it."""
Endpoint = tuple[str, int]
Way = tuple[str, str]
"""(sending node, receiving node)"""


@dataclass(eq=False, slots=True)
class _Connection:
    """One connection that is carried: who dialled whom, and the two sockets it consists of."""

    source: str
    target: str
    writers: list[asyncio.StreamWriter]

    def abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Network:
    """``pids`` gives the processes that may dial now, by node; a stranger's connection is reset."""

    def __init__(self, pids: Callable[[], dict[str, int]], on_failure: Callable[[str, BaseException], None]) -> None:
        self._pids = pids
        self._tasks = Tasks("network", on_failure)
        self._servers: list[asyncio.Server] = []
        self._connections: set[_Connection] = set()
        self._held: set[Way] = set()
        self._refused: set[Way] = set()
        self._changed = asyncio.Event()

    async def place(self, node: str, proxy: Endpoint, real: Endpoint) -> None:
        """Listen at ``proxy`` for connections to ``node``, which listens at ``real``. Raises SandboxError."""

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._connections) >= CONNECTIONS_MAX:
                writer.transport.abort()
                return
            connection = _Connection("", node, [writer])
            self._connections.add(connection)
            self._tasks.start(f"carry to {node}", self._carry(connection, real, reader, writer))

        try:
            self._servers.append(await asyncio.start_server(accepted, *proxy))
        except OSError as error:
            raise SandboxError(f"no proxy for {node} at {proxy[0]}:{proxy[1]}: {error.strerror or error}") from error

    # cutting

    def hold(self, source: str, target: str) -> None:
        """From now on nothing of ``source`` reaches ``target``; the other direction is not touched."""
        self._held.add((source, target))

    def refuse(self, one: str, other: str) -> None:
        """Reset everything between the two, now and until ``heal``."""
        self._refused |= {(one, other), (other, one)}
        for connection in list(self._connections):
            if (connection.source, connection.target) in self._refused:
                connection.abort()

    def heal(self) -> None:
        """All links work again, and what was held goes on."""
        self._held.clear()
        self._refused.clear()
        self._changed.set()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        """Stop listening and end every connection."""
        for server in self._servers:
            server.close()
        await self._tasks.close()
        for connection in list(self._connections):  # also those whose task was ended before it began
            connection.abort()
        await asyncio.sleep(0)

    # carrying

    async def _carry(
        self, connection: _Connection, real: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        source, target = self._origin(writer), connection.target
        connection.source = source or ""
        try:
            if source is None or (source, target) in self._refused:
                return
            await self._open((source, target), (target, source))
            far_reader, far_writer = await asyncio.open_connection(*real)
            connection.writers.append(far_writer)
            back = self._tasks.start(f"{target} to {source}", self._pump((target, source), far_reader, writer))
            await self._pump((source, target), reader, far_writer)
            await back
        except BROKEN:
            return  # a side has gone: so does the other, below
        finally:
            connection.abort()
            self._connections.discard(connection)

    async def _pump(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction, until its sender ends; then the receiver is told, as soon as the way is open."""
        try:
            while data := await reader.read(READ_BYTES):
                await self._open(way)
                writer.write(data)
                await writer.drain()
            await self._open(way)
        except BROKEN:
            await self._open(way)
        writer.transport.abort()

    async def _open(self, *ways: Way) -> None:
        while self._held.intersection(ways):
            await self._changed.wait()

    def _origin(self, writer: asyncio.StreamWriter) -> str | None:
        """The node whose process is at the other end; None when it is none of them or has gone already."""
        peer, own = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        if peer is None or own is None:
            return None
        inode = _inode(peer, own, Path("/proc/net/tcp").read_text().splitlines()[1:])
        holders = (node for node, pid in self._pids().items() if inode is not None and _holds(pid, inode))
        return next(holders, None)


def _inode(local: Endpoint, remote: Endpoint, table: Iterable[str]) -> str | None:
    """The inode of the socket ``local`` -> ``remote`` in lines of /proc/net/tcp."""
    wanted = [_hexadecimal(local), _hexadecimal(remote)]
    return next((row[9] for row in map(str.split, table) if row[1:3] == wanted), None)


def _hexadecimal(endpoint: Endpoint) -> str:
    """An IPv4 endpoint as /proc/net/tcp writes it: the address in the machine's byte order."""
    (number,) = struct.unpack("=I", socket.inet_aton(endpoint[0]))
    return f"{number:08X}:{endpoint[1]:04X}"


def _holds(pid: int, inode: str) -> bool:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return False
    for descriptor in descriptors:
        try:
            if str(descriptor.readlink()) == f"socket:[{inode}]":
                return True
        except FileNotFoundError:
            continue  # closed while we looked
    return False
