"""Facts about the analysis that no scenario can draw."""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.analysis import analyze
from tests.core.scenario import World

STAR = """
P 10.0.0.1:3306
  + R1 10.0.0.2:3306
  + R2 10.0.0.3:3306
""".splitlines()


def test_a_dead_source_that_is_not_the_recorded_primary_is_never_failed_over() -> None:
    """Its recovery would hand the primary role of the cluster to one of its replicas, beside the real primary."""
    world = World(STAR)
    manager = world.manager
    world.change_line("P dead")
    manager.look()
    (record,) = manager.state.clusters.values()
    manager.state = replace(manager.state, clusters={record.id: replace(record, primary=world.fleet["R2"].key)})

    (problem,) = [each.problem for each in analyze(manager.topology, manager.policy) if each.problem]

    assert "DeadMaster" == problem.code
    assert not problem.is_actionable
    assert "the recorded primary of this cluster is R2, not P" in world.said(problem.skipped)
