"""What is wrong, as a table (design D6).

To add a rule: one row here, one scenario file in ``tests/scenarios``. The order of rows is the priority: the first row
that finds evidence names the problem. A predicate looks at a ``Situation`` only and returns its evidence, one short
sentence an item, or None. The names of codes are orchestrator's, since its clients read them; what they mean is said in
``text``. ``recovery`` names a row of ``core.recovery``; empty means that people are told and nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from orchestrator_raft.core.analysis.situation import Situation
from orchestrator_raft.core.topology import Server

Evidence = tuple[str, ...]
Predicate = Callable[[Situation], Evidence | None]


class Severity(Enum):
    """How urgent a problem is."""

    CRITICAL = "critical"
    WARNING = "warning"


class Confirmation(Enum):
    """Who has to agree before a recovery may start (design D3.5)."""

    NONE = "none"
    EYES = "eyes"
    """The server's own probe, what its replicas say, and the other nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row: when does this problem hold, and what is done about it."""

    code: str
    text: str
    predicate: Predicate
    severity: Severity = Severity.CRITICAL
    confirmation: Confirmation = Confirmation.NONE
    recovery: str = ""
    notifies: bool = False
    """OnFailureDetectionProcesses run although nothing is recovered."""
    hidden_by_downtimed_replicas: bool = False


def _names(servers: tuple[Server, ...]) -> str:
    shown = ", ".join(str(server.key) for server in servers[:5])
    return shown if len(servers) <= 5 else f"{shown} and {len(servers) - 5} more"


def _unreached(s: Situation) -> str:
    observation = s.server.observation
    if observation is None:
        return f"{s.key} has not been probed yet"
    detail = getattr(observation.result, "detail", "")
    return f"{s.key} does not answer ({detail})"


def _silent_replicas(s: Situation) -> Evidence:
    dead = tuple(replica for replica in s.replicas if not replica.reached)
    said = (f"not replicating: {_names(s.valid)}",) if s.valid else ()
    return (*said, f"not reachable either: {_names(dead)}") if dead else said


def dead_without_replicas(s: Situation) -> Evidence | None:
    holds = s.is_primary and not s.is_valid and not s.replicas
    return (_unreached(s), "it has no replicas") if holds else None


def dead_primary(s: Situation) -> Evidence | None:
    holds = s.is_primary and not s.is_valid and not s.replicating
    holds = holds and len(s.valid) == len(s.replicas) > 0
    return (_unreached(s), *_silent_replicas(s)) if holds else None


def dead_primary_and_replicas(s: Situation) -> Evidence | None:
    holds = s.is_primary and not s.is_valid and s.replicas and not s.valid
    return (_unreached(s), *_silent_replicas(s)) if holds else None


def dead_primary_and_some_replicas(s: Situation) -> Evidence | None:
    holds = s.is_primary and not s.is_valid and not s.replicating
    holds = holds and 0 < len(s.valid) < len(s.replicas)
    return (_unreached(s), *_silent_replicas(s)) if holds else None


def unreachable_primary_with_lagging_replicas(s: Situation) -> Evidence | None:
    holds = s.is_primary and not s.is_valid and bool(s.replicating)
    holds = holds and len(s.lagging) == len(s.replicas) and len(s.delayed) < len(s.replicas)
    return (_unreached(s), f"replicating, but lagging: {_names(s.lagging)}") if holds else None


def unreachable_primary(s: Situation) -> Evidence | None:
    holds = s.is_primary and not s.is_valid and bool(s.replicating)
    holds = holds and (not s.server.answers or bool(s.failing_to_connect))
    return (_unreached(s), f"still replicating from it: {_names(s.replicating)}") if holds else None


def single_replica_not_replicating(s: Situation) -> Evidence | None:
    holds = s.is_primary and s.is_valid and len(s.replicas) == len(s.valid) == 1 and not s.replicating
    return (f"its only replica does not replicate: {_names(s.replicas)}",) if holds else None


def single_replica_dead(s: Situation) -> Evidence | None:
    holds = s.is_primary and s.is_valid and len(s.replicas) == 1 and not s.valid
    return (f"its only replica does not answer: {_names(s.replicas)}",) if holds else None


