"""Keys about failures: how they are confirmed, what is done about them, which hooks run, who takes part in Raft."""

from __future__ import annotations

from orchestrator_raft.config.keys import PORT_MAX, key
from orchestrator_raft.config.service import Group
from orchestrator_raft.config.values import (
    BindText,
    ClusterFilterTexts,
    DialText,
    DialTexts,
    EventSchedulerPolicy,
    LossPolicy,
    RegexTexts,
    UnwriteableMasterPolicy,
)


class Speed(Group):
    """New in orchestrator_raft: probes of primaries, limits of a promotion, small repairs"""

    probe_interval_milliseconds: int = key(
        "ProbeIntervalMilliseconds",
        500,
        "Milliseconds between two probes of a known primary; a closed connection is noticed at once anyway.",
        least=50,
    )
    probe_timeout_milliseconds: int = key(
        "ProbeTimeoutMilliseconds",
        1000,
        "Milliseconds for one probe of a known primary, from connecting to the answer.",
        least=50,
    )
    witness_timeout_milliseconds: int = key(
        "WitnessTimeoutMilliseconds",
        400,
        "Milliseconds for another node to say whether it reaches a server; silence is no opinion.",
        least=50,
    )
    replica_silence_milliseconds: int = key(
        "ReplicaSilenceMilliseconds",
        1750,
        "Milliseconds beyond its heartbeat period after which a replica that has heard nothing counts as cut off.",
        least=500,
    )
    reasonable_replica_net_timeout_seconds: int = key(
        "ReasonableReplicaNetTimeoutSeconds",
        10,
        "Seconds of replica_net_timeout above which a replica is said to notice a silent source too late.",
        least=1,
    )
    set_replica_net_timeout_seconds: int = key(
        "SetReplicaNetTimeoutSeconds",
        0,
        "Seconds of replica_net_timeout to set at replicas where it is longer, with half of it as heartbeat period; "
        "0 changes nothing.",
    )
    reasonable_disk_stall_seconds: int = key(
        "ReasonableDiskStallSeconds",
        10,
        "Seconds for which a primary may wait for its disk, with nothing finished, before that is a problem.",
        least=1,
    )
    write_probe_query: str = key(
        "WriteProbeQuery",
        "",
        "Statement that writes, run on each primary now and then to see whether it can, such as "
        "REPLACE INTO meta.alive VALUES (1, NOW()); empty tries no write. A write that was under way on a primary that "
        "hung may be committed there after it was replaced, and then keeps it out as any other extra transaction does.",
    )
    write_probe_interval_seconds: int = key(
        "WriteProbeIntervalSeconds", 5, "Seconds between two such writes on one primary.", least=1
    )
    write_probe_timeout_milliseconds: int = key(
        "WriteProbeTimeoutMilliseconds", 2000, "Milliseconds for such a write, connecting included.", least=100
    )
    ignored_warnings: tuple[str, ...] = key(
        "IgnoredWarnings",
        (),
        "Codes of warnings that are not shown, such as LaggingReplica; critical problems are shown all the same.",
    )
    demotion_block_limit_milliseconds: int = key(
        "DemotionBlockLimitMilliseconds",
        5000,
        "Milliseconds for which a planned takeover may block writes before it undoes itself.",
        least=100,
    )
    max_catch_up_seconds: int = key(
        "MaxCatchUpSeconds", 30, "Seconds to wait for a successor to apply what it has received before it is promoted."
    )
    data_loss_policy: LossPolicy = key(
        "DataLossPolicy",
        "auto",
        "What a failover may lose: none, any, or auto, which is none where semi-sync is on; seconds is not built yet.",
    )
    data_loss_seconds: int = key(
        "DataLossSeconds", 10, "Seconds of transactions that may be lost where DataLossPolicy says seconds."
    )
    hook_timeout_seconds: int = key(
        "HookTimeoutSeconds", 60, "Seconds after which a hook is stopped and counts as failed.", least=1
    )
    storm_clusters: int = key(
        "StormClusters",
        20,
        "So many clusters recovered within StormPeriodSeconds stop automatic recoveries until acknowledged; 0: never.",
    )
    storm_period_seconds: int = key("StormPeriodSeconds", 600, "Seconds in which StormClusters are counted.", least=1)
    recover_hung_master: bool = key(
        "RecoverHungMaster",
        True,
        "Replace a frozen primary that nobody hears; if false, once its replicas give it up (replica_net_timeout).",
    )
    unwriteable_master_policy: UnwriteableMasterPolicy = key(
        "UnwriteableMasterPolicy",
        "none",
        "What to do about a primary that answers and cannot write (disk full or stalled, WriteProbeQuery fails): none "
        "tells people, failover fences it and promotes a replica that has everything it has.",
    )
    fence_second_writer: bool = key(
        "FenceSecondWriter",
        True,
        "Fence a server that takes writes beside the primary; never co-primaries, nor one that replicas follow.",
    )
    restore_semi_sync: bool = key(
        "RestoreSemiSync",
        True,
        "Switch semi-sync on again at a primary that lost it by a restart, once as many replicas as it waits for are "
        "connected.",
    )
    close_writable_replicas: bool = key(
        "CloseWritableReplicas",
        True,
        "Set replicas read-only that take writes beside the primary, in clusters of RecoverMasterClusterFilters.",
    )
    event_scheduler_policy: EventSchedulerPolicy = key(
        "EventSchedulerPolicy",
        "move",
        "event_scheduler at a change of primary: none leaves it, move turns it off at a demoted primary and on at its "
        "successor if it was on there, enforce also turns it off at replicas. Events themselves are never altered.",
    )
    restart_receivers: bool = key(
        "RestartReceivers",
        True,
        "Start the receiver of a replica again that gave up, once its source answers; never one stopped on purpose.",
    )


