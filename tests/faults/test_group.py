"""A real replication group: recognised and shown, its own elections left alone, replicas of a dead member moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sandbox import group, ports
from sandbox.nodes import Nodes
from sandbox.servers import Server
from sandbox.topology import Topology, replicates
from tests.faults.stage import source_port, until

FAILURES = ("dead_primary", "takeover", "rejoin", "open_primary", "fence_writer", "upkeep")


class Group:
    """Three members, a replica of the primary and one of a secondary, and the nodes that watch them."""

    def __init__(self, servers: Topology, replicas: list[Server], nodes: Nodes) -> None:
        self.servers = servers
        self.members = servers.servers[: group.MEMBERS]
        self.replicas = replicas
        self.nodes = nodes

    def instance(self, server: Server) -> dict[str, Any]:
        found: dict[str, Any] = self.nodes.get(f"/api/instance/{server.host}/{server.port}")
        return found

    def recoveries(self, *kinds: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.nodes.get("/api/v2/recoveries?every=true")
        return [each for each in found if each["kind"] in kinds]

    def primary(self) -> str:
        return str(self.nodes.get("/api/cluster-info/demo")["ClusterName"])

    def elected(self, but: Server) -> Server:
        """The member that the others have elected since that one died."""
        other = next(each for each in self.members if each is not but and each.is_running())

        def primary() -> int | None:
            roles = group.members_of(other)
            return next((port for port, (_, role) in roles.items() if role == "PRIMARY" and port != but.port), None)

        port = until("the group elects", primary, 120.0)
        return next(each for each in self.members if each.port == port)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    folder = tmp_path_factory.mktemp("group")
    with ExitStack() as stack:
        yield open_group(stack, folder)


def open_group(stack: ExitStack, folder: Path) -> Group:
    block = stack.enter_context(ports.reserved())
    servers = group.start_group(block[0], folder / "servers")
    stack.callback(servers.stop_all, discard=True)
    one, two, _ = servers.servers
    replicas = [group.add_replica(servers, one, block[8]), group.add_replica(servers, two, block[9])]
    nodes = Nodes(folder / "nodes", http_port=block[10], raft_port=block[11])
    stack.callback(nodes.stop_all)
    nodes.start()
    nodes.discover(two.host, two.port, len(servers.servers))
    return Group(servers, replicas, nodes)


def test_a_group_is_one_cluster_and_nothing_in_it_is_a_problem(stage: Group) -> None:
    one, two, three = stage.members
    shown = [stage.instance(each) for each in stage.members]
    assert {each["ReplicationGroupName"] for each in shown} == {group.NAME}
    assert [each["ReplicationGroupMemberRole"] for each in shown] == ["PRIMARY", "SECONDARY", "SECONDARY"]
    assert {each["ReplicationGroupMemberState"] for each in shown} == {"ONLINE"}
    assert shown[1]["ReplicationGroupPrimaryInstanceKey"]["Port"] == one.port
    assert sorted(each["Port"] for each in shown[2]["ReplicationGroupMembers"]) == [one.port, two.port, three.port]
    until("the primary of the group is the cluster's", lambda: stage.primary() == f"{one.host}:{one.port}")
    assert len(stage.nodes.get("/api/v2/clusters")) == 1
    problems = [each for each in stage.nodes.get("/api/v2/problems") if each["severity"] == "critical"]
    assert problems == []
    assert stage.recoveries(*FAILURES, "dead_intermediate") == []


def test_nobody_fails_a_group_over_by_hand(stage: Group) -> None:
    one = stage.members[0]
    for what in ("failover", "takeover"):
        answer = stage.nodes.wait_leader().post(f"/api/v2/clusters/demo/{what}")
        assert "which elects its primary itself" in answer["detail"], answer
    assert one.value("@@global.super_read_only") == 0


def test_a_dead_member_is_replaced_by_the_group_and_its_replicas_move(stage: Group) -> None:
    """The last test of this module: it kills the primary."""
    one = stage.members[0]
    orphan, other = stage.replicas
    one.execute("INSERT INTO app.ledger (id, server) VALUES (1, 1)")
    one.kill()
    new = stage.elected(one)
    until("the nodes know the new primary", lambda: stage.primary() == f"{new.host}:{new.port}")
    done = until("its replica is moved", lambda: _ended(stage.recoveries("dead_intermediate")), 120.0)
    assert done["end"] == "succeeded", done
    assert done["subject"]["code"] == "DeadReplicationGroupMemberWithReplicas"
    alive = {each.port for each in stage.members if each is not one}
    assert source_port(orphan) in alive
    assert source_port(other) == stage.members[1].port
    new.execute("INSERT INTO app.ledger (id, server) VALUES (2, 1)")
    for replica in stage.replicas:
        assert replicates(replica)
        until("it has all", lambda: replica.value("(SELECT COUNT(*) FROM app.ledger)") == 2)  # noqa: B023
    assert stage.recoveries(*FAILURES) == []
    assert [each.value("@@global.super_read_only") for each in stage.members[1:]].count(0) == 1


def _ended(recoveries: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((each for each in recoveries if each["end"] not in ("running", "undone")), None)
