"""Keys about what the outside is told beyond orchestrator's own: exit policies of hooks, webhooks, ProxySQL."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, SecretStr

from orchestrator_raft.config.findings import shown
from orchestrator_raft.config.keys import COUNT_MAX, key
from orchestrator_raft.config.service import Group
from orchestrator_raft.config.values import DialTexts
from orchestrator_raft.core.policy import STOPPING_LISTS, ExitPolicy

LISTS = (
    "OnFailureDetectionProcesses", "PreGracefulTakeoverProcesses", "PreFailoverProcesses", "PostFailoverProcesses",
    "PostUnsuccessfulFailoverProcesses", "PostMasterFailoverProcesses", "PostIntermediateMasterFailoverProcesses",
    "PostGracefulTakeoverProcesses", "PostTakeMasterProcesses", "PostQuarantineProcesses",
)  # fmt: skip
Pairs = tuple[tuple[str, str], ...]


def _exit(name: str, text: str) -> None:
    if text not in {each.value for each in ExitPolicy}:
        raise ValueError(f"has {shown(text)} for {shown(name)}: write abort, warn or fail")


def _list_exits(pairs: Pairs) -> Pairs:
    for name, text in pairs:
        if name not in LISTS:
            raise ValueError(f"has {shown(name)}, which is no list of hooks: write one of {', '.join(LISTS)}")
        _exit(name, text)
        if text == ExitPolicy.ABORT.value and name not in STOPPING_LISTS:
            raise ValueError(f"has abort for {name}, which can stop nothing any more: write warn or fail")
    return pairs


def _webhook_exits(pairs: Pairs) -> Pairs:
    for name, text in pairs:
        _exit(name, text)
    return pairs


def _events(pairs: Pairs) -> Pairs:
    for name, text in pairs:
        wrong = [each for each in lists_in(text) if each not in LISTS]
        if wrong:
            raise ValueError(f"has {shown(wrong[0])} for {shown(name)}: write some of {', '.join(LISTS)}, with commas")
    return pairs


def lists_in(text: str) -> tuple[str, ...]:
    """The lists that a webhook wants to hear of; none means all."""
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _urls(pairs: Pairs) -> Pairs:
    for name, text in pairs:
        if not text.startswith(("http://", "https://")):
            raise ValueError(f"has no URL for {shown(name)}: write http://host... or https://host...")
    return pairs


def _hostgroups(pairs: Pairs) -> Pairs:
    for name, text in pairs:
        if not text.isascii() or not text.isdigit() or int(text) > COUNT_MAX:
            raise ValueError(f"has {shown(text)} for {shown(name)}: write the number of a hostgroup, in quotes")
    if len({int(text) for _, text in pairs}) < len(pairs):
        raise ValueError("has one hostgroup for several clusters: give each its own")
    return pairs


class Telling(Group):
    """New in orchestrator_raft: exit policies of hooks, webhooks, ProxySQL"""

    hook_exit_policies: Annotated[Pairs, AfterValidator(_list_exits)] = key(
        "HookExitPolicies",
        (),
        "What follows when a hook fails, by list: abort (stop the recovery), warn (run the rest), fail (end the list).",
    )
    webhooks: Annotated[Pairs, AfterValidator(_urls)] = key(
        "Webhooks", (), "URLs that are told of hooks as JSON, each under a name.", expands=True, hidden=True
    )
    webhook_events: Annotated[Pairs, AfterValidator(_events)] = key(
        "WebhookEvents", (), "Lists of hooks that a webhook wants to hear of, with commas, by its name; by default all."
    )
    webhook_exit_policies: Annotated[Pairs, AfterValidator(_webhook_exits)] = key(
        "WebhookExitPolicies",
        (),
        "By name: warn (not waited for; the default), fail (waited for), abort (waited for, may stop the recovery).",
    )
    webhook_secret: SecretStr = key(
        "WebhookSecret", SecretStr(""), "Secret with which webhooks are signed (HMAC-SHA256).", expands=True
    )
    webhook_secret_file: str = key(
        "WebhookSecretFile", "", "File that holds it, instead of WebhookSecret.", expands=True
    )
    webhook_timeout_seconds: int = key("WebhookTimeoutSeconds", 5, "Seconds for one attempt at a webhook.", least=1)
    webhook_attempts: int = key(
        "WebhookAttempts", 3, "How often a webhook is tried before it is given up.", least=1, most=10
    )
    proxysql_addresses: DialTexts = key(
        "ProxySQLAddresses", (), "Admin addresses of the ProxySQL servers, host[:port]; the port is 6032.", expands=True
    )
    proxysql_admin_user: str = key("ProxySQLAdminUser", "admin", "User of the admin port of ProxySQL.", expands=True)
    proxysql_admin_password: SecretStr = key("ProxySQLAdminPassword", SecretStr(""), "Its password.", expands=True)
    proxysql_writer_hostgroups: Annotated[Pairs, AfterValidator(_hostgroups)] = key(
        "ProxySQLWriterHostgroups", (), "Hostgroup whose only server is the primary, by the alias of the cluster."
    )