def no_replica_replicates(s: Situation) -> Evidence | None:
    holds = s.is_primary and s.is_valid and len(s.replicas) == len(s.valid) > 1 and not s.replicating
    return _silent_replicas(s) if holds else None


def no_replica_replicates_some_dead(s: Situation) -> Evidence | None:
    holds = s.is_primary and s.is_valid and len(s.replicas) > 1 and not s.replicating
    return _silent_replicas(s) if holds and 0 < len(s.valid) < len(s.replicas) else None


def dead_intermediate(s: Situation) -> Evidence | None:
    holds = not s.is_primary and not s.is_valid and not s.replicating
    return (_unreached(s), *_silent_replicas(s)) if holds and len(s.valid) == len(s.replicas) > 1 else None


def dead_intermediate_with_single_replica(s: Situation) -> Evidence | None:
    holds = not s.is_primary and not s.is_valid and not s.replicating and len(s.replicas) == len(s.valid) == 1
    return (_unreached(s), *_silent_replicas(s)) if holds else None


def dead_intermediate_with_single_replica_failing(s: Situation) -> Evidence | None:
    evidence = dead_intermediate_with_single_replica(s)
    return evidence if len(s.failing_to_connect) == 1 else None


def dead_intermediate_and_some_replicas(s: Situation) -> Evidence | None:
    holds = not s.is_primary and not s.is_valid and not s.replicating
    return (_unreached(s), *_silent_replicas(s)) if holds and 0 < len(s.valid) < len(s.replicas) else None


def dead_intermediate_and_replicas(s: Situation) -> Evidence | None:
    holds = not s.is_primary and not s.is_valid and s.replicas and not s.valid
    return (_unreached(s), *_silent_replicas(s)) if holds else None


def unreachable_intermediate_with_lagging_replicas(s: Situation) -> Evidence | None:
    holds = not s.is_primary and not s.is_valid and bool(s.replicating)
    holds = holds and len(s.lagging) == len(s.replicas) and len(s.delayed) < len(s.replicas)
    return (_unreached(s), f"replicating, but lagging: {_names(s.lagging)}") if holds else None


def unreachable_intermediate(s: Situation) -> Evidence | None:
    holds = not s.is_primary and not s.is_valid and not s.server.answers and bool(s.replicating)
    return (_unreached(s), f"still replicating from it: {_names(s.replicating)}") if holds else None


def intermediate_replicas_failing(s: Situation) -> Evidence | None:
    failing = s.failing_to_connect
    holds = not s.is_primary and s.is_valid and len(s.replicas) > 1 and not s.replicating
    return _silent_replicas(s) if holds and 0 < len(failing) == len(s.valid) else None


def intermediate_replicas_not_replicating(s: Situation) -> Evidence | None:
    holds = not s.is_primary and s.is_valid and s.valid and not s.replicating
    return _silent_replicas(s) if holds else None


def first_tier_failing(s: Situation) -> Evidence | None:
    holds = s.server.depth == 1 and s.is_failing_to_connect
    return (f"{s.key} cannot reach its source",) if holds else None


