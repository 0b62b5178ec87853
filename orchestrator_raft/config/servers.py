"""Keys about the database servers: how to reach them, find them, name them, and when they are said to lag."""

from __future__ import annotations

from pydantic import SecretStr

from orchestrator_raft.config.keys import PORT_MAX, key
from orchestrator_raft.config.service import Group
from orchestrator_raft.config.values import (
    GroupRegexText,
    RegexText,
    RegexTexts,
    RegexToText,
    ResolveMethod,
    ServerNameMethod,
    ServerTexts,
)


class ServerAccess(Group):
    """Access to database servers"""

    mysql_topology_user: str = key("MySQLTopologyUser", "", "User on every database server.", expands=True)
    mysql_topology_password: SecretStr = key(
        "MySQLTopologyPassword", SecretStr(""), "Password of that user.", expands=True
    )
    mysql_topology_credentials_config_file: str = key(
        "MySQLTopologyCredentialsConfigFile",
        "",
        "File with user and password in a section [client]; it wins over the two keys above.",
        expands=True,
    )
    mysql_topology_ssl_private_key_file: str = key(
        "MySQLTopologySSLPrivateKeyFile", "", "Private key of the client certificate, PEM.", expands=True
    )
    mysql_topology_ssl_cert_file: str = key(
        "MySQLTopologySSLCertFile", "", "Client certificate for database servers, PEM.", expands=True
    )
    mysql_topology_ssl_ca_file: str = key(
        "MySQLTopologySSLCAFile", "", "Authority that signs the database servers' certificates, PEM.", expands=True
    )
    mysql_topology_ssl_skip_verify: bool = key(
        "MySQLTopologySSLSkipVerify", False, "Do not verify the database servers' certificates."
    )
    mysql_topology_use_mutual_tls: bool = key(
        "MySQLTopologyUseMutualTLS", False, "Always TLS, with the client certificate."
    )
    mysql_topology_use_mixed_tls: bool = key(
        "MySQLTopologyUseMixedTLS", True, "Use TLS with the servers that require it, plain text with the others."
    )
    mysql_connect_timeout_seconds: int = key(
        "MySQLConnectTimeoutSeconds", 2, "Seconds for connecting, greeting and logging in.", least=1
    )
    mysql_discovery_read_timeout_seconds: int = key(
        "MySQLDiscoveryReadTimeoutSeconds", 10, "Seconds for the answer to a probe.", least=1
    )
    mysql_topology_read_timeout_seconds: int = key(
        "MySQLTopologyReadTimeoutSeconds", 600, "Seconds for the answer to a statement that changes a server.", least=1
    )
    default_instance_port: int = key(
        "DefaultInstancePort", 3306, "Port of a database server that is named without one.", least=1, most=PORT_MAX
    )
    replication_credentials_query: SecretStr = key(
        "ReplicationCredentialsQuery",
        SecretStr(""),
        "Query for the replication user: one row of user, password, CA, certificate, key; often holds the password.",
    )
    use_super_read_only: bool = key(
        "UseSuperReadOnly", True, "Set super_read_only on MySQL replicas that are only read_only, while all is well."
    )


class Discovery(Group):
    """Discovery"""

    instance_poll_seconds: int = key(
        "InstancePollSeconds", 5, "Seconds between two probes of a server that is no known primary.", least=1
    )
    discover_by_show_slave_hosts: bool = key(
        "DiscoverByShowSlaveHosts", False, "Look for replicas with SHOW REPLICAS before the list of sessions."
    )
    discovery_seeds: ServerTexts = key(
        "DiscoverySeeds", (), "Servers, host:port, from which discovery begins at start.", expands=True
    )
    discovery_max_concurrency: int = key(
        "DiscoveryMaxConcurrency", 300, "Number of servers that are probed at the same time.", least=1
    )
    dead_instance_poll_seconds_multiply_factor: float = key(
        "DeadInstancePollSecondsMultiplyFactor",
        1.0,
        "Factor by which the wait grows with each failed probe of a server; 1 means no growth.",
        least=1,
        most=1000,
    )
    dead_instance_poll_seconds_max: int = key(
        "DeadInstancePollSecondsMax", 300, "Longest wait in seconds between two probes of a dead server."
    )
    dead_instance_discovery_max_concurrency: int = key(
        "DeadInstanceDiscoveryMaxConcurrency",
        0,
        "Number of dead servers probed at the same time; 0 means no own limit.",
    )
    dead_instance_discovery_logs_enabled: bool = key(
        "DeadInstanceDiscoveryLogsEnabled", False, "Log each probe of a dead server."
    )
    unseen_instance_forget_hours: int = key(
        "UnseenInstanceForgetHours", 240, "Hours after which a server that was not reached is forgotten.", least=1
    )
    discovery_ignore_hostname_filters: RegexTexts = key(
        "DiscoveryIgnoreHostnameFilters", (), "Regexes on host:port of servers that are never probed."
    )
    discovery_ignore_replica_hostname_filters: RegexTexts = key(
        "DiscoveryIgnoreReplicaHostnameFilters", (), "Regexes on host:port of replicas that are not followed."
    )
    discovery_ignore_master_hostname_filters: RegexTexts = key(
        "DiscoveryIgnoreMasterHostnameFilters", (), "Regexes on host:port of sources that are not followed."
    )
    discovery_ignore_replication_username_filters: RegexTexts = key(
        "DiscoveryIgnoreReplicationUsernameFilters", (), "Regexes on the replication user of replicas not followed."
    )
    enable_discovery_filters_logs: bool = key(
        "EnableDiscoveryFiltersLogs", True, "Log each server that one of these filters leaves out."
    )
    hostname_resolve_method: ResolveMethod = key(
        "HostnameResolveMethod", "default", "How a given host name becomes an address: none, default, cname or ip."
    )
    mysql_hostname_resolve_method: ServerNameMethod = key(
        "MySQLHostnameResolveMethod",
        "@@hostname",
        "What a server is called: none (as given), @@hostname, @@report_host.",
    )
    expiry_hostname_resolves_minutes: int = key(
        "ExpiryHostnameResolvesMinutes", 60, "Minutes for which a resolved name is kept."
    )
    reject_hostname_resolve_pattern: RegexText = key(
        "RejectHostnameResolvePattern", "", "Regex on resolved names that are not accepted."
    )


