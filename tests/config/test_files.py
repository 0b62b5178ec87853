"""Files: where they are looked for, what is no JSON, unknown keys, keys without effect, files in circulation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator_raft.config import Loaded, load
from orchestrator_raft.core.errors import StartupError

Load = Callable[..., Loaded]
Problems = Callable[..., list[str]]

DATA = Path(__file__).parent / "data"


def test_a_file_is_read_with_names_in_any_letter_case(load_text: Load) -> None:
    loaded = load_text('{"MYSQLTOPOLOGYUSER": "orc", "raftNodes": ["a", "b:1"], "recoverMasterClusterFilters": ["*"]}')
    assert ("orc", ("a", "b:1")) == (loaded.settings.mysql_topology_user, loaded.settings.raft_nodes)
    assert ((), ()) == (loaded.warnings, loaded.notes)
    assert ["orchestrator.conf.json"] == [path.name for path in loaded.files]


def test_what_the_file_leaves_out_has_its_default(load_values: Load) -> None:
    settings = load_values().settings
    assert (":3000", "127.0.0.1:10008", 5) == (
        settings.listen_address,
        settings.raft_bind,
        settings.instance_poll_seconds,
    )


def test_a_byte_order_mark_and_other_languages_are_no_trouble(load_text: Load) -> None:
    text = '{"MySQLTopologyUser": "bÖrk", "RecoverMasterClusterFilters": ["*"]}'
    assert "bÖrk" == load_text(text.encode("utf-8-sig")).settings.mysql_topology_user


def test_null_is_not_set_but_an_empty_list_where_a_list_belongs(load_values: Load) -> None:
    names = [
        "RaftBind",
        "InstancePollSeconds",
        "Debug",
        "RaftNodes",
        "ClusterNameToAlias",
        "PowerAuthUsers",
        "BackendDB",
    ]
    settings = load_values({name: None for name in names}).settings
    assert ("127.0.0.1:10008", 5, False) == (settings.raft_bind, settings.instance_poll_seconds, settings.debug)
    assert ((), ()) == (settings.raft_nodes, settings.cluster_name_to_alias)
    assert () == settings.power_auth_users, "null must not let everybody in"


def test_remarks_and_the_name_of_the_schema_are_skipped(load_values: Load) -> None:
    loaded = load_values({"_comment": 1, "//": "x", "# note": {}, "$schema": "s.json"})
    assert ((), ()) == (loaded.warnings, loaded.notes)


def test_an_unknown_key_is_a_warning_that_names_the_nearest_one(load_values: Load) -> None:
    (line,) = load_values({"RecoverMasterClusterFilter": ["x"]}).warnings
    assert line.endswith('"RecoverMasterClusterFilter": unknown key, without effect: did you mean '
                         "RecoverMasterClusterFilters?")  # fmt: skip
    (line,) = load_values({"Zzzzz": 1}).warnings
    assert line.endswith("no known key is like it")


def test_a_key_without_effect_is_reported_with_the_reason_unless_it_has_its_default(load_values: Load) -> None:
    assert (
        ()
        == load_values(
            {"ServeAgentsHttp": False, "WebMessage": "", "OAuthScopes": [], "GraphitePollSeconds": 60}
        ).warnings
    )
    lines = load_values({"ServeAgentsHttp": True, "DataLossSeconds": 3}).warnings
    assert (
        "ServeAgentsHttp: without effect: orchestrator-agent and its seeding are not supported",
        "DataLossSeconds: without effect yet: there is no policy that counts seconds",
    ) == lines


def test_the_backend_database_costs_one_quiet_note(load_values: Load) -> None:
    loaded = load_values({"BackendDB": "sqlite", "SQLite3DataFile": "x.db", "MySQLOrchestratorPort": 3307})
    assert () == loaded.warnings
    (line,) = loaded.notes
    assert "BackendDB, SQLite3DataFile, MySQLOrchestratorPort: not needed: there is no backend database" in line


def test_an_sqlite_backend_without_a_file_is_no_error_here(load_values: Load) -> None:
    assert () == load_values({"BackendDB": "sqlite"}).warnings


def test_later_files_override_earlier_ones_and_maps_are_joined(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(
        '{"MySQLTopologyUser": "a", "RaftNodes": ["x", "y"], "ClusterNameToAlias": {"r1": "1", "r2": "2"}}'
    )
    second.write_text(
        '{"mysqltopologyuser": "b", "RaftNodes": ["z"], "ClusterNameToAlias": {"r2": "3"}, "RaftBind": null}'
    )
    loaded = load([first, second], {})
    settings = loaded.settings
    assert ("b", ("z",)) == (settings.mysql_topology_user, settings.raft_nodes)
    assert (("r1", "1"), ("r2", "3")) == settings.cluster_name_to_alias
    assert (first, second) == loaded.files


def test_without_a_path_those_of_the_search_order_are_read_that_exist(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    paths[0].write_text('{"Debug": true, "RaftBind": "one"}')
    paths[2].write_text('{"RaftBind": "two"}')
    loaded = load((), {}, paths)
    assert (paths[0], paths[2]) == loaded.files
    assert (True, "two") == (loaded.settings.debug, loaded.settings.raft_bind)


def test_without_any_file_the_error_names_the_places(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"no configuration file: name one with --config; looked for .*a\.json"):
        load((), {}, [tmp_path / "a.json"])


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as caught:
        load([tmp_path / "none.json"], {})
    assert str(caught.value) == f"{tmp_path / 'none.json'}: no such file: name yours with --config"


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as caught:
        load([tmp_path], {})
    assert str(caught.value) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "line 1, column 1: not JSON: Expecting value at the end of the file"),
        ("{\n  'Debug': true}", ("line 2, column 3: not JSON: Expecting property name enclosed in double quotes at "
         "\"'Debug': true}\" (texts need double quotes)")),
        ('{"Debug": true} x', 'line 1, column 17: not JSON: Extra data at "x"'),
        ('{"Debug": yes}', 'line 1, column 11: not JSON: Expecting value at "yes}"'),
        ('{"Debug" true}', "line 1, column 10: not JSON: Expecting ':' delimiter at \"true}\""),
        ('{"a": 1\n "b": 2}', "line 2, column 2: not JSON: Expecting ',' delimiter at \"\\\"b\\\": 2}\""),
        ("[]", "holds no JSON object: the whole file has to be one { ... }"),
        ("null", "holds no JSON object: the whole file has to be one { ... }"),
        ('{"InstancePollSeconds": NaN}', "NaN is no JSON value: write a number"),
        ('{"InstancePollSeconds": ' + "1" * 5000 + "}", "a number of 5000 digits fits no key"),
        ("[" * 100_000, "brackets are nested too deep: this is no configuration file"),
        ('{"Debug": // no\ntrue}', 'line 1, column 11: not JSON: Expecting value at "// no" (JSON knows no comments)'),
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_one_line_with_the_place(problems: Problems, text: str, line: str) -> None:
    assert [line] == problems(text)


def test_a_comma_too_many_is_recognised(problems: Problems) -> None:
    (line,) = problems('{"Debug": true,\n}')
    assert "a comma too many before it?" in line or "trailing comma" in line


def test_other_encodings_and_huge_files_are_refused(problems: Problems) -> None:
    assert ["byte 12 is not UTF-8: save the file as UTF-8"] == problems(b'{"Debug": "\xff"}')
    (line,) = problems(b" " * 4_000_001)
    assert "more than 4000000 bytes" in line


def test_a_key_that_stands_twice_is_an_error(problems: Problems) -> None:
    assert ['"Debug" and "debug": the same key stands twice: it is not clear which one counts'] == problems(
        '{"Debug": true, "debug": true}'
    )
    assert ['"Debug": the same key stands twice: it is not clear which one counts'] == problems(
        '{"Debug": true, "Debug": false}'
    )


def test_a_key_that_stands_twice_hides_no_other_problem(problems: Problems) -> None:
    lines = problems('{"RaftBind": 5, "Debug": true, "debug": 1, "RaftDataDir": "a\\u0000"}')
    assert ['"Debug" and "debug"', '"RaftDataDir"', "RaftBind", "Debug"] == [line.partition(":")[0] for line in lines]


def test_the_same_line_twice_is_a_warning_only(load_text: Load) -> None:
    lines = load_text('{"Debug": true, "MySQLTopologyUser": "x", "Debug": true}').warnings
    assert [line for line in lines if line.endswith('"Debug": stands twice with the same value: remove one')]


def test_characters_that_no_text_can_hold_are_refused(problems: Problems) -> None:
    expected = "holds a character that no text can hold (NUL or half a character)"
    assert [f'"RaftDataDir": {expected}'] == problems(r'{"RaftDataDir": "a\u0000b"}')
    assert [f'"RaftNodes": {expected}'] == problems(r'{"RaftNodes": ["a", "\ud800"]}')


def test_the_operators_file_loads_with_justified_warnings_only(tmp_path: Path) -> None:
    (tmp_path / "orc-topology.cnf").write_text('[client]\nuser="orchestrator"\npassword="s3cret;#"\n')
    loaded = load([DATA / "operator.conf.json"], {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    settings = loaded.settings
    assert "orchestrator" == settings.mysql_topology_user
    assert "s3cret;#" == settings.mysql_topology_password.get_secret_value()
    assert ("none", "@@report_host", "sh") == (
        settings.hostname_resolve_method,
        settings.mysql_hostname_resolve_method,
        settings.processes_shell_command,
    )
    assert "shop-orc-0.shop-orc.prod:10008" == str(settings.raft_bind_address)
    assert "shop-orc-0.prod:10008" == str(settings.raft_advertise_address)
    assert {
        "RemoveTextFromHostnameDisplay", "RecoverNonWriteableMaster", "MasterFailoverDetachReplicaMasterHost",
    } >= {line.partition(":")[0] for line in loaded.warnings}  # fmt: skip
    assert 2 == len(loaded.notes), "the backend, and a name that the peers do not know either"


def test_a_stock_file_loads_without_a_warning() -> None:
    loaded = load([DATA / "stock.conf.json"], {})
    assert () == loaded.warnings
    assert 2 == len(loaded.notes)
    assert (("127.0.0.1", "test suite"),) == loaded.settings.cluster_name_to_alias


def test_a_file_of_nothing_but_the_peers_defaults_says_only_what_is_wrong_with_those(load_text: Load) -> None:
    lines = (DATA / "peer_keys.tsv").read_text().splitlines()
    values = {name: json.loads(default) for name, _, default in (line.split("\t") for line in lines)}
    lines = [line.partition(":")[0] for line in load_text(json.dumps(values)).warnings]
    assert ["DetachLostSlavesAfterMasterFailover, DetachLostReplicasAfterMasterFailover", "MySQLTopologyUser"] == lines
