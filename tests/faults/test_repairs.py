"""Small repairs on real servers: what drifted is as it should be a few seconds later, and nobody's role has changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.binaries import Flavor
from sandbox.topology import replica_status, replicates
from tests.faults.stage import Stage, until
from tests.faults.test_intermediate import Tree

NewStage = Callable[..., Stage]
BOTH = pytest.mark.parametrize("flavor", list(Flavor), ids=lambda flavor: flavor.value)


@BOTH
def test_a_writable_replica_is_closed(new_stage: NewStage, flavor: Flavor) -> None:
    stage = new_stage(flavor, count=2)
    (replica,) = stage.servers.replicas()
    replica.execute("SET GLOBAL read_only = OFF")
    until("it is read-only again", lambda: replica.value("@@global.read_only") == 1)
    found = stage.ended("upkeep")
    assert found["end"] == "succeeded"
    assert "takes writes" in found["subject"]["evidence"][0]
    stage.write()
    stage.check_nothing_lost()


def test_a_replica_that_is_only_read_only_gets_super_read_only(new_stage: NewStage) -> None:
    stage = new_stage(count=2)
    (replica,) = stage.servers.replicas()
    replica.execute("SET GLOBAL super_read_only = OFF")
    until("it is super_read_only again", lambda: replica.value("@@global.super_read_only") == 1)


def test_it_is_left_alone_where_nobody_wants_it(new_stage: NewStage) -> None:
    stage = new_stage(count=2, settings={"UseSuperReadOnly": False, "CloseWritableReplicas": False})
    (replica,) = stage.servers.replicas()
    replica.execute("SET GLOBAL read_only = OFF")
    found = until("people are told", lambda: [each["Analysis"] for each in analysis(stage)])
    assert found == ["WriteableReplica"]
    assert stage.recoveries("upkeep") == []
    assert replica.value("@@global.read_only") == 0


def test_semi_sync_that_a_restart_took_away_is_put_back(new_stage: NewStage) -> None:
    """No replica may be promoted, so a primary that was killed is still the primary when it is back."""
    stage = new_stage(count=3, settings={"PromotionIgnoreHostnameFilters": ["."]})
    primary = stage.servers.primary()
    primary.options |= {"rpl-semi-sync-source-enabled": "OFF", "rpl-semi-sync-source-timeout": 10_000}
    primary.options["super-read-only"] = "OFF"
    primary.kill()
    primary.start()
    waits = "CONCAT(@@global.rpl_semi_sync_source_enabled, ' ', @@global.rpl_semi_sync_source_timeout)"
    until("it waits for acknowledgements as before", lambda: primary.value(waits) == "1 86400000")
    assert stage.ended("restore_semi_sync")["end"] == "succeeded"
    stage.write()
    stage.check_nothing_lost()


def test_replicas_notice_sooner_one_after_the_other_while_people_write(new_stage: NewStage) -> None:
    stage = new_stage(count=3, settings={"SetReplicaNetTimeoutSeconds": 3})
    stage.write()
    replicas = stage.servers.replicas()
    until("they notice sooner", lambda: all(each.value("@@global.replica_net_timeout") == 3 for each in replicas))
    assert stage.ended("net_timeout", count=2)["end"] == "succeeded"
    until("they replicate", lambda: all(replicates(each) for each in replicas))
    stage.check_nothing_lost()


def analysis(stage: Stage) -> list[dict[str, str]]:
    found: list[dict[str, str]] = stage.nodes.get("/api/replication-analysis")["Details"]
    return [each for each in found if each["Analysis"] != "NoProblem"]


@BOTH
def test_a_read_only_primary_takes_writes_again_where_that_is_wanted(new_stage: NewStage, flavor: Flavor) -> None:
    stage = new_stage(flavor, count=3, settings={"RecoverNonWriteableMaster": True})
    stage.write()
    primary = stage.servers.primary()
    primary.execute("SET GLOBAL read_only = ON")
    assert stage.ended("open_primary")["end"] == "succeeded"
    assert primary.value("@@global.read_only") == 0
    stage.wait_writes_back()
    assert stage.recoveries("dead_primary") == []
    stage.check_nothing_lost()


def test_a_receiver_that_gave_up_is_started_when_its_source_is_back(new_stage: NewStage) -> None:
    tree = Tree(new_stage(count=5, settings={"RecoverIntermediateMasterClusterFilters": []}))
    leaf = tree.leaves[0]
    for statement in (
        "STOP REPLICA",
        "CHANGE REPLICATION SOURCE TO SOURCE_RETRY_COUNT = 1, SOURCE_CONNECT_RETRY = 1",
        "START REPLICA",
    ):
        leaf.execute(statement)
    until("it replicates", lambda: replicates(leaf))
    tree.middle.kill()
    until("its receiver gives up", lambda: (replica_status(leaf) or {})["Replica_IO_Running"] == "No")
    tree.middle.start()
    tree.wait_below(tree.middle, leaf)
    tree.check_complete()