RULES: tuple[Rule, ...] = (
    Rule(
        code="DeadMasterWithoutReplicas", text="The primary is dead and nothing can take over",
        predicate=dead_without_replicas,
    ),
    Rule(
        code="DeadMaster", text="The primary is dead; its replicas answer and none of them replicates",
        predicate=dead_primary, confirmation=Confirmation.EYES, recovery="dead_primary", notifies=True,
    ),
    Rule(
        code="DeadMasterAndReplicas", text="The primary and all its replicas are out of reach",
        predicate=dead_primary_and_replicas, notifies=True,
    ),
    Rule(
        code="DeadMasterAndSomeReplicas", text="The primary and some replicas are dead; the others do not replicate",
        predicate=dead_primary_and_some_replicas, confirmation=Confirmation.EYES, recovery="dead_primary",
        notifies=True,
    ),
    Rule(
        code="UnreachableMasterWithLaggingReplicas",
        text="The primary is out of reach; its replicas still replicate, all behind",
        predicate=unreachable_primary_with_lagging_replicas, notifies=True,
    ),
    Rule(
        code="UnreachableMaster", text="The primary is out of our reach, but a replica still replicates from it",
        predicate=unreachable_primary, notifies=True,
    ),
    Rule(
        code="MasterSingleReplicaNotReplicating", text="The only replica of the primary does not replicate",
        predicate=single_replica_not_replicating, severity=Severity.WARNING,
    ),
    Rule(
        code="MasterSingleReplicaDead", text="The only replica of the primary is dead",
        predicate=single_replica_dead, severity=Severity.WARNING, hidden_by_downtimed_replicas=True,
    ),
    Rule(
        code="AllMasterReplicasNotReplicating", text="No replica of the primary replicates",
        predicate=no_replica_replicates, severity=Severity.WARNING, notifies=True, hidden_by_downtimed_replicas=True,
    ),
    Rule(
        code="AllMasterReplicasNotReplicatingOrDead", text="No replica of the primary replicates, some are dead",
        predicate=no_replica_replicates_some_dead, severity=Severity.WARNING, notifies=True,
        hidden_by_downtimed_replicas=True,
    ),
    Rule(
        code="DeadIntermediateMasterWithSingleReplicaFailingToConnect",
        text="An intermediate primary is dead and its only replica cannot reach it",
        predicate=dead_intermediate_with_single_replica_failing, hidden_by_downtimed_replicas=True,
        confirmation=Confirmation.EYES, recovery="dead_intermediate", notifies=True,
    ),
    Rule(
        code="DeadIntermediateMasterWithSingleReplica", text="An intermediate primary with one replica is dead",
        predicate=dead_intermediate_with_single_replica, hidden_by_downtimed_replicas=True,
        confirmation=Confirmation.EYES, recovery="dead_intermediate", notifies=True,
    ),
    Rule(
        code="DeadIntermediateMaster", text="An intermediate primary is dead; its replicas answer, none replicates",
        predicate=dead_intermediate,
        confirmation=Confirmation.EYES, recovery="dead_intermediate", notifies=True,
    ),
    Rule(
        code="DeadIntermediateMasterAndSomeReplicas", text="An intermediate primary and some of its replicas are dead",
        predicate=dead_intermediate_and_some_replicas, hidden_by_downtimed_replicas=True,
        confirmation=Confirmation.EYES, recovery="dead_intermediate", notifies=True,
    ),
    Rule(
        code="DeadIntermediateMasterAndReplicas", text="An intermediate primary and all its replicas are out of reach",
        predicate=dead_intermediate_and_replicas, notifies=True, hidden_by_downtimed_replicas=True,
    ),
    Rule(
        code="UnreachableIntermediateMasterWithLaggingReplicas",
        text="An intermediate primary is out of reach; its replicas replicate, all behind",
        predicate=unreachable_intermediate_with_lagging_replicas, notifies=True,
    ),
    Rule(
        code="UnreachableIntermediateMaster",
        text="An intermediate primary is out of our reach; a replica still replicates",
        predicate=unreachable_intermediate, severity=Severity.WARNING,
    ),
    Rule(
        code="AllIntermediateMasterReplicasFailingToConnectOrDead",
        text="No replica of an intermediate primary can reach it", predicate=intermediate_replicas_failing,
        hidden_by_downtimed_replicas=True,
        recovery="dead_intermediate", notifies=True,
    ),
    Rule(
        code="AllIntermediateMasterReplicasNotReplicating", text="No replica of an intermediate primary replicates",
        predicate=intermediate_replicas_not_replicating, severity=Severity.WARNING, hidden_by_downtimed_replicas=True,
    ),
    Rule(
        code="FirstTierReplicaFailingToConnectToMaster", text="A replica of the primary cannot reach it",
        predicate=first_tier_failing, severity=Severity.WARNING,
    ),
)  # fmt: skip

RULE_BY_CODE = {rule.code: rule for rule in RULES}
NO_PROBLEM = "NoProblem"
