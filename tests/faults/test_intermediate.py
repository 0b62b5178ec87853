"""Intermediate primaries that die: their replicas go on below somebody else, with all they have. Real processes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.binaries import Flavor
from sandbox.servers import Server
from sandbox.topology import replicates
from tests.faults.stage import Stage, source_port, until

NewStage = Callable[..., Stage]
BOTH = pytest.mark.parametrize("flavor", list(Flavor), ids=lambda flavor: flavor.value)
KIND = "dead_intermediate"


class Tree:
    """A primary with two replicas, the first of which has two replicas of its own; an application writes."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.primary = stage.servers.primary()
        self.middle, self.sibling, *self.leaves = stage.servers.replicas()
        for leaf in self.leaves:
            stage.servers.point(leaf, self.middle)
        port = self.middle.port
        until("the nodes see the tree", lambda: all(source_of(stage, leaf) == port for leaf in self.leaves))
        stage.write()

    def wait_below(self, server: Server, *leaves: Server) -> None:
        def below() -> bool:
            return all(replicates(leaf) and source_port(leaf) == server.port for leaf in leaves or self.leaves)

        until(f"the replicas follow {server}", below)

    def check_complete(self) -> None:
        """Every leaf has every acknowledged write, and the primary too."""
        self.stage.servers.wait_caught_up()
        self.stage.check_nothing_lost()
        rows = "(SELECT COUNT(*) FROM app.ledger)"
        count = self.primary.value(rows)
        until("every replica has every row", lambda: all(leaf.value(rows) >= count for leaf in self.leaves))


def source_of(stage: Stage, server: Server) -> int:
    """Port of the server's source, as the nodes see it."""
    return int(stage.nodes.get(f"/api/instance/{server.host}/{server.port}")["MasterKey"]["Port"])


@BOTH
def test_replicas_of_a_killed_intermediate_primary_go_below_its_sibling(new_stage: NewStage, flavor: Flavor) -> None:
    tree = Tree(new_stage(flavor, count=5))
    stage = tree.stage
    tree.middle.kill()
    recovery = stage.ended(KIND)
    assert recovery["end"] == "succeeded", recovery
    assert recovery["errors"] == []
    assert recovery["successor"] == f"{tree.sibling.host}:{tree.sibling.port}"
    tree.wait_below(tree.sibling)
    tree.middle.start()
    until("it replicates again", lambda: replicates(tree.middle))
    assert source_port(tree.middle) == tree.primary.port
    assert [source_port(leaf) for leaf in tree.leaves] == [tree.sibling.port] * 2, "its former replicas stay away"
    assert stage.recoveries("dead_primary") == []
    tree.check_complete()


@BOTH
def test_a_replica_with_transactions_of_its_own_stays_and_is_named(new_stage: NewStage, flavor: Flavor) -> None:
    tree = Tree(new_stage(flavor, count=5))
    errant, other = tree.leaves
    errant.execute("SET GLOBAL read_only = OFF")
    errant.execute("CREATE DATABASE astray")
    errant.execute("SET GLOBAL read_only = ON")
    tree.middle.kill()
    recovery = tree.stage.ended(KIND)
    tree.wait_below(tree.sibling, other)
    assert source_port(errant) == tree.middle.port
    refused = {each["key"]: each["reason"] for each in recovery["refused"]}
    assert "holds transactions" in refused[f"{errant.host}:{errant.port}"], recovery
    assert recovery["lost"] == [f"{errant.host}:{errant.port}"]


@BOTH
def test_the_leading_node_dies_with_it(new_stage: NewStage, flavor: Flavor) -> None:
    tree = Tree(new_stage(flavor, count=5))
    leader = tree.stage.nodes.wait_leader()
    tree.middle.kill()
    leader.kill()
    assert tree.stage.ended(KIND)["end"] == "succeeded"
    tree.wait_below(tree.sibling)
    tree.check_complete()


def test_without_a_sibling_they_go_to_the_primary(new_stage: NewStage) -> None:
    tree = Tree(new_stage(count=5))
    tree.sibling.kill()
    tree.middle.kill()
    assert tree.stage.ended(KIND)["end"] == "succeeded"
    tree.wait_below(tree.primary)
    tree.check_complete()


def test_a_frozen_intermediate_primary_is_left_by_its_replicas(new_stage: NewStage) -> None:
    tree = Tree(new_stage(count=5, settings={"ProbeTimeoutMilliseconds": 500}))
    tree.middle.freeze()
    try:
        recovery = tree.stage.ended(KIND)
        assert recovery["end"] == "succeeded"
        tree.wait_below(tree.sibling)
    finally:
        tree.middle.thaw()
    until("it replicates", lambda: replicates(tree.middle))
    tree.check_complete()


def test_it_is_left_alone_where_nobody_asked_for_it(new_stage: NewStage) -> None:
    tree = Tree(new_stage(count=5, settings={"RecoverIntermediateMasterClusterFilters": []}))
    tree.middle.kill()

    def detected() -> bool:
        found = tree.stage.nodes.get("/api/audit-failure-detection")
        return any(each["AnalysisEntry"]["Analysis"].startswith("DeadIntermediateMaster") for each in found)

    until("it is announced", detected)
    assert tree.stage.recoveries(KIND) == []
    assert [source_port(leaf) for leaf in tree.leaves] == [tree.middle.port] * 2
