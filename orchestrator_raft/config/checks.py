"""Rules between keys, as rows, and the old names of keys. Pure: values in, findings out.

The rows that are errors are those with which orchestrator refuses to start as well, and those that would make this
node do something else than the file says. A row is skipped while one of its keys is itself wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator_raft.config.findings import Findings, error, note, total, warning
from orchestrator_raft.config.model import Settings
from orchestrator_raft.config.other_keys import OLD, Merge, OldName
from orchestrator_raft.config.values import UNSPECIFIED_HOSTS

OLD_NAMES = frozenset(old.name for old in OLD)


@dataclass(frozen=True, slots=True)
class Rule:
    """``broken`` says whether the settings break it; the line then goes to errors, warnings or notes."""

    keys: tuple[str, ...]
    broken: Callable[[Settings], bool]
    line: str
    report: Callable[[str], Findings] = error


RULES = (
    Rule(
        ("FailMasterPromotionIfSQLThreadNotUpToDate", "DelayMasterPromotionIfSQLThreadNotUpToDate"),
        lambda s: (
            s.fail_master_promotion_if_sql_thread_not_up_to_date
            and s.delay_master_promotion_if_sql_thread_not_up_to_date
        ),
        "exclude each other: switch one off",
    ),
    Rule(
        ("FailMasterPromotionOnLagMinutes", "ReplicationLagQuery"),
        lambda s: s.fail_master_promotion_on_lag_minutes > 0 and not s.replication_lag_query,
        "the limit needs a ReplicationLagQuery: write one, or set the limit to 0",
    ),
    Rule(
        ("RaftEnabled", "RaftDataDir"),
        lambda s: s.raft_enabled and not s.raft_data_dir,
        "Raft needs a directory: set RaftDataDir to one that this node keeps",
    ),
    Rule(
        ("RaftEnabled", "RaftBind"),
        lambda s: s.raft_enabled and not s.raft_bind,
        "Raft needs an address to listen on: set RaftBind to host[:port]",
    ),
    Rule(
        ("RaftEnabled", "RaftBind", "RaftAdvertise"),
        lambda s: (
            s.raft_enabled
            and bool(s.raft_bind)
            and not s.raft_advertise
            and s.raft_bind_address.host in UNSPECIFIED_HOSTS
        ),
        "RaftBind means every address, so the other nodes cannot know this one: set RaftAdvertise to host[:port]",
    ),
    Rule(
        ("RaftSSLCertFile", "RaftSSLPrivateKeyFile", "RaftSSLCAFile"),
        lambda s: len({bool(s.raft_ssl_cert_file), bool(s.raft_ssl_private_key_file), bool(s.raft_ssl_ca_file)}) == 2,
        "belong together: set all three, or none (orchestrator-raft pki makes the files)",
    ),
    Rule(
        ("Webhooks", "WebhookEvents", "WebhookExitPolicies"),
        lambda s: not {name for name, _ in (*s.webhook_events, *s.webhook_exit_policies)} <= dict(s.webhooks).keys(),
        "name a webhook that is not in Webhooks: write its name and URL there, or take it out here",
    ),
    Rule(
        ("ProxySQLAddresses", "ProxySQLWriterHostgroups"),
        lambda s: bool(s.proxysql_addresses) and not s.proxysql_writer_hostgroups,
        "no cluster is published there: write the writer hostgroup of each alias into ProxySQLWriterHostgroups",
    ),
    Rule(
        ("WebhookSecret", "WebhookSecretFile"),
        lambda s: bool(s.webhook_secret.get_secret_value()) and bool(s.webhook_secret_file),
        "are two secrets for one thing: set one of them",
    ),
    Rule(
        ("DeadInstancePollSecondsMax", "InstancePollSeconds"),
        lambda s: s.dead_instance_poll_seconds_max < s.instance_poll_seconds,
        "dead servers would be probed more often than living ones: raise DeadInstancePollSecondsMax",
    ),
    Rule(
        ("DataLossPolicy",),
        lambda s: s.data_loss_policy == "seconds",
        "the policy seconds is not built yet: write none, or any to accept every loss",
    ),
    Rule(
        ("AuthenticationMethod", "HTTPAuthUser"),
        lambda s: s.authentication_method == "multi" and not s.http_auth_user,
        "the method multi needs a user: set HTTPAuthUser and HTTPAuthPassword",
    ),
    Rule(
        ("AuthenticationMethod", "HTTPAuthUser"),
        lambda s: s.authentication_method == "basic" and not s.http_auth_user,
        "the method basic without HTTPAuthUser lets an empty user in",
        warning,
    ),
    Rule(
        ("AuthenticationMethod", "HTTPAuthUser", "HTTPAuthPassword"),
        lambda s: (
            s.authentication_method == "token" and not (s.http_auth_user and s.http_auth_password.get_secret_value())
        ),
        "nobody can make the first access token: set a user and a password, with which raftctl access-token does",
        warning,
    ),
    Rule(
        ("AuthenticationMethod", "AuthTrustedProxies"),
        lambda s: s.authentication_method == "proxy" and not s.auth_trusted_proxies and not s.listen_socket,
        "the method proxy without a proxy that is believed lets nobody write: list its address",
        warning,
    ),
    Rule(
        ("AuthenticationMethod",),
        lambda s: s.authentication_method == "oauth",
        "the method oauth lets everybody read and nobody write, as with orchestrator: use another one",
        warning,
    ),
    Rule(
        ("UseSSL", "SSLCertFile", "SSLPrivateKeyFile"),
        lambda s: s.use_ssl and not s.listen_socket and not (s.ssl_cert_file and s.ssl_private_key_file),
        "HTTPS needs a certificate and its key: set SSLCertFile and SSLPrivateKeyFile",
    ),
    Rule(
        ("UseSSL", "UseMutualTLS"),
        lambda s: s.use_mutual_tls and not s.use_ssl and not s.listen_socket,
        "client certificates need HTTPS: set UseSSL",
    ),
    Rule(
        ("UseMutualTLS", "SSLCAFile"),
        lambda s: s.use_mutual_tls and not s.listen_socket and not s.ssl_ca_file,
        "client certificates need an authority that is believed: set SSLCAFile",
    ),
    Rule(
        ("ListenSocket", "UseSSL"),
        lambda s: bool(s.listen_socket) and s.use_ssl,
        "a unix socket has no TLS: HTTPS is not served",
        warning,
    ),
    Rule(
        ("MySQLTopologyUser",),
        lambda s: not s.mysql_topology_user,
        "is empty: database servers will refuse this node; set it or MySQLTopologyCredentialsConfigFile",
        warning,
    ),
    Rule(
        ("RaftNodes",),
        lambda s: len(set(s.raft_node_addresses)) < len(s.raft_nodes),
        "names the same node twice: every node counts once",
        warning,
    ),
    Rule(
        ("HostnameResolveMethod",),
        lambda s: s.hostname_resolve_method in ("cname", "ip"),
        "a name is used as it is given; servers are told apart by their server_uuid, whatever they are called",
        warning,
    ),
    Rule(
        ("UseSuperReadOnly",),
        lambda s: not s.use_super_read_only,
        "spares replicas that are only read_only; a server that has to be fenced is set super_read_only all the same",
        note,
    ),
    Rule(
        ("RecoverMasterClusterFilters",),
        lambda s: not s.recover_master_cluster_filters,
        'is empty: no dead primary is replaced by itself, only by a person; write ["*"] for every cluster',
        note,
    ),
)


def check_rules(settings: Settings, wrong: Iterable[str]) -> Findings:
    """All broken rules, but those about a key that is already known to be wrong."""
    excluded = set(wrong)
    return total(
        rule.report(f"{', '.join(rule.keys)}: {rule.line}")
        for rule in RULES
        if excluded.isdisjoint(rule.keys) and rule.broken(settings)
    )


def merge_old_names(given: Mapping[str, Any]) -> tuple[dict[str, Any], Findings]:
    """Values by key, old names among them, types checked, to values without old names."""
    values = dict(given)
    found = total(line for old in OLD if old.name in given for line in _merge(old, given[old.name], values))
    if values.get("RecoveryPeriodBlockSeconds") == 0:
        found += _zero_block_period(given, values)
    return {name: value for name, value in values.items() if name not in OLD_NAMES}, found


def _merge(old: OldName, value: Any, values: dict[str, Any]) -> Iterator[Findings]:
    new = values.get(old.new)
    match old.merge:
        case Merge.SYNONYM:
            if value and new and new != value:
                yield error(f"{old.name}, {old.new}: one setting with two values: keep {old.new}")
            values[old.new] = value or values.get(old.new, value)
        case Merge.EITHER:
            if new is not None and new != value:
                yield warning(f"{old.name}, {old.new}: one setting with two values: on is taken; keep {old.new}")
            values[old.new] = bool(value or new)
        case Merge.BLOCK_PERIOD:
            if new is None and value != old.default:
                yield warning(f"{old.name}: has no effect: write {old.new}, or set that to 0")


def _zero_block_period(given: Mapping[str, Any], values: dict[str, Any]) -> Findings:
    """0 seconds takes the minutes, which are 60 by default: as orchestrator does, but said aloud."""
    name, minutes_name = "RecoveryPeriodBlockSeconds", "RecoveryPeriodBlockMinutes"
    values[name] = given.get(minutes_name, 60) * 60
    if minutes_name in given:
        return Findings()
    return note(f"{name}: 0 takes {minutes_name}, which is 60 by default; write 0 there as well for no block period")
