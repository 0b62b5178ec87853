"""Rows that give servers another source. Each has a planner of its name in ``core/moves/table``."""

from __future__ import annotations

from orchestrator_raft.operations.model import DRY_RUN, SERVER, Kind, Operation, Parameter, act

BELOW = Parameter(name="target", kind=Kind.SERVER, help="the server to replicate from")
PATTERN = Parameter(name="pattern", required=False, help="regex on host:port: only replicas that it matches")
_SERVER, _BELOW = "{host}/{port}", "{host}/{port}/{targetHost}/{targetPort}"


def _one(name: str, help_: str, *words: str) -> Operation:
    """One server below another."""
    paths = (f"{word}/{_BELOW}" for word in (name, *words))
    parameters = (SERVER, BELOW, DRY_RUN)
    return act(name, help_, *paths, takes_long=True, parameters=parameters, native=f"POST /servers/{{server}}/{name}")


def _all(name: str, help_: str, *words: str) -> Operation:
    """The replicas of one server below another."""
    paths = (f"{word}/{_BELOW}" for word in (name, *words))
    parameters = (SERVER, BELOW, PATTERN, DRY_RUN)
    return act(name, help_, *paths, takes_long=True, parameters=parameters, native=f"POST /servers/{{server}}/{name}")


def _alone(name: str, help_: str, *words: str, more: tuple[Parameter, ...] = ()) -> Operation:
    """An operation that needs no other server to be named."""
    paths = (f"{word}/{_SERVER}" for word in (name, *words))
    parameters = (SERVER, *more, DRY_RUN)
    return act(name, help_, *paths, takes_long=True, parameters=parameters, native=f"POST /servers/{{server}}/{name}")


MOVE_ROWS: tuple[Operation, ...] = (
    _one("relocate", "Move a replica below another server, the cheapest safe way", "relocate-below"),
    _all("relocate-replicas", "Move the replicas of a server below another one", "relocate-slaves"),
    _alone("move-up", "Move a replica one level up, below the source of its source"),
    _alone("move-up-replicas", "Move the replicas of a server one level up", "move-up-slaves", more=(PATTERN,)),
    _one("move-below", "Move a replica below a sibling"),
    _one("move-below-gtid", "Move a replica below another server, by GTID only"),
    _all("move-replicas-gtid", "Move the replicas of a server below another one, by GTID only", "move-slaves-gtid"),
    _alone("take-siblings", "Move the siblings of a replica below it", "enslave-siblings"),
)
