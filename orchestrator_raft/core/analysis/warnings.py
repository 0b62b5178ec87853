"""Structure warnings: the cluster works now, and would not in a failover. A table like that of the rules.

Any number of rows may hold for one server. A row's predicate looks at a ``Situation`` only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator_raft.core.analysis.situation import Situation, uses_gtid


@dataclass(frozen=True, slots=True)
class StructureWarning:
    """One row: what is unfit about the structure below a server."""

    code: str
    text: str
    holds: Callable[[Situation], bool]


def _no_logging_replicas(s: Situation) -> bool:
    return s.is_primary and len(s.replicas) > 1 and not s.logging


def _no_failover_support(s: Situation) -> bool:
    if not (s.is_primary and len(s.replicas) > 1 and s.valid):
        return False
    flavors = {replica.facts.flavor for replica in s.valid if replica.facts is not None}
    return len(flavors) > 1 or not all(uses_gtid(replica) for replica in s.valid)


def _mixed_formats(one: str, other: str) -> Callable[[Situation], bool]:
    def holds(s: Situation) -> bool:
        formats = {replica.facts.binlog.format for replica in s.logging if replica.facts is not None}
        return s.is_primary and {one, other} <= formats

    return holds


def _major_versions(s: Situation) -> bool:
    return s.is_primary and len({replica.facts.major_version for replica in s.logging if replica.facts}) > 1


def _gtid_modes(s: Situation) -> bool:
    modes = {server.facts.gtid_mode for server in (s.server, *s.valid) if server.facts is not None}
    return bool(s.valid) and len(modes) > 1


def _no_writable_primary(s: Situation) -> bool:
    return s.is_primary and s.facts is not None and s.facts.read_only


def _too_few_ackers(s: Situation) -> bool:
    if s.facts is None or not s.is_primary:
        return False
    semi_sync = s.facts.semi_sync
    waits = semi_sync.wait_for_replica_count
    return semi_sync.source_enabled and not semi_sync.source_active and 0 < waits and semi_sync.source_clients < waits


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
    StructureWarning("NoWriteableMasterStructureWarning", "The primary is read-only", _no_writable_primary),
    StructureWarning(
        "NotEnoughValidSemiSyncReplicasStructureWarning",
        "Semi-sync has switched itself off: fewer replicas acknowledge than the primary waits for",
        _too_few_ackers,
    ),
)


def structure_warnings(situation: Situation) -> tuple[str, ...]:
    """Codes of all rows that hold, in table order."""
    return tuple(row.code for row in STRUCTURE_WARNINGS if row.holds(situation))
