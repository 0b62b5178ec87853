"""The language of the scenario files: a topology drawn in a few lines, what breaks, and the answer (see README there).

A file is a list of sections, ``= verb words`` and lines. What comes before the first section draws the fleet. Sections
change the fleet or ask something; ``= expect`` holds the answer to the section before it, and is what a rewrite
replaces.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from orchestrator_raft.core.gtid import GtidSet, parse_mysql
from orchestrator_raft.core.health import GroupMember
from orchestrator_raft.core.instance import (
    Flavor,
    InstanceKey,
    PromotionRule,
    ThreadState,
    UnreachableKind,
    parse_key,
)
from orchestrator_raft.core.observation import after_write
from orchestrator_raft.core.policy import (
    ClusterFilters,
    EventSchedulerPolicy,
    ExitPolicy,
    HostFilters,
    LossPolicy,
    Policy,
)
from orchestrator_raft.core.replicated.commands import BeginDowntime, ObserveServers, PauseWrites, ServerObservation
from orchestrator_raft.core.topology import StalePrimary, StaleStatus
from tests.core.fleet import Database, Fleet
from tests.core.manager import Manager

EXPECT = "expect"


@dataclass
class Section:
    """``= verb words`` and the lines below it."""

    verb: str
    words: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def header(self) -> str:
        return " ".join(["=", self.verb, *self.words])


def read(path: Path) -> list[Section]:
    """Sections of a file; the first one, with the verb ``draw``, has no header."""
    sections = [Section("draw")]
    for line in path.read_text().splitlines():
        if line.startswith("= "):
            verb, *words = line[2:].split(" ")
            sections.append(Section(verb, words))
        else:
            sections[-1].lines.append(line)
    return sections


def write(path: Path, sections: Iterable[Section]) -> None:
    text = ""
    for section in sections:
        header = "" if section.verb == "draw" else section.header + "\n"
        text += header + "".join(f"{line}\n" for line in section.lines)
    path.write_text(text)


def meaningful(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


class World:
    """The fleet of one scenario, the manager that watches it, and their names."""

    def __init__(self, lines: Iterable[str]) -> None:
        databases: list[Database] = []
        above: list[Database] = []
        everywhere = ClusterFilters(("*",))
        policy = Policy(recover_primary=everywhere, recover_intermediate=everywhere)
        words_of: dict[str, list[str]] = {}
        for line in meaningful(lines):
            if line.startswith("policy "):
                policy = _policy(policy, shlex.split(line)[1:])
                continue
            depth = (len(line) - len(line.lstrip())) // 2
            name, address, *words = shlex.split(line.strip().removeprefix("+ "))
            database = Database(name, parse_key(address), len(databases) + 1)
            del above[depth:]
            if above:
                _replicate(database, above[-1])
            above.append(database)
            databases.append(database)
            words_of[name] = words
        self.fleet = Fleet(tuple(databases))
        for database in databases:
            if database.source is None:
                database.read_only = False
            self._give(database, database if database.source is None else self.fleet.by_key[database.source])
        self.manager = Manager(self.fleet, policy)
        for name, words in words_of.items():
            self.change(name, words)
        for database in databases:
            source = self.fleet.by_key.get(database.source) if database.source else None
            if source is not None and source.source_semi_sync and "noack" not in words_of[database.name]:
                database.acks = True
        self.begin()

    def _give(self, database: Database, origin: Database) -> None:
        """Everybody has the first 100 transactions of its topmost source."""
        while origin.source is not None:
            origin = self.fleet.by_key[origin.source]
        database.executed = database.retrieved = parse_mysql(f"{origin.uuid}:1-100")

    def begin(self) -> None:
        """The manager has seen the fleet as drawn, except servers that nobody ever reached."""
        self.manager.look(key for key, each in self.fleet.by_key.items() if each.ever_reached)
        unseen = [key for key, each in self.fleet.by_key.items() if not each.ever_reached]
        if unseen:
            seen = tuple(ServerObservation(key=key, facts=None, reachable=False) for key in unseen)
            self.manager.propose(ObserveServers, servers=seen)
            self.manager.look()

    # -- changes

    def change_line(self, line: str) -> None:
        names, *words = shlex.split(line)
        for name in names.split(","):
            self.change(name, words)

    def change(self, name: str, words: Iterable[str]) -> None:
        for word in words:
            option, _, value = word.partition("=")
            change = _OPTIONS.get(option)
            if change is None:
                raise ValueError(f"scenario: {name} has no option '{option}': there are {', '.join(sorted(_OPTIONS))}")
            change(self, self.fleet[name], value)

    def gtids(self, text: str) -> GtidSet:
        """``P:1-100,R1:5``: names of servers stand for their UUIDs."""
        for name, database in sorted(self.fleet.by_name.items(), reverse=True):
            text = ",".join(
                f"{database.uuid}{part[len(name) :]}" if part.startswith(f"{name}:") else part
                for part in text.split(",")
            )
        return parse_mysql(text)

    # -- names

    def name(self, key: InstanceKey | None) -> str:
        if key is None:
            return "-"
        return f"//{self.fleet.by_key[key.attached].name}" if key.is_detached else self.fleet.by_key[key].name

    def names(self, keys: Iterable[InstanceKey]) -> str:
        return ",".join(self.name(key) for key in keys) or "-"

    def said(self, text: str) -> str:
        """Text of the product with the names of the scenario in it."""
        for key, database in sorted(self.fleet.by_key.items(), reverse=True):
            text = text.replace(str(key), database.name).replace(database.uuid, database.name)
        return text


def _replicate(database: Database, source: Database) -> None:
    database.source = source.key
    database.receiver_on = database.applier_on = True


def _policy(policy: Policy, words: Iterable[str]) -> Policy:
    kinds = {each.name: each.type for each in fields(Policy)}
    for word in words:
        name, _, value = word.partition("=")
        current = getattr(policy, name)
        if name == "loss":
            new: object = LossPolicy(value)
        elif isinstance(current, EventSchedulerPolicy):
            new = EventSchedulerPolicy(value)
        elif name == "hook_exits":
            new = {list_name: ExitPolicy(exit_) for list_name, exit_ in (each.split(":") for each in value.split(","))}
        elif name == "hooks":
            new = {each: ("command",) for each in value.split(",")}
        elif isinstance(current, frozenset):
            new = frozenset(value.split(","))
        elif isinstance(current, (ClusterFilters, HostFilters)):
            new = type(current)(tuple(value.split(",")) if value else ())
        else:
            new = value == "yes" if kinds[name] == "bool" else int(value) if kinds[name] == "int" else float(value)
        policy = replace(policy, **{name: new})  # type: ignore[arg-type]
    return policy


Option = Callable[[World, Database, str], None]


def _sets(name: str, convert: Callable[[str], object]) -> Option:
    def change(world: World, database: Database, value: str) -> None:
        setattr(database, name, convert(value))

    return change


def _dead(world: World, database: Database, value: str) -> None:
    world.fleet.crash(database.name)
    database.unreachable_kind = UnreachableKind(value or "refused")


def _cut(world: World, database: Database, value: str) -> None:
    database.reachable = False
    database.unreachable_kind = UnreachableKind(value or "network")


def _unseen(world: World, database: Database, value: str) -> None:
    database.ever_reached = False
    _cut(world, database, value)


def _back(world: World, database: Database, value: str) -> None:
    if not database.alive:
        world.fleet.start(database.name)
    database.reachable = True


def _semi_sync(world: World, database: Database, value: str) -> None:
    database.source_semi_sync, database.waits_for = value != "off", int(value) if value != "off" else 1


def _has(world: World, database: Database, value: str) -> None:
    database.executed = database.retrieved = world.gtids(value)


def _received(world: World, database: Database, value: str) -> None:
    """In the relay log and not applied, which stays so: the applier is stuck."""
    database.retrieved, database.applier_stuck = world.gtids(value), True


def _channels(world: World, database: Database, value: str) -> None:
    database.extra_channels = 1 if value == "named" else int(value) - 1
    database.unnamed_channel = value != "named"


def _location(part: str) -> Option:
    def change(world: World, database: Database, value: str) -> None:
        database.location = replace(database.location, **{part: value})

    return change


def _downtime(world: World, database: Database, value: str) -> None:
    ends_ms = world.manager.now_ms + 3_600_000
    world.manager.propose(BeginDowntime, key=database.key, owner="anna", reason=value, ends_ms=ends_ms)


def _paused(world: World, database: Database, value: str) -> None:
    """Writes to the whole cluster of this server are paused."""
    cluster_id = world.manager.state.servers[database.key].cluster_id
    world.manager.propose(PauseWrites, paused=True, cluster_id=cluster_id, reason=value, by="anna")


def _resumed(world: World, database: Database, value: str) -> None:
    cluster_id = world.manager.state.servers[database.key].cluster_id
    world.manager.propose(PauseWrites, paused=False, cluster_id=cluster_id)


def _stale(world: World, database: Database, value: str) -> None:
    manager = world.manager
    cluster_id = manager.state.servers[database.key].cluster_id
    mark = StalePrimary(
        key=database.key, cluster_id=cluster_id, recovery_id="r0", since_ms=0, status=StaleStatus(value)
    )
    manager.state = replace(manager.state, stale={**manager.state.stale, database.key: mark})


def _writes(world: World, database: Database, value: str) -> None:
    for _ in range(int(value or 1)):
        world.fleet.write(database.name)


def _frozen(world: World, database: Database, value: str) -> None:
    database.frozen = True
    _cut(world, database, "timeout before greeting")


def _thawed(world: World, database: Database, value: str) -> None:
    database.frozen, database.reachable = False, True


def _restarted(world: World, database: Database, value: str) -> None:
    """Faster than anybody noticed."""
    world.fleet.start(database.name)
    database.uptime_s = 1


def _writes_fail(world: World, database: Database, value: str) -> None:
    """One more write that was tried; no text means that it was done."""
    seen = world.manager.seen
    seen[database.key] = after_write(seen[database.key], value, world.manager.now_ms / 1000)


def _from(world: World, database: Database, value: str) -> None:
    """Replicates from that one as well: two such are co-primaries."""
    _replicate(database, world.fleet[value])


def _setting(name: str) -> Option:
    def change(world: World, database: Database, value: str) -> None:
        database.settings = replace(database.settings, **{name: int(value)})

    return change


def _events(world: World, database: Database, value: str) -> None:
    database.settings = replace(database.settings, event_scheduler=value == "on")


def _group(world: World, database: Database, value: str) -> None:
    state, _, role = value.partition(":")
    database.group = GroupMember("g1", state, role or "SECONDARY")


def _same(what: str) -> Option:
    def change(world: World, database: Database, value: str) -> None:
        other = world.fleet[value]
        if what == "id":
            database.told_id = other.number
        else:
            database.told_uuid = other.uuid

    return change


def _nothing(world: World, database: Database, value: str) -> None:
    """Read where the fleet is drawn."""


def _state(value: str) -> ThreadState:
    return ThreadState[value.upper()]


_OPTIONS: dict[str, Option] = {
    "rw": _sets("read_only", lambda _: False),
    "ro": _sets("read_only", lambda _: True),
    "dead": _dead,
    "cut": _cut,
    "back": _back,
    "unseen": _unseen,
    "semi-sync": _semi_sync,
    "semi-sync-inactive": _sets("source_active", lambda _: False),
    "semi-sync-active": _sets("source_active", lambda _: True),
    "timeout-ms": _sets("timeout_ms", int),
    "acks": _sets("acks", lambda _: True),
    "noack": _sets("acks", lambda _: False),
    "nolog": _sets("logs_updates", lambda _: False),
    "nobinlog": _sets("binlog", lambda _: False),
    "nogtid": _sets("uses_gtid", lambda _: False),
    "no-gtid-sets": _sets("has_gtids", lambda _: False),
    "gtid-mode": _sets("gtid_mode", str),
    "filters": _sets("has_filters", lambda _: True),
    "channels": _channels,
    "mariadb": _sets("flavor", lambda _: Flavor.MARIADB),
    "version": _sets("version", str),
    "format": _sets("format", str),
    "dc": _location("data_center"),
    "region": _location("region"),
    "priority": _sets("semi_sync_priority", int),
    "rule": _sets("rule", PromotionRule),
    "alias": _sets("cluster_alias", str),
    "lag": _sets("lag_s", int),
    "delay": _sets("delay_s", int),
    "io": _sets("receiver_state", _state),
    "sql": _sets("applier_state", _state),
    "error": _sets("receiver_error", str),
    "sql-error": _sets("applier_error", str),
    "stuck": _sets("applier_stuck", lambda _: True),
    "drained": _sets("applier_stuck", lambda _: False),
    "has": _has,
    "received": _received,
    "writes": _writes,
    "frozen": _frozen,
    "thawed": _thawed,
    "deaf": _sets("deaf", lambda _: True),
    "heartbeat": _sets("heartbeat_s", float),
    "restarted": _restarted,
    "from": _from,
    "connections": _sets("connections", int),
    "writes-fail": _writes_fail,
    "stalled": _sets("syncs_pending", lambda _: 1),
    "sync-binlog": _setting("binlog_sync"),
    "redo-flush": _setting("redo_flush"),
    "net-timeout": _setting("net_timeout_s"),
    "events": _events,
    "fence-lacks": _sets("fence_lacks", lambda value: tuple(value.split(","))),
    "group": _group,
    "same-id": _same("id"),
    "same-uuid": _same("uuid"),
    "downtime": _downtime,
    "paused": _paused,
    "resumed": _resumed,
    "stale": _stale,
}
