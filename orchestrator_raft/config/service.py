"""Keys of the node itself: its log, its HTTP side, who may use it, what it publishes.

The docstring of a class is the heading of its keys on the reference page; the order of fields is the order there.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, SecretStr

from orchestrator_raft.config.keys import key
from orchestrator_raft.config.values import (
    AdvertisedUrl,
    AuthenticationMethod,
    ConsulScheme,
    FolderPrefix,
    ListenText,
    NetworkTexts,
    NoQuorumHealth,
    UrlPrefix,
)


class Group(BaseModel):
    """What every group of keys has in common: exact JSON types, no change after reading, no value in an error."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        validate_default=True,
        hide_input_in_errors=True,
    )


class Service(Group):
    """Service and logging"""

    debug: bool = key("Debug", False, "Log at level debug.")
    listen_address: ListenText = key(
        "ListenAddress", ":3000", "Address of the HTTP server, host:port, or :port for every address.", expands=True
    )
    listen_socket: str = key(
        "ListenSocket", "", "Path of a unix socket for HTTP, used in place of TCP and TLS.", expands=True
    )
    http_advertise: AdvertisedUrl = key(
        "HTTPAdvertise",
        "",
        "URL under which the other nodes and clients reach this one, http://host:port without a path.",
        expands=True,
    )
    url_prefix: UrlPrefix = key("URLPrefix", "", "Path in front of every HTTP route.")
    status_endpoint: str = key("StatusEndpoint", "/api/status", "Path of the status route.")
    status_ou_verify: bool = key("StatusOUVerify", False, "Check the client certificate on the status route too.")
    web_message: str = key("WebMessage", "", "Text of a banner on the web page.")
    remove_text_from_hostname_display: str = key(
        "RemoveTextFromHostnameDisplay", "", "Text that the web page leaves out of host names."
    )
    prepend_messages_with_orc_identity: str = key(
        "PrependMessagesWithOrcIdentity",
        "",
        "Name of the node in front of each message of the compatible API: none, FQDN, hostname or custom.",
    )
    custom_orc_identity: str = key("CustomOrcIdentity", "", "The name used where the key above says custom.")


class Access(Group):
    """Who may use the API, and its TLS"""

    read_only: bool = key("ReadOnly", False, "Refuse every request that would change anything.")
    authentication_method: AuthenticationMethod = key(
        "AuthenticationMethod",
        "",
        "How people are known: empty, basic, multi, proxy, token; empty lets everybody do everything.",
    )
    http_auth_user: str = key("HTTPAuthUser", "", "User of the methods basic and multi.", expands=True)
    http_auth_password: SecretStr = key(
        "HTTPAuthPassword", SecretStr(""), "Password of the methods basic and multi.", expands=True
    )
    auth_user_header: str = key(
        "AuthUserHeader", "X-Forwarded-User", "Header that names the user with the method proxy."
    )
    power_auth_users: tuple[str, ...] = key(
        "PowerAuthUsers", ("*",), "Users who may change things with the method proxy; * means all."
    )
    power_auth_groups: tuple[str, ...] = key(
        "PowerAuthGroups", (), "Unix groups whose members may change things with the method proxy."
    )
    access_token_use_expiry_seconds: int = key(
        "AccessTokenUseExpirySeconds", 60, "Seconds within which a new access token has to be used."
    )
    access_token_expiry_minutes: int = key(
        "AccessTokenExpiryMinutes", 1440, "Minutes for which an access token is valid."
    )
    use_ssl: bool = key("UseSSL", False, "Serve HTTPS.")
    use_mutual_tls: bool = key("UseMutualTLS", False, "Demand a client certificate that SSLCAFile signed on HTTPS.")
    ssl_private_key_file: str = key("SSLPrivateKeyFile", "", "Private key of the HTTPS server, PEM.", expands=True)
    ssl_cert_file: str = key("SSLCertFile", "", "Certificate of the HTTPS server, PEM.", expands=True)
    ssl_ca_file: str = key("SSLCAFile", "", "Authority that signs client certificates, PEM.", expands=True)
    ssl_valid_ous: tuple[str, ...] = key(
        "SSLValidOUs", (), "Organizational units of which a client certificate must have one; empty takes any."
    )


class AccessGuards(Group):
    """New in orchestrator_raft: who is believed, and what load balancers are told"""

    auth_trusted_proxies: NetworkTexts = key(
        "AuthTrustedProxies",
        ("127.0.0.0/8", "::1"),
        "Addresses and networks of the proxies whose AuthUserHeader counts with the method proxy.",
        expands=True,
    )
    allow_writes_by_get: bool = key(
        "AllowWritesByGET",
        True,
        "Serve those routes of orchestrator's API that change something; false leaves /api/v2 for that.",
    )
    no_quorum_health: NoQuorumHealth = key(
        "NoQuorumHealth",
        "hold",
        "What /health/cluster answers without contact to a majority: hold, the last answer, or fail.",
    )
    no_quorum_health_seconds: int = key(
        "NoQuorumHealthSeconds", 10, "Seconds without contact to a majority before NoQuorumHealth counts.", least=1
    )


class Publication(Group):
    """Audit and key-value stores"""

    audit_log_file: str = key("AuditLogFile", "", "File to which each audit entry is appended.", expands=True)
    audit_purge_days: int = key("AuditPurgeDays", 7, "Days for which audit entries are kept.")
    discovery_collection_retention_seconds: int = key(
        "DiscoveryCollectionRetentionSeconds", 120, "Seconds for which figures of single probes are kept.", least=1
    )
    discovery_queue_max_statistics_size: int = key(
        "DiscoveryQueueMaxStatisticsSize", 120, "Number of one-second figures of probing that are kept.", least=1
    )
    kv_cluster_master_prefix: FolderPrefix = key(
        "KVClusterMasterPrefix", "mysql/master", "Path of the clusters' primaries in key-value stores."
    )
    consul_address: str = key("ConsulAddress", "", "Address of Consul, host:port; empty means none.", expands=True)
    consul_scheme: ConsulScheme = key("ConsulScheme", "http", "Scheme for Consul, http or https.")
    consul_acl_token: SecretStr = key("ConsulAclToken", SecretStr(""), "Token for Consul.", expands=True)
    consul_cross_data_center_distribution: bool = key(
        "ConsulCrossDataCenterDistribution", False, "Publish to every data centre that Consul knows."
    )
