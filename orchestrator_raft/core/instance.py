"""What one database server is like: the facts of one probe.

Rules for this file
- Values only. A server that cannot be reached is a value too (``Unreachable``), never an exception.
- One type for both lives of a fact: ``Facts`` as probed, and ``Facts.structural()`` of it, which drops all that moves
  by itself (lag, positions, GTID sets, thread states). Only the structural part is replicated (design D3.3), so two
  probes of a quiet server are equal there and the log stands still.
- Words are the field's: primary, replica, source, receiver (the IO thread), applier (the SQL thread).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from typing import NamedTuple

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.health import LOAD_UNKNOWN, SETTINGS_UNKNOWN, GroupMember, Load, ServerSettings

DEFAULT_PORT = 3306
DELAY_OPTIONS = frozenset({"SOURCE_DELAY", "MASTER_DELAY"})
DETACHED_MARK = "//"
"""orchestrator detaches a replica by writing this in front of its source's name."""


class InstanceKey(NamedTuple):
    """A server's address as the cluster knows it; an attribute, not the identity (design D10).

    A tuple, since every view of the fleet is a mapping by addresses: no other value is hashed and compared so often.
    """

    hostname: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"{host}:{self.port}"

    @property
    def is_detached(self) -> bool:
        return self.hostname.startswith(DETACHED_MARK)

    @property
    def attached(self) -> InstanceKey:
        """The same address without the mark of a detached replica's source."""
        return self._replace(hostname=self.hostname.removeprefix(DETACHED_MARK))


_KEY = re.compile(r"^(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^\s:]+))(?::(?P<port>\d+))?$")


def parse_key(text: str, default_port: int = DEFAULT_PORT) -> InstanceKey:
    """``host``, ``host:port`` or ``[v6]:port`` to a key. Raises InvalidInput with the text in the message."""
    match = _KEY.match(text.strip())
    if match is None:
        raise InvalidInput(f"'{text}' is no server address: write host:port (an IPv6 address as [address]:port)")
    port = int(match["port"] or default_port)
    if not 0 < port < 65536:
        raise InvalidInput(f"'{text}' is no server address: port {port} is outside 1 to 65535")
    return InstanceKey(match["v6"] or match["host"], port)


class Flavor(Enum):
    """Dialect family of a server; each has one module in ``flavors``."""

    MYSQL = "mysql"
    MARIADB = "mariadb"


class ThreadState(IntEnum):
    """State of a replication thread; the numbers are those of orchestrator's JSON."""

    ABSENT = -1
    STOPPED = 0
    RUNNING = 1
    CONNECTING = 2


class PromotionRule(Enum):
    """How gladly a server is promoted, best first in ``PROMOTION_ORDER``."""

    MUST = "must"
    PREFER = "prefer"
    NEUTRAL = "neutral"
    PREFER_NOT = "prefer_not"
    MUST_NOT = "must_not"


PROMOTION_ORDER = {rule: position for position, rule in enumerate(PromotionRule)}


@dataclass(frozen=True, slots=True)
class Coordinates:
    """A place in a binary or relay log."""

    log_file: str = ""
    log_position: int = 0

    def __str__(self) -> str:
        return f"{self.log_file}:{self.log_position}"


