"""From the configuration to the plain values that everything below works with. No decisions, no defaults of its own."""

from __future__ import annotations

import socket
from pathlib import Path

from api.settings import ApiSettings, AuthenticationMethod
from api.tls import TlsFiles
from orchestrator_raft.config import Settings
from orchestrator_raft.config.telling import lists_in
from orchestrator_raft.config.values import parse_address
from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.core.instance import Flavor, InstanceKey
from orchestrator_raft.core.policy import (
    ClusterFilters,
    EventSchedulerPolicy,
    ExitPolicy,
    HostFilters,
    LossPolicy,
    Policy,
)
from orchestrator_raft.engine.leadership import EngineSettings
from orchestrator_raft.engine.pacing import Paces
from orchestrator_raft.engine.write_probe import WritePace
from orchestrator_raft.flavors.base import Account, Detection
from orchestrator_raft.hooks.commands import HookSettings
from orchestrator_raft.hooks.webhooks import Webhook, WebhookSettings
from orchestrator_raft.kv.consul import ConsulSettings
from orchestrator_raft.mysql import MysqlSettings, SalvageSettings, TlsMode
from orchestrator_raft.raft.settings import RaftSettings
from orchestrator_raft.raft.settings import TlsFiles as RaftTlsFiles

PROXYSQL_PORT = 6032
HOOK_LISTS = {
    "OnFailureDetectionProcesses": "on_failure_detection_processes",
    "PreGracefulTakeoverProcesses": "pre_graceful_takeover_processes",
    "PreFailoverProcesses": "pre_failover_processes",
    "PostFailoverProcesses": "post_failover_processes",
    "PostUnsuccessfulFailoverProcesses": "post_unsuccessful_failover_processes",
    "PostMasterFailoverProcesses": "post_master_failover_processes",
    "PostIntermediateMasterFailoverProcesses": "post_intermediate_master_failover_processes",
    "PostGracefulTakeoverProcesses": "post_graceful_takeover_processes",
    "PostTakeMasterProcesses": "post_take_master_processes",
    "PostQuarantineProcesses": "post_quarantine_processes",
}


def policy_of(settings: Settings) -> Policy:
    """What people decided in the file."""
    return Policy(
        recover_primary=ClusterFilters(tuple(settings.recover_master_cluster_filters)),
        recover_intermediate=ClusterFilters(tuple(settings.recover_intermediate_master_cluster_filters)),
        recovery_ignore=HostFilters(tuple(settings.recovery_ignore_hostname_filters)),
        promotion_ignore=HostFilters(tuple(settings.promotion_ignore_hostname_filters)),
        discovery_ignore=HostFilters(tuple(settings.discovery_ignore_hostname_filters)),
        problem_ignore=HostFilters(tuple(settings.problem_ignore_hostname_filters)),
        control_ignore=HostFilters(tuple(settings.osc_ignore_hostname_filters)),
        storm_clusters=settings.storm_clusters,
        storm_s=float(settings.storm_period_seconds),
        recovery_block_s=float(settings.recovery_period_block_seconds),
        detection_block_s=settings.failure_detection_period_block_minutes * 60.0,
        lag_reasonable_s=float(settings.reasonable_replication_lag_seconds),
        silence_s=settings.replica_silence_milliseconds / 1000,
        net_timeout_reasonable_s=float(settings.reasonable_replica_net_timeout_seconds),
        net_timeout_s=float(settings.set_replica_net_timeout_seconds),
        stall_s=float(settings.reasonable_disk_stall_seconds),
        ignored_codes=frozenset(settings.ignored_warnings),
        locked_after_s=float(
            settings.reasonable_locked_semi_sync_master_seconds or settings.reasonable_replication_lag_seconds
        ),
        exact_semi_sync=settings.enforce_exact_semi_sync_replicas,
        lag_maintenance_s=float(settings.reasonable_maintenance_replication_lag_seconds),
        replica_operations_max=settings.max_concurrent_replica_operations,
        verify_replication_filters=settings.verify_replication_filters,
        lower_replica_version_allowed=settings.lower_replica_version_allowed,
        prevent_cross_data_center=settings.prevent_cross_data_center_master_failover,
        prevent_cross_region=settings.prevent_cross_region_master_failover,
        loss=LossPolicy(settings.data_loss_policy),
        catch_up_limit_s=float(settings.max_catch_up_seconds),
        demotion_block_limit_s=settings.demotion_block_limit_s,
        fail_promotion_on_lag_s=settings.fail_master_promotion_on_lag_minutes * 60.0,
        fail_promotion_if_behind=settings.fail_master_promotion_if_sql_thread_not_up_to_date,
        apply_promotion=settings.apply_mysql_promotion_after_master_failover,
        recover_locked_semi_sync=settings.recover_locked_semi_sync_master,
        promote_other_co_primary=settings.co_master_recovery_must_promote_other_co_master,
        recover_read_only_primary=settings.recover_non_writeable_master,
        recover_hung_primary=settings.recover_hung_master,
        replace_unwritable_primary=settings.unwriteable_master_policy == "failover",
        fence_second_writer=settings.fence_second_writer,
        restore_semi_sync=settings.restore_semi_sync,
        close_replicas=settings.close_writable_replicas,
        use_super_read_only=settings.use_super_read_only,
        event_scheduler=EventSchedulerPolicy(settings.event_scheduler_policy),
        give_way=settings.give_leadership_away,
        restart_on_doubt=settings.restart_receivers_on_doubt,
        rebuild_quarantined=settings.rebuild_quarantined_replicas,
        restart_receivers=settings.restart_receivers,
        unseen_forget_s=settings.unseen_instance_forget_hours * 3600.0,
        poll_s=float(settings.instance_poll_seconds),
        hooks=hook_names(settings),
        hook_timeout_s=float(settings.hook_timeout_seconds),
        hook_exits=hook_exits(settings),
        unwaited_lists=unwaited_lists(settings),
    )


