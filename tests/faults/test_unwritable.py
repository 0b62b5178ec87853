"""A primary that answers and cannot write, on real servers: replaced where people want that, with nothing lost."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.binaries import Flavor
from tests.faults.stage import Stage

NewStage = Callable[..., Stage]
FAILS_WHERE_ASKED = "SET @x = IF(@@global.max_connect_errors = 7, (SELECT 1 UNION SELECT 2), 0)"
"""A statement that fails on the server that a test has marked, and nowhere else."""
SETTINGS = {"WriteProbeQuery": FAILS_WHERE_ASKED, "WriteProbeIntervalSeconds": 1}


def test_a_primary_that_cannot_write_is_fenced_and_replaced(new_stage: NewStage) -> None:
    stage = new_stage(Flavor.MARIADB, count=3, settings={**SETTINGS, "UnwriteableMasterPolicy": "failover"})
    old = stage.servers.primary()
    old.execute("SET GLOBAL max_connect_errors = 7")
    found = stage.ended("dead_primary")
    assert found["end"] == "succeeded"
    assert found["subject"]["code"] == "MasterCannotWrite"
    assert stage.returned(old)["end"] == "succeeded"
    stage.write()
    stage.check_nothing_lost()
    assert len(stage.recoveries("dead_primary")) == 1
