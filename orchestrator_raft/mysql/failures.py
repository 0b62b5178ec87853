"""Why a server could not be reached: every failure of the network, the driver and the login as one of the known kinds.

Rules
- The kind says what the failure is evidence of, since failovers depend on it. Troubles of this very node (no file
  descriptors, no ports) say nothing about the server, so they have a kind of their own: no opinion, no sign of death.
- The texts hold the words that clients of orchestrator look for: "no such host", "i/o timeout", and for a connection
  that broke nothing but "driver: bad connection".
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from enum import Enum

from orchestrator_raft.core.instance import InstanceKey, Unreachable, UnreachableKind

BAD_CONNECTION = "driver: bad connection"
_OWN_TROUBLE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
_LOST = frozenset({2006, 2013, 2014})
_TOO_MANY = frozenset({1040, 1203, 1226})
_GOING_AWAY = frozenset({1053, 1927, 3169, 4031})
"""Shutdown, session killed, session disconnected: what a server says while it closes a connection."""
_DENIED = frozenset({1044, 1045, 1130, 1129, 1142, 1143, 1227, 1698, 1820, 1862, 3032, 3118, 3159, 4151})
WANTS_TLS = frozenset({1045, 3159})
"""Errors of a plain login that a server which demands TLS may give; MariaDB says no more than "access denied"."""


class Phase(Enum):
    """How far a connection has come."""

    RESOLVING = "resolving"
    CONNECTING = "connecting"
    GREETING = "greeting"
    LOGIN = "login"
    READY = "ready"


class Unreached(Exception):
    """A connection could not be made, or broke; ``number`` is the server's own error number where it gave one."""

    def __init__(self, kind: UnreachableKind, detail: str, number: int = 0) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.number = number

    def as_result(self, key: InstanceKey) -> Unreachable:
        return Unreachable(key, self.kind, self.detail)


def of_timeout(key: InstanceKey, phase: Phase) -> Unreached:
    """The deadline passed while this phase lasted."""
    if phase is Phase.RESOLVING:
        return Unreached(UnreachableKind.UNRESOLVABLE, f"lookup {key.hostname}: i/o timeout")
    if phase in (Phase.CONNECTING, Phase.GREETING):
        return Unreached(UnreachableKind.NO_GREETING, f"dial tcp {key}: i/o timeout")
    return Unreached(UnreachableKind.QUERY_TIMEOUT, f"read tcp {key}: i/o timeout")


def of_error(key: InstanceKey, error: Exception) -> Unreached:
    """The kind of an exception of the network or of the TLS handshake."""
    if isinstance(error, Unreached):
        return error
    if isinstance(error, socket.gaierror):
        return Unreached(UnreachableKind.UNRESOLVABLE, f"lookup {key.hostname}: no such host")
    if isinstance(error, ssl.SSLError):
        return Unreached(UnreachableKind.AUTHENTICATION, f"TLS handshake with {key} failed: {error}")
    if isinstance(error, ConnectionRefusedError):
        return Unreached(UnreachableKind.REFUSED, f"dial tcp {key}: connect: connection refused")
    if isinstance(error, ConnectionError | asyncio.IncompleteReadError | EOFError):
        return Unreached(UnreachableKind.RESET, BAD_CONNECTION)
    if isinstance(error, OSError):
        return _of_os_error(key, error)
    return Unreached(UnreachableKind.PROTOCOL, f"{key}: {type(error).__name__}: {error}")


def _of_os_error(key: InstanceKey, error: OSError) -> Unreached:
    if error.errno in _OWN_TROUBLE:
        text = f"dial tcp {key}: this node cannot open a connection: {error.strerror}"
        return Unreached(UnreachableKind.OWN_TROUBLE, text)
    return Unreached(UnreachableKind.NETWORK, f"dial tcp {key}: {error.strerror or error}")


def of_server_error(key: InstanceKey, phase: Phase, number: int, message: str) -> Unreached:
    """The kind of an error that the server itself reported."""
    text = f"Error {number}: {message}"
    if number in _TOO_MANY:
        return Unreached(UnreachableKind.TOO_MANY_CONNECTIONS, text, number)
    if number in _LOST or number in _GOING_AWAY:
        return Unreached(UnreachableKind.RESET, BAD_CONNECTION, number)
    if number in _DENIED or phase in (Phase.GREETING, Phase.LOGIN):
        return Unreached(UnreachableKind.AUTHENTICATION, text, number)
    return Unreached(UnreachableKind.PROTOCOL, f"{key}: {text}", number)
