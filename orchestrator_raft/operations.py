"""Every operation that people may ask for, as rows of data (design D7).

From these rows come the compatible API under ``/api/``, the native one under ``/api/v2/``, the sub-commands of raftctl
and the reference page; ``engine.service`` binds a handler to each name. To add an operation: one row here, one handler
there.

Rules for this file: data only, standard library only, so that raftctl starts fast. A path segment in braces is a
parameter; ``{host}/{port}`` together are one parameter of kind SERVER named ``server``; ``{hint}`` is one of kind
CLUSTER.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """Who may ask."""

    ANYBODY = "anybody"
    VIEWER = "viewer"
    OPERATOR = "operator"


class Where(Enum):
    """Which node carries it out."""

    LEADER = "leader"
    """The leader; other nodes forward."""
    HERE = "here"
    """The node that was asked, about itself."""


class Kind(Enum):
    """Type of a parameter."""

    TEXT = "text"
    SERVER = "server"
    CLUSTER = "cluster"
    DURATION = "duration"
    NUMBER = "number"
    FLAG = "flag"


class Envelope(Enum):
    """How the compatible API wraps the answer."""

    WRAPPED = "wrapped"
    """Code, Message, Details."""
    BARE = "bare"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One typed parameter."""

    name: str
    kind: Kind = Kind.TEXT
    required: bool = True
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row."""

    name: str
    help: str
    parameters: tuple[Parameter, ...] = ()
    writes: bool = False
    role: Role = Role.VIEWER
    where: Where = Where.LEADER
    envelope: Envelope = Envelope.WRAPPED
    compatible: tuple[str, ...] = ()
    """Paths below ``/api/`` as orchestrator has them, synonyms included."""
    native: str = ""
    """Method and path below ``/api/v2``."""
    takes_long: bool = False
    """It may run for minutes: no ordinary request deadline."""


SERVER = Parameter(name="server", kind=Kind.SERVER, help="host:port")
CLUSTER = Parameter(name="cluster", kind=Kind.CLUSTER, help="cluster name, alias, or any member")
TARGET = Parameter(name="target", kind=Kind.SERVER, required=False, help="the server that is to be promoted")
PAGE = Parameter(name="page", kind=Kind.NUMBER, required=False, help="page number, 20 entries each")
COMMENT = Parameter(name="comment", help="why, for the record")


def _read(name: str, help_: str, *paths: str, native: str = "", bare: bool = True, **more: object) -> Operation:
    envelope = Envelope.BARE if bare else Envelope.WRAPPED
    return Operation(name=name, help=help_, compatible=paths, native=native, envelope=envelope, **more)  # type: ignore[arg-type]


def _here(name: str, help_: str, *paths: str, native: str = "", bare: bool = True, **more: object) -> Operation:
    return _read(name, help_, *paths, native=native, bare=bare, where=Where.HERE, **more)


def _write(name: str, help_: str, *paths: str, native: str = "", **more: object) -> Operation:
    fields: dict[str, object] = {"writes": True, "role": Role.OPERATOR, "compatible": paths, "native": native, **more}
    return Operation(name=name, help=help_, **fields)  # type: ignore[arg-type]
