"""Rows that run as a plan: servers get another source, or something is done to one where it is.

Each has a planner of its name in ``core/moves/table``.
"""

from __future__ import annotations

from orchestrator_raft.operations.model import DRY_RUN, SERVER, Kind, Operation, Parameter, act, row

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


LOG_FILE = Parameter(name="log_file", help="the first binary log to keep; latest: the one being written")
SECONDS = Parameter(name="seconds", kind=Kind.NUMBER, help="so much later than the source; 0 ends the delay")
PROCESS = Parameter(name="process", kind=Kind.NUMBER, help="number of the session")
ANYWAY = Parameter(name="force", kind=Kind.FLAG, required=False, help="also where a replica still needs them")

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


STAY_ROWS: tuple[Operation, ...] = (
    _alone("start-replica", "Start replication on a server", "start-slave"),
    _alone("stop-replica", "Stop replication on a server", "stop-slave"),
    _alone("stop-replica-nice", "Stop it once all is applied that was received", "stop-slave-nice"),
    _alone("restart-replica", "Stop replication on a server and start it", "restart-slave"),
    _alone("skip-query", "Go on behind the transaction that stopped the applier"),
    act("delay-replication", "Apply later than the source", "delay-replication/{host}/{port}/{seconds}",
        takes_long=True, parameters=(SERVER, SECONDS, DRY_RUN), native="POST /servers/{server}/delay-replication"),
    _alone("set-read-only", "Refuse writes on a server"),
    act("set-writeable", "Accept writes on a server", "set-writeable/{host}/{port}", takes_long=True,
        parameters=(SERVER, DRY_RUN), native="POST /servers/{server}/set-writable"),
    act("kill-query", "End what a session is doing", "kill-query/{host}/{port}/{process}", takes_long=True,
        parameters=(SERVER, PROCESS, DRY_RUN), native="POST /servers/{server}/kill-query"),
    _alone("flush-binary-logs", "Begin a new binary log"),
    act("purge-binary-logs", "Delete the binary logs before one", "purge-binary-logs/{host}/{port}/{log_file}",
        takes_long=True, parameters=(SERVER, LOG_FILE, ANYWAY, DRY_RUN),
        native="POST /servers/{server}/purge-binary-logs"),
    _alone("enable-semi-sync-master", "Have a primary wait for semi-sync replicas", "enable-semi-sync-source"),
    _alone("disable-semi-sync-master", "Have a primary wait for nobody", "disable-semi-sync-source"),
    _alone("enable-semi-sync-replica", "Have a replica acknowledge what it receives"),
    _alone("disable-semi-sync-replica", "Have a replica acknowledge nothing"),
    _alone("enable-gtid", "Have a replica find its place by GTID"),
    _alone("disable-gtid", "Have a replica find its place by file and position"),
    _alone("gtid-errant-reset-master", "Forget a replica's errant transactions; its data stays"),
    _alone("gtid-errant-inject-empty", "Have the primary write a replica's errant transactions empty"),
)  # fmt: skip

QUESTION_ROWS: tuple[Operation, ...] = (
    row("can-replicate-from", "May a server replicate from another, by what is known of both",
        "can-replicate-from/{host}/{port}/{targetHost}/{targetPort}", parameters=(SERVER, BELOW),
        native="GET /servers/{server}/can-replicate-from/{target}"),
    row("can-replicate-from-gtid", "The same, and by the transactions that they hold",
        "can-replicate-from-gtid/{host}/{port}/{targetHost}/{targetPort}", parameters=(SERVER, BELOW)),
    row("restart-replica-statements", "What stops replication, a statement of your own, and what starts it again",
        "restart-slave-statements/{host}/{port}", "restart-replica-statements/{host}/{port}",
        parameters=(SERVER, Parameter(name="q", required=False, help="the statement between"))),
    act("locate-gtid-errant", "Binary logs of a replica that hold its errant transactions",
        "locate-gtid-errant/{host}/{port}", parameters=(SERVER,), native="POST /servers/{server}/locate-errant"),
)  # fmt: skip
