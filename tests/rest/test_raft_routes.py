"""Handing leadership over, snapshots and the overview, in the words of the peers and in ours."""

from __future__ import annotations

import pytest

from orchestrator_raft.core.replicated.commands import RegisterNode
from tests.rest.rig import Rig

ENVELOPE = {"Code": "OK", "Message": "Asynchronously yielded", "Details": None}


@pytest.mark.parametrize("named", ["127.0.0.3:10008", "127.0.0.3", "n3"])
async def test_the_leader_yields_to_the_node_that_is_named(named: str) -> None:
    async with Rig(3) as rig:
        answer = await rig["n1"].get(f"/api/raft-yield/{named}")
        assert (answer.status, answer.json) == (200, ENVELOPE)
        assert rig.raft.leader == "n3"


async def test_a_follower_yields_nothing_and_is_not_asked_for_others() -> None:
    async with Rig(3) as rig:
        for path in ("raft-yield/127.0.0.3", "raft-yield-hint/0.0.3"):
            answer = await rig["n2"].get(f"/api/{path}")
            assert (answer.status, answer.json) == (500, {"Code": "ERROR", "Message": "Unauthorized", "Details": None})
        assert rig.raft.leader == "n1"


async def test_to_yield_to_the_leader_itself_changes_nothing() -> None:
    async with Rig(3) as rig:
        assert (await rig["n1"].get("/api/raft-yield/127.0.0.1")).json == ENVELOPE
        assert (await rig["n1"].get("/api/raft-yield-hint/0.0.1")).status == 200
        assert rig.raft.leader == "n1"


async def test_to_yield_to_a_stranger_is_refused_and_the_members_are_named() -> None:
    async with Rig(2) as rig:
        answer = await rig["n1"].get("/api/raft-yield/127.0.0.9:10008")
        assert answer.status == 500
        assert answer.message == "'127.0.0.9:10008' is no member; members are 127.0.0.1:10008, 127.0.0.2:10008"
        assert "no node's address contains 'mars'" in (await rig["n1"].get("/api/raft-yield-hint/mars")).message
        assert rig.raft.leader == "n1"


async def test_a_hint_is_a_part_of_a_raft_or_http_address() -> None:
    async with Rig(3) as rig:
        answer = await rig["n1"].get("/api/raft-yield-hint/0.0.2")
        assert answer.json == {"Code": "OK", "Message": "Asynchronously yielded by hint 0.0.2", "Details": "0.0.2"}
        assert rig.raft.leader == "n2"
        await rig.raft.commit(
            RegisterNode(
                id="r1", at_ms=1, node_id="n3", address="127.0.0.3:10008", http_uri="http://mars:3000", version="0.1"
            )
        )
        assert (await rig["n2"].get("/api/raft-yield-hint/mars")).status == 200
        assert rig.raft.leader == "n3"


async def test_leadership_is_handed_over_through_any_node() -> None:
    async with Rig(3) as rig:
        await rig.until(lambda: rig["n1"].service.may_act)
        answer = await rig["n3"].ask("POST", "/api/v2/raft/transfer", json={"node": "127.0.0.2:10008"})
        assert (answer.status, answer.json) == (200, {"message": "n2 leads now", "result": "n2"})
        assert rig.raft.leader == "n2"
        await rig.until(lambda: rig["n2"].service.may_act)
        refused = await rig["n2"].ask("POST", "/api/v2/raft/transfer", json={"node": "127.0.0.2"})
        assert refused.status == 409


async def test_any_node_takes_a_snapshot_of_its_own() -> None:
    async with Rig(2) as rig:
        for node in rig.nodes.values():
            answer = await node.get("/api/raft-snapshot")
            assert (answer.status, answer.json) == (200, "snapshot created")
            native = await node.ask("POST", "/api/v2/raft/snapshot")
            assert native.json["message"].startswith("snapshot created: everything up to entry ")


async def test_any_node_shows_all() -> None:
    async with Rig(2) as rig:
        rig.raft.elect(None)
        for name, node in rig.nodes.items():
            answer = await node.get("/api/v2/raft/status")
            assert (answer.status, answer.json) == (200, {"asked": name, "nodes": [{"id": "n1"}, {"id": "n2"}]})


async def test_no_token_of_a_health_report_is_ever_known() -> None:
    async with Rig() as rig:
        answer = await rig.first.get("/api/raft-follower-health-report/abc/127.0.0.2/127.0.0.2")
        assert (answer.status, answer.json["Code"]) == (500, "ERROR")


async def test_a_node_without_raft_refuses_all_of_it() -> None:
    async with Rig() as rig:
        rig.first.raft_admin.is_enabled = False
        for path in ("raft-yield/n1", "raft-yield-hint/n1", "raft-snapshot"):
            answer = await rig.first.get(f"/api/{path}")
            assert (answer.status, answer.message) == (500, f"{path.partition('/')[0]}: not running with raft setup")


async def test_peers_are_added_and_removed_in_the_words_of_the_peers() -> None:
    async with Rig(3) as rig:
        node = rig.nodes["n2"]
        added = await node.get("/api/raft-add-peer/n9:10008")
        assert (200, "n9:10008") == (added.status, added.json)
        assert "n9:10008" in [each["address"] for each in (await node.get("/api/v2/raft/members")).json]
        again = await node.get("/api/raft-add-peer/n9:10008")
        assert (500, "Cannot add raft peer: peer already known") == (again.status, again.message)
        removed = await node.get("/api/raft-remove-peer/n9:10008")
        assert (200, "n9:10008") == (removed.status, removed.json)
        unknown = await node.get("/api/raft-remove-peer/n9:10008")
        assert (500, "Cannot remove raft peer: peer is unknown") == (unknown.status, unknown.message)


async def test_who_changes_the_members_is_in_the_audit_trail() -> None:
    async with Rig(3) as rig:
        await rig.first.ask("POST", "/api/v2/raft/members", json={"addr": "n9:10008"})
        await rig.first.ask("POST", "/api/v2/raft/members/n9:10008/replace", json={"by": "n8:10008"})
        entries = [each["Message"] for each in (await rig.first.get("/api/audit")).json]
        assert any("asks to add n9:10008 to the Raft cluster" in entry for entry in entries)
        assert any("asks to replace n9:10008 by n8:10008 in the Raft cluster" in entry for entry in entries)
