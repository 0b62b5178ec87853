"""Predicates about co-primaries, intermediate primaries, group members and replicas that the peers have too."""

from __future__ import annotations

from orchestrator_raft.core.analysis.evidence import Evidence, mute_replicas, names, unreached
from orchestrator_raft.core.analysis.situation import Situation
from orchestrator_raft.core.instance import ThreadState

# -- co-primaries: two servers that replicate from each other


def _is_dead_co_primary(s: Situation) -> bool:
    return bool(s.replicas) and not s.is_valid and s.is_co_primary and not s.replicating and not s.is_group_member


def dead_co_primary(s: Situation) -> Evidence | None:
    holds = _is_dead_co_primary(s) and len(s.valid) == len(s.replicas)
    return (unreached(s), *mute_replicas(s)) if holds else None


def dead_co_primary_and_some_replicas(s: Situation) -> Evidence | None:
    holds = _is_dead_co_primary(s) and 0 < len(s.valid) < len(s.replicas)
    return (unreached(s), *mute_replicas(s)) if holds else None


def unreachable_co_primary(s: Situation) -> Evidence | None:
    holds = bool(s.replicas) and not s.is_valid and s.is_co_primary and not s.is_group_member
    holds = holds and not s.server.answers and bool(s.replicating)
    return (unreached(s), f"still replicating from it: {names(s.replicating)}") if holds else None


def no_replica_of_co_primary_replicates(s: Situation) -> Evidence | None:
    holds = bool(s.replicas) and s.is_valid and s.is_co_primary and not s.replicating and not s.is_group_member
    return mute_replicas(s) if holds else None


# -- intermediate primaries: replicas that have replicas


def _is_down(s: Situation) -> bool:
    return bool(s.replicas) and not s.is_valid and not s.is_primary and not s.is_group_member


def _is_up(s: Situation) -> bool:
    return bool(s.replicas) and s.is_valid and not s.is_primary and not s.is_group_member


def dead_intermediate(s: Situation) -> Evidence | None:
    holds = _is_down(s) and not s.replicating and len(s.valid) == len(s.replicas) > 1
    return (unreached(s), *mute_replicas(s)) if holds else None


def dead_intermediate_with_single_replica(s: Situation) -> Evidence | None:
    holds = _is_down(s) and not s.replicating and len(s.replicas) == len(s.valid) == 1
    return (unreached(s), *mute_replicas(s)) if holds else None


def dead_intermediate_with_single_replica_failing(s: Situation) -> Evidence | None:
    evidence = dead_intermediate_with_single_replica(s)
    return evidence if evidence is not None and len(s.failing_to_connect) == 1 else None


def dead_intermediate_and_some_replicas(s: Situation) -> Evidence | None:
    holds = _is_down(s) and not s.replicating and 0 < len(s.valid) < len(s.replicas)
    return (unreached(s), *mute_replicas(s)) if holds else None


def dead_intermediate_and_replicas(s: Situation) -> Evidence | None:
    return (unreached(s), *mute_replicas(s)) if _is_down(s) and not s.valid else None


def unreachable_intermediate_with_lagging_replicas(s: Situation) -> Evidence | None:
    holds = _is_down(s) and bool(s.replicating)
    holds = holds and len(s.lagging) == len(s.replicas) and len(s.delayed) < len(s.replicas)
    return (unreached(s), f"replicating, but lagging: {names(s.lagging)}") if holds else None


def unreachable_intermediate(s: Situation) -> Evidence | None:
    holds = _is_down(s) and not s.server.answers and bool(s.replicating)
    return (unreached(s), f"still replicating from it: {names(s.replicating)}") if holds else None


def intermediate_replicas_failing(s: Situation) -> Evidence | None:
    holds = _is_up(s) and len(s.replicas) > 1 and not s.replicating
    return mute_replicas(s) if holds and 0 < len(s.failing_to_connect) == len(s.valid) else None


def intermediate_replicas_not_replicating(s: Situation) -> Evidence | None:
    return mute_replicas(s) if _is_up(s) and s.valid and not s.replicating else None


# -- single servers


def binlog_server_failing(s: Situation) -> Evidence | None:
    """A binlog server has no applier, so only its receiver counts."""
    channel = s.server.channel
    if s.facts is None or channel is None or not s.is_valid or not s.facts.is_binlog_server:
        return None
    holds = channel.receiver is not ThreadState.RUNNING and channel.receiver_error != ""
    return (f"{s.key} cannot reach its source: {channel.receiver_error}",) if holds else None


def first_tier_failing(s: Situation) -> Evidence | None:
    holds = s.server.depth == 1 and s.is_failing_to_connect and not s.is_group_member
    return (f"{s.key} cannot reach its source",) if holds else None


def dead_group_member(s: Situation) -> Evidence | None:
    holds = s.is_group_member and bool(s.replicas) and not s.is_valid and not s.replicating
    group = s.facts.group.group_name if s.facts is not None and s.facts.group is not None else ""
    return (unreached(s), f"it was in the group {group}", *mute_replicas(s)) if holds else None
