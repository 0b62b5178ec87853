"""Co-primaries that die, and primaries that wait for acknowledgements nobody gives. Real processes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.binaries import Flavor
from tests.faults.stage import Stage, source_port, until
from tests.faults.test_intermediate import source_of

NewStage = Callable[..., Stage]
BOTH = pytest.mark.parametrize("flavor", list(Flavor), ids=lambda flavor: flavor.value)


@BOTH
def test_the_other_co_primary_takes_over(new_stage: NewStage, flavor: Flavor) -> None:
    stage = new_stage(flavor)
    old = stage.servers.primary()
    *_, other = stage.servers.replicas()
    stage.servers.point(old, other)
    until("the nodes see the ring", lambda: source_of(stage, old) == other.port)
    stage.write()
    old.kill()
    recovery = stage.ended("dead_primary")
    assert recovery["end"] == "succeeded", recovery
    assert recovery["subject"]["code"] == "DeadCoMaster"
    assert recovery["successor"] == f"{other.host}:{other.port}"
    stage.wait_writes_back()
    old.start()
    stage.returned(old)
    stage.check_nothing_lost()


@BOTH
def test_a_locked_primary_gets_the_acker_with_the_greatest_priority(new_stage: NewStage, flavor: Flavor) -> None:
    priority = "SELECT @@global.server_id"
    settings = {"RecoverLockedSemiSyncMaster": True, "DetectSemiSyncEnforcedQuery": priority}
    stage = new_stage(flavor, settings=settings)
    word, thread = ("replica", "REPLICA") if flavor is Flavor.MYSQL else ("slave", "SLAVE")
    replicas = stage.servers.replicas()
    for replica in replicas:
        replica.execute(f"SET GLOBAL rpl_semi_sync_{word}_enabled = OFF")
        replica.execute(f"STOP {thread} IO_THREAD")
        replica.execute(f"START {thread} IO_THREAD")
    found = stage.ended("semi_sync", timeout_s=90.0)
    assert found["end"] == "succeeded", found
    best = max(replicas, key=lambda each: int(each.value("@@global.server_id")))
    assert found["moved"] == [f"{best.host}:{best.port}"]
    assert [each.value(f"@@global.rpl_semi_sync_{word}_enabled") for each in replicas if each is not best] == [0, 0]
    stage.write()
    assert source_port(best) == stage.servers.primary().port
    stage.check_nothing_lost()