class Recovery(Group):
    """Recovery"""

    failure_detection_period_block_minutes: int = key(
        "FailureDetectionPeriodBlockMinutes", 60, "Minutes for which the same failure is not announced again."
    )
    recovery_period_block_seconds: int = key(
        "RecoveryPeriodBlockSeconds",
        3600,
        "Seconds after a recovery in which the same cluster is not recovered again unless acknowledged.",
    )
    recovery_ignore_hostname_filters: RegexTexts = key(
        "RecoveryIgnoreHostnameFilters", (), "Regexes on host:port of servers whose failure starts no recovery."
    )
    recover_master_cluster_filters: ClusterFilterTexts = key(
        "RecoverMasterClusterFilters",
        (),
        "Clusters whose dead primary is replaced: names, alias=NAME, alias~=REGEX, regexes, *; empty means none.",
    )
    recover_intermediate_master_cluster_filters: ClusterFilterTexts = key(
        "RecoverIntermediateMasterClusterFilters",
        (),
        "Clusters whose dead intermediate primary is replaced; written like the key above.",
    )
    recover_non_writeable_master: bool = key(
        "RecoverNonWriteableMaster", False, "Make a primary writable that is found read-only."
    )
    apply_mysql_promotion_after_master_failover: bool = key(
        "ApplyMySQLPromotionAfterMasterFailover", True, "Make the successor writable and forget its old source."
    )
    co_master_recovery_must_promote_other_co_master: bool = key(
        "CoMasterRecoveryMustPromoteOtherCoMaster", True, "Replace a dead co-primary only by the other co-primary."
    )
    detach_lost_replicas_after_master_failover: bool = key(
        "DetachLostReplicasAfterMasterFailover", True, "Detach replicas that cannot follow the successor."
    )
    master_failover_detach_replica_master_host: bool = key(
        "MasterFailoverDetachReplicaMasterHost", False, "Detach the successor from the dead primary."
    )
    prevent_cross_data_center_master_failover: bool = key(
        "PreventCrossDataCenterMasterFailover", False, "Never promote a server of another data centre."
    )
    prevent_cross_region_master_failover: bool = key(
        "PreventCrossRegionMasterFailover", False, "Never promote a server of another region."
    )
    fail_master_promotion_on_lag_minutes: int = key(
        "FailMasterPromotionOnLagMinutes",
        0,
        "Refuse to promote a server that lags this many minutes by ReplicationLagQuery; 0 means no limit.",
    )
    fail_master_promotion_if_sql_thread_not_up_to_date: bool = key(
        "FailMasterPromotionIfSQLThreadNotUpToDate", False, "Refuse a successor that has not applied all it received."
    )
    delay_master_promotion_if_sql_thread_not_up_to_date: bool = key(
        "DelayMasterPromotionIfSQLThreadNotUpToDate", False, "Wait for the successor to apply all it received."
    )
    postpone_replica_recovery_on_lag_minutes: int = key(
        "PostponeReplicaRecoveryOnLagMinutes",
        0,
        "Repoint replicas last whose configured delay is above this many minutes; 0 means no limit.",
    )
    enforce_exact_semi_sync_replicas: bool = key(
        "EnforceExactSemiSyncReplicas", False, "Keep exactly as many semi-sync replicas as the primary waits for."
    )
    recover_locked_semi_sync_master: bool = key(
        "RecoverLockedSemiSyncMaster", False, "Switch semi-sync on at replicas when a primary waits for too few."
    )
    reasonable_locked_semi_sync_master_seconds: int = key(
        "ReasonableLockedSemiSyncMasterSeconds",
        0,
        "Seconds after which a primary with too few ackers that commits nothing is locked; "
        "0 takes ReasonableReplicationLagSeconds.",
    )


