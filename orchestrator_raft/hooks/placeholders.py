"""What a hook is told about a recovery: the peers' placeholders in its text, the peers' ORC_ variables beside it.

Theory. orchestrator pastes values into the command as they are, so whoever can name a host or an alias can run
commands on the manager. Shell quoting alone does not help: people write placeholders inside quotes of their own, and
pass text on to a second shell (``ssh host "..."``, ``bash -c``). So here a value in a command is never code:

1. Signs that can end a word, begin a command or leave quotes are replaced: ``;`` by ``,`` and the others by ``_``; a
   leading ``-``, by which a name would become an option, too. Host names, numbers and codes have none of these.
2. What then still needs quotes (a blank, mostly) gets them where the person wrote none; inside the person's own quotes
   it stands as it is.

The variables of the environment have the raw values, but for what no variable can hold. Rows of ``ROWS`` are the whole
vocabulary; ``docs/hooks.md`` is held against them by a test. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from shlex import quote

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.dead_intermediate import DEAD_INTERMEDIATE
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.takeover import TAKEOVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Successor:
    """The server that took over, or is going to."""

    key: InstanceKey
    alias: str = ""
    coordinates: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Everything a hook may be told."""

    recovery: Recovery
    orchestrator_host: str = ""
    successor: Successor | None = None
    hook: str = ""
    """The list that is run, by the peers' key."""
    is_drill: bool = False
    """Somebody tries the hooks; nothing has happened."""


@dataclass(frozen=True, slots=True)
class Row:
    """One piece of knowledge: its placeholders, its variable (empty: the peers have none), and where it comes from.

    None means not known yet: the placeholder stays in the text as it is, the variable is not set.
    """

    placeholders: tuple[str, ...]
    variable: str
    help: str
    value: Callable[[Story], str | None]


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _list(keys: Iterable[InstanceKey]) -> str:
    return ",".join(str(key) for key in keys)


def _instance_type(story: Story) -> str:
    subject = story.recovery.subject
    if subject.is_co_primary:
        return "co-master"
    return "master" if subject.is_primary else "intermediate-master"


def _of_successor(value: Callable[[Successor], str]) -> Callable[[Story], str | None]:
    return lambda story: None if story.successor is None else value(story.successor)


ROWS: tuple[Row, ...] = (
    Row(("failureType",), "ORC_FAILURE_TYPE", "code of the analysis, as DeadMaster",
        lambda story: story.recovery.subject.code),
    Row(("instanceType",), "ORC_INSTANCE_TYPE", "`master`, `co-master` or `intermediate-master`", _instance_type),
    Row(("isMaster",), "ORC_IS_MASTER", "`true` or `false`: it replicated from nobody",
        lambda story: _flag(story.recovery.subject.is_primary)),
    Row(("isCoMaster",), "ORC_IS_CO_MASTER", "`true` or `false`: two primaries replicate from each other",
        lambda story: _flag(story.recovery.subject.is_co_primary)),
    Row(("failureDescription",), "ORC_FAILURE_DESCRIPTION", "one line of text about the failure",
        lambda story: story.recovery.subject.text),
    Row(("command",), "ORC_COMMAND", "what a person asked for, as `graceful-master-takeover`; empty if nobody did",
        lambda story: story.recovery.request.command),
    Row(("failedHost",), "ORC_FAILED_HOST", "host of the failed or demoted server",
        lambda story: story.recovery.subject.key.hostname),
    Row(("failedPort",), "ORC_FAILED_PORT", "its port",
        lambda story: str(story.recovery.subject.key.port)),
    Row(("failureCluster",), "ORC_FAILURE_CLUSTER", "name of the cluster",
        lambda story: story.recovery.subject.cluster_name),
    Row(("failureClusterAlias",), "ORC_FAILURE_CLUSTER_ALIAS", "alias of the cluster",
        lambda story: story.recovery.subject.cluster_alias),
    Row(("failureClusterDomain",), "ORC_FAILURE_CLUSTER_DOMAIN", "domain of the cluster",
        lambda story: story.recovery.subject.cluster_domain),
    Row(("countSlaves", "countReplicas"), "ORC_COUNT_REPLICAS", "number of its direct replicas",
        lambda story: str(story.recovery.subject.count_replicas)),
    Row(("isDowntimed",), "ORC_IS_DOWNTIMED", "`true` or `false`: the server was in downtime",
        lambda story: _flag(story.recovery.subject.is_downtimed)),
    Row(("autoMasterRecovery",), "ORC_AUTO_MASTER_RECOVERY", "`true` or `false`: RecoverMasterClusterFilters match",
        lambda story: _flag(story.recovery.subject.automated_primary)),
    Row(("autoIntermediateMasterRecovery",), "ORC_AUTO_INTERMEDIATE_MASTER_RECOVERY",
        "`true` or `false`: RecoverIntermediateMasterClusterFilters match",
        lambda story: _flag(story.recovery.subject.automated_intermediate)),
    Row(("orchestratorHost",), "ORC_ORCHESTRATOR_HOST", "host name of the node that runs the hook",
        lambda story: story.orchestrator_host),
    Row(("recoveryUID",), "ORC_RECOVERY_UID", "id of the recovery; the same each time a hook of it runs",
        lambda story: story.recovery.id),
    Row((), "ORC_REQUEST_ID", "id of the request (`X-Request-ID`) of a person; empty where nobody asked",
        lambda story: story.recovery.request.request_id),
    Row((), "ORC_IDEMPOTENCY_KEY", "id of the recovery and name of the list; the same each time the list runs for it",
        lambda story: f"{story.recovery.id}/{story.hook}"),
    Row((), "ORC_IS_DRILL", "`true` when a person tries the hooks and nothing has happened, else `false`",
        lambda story: _flag(story.is_drill)),
    Row(("isSuccessful",), "ORC_IS_SUCCESSFUL", "`true` when there is a successor",
        lambda story: _flag(story.successor is not None)),
    Row(("lostSlaves", "lostReplicas"), "ORC_LOST_REPLICAS", "replicas that could not follow, `host:port,host:port`",
        lambda story: _list(story.recovery.lost)),
    Row(("countLostReplicas",), "", "their number",
        lambda story: str(len(story.recovery.lost))),
    Row(("slaveHosts", "replicaHosts"), "ORC_REPLICA_HOSTS", "its direct replicas, `host:port,host:port`",
        lambda story: _list(story.recovery.subject.replicas)),
    Row(("successorHost",), "ORC_SUCCESSOR_HOST", "host of the successor",
        _of_successor(lambda successor: successor.key.hostname)),
    Row(("successorPort",), "ORC_SUCCESSOR_PORT", "its port",
        _of_successor(lambda successor: str(successor.key.port))),
    Row(("successorAlias",), "ORC_SUCCESSOR_ALIAS", "its alias",
        _of_successor(lambda successor: successor.alias)),
    Row(("successorBinlogCoordinates",), "ORC_SUCCESSOR_BINLOG_COORDINATES", "its binary log position, `file:position`",
        _of_successor(lambda successor: successor.coordinates)),
)  # fmt: skip

