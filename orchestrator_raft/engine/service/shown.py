"""The values that a page is made of: a fleet, a cluster, a server and what is wrong with it, in few words each.

What is not known is None or empty. Everything of one server is ``GET /servers/{server}``.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.candidates.promise import Promise
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated.outlook import Outlook
from orchestrator_raft.core.replicated.state import WritePause
from orchestrator_raft.core.topology import Downtime, Maintenance, StalePrimary


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is wrong with a server. ``repair`` says what would be done, ``because`` why nothing is."""

    server: InstanceKey
    code: str
    severity: str
    text: str
    evidence: tuple[str, ...] = ()
    repair: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSemiSync:
    """``source`` and ``replica``: switched on and in force there."""

    source: bool
    replica: bool
    wait_for_replica_count: int
    possible_acker: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownServer:
    """One server in a few words. What is not known is None or empty."""

    server: InstanceKey
    alias: str
    source: InstanceKey | None
    is_primary: bool
    is_co_primary: bool
    flavor: str
    version: str
    data_center: str
    region: str
    environment: str
    reached: bool | None
    unreachable: str
    seen_s_ago: float | None
    read_only: bool | None
    lag_s: float | None
    delay_s: int
    receiver: str
    applier: str
    replication_error: str
    semi_sync: ShownSemiSync | None
    promotion_rule: str
    logs_updates: bool | None
    tags: tuple[str, ...]
    downtime: Downtime | None
    maintenance: Maintenance | None
    stale: StalePrimary | None
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRecovery:
    """A recovery in one line."""

    id: str
    number: int
    kind: str
    text: str
    code: str
    server: InstanceKey
    successor: InstanceKey | None
    phase: str
    end: str
    started_ms: int
    finished_ms: int
    is_acknowledged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCluster:
    """One cluster in a few words. ``running`` is the recovery that works on it now, ``last`` the newest that ended."""

    id: str
    name: str
    alias: str
    domain: str
    primary: InstanceKey | None
    servers: tuple[InstanceKey, ...]
    words: tuple[str, ...]
    """What else a search finds it by: aliases, versions, places of its servers."""
    reached: int
    downtimed: int
    kept_out: int
    lag_max_s: float | None
    troubles: tuple[Trouble, ...]
    no_loss_promise: Promise
    automatic_failover: Outlook
    pause: WritePause | None
    running: ShownRecovery | None
    last: ShownRecovery | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All clusters, worst first, and the brakes that hold for all of them."""

    at_ms: int
    looked: bool
    recoveries_disabled: bool
    pause: WritePause | None
    unacknowledged: int
    blocked: int
    clusters: tuple[ShownCluster, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterMap:
    """One cluster and each of its servers."""

    at_ms: int
    looked: bool
    cluster: ShownCluster
    servers: tuple[ShownServer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownKind:
    """A kind of recovery; ``phases`` are names with what is done in them."""

    name: str
    text: str
    phases: dict[str, str]
