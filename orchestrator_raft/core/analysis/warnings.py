"""Structure warnings: the cluster works now, and would not in a failover. A table like that of the rules.

Any number of rows may hold for one server. A row's predicate looks at a ``Situation`` only and returns its evidence, or
None. Rows up to ``NotEnoughValidSemiSyncReplicas...`` are the peers'; those after it are about settings that people
should know of when a cluster is taken over by this manager, since a crash turns them into losses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from orchestrator_raft.core.analysis.errant import errant_gtids
from orchestrator_raft.core.analysis.evidence import Evidence, names
from orchestrator_raft.core.analysis.situation import Situation, uses_gtid
from orchestrator_raft.core.candidates import promise_of, semi_sync_promises
from orchestrator_raft.core.instance import Facts
from orchestrator_raft.core.topology import Server

SEMI_SYNC_TIMEOUT_LEAST_MS = 3_600_000
"""With a shorter timeout a primary goes on alone while people still look for its replicas (design D4)."""


@dataclass(frozen=True, slots=True)
class StructureWarning:
    """One row: what is unfit about the structure below a server."""

    code: str
    text: str
    predicate: Callable[[Situation], Evidence | None]
    is_advice: bool = False
    """About a setting, not a fault: a cluster with it can be called healthy."""


@dataclass(frozen=True, slots=True)
class Weakness:
    """A structure warning that holds for a server, with what shows it."""

    warning: StructureWarning
    evidence: Evidence

    @property
    def code(self) -> str:
        return self.warning.code


def _no_logging_replicas(s: Situation) -> Evidence | None:
    holds = s.is_primary and len(s.replicas) > 1 and not s.logging
    return (f"log_bin or log_replica_updates is off on {names(s.replicas)}",) if holds else None


def _no_failover_support(s: Situation) -> Evidence | None:
    if not (s.is_primary and len(s.replicas) > 1 and s.valid):
        return None
    flavors = [replica.facts.flavor for replica in s.valid if replica.facts is not None]
    if flavors.count(flavors[0]) < len(flavors):
        return (f"{names(s.valid)} are not all of one kind",)
    without = [replica for replica in s.valid if not uses_gtid(replica)]
    return (f"by file and position: {names(without)}",) if without else None


def _mixed_formats(one: str, other: str) -> Callable[[Situation], Evidence | None]:
    def predicate(s: Situation) -> Evidence | None:
        if not s.is_primary or s.is_uniform:
            return None
        logging = {word: tuple(each for each in s.logging if _format(each) == word) for word in (one, other)}
        if not all(logging.values()):
            return None
        return tuple(f"{word}: {names(servers)}" for word, servers in logging.items())

    return predicate


def _format(server: Server) -> str:
    return server.facts.binlog.format if server.facts is not None else ""


def _major_versions(s: Situation) -> Evidence | None:
    if not s.is_primary or s.is_uniform:
        return None
    versions = {replica.facts.major_version for replica in s.logging if replica.facts is not None}
    shown = ", ".join(".".join(map(str, version)) for version in sorted(versions))
    return (f"major versions {shown}",) if len(versions) > 1 else None


def _gtid_modes(s: Situation) -> Evidence | None:
    if not s.valid:
        return None
    mode = s.facts.gtid_mode if s.facts is not None else None
    differing = [each for each in s.valid if each.facts and mode is not None and each.facts.gtid_mode != mode]
    return (f"gtid_mode is not that of {s.key} on {names(differing)}",) if differing else None


def _errant(s: Situation) -> Evidence | None:
    if not s.valid:
        return None
    found = [(replica, errant_gtids(s.topology, replica)) for replica in s.valid if replica.downtime is None]
    said = [f"{replica.key} has {errant.describe()}" for replica, errant in found if errant]
    return tuple(said) or None


def _no_writable_primary(s: Situation) -> Evidence | None:
    holds = s.facts is not None and s.facts.read_only and s.is_primary and not s.is_group_member
    return (f"{s.key} is read-only",) if holds else None


def _too_few_ackers(s: Situation) -> Evidence | None:
    if s.facts is None or not s.is_primary:
        return None
    semi_sync = s.facts.semi_sync
    waits = semi_sync.wait_for_replica_count
    holds = semi_sync.source_enabled and not semi_sync.source_active and semi_sync.source_clients < waits
    return (
        (f"it ought to wait for {waits} acknowledging replicas and has {semi_sync.source_clients}",) if holds else None
    )


def _durability(s: Situation) -> Evidence | None:
    if s.facts is None or not s.is_primary:
        return None
    settings = s.facts.settings
    wanted = (("sync_binlog", settings.binlog_sync), ("innodb_flush_log_at_trx_commit", settings.redo_flush))
    loose = [f"{name} is {value}, not 1" for name, value in wanted if value not in (None, 1)]
    return tuple(loose) or None


def _slow_detection(s: Situation) -> Evidence | None:
    if not s.valid:
        return None
    limit_s = s.policy.net_timeout_reasonable_s
    said = [complaint for replica in s.valid if (complaint := _tells_late(replica, limit_s))]
    return tuple(said) or None


def _tells_late(replica: Server, limit_s: float) -> str:
    facts, channel = replica.facts, replica.channel
    timeout_s = facts.settings.net_timeout_s if facts is not None else None
    if timeout_s is not None and timeout_s > limit_s:
        return f"{replica.key} tells after {timeout_s} s that its source is silent (replica_net_timeout)"
    period_s = channel.heartbeat_period_s if channel is not None else None
    if period_s is not None and (period_s == 0 or period_s > limit_s / 2):
        return (
            f"{replica.key} gets a heartbeat every {period_s:g} s" if period_s else f"{replica.key} gets no heartbeats"
        )
    return ""


def _short_semi_sync(s: Situation) -> Evidence | None:
    semi_sync = s.facts.semi_sync if s.facts is not None and s.is_primary else None
    holds = semi_sync is not None and semi_sync.source_enabled and semi_sync.timeout_ms < SEMI_SYNC_TIMEOUT_LEAST_MS
    if semi_sync is None or not holds:
        return None
    return (f"its semi-sync timeout is {semi_sync.timeout_ms} ms, less than an hour",)


def _duplicate_id(s: Situation) -> Evidence | None:
    return _twice("server_id", s, attrgetter("server_id"))


def _duplicate_uuid(s: Situation) -> Evidence | None:
    return _twice("server_uuid", s, attrgetter("server_uuid"))


def _twice(name: str, s: Situation, identity_of: Callable[[Facts], int | str]) -> Evidence | None:
    """Said of the recorded primary, about everybody in its cluster that has told who it is."""
    if not s.is_recorded_primary:
        return None
    known = [(identity_of(server.facts), server) for server in s.members if server.facts is not None]
    if len(dict(known)) == len(known):
        return None
    holders: dict[int | str, list[Server]] = {}
    for identity, server in known:
        holders.setdefault(identity, []).append(server)
    shared = {identity: servers for identity, servers in holders.items() if identity and len(servers) > 1}
    return tuple(f"{name} {identity}: {names(servers)}" for identity, servers in shared.items()) or None


def _cannot_fence(s: Situation) -> Evidence | None:
    lacks = s.facts.fence_lacks if s.facts is not None and s.is_primary else ()
    return (f"the manager's account on {s.key} lacks {' and '.join(lacks)}: see privileges.md",) if lacks else None


def _no_loss_promise(s: Situation) -> Evidence | None:
    """Semi-sync could promise, and does not: a possible acker is out of reach, a stranger acknowledges ..."""
    if s.cluster is None or s.cluster.primary != s.key or not s.is_valid or not semi_sync_promises(s.facts).holds:
        return None
    promise = promise_of(s.topology, s.cluster.id)
    return None if promise.holds else (promise.because,)


STRUCTURE_WARNINGS: tuple[StructureWarning, ...] = (
    StructureWarning(
        "NoLoggingReplicasStructureWarning", "No replica has a binary log of what it replicates", _no_logging_replicas
    ),
    StructureWarning(
        "NoFailoverSupportStructureWarning", "The replicas do not all replicate by GTID", _no_failover_support
    ),
    StructureWarning(
        "StatementAndMixedLoggingReplicasStructureWarning",
        "Replicas log in STATEMENT and in MIXED format",
        _mixed_formats("STATEMENT", "MIXED"),
    ),
    StructureWarning(
        "StatementAndRowLoggingReplicasStructureWarning",
        "Replicas log in STATEMENT and in ROW format",
        _mixed_formats("STATEMENT", "ROW"),
    ),
    StructureWarning(
        "MixedAndRowLoggingReplicasStructureWarning",
        "Replicas log in MIXED and in ROW format",
        _mixed_formats("MIXED", "ROW"),
    ),
    StructureWarning(
        "MultipleMajorVersionsLoggingReplicasStructureWarning",
        "Replicas that could be promoted have different major versions",
        _major_versions,
    ),
    StructureWarning(
        "DifferentGTIDModesStructureWarning", "The server and its replicas differ in GTID mode", _gtid_modes
    ),
    StructureWarning("ErrantGTIDStructureWarning", "Replicas have transactions that their source never had", _errant),
    StructureWarning("NoWriteableMasterStructureWarning", "The primary is read-only", _no_writable_primary),
    StructureWarning(
        "NotEnoughValidSemiSyncReplicasStructureWarning",
        "Semi-sync has switched itself off: fewer replicas acknowledge than the primary waits for",
        _too_few_ackers,
    ),
    StructureWarning(
        "UnsafeDurabilityStructureWarning",
        "A crash of the primary's machine may lose what it had committed",
        _durability,
        is_advice=True,
    ),
    StructureWarning(
        "SlowFailureDetectionStructureWarning",
        "Replicas notice late that their source is gone, so a frozen or cut-off one is replaced late",
        _slow_detection,
        is_advice=True,
    ),
    StructureWarning(
        "ShortSemiSyncTimeoutStructureWarning",
        "The primary soon gives up waiting for replicas, and then commits alone",
        _short_semi_sync,
        is_advice=True,
    ),
    StructureWarning(
        "FenceMayFailStructureWarning",
        "Sessions that the manager may not end could keep it from fencing the primary",
        _cannot_fence,
        is_advice=True,
    ),
    StructureWarning(
        "NoLossPromiseStructureWarning",
        "A failover now may lose writes that clients were told are safe, or is refused for that",
        _no_loss_promise,
    ),
    StructureWarning("DuplicateServerIdStructureWarning", "Servers of one cluster share a server_id", _duplicate_id),
    StructureWarning(
        "DuplicateServerUuidStructureWarning", "Servers of one cluster share a server_uuid", _duplicate_uuid
    ),
)


def structure_warnings(situation: Situation) -> tuple[Weakness, ...]:
    """All rows that hold and that people have not chosen to ignore, in table order."""
    if not situation.is_primary and not situation.server.replicas and not situation.is_recorded_primary:
        return ()  # nothing is below it
    found = []
    for row in STRUCTURE_WARNINGS:
        evidence = row.predicate(situation)
        if evidence is not None and row.code not in situation.policy.ignored_codes:
            found.append(Weakness(row, evidence))
    return tuple(found)
