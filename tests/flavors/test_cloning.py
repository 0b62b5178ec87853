"""What a server says of a copy, as the recovery hears it: nothing but a whole copy of this rebuild counts."""

from __future__ import annotations

import pytest

from orchestrator_raft.core.instance import Facts, Flavor, InstanceKey
from orchestrator_raft.core.recovery.steps import COPIED, COPYING, CheckClone
from orchestrator_raft.flavors.base import Row
from orchestrator_raft.flavors.cloning import copy_state, plan


def complaint(**answer: str) -> str:
    key = InstanceKey("10.0.0.1", 3306)
    ask, _ = plan(CheckClone(key=key), Facts(key=key, flavor=Flavor.MYSQL, version="8.4.3"), None)
    assert ask.check is not None
    return ask.check([{"status": "ACTIVE", "granted": "1", "shows_copies": "1"} | answer])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"status": "DISABLED"}, "plugin is not active"),
        ({"granted": "0"}, "lacks the privilege CLONE_ADMIN"),
        ({"shows_copies": "0"}, "performance_schema is off"),
    ],
)
def test_nothing_is_begun_of_which_the_end_could_not_be_told(answer: dict[str, str], said: str) -> None:
    assert said in complaint(**answer)
    assert complaint() == ""


def row(state: str, age_s: str | None = "30.125") -> Row:
    return {"state": state, "age_s": age_s, "error": "3862", "message": "Clone Donor Error"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("Completed")], COPIED),
        ([row("In Progress")], COPYING),
        ([row("Failed")], "Failed: error 3862: Clone Donor Error"),
        ([row("Completed", "61.0")], "no copy began"),
        ([row("Not Started", None)], "no copy began"),
        ([], "no copy began"),
    ],
    ids=["whole", "runs", "failed", "an earlier one", "never", "no row"],
)
def test_only_a_whole_copy_that_began_in_time_counts(rows: list[Row], said: str) -> None:
    assert copy_state(rows, 60.0) == said
