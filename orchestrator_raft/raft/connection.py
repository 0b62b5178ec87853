"""One authenticated connection to another node: frames out, messages in, nothing about Raft.

Writing never waits: what cannot be sent is buffered, and a peer that does not read for so long that the buffer
overflows loses the connection, so that a connection that exists has lost nothing. Bulk senders wait in ``drain`` first.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from orchestrator_raft.raft.frames import FrameDecoder, ProtocolError, frame
from orchestrator_raft.raft.messages import Hello, Message, decode, encode
from orchestrator_raft.raft.tls import explain

READ_BYTES = 64 * 1024
DRAIN_ABOVE_BYTES = 256 * 1024
OVERFLOW_FACTOR = 4
BROKEN = (OSError, EOFError, TimeoutError, ProtocolError, RuntimeError)
"""What a connection may end with. RuntimeError is what uvloop raises where the other side has closed it meanwhile."""


class Connection:
    """``peer`` is set once the other side has said who it is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frame_bytes: int) -> None:
        self._reader = reader
        self._writer = writer
        self._overflow_bytes = OVERFLOW_FACTOR * frame_bytes
        self._decoder = FrameDecoder(frame_bytes)
        self._early: list[Message] = []
        self.peer: Hello | None = None
        self.is_closed = False
        writer.transport.set_write_buffer_limits(high=DRAIN_ABOVE_BYTES)

    def __repr__(self) -> str:
        return f"<Connection to {self.peer.slot if self.peer else 'a stranger'}{', closed' if self.is_closed else ''}>"

    def send(self, message: Message) -> bool:
        """Whether it was accepted for sending."""
        if self.is_closed or self._writer.transport.is_closing():
            return False
        if self._writer.transport.get_write_buffer_size() > self._overflow_bytes:
            self.abort()
            return False
        self._writer.write(frame(encode(message)))
        return True

    @property
    def certificate(self) -> Mapping[str, Any] | None:
        """The peer's certificate, which TLS has verified; None without TLS."""
        return self._writer.get_extra_info("peercert") or None

    async def drain(self) -> None:
        """Until little waits to be sent. Raises ConnectionError when the connection is lost."""
        if self.is_closed:
            raise ConnectionResetError("the connection is closed")
        await self._writer.drain()

    async def receive(self) -> list[Message]:
        """The next messages, in order; empty at the end. Raises ProtocolError or OSError."""
        messages, self._early = self._early, []
        while not messages:
            data = await self._reader.read(READ_BYTES)
            if not data:
                return []
            messages = self._decoded(data)
        return messages

    async def receive_one(self) -> Message | None:
        """The next message alone; None at the end."""
        messages = await self.receive()
        self._early = messages[1:]
        return messages[0] if messages else None

    def _decoded(self, data: bytes) -> list[Message]:
        messages = (decode(body) for body in self._decoder.feed(data))
        return [message for message in messages if message is not None]

    def finish(self) -> None:
        """Close after what was sent has gone out."""
        self.is_closed = True
        self._writer.close()

    def abort(self) -> None:
        """Close now; what waits is lost."""
        self.is_closed = True
        self._writer.transport.abort()


def why(error: BaseException) -> str:
    """Why a connection came to nothing, in words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return explain(error)
    if isinstance(error, EOFError) or (isinstance(error, ConnectionError) and not error.strerror and not error.args):
        return "the other side closed it during the handshake, and its log says why"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
