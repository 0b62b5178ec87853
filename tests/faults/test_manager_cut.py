"""Partitions that only the manager suffers, on real processes: nobody is failed over, and who sees most leads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox import ledger
from sandbox.topology import replicates
from tests.faults.cut import CutStage, open_cut_stage
from tests.faults.stage import until

CHANGES = ("dead_primary", "takeover", "dead_intermediate", "rejoin", "fence_writer", "open_primary")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[CutStage]:
    with ExitStack() as stack:
        yield open_cut_stage(stack, tmp_path)


def check_nothing_happened(stage: CutStage, primary: object) -> None:
    """The primary is the one it was, takes writes, and has every write that was acknowledged."""
    assert [each for each in stage.recoveries() if each["kind"] in CHANGES] == []
    found = stage.servers.primary()
    assert found is primary
    assert stage.primary_of_nodes() == stage.key(found)
    until("all replicate", lambda: all(replicates(each) for each in stage.servers.replicas()))
    compared = ledger.compare(ledger.read(stage.log), found)
    assert compared.missing == ()
    assert stage.writers.twofold == []
    stage.check_network()


def test_a_leader_that_is_cut_off_from_the_servers_hands_over(stage: CutStage) -> None:
    stage.write()
    primary = stage.servers.primary()
    leader = stage.nodes.wait_leader()
    for server in stage.servers.servers:
        stage.cut(leader, server)
    until("another node leads", lambda: any(node.leads() for node in stage.nodes.nodes if node is not leader))
    said = until("it is in the audit trail", lambda: [e for e in stage.audit() if e["type"] == "give-leadership-away"])
    assert f"reaches {stage.key(primary)}, and the leader" in said[0]["message"]
    until(
        "the new leader sees all",
        lambda: all(each["IsLastCheckValid"] for each in stage.nodes.wait_leader().get("/api/all-instances")),
    )
    check_nothing_happened(stage, primary)
    stage.heal()
    until("the node answers again", lambda: leader.get("/api/lb-check") == "OK")
    check_nothing_happened(stage, primary)


def test_a_primary_that_no_node_reaches_is_told_to_live_by_a_replica(stage: CutStage) -> None:
    stage.write()
    primary = stage.servers.primary()
    for node in stage.nodes.nodes:
        stage.cut(node, primary)
    asked = stage.ended("reconnect")
    assert asked["end"] == "succeeded"
    key = stage.key(primary)

    def codes() -> set[str]:
        return {each["code"] for each in stage.nodes.get("/api/v2/problems") if each["server"] == key}

    # while replicas connect anew it may look worse for a moment
    until("it is out of reach, and not dead", lambda: codes() and codes() <= {"UnreachableMaster", "HungMaster"})
    check_nothing_happened(stage, primary)
    stage.heal()
    until(
        "it is reached again",
        lambda: all(e["IsLastCheckValid"] for e in stage.nodes.wait_leader().get("/api/all-instances")),
    )
    check_nothing_happened(stage, primary)
