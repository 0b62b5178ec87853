"""A dead primary of servers without GTIDs, real ones: the replica furthest on takes over, its equals follow it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.binaries import Flavor
from sandbox.topology import replica_status, replicates
from tests.adapters.positions import to_positions
from tests.faults.stage import Stage, source_port, until

NewStage = Callable[..., Stage]
BOTH = pytest.mark.parametrize("flavor", list(Flavor), ids=lambda flavor: flavor.value)
ROWS = "(SELECT COUNT(*) FROM app.ledger)"


@BOTH
def test_replicas_that_stand_at_one_place_follow_the_one_that_is_promoted(new_stage: NewStage, flavor: Flavor) -> None:
    stage = new_stage(flavor, count=3)
    to_positions(stage.servers)
    old = stage.servers.primary()
    old.execute("INSERT INTO app.ledger (id, server) VALUES (1000001, 1), (1000002, 1)")
    others = stage.servers.replicas()
    until("they have everything", lambda: all(each.value(ROWS) == old.value(ROWS) for each in others))
    old.kill()
    found = stage.ended("dead_primary")
    assert found["end"] == "succeeded", found
    assert found["lost"] == [], found
    assert found["coordinates"] is not None
    primary = stage.servers.primary()
    (follower,) = [each for each in others if each is not primary]
    assert source_port(follower) == primary.port
    until("it replicates", lambda: replicates(follower))
    status = replica_status(follower) or {}
    assert status["Using_Gtid" if flavor is Flavor.MARIADB else "Auto_Position"] in ("No", 0)
    stage.write()
    stage.check_nothing_lost()


def test_who_has_received_most_is_promoted_under_load(new_stage: NewStage) -> None:
    """Who stood elsewhere is named and left alone; nothing that was acknowledged is missing."""
    stage = new_stage(count=3)
    to_positions(stage.servers)
    stage.write()
    others = stage.servers.replicas()
    stage.servers.primary().kill()
    found = stage.ended("dead_primary")
    assert found["end"] == "succeeded", found
    stage.wait_writes_back()
    primary = stage.servers.primary()
    (other,) = [each for each in others if each is not primary]
    is_lost = f"{other.host}:{other.port}" in str(found["lost"])
    assert (source_port(other) == primary.port) is not is_lost, found
    stage.check_nothing_lost()