class Hooks(Group):
    """Hooks"""

    processes_shell_command: str = key("ProcessesShellCommand", "bash", "Program that runs each hook.")
    on_failure_detection_processes: tuple[str, ...] = key(
        "OnFailureDetectionProcesses",
        (),
        "Commands when a failure is detected; one that fails stops the recovery.",
        hidden=True,
    )
    pre_graceful_takeover_processes: tuple[str, ...] = key(
        "PreGracefulTakeoverProcesses",
        (),
        "Commands before a planned takeover; one that fails stops the takeover.",
        hidden=True,
    )
    pre_failover_processes: tuple[str, ...] = key(
        "PreFailoverProcesses", (), "Commands before a failover; one that fails stops the failover.", hidden=True
    )
    post_failover_processes: tuple[str, ...] = key(
        "PostFailoverProcesses", (), "Commands after every successful recovery.", hidden=True
    )
    post_unsuccessful_failover_processes: tuple[str, ...] = key(
        "PostUnsuccessfulFailoverProcesses", (), "Commands after a recovery that found no successor.", hidden=True
    )
    post_master_failover_processes: tuple[str, ...] = key(
        "PostMasterFailoverProcesses", (), "Commands after a dead primary was replaced.", hidden=True
    )
    post_intermediate_master_failover_processes: tuple[str, ...] = key(
        "PostIntermediateMasterFailoverProcesses",
        (),
        "Commands after a dead intermediate primary was replaced.",
        hidden=True,
    )
    post_graceful_takeover_processes: tuple[str, ...] = key(
        "PostGracefulTakeoverProcesses", (), "Commands after a planned takeover.", hidden=True
    )
    post_take_master_processes: tuple[str, ...] = key(
        "PostTakeMasterProcesses", (), "Commands after a replica took its source's place.", hidden=True
    )


class Raft(Group):
    """Raft"""

    raft_enabled: bool = key("RaftEnabled", False, "Run as a member of a Raft cluster; false runs a single node.")
    raft_bind: BindText = key(
        "RaftBind", "127.0.0.1:10008", "Address on which this node listens for the others, host[:port].", expands=True
    )
    raft_advertise: DialText = key(
        "RaftAdvertise",
        "",
        "Address under which the others reach this node, host[:port]; empty takes RaftBind.",
        expands=True,
    )
    raft_data_dir: str = key(
        "RaftDataDir", "", "Directory of this node's journal; keep it, and give each node its own.", expands=True
    )
    default_raft_port: int = key(
        "DefaultRaftPort", 10008, "Port of a Raft address that is written without one.", least=1, most=PORT_MAX
    )
    raft_nodes: DialTexts = key(
        "RaftNodes",
        (),
        "All members, this node among them, host[:port]; empty or only this node is a cluster of one.",
        expands=True,
    )


class RaftTls(Group):
    """New in orchestrator_raft: TLS between the nodes"""

    raft_ssl_cert_file: str = key(
        "RaftSSLCertFile",
        "",
        "This node's certificate for the connections between nodes, PEM; it names this node's host in RaftNodes.",
        expands=True,
    )
    raft_ssl_private_key_file: str = key(
        "RaftSSLPrivateKeyFile", "", "Private key of that certificate, PEM; nobody else may read it.", expands=True
    )
    raft_ssl_ca_file: str = key(
        "RaftSSLCAFile", "", "Authority that signs the certificates of all nodes, PEM.", expands=True
    )
