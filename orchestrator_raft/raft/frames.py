"""Frames on a connection between nodes: four bytes of length, big-endian, and that many bytes.

The decoder is fed whatever arrived and gives whole frames. A length above the cap ends the connection before a byte of
the body is kept, so a peer can make this node hold at most one frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_LENGTH = struct.Struct(">I")


class ProtocolError(Exception):
    """The peer sent what no node of this product sends: the connection is closed, nothing else happens."""


def frame(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


class FrameDecoder:
    """Cuts a stream of bytes into frames of at most ``limit_bytes``."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames completed by ``data``. Raises ProtocolError for a length above the limit."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > self._limit_bytes:
                raise ProtocolError(f"a frame of {length} bytes was announced, at most {self._limit_bytes} are allowed")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            yield bytes(self._buffer[start + _LENGTH.size : end])
            start = end
        del self._buffer[:start]
