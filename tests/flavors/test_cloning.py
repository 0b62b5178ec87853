"""What a server says of a copy, as the recovery hears it: nothing but a whole copy of this rebuild counts."""

from __future__ import annotations

import pytest

from orchestrator_raft.core.recovery.steps import COPIED, COPYING
from orchestrator_raft.flavors.base import Row
from orchestrator_raft.flavors.cloning import copy_state


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
