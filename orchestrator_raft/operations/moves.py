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
    _one("move-below-gtid", "Move a replica below another server, by GTID only", "move-gtid"),
    _all("move-replicas-gtid", "Move the replicas of a server below another one, by GTID only", "move-slaves-gtid"),
    _one("move-equivalent", "Move a replica below another server that holds the same place"),
    _one("repoint", "Have a replica replicate from another server from where it is, answering or not"),
    _alone("repoint-replicas", "Have the replicas of a server connect to it anew", "repoint-slaves", more=(PATTERN,)),
    _alone("regroup-replicas", "Move the replicas of a server below the best of them", "regroup-slaves"),
    _alone("regroup-replicas-gtid", "The same, by GTID only", "regroup-slaves-gtid"),
    _alone("take-siblings", "Move the siblings of a replica below it", "enslave-siblings"),
    _alone("take-master", "Swap a replica with its source, which is a replica itself", "enslave-master"),
    _alone("make-co-master", "Have the source of a replica replicate from it as well"),
    _alone("make-local-master", "Put a replica in the place of its source, above its siblings"),
    _alone("make-master", "Promote a replica whose source is dead"),
    _alone("reset-replica", "Have a replica forget its source", "reset-slave"),
    _alone("detach-replica", "Stop a replica and set its source's name aside", "detach-slave",
        "detach-replica-master-host", "detach-slave-master-host"),
    _alone("reattach-replica", "Undo that: replicate from the same source again", "reattach-slave",
        "reattach-replica-master-host", "reattach-slave-master-host"),
)  # fmt: skip
