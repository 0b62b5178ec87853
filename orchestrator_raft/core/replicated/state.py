"""The replicated state: one immutable value that every node has, equal at equal index.

Rules: small and slow-changing things only (no lag, no positions, no GTID sets of servers); every history has a limit; a
mapping keeps the order of insertion, which is the order of the log and so the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.model import Acknowledgement, Recovery, Subject
from orchestrator_raft.core.replicated.labels import Pool, Tag, VirtualName
from orchestrator_raft.core.topology import (
    ClusterRecord,
    Downtime,
    Maintenance,
    Marks,
    RegisteredRule,
    ServerRecord,
    StalePrimary,
)

RESULTS_MAX = 1000
AUDIT_MAX = 1000
RECOVERIES_MAX = 200
RETURNS_MAX = 50
"""Recoveries that change no primary have a history of their own."""
DETECTIONS_MAX = 200
BLOCKED_MAX = 100
EVENTS_MAX = 1000


CHANGED = "changed"
"""Value of a refusal because what was looked at is another thing by now."""


@dataclass(frozen=True, slots=True)
class Result:
    """What ``apply`` answers: done, or refused with the reason. A refusal is a result, never an exception."""

    ok: bool
    reason: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """Where a node of the cluster is to be found."""

    node_id: str
    address: str
    http_uri: str
    version: str
    registered_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One detected problem."""

    number: int
    subject: Subject
    at_ms: int
    node_id: str
    recovery_id: str = ""
    acknowledged: Acknowledgement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedRecovery:
    """A recovery that did not start, and why."""

    key: InstanceKey
    cluster_id: str
    cluster_name: str
    code: str
    reason: str
    at_ms: int
    blocking_recovery_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the audit trail."""

    number: int
    at_ms: int
    type: str
    message: str
    key: InstanceKey | None = None
    by: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """An access token; kept under the digest of its public part. Times are replicated milliseconds."""

    owner: str
    issued_ms: int
    use_until_ms: int
    ends_ms: int
    secret_digest: str = ""
    """Of the secret part, once it is in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """What a request was answered with. ``body`` is compressed by gzip; ``parameters`` is a digest."""

    parameters: str
    at_ms: int
    status: int
    content_type: str
    body: bytes
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened, for those who follow it live."""

    number: int
    at_ms: int
    type: str
    text: str
    cluster_id: str = ""
    server: InstanceKey | None = None
    recovery_id: str = ""
    phase: str = ""
    by: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePause:
    """A person wants no write to any database, of one cluster or (empty) of all."""

    cluster_id: str
    by: str
    reason: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Which server is the primary of the cluster with this alias, as it is told to the outside: always as a whole."""

    alias: str
    cluster_id: str
    primary: InstanceKey
    generation: int
    """Of two records the one with the greater generation is newer, whatever their alias and cluster."""
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that is replicated."""

    time_ms: int = 0
    """Replicated time: the greatest ``at_ms`` applied so far; it never runs back."""
    nodes: Mapping[str, NodeRecord] = field(default_factory=dict)
    servers: Mapping[InstanceKey, ServerRecord] = field(default_factory=dict)
    clusters: Mapping[str, ClusterRecord] = field(default_factory=dict)
    cluster_number: int = 0
    downtimes: Mapping[InstanceKey, Downtime] = field(default_factory=dict)
    stale: Mapping[InstanceKey, StalePrimary] = field(default_factory=dict)
    recoveries: Mapping[str, Recovery] = field(default_factory=dict)
    recovery_number: int = 0
    detections: tuple[Detection, ...] = ()
    detection_number: int = 0
    blocked: tuple[BlockedRecovery, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    audit_number: int = 0
    recoveries_disabled: bool = False
    gave_way_ms: int = 0
    """When a leader last gave its leadership to a node that reaches more primaries; 0 for never."""
    pauses: Mapping[str, WritePause] = field(default_factory=dict)
    """By cluster id; the empty one stands for all clusters."""
    results: Mapping[str, Result] = field(default_factory=dict)
    """Results of the last commands by their id: how a retry is recognised."""
    access_tokens: Mapping[str, AccessToken] = field(default_factory=dict)
    answers: Mapping[str, KeptAnswer] = field(default_factory=dict)
    """Answers to requests by a digest of who asked what under which id."""
    events: tuple[Event, ...] = ()
    event_number: int = 0
    publications: Mapping[str, Publication] = field(default_factory=dict)
    """Primaries by alias, as they are published."""
    publication_number: int = 0
    maintenances: Mapping[InstanceKey, Maintenance] = field(default_factory=dict)
    maintenance_number: int = 0
    policy_number: int = 0
    """Counts what people set; each mark has the number of the last time it was set as its version."""
    rules: Mapping[InstanceKey, RegisteredRule] = field(default_factory=dict)
    tags: Mapping[InstanceKey, tuple[Tag, ...]] = field(default_factory=dict)
    """By name."""
    pools: Mapping[str, Pool] = field(default_factory=dict)
    virtual_names: Mapping[InstanceKey, VirtualName] = field(default_factory=dict)

    @property
    def marks(self) -> Marks:
        return Marks(
            downtimes=self.downtimes, stale=self.stale, maintenances=self.maintenances, rules=self.rules
        )  # fmt: skip

    @property
    def active_recoveries(self) -> tuple[Recovery, ...]:
        return tuple(recovery for recovery in self.recoveries.values() if recovery.is_active)

    def active_recovery(self, cluster_id: str) -> Recovery | None:
        return next((each for each in self.active_recoveries if each.holds(cluster_id)), None)

    def pause_of(self, cluster_id: str) -> WritePause | None:
        """What keeps everybody from writing to the servers of this cluster, if anything does."""
        return self.pauses.get("") or self.pauses.get(cluster_id)

    @property
    def frozen_clusters(self) -> frozenset[str]:
        """Clusters whose membership stands still because they are being recovered."""
        active = self.active_recoveries
        return frozenset(held for each in active for held in (each.cluster_id, *each.other_clusters))
