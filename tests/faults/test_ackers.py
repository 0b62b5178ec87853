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
