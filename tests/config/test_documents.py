"""What is made from the table of keys: the reference page, the JSON Schema, ``config explain``, ``config check``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator_raft.config import check, explain, schema
from orchestrator_raft.config.explain import PAGE_NAME, SCHEMA_NAME, page_with_keys, schema_text
from orchestrator_raft.config.other_keys import RETIRED
from orchestrator_raft.config.registry import KEYS
from orchestrator_raft.core.errors import InvalidInput

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
RENEW = "out of date: run python -m orchestrator_raft.config docs"


def test_the_reference_page_is_up_to_date() -> None:
    page = (DOCS / PAGE_NAME).read_text(encoding="utf-8")
    assert page_with_keys(page) == page, RENEW
    assert [] == [name for name in KEYS if f"| `{name}` |" not in page]


def test_the_schema_is_up_to_date() -> None:
    assert schema_text() == (DOCS / SCHEMA_NAME).read_text(encoding="utf-8"), RENEW


def test_the_module_renews_both(tmp_path: Path) -> None:
    (tmp_path / PAGE_NAME).write_text("before <!-- begin: keys --> old <!-- end: keys --> after")
    command = [sys.executable, "-m", "orchestrator_raft.config", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    assert schema_text() == (tmp_path / SCHEMA_NAME).read_text()
    page = (tmp_path / PAGE_NAME).read_text()
    assert page.startswith("before <!--") and page.endswith("--> after") and "old" not in page.split("\n")[0]


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(InvalidInput, match="needs the two marks"):
        page_with_keys("text")


def test_the_tables_are_tables() -> None:
    page = page_with_keys("<!-- begin: keys --><!-- end: keys -->")
    rows = [line.replace("\\|", "") for line in page.split("\n") if line.startswith("| `")]
    assert len(KEYS) == len(rows)
    assert {5} == {row.count("|") for row in rows}


def test_every_key_is_in_the_schema_with_type_default_and_words() -> None:
    properties = schema()["properties"]
    assert set(KEYS) | RETIRED == set(properties)
    assert {"type": "integer", "minimum": 1, "maximum": 65535, "default": 10008} == {
        name: properties["DefaultRaftPort"][name] for name in ("type", "minimum", "maximum", "default")
    }
    assert ["none", "default", "cname", "ip"] == properties["HostnameResolveMethod"]["enum"]
    assert properties["AgentPollMinutes"]["deprecated"] and properties["SlaveLagQuery"]["deprecated"]
    assert properties["MySQLTopologyPassword"]["writeOnly"]
    assert all(rules["description"] for rules in properties.values())
    json.dumps(schema())


@pytest.mark.parametrize("name", list(KEYS))
def test_a_key_is_explained(name: str) -> None:
    lines = explain(name.upper()).split("\n")
    assert name == lines[0]
    assert len(lines) >= 2 and all(line.startswith("  ") and line.endswith(".") for line in lines[1:])


def test_explain_says_what_becomes_of_a_key() -> None:
    assert (
        "RaftBind\n  Address on which this node listens for the others, host[:port].\n"
        '  A text; default "127.0.0.1:10008".\n  ${NAME} is replaced by the environment variable NAME.'
    ) == explain("raftbind")
    assert "Without effect: orchestrator-agent" in explain("AgentPollMinutes")
    assert "Without effect yet: " in explain("DataLossSeconds")
    assert "Old name of ReplicationLagQuery" in explain("SlaveLagQuery")
    assert "Unknown to orchestrator" in explain("DataLossPolicy")
    assert "it can be removed" in explain("RaftEnabledSingleNode")


def test_an_unknown_key_cannot_be_explained() -> None:
    with pytest.raises(InvalidInput, match='"RaftBnd" is no key of the configuration: did you mean RaftBind'):
        explain("RaftBnd")
    with pytest.raises(InvalidInput, match=r"configuration$"):
        explain("Qqqqqqqqq")


def test_check_tells_errors_warnings_and_notes_together(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"MySQLTopologyUser": "x", "RaftBnd": 1, "RaftBind": 5, "BackendDB": "sqlite"}')
    report = check(path, strict=False, environ={})
    assert not report.ok
    lines = report.text.split("\n")
    assert [f"read {path}", f"error: {path}: RaftBind: is 5, must be a text"] == lines[:2]
    assert ["warning", "note", "note"] == [line.partition(":")[0] for line in lines[2:-1]]
    assert "cannot be used: 1 errors, 1 warnings, 2 notes" == lines[-1]


def test_strict_makes_warnings_errors_and_leaves_notes(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"MySQLTopologyUser": "x", "BackendDB": "sqlite", "DataLossSeconds": 3}')
    lenient, strict = check(path, strict=False, environ={}), check(path, strict=True, environ={})
    assert (True, False) == (lenient.ok, strict.ok)
    assert lenient.findings.warnings == strict.findings.errors
    assert lenient.findings.notes == strict.findings.notes
    path.write_text('{"MySQLTopologyUser": "x", "BackendDB": "sqlite"}')
    assert check(path, strict=True, environ={}).ok


def test_check_of_a_missing_file_is_a_report_too(tmp_path: Path) -> None:
    report = check(tmp_path / "none.json", strict=False, environ={})
    assert (False, 1) == (report.ok, len(report.findings.errors))
