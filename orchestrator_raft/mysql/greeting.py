"""The first packet of a server, taken apart. Whatever else listens on the port is told from it here."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER_BYTES = 4
BYTES_MAX = 4096
"""A greeting has some 80 bytes; an error in its place some hundred."""
PROTOCOL_VERSION = 10
_ERROR = 0xFF
_SALT_BYTES = 8


class NotAServer(ValueError):
    """These bytes are no greeting of a database server."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """An error in place of the greeting: the server is there and wants no more connections from us."""

    number: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What a server says of itself before anybody has logged in."""

    version: str
    thread_id: int
    salt: bytes
    capabilities: int
    status: int
    auth_plugin: str


def body_length(header: bytes) -> int:
    """Bytes that follow the first header. Raises NotAServer for one that no server sends."""
    length = int.from_bytes(header[:3], "little")
    if header[3] != 0 or not 0 < length <= BYTES_MAX:
        raise NotAServer(f"it begins with {header!r}, which is no greeting of a database server")
    return length


def parse(body: bytes) -> Greeting | Rejection:
    """The first packet. Raises NotAServer."""
    if body[0] == _ERROR:
        return error_of(body)
    if body[0] != PROTOCOL_VERSION:
        raise NotAServer(f"it speaks version {body[0]} of the protocol, not {PROTOCOL_VERSION}")
    try:
        return _parse(body)
    except (ValueError, struct.error) as error:
        raise NotAServer(f"its greeting makes no sense: {error}") from error


def _parse(body: bytes) -> Greeting:
    version_end = body.index(b"\0", 1)
    thread_id, salt, low, _charset, status, high, salt_bytes = struct.unpack_from("<I8sxHBHHB", body, version_end + 1)
    rest = body[version_end + 1 + struct.calcsize("<I8sxHBHHB") + 10 :]
    second = max(12, salt_bytes - _SALT_BYTES - 1)
    if len(rest) < second:
        raise ValueError("it is cut short")
    return Greeting(
        version=body[1:version_end].decode("latin1"),
        thread_id=thread_id,
        salt=salt + rest[:second],
        capabilities=low | high << 16,
        status=status,
        auth_plugin=rest[second + 1 :].split(b"\0", 1)[0].decode("latin1"),
    )


def error_of(body: bytes) -> Rejection:
    """An error packet: number, then perhaps # and five letters of SQL state, then the message."""
    if len(body) < 3:
        raise NotAServer("it sent an error without a number")
    message = body[3:]
    if message[:1] == b"#":
        message = message[6:]
    return Rejection(int.from_bytes(body[1:3], "little"), message.decode("utf-8", "replace"))
