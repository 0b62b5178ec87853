"""What people decided, as values: the static policy of the configuration, and the filters it is written in.

Rules for this file: no behaviour beyond matching; every field has a unit in its name or a type that needs none; a
default here is the product's default, and the configuration only overrides it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from orchestrator_raft.core.instance import InstanceKey


class LossPolicy(Enum):
    """What a failover may cost in acknowledged transactions (design D4)."""

    AUTO = "auto"
    """``none`` where semi-sync is on, ``any`` where it is off."""
    NONE = "none"
    ANY = "any"


class EventSchedulerPolicy(Enum):
    """What becomes of event_scheduler when a server's role changes."""

    NONE = "none"
    """Nothing."""
    MOVE = "move"
    """A change of primary takes it along: off at a demoted primary, on at its successor if it was on there."""
    ENFORCE = "enforce"
    """That, and it is switched off at replicas where it is found on."""


class ExitPolicy(Enum):
    """What follows when a hook of a list fails."""

    ABORT = "abort"
    """The rest of the list is not run, and the recovery ends before it has changed anything."""
    WARN = "warn"
    """The rest of the list is run, and the recovery goes on; its record has the failure."""
    FAIL = "fail"
    """The rest of the list is not run; the recovery goes on, and its record has the failure."""


STOPPING_LISTS = ("OnFailureDetectionProcesses", "PreGracefulTakeoverProcesses", "PreFailoverProcesses")
"""They run before anything is changed, so only they can abort, and do by default."""


@dataclass(frozen=True, slots=True)
class ClusterFilters:
    """Entries of RecoverMasterClusterFilters and the like.

    An entry is ``*``, an exact cluster name or alias, ``alias=x``, ``alias~=regex``, or a regex on the cluster name.
    No entries match nothing: automatic recovery is off until somebody asks for it.
    """

    entries: tuple[str, ...] = ()

    def match(self, name: str, alias: str) -> bool:
        return any(_entry_matches(entry, name, alias) for entry in self.entries)


def _entry_matches(entry: str, name: str, alias: str) -> bool:
    if entry == "*" or entry in (name, alias):
        return True
    if entry.startswith("alias="):
        return alias == entry.removeprefix("alias=")
    if entry.startswith("alias~="):
        return re.search(entry.removeprefix("alias~="), alias) is not None
    return re.search(entry, name) is not None


