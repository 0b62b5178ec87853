"""Policies from the command line: what is asked of a node, and what is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator_raft.core.instance import PromotionRule
from orchestrator_raft.core.replicated.labels import Pool, Tag
from orchestrator_raft.core.topology import Maintenance, RegisteredRule
from tests.raftctl.conftest import Raftctl
from tests.raftctl.fleet import DB1, DB2, NOW_MS, Fleet

LATER_MS = NOW_MS + 600_000


@pytest.mark.parametrize(
    ("line", "operation", "arguments"),
    [
        ("maintenance begin db1.example --owner ann --reason disk --duration 2h", "begin-maintenance",
         {"server": "db1.example:3306", "owner": "ann", "reason": "disk", "duration": "7200"}),
        ("maintenance end db1.example", "end-maintenance", {"server": "db1.example:3306"}),
        ("promotion-rule set db2.example --rule prefer", "register-candidate",
         {"server": "db2.example:3306", "rule": "prefer"}),
        ("promotion-rule clear db2.example", "deregister-candidate", {"server": "db2.example:3306"}),
        ("tag set db1.example role=web", "tag", {"server": "db1.example:3306", "name": "role", "value": "web"}),
        ("tag set db1.example slow", "tag", {"server": "db1.example:3306", "name": "slow"}),
        ("tag remove role db1.example", "untag", {"server": "db1.example:3306", "name": "role"}),
        ("tag remove role --all", "untag-all", {"name": "role"}),
        ("pool submit --pool readers --instances db1.example:3306", "submit-pool-instances",
         {"pool": "readers", "instances": "db1.example:3306"}),
        ("pool drop --pool readers", "drop-pool", {"pool": "readers"}),
        ("alias set shop --alias store", "set-cluster-alias", {"cluster": "shop", "alias": "store"}),
        ("alias clear shop", "drop-cluster-alias", {"cluster": "shop"}),
    ],
)  # fmt: skip
def test_a_policy_is_asked_for(
    raftctl: Raftctl, fleet: Fleet, line: str, operation: str, arguments: dict[str, str]
) -> None:
    ran = raftctl(*line.split())
    assert (ran.code, ran.out) == (0, f"{operation} done\n"), ran.err
    assert fleet.asked == [(operation, arguments)]


@pytest.mark.parametrize("words", [("role",), ("role", "db1.example", "--all")])
def test_a_tag_is_removed_from_one_or_from_all(raftctl: Raftctl, fleet: Fleet, words: tuple[str, ...]) -> None:
    assert raftctl("tag", "remove", *words).code == 2
    assert fleet.asked == []


def test_lists_of_policies(raftctl: Raftctl, fleet: Fleet) -> None:
    assert raftctl("maintenance", "list").out == "no server is in maintenance\n"
    assert raftctl("pool", "list").out == "no pools are known\n"
    mark = Maintenance(number=1, key=DB1, owner="ann", reason="disk", begun_ms=NOW_MS, ends_ms=LATER_MS)
    rule = RegisteredRule(key=DB2, rule=PromotionRule.PREFER, by="bob", set_ms=NOW_MS, ends_ms=LATER_MS)
    pool = Pool(name="readers", members=(DB1, DB2), by="ann", set_ms=NOW_MS, ends_ms=LATER_MS)
    fleet.state = replace(
        fleet.state, maintenances={DB1: mark}, rules={DB2: rule}, pools={"readers": pool},
        tags={DB1: (Tag(name="role", value="web"),)},
    )  # fmt: skip
    until = "2026-11-23 03:10:00Z"
    shown = {
        "maintenance list": f"db1.example:3306  ann    disk    2026-11-23 03:00:00Z  {until}",
        "promotion-rule list": f"db2.example:3306  prefer  bob  {until}",
        "pool list": f"readers  db1.example:3306, db2.example:3306  ann  {until}",
        "tag list db1.example": "role=web",
        "tag find --tag role": "db1.example:3306",
    }
    for line, text in shown.items():
        assert raftctl(*line.split()).out.splitlines()[1:] == [text]
    assert f"maintenance until {until} by ann: disk" in raftctl("servers").out
