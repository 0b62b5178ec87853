"""Replicas that may have acknowledged and are gone: released, or waited for. Real servers and nodes.

Default semi-sync: the primary waits for one of three replicas, so any of them may hold the last write alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox.binaries import Flavor
from sandbox.servers import Server
from tests.faults.stage import Stage, until

NewStage = Callable[..., Stage]
BOTH = pytest.mark.parametrize("flavor", list(Flavor), ids=lambda flavor: flavor.value)


def key(server: Server) -> str:
    return f"{server.host}:{server.port}"


def cluster(stage: Stage) -> dict[str, Any]:
    """The only cluster, in the native API's words."""
    (found,) = stage.nodes.get("/api/v2/clusters")
    return dict(found)


def promises(stage: Stage) -> bool:
    return bool(cluster(stage)["no_loss_promise"]["holds"])


def refused(stage: Stage) -> Server:
    """A replica is killed and the primary right after it, and the failover names the replica. Returns the replica."""
    stage.write()
    until("the promise is made", lambda: promises(stage))
    missing = stage.servers.replicas()[-1]
    missing.kill()
    stage.servers.primary().kill()
    recovery = stage.ended("dead_primary")
    assert recovery["end"] == "failed"
    assert f"{key(missing)} may have acknowledged" in " ".join(recovery["errors"])
    return missing


@BOTH
def test_a_replica_that_is_not_yet_released_is_waited_for_and_its_return_repairs_at_once(
    new_stage: NewStage, flavor: Flavor
) -> None:
    stage = new_stage(flavor)
    missing = refused(stage)
    assert "out of reach" in cluster(stage)["automatic_failover"]["because"]
    missing.start()
    until("a replica was promoted", lambda: any(each["promoted"] for each in stage.recoveries("dead_primary")))
    stage.wait_writes_back()
    stage.wait_following()
    stage.check_nothing_lost()


@BOTH
def test_a_person_who_accepts_the_loss_gets_a_primary_and_the_record_names_what_was_accepted(
    new_stage: NewStage, flavor: Flavor
) -> None:
    stage = new_stage(flavor)
    missing = refused(stage)
    name = stage.primary_of_nodes().replace(":", "/")
    stage.nodes.get(f"/api/force-master-failover/{name}?accept_loss=true")
    recovery = stage.ended("dead_primary", count=2)
    assert (recovery["end"], recovery["promoted"]) == ("succeeded", True)
    accepted = next(each["text"] for each in recovery["timeline"] if each["name"] == "loss accepted")
    assert f"{key(missing)} may have acknowledged" in accepted
    assert f"acknowledged writes may be lost: {key(missing)}" in " ".join(recovery["errors"])
    assert stage.writers.twofold == []


@BOTH
def test_a_dead_replica_keeps_nobody_from_failing_over_once_it_is_released(new_stage: NewStage, flavor: Flavor) -> None:
    stage = new_stage(flavor)
    stage.write()
    until("the promise is made", lambda: promises(stage))
    dead = stage.servers.replicas()[-1]
    dead.kill()
    until("the dead replica counts no more", lambda: key(dead) not in cluster(stage)["possible_ackers"])
    assert promises(stage)
    stage.servers.primary().kill()
    recovery = stage.ended("dead_primary")
    assert (recovery["end"], recovery["promised"]) == ("succeeded", True)
    stage.wait_writes_back()
    stage.wait_following()
    stage.check_nothing_lost()
