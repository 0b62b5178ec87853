"""Facts about the analysis that no scenario can draw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator_raft.core.analysis import RULES, STRUCTURE_WARNINGS, analyze
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


PEERS_CODES = [
    "DeadMasterWithoutReplicas",
    "DeadMaster",
    "DeadMasterAndReplicas",
    "DeadMasterAndSomeReplicas",
    "UnreachableMasterWithLaggingReplicas",
    "UnreachableMaster",
    "LockedSemiSyncMaster",
    "LockedSemiSyncMasterHypothesis",
    "MasterWithTooManySemiSyncReplicas",
    "NoWriteableMasterStructureWarning",
    "MasterSingleReplicaNotReplicating",
    "MasterSingleReplicaDead",
    "AllMasterReplicasNotReplicating",
    "AllMasterReplicasNotReplicatingOrDead",
    "DeadCoMaster",
    "DeadCoMasterAndSomeReplicas",
    "UnreachableCoMaster",
    "AllCoMasterReplicasNotReplicating",
    "DeadIntermediateMasterWithSingleReplicaFailingToConnect",
    "DeadIntermediateMasterWithSingleReplica",
    "DeadIntermediateMaster",
    "DeadIntermediateMasterAndSomeReplicas",
    "DeadIntermediateMasterAndReplicas",
    "UnreachableIntermediateMasterWithLaggingReplicas",
    "UnreachableIntermediateMaster",
    "AllIntermediateMasterReplicasFailingToConnectOrDead",
    "AllIntermediateMasterReplicasNotReplicating",
    "BinlogServerFailingToConnectToMaster",
    "FirstTierReplicaFailingToConnectToMaster",
    "DeadReplicationGroupMemberWithReplicas",
]
"""In the order in which they are looked for; the first that holds is told."""
PEERS_WARNINGS = [
    "NoLoggingReplicasStructureWarning",
    "NoFailoverSupportStructureWarning",
    "StatementAndMixedLoggingReplicasStructureWarning",
    "StatementAndRowLoggingReplicasStructureWarning",
    "MixedAndRowLoggingReplicasStructureWarning",
    "MultipleMajorVersionsLoggingReplicasStructureWarning",
    "DifferentGTIDModesStructureWarning",
    "ErrantGTIDStructureWarning",
    "NoWriteableMasterStructureWarning",
    "NotEnoughValidSemiSyncReplicasStructureWarning",
]


def test_the_codes_of_the_peers_are_all_there_in_their_order() -> None:
    assert [rule.code for rule in RULES if rule.code in PEERS_CODES] == PEERS_CODES
    assert [each.code for each in STRUCTURE_WARNINGS if each.code in PEERS_WARNINGS] == PEERS_WARNINGS


def test_every_code_is_one_row() -> None:
    for rows in (RULES, STRUCTURE_WARNINGS):
        codes = [row.code for row in rows]
        assert len(codes) == len(set(codes))


def test_people_can_read_what_our_own_codes_mean() -> None:
    page = (Path(__file__).parents[2] / "docs" / "differences.md").read_text()
    ours = {row.code for row in (*RULES, *STRUCTURE_WARNINGS)} - set(PEERS_CODES) - set(PEERS_WARNINGS)
    assert sorted(code for code in ours if f"`{code}`" not in page) == []