def detection_of(settings: Settings) -> Detection:
    """How a server's place and names are found."""
    return Detection(
        cluster_alias_query=settings.detect_cluster_alias_query,
        cluster_domain_query=settings.detect_cluster_domain_query,
        instance_alias_query=settings.detect_instance_alias_query,
        promotion_rule_query=settings.detect_promotion_rule_query,
        data_center_query=settings.detect_data_center_query,
        region_query=settings.detect_region_query,
        environment_query=settings.detect_physical_environment_query,
        semi_sync_enforced_query=settings.detect_semi_sync_enforced_query,
        lag_query=settings.replication_lag_query,
        data_center_pattern=settings.data_center_pattern,
        region_pattern=settings.region_pattern,
        environment_pattern=settings.physical_environment_pattern,
        mysql_hostname_resolve_method=settings.mysql_hostname_resolve_method,
        cluster_name_to_alias=dict(settings.cluster_name_to_alias),
    )


def engine_of(settings: Settings) -> EngineSettings:
    """Everything the engine is told."""
    return EngineSettings(
        policy=policy_of(settings),
        paces=Paces(
            primary_interval_s=settings.probe_interval_s,
            primary_timeout_s=settings.probe_timeout_s,
            poll_s=float(settings.instance_poll_seconds),
            timeout_s=max(settings.probe_timeout_s, float(settings.mysql_connect_timeout_seconds)),
        ),
        concurrency_max=settings.discovery_max_concurrency,
        witness_timeout_s=settings.witness_timeout_s,
        write_pace=WritePace(
            interval_s=float(settings.write_probe_interval_seconds),
            timeout_s=settings.write_probe_timeout_milliseconds / 1000,
        ),
        credentials_query=settings.replication_credentials_query.get_secret_value(),
        seeds=settings.discovery_seed_keys,
        own_account=Account(settings.mysql_topology_user, settings.mysql_topology_password.get_secret_value()),
        save_lost_transactions=settings.save_lost_transactions,
        token_use_s=settings.access_token_use_expiry_seconds,
        token_valid_s=settings.access_token_expiry_minutes * 60,
        rule_valid_s=settings.candidate_instance_expire_minutes * 60,
        pool_valid_s=settings.instance_pool_expiry_minutes * 60,
        figures_kept_s=float(settings.discovery_collection_retention_seconds),
        queue_samples_max=settings.discovery_queue_max_statistics_size,
    )


