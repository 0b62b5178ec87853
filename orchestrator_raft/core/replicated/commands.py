"""Everything that can be written into the replicated log.

Rules
- A command is plain data. Time and ids travel inside it: ``apply`` reads no clock and draws nothing.
- ``id`` is unique per intention, not per attempt, so that a retry is recognised and answered with the first result.
- Fields are only ever added, with a default: an older entry in the log must still mean what it meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.recovery.model import Recovery, Subject
from orchestrator_raft.core.topology import SavedTransactions, StaleStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What all commands carry. ``at_ms`` is wall-clock milliseconds of whoever proposed it."""

    id: str
    at_ms: int
    by: str = ""
    """The person or node that asked."""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCommand(Command):
    """Sets something or takes it back. Refused with ``CHANGED`` where that is not of the version that was looked at."""

    if_version: int | None = None
    """0 where there was nothing; None does not mind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterNode(Command):
    """A node says where its HTTP API is. Proposed by the node itself when that is not yet recorded."""

    node_id: str
    address: str
    http_uri: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerObservation:
    """What changed in the structure of one server."""

    key: InstanceKey
    facts: Facts | None
    """Structural facts; None leaves those that are recorded."""
    reachable: bool = True
    addresses: tuple[InstanceKey, ...] = ()
    """Addresses under which it was reached, beside ``key``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveServers(Command):
    """Structural differences that the leader saw, batched."""

    servers: tuple[ServerObservation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetServers(Command):
    """Drop servers from the record, and every mark on them."""

    keys: tuple[InstanceKey, ...]
    reason: str = ""
    forced: bool = False
    """A person wants it although something depends on the record: see ``servers.forget``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginDowntime(PolicyCommand):
    """A person takes a server out of automatic recovery until ``ends_ms``."""

    key: InstanceKey
    owner: str
    reason: str
    ends_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndDowntime(PolicyCommand):
    """End a downtime; ``expired`` when its time has come, by the leader."""

    key: InstanceKey
    expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRecovery(Command):
    """Ask for the one recovery lease of a cluster. Granted or refused by ``apply``; the result says why."""

    recovery: Recovery
    block_ms: int
    """For so long after a promotion the cluster is not recovered again by itself."""
    storm_clusters: int = 0
    """So many clusters recovered within ``storm_ms`` are a storm, in which nothing is recovered by itself; 0: never."""
    storm_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRecovery(Command):
    """A new leader takes over a running recovery: from now on only its term may record."""

    recovery_id: str
    holder: str
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPhase(Command):
    """The recovery as it goes on. Refused when another leader has taken it over."""

    recovery: Recovery


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishRecovery(Command):
    """The recovery in its named end state; the lease of the cluster is free again."""

    recovery: Recovery


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDetection(Command):
    """A problem was detected; detection hooks have run or will not run."""

    subject: Subject
    recovery_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordBlocked(Command):
    """A recovery that would have started was refused; people can see why and what releases it."""

    key: InstanceKey
    cluster_id: str
    code: str
    reason: str
    blocking_recovery_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgeRecoveries(Command):
    """A person took note. Exactly one selector is set, or ``every``."""

    comment: str
    every: bool = False
    cluster_id: str = ""
    key: InstanceKey | None = None
    recovery_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkStale(Command):
    """What became known of a stale primary."""

    key: InstanceKey
    status: StaleStatus
    extra: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSaved(Command):
    """What became of saving the transactions that only this server has."""

    key: InstanceKey
    saved: SavedTransactions
    recovery_id: str = ""
    """The return that kept the server out when the save began; empty where none did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAckers(Command):
    """Replicas that no longer count as possible ackers: the others hold all that they could have acknowledged."""

    cluster_id: str
    keys: tuple[InstanceKey, ...]
    lapses: int = 0
    """The cluster's count of lapses when the primary was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitAckers(Command):
    """Released replicas are connected to the primary again: possible ackers, whether we reach them or not."""

    cluster_id: str
    keys: tuple[InstanceKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LapsePromise(Command):
    """Somebody else than the possible ackers may have acknowledged: what the replicas have must be seen anew."""

    cluster_id: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmCaughtUp(Command):
    """Enough possible ackers have all that the primary had when its semi-sync went into force."""

    cluster_id: str
    lapses: int
    """The cluster's count of lapses when the primary was read: with another one now, this is about the past."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseWrites(Command):
    """No write to any database by anybody, of one cluster or (empty) of all; or the end of that."""

    paused: bool
    cluster_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchRecoveries(Command):
    """The peers' global switch: automatic recoveries on or off; manual ones always run."""

    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveWay(Command):
    """The leader wants another node to lead, since that reaches more primaries. Refused soon after the last time."""

    node_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAudit(Command):
    """One thing that was done, for the audit trail."""

    type: str
    message: str
    key: InstanceKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueAccessToken(Command):
    """Somebody is given an access token; ``digest`` is that of its public part."""

    digest: str
    owner: str
    use_until_ms: int
    ends_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UseAccessToken(Command):
    """Take a token into use, once; from then on its secret part counts."""

    digest: str
    secret_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAnswer(Command):
    """What a request was answered with, for when it comes again. ``body`` is compressed by gzip."""

    key: str
    parameters: str
    status: int
    content_type: str
    body: bytes
    location: str = ""


COMMANDS: tuple[type[Command], ...] = (
    RegisterNode,
    ObserveServers,
    ForgetServers,
    BeginDowntime,
    EndDowntime,
    ClaimRecovery,
    ResumeRecovery,
    RecordPhase,
    FinishRecovery,
    RecordDetection,
    RecordBlocked,
    AcknowledgeRecoveries,
    MarkStale,
    RecordSaved,
    ReleaseAckers,
    AdmitAckers,
    LapsePromise,
    ConfirmCaughtUp,
    PauseWrites,
    SwitchRecoveries,
    GiveWay,
    RecordAudit,
    IssueAccessToken,
    UseAccessToken,
    KeepAnswer,
)