@dataclass(frozen=True, slots=True)
class ChannelOption:
    """One option of a replication channel, named as the dialect's CHANGE statement names it."""

    name: str
    value: str | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One replication channel of a replica, as its server reports it."""

    name: str = ""
    source: InstanceKey
    source_uuid: str = ""
    source_server_id: int = 0
    user: str = ""
    receiver: ThreadState = ThreadState.STOPPED
    applier: ThreadState = ThreadState.STOPPED
    receiver_error_number: int = 0
    receiver_error: str = ""
    applier_error_number: int = 0
    applier_error: str = ""
    uses_gtid: bool = False
    has_filters: bool = False
    read: Coordinates = Coordinates()
    executed: Coordinates = Coordinates()
    relay: Coordinates = Coordinates()
    retrieved: GtidSet | None = None
    lag_s: int | None = None
    delay_s: int = 0
    heartbeat_period_s: float | None = None
    heartbeats: int = 0
    """Heartbeats that the receiver has got; begins anew with the receiver."""
    silent_s: float | None = None
    """How long ago the receiver last heard anything, where the server knows it."""
    options: tuple[ChannelOption, ...] = ()
    """Every option that has to survive a change of source (TLS, retry, heartbeat, compression ...), no secrets."""

    @property
    def options_for_others(self) -> tuple[ChannelOption, ...]:
        """What another replica of the same source needs, too: all but the delay, which is this replica's own."""
        return tuple(option for option in self.options if option.name not in DELAY_OPTIONS)

    @property
    def replicates(self) -> bool:
        """Both threads run. A receiver that is still connecting does not."""
        return self.receiver is ThreadState.RUNNING and self.applier is ThreadState.RUNNING

    @property
    def receives(self) -> bool:
        """The receiver runs, or it will as soon as its source can be reached."""
        return self.receiver in (ThreadState.RUNNING, ThreadState.CONNECTING)

    @property
    def stopped_on_purpose(self) -> bool:
        """Somebody stopped the receiver: no error, no attempt to connect. Such a replica has no opinion (D3.5)."""
        return self.receiver in (ThreadState.STOPPED, ThreadState.ABSENT) and self.receiver_error_number == 0

    def structural(self) -> Channel:
        empty = Coordinates()
        return replace(
            self, receiver=ThreadState.STOPPED, applier=ThreadState.STOPPED, receiver_error_number=0, receiver_error="",
            applier_error_number=0, applier_error="", read=empty, executed=empty, relay=empty, retrieved=None,
            lag_s=None, heartbeats=0, silent_s=None,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SemiSync:
    """Set-up and state of semi-synchronous replication on one server."""

    available: bool = False
    source_enabled: bool = False
    source_active: bool = False
    source_clients: int = 0
    wait_for_replica_count: int = 0
    wait_without_replicas: bool = False
    after_sync: bool = False
    timeout_ms: int = 0
    replica_enabled: bool = False
    replica_active: bool = False
    new_names: bool = False
    """The server uses the words source and replica in its semi-sync variables."""

    def structural(self) -> SemiSync:
        """``source_active`` stays: what the promise rests on has to be known when nobody can be asked any more."""
        return replace(self, source_clients=0, replica_active=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binlog:
    """Binary log settings and position."""

    enabled: bool = False
    format: str = ""
    row_image: str = ""
    logs_replica_updates: bool = False
    coordinates: Coordinates = Coordinates()


@dataclass(frozen=True, slots=True)
class Location:
    """Where a server stands; empty text means unknown."""

    data_center: str = ""
    region: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one successful probe learned about one server."""

    key: InstanceKey
    flavor: Flavor
    version: str
    version_comment: str = ""
    server_id: int = 0
    server_uuid: str = ""
    """@@server_uuid; empty on MariaDB, where identity is cluster and server_id."""
    uptime_s: int = 0
    read_only: bool = False
    super_read_only: bool = False
    binlog: Binlog = Binlog()
    gtid_mode: str = ""
    executed: GtidSet | None = None
    purged: GtidSet | None = None
    semi_sync: SemiSync = SemiSync()
    channels: tuple[Channel, ...] = ()
    replicas: tuple[InstanceKey, ...] = ()
    """Replicas that this server itself names (SHOW REPLICAS); only a hint where to look."""
    replica_ids: tuple[int, ...] | None = None
    """Server ids of the replicas that are connected to it; None where it did not tell."""
    alias: str = ""
    cluster_alias: str = ""
    cluster_domain: str = ""
    location: Location = Location()
    promotion_rule: PromotionRule = PromotionRule.NEUTRAL
    semi_sync_priority: int = 0
    queried_lag_s: float | None = None
    """Lag by ReplicationLagQuery, where one is configured."""
    has_replication_credentials: bool = False
    settings: ServerSettings = SETTINGS_UNKNOWN
    load: Load = LOAD_UNKNOWN
    group: GroupMember | None = None
    fence_lacks: tuple[str, ...] = ()
    """Privileges that our account lacks to end every session, as far as the server told."""

    @property
    def is_group_member(self) -> bool:
        """Takes part in group replication: the group itself decides about its primary."""
        return self.group is not None and self.group.is_active

    @property
    def is_binlog_server(self) -> bool:
        """Stores and passes on binary logs, and holds no data (MaxScale)."""
        return "maxscale" in self.version.lower()

    @property
    def channel(self) -> Channel | None:
        """The channel we act on: the unnamed default one, else the only one there is."""
        if len(self.channels) <= 1:
            return self.channels[0] if self.channels else None
        return next((channel for channel in self.channels if channel.name == ""), None)

    @property
    def source(self) -> InstanceKey | None:
        """The server this one replicates from; None for a primary, and for a detached replica."""
        channel = self.channel
        return None if channel is None or channel.source.is_detached else channel.source

    def is_same_server(self, other: Facts) -> bool:
        """By server_uuid and server_id (D10); MariaDB has the id alone, so there the address has to agree as well."""
        return (self.flavor, self.server_uuid, self.server_id) == (other.flavor, other.server_uuid, other.server_id)

    @property
    def can_be_source(self) -> bool:
        """Has a binary log that contains what it replicates."""
        return self.binlog.enabled and self.binlog.logs_replica_updates

    @property
    def major_version(self) -> tuple[int, ...]:
        """The part of a version that decides who may replicate from whom: 8.4, 9.7, 10.11."""
        return tuple(int(number) for number in re.findall(r"\d+", self.version)[:2])

    @property
    def is_writable(self) -> bool:
        return not self.read_only

    @property
    def received(self) -> GtidSet | None:
        """Executed ∪ retrieved: everything this server has, applied or not (users.md item 7)."""
        channel = self.channel
        if self.executed is None or channel is None or channel.retrieved is None:
            return self.executed
        return self.executed.union(channel.retrieved)

    @property
    def lag_s(self) -> float | None:
        if self.queried_lag_s is not None:
            return max(0.0, self.queried_lag_s)
        return self.channel.lag_s if self.channel is not None else None

    def structural(self) -> Facts:
        """The part that changes only when somebody changes something; this part goes through Raft."""
        return replace(
            self, uptime_s=0, executed=None, purged=None, queried_lag_s=None, replica_ids=None,
            semi_sync=self.semi_sync.structural(),
            binlog=replace(self.binlog, coordinates=Coordinates()),
            channels=tuple(channel.structural() for channel in self.channels),
            replicas=tuple(sorted(self.replicas)), load=LOAD_UNKNOWN,
        )  # fmt: skip


class UnreachableKind(Enum):
    """Why a probe failed. ``answers`` tells the kinds in which the server process itself replied, so it is alive."""

    REFUSED = "refused"
    RESET = "reset"
    NO_GREETING = "timeout before greeting"
    QUERY_TIMEOUT = "timeout in query"
    AUTHENTICATION = "authentication"
    TOO_MANY_CONNECTIONS = "too many connections"
    UNRESOLVABLE = "unresolvable name"
    NETWORK = "network"
    TLS_MISSING = "TLS not offered"
    NOT_A_SERVER = "not a database server"
    PROTOCOL = "protocol"
    OWN_TROUBLE = "trouble of the node that asked"
    """No descriptors, no ports, no free slot: says nothing about the server."""

    @property
    def answers(self) -> bool:
        return self in _ANSWERS

    @property
    def is_opinion(self) -> bool:
        """It says something about the server, not only about the node that asked."""
        return self not in _NO_OPINION


_ANSWERS = frozenset(
    {
        UnreachableKind.AUTHENTICATION,
        UnreachableKind.TOO_MANY_CONNECTIONS,
        UnreachableKind.TLS_MISSING,
        UnreachableKind.PROTOCOL,
    }
)
_NO_OPINION = frozenset({UnreachableKind.OWN_TROUBLE, UnreachableKind.UNRESOLVABLE})


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A probe that brought no facts."""

    key: InstanceKey
    kind: UnreachableKind
    detail: str


@dataclass(frozen=True, slots=True)
class Reached:
    """A probe that brought facts, and how long it took."""

    facts: Facts
    latency_s: float = 0.0


ProbeResult = Reached | Unreachable
