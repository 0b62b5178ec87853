"""What is wrong, as a table (design D6).

To add a rule: one row here, one scenario file in ``tests/scenarios``. The order of rows is the priority: the first row
that finds evidence names the problem. A predicate looks at a ``Situation`` only and returns its evidence, one short
sentence an item, or None. The names of codes are orchestrator's, since its clients read them; what they mean is said in
``text``. ``recovery`` names a row of ``core.recovery``; empty means that people are told and nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache

from orchestrator_raft.core.analysis import ailments, intermediates, primaries
from orchestrator_raft.core.analysis.evidence import Evidence
from orchestrator_raft.core.analysis.situation import Sight, Situation

Predicate = Callable[[Situation], Evidence | None]


class Severity(Enum):
    """How urgent a problem is."""

    CRITICAL = "critical"
    WARNING = "warning"


class Confirmation(Enum):
    """Who has to agree before a recovery may start, and is asked as soon as the problem is seen (design D3.5)."""

    NONE = "none"
    EYES = "eyes"
    """The server's own probe, what its replicas say, and the other nodes."""


class About(Enum):
    """Which servers a rule is about. It is not even asked of others: most servers are healthy replicas."""

    PRIMARY_DOWN = "a primary without a fresh probe result"
    PRIMARY_UP = "a primary that answers"
    PRIMARY_ALONE = "a primary that answers, and none of its replicas replicates"
    PRIMARY = "a primary"
    SOURCE = "a replica that has replicas"
    UNREACHED = "a server without a fresh probe result"
    WRITABLE = "a server that answers, and takes writes"
    HALTED = "a server that answers, and one of whose replication threads does not run"
    REPLICA = "a server that answers, and has a source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row: when does this problem hold, and what is done about it."""

    code: str
    text: str
    predicate: Predicate
    about: About
    severity: Severity = Severity.CRITICAL
    confirmation: Confirmation = Confirmation.NONE
    recovery: str = ""
    notifies: bool = False
    """OnFailureDetectionProcesses run although nothing is recovered."""
    hidden_by_downtimed_replicas: bool = False


