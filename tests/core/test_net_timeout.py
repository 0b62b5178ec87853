"""Which replicas are told to notice sooner that their source is silent: late ones that can be done without."""

from __future__ import annotations

import pytest

from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.upkeep import due
from tests.core.scenario import World

FLEET = """
policy net_timeout_s=10
P 10.0.0.1:3306 {p}
  + R1 10.0.0.2:3306 {r1}
  + R2 10.0.0.3:3306
"""


def found(p: str = "", r1: str = "net-timeout=60", policy: Policy | None = None) -> list[tuple[str, str]]:
    world = World(FLEET.format(p=p, r1=r1).splitlines())
    manager = world.manager
    (cluster,) = manager.topology.clusters.values()
    return [(world.name(key), chore.kind) for key, chore, _ in due(manager.topology, cluster, policy or manager.policy)]


@pytest.mark.parametrize("late", ["net-timeout=60", "heartbeat=30", "net-timeout=60 heartbeat=30", "net-timeout=11"])
def test_a_replica_that_notices_late_is_told(late: str) -> None:
    assert found(r1=late) == [("R1", "net_timeout")]


@pytest.mark.parametrize(
    "other",
    ["net-timeout=10 heartbeat=5", "net-timeout=60 delay=60", "net-timeout=60 io=stopped", "net-timeout=60 cut"],
)
def test_one_that_is_quick_or_delayed_or_stopped_is_left_alone(other: str) -> None:
    assert found(r1=other) == []


def test_one_without_which_its_primary_would_wait_is_left_alone() -> None:
    assert found(p="semi-sync=1") == [("R1", "net_timeout")]
    assert found(p="semi-sync=2") == []


def test_nobody_is_told_unless_people_want_that() -> None:
    world = World(FLEET.format(p="", r1="net-timeout=60").splitlines())
    policy = Policy(recover_primary=world.manager.policy.recover_primary)
    assert found(policy=policy) == []
