"""The table of keys: all of the peers' keys with their types and defaults, ours beside them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from orchestrator_raft.config import Settings
from orchestrator_raft.config.keys import Kind
from orchestrator_raft.config.other_keys import NOT_YET, OLD, RETIRED
from orchestrator_raft.config.registry import KEYS, Use, find, is_retired, nearest

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "bool": Kind.FLAG, "int": Kind.WHOLE, "uint": Kind.WHOLE, "int32": Kind.WHOLE, "int64": Kind.WHOLE,
    "float32": Kind.NUMBER, "string": Kind.TEXT, "[]string": Kind.TEXTS, "map[string]string": Kind.TEXT_MAP,
}  # fmt: skip
DIFFERENT_ON_PURPOSE = {"UseSuperReadOnly": True, "DetachLostReplicasAfterMasterFailover": True}
"""Our defaults where they are not orchestrator's; docs/configuration.md says why."""


def peer_keys() -> list[tuple[str, str, object]]:
    lines = (Path(__file__).parent / "data" / "peer_keys.tsv").read_text().splitlines()
    return [(name, kind, json.loads(default)) for name, kind, default in (line.split("\t") for line in lines)]


def test_the_list_of_the_peers_keys_is_whole() -> None:
    assert 201 == len({name for name, _, _ in peer_keys()})


@pytest.mark.parametrize(("name", "kind", "default"), peer_keys())
def test_a_key_of_the_peers_is_known_with_its_type_and_default(name: str, kind: str, default: object) -> None:
    key = KEYS[name]
    expected = DIFFERENT_ON_PURPOSE.get(name, default)
    assert KINDS[kind] is key.kind
    assert (expected or []) == (key.default or []) if key.kind is Kind.TEXTS else expected == key.default


def test_every_other_key_is_marked_as_ours_and_starts_from_the_design() -> None:
    peers = {name for name, _, _ in peer_keys()}
    assert {name for name in KEYS if name not in peers} == {key.name for key in KEYS.values() if key.ours}
    settings = Settings()
    assert (0.5, 1.0, 0.4, 5.0) == (
        settings.probe_interval_s,
        settings.probe_timeout_s,
        settings.witness_timeout_s,
        settings.demotion_block_limit_s,
    )
    assert (30, 60, "auto") == (settings.max_catch_up_seconds, settings.hook_timeout_seconds, settings.data_loss_policy)


def test_whether_raft_may_speak_plain_text_is_no_key() -> None:
    assert find("RaftPlaintext") is None


def test_a_field_is_named_like_its_key() -> None:
    assert [] == [key.name for key in KEYS.values() if key.field and key.field.replace("_", "") != key.name.lower()]


def test_every_key_says_in_one_line_what_it_does_or_why_it_does_nothing() -> None:
    for key in KEYS.values():
        text = key.help or key.reason
        assert text and "\n" not in text, key.name
        assert key.help.endswith(".") or not key.field, key.name
        assert bool(key.reason) == (key.use in (Use.NOT_YET, Use.UNUSED)), key.name


def test_every_number_has_limits_and_a_key_that_ends_in_a_unit_says_the_unit() -> None:
    for key in KEYS.values():
        if key.field and key.kind in (Kind.WHOLE, Kind.NUMBER):
            assert key.least is not None and key.most is not None, key.name
        for unit in ("Milliseconds", "Seconds", "Minutes", "Hours", "Days"):
            if key.field and key.name.endswith(unit):
                assert unit.lower() in key.help.lower(), key.name
                break


def test_the_tables_name_real_keys_once() -> None:
    not_yet = [name for row in NOT_YET for name in row.names]
    assert len(set(not_yet)) == len(not_yet)
    assert all(KEYS[name].field for name in not_yet)
    assert all(KEYS[old.new].field and not KEYS[old.name].field for old in OLD)
    assert not any(name in KEYS for name in RETIRED)


def test_a_key_is_said_to_have_an_effect_exactly_where_something_reads_it() -> None:
    """Reading is: the field's name as an attribute or in a table, anywhere but in the declarations themselves."""
    declaring = {"service.py", "servers.py", "repair.py", "other_keys.py", "checks.py", "keys.py"}
    sources = [path for root in ("orchestrator_raft", "api") for path in (ROOT / root).rglob("*.py")]
    text = "\n".join(path.read_text() for path in sources if path.parent.name != "config" or path.name not in declaring)
    always_done = {"DiscoverByShowSlaveHosts", "HostnameResolveMethod"}
    fired_by_nothing = {"PostTakeMasterProcesses"}
    fields = [key for key in KEYS.values() if key.field and key.name not in always_done | fired_by_nothing]
    read = {key.name for key in fields if re.search(rf'[."]{key.field}\b', text)}
    assert {key.name for key in fields if key.use is Use.USED} == read


def test_only_credentials_addresses_and_paths_are_expanded() -> None:
    endings = ("Processes", "Query", "Pattern", "Filters")
    expanding = {key.name for key in KEYS.values() if key.expands}
    assert [] == [name for name in expanding if name.endswith(endings)]
    assert {"MySQLTopologyPassword", "RaftBind", "RaftNodes", "RaftDataDir", "ListenAddress"} <= expanding
    assert not KEYS["ClusterNameToAlias"].expands


def test_names_are_found_in_any_letter_case_and_the_nearest_one_is_offered() -> None:
    assert KEYS["RaftBind"] is find("RAFTBIND")
    assert "RaftNodes" == nearest("raftnode")
    assert "InstancePollSeconds" == nearest("InstancePolSeconds")
    assert nearest("Qqqqqqqqqq") is None
    assert is_retired("raftenabledsinglenode") and not is_retired("RaftEnabled")
