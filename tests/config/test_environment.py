"""``${NAME}`` in values, and the credentials file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator_raft.config import Loaded
from orchestrator_raft.config.credentials import BadCredentials, Credentials, parse_credentials, read_credentials
from orchestrator_raft.config.environment import expand_text

Load = Callable[..., Loaded]
Problems = Callable[..., list[str]]

FILE_KEY = "MySQLTopologyCredentialsConfigFile"


@pytest.mark.parametrize(
    ("text", "expected", "missing"),
    [
        ("${A}", "one", ()),
        ("x${A}y${B}", "xoney${A}", ()),
        ("$${A}", "${A}", ()),
        ("$$${A}", "$${A}", ()),
        ("$A {A} ${A", "$A {A} ${A", ()),
        ("${C}${D}", "", ("C", "D")),
        ("${A:-x}", "", ("A:-x",)),
        ("${}", "", ("",)),
        ("${EMPTY}", "", ()),
    ],
)
def test_variables(text: str, expected: Any, missing: Any) -> None:
    assert (expected, missing) == expand_text(text, {"A": "one", "B": "${A}", "EMPTY": ""})


def test_credentials_addresses_and_paths_are_expanded(load_values: Load) -> None:
    environ = {"U": "orc", "P": "p$ss", "H": "db-1", "D": "/data", "N": "db-2:1"}
    settings = load_values(
        {"MySQLTopologyUser": "${U}", "MySQLTopologyPassword": "${P}", "RaftBind": "${H}:5", "RaftDataDir": "${D}/raft",
         "RaftNodes": ["${H}", "${N}"], "ListenAddress": "${H}:3000", "HTTPAdvertise": "http://${H}:3000"},
        environ=environ,
    ).settings  # fmt: skip
    assert ("orc", "p$ss") == (settings.mysql_topology_user, settings.mysql_topology_password.get_secret_value())
    assert ("db-1:5", "/data/raft", ("db-1", "db-2:1")) == (
        settings.raft_bind,
        settings.raft_data_dir,
        settings.raft_nodes,
    )
    assert ("db-1:3000", "http://db-1:3000") == (settings.listen_address, settings.http_advertise)


def test_an_undefined_variable_is_an_error_that_names_key_and_variable(problems: Problems) -> None:
    advice = "is not defined: define it, or write $${...} if the text is meant as it stands"
    assert [
        f"MySQLTopologyPassword: the environment variable DB_PASSWORD {advice}",
        f"RaftNodes: the environment variable B {advice}",
    ] == problems({"MySQLTopologyPassword": "${DB_PASSWORD}", "RaftNodes": ["a", "${B}", "${B}"]})


def test_an_expanded_value_is_checked_like_any_other(problems: Problems) -> None:
    assert ['ListenAddress: "nowhere" has no port: write host:port or :port'] == problems(
        {"ListenAddress": "${A}"}, {"A": "nowhere"}
    )


def test_hooks_queries_patterns_and_filters_are_never_expanded(load_values: Load) -> None:
    values = {
        "PreFailoverProcesses": ["echo ${A}"],
        "DetectClusterAliasQuery": "SELECT '${A}'",
        "DataCenterPattern": "(${A})",
        "RecoveryIgnoreHostnameFilters": ["${A}"],
        "ProcessesShellCommand": "bash",
    }
    loaded = load_values(values, environ={"A": "x"})
    assert () == loaded.warnings
    assert ("echo ${A}",) == loaded.settings.pre_failover_processes
    assert "SELECT '${A}'" == loaded.settings.detect_cluster_alias_query
    assert ("(${A})", ("${A}",)) == (
        loaded.settings.data_center_pattern,
        loaded.settings.recovery_ignore_hostname_filters,
    )


def test_a_variable_in_another_key_is_left_alone_with_a_warning(load_values: Load) -> None:
    loaded = load_values(
        {"AuthUserHeader": "X-Forwarded-User", "ProcessesShellCommand": "${SHELL}"}, environ={"SHELL": "x"}
    )
    assert "${SHELL}" == loaded.settings.processes_shell_command
    (line,) = loaded.warnings
    assert line.startswith("ProcessesShellCommand: ${...} is not replaced in this key")


def test_text_around_a_variable_in_the_password_is_kept_with_a_warning(load_values: Load) -> None:
    loaded = load_values({"MySQLTopologyPassword": "a-${A}"}, environ={"A": "x"})
    assert "a-x" == loaded.settings.mysql_topology_password.get_secret_value()
    assert 1 == len(loaded.warnings)


@pytest.mark.parametrize(
    ("text", "user", "password"),
    [
        ("[client]\nuser=a\npassword=b", "a", "b"),
        ("[client]\r\nuser = a\r\npassword = b\r\n", "a", "b"),
        ('[client]\nuser="a b"\npassword="p#w;\\"\\\\ x "', "a b", 'p#w;"\\ x '),
        ("[client]\n  user = a b  # who\npassword = p ; what", "a b", "p"),
        ("# x\n; y\n\n[CLIENT] ; z\nUser=a\nPASSWORD='b'", "a", "'b'"),
        ('[client]\nuser=a"  b "c ; d\npassword=""', "a  b c", ""),
        ("[mysqld]\nuser=no\nport\n[client]\nuser=a\nhost=h\n[mysql]\npassword=no", "a", None),
        ('[client "x"]\nuser\npassword=b\\tc', "", "b\tc"),
        ("[client]\npassword=first\npassword=second", None, "second"),
    ],
)
def test_a_credentials_file(text: str, user: Any, password: Any) -> None:
    assert Credentials(user, password) == parse_credentials(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user=a", "has no section"),
        ("[clients]\nuser=a", "has no section"),
        ("[client\nuser=a", "line 1: is no section"),
        ("[client]\n=a", "line 2: is no setting"),
        ("[client]\n\nthis is text", "line 3: is no setting"),
        ('[client]\npassword="hush', "line 2: a quote is not closed"),
        ("[client]\npassword=hush\\", "line 2: a quote is not closed, or a backslash stands alone"),
        ("[client]\npassword=hu\\sh", "line 2: only .* may follow a backslash"),
    ],
)
def test_a_malformed_credentials_file_names_the_line_but_not_its_text(text: str, message: str) -> None:
    with pytest.raises(BadCredentials, match=message) as caught:
        parse_credentials(text)
    assert "hush" not in str(caught.value)


def test_the_credentials_file_wins_over_the_plain_keys_for_what_it_names(load_values: Load, tmp_path: Path) -> None:
    path = tmp_path / "c.cnf"
    path.write_text('[client]\npassword = "${P}"\n')
    loaded = load_values(
        {"MySQLTopologyPassword": "plain", FILE_KEY: "${DIR}/c.cnf"}, environ={"DIR": str(tmp_path), "P": "secret"}
    )
    assert ("orc", "secret") == (
        loaded.settings.mysql_topology_user,
        loaded.settings.mysql_topology_password.get_secret_value(),
    )
    assert () == loaded.warnings


def test_an_unusable_credentials_file_is_an_error_that_names_it(problems: Problems, tmp_path: Path) -> None:
    assert [f'{FILE_KEY}: "{tmp_path}/none.cnf" cannot be read: No such file or directory'] == problems(
        {FILE_KEY: f"{tmp_path}/none.cnf"}
    )
    (tmp_path / "c.cnf").write_bytes(b"\xff")
    assert [f'{FILE_KEY}: "{tmp_path}/c.cnf" is not UTF-8 text'] == problems({FILE_KEY: f"{tmp_path}/c.cnf"})
    (tmp_path / "c.cnf").write_text('[client]\npassword="${NONE}"')
    (line,) = problems({FILE_KEY: f"{tmp_path}/c.cnf"})
    assert "password: the environment variable NONE is not defined" in line
    (tmp_path / "c.cnf").write_text("#" * 100_001)
    (line,) = problems({FILE_KEY: f"{tmp_path}/c.cnf"})
    assert "has more than 100000 bytes" in line


def test_credentials_do_not_show_the_password(tmp_path: Path) -> None:
    path = tmp_path / "c.cnf"
    path.write_text("[client]\nuser=a\npassword=hush")
    assert "Credentials(user='a', password='***')" == repr(read_credentials(path))
