"""Exit policies and webhooks in the file, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator_raft.app.plain import hook_lists, hook_names, hooks_of, policy_of, webhooks_of
from orchestrator_raft.config import Loaded
from orchestrator_raft.config.telling import LISTS
from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.core.policy import ExitPolicy

Load = Callable[..., Loaded]
Problems = Callable[..., list[str]]
CHAT = {"chat": "https://chat.example.com/${TOKEN}"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"HookExitPolicies": {"PreFailover": "warn"}}, "which is no list of hooks"),
        ({"HookExitPolicies": {"PreFailoverProcesses": "stop"}}, "write abort, warn or fail"),
        ({"HookExitPolicies": {"PostFailoverProcesses": "abort"}}, "write warn or fail"),
        ({"Webhooks": {"chat": "chat.example.com"}}, "a value that is not shown has no URL"),
        ({"Webhooks": {"chat": "http://h"}, "WebhookEvents": {"chat": "Post"}}, "write some of"),
        ({"Webhooks": {"chat": "http://h"}, "WebhookExitPolicies": {"chat": "no"}}, "write abort, warn or fail"),
        ({"WebhookEvents": {"chat": "PostFailoverProcesses"}}, "name a webhook that is not in Webhooks"),
        ({"ProxySQLWriterHostgroups": {"shop": "ten"}}, "write the number of a hostgroup"),
        ({"ProxySQLWriterHostgroups": {"shop": "10", "store": "010"}}, "one hostgroup for several clusters"),
        ({"ProxySQLAddresses": ["p1"]}, "no cluster is published there"),
        ({"WebhookSecret": "a", "WebhookSecretFile": "b"}, "two secrets for one thing"),
    ],
)
def test_what_cannot_be_meant_is_an_error(problems: Problems, values: dict[str, Any], expected: str) -> None:
    (line,) = problems(values)
    assert expected in line


def test_a_webhook_is_a_part_of_each_list_it_wants_to_hear_of(load_values: Load) -> None:
    settings = load_values(
        Webhooks=CHAT, WebhookEvents={"chat": "PostFailoverProcesses, PreFailoverProcesses"}, environ={"TOKEN": "t-7"},
        WebhookExitPolicies={"chat": "fail"}, PreFailoverProcesses=["a", "b"],
    ).settings  # fmt: skip
    (webhook,) = webhooks_of(settings).webhooks
    assert (webhook.url, webhook.exit) == ("https://chat.example.com/t-7", ExitPolicy.FAIL)
    names = hook_names(settings)
    assert (names["PreFailoverProcesses"], names["PostFailoverProcesses"]) == (("a", "b", "chat"), ("chat",))
    assert names["PostMasterFailoverProcesses"] == ()
    assert set(LISTS) == set(hook_lists(settings))


def test_exit_policies_reach_recoveries_and_commands(load_values: Load) -> None:
    exits = {"PreFailoverProcesses": "warn", "PostFailoverProcesses": "fail"}
    settings = load_values(HookExitPolicies=exits).settings
    policy = policy_of(settings)
    assert policy.hook_exit("PreFailoverProcesses") is ExitPolicy.WARN
    assert policy.hook_exit("OnFailureDetectionProcesses") is ExitPolicy.ABORT
    assert policy.hook_exit("PostMasterFailoverProcesses") is ExitPolicy.WARN
    assert hooks_of(settings).ending == {"PostFailoverProcesses"}


def test_neither_urls_nor_the_secret_are_ever_shown(load_values: Load) -> None:
    settings = load_values(Webhooks=CHAT, WebhookSecret="s-9", environ={"TOKEN": "t-7"}).settings
    shown = f"{settings!r} {settings.masked()} {webhooks_of(settings)!r}"
    assert "t-7" not in shown
    assert "s-9" not in shown
    assert settings.masked()["Webhooks"] == {"chat": "(hidden, 28 characters)"}


def test_a_variable_that_is_not_defined_is_an_error(problems: Problems) -> None:
    (line,) = problems({"Webhooks": CHAT})
    assert "the environment variable TOKEN is not defined" in line


def test_the_secret_may_be_in_a_file(load_values: Load, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    settings = load_values(WebhookSecretFile=str(path)).settings
    with pytest.raises(StartupError, match=r"WebhookSecretFile: .*No such file"):
        webhooks_of(settings)
    assert "PreFailoverProcesses" in policy_of(settings).hooks, "the policy does not need it"
    path.write_text("\n")
    with pytest.raises(StartupError, match="is empty"):
        webhooks_of(settings)
    path.write_text("s-9\n")
    assert webhooks_of(settings).secret == b"s-9"


@pytest.mark.parametrize(
    ("values", "unwaited"),
    [
        ({}, True),
        ({"Webhooks": {"chat": "http://h"}}, True),
        ({"Webhooks": {"chat": "http://h"}, "WebhookExitPolicies": {"chat": "fail"}}, False),
        ({"PreFailoverProcesses": ["a"], "Webhooks": {"chat": "http://h"}}, False),
    ],
)
def test_no_time_passes_in_lists_of_which_nothing_is_waited_for(
    load_values: Load, values: dict[str, Any], unwaited: bool
) -> None:
    policy = policy_of(load_values(values).settings)
    assert ("PreFailoverProcesses" in policy.unwaited_lists) is unwaited
