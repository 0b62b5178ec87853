"""A quarantined server gets a copy of a replica by the CLONE plugin, and follows the primary again. Real MySQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.servers import Server
from tests.faults.stage import Stage, until
from tests.faults.test_failover import IO_THREAD, binlog_programs

NewStage = Callable[..., Stage]
GRANTS = "GRANT BACKUP_ADMIN, CLONE_ADMIN ON *.* TO 'orc'@'%'"


def quarantined(stage: Stage) -> Server:
    """The old primary, kept out with a transaction of its own."""
    stage.write()
    old = stage.servers.primary()
    for replica in stage.servers.replicas():
        replica.execute(IO_THREAD)
    old.execute("INSERT INTO app.ledger (id, server) VALUES (900000001, @@port)")
    old.kill()
    stage.ended("dead_primary")
    old.start()
    assert stage.ended("rejoin")["end"] == "quarantined"
    return old


def follow_up(stage: Stage, old: Server) -> None:
    """Nothing supervises the servers here, so the copy ends its server, and somebody has to start it."""
    until("the copy has ended the server", lambda: not old.is_running(), 120.0)
    old.start()
    rebuilt = stage.ended("rebuild")
    assert rebuilt["end"] == "succeeded", rebuilt["errors"]
    until("it is no stale primary any more", lambda: not _marked(stage, old))  # until then a fence ends sessions there
    stage.wait_following()
    assert old.value("(SELECT COUNT(*) FROM app.ledger WHERE id = 900000001)") == 0
    assert old.value("@@global.read_only") == 1


def _marked(stage: Stage, server: Server) -> bool:
    shown = stage.nodes.get(f"/api/v2/servers/{server.host}:{server.port}")
    return shown["stale"] is not None


@pytest.mark.parametrize("by_itself", [False, True], ids=["asked for", "by itself"])
def test_a_quarantined_server_is_rebuilt(new_stage: NewStage, by_itself: bool) -> None:
    settings = binlog_programs() | {"RebuildQuarantinedReplicas": by_itself}
    stage = new_stage(semi_sync=False, count=3, lean=False, settings=settings)  # with performance_schema
    stage.servers.primary().execute(GRANTS)
    old = quarantined(stage)
    with ThreadPoolExecutor() as pool:
        until("its transactions are saved", lambda: stage.recoveries("rejoin")[0]["saved"])
        path = f"/api/v2/servers/{old.host}:{old.port}/rebuild"
        asked = None if by_itself else pool.submit(stage.nodes.wait_leader().post, path)
        follow_up(stage, old)
        assert asked is None or "has a copy of the data of" in asked.result()["message"]


def test_it_is_refused_with_a_reason_and_nothing_is_touched(new_stage: NewStage) -> None:
    stage = new_stage(semi_sync=False, count=3, settings={"SaveLostTransactions": False})
    old = quarantined(stage)
    path = f"/api/v2/servers/{old.host}:{old.port}/rebuild"
    leader = stage.nodes.wait_leader()
    assert "and that are not saved: raftctl save-lost-transactions" in leader.post(path)["detail"]
    assert "lacks the privilege CLONE_ADMIN" in leader.post(path, {"accept_loss": True})["detail"]
    primary = stage.server(stage.primary_of_nodes())
    refused = leader.post(f"/api/v2/servers/{primary.host}:{primary.port}/rebuild", {"accept_loss": True})
    assert "is the primary of its cluster" in refused["detail"]
    assert old.value("(SELECT COUNT(*) FROM app.ledger WHERE id = 900000001)") == 1
    assert [each["end"] for each in stage.recoveries("rebuild")] == ["undone"]
