"""Paused: nobody writes to any database, whatever breaks; resumed: everything that waited is done. Real processes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.binaries import Flavor
from tests.faults.stage import Stage, until

NewStage = Callable[..., Stage]
BOTH = pytest.mark.parametrize("flavor", list(Flavor), ids=lambda flavor: flavor.value)


def pause(stage: Stage, reason: str) -> None:
    stage.nodes.wait_leader().post("/api/v2/pauses", {"reason": reason})


@BOTH
def test_a_primary_that_dies_during_a_pause_is_replaced_after_it(new_stage: NewStage, flavor: Flavor) -> None:
    stage = new_stage(flavor)
    stage.write()
    old = stage.servers.primary()
    pause(stage, "moving racks")
    old.kill()
    blocked = until("it is said why nothing is done", lambda: stage.nodes.get("/api/v2/blocked-recoveries"))
    assert "(moving racks): raftctl resume" in blocked[0]["reason"]
    assert stage.recoveries() == []
    assert stage.nodes.get("/api/force-master-failover/demo")["Code"] == "ERROR"
    stage.nodes.wait_leader().delete("/api/v2/pauses")
    assert stage.ended("dead_primary")["end"] == "succeeded"
    stage.wait_writes_back()
    stage.wait_following()
    stage.check_nothing_lost()
    assert stage.nodes.get("/api/v2/blocked-recoveries") == []
