"""Predicates about primaries that the peers have too: dead, out of reach, locked, without replicas that replicate.

Members of a replication group are not judged here: the group itself decides about its primary.
"""

from __future__ import annotations

from orchestrator_raft.core.analysis.evidence import Evidence, mute_replicas, names, unreached
from orchestrator_raft.core.analysis.situation import Situation


def _is_down(s: Situation) -> bool:
    return s.is_primary and not s.is_valid and not s.is_group_member


def _is_up(s: Situation) -> bool:
    return s.is_primary and s.is_valid and not s.is_group_member


def dead_without_replicas(s: Situation) -> Evidence | None:
    return (unreached(s), "it has no replicas") if _is_down(s) and not s.replicas else None


def dead_primary(s: Situation) -> Evidence | None:
    holds = _is_down(s) and not s.replicating and len(s.valid) == len(s.replicas) > 0
    return (unreached(s), *mute_replicas(s)) if holds else None


def dead_primary_and_replicas(s: Situation) -> Evidence | None:
    holds = _is_down(s) and s.replicas and not s.valid
    return (unreached(s), *mute_replicas(s)) if holds else None


def dead_primary_and_some_replicas(s: Situation) -> Evidence | None:
    holds = _is_down(s) and not s.replicating and 0 < len(s.valid) < len(s.replicas)
    return (unreached(s), *mute_replicas(s)) if holds else None


def unreachable_primary_with_lagging_replicas(s: Situation) -> Evidence | None:
    holds = _is_down(s) and bool(s.replicating)
    holds = holds and len(s.lagging) == len(s.replicas) and len(s.delayed) < len(s.replicas)
    return (unreached(s), f"replicating, but lagging: {names(s.lagging)}") if holds else None


def unreachable_primary(s: Situation) -> Evidence | None:
    holds = _is_down(s) and bool(s.replicating)
    holds = holds and (not s.server.answers or bool(s.failing_to_connect))
    return (unreached(s), f"still replicating from it: {names(s.replicating)}") if holds else None


def locked(s: Situation) -> Evidence | None:
    """Too few replicas acknowledge, and nothing has been committed for a while."""
    idle_s = s.observation.idle_s if s.observation is not None else 0.0
    evidence = locked_hypothesis(s) if idle_s > s.policy.locked_after_s else None
    return (*evidence, f"nothing has been committed for {idle_s:.0f} s") if evidence is not None else None


def locked_hypothesis(s: Situation) -> Evidence | None:
    """Too few replicas acknowledge, so the next commit waits."""
    if not _is_up(s) or s.facts is None or not s.replicas:
        return None
    semi_sync = s.facts.semi_sync
    waits = semi_sync.wait_for_replica_count
    holds = semi_sync.source_enabled and semi_sync.source_active and semi_sync.source_clients < waits
    return (f"it waits for {waits} acknowledging replicas and has {semi_sync.source_clients}",) if holds else None


def too_many_ackers(s: Situation) -> Evidence | None:
    if not s.policy.exact_semi_sync or not _is_up(s) or s.facts is None:
        return None
    semi_sync = s.facts.semi_sync
    waits = semi_sync.wait_for_replica_count
    holds = semi_sync.source_enabled and semi_sync.source_active and 0 < waits < semi_sync.source_clients
    said = f"{semi_sync.source_clients} replicas acknowledge, and it waits for {waits} (EnforceExactSemiSyncReplicas)"
    return (said,) if holds else None


def no_writable_primary(s: Situation) -> Evidence | None:
    """Only where people want it repaired; otherwise it is a structure warning."""
    holds = s.policy.recover_read_only_primary and _is_up(s) and bool(s.replicating) and not s.belongs_to_group
    holds = holds and s.facts is not None and s.facts.read_only
    return (f"{s.key} is read-only", f"replicating from it: {names(s.replicating)}") if holds else None


def single_replica_not_replicating(s: Situation) -> Evidence | None:
    holds = _is_up(s) and len(s.replicas) == len(s.valid) == 1 and not s.replicating
    return (f"its only replica does not replicate: {names(s.replicas)}",) if holds else None


def single_replica_dead(s: Situation) -> Evidence | None:
    holds = _is_up(s) and len(s.replicas) == 1 and not s.valid
    return (f"its only replica does not answer: {names(s.replicas)}",) if holds else None


def no_replica_replicates(s: Situation) -> Evidence | None:
    holds = _is_up(s) and len(s.replicas) == len(s.valid) > 1 and not s.replicating
    return mute_replicas(s) if holds else None


def no_replica_replicates_some_dead(s: Situation) -> Evidence | None:
    holds = _is_up(s) and len(s.replicas) > 1 and not s.replicating
    return mute_replicas(s) if holds and 0 < len(s.valid) < len(s.replicas) else None