def hook_lists(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Commands by the peers' key."""
    return {name: tuple(getattr(settings, field)) for name, field in HOOK_LISTS.items()}


def hook_names(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The same, and the names of the webhooks that want to hear of each: everything that takes time."""
    webhooks = _webhooks(settings)
    return {
        name: (*commands, *(each.name for each in webhooks if each.wants(name)))
        for name, commands in hook_lists(settings).items()
    }


def unwaited_lists(settings: Settings) -> frozenset[str]:
    """Lists without commands, and without webhooks that are waited for."""
    waited = [each for each in _webhooks(settings) if each.exit is not ExitPolicy.WARN]
    return frozenset(
        name
        for name, commands in hook_lists(settings).items()
        if not commands and not any(each.wants(name) for each in waited)
    )


def hook_exits(settings: Settings) -> dict[str, ExitPolicy]:
    """What people want to follow from a failure."""
    return {name: ExitPolicy(text) for name, text in settings.hook_exit_policies}


def webhooks_of(settings: Settings) -> WebhookSettings:
    """Who is told by HTTP. Raises StartupError where the file with the secret cannot be read."""
    return WebhookSettings(
        webhooks=_webhooks(settings),
        secret=_webhook_secret(settings),
        timeout_s=float(settings.webhook_timeout_seconds),
        attempts_max=settings.webhook_attempts,
    )


def _webhooks(settings: Settings) -> tuple[Webhook, ...]:
    events, exits = dict(settings.webhook_events), dict(settings.webhook_exit_policies)
    return tuple(
        Webhook(name=name, url=url, lists=frozenset(lists_in(events.get(name, ""))),
                exit=ExitPolicy(exits.get(name, ExitPolicy.WARN.value)))
        for name, url in settings.webhooks
    )  # fmt: skip


def _webhook_secret(settings: Settings) -> bytes:
    if not settings.webhook_secret_file:
        return settings.webhook_secret.get_secret_value().encode()
    try:
        secret = Path(settings.webhook_secret_file).read_bytes().strip()
    except OSError as error:
        raise StartupError(f"WebhookSecretFile: {settings.webhook_secret_file}: {error.strerror}") from error
    if not secret:
        raise StartupError(f"WebhookSecretFile: {settings.webhook_secret_file} is empty")
    return secret


def hooks_of(settings: Settings) -> HookSettings:
    """How hooks are run."""
    return HookSettings(
        lists=hook_lists(settings),
        shell=settings.processes_shell_command,
        orchestrator_host=socket.gethostname(),
        command_timeout_s=float(settings.hook_timeout_seconds),
        ending=frozenset(name for name, exit_ in hook_exits(settings).items() if exit_ is ExitPolicy.FAIL),
    )


def consul_of(settings: Settings) -> ConsulSettings | None:
    """Where Consul is; None without one."""
    if not settings.consul_address:
        return None
    return ConsulSettings(
        address=settings.consul_address,
        scheme=settings.consul_scheme,
        token=settings.consul_acl_token.get_secret_value(),
        every_data_center=settings.consul_cross_data_center_distribution,
        prefix=settings.kv_cluster_master_prefix,
    )


def proxysql_settings_of(settings: Settings) -> MysqlSettings:
    """How the admin ports of ProxySQL are reached: they hardly ever have TLS."""
    return MysqlSettings(
        user=settings.proxysql_admin_user,
        password=settings.proxysql_admin_password.get_secret_value(),
        tls=TlsMode.NONE,
    )


def proxysql_keys_of(settings: Settings) -> tuple[InstanceKey, ...]:
    """Where they are."""
    addresses = (parse_address(text, PROXYSQL_PORT) for text in settings.proxysql_addresses)
    return tuple(InstanceKey(each.host or "", each.port) for each in addresses)


def mysql_of(settings: Settings) -> MysqlSettings:
    """How database servers are reached."""
    mode = TlsMode.MIXED if settings.mysql_topology_use_mixed_tls else TlsMode.NONE
    return MysqlSettings(
        user=settings.mysql_topology_user,
        password=settings.mysql_topology_password.get_secret_value(),
        tls=TlsMode.REQUIRED if settings.mysql_topology_use_mutual_tls else mode,
        ca_file=settings.mysql_topology_ssl_ca_file,
        cert_file=settings.mysql_topology_ssl_cert_file,
        key_file=settings.mysql_topology_ssl_private_key_file,
        skip_verify=settings.mysql_topology_ssl_skip_verify,
        connects_max=settings.discovery_max_concurrency,
    )


def salvage_of(settings: Settings) -> SalvageSettings | None:
    """Where lost transactions are saved, and with what; None where there is no directory."""
    directory = settings.lost_transactions_directory
    if not directory and not settings.raft_data_dir:
        return None
    return SalvageSettings(
        directory=(Path(directory) if directory else Path(settings.raft_data_dir) / "lost-transactions").absolute(),
        programs={Flavor.MYSQL: settings.mysql_binlog_program, Flavor.MARIADB: settings.mariadb_binlog_program},
        size_max_bytes=settings.lost_transactions_max_megabytes * 1024 * 1024,
    )


def raft_of(settings: Settings) -> RaftSettings:
    """The Raft part. The texts are handed on as written; the Raft package resolves them."""
    return RaftSettings(
        data_dir=Path(settings.raft_data_dir) if settings.raft_data_dir else None,
        bind=settings.raft_bind,
        advertise=settings.raft_advertise,
        nodes=tuple(settings.raft_nodes),
        default_port=settings.default_raft_port,
        enabled=settings.raft_enabled,
        tls=tls_files_of(settings),
    )


def tls_files_of(settings: Settings) -> RaftTlsFiles | None:
    """The certificates between nodes; the model has seen to it that all three are set, or none."""
    if not settings.raft_ssl_cert_file:
        return None
    return RaftTlsFiles(
        certificate=Path(settings.raft_ssl_cert_file),
        key=Path(settings.raft_ssl_private_key_file),
        authority=Path(settings.raft_ssl_ca_file),
    )


def api_of(settings: Settings) -> ApiSettings:
    """The HTTP side."""
    return ApiSettings(
        url_prefix=settings.url_prefix,
        status_path=settings.status_endpoint,
        authentication=AuthenticationMethod(settings.authentication_method),
        user=settings.http_auth_user,
        password=settings.http_auth_password.get_secret_value(),
        user_header=settings.auth_user_header,
        trusted_proxies=tuple(settings.auth_trusted_proxies),
        power_users=tuple(settings.power_auth_users),
        power_groups=tuple(settings.power_auth_groups),
        token_valid_s=settings.access_token_expiry_minutes * 60,
        read_only=settings.read_only,
        writes_by_get=settings.allow_writes_by_get,
        client_certificates=settings.use_mutual_tls and not settings.listen_socket,
        client_units=tuple(settings.ssl_valid_ous),
        status_needs_certificate=settings.status_ou_verify,
        web_message=settings.web_message,
        hidden_in_host_names=settings.remove_text_from_hostname_display,
        message_identity=message_identity(settings),
        fails_without_quorum=settings.no_quorum_health == "fail",
        no_quorum_after_s=float(settings.no_quorum_health_seconds),
    )


def https_of(settings: Settings) -> TlsFiles | None:
    """The certificate of HTTPS; None for plain HTTP. A unix socket has none."""
    if not settings.use_ssl or settings.listen_socket:
        return None
    return TlsFiles(
        certificate=Path(settings.ssl_cert_file),
        key=Path(settings.ssl_private_key_file),
        authority=Path(settings.ssl_ca_file) if settings.use_mutual_tls else None,
    )


def message_identity(settings: Settings) -> str:
    """Who speaks, for PrependMessagesWithOrcIdentity."""
    word = settings.prepend_messages_with_orc_identity.lower()
    if word == "fqdn":
        return socket.getfqdn()
    return {"hostname": socket.gethostname(), "custom": settings.custom_orc_identity}.get(word, "")
