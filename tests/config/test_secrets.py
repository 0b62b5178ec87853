"""No way of looking at a configuration shows a secret: every one of them carries the mark MARK."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator_raft.config import Loaded, check
from orchestrator_raft.config.keys import Kind
from orchestrator_raft.config.registry import KEYS
from orchestrator_raft.core.errors import StartupError

Load = Callable[..., Loaded]
Problems = Callable[..., list[str]]

MARK = "hush5717"
TEXT_SECRETS = [key.name for key in KEYS.values() if key.secret and key.kind is Kind.TEXT]
HOOKS = [key.name for key in KEYS.values() if key.name.endswith("Processes")]


def everything(tmp_path: Path) -> dict[str, Any]:
    """Each secret set in clear, by environment, or in a file."""
    (tmp_path / "c.cnf").write_text(f'[client]\nuser=orc\npassword="{MARK}-file"')
    values = {name: f"{MARK}-{name}" for name in TEXT_SECRETS} | {name: [f"notify --token {MARK}"] for name in HOOKS}
    values |= {"HTTPAuthPassword": "${PW}", "MySQLTopologyCredentialsConfigFile": f"{tmp_path}/c.cnf"}
    return values | {"ConsulAddress": f"http://user:{MARK}@consul:8500", "HTTPAuthUser": "u"}


def test_passwords_tokens_and_hooks_are_marked() -> None:
    assert {
        "MySQLTopologyPassword", "MySQLOrchestratorPassword", "HTTPAuthPassword", "ConsulAclToken", "OAuthClientSecret",
        "ReplicationCredentialsQuery", "WebhookSecret", "ProxySQLAdminPassword",
    } == set(TEXT_SECRETS)  # fmt: skip
    assert 10 == len(HOOKS)
    assert all(KEYS[name].secret for name in HOOKS)


def test_settings_show_no_secret(load_values: Load, tmp_path: Path) -> None:
    loaded = load_values(everything(tmp_path), environ={"PW": MARK})
    settings = loaded.settings
    assert f"{MARK}-file" == settings.mysql_topology_password.get_secret_value(), "they are there, only not shown"
    assert (f"notify --token {MARK}",) == settings.pre_failover_processes
    assert MARK in settings.replication_credentials_query.get_secret_value()
    views = [repr(settings), str(settings), repr(loaded), json.dumps(settings.masked()), f"{settings.model_dump()}"]
    views += [settings.model_dump_json(), *loaded.warnings, *loaded.notes]
    assert [] == [view for view in views if MARK in view]


def test_masked_says_what_is_set_and_is_json(load_values: Load, tmp_path: Path) -> None:
    masked = load_values(everything(tmp_path), environ={"PW": "x"}).settings.masked()
    assert ("********", "********", [f"(hidden, {len(f'notify --token {MARK}')} characters)"]) == (
        masked["MySQLTopologyPassword"],
        masked["ReplicationCredentialsQuery"],
        masked["PreFailoverProcesses"],
    )
    assert ("", ":3000", "http://***@consul:8500") == (
        load_values().settings.masked()["ConsulAclToken"],
        masked["ListenAddress"],
        masked["ConsulAddress"],
    )
    assert masked == json.loads(json.dumps(masked))


@pytest.mark.parametrize("name", TEXT_SECRETS + HOOKS)
@pytest.mark.parametrize("value", [[MARK, 1], {"a": MARK}, 57175717])
def test_a_secret_of_a_wrong_type_is_not_shown(load_values: Load, name: str, value: Any) -> None:
    with pytest.raises(StartupError, match=f"{name}: is a value that is not shown, must be a ") as caught:
        load_values({name: value})
    text = "".join(traceback.format_exception(caught.value))
    assert MARK not in text and "57175717" not in text


def test_a_password_that_looks_like_a_variable_is_not_shown(problems: Problems, tmp_path: Path) -> None:
    (line,) = problems({"MySQLTopologyPassword": f"x${{{MARK}}}y"})
    assert MARK not in line and "MySQLTopologyPassword" in line
    (tmp_path / "c.cnf").write_text(f'[client]\npassword="x${{{MARK}}}y"')
    (line,) = problems({"MySQLTopologyCredentialsConfigFile": f"{tmp_path}/c.cnf"})
    assert MARK not in line


@pytest.mark.parametrize(
    "text",
    [
        f'{{"MySQLTopologyPassword": {MARK}}}',
        f'{{"mysqltopologypassword":\n  {MARK}}}',
        f'{{"HTTPAuthPassword": "a"{MARK}"}}',
        f'{{"ConsulAclToken" = "{MARK}"}}',
        f'{{"PreFailoverProcesses": ["a" "{MARK}"]}}',
        '{"PreFailoverProcesses": ["' + "x" * 400 + f'" "{MARK}"]}}',
        f"{{mysqlTopologyPassword: {MARK}}}",
        f'{{"HTTPAuthPassword": "{MARK}" "RaftBind": {MARK}}}',
    ],
)
def test_a_syntax_error_near_a_secret_does_not_quote_it(problems: Problems, text: str) -> None:
    (line,) = problems(text)
    assert MARK not in line
    assert "not JSON" in line and "is not shown" in line


def test_a_syntax_error_elsewhere_is_quoted(problems: Problems) -> None:
    (line,) = problems('{"HTTPAuthPassword": "a",\n"RaftNodes": ["' + "x" * 400 + '", here]}')
    assert 'at "here]}"' in line


def test_a_password_written_into_a_url_is_not_shown(problems: Problems) -> None:
    for host in ("db:3000", "db:99999", "[db:1", "d\u212eb:1", "d℀b:1", "", "a b:1"):
        for password in (MARK, f"{MARK}/{MARK}", f"@{MARK}"):
            (line,) = problems({"HTTPAdvertise": f"http://orc:{password}@{host}"})
            assert MARK not in line


def test_the_report_of_a_check_shows_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.conf.json"
    path.write_text(json.dumps(everything(tmp_path) | {"RaftBind": 5, "Unknown": MARK, "SSLCAFile": "x"}))
    report = check(path, strict=True, environ={"PW": MARK})
    assert not report.ok
    assert MARK not in report.text and MARK not in repr(report)