RULES: tuple[Rule, ...] = (
    Rule(
        code="HungMaster", text="The primary is frozen: connections to it are taken and nothing is said on them",
        about=About.PRIMARY_DOWN, predicate=ailments.hung_primary,
        confirmation=Confirmation.EYES, recovery="dead_primary", notifies=True,
    ),
    Rule(
        code="SaturatedMaster", text="The primary takes no more connections: max_connections is reached",
        about=About.PRIMARY, predicate=ailments.saturated_primary, notifies=True,
    ),
    Rule(
        code="DeadMasterWithoutReplicas", text="The primary is dead and nothing can take over",
        about=About.PRIMARY_DOWN, predicate=primaries.dead_without_replicas,
    ),
    Rule(
        code="DeadMaster", text="The primary is dead; its replicas answer and none of them replicates",
        about=About.PRIMARY_DOWN, predicate=primaries.dead_primary,
        confirmation=Confirmation.EYES, recovery="dead_primary", notifies=True,
    ),
    Rule(
        code="DeadMasterAndReplicas", text="The primary and all its replicas are out of reach",
        about=About.PRIMARY_DOWN, predicate=primaries.dead_primary_and_replicas, notifies=True,
    ),
    Rule(
        code="DeadMasterAndSomeReplicas", text="The primary and some replicas are dead; the others do not replicate",
        about=About.PRIMARY_DOWN, predicate=primaries.dead_primary_and_some_replicas,
        confirmation=Confirmation.EYES, recovery="dead_primary",
        notifies=True,
    ),
    Rule(
        code="UnreachableMasterWithLaggingReplicas",
        text="The primary is out of reach; its replicas still replicate, all behind",
        about=About.PRIMARY_DOWN, predicate=primaries.unreachable_primary_with_lagging_replicas,
        confirmation=Confirmation.EYES, notifies=True,
    ),
    Rule(
        code="UnreachableMaster", text="The primary is out of our reach, but a replica still replicates from it",
        about=About.PRIMARY_DOWN, predicate=primaries.unreachable_primary,
        confirmation=Confirmation.EYES, notifies=True,
    ),
    Rule(
        code="LockedSemiSyncMaster", text="The primary waits for more acknowledging replicas than there are",
        about=About.PRIMARY_UP, predicate=primaries.locked, notifies=True,
        recovery="semi_sync",
    ),
    Rule(
        code="LockedSemiSyncMasterHypothesis",
        text="Too few replicas acknowledge, so the primary will wait, or does already",
        about=About.PRIMARY_UP, predicate=primaries.locked_hypothesis, severity=Severity.WARNING,
    ),
    Rule(
        code="MasterWithTooManySemiSyncReplicas", text="More replicas acknowledge than the primary waits for",
        about=About.PRIMARY_UP, predicate=primaries.too_many_ackers, severity=Severity.WARNING,
        recovery="semi_sync",
    ),
    Rule(
        code="NoWriteableMasterStructureWarning", text="The primary is read-only",
        about=About.PRIMARY_UP, predicate=primaries.no_writable_primary, recovery="open_primary",
        notifies=True,
    ),
    Rule(
        code="RestartedMasterReadOnly", text="The primary was restarted and came back read-only",
        about=About.PRIMARY_UP, predicate=ailments.restarted_read_only, recovery="open_primary",
        notifies=True,
    ),
    Rule(
        code="FullDiskMaster", text="The disk of the primary is full: it answers, and cannot write",
        about=About.PRIMARY_UP, predicate=ailments.full_disk, recovery="dead_primary", notifies=True,
    ),
    Rule(
        code="StalledDiskMaster", text="The disk of the primary finishes nothing",
        about=About.PRIMARY_UP, predicate=ailments.stalled_disk, recovery="dead_primary", notifies=True,
    ),
    Rule(
        code="MasterCannotWrite", text="The primary answers, and writes fail or do not end",
        about=About.PRIMARY_UP, predicate=ailments.cannot_write, recovery="dead_primary", notifies=True,
    ),
    Rule(
        code="RestartedMasterWithoutSemiSync", text="The primary was restarted and came back without semi-sync",
        about=About.PRIMARY_UP, predicate=ailments.restarted_without_semi_sync, notifies=True,
        recovery="restore_semi_sync",
    ),
    Rule(
        code="MasterSingleReplicaNotReplicating", text="The only replica of the primary does not replicate",
        about=About.PRIMARY_ALONE, predicate=primaries.single_replica_not_replicating, severity=Severity.WARNING,
    ),
    Rule(
        code="MasterSingleReplicaDead", text="The only replica of the primary is dead",
        about=About.PRIMARY_ALONE, predicate=primaries.single_replica_dead,
        severity=Severity.WARNING, hidden_by_downtimed_replicas=True,
    ),
    Rule(
        code="AllMasterReplicasNotReplicating", text="No replica of the primary replicates",
        about=About.PRIMARY_ALONE, predicate=primaries.no_replica_replicates, severity=Severity.WARNING, notifies=True,
        hidden_by_downtimed_replicas=True,
    ),
    Rule(
        code="AllMasterReplicasNotReplicatingOrDead", text="No replica of the primary replicates, some are dead",
        about=About.PRIMARY_ALONE, predicate=primaries.no_replica_replicates_some_dead,
        severity=Severity.WARNING, notifies=True,
        hidden_by_downtimed_replicas=True,
    ),
    Rule(
        code="DeadCoMaster", text="A co-primary is dead; its replicas answer and none of them replicates",
        about=About.SOURCE, predicate=intermediates.dead_co_primary,
        confirmation=Confirmation.EYES, notifies=True, recovery="dead_primary",
    ),
    Rule(
        code="DeadCoMasterAndSomeReplicas", text="A co-primary and some of its replicas are dead",
        about=About.SOURCE, predicate=intermediates.dead_co_primary_and_some_replicas,
        confirmation=Confirmation.EYES, notifies=True, recovery="dead_primary",
    ),
    Rule(
        code="UnreachableCoMaster", text="A co-primary is out of our reach, but a replica still replicates from it",
        about=About.SOURCE, predicate=intermediates.unreachable_co_primary,
    ),
    Rule(
        code="AllCoMasterReplicasNotReplicating", text="No replica of a co-primary replicates",
        about=About.SOURCE, predicate=intermediates.no_replica_of_co_primary_replicates, severity=Severity.WARNING,
        hidden_by_downtimed_replicas=True,
    ),
    Rule(
        code="MultipleWriteableMasters", text="A second server of the cluster takes writes, and is no plain replica",
        about=About.WRITABLE, predicate=ailments.second_writer, recovery="fence_writer",
        notifies=True,
    ),
    Rule(
        code="DeadIntermediateMasterWithSingleReplicaFailingToConnect",
        text="An intermediate primary is dead and its only replica cannot reach it",
        about=About.SOURCE, predicate=intermediates.dead_intermediate_with_single_replica_failing,
        hidden_by_downtimed_replicas=True,
        confirmation=Confirmation.EYES, recovery="dead_intermediate", notifies=True,
    ),
    Rule(
        code="DeadIntermediateMasterWithSingleReplica", text="An intermediate primary with one replica is dead",
        about=About.SOURCE, predicate=intermediates.dead_intermediate_with_single_replica,
        hidden_by_downtimed_replicas=True,
        confirmation=Confirmation.EYES, recovery="dead_intermediate", notifies=True,
    ),
    Rule(
        code="DeadIntermediateMaster", text="An intermediate primary is dead; its replicas answer, none replicates",
        about=About.SOURCE, predicate=intermediates.dead_intermediate,
        confirmation=Confirmation.EYES, recovery="dead_intermediate", notifies=True,
    ),
    Rule(
        code="DeadIntermediateMasterAndSomeReplicas", text="An intermediate primary and some of its replicas are dead",
        about=About.SOURCE, predicate=intermediates.dead_intermediate_and_some_replicas,
        hidden_by_downtimed_replicas=True,
        confirmation=Confirmation.EYES, recovery="dead_intermediate", notifies=True,
    ),
    Rule(
        code="DeadIntermediateMasterAndReplicas", text="An intermediate primary and all its replicas are out of reach",
        about=About.SOURCE, predicate=intermediates.dead_intermediate_and_replicas,
        notifies=True, hidden_by_downtimed_replicas=True,
    ),
    Rule(
        code="UnreachableIntermediateMasterWithLaggingReplicas",
        text="An intermediate primary is out of reach; its replicas replicate, all behind",
        about=About.SOURCE, predicate=intermediates.unreachable_intermediate_with_lagging_replicas, notifies=True,
    ),
    Rule(
        code="UnreachableIntermediateMaster",
        text="An intermediate primary is out of our reach; a replica still replicates",
        about=About.SOURCE, predicate=intermediates.unreachable_intermediate, severity=Severity.WARNING,
    ),
    Rule(
        code="AllIntermediateMasterReplicasFailingToConnectOrDead",
        text="No replica of an intermediate primary can reach it",
        about=About.SOURCE, predicate=intermediates.intermediate_replicas_failing,
        hidden_by_downtimed_replicas=True,
        recovery="dead_intermediate", notifies=True,
    ),
    Rule(
        code="AllIntermediateMasterReplicasNotReplicating", text="No replica of an intermediate primary replicates",
        about=About.SOURCE, predicate=intermediates.intermediate_replicas_not_replicating, severity=Severity.WARNING,
        hidden_by_downtimed_replicas=True,
    ),
    Rule(
        code="BinlogServerFailingToConnectToMaster", text="A binlog server cannot reach its source",
        about=About.HALTED, predicate=intermediates.binlog_server_failing, severity=Severity.WARNING,
    ),
    Rule(
        code="FirstTierReplicaFailingToConnectToMaster", text="A replica of the primary cannot reach it",
        about=About.HALTED, predicate=intermediates.first_tier_failing, severity=Severity.WARNING,
    ),
    Rule(
        code="DeadReplicationGroupMemberWithReplicas",
        text="A member of a replication group is dead, and so do its replicas outside the group not replicate",
        about=About.UNREACHED, predicate=intermediates.dead_group_member,
        confirmation=Confirmation.EYES, recovery="dead_intermediate", notifies=True,
    ),
    Rule(
        code="InstanceRefusesManager", text="A server answers, and does not let this manager look at it",
        about=About.UNREACHED, predicate=ailments.refuses_manager, severity=Severity.WARNING,
    ),
    Rule(
        code="ReplicaApplierBroken", text="A replica's applier stopped with an error",
        about=About.HALTED, predicate=ailments.broken_applier, severity=Severity.WARNING,
    ),
    Rule(
        code="ReplicaReceiverBroken", text="A replica's receiver stopped with an error and does not try again",
        about=About.HALTED, predicate=ailments.broken_receiver, severity=Severity.WARNING,
    ),
    Rule(
        code="WriteableReplica", text="A replica takes writes beside the primary",
        about=About.WRITABLE, predicate=ailments.writable_replica, severity=Severity.WARNING,
    ),
    Rule(
        code="SilentReplica", text="A replica's receiver runs, and has heard nothing for longer than its heartbeat",
        about=About.REPLICA, predicate=ailments.silent_replica, severity=Severity.WARNING,
    ),
    Rule(
        code="ErrantGTIDReplica", text="A replica has transactions that its source never had",
        about=About.REPLICA, predicate=ailments.errant_replica, severity=Severity.WARNING,
    ),
    Rule(
        code="LaggingReplica", text="A replica is further behind than it ought to be",
        about=About.REPLICA, predicate=ailments.lagging_replica, severity=Severity.WARNING,
    ),
)  # fmt: skip

IS_ABOUT: Mapping[About, Callable[[Sight], bool]] = {
    About.PRIMARY_DOWN: lambda it: it.is_primary and not it.is_valid,
    About.PRIMARY_UP: lambda it: it.is_primary and it.is_valid,
    About.PRIMARY_ALONE: lambda it: it.is_primary and it.is_valid and it.has_replicas and not it.is_followed,
    About.PRIMARY: lambda it: it.is_primary,
    About.SOURCE: lambda it: it.has_replicas and not it.is_primary,
    About.UNREACHED: lambda it: not it.is_valid,
    About.WRITABLE: lambda it: it.is_valid and it.is_writable,
    About.HALTED: lambda it: it.is_valid and it.is_replica and not it.is_replicating,
    About.REPLICA: lambda it: it.is_valid and it.is_replica,
}


@cache
def asked(sight: Sight) -> tuple[Rule, ...]:
    """The rules to ask of a server that is like this; no other one can hold for it."""
    return tuple(rule for rule in RULES if IS_ABOUT[rule.about](sight))


RULE_BY_CODE = {rule.code: rule for rule in RULES}
NO_PROBLEM = "NoProblem"
