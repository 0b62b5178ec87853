"""What a row of the table of operations is made of, and the parameters that many rows share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One typed parameter."""

    name: str
    kind: Kind = Kind.TEXT
    required: bool = True
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row. An operation that ``writes`` needs an authorised person; the others any admitted one."""

    name: str
    help: str
    parameters: tuple[Parameter, ...] = ()
    writes: bool = False
    where: Where = Where.LEADER
    bare: bool = False
    """The compatible API answers with the value alone, not with Code, Message and Details."""
    compatible: tuple[str, ...] = ()
    """Paths below ``/api/`` as orchestrator has them, synonyms included."""
    native: str = ""
    """Method and path below ``/api/v2``."""
    takes_long: bool = False
    """It may run for minutes: no ordinary request deadline."""
    root: tuple[str, ...] = ()
    """Paths that are not below ``/api/``."""
    admits: bool = False
    """It writes, and what authorises is in its own argument."""
    secret: bool = False
    """Its answer holds a secret, which is kept nowhere: so it cannot be given again."""

    def parameter(self, name: str) -> Parameter:
        return next(parameter for parameter in self.parameters if parameter.name == name)


SERVER = Parameter(name="server", kind=Kind.SERVER, help="host:port of a server")
CLUSTER = Parameter(name="cluster", kind=Kind.CLUSTER, help="cluster name, alias, or host:port of any member")
MAYBE_SERVER = Parameter(name="server", kind=Kind.SERVER, required=False, help="host:port of a server")
MAYBE_CLUSTER = Parameter(name="cluster", kind=Kind.CLUSTER, required=False, help="cluster name, alias, or any member")
MAYBE_TARGET = Parameter(name="target", kind=Kind.SERVER, required=False, help="the server to promote")
TARGET = Parameter(name="target", kind=Kind.SERVER, help="the server to promote")
PAGE = Parameter(name="page", kind=Kind.NUMBER, required=False, help="page, from 0; 20 entries each")
COMMENT = Parameter(name="comment", help="why, for the record")
REASON = Parameter(name="reason", help="why, for the record")
PEER = Parameter(name="addr", help="Raft address")
FORCE = Parameter(name="force", kind=Kind.FLAG, required=False, help="also where its record is needed")
DRY_RUN = Parameter(name="dry_run", kind=Kind.FLAG, required=False, help="say what would be done, and do nothing")
CAREFUL = Parameter(name="careful", kind=Kind.FLAG, required=False, help="refuse where the primary answers")
ACCEPT_LOSS = Parameter(
    name="accept_loss",
    kind=Kind.FLAG,
    required=False,
    help="promote although acknowledged writes may be lost, and say so in the record",
)
ALIAS = Parameter(name="alias", required=False, help="exact cluster alias")


def row(name: str, help_: str, *paths: str, **more: Any) -> Operation:
    return Operation(name=name, help=help_, compatible=paths, **more)


def listing(name: str, help_: str, *paths: str, **more: Any) -> Operation:
    return row(name, help_, *paths, bare=True, **more)


def here(name: str, help_: str, *paths: str, **more: Any) -> Operation:
    return row(name, help_, *paths, **{"bare": True, "where": Where.HERE, **more})


def act(name: str, help_: str, *paths: str, **more: Any) -> Operation:
    return row(name, help_, *paths, writes=True, **more)