@dataclass(frozen=True, slots=True)
class HostFilters:
    """Regexes on ``host:port``, as in RecoveryIgnoreHostnameFilters."""

    patterns: tuple[str, ...] = ()

    def match(self, key: InstanceKey) -> bool:
        if not self.patterns:
            return False
        text = str(key)
        return any(re.search(pattern, text) is not None for pattern in self.patterns)

    def without(self, keys: Iterable[InstanceKey]) -> tuple[InstanceKey, ...]:
        """Those of ``keys`` that no pattern matches."""
        return tuple(key for key in keys if not self.match(key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The static part of what the decisions depend on; equal on all nodes that share a configuration."""

    recover_primary: ClusterFilters = ClusterFilters()
    recover_intermediate: ClusterFilters = ClusterFilters()
    recovery_ignore: HostFilters = HostFilters()
    promotion_ignore: HostFilters = HostFilters()
    discovery_ignore: HostFilters = HostFilters()
    problem_ignore: HostFilters = HostFilters()
    control_ignore: HostFilters = HostFilters()
    """Never watched by schema changes (OSCIgnoreHostnameFilters)."""
    storm_clusters: int = 20
    """So many clusters recovered within ``storm_s`` are a storm: nothing more is recovered by itself; 0 is never."""
    storm_s: float = 600.0
    recovery_block_s: float = 3600.0
    """A cluster that was recovered is not recovered again by itself for so long, unless somebody acknowledges."""
    detection_block_s: float = 3600.0
    lag_reasonable_s: float = 10.0
    lag_maintenance_s: float = 20.0
    """A replica that lags more is no target of a planned takeover."""
    silence_s: float = 1.75
    """A receiver that has heard nothing for so long beyond its heartbeat period hears nothing."""
    stall_s: float = 10.0
    """The disk of a server that waits for it so long, and has finished no flush meanwhile, stands still."""
    locked_after_s: float = 10.0
    """A primary with too few ackers that has committed nothing for so long is locked."""
    net_timeout_reasonable_s: float = 10.0
    """A replica with a longer replica_net_timeout tells too late that its source is gone."""
    net_timeout_s: float = 0.0
    """Set replica_net_timeout of replicas to this where it is longer, the heartbeat to half of it; 0 leaves both."""
    exact_semi_sync: bool = False
    """More ackers than the primary waits for are a problem (EnforceExactSemiSyncReplicas)."""
    recover_locked_semi_sync: bool = False
    """Switch semi-sync on at replicas when a primary waits for too few (RecoverLockedSemiSyncMaster)."""
    promote_other_co_primary: bool = True
    """Only the other co-primary may succeed a dead one (CoMasterRecoveryMustPromoteOtherCoMaster)."""
    recover_read_only_primary: bool = False
    """A primary that is read-only is a problem to be repaired (RecoverNonWriteableMaster)."""
    recover_hung_primary: bool = True
    """Replace a primary that is frozen before its replicas give it up, after replica_net_timeout."""
    replace_unwritable_primary: bool = False
    """Replace a primary that answers and cannot write: its disk is full or stands still, or writes fail."""
    fence_second_writer: bool = True
    """Fence a server that takes writes beside the primary, where the role is not contested."""
    restore_semi_sync: bool = True
    """Let a primary that lost its semi-sync by a restart wait for acknowledgements again."""
    close_replicas: bool = True
    """Set a replica read-only that takes writes beside the primary."""
    use_super_read_only: bool = True
    """Set super_read_only on MySQL replicas that are read_only."""
    event_scheduler: EventSchedulerPolicy = EventSchedulerPolicy.MOVE
    give_way: bool = True
    """Hand the leadership to a node that reaches more primaries."""
    restart_on_doubt: bool = True
    """Have a replica connect anew that says it hears a primary which no node reaches."""
    rebuild_quarantined: bool = False
    """Rebuild a quarantined server by the CLONE plugin once its transactions are saved."""
    restart_receivers: bool = True
    """Start a receiver again that gave up while its source was away."""
    ignored_codes: frozenset[str] = frozenset()
    """Warnings that people do not want to hear of, by code. What is critical cannot be ignored."""
    prevent_cross_data_center: bool = False
    prevent_cross_region: bool = False
    loss: LossPolicy = LossPolicy.AUTO
    catch_up_limit_s: float = 30.0
    """The longest a failover waits for the chosen replica's applier to drain."""
    demotion_block_limit_s: float = 5.0
    """The longest a planned takeover may refuse writes before it gives the old primary back."""
    replica_operations_max: int = 5
    """So many replicas are moved at the same time (MaxConcurrentReplicaOperations)."""
    verify_replication_filters: bool = False
    """Refuse to move a replica without filters below one that has some (VerifyReplicationFilters)."""
    lower_replica_version_allowed: bool = False
    """Move a replica below a source of a higher major version (LowerReplicaVersionAllowed)."""
    fail_promotion_on_lag_s: float = 0.0
    """Refuse a successor that lags so much or more; 0 refuses none (FailMasterPromotionOnLagMinutes)."""
    fail_promotion_if_behind: bool = False
    """Refuse a successor whose applier has not drained, instead of waiting for it."""
    apply_promotion: bool = True
    """Reset replication and open the successor for writes (ApplyMySQLPromotionAfterMasterFailover)."""
    unseen_forget_s: float = 240 * 3600.0
    poll_s: float = 5.0
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Command lists by the peers' key, e.g. ``PreFailoverProcesses``."""
    hook_timeout_s: float = 60.0
    hook_exits: Mapping[str, ExitPolicy] = field(default_factory=dict)
    """Where people want another one than orchestrator has (HookExitPolicies)."""

    unwaited_lists: frozenset[str] = frozenset()
    """Lists in which nothing is waited for, so that no time passes while they run: webhooks that only warn."""

    def hook_exit(self, name: str) -> ExitPolicy:
        """What follows when a hook of this list fails."""
        return self.hook_exits.get(name, ExitPolicy.ABORT if name in STOPPING_LISTS else ExitPolicy.WARN)

    def loss_policy(self, semi_sync_is_on: bool) -> LossPolicy:
        """``AUTO`` resolved for a cluster."""
        if self.loss is not LossPolicy.AUTO:
            return self.loss
        return LossPolicy.NONE if semi_sync_is_on else LossPolicy.ANY