_PLAIN = re.compile(r"[\w@%+=:,./-]*", re.ASCII)
_ACTIVE = re.compile(r"""^-|[\x00-\x1f\x7f'"`$\\&|<>(){}]""")
_TOKEN = re.compile(r"""\\[^{]|['"]|\{(?P<name>\w+)\}""", re.DOTALL)


def known_successor(recovery: Recovery) -> InstanceKey | None:
    """Whoever took over the role or most of the replicas, or is meant to by a person who wants a takeover.

    Nobody is any more once that has failed.
    """
    if recovery.promoted or (recovery.kind == DEAD_INTERMEDIATE.name and recovery.moved):
        return recovery.successor
    if recovery.ending is not EndState.RUNNING:
        return None
    return recovery.request.designated if recovery.kind == TAKEOVER.name else None


def environment(story: Story) -> dict[str, str]:
    """The ORC_ variables with raw values."""
    found = {row.variable: row.value(story) for row in ROWS if row.variable}
    return {variable: _holdable(value) for variable, value in found.items() if value is not None}


def raw_values(story: Story) -> dict[str, str]:
    """What the placeholders stand for, as it is, by the last name of each: for those who need no shell."""
    found = {row.placeholders[-1]: row.value(story) for row in ROWS if row.placeholders}
    return {name: value for name, value in found.items() if value is not None}


def _holdable(value: str) -> str:
    """Without what no variable of an environment can hold: NUL, and halves of characters."""
    return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def values(story: Story) -> dict[str, str]:
    """The value of each placeholder that has one, harmless in every shell."""
    found = ((name, row.value(story)) for row in ROWS for name in row.placeholders)
    return {name: harmless(value) for name, value in found if value is not None}


def harmless(value: str) -> str:
    """The value without any sign that could make a shell run a part of it."""
    return _ACTIVE.sub("_", _holdable(value).replace(";", ","))


def substitute(command: str, known: Mapping[str, str]) -> str:
    """The command with its placeholders replaced by harmless values; unknown names in braces stay as they are."""
    inside = ""

    def replacement(match: re.Match[str]) -> str:
        nonlocal inside
        token = match[0]
        name = match["name"]
        if name is not None:
            return _word(known[name], inside) if name in known else token
        if token[0] != "\\" or inside == "'":
            inside = _after(token[-1], inside)
        return token

    return _TOKEN.sub(replacement, command)


def _after(sign: str, inside: str) -> str:
    """Which quotes are open after this sign; empty for none."""
    if inside == "" and sign in "'\"":
        return sign
    return "" if sign == inside else inside


def _word(value: str, inside: str) -> str:
    return value if inside or _PLAIN.fullmatch(value) else quote(value)
