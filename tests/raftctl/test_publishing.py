"""What raftctl makes of publications and of hooks that are tried."""

from __future__ import annotations

from typing import Any

from orchestrator_raft.raftctl.publishing import complaints, hooks_shown, publications
from orchestrator_raft.raftctl.status import Node, Status, judge
from orchestrator_raft.raftctl.views import Lines, Table


def target(standing: str = "current", detail: str = "") -> dict[str, Any]:
    return {"target": "consul c:8500", "standing": standing, "generation": 6, "at_ms": 0, "detail": detail}


def record(alias: str, *targets: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"alias": alias, "cluster_id": "1", "primary": "db1:3306", "generation": 7, "targets": list(targets), **more}


def test_every_record_has_a_row_for_each_target() -> None:
    (table,) = publications([record("shop", target(), target("failed", "it is away")), record("store")])
    assert isinstance(table, Table)
    assert [row[3:6] for row in table.rows] == [
        ("consul c:8500", "current", "6"), ("consul c:8500", "failed", "6"), ("", "", ""),
    ]  # fmt: skip
    assert table.rows[1][-1] == "it is away"
    assert table.rows[2][-1] == "no target is configured"


def test_what_is_not_published_has_its_reason() -> None:
    (table,) = publications([record("", generation=0, note="it has no alias: set DetectClusterAliasQuery")])
    assert isinstance(table, Table)
    ((name, primary, generation, _target, standing, *_rest, why),) = table.rows
    assert (name, primary, generation, standing) == ("1", "db1:3306", "", "not published")
    assert "DetectClusterAliasQuery" in why


def test_an_answer_of_another_shape_is_an_empty_table() -> None:
    for value in (None, {}, [1, None]):
        (table,) = publications(value)
        assert isinstance(table, Table)
        assert table.rows == ()


def test_status_names_a_target_that_is_behind_once_for_all_clusters() -> None:
    behind = [record(alias, target("failed", "it is away")) for alias in ("shop", "store")]
    fine = record("billing", target(), target("waiting"))
    expected = "shop, store: consul c:8500 has not the newest primary: it is away"
    assert complaints([*behind, fine]) == [expected]
    node = Node("http://n1:3000", {"node_id": "n1", "holds_authority": True})
    assert expected in judge(Status((node,), {"publications": behind}))


def test_hooks_are_shown_with_their_text_and_the_environment_once() -> None:
    shown = [
        {"label": "PreFailoverProcesses 1 of 1", "text": "echo a\necho b", "environment": {"ORC_IS_DRILL": "true"}},
        {"label": "webhook chat", "text": "{}", "environment": {}},
    ]
    (lines,) = hooks_shown({"result": shown})
    assert isinstance(lines, Lines)
    assert lines.lines == (
        "PreFailoverProcesses 1 of 1:", "  echo a", "  echo b", "webhook chat:", "  {}", "", "environment:",
        "  ORC_IS_DRILL=true",
    )  # fmt: skip
    assert hooks_shown({"result": []}) == (Lines(("the list is empty",)),)