class Classification(Group):
    """Names, places and promotion rules"""

    cluster_name_to_alias: RegexToText = key(
        "ClusterNameToAlias", (), "Regex on the cluster name to its alias; the first match in the file counts."
    )
    detect_cluster_alias_query: str = key(
        "DetectClusterAliasQuery", "", "Query on the primary for the cluster's alias: one text."
    )
    detect_cluster_domain_query: str = key(
        "DetectClusterDomainQuery", "", "Query on the primary for the cluster's domain: one text."
    )
    detect_instance_alias_query: str = key("DetectInstanceAliasQuery", "", "Query for a server's alias: one text.")
    detect_promotion_rule_query: str = key(
        "DetectPromotionRuleQuery", "", "Query for a server's rule: must, prefer, neutral, prefer_not or must_not."
    )
    data_center_pattern: GroupRegexText = key(
        "DataCenterPattern", "", "Regex on the host name; its first group is the data centre."
    )
    region_pattern: GroupRegexText = key("RegionPattern", "", "Regex on the host name; its first group is the region.")
    physical_environment_pattern: GroupRegexText = key(
        "PhysicalEnvironmentPattern", "", "Regex on the host name; its first group is the environment."
    )
    detect_data_center_query: str = key(
        "DetectDataCenterQuery", "", "Query for the data centre: one text; wins over the pattern."
    )
    detect_region_query: str = key("DetectRegionQuery", "", "Query for the region: one text; wins over the pattern.")
    detect_physical_environment_query: str = key(
        "DetectPhysicalEnvironmentQuery", "", "Query for the environment: one text; wins over the pattern."
    )
    detect_semi_sync_enforced_query: str = key(
        "DetectSemiSyncEnforcedQuery", "", "Query for a server's semi-sync priority: one whole number, 0 means never."
    )
    instance_pool_expiry_minutes: int = key(
        "InstancePoolExpiryMinutes", 60, "Minutes for which a pool is kept.", least=1
    )
    candidate_instance_expire_minutes: int = key(
        "CandidateInstanceExpireMinutes", 60, "Minutes for which a promotion rule set by a person holds.", least=1
    )
    promotion_ignore_hostname_filters: RegexTexts = key(
        "PromotionIgnoreHostnameFilters", (), "Regexes on host:port of servers that are never promoted."
    )


class Lag(Group):
    """Lag and checks before a move"""

    replication_lag_query: str = key(
        "ReplicationLagQuery", "", "Query for a server's lag in seconds: one number; empty takes the server's own."
    )
    reasonable_replication_lag_seconds: int = key(
        "ReasonableReplicationLagSeconds", 10, "Lag in seconds above which a replica is a problem."
    )
    reasonable_maintenance_replication_lag_seconds: int = key(
        "ReasonableMaintenanceReplicationLagSeconds",
        20,
        "Lag in seconds above which a replica is neither moved nor taken as the new primary of a takeover.",
    )
    problem_ignore_hostname_filters: RegexTexts = key(
        "ProblemIgnoreHostnameFilters", (), "Regexes on host:port of servers that are left out of the problems."
    )
    verify_replication_filters: bool = key(
        "VerifyReplicationFilters", False, "Refuse to move a replica without filters below one that has some."
    )
    lower_replica_version_allowed: bool = key(
        "LowerReplicaVersionAllowed", False, "Allow a replica of a lower major version than its source."
    )
    instance_bulk_operations_wait_timeout_seconds: int = key(
        "InstanceBulkOperationsWaitTimeoutSeconds", 10, "Seconds to wait for one server in an operation on many."
    )
    max_concurrent_replica_operations: int = key(
        "MaxConcurrentReplicaOperations", 5, "Number of replicas that are moved at the same time.", least=1
    )
    osc_ignore_hostname_filters: RegexTexts = key(
        "OSCIgnoreHostnameFilters", (), "Regexes on host:port of servers that online schema changes need not wait for."
    )
