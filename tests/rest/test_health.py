"""What a node says of itself, in each of its states; the routes that load balancers and operators live by."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rest.rig import Rig

NOT_RAFT = "not running with raft setup"


async def test_only_the_holder_of_authority_is_the_leader() -> None:
    async with Rig(3) as rig:
        found = {name: (await node.get("/api/leader-check")) for name, node in rig.nodes.items()}
        assert {name: (answer.status, answer.json) for name, answer in found.items()} == {
            "n1": (200, "OK"), "n2": (404, "Not leader"), "n3": (404, "Not leader")
        }  # fmt: skip


async def test_a_leader_whose_lease_has_lapsed_is_none() -> None:
    async with Rig(3) as rig:
        rig.raft.without_authority.add("n1")
        assert (await rig["n1"].get("/api/leader-check")).status == 404
        assert (await rig["n1"].get("/api/raft-state")).json == "Leader"
        assert (await rig["n1"].get("/api/health")).json["Details"]["IsRaftLeader"] is False


@pytest.mark.parametrize(
    ("asked", "status"), [("503", 503), ("200", 200), ("99", 404), ("1000", 404), ("", 404), ("-1", 404), ("x", 404)]
)
async def test_who_asks_chooses_the_status_of_a_node_that_does_not_lead(asked: str, status: int) -> None:
    async with Rig(2) as rig:
        assert (await rig["n2"].get(f"/api/leader-check/{asked}")).status == status
        assert (await rig["n1"].get(f"/api/leader-check/{asked}")).status == 200


async def test_the_routed_check_finds_the_leader_through_any_node() -> None:
    async with Rig(3) as rig:
        await rig.until(lambda: rig["n1"].service.may_act)
        assert [(await node.get("/api/routed-leader-check")).status for node in rig.nodes.values()] == [200] * 3
        rig.raft.elect(None)
        assert [(await node.get("/api/routed-leader-check")).status for node in rig.nodes.values()] == [404] * 3


async def test_the_raft_routes_of_each_role() -> None:
    async with Rig(3) as rig:

        async def said(name: str, route: str) -> Any:
            return (await rig[name].get(f"/api/{route}")).json

        assert [await said(name, "raft-state") for name in rig.nodes] == ["Leader", "Follower", "Follower"]
        assert {await said(name, "raft-leader") for name in rig.nodes} == {"127.0.0.1:10008"}
        assert await said("n2", "raft-peers") == ["127.0.0.1:10008", "127.0.0.2:10008", "127.0.0.3:10008"]
        assert {await said(name, "raft-health") for name in rig.nodes} == {"healthy"}
        rig.raft.elect(None)
        assert await said("n2", "raft-state") == "Candidate"
        assert await said("n2", "raft-leader") == ""
        unhealthy = await rig["n2"].get("/api/raft-health")
        assert (unhealthy.status, unhealthy.json) == (500, {"Code": "ERROR", "Message": "unhealthy", "Details": None})
        status = await said("n2", "raft-status")
        assert (status["State"], status["Healthy"], status["IsPartOfQuorum"]) == ("Candidate", False, False)
        assert (status["Leader"], status["LeaderURI"]) == ("", "")


async def test_a_node_without_raft_says_so() -> None:
    async with Rig(view_changes={"raft_enabled": False}) as rig:
        for route, word in (("raft-state", "raft-state"), ("raft-leader", "raft-leader"), ("raft-peers", "raft-nodes"),
                            ("raft-health", "raft-state"), ("raft-status", "raft-state")):  # fmt: skip
            answer = await rig.first.get(f"/api/{route}")
            assert (answer.status, answer.message) == (500, f"{word}: {NOT_RAFT}")
        details = (await rig.first.get("/api/health")).json["Details"]
        assert details["RaftHealthyMembers"] is None
        assert (details["RaftLeader"], details["IsRaftLeader"], details["RaftAdvertise"]) == ("", False, "")
        assert details["IsActiveNode"] is True
        assert details["ActiveNode"]["Hostname"] == "host-n1"
        assert (await rig.first.get("/api/leader-check")).status == 200


async def test_a_node_that_is_not_fit_says_why_and_its_process_still_serves() -> None:
    async with Rig(view_changes={"problem": "the disk is full"}) as rig:
        for path in ("/api/health", "/api/status"):
            answer = await rig.first.get(path)
            assert (answer.status, answer.json["Code"]) == (500, "ERROR")
            assert answer.message == "Application node is unhealthy the disk is full"
            assert (answer.json["Details"]["Healthy"], answer.json["Details"]["Error"]) == (False, {})
        assert (await rig.first.get("/api/v2/health")).status == 503
        assert (await rig.first.get("/api/lb-check")).json == "OK"


async def test_health_needs_no_leader() -> None:
    async with Rig(3) as rig:
        rig.raft.elect(None)
        answer = await rig["n2"].get("/api/health")
        assert answer.status == 200
        assert answer.json["Details"]["RaftLeader"] == ""
        assert (await rig["n2"].get("/api/_ping")).json == "OK"
