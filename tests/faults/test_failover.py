"""Primaries that die, and what becomes of them, of their replicas and of every acknowledged write. Real processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.binaries import Flavor
from sandbox.install import client_program, find_or_install
from sandbox.topology import replicates
from tests.faults.stage import Stage, source_port, until

NewStage = Callable[..., Stage]
BOTH = pytest.mark.parametrize("flavor", list(Flavor), ids=lambda flavor: flavor.value)
IO_THREAD = "STOP REPLICA IO_THREAD"


@BOTH
def test_a_killed_primary_is_replaced_and_comes_back_as_a_replica(new_stage: NewStage, flavor: Flavor) -> None:
    stage = new_stage(flavor)
    stage.write()
    until("the promise is made", lambda: stage.nodes.get("/api/v2/clusters")[0]["no_loss_promise"]["holds"])
    old = stage.servers.primary()
    old.kill()
    recovery = stage.ended("dead_primary")
    assert recovery["end"] == "succeeded"
    assert recovery["successor"] == stage.primary_of_nodes() != f"{old.host}:{old.port}"
    assert recovery["errors"] == []
    stage.wait_writes_back()
    stage.wait_following()
    names = [mark["name"] for mark in recovery["timeline"] if mark["name"] != "phase"]
    assert names == ["noticed", "confirmed", "claimed", "chosen", "promoted", "repointed", "succeeded"]
    old.start()
    stage.returned(old)
    stage.check_nothing_lost()


@BOTH
def test_the_leading_node_dies_together_with_the_primary(new_stage: NewStage, flavor: Flavor) -> None:
    stage = new_stage(flavor)
    stage.write()
    leader = stage.nodes.wait_leader()
    stage.servers.primary().kill()
    leader.kill()
    recovery = stage.ended("dead_primary")
    assert recovery["end"] == "succeeded"
    assert recovery["holder"] != leader.settings["RaftBind"]
    stage.wait_writes_back()
    stage.wait_following()
    stage.check_nothing_lost()
    leader.start()
    leader.wait_answering()
    known = until("the node that was killed knows of the recovery", lambda: leader.get("/api/v2/recoveries"))
    assert known[0]["id"] == recovery["id"]


@pytest.mark.parametrize(
    ("hook", "phase"), [("PreFailoverProcesses", "begin"), ("PostMasterFailoverProcesses", "repoint")]
)
def test_a_new_leader_goes_on_with_the_recovery_of_a_dead_one(new_stage: NewStage, hook: str, phase: str) -> None:
    """The hook holds the recovery in its phase while the leader is killed; the hook of the next leader finds it so."""
    stage = new_stage(settings={hook: ["sleep 3"]})
    stage.write()
    stage.servers.primary().kill()
    held = stage.in_phase("dead_primary", phase)
    leader = stage.nodes.wait_leader()
    leader.kill()
    recovery = stage.ended("dead_primary")
    assert recovery["id"] == held["id"]
    assert recovery["end"] == "succeeded"
    assert recovery["term"] > held["term"]
    assert "resumed" in [mark["name"] for mark in recovery["timeline"]]
    if held["successor"] is not None:
        assert recovery["successor"] == held["successor"]
    stage.wait_writes_back()
    stage.wait_following()
    stage.check_nothing_lost()


def test_without_enough_ackers_nobody_is_promoted_until_the_missing_one_is_back(new_stage: NewStage) -> None:
    """With one acknowledgement waited for, any of three replicas may hold the last write, so all three must answer."""
    stage = new_stage()
    stage.write()
    old = stage.servers.primary()
    missing = stage.servers.replicas()[-1]
    missing.kill()
    old.kill()
    refused = stage.ended("dead_primary")
    assert refused["end"] == "failed"
    assert f"{missing.host}:{missing.port} may have acknowledged" in " ".join(refused["errors"])
    until("no replica was left stopped", lambda: all("No" not in _threads(each) for each in stage.servers.replicas()))
    assert all(each.value("@@global.read_only") == 1 for each in stage.servers.running())
    missing.start()
    until("a replica was promoted", lambda: any(each["promoted"] for each in stage.recoveries("dead_primary")))
    stage.wait_writes_back()
    stage.wait_following()
    stage.check_nothing_lost()


def _threads(server: object) -> list[str]:
    from sandbox.topology import replica_status

    status = replica_status(server) or {}  # type: ignore[arg-type]
    return [str(status.get("Replica_IO_Running")), str(status.get("Replica_SQL_Running"))]


@BOTH
def test_an_old_primary_with_transactions_of_its_own_is_kept_out(new_stage: NewStage, flavor: Flavor) -> None:
    """Asynchronous replication: what the old primary wrote last was received by nobody."""
    stage = new_stage(flavor, semi_sync=False, settings=binlog_programs())
    stage.write()
    old = stage.servers.primary()
    for replica in stage.servers.replicas():
        replica.execute(IO_THREAD)
    old.execute("INSERT INTO app.ledger (id, server) VALUES (900000001, @@port)")
    old.kill()
    recovery = stage.ended("dead_primary")
    assert recovery["end"] == "succeeded"
    old.start()
    old.execute("SET GLOBAL read_only = OFF")
    returned = stage.ended("rejoin")
    assert returned["end"] == "quarantined"
    assert returned["lost_gtids"]
    assert old.value("@@global.read_only") == 1
    assert source_port(old) == 0
    shown = stage.nodes.get(f"/api/instance/{old.host}/{old.port}")
    assert shown["IsDowntimed"] is True
    stage.wait_following(but=(old,))
    saved = until("its transactions are saved", lambda: stage.recoveries("rejoin")[0]["saved"])
    assert saved["problem"] == ""
    assert "@1=900000001" in Path(saved["path"]).read_text()


def binlog_programs() -> dict[str, str]:
    """Those that came with the servers; MariaDB's mysqlbinlog on PATH cannot read MySQL's GTIDs."""
    programs = {
        Flavor.MYSQL: ("MySQLBinlogProgram", "mysqlbinlog"),
        Flavor.MARIADB: ("MariaDBBinlogProgram", "mariadb-binlog"),
    }
    return {key: str(client_program(find_or_install(flavor), name)) for flavor, (key, name) in programs.items()}


@BOTH
def test_a_replica_that_slept_through_the_failover_is_attached_when_it_is_back(
    new_stage: NewStage, flavor: Flavor
) -> None:
    stage = new_stage(flavor, settings={"DataLossPolicy": "any"})
    stage.write()
    asleep = stage.servers.replicas()[-1]
    asleep.kill()
    stage.servers.primary().kill()
    recovery = stage.ended("dead_primary")
    assert recovery["end"] == "succeeded"
    assert f"{asleep.host}:{asleep.port}" in recovery["lost"]
    asleep.start()
    assert stage.ended("rejoin")["end"] == "succeeded"
    stage.wait_following()
    assert replicates(asleep)


def test_a_primary_that_is_back_and_writable_at_once_never_makes_a_second_writer(new_stage: NewStage) -> None:
    """After the failover somebody opens the old primary as soon as it is up: it is shut again."""
    stage = new_stage()
    stage.write()
    old = stage.servers.primary()
    old.kill()
    assert stage.ended("dead_primary")["end"] == "succeeded"
    old.start()
    old.execute("SET GLOBAL super_read_only = OFF")
    old.execute("SET GLOBAL read_only = OFF")
    stage.returned(old)
    stage.wait_writes_back()
    stage.writers.twofold.clear()  # this test itself made two of them, for the moment until the nodes saw it
    stage.check_nothing_lost()


def test_a_replica_that_dies_starts_no_recovery(new_stage: NewStage) -> None:
    stage = new_stage()
    stage.write()
    replica = stage.servers.replicas()[0]
    replica.kill()
    key = f"{replica.host}:{replica.port}"
    until("it is shown as out of reach", lambda: key in _invalid(stage))
    assert stage.recoveries() == []
    replica.start()
    until("it is shown as reached", lambda: key not in _invalid(stage))
    stage.wait_following()
    assert stage.recoveries() == []
    stage.check_nothing_lost()


def _invalid(stage: Stage) -> list[str]:
    servers = stage.nodes.get("/api/all-instances")
    return [f"{each['Key']['Hostname']}:{each['Key']['Port']}" for each in servers if not each["IsLastCheckValid"]]
