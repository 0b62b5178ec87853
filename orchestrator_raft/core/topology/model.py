"""The values that describe clusters: the replicated records, and the view that decisions are made on.

Two kinds live here and must not be mixed up:
- ``...Record``, ``Downtime``, ``StalePrimary`` are replicated by Raft and change only by a committed command;
- ``Server``, ``Cluster``, ``Topology`` are one moment's view, built anew for each decision and never kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.instance import (
    Channel,
    Facts,
    InstanceKey,
    PromotionRule,
    Unreachable,
    UnreachableKind,
)
from orchestrator_raft.core.observation import Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """What is replicated about one server: its structure, where it belongs, whether it answers."""

    key: InstanceKey
    facts: Facts | None = None
    """Structural facts of the last successful probe; None when nobody has reached it yet."""
    addresses: tuple[InstanceKey, ...] = ()
    """Other addresses under which this very server was reached."""
    cluster_id: str = ""
    reachable: bool = True
    reachable_changed_ms: int = 0
    """Replicated time at which ``reachable`` last changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """What is replicated about one cluster. Its id never changes; its name is its primary's address."""

    id: str
    primary: InstanceKey | None = None
    alias: str = ""
    alias_by_hand: str = ""
    """The alias that a person gave it; it goes before the one that its primary suggests."""
    alias_version: int = 0
    """Another number each time a person sets it; 0 while nobody has."""
    domain: str = ""
    generation: int = 0
    """Counts the changes of the primary role."""
    ackers: tuple[InstanceKey, ...] = ()
    """Possible ackers: replicas that may have acknowledged a semi-sync commit. Shrinks only by command (D4)."""
    released: tuple[InstanceKey, ...] = ()
    """Replicas that are gone and were released from ``ackers``; each is one again as soon as it answers."""
    caught_up: bool = False
    """As many possible ackers as the primary waits for have all that it had when semi-sync went into force."""
    lapses: int = 0
    """Counts the changes of the primary and of its semi-sync, and whatever else ended ``caught_up``."""
    lapsed_because: str = ""
    """Why ``caught_up`` ended, where neither the primary nor its semi-sync has changed."""
    left_behind: tuple[InstanceKey, ...] = ()
    """Replicas that missed a change of primary. Each is compared and attached, or kept out, when it answers."""

    @property
    def name(self) -> str:
        return str(self.primary) if self.primary is not None else self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Downtime:
    """A person's mark, with an end: this server's problems start no recovery. Times are replicated milliseconds."""

    key: InstanceKey
    owner: str
    reason: str
    begun_ms: int
    ends_ms: int
    version: int = 0
    """Another number each time it is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """A person's mark, with an end: nobody else changes this server, and nothing automatic does. Replicated ms."""

    number: int
    key: InstanceKey
    owner: str
    reason: str
    begun_ms: int
    ends_ms: int
    version: int = 0
    """Another number each time it is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredRule:
    """A promotion rule that a person gave a server; it goes before the one that was detected. Replicated ms."""

    key: InstanceKey
    rule: PromotionRule
    by: str
    set_ms: int
    ends_ms: int
    version: int = 0
    """Another number each time it is set."""


class StaleStatus(Enum):
    """Where a demoted primary that was out of reach stands."""

    OUT_OF_REACH = "out of reach"
    FENCED = "fenced"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTransactions:
    """What became of saving the transactions that only one server has, from its binary logs."""

    node_id: str = ""
    """The node that has the file."""
    path: str = ""
    """Absolute, on that node; empty where nothing was saved."""
    size_bytes: int = 0
    gtids: str = ""
    """What is in the file."""
    problem: str = ""
    """Why nothing, or not everything, was saved; one line."""
    wanted: str = ""
    """What only this server had when the save began: with something else it is to be saved anew."""
    at_ms: int = 0

    def __str__(self) -> str:
        where = f"{self.path} on node {self.node_id}, {self.size_bytes} bytes" if self.path else "nothing was saved"
        return f"{where}: {self.problem}" if self.problem else where


@dataclass(frozen=True, slots=True, kw_only=True)
class StalePrimary:
    """A server demoted while out of reach. It is fenced before anything else is done with it (D4)."""

    key: InstanceKey
    cluster_id: str
    recovery_id: str
    since_ms: int
    status: StaleStatus = StaleStatus.OUT_OF_REACH
    extra: str = ""
    """GTIDs that only this server holds, once they are known; then it is quarantined."""
    detail: str = ""
    unsound: str = ""
    """Why its data is not to be trusted, whatever its GTIDs say: it is not attached until a copy has succeeded."""
    saved: SavedTransactions | None = None
    """What became of saving those transactions; None while nobody has tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Replicated marks on servers, by address."""

    downtimes: Mapping[InstanceKey, Downtime] = field(default_factory=dict)
    stale: Mapping[InstanceKey, StalePrimary] = field(default_factory=dict)
    maintenances: Mapping[InstanceKey, Maintenance] = field(default_factory=dict)
    rules: Mapping[InstanceKey, RegisteredRule] = field(default_factory=dict)

    def living(self, now_ms: int) -> Marks:
        """Without those that have ended."""
        return Marks(
            downtimes={key: mark for key, mark in self.downtimes.items() if mark.ends_ms > now_ms},
            stale=self.stale,
            maintenances={key: mark for key, mark in self.maintenances.items() if mark.ends_ms > now_ms},
            rules={key: mark for key, mark in self.rules.items() if mark.ends_ms > now_ms},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server in one moment's view."""

    key: InstanceKey
    cluster_id: str
    facts: Facts | None
    """Newest facts known, from before the failure where the server does not answer now."""
    observation: Observation | None
    source: InstanceKey | None
    """The known server it replicates from, resolved to that server's key."""
    replicas: tuple[InstanceKey, ...]
    depth: int
    is_co_primary: bool = False
    downtime: Downtime | None = None
    stale: StalePrimary | None = None
    record: ServerRecord | None = None
    maintenance: Maintenance | None = None
    reached: bool = field(init=False)
    """The newest probe brought facts (the peers' "last check valid")."""
    channel: Channel | None = field(init=False)
    """The channel we act on, by the newest facts known."""

    def __post_init__(self) -> None:
        """Rules ask for these two more often than for all the rest."""
        object.__setattr__(self, "reached", self.observation is not None and self.observation.reached)
        object.__setattr__(self, "channel", self.facts.channel if self.facts is not None else None)

    @property
    def set_aside(self) -> str:
        """Why a person wants nothing done here automatically, in words; empty where nobody does."""
        if self.downtime is not None:
            return f"{self.key} is in downtime by {self.downtime.owner}: {self.downtime.reason}"
        return self.in_maintenance

    @property
    def in_maintenance(self) -> str:
        """Who works on this server, in words; empty where nobody does."""
        mark = self.maintenance
        return f"{self.key} is in maintenance by {mark.owner}: {mark.reason}" if mark is not None else ""

    @property
    def answers(self) -> bool:
        """The process replied, if only with an error, or it was this node that could not ask: no sign of death."""
        if self.observation is None:
            return False
        result = self.observation.result
        if isinstance(result, Unreachable):
            return result.kind.answers or result.kind is UnreachableKind.OWN_TROUBLE
        return True

    @property
    def fresh(self) -> Facts | None:
        """Facts of the newest probe; None when that probe failed or there was none."""
        return self.facts if self.reached else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One cluster in one moment's view."""

    record: ClusterRecord
    members: tuple[InstanceKey, ...]

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def alias(self) -> str:
        """Alias for people; the cluster's name where none is known (as the peers do)."""
        return self.record.alias or self.record.name

    @property
    def primary(self) -> InstanceKey | None:
        return self.record.primary


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that is known of the fleet, at one moment."""

    servers: Mapping[InstanceKey, Server]
    clusters: Mapping[str, Cluster]

    def server(self, key: InstanceKey) -> Server:
        """The server with this key. Raises InvalidInput when nobody knows it."""
        found = self.servers.get(key)
        if found is None:
            raise InvalidInput(f"no server {key} is known: discover it first")
        return found

    def replicas_of(self, key: InstanceKey) -> tuple[Server, ...]:
        found = self.servers.get(key)
        return tuple(map(self.servers.__getitem__, found.replicas)) if found else ()

    def members(self, cluster_id: str) -> Iterator[Server]:
        cluster = self.clusters.get(cluster_id)
        return map(self.servers.__getitem__, cluster.members if cluster else ())

    def primary_of(self, cluster_id: str) -> Server | None:
        cluster = self.clusters.get(cluster_id)
        if cluster is None or cluster.primary is None:
            return None
        return self.servers.get(cluster.primary)

    def ancestors(self, key: InstanceKey) -> tuple[InstanceKey, ...]:
        """Sources above ``key``, nearest first; a circle ends where it would begin again."""
        found: list[InstanceKey] = []
        current = self.servers.get(key)
        while current is not None and current.source is not None and current.source not in (key, *found):
            found.append(current.source)
            current = self.servers.get(current.source)
        return tuple(found)
