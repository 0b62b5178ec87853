"""Planned changes of primary: right under semi-sync with any wait count, and undone cleanly when they fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.binaries import Flavor
from tests.faults.stage import Stage, source_port, until

NewStage = Callable[..., Stage]
CASES = [(Flavor.MYSQL, 1), (Flavor.MYSQL, 2), (Flavor.MYSQL, 3), (Flavor.MARIADB, 1)]


@pytest.mark.parametrize(("flavor", "wait_count"), CASES, ids=lambda value: getattr(value, "value", str(value)))
def test_a_takeover_loses_nothing_with_any_wait_count(new_stage: NewStage, flavor: Flavor, wait_count: int) -> None:
    stage = new_stage(flavor, wait_for_replica_count=wait_count)
    stage.write()
    old = stage.servers.primary()
    target = stage.servers.replicas()[-1]
    if flavor is Flavor.MYSQL:
        old.execute("SET GLOBAL event_scheduler = ON")
    follower = stage.other_node(stage.nodes.wait_leader())
    path = f"/api/graceful-master-takeover-auto/demo/{target.host}/{target.port}"
    reply = follower.get(path, 120.0)
    assert reply["Code"] == "OK", reply["Message"]
    assert reply["Details"]["SuccessorKey"] == {"Hostname": target.host, "Port": target.port}
    stage.wait_writes_back()
    stage.wait_following()
    assert source_port(old) == target.port
    stage.check_nothing_lost()
    assert stage.recoveries()[0]["errors"] == []
    schedulers = [each.value("@@global.event_scheduler") for each in (old, target)]
    assert schedulers == (["OFF", "ON"] if flavor is Flavor.MYSQL else ["OFF", "OFF"])


def test_without_auto_the_old_primary_is_left_stopped(new_stage: NewStage) -> None:
    stage = new_stage()
    old = stage.servers.primary()
    target = stage.servers.replicas()[0]
    assert stage.nodes.get("/api/graceful-master-takeover/demo", 60.0)["Code"] == "ERROR"
    reply = stage.nodes.get(f"/api/graceful-master-takeover/demo/{target.host}/{target.port}", 60.0)
    assert reply["Code"] == "OK", reply["Message"]
    assert source_port(old) == target.port
    status = old.execute("SHOW REPLICA STATUS")[0]
    assert status["Replica_IO_Running"] == "No"
    assert old.value("@@global.read_only") == 1


def test_a_target_that_cannot_apply_undoes_the_takeover(new_stage: NewStage) -> None:
    """The target's applier is blocked by a lock, so it never has the last transactions: writes are given back."""
    stage = new_stage(settings={"DemotionBlockLimitMilliseconds": 600})
    stage.write()
    old = stage.servers.primary()
    target = stage.servers.replicas()[0]
    session = target.connect()
    with session.cursor() as cursor:
        cursor.execute("FLUSH TABLES WITH READ LOCK")
        reply = stage.nodes.get(f"/api/graceful-master-takeover-auto/demo/{target.host}/{target.port}", 60.0)
        assert reply["Code"] == "ERROR"
        cursor.execute("UNLOCK TABLES")
    session.close()
    assert stage.primary_of_nodes() == f"{old.host}:{old.port}"
    recovery = stage.recoveries("takeover")[0]
    assert recovery["end"] == "undone"
    stage.wait_writes_back()
    stage.wait_following()
    stage.check_nothing_lost()


def test_a_primary_that_cannot_be_made_read_only_keeps_its_role(new_stage: NewStage) -> None:
    """Somebody holds a table lock, so read_only waits: the takeover gives up and nothing has changed."""
    stage = new_stage(settings={"DemotionBlockLimitMilliseconds": 1000})
    old = stage.servers.primary()
    session = old.connect()
    with session.cursor() as cursor:
        cursor.execute("LOCK TABLES app.ledger WRITE")
        reply = stage.nodes.get("/api/graceful-master-takeover-auto/demo", 60.0)
        assert reply["Code"] == "ERROR"
        cursor.execute("UNLOCK TABLES")
    session.close()
    until("it takes writes", lambda: old.value("@@global.read_only") == 0)
    stage.write()
    stage.wait_following()
    stage.check_nothing_lost()


def test_a_takeover_to_nobody_we_know_changes_nothing(new_stage: NewStage) -> None:
    stage = new_stage(count=2)
    old = stage.servers.primary()
    reply = stage.nodes.get("/api/graceful-master-takeover-auto/demo/127.0.0.1/1", 60.0)
    assert reply["Code"] == "ERROR"
    assert stage.nodes.get("/api/graceful-master-takeover-auto/nonesuch", 60.0)["Code"] == "ERROR"
    assert stage.recoveries() == []
    assert old.value("@@global.read_only") == 0


@pytest.mark.parametrize("flavor", list(Flavor), ids=lambda flavor: flavor.value)
def test_a_forced_failover_fences_a_living_primary(new_stage: NewStage, flavor: Flavor) -> None:
    stage = new_stage(flavor)
    stage.write()
    old = stage.servers.primary()
    reply = stage.nodes.get("/api/force-master-failover/demo", 60.0)
    assert reply["Code"] == "OK", reply["Message"]
    stage.wait_writes_back()
    assert old.value("@@global.read_only") == 1
    stage.wait_following()
    stage.check_nothing_lost()
