"""What people set, by HTTP: each policy is shown, holds on every node, does what it is for, and can be taken back."""

from __future__ import annotations

import dataclasses

import pytest

from orchestrator_raft.core.policy import ClusterFilters, HostFilters
from tests.engine.fleet import key
from tests.rest.rig import POLICY, Rig

ONE = {"Hostname": "127.0.0.1", "Port": 24001}
TWO = {"Hostname": "127.0.0.1", "Port": 24002}


async def test_nobody_changes_a_server_in_maintenance() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        get = rig["n2"].get
        assert (await get("/api/in-maintenance/127.0.0.1/24001")).json == {
            "Code": "OK", "Message": "false", "Details": ""
        }  # fmt: skip
        begun = await get("/api/begin-maintenance/127.0.0.1/24001/ann/new-disk")
        assert (begun.message, begun.json["Details"]) == ("Maintenance begun: 127.0.0.1:24001", ONE)
        [shown] = (await get("/api/maintenance")).json
        assert list(shown) == [
            "MaintenanceId", "Key", "BeginTimestamp", "SecondsElapsed", "IsActive", "Owner", "Reason"
        ]  # fmt: skip
        assert (shown["Key"], shown["Owner"], shown["Reason"], shown["IsActive"]) == (ONE, "ann", "new-disk", True)
        inside = (await get("/api/in-maintenance/127.0.0.1/24001")).json
        assert (inside["Message"], inside["Details"]) == ("true", "127.0.0.1:24001")
        again = await get("/api/begin-maintenance/127.0.0.1/24001/bob/too")
        assert (again.status, again.message) == (500, "127.0.0.1:24001 is in maintenance already, by ann: new-disk")
        refused = await get("/api/stop-replica/127.0.0.1/24001")
        assert (refused.status, rig.fleet[24001].facts.channels[0].replicates) == (500, True)
        assert "in maintenance by ann" in refused.message
        ended = await get(f"/api/end-maintenance/{shown['MaintenanceId']}")
        assert (ended.status, ended.json["Details"]) == (200, shown["MaintenanceId"])
        assert (await get("/api/stop-replica/127.0.0.1/24001")).status == 200
        types = [each["AuditType"] for each in (await get("/api/audit/instance/127.0.0.1/24001")).json]
        assert types == ["stop-replica", "end-maintenance", "begin-maintenance"]


async def test_a_dead_primary_in_maintenance_is_left_alone() -> None:
    async with Rig() as rig:
        await rig.discovered()
        assert (await rig.first.get("/api/begin-maintenance/127.0.0.1/24000/ann/reboot")).status == 200
        rig.first.prober.crash(24000)
        await rig.until(lambda: bool(rig.raft.state.detections))
        problems = (await rig.first.ask("GET", "/api/v2/problems")).json
        found = next(each for each in problems if each["server"] == "127.0.0.1:24000")
        assert found["not_repaired_because"] == "127.0.0.1:24000 is in maintenance by ann: reboot"
        assert rig.raft.state.recoveries == {}
        assert (await rig.first.get("/api/end-maintenance/127.0.0.1/24000")).status == 200
        await rig.until(lambda: bool(rig.raft.state.recoveries))


async def test_a_registered_rule_decides_who_is_promoted() -> None:
    async with Rig() as rig:
        await rig.discovered()
        get = rig.first.get
        for port, rule in ((24001, "must_not"), (24002, "prefer_not"), (24003, "prefer")):
            answer = await get(f"/api/register-candidate/127.0.0.1/{port}/{rule}")
            assert (answer.message, answer.json["Details"]["Port"]) == ("Registered candidate", port)
        shown = {each["Port"]: each["PromotionRule"] for each in (await get("/api/bulk-promotion-rules")).json}
        assert shown == {24001: "must_not", 24002: "prefer_not", 24003: "prefer"}
        instance = (await get("/api/instance/127.0.0.1/24003")).json
        assert (instance["PromotionRule"], instance["IsCandidate"]) == ("prefer", True)
        wrong = await get("/api/register-candidate/127.0.0.1/24001/maybe")
        assert wrong.status == 500 and "(rule)" in wrong.message
        taken = await get("/api/graceful-master-takeover-auto/bench")
        assert taken.json["Details"]["SuccessorKey"]["Port"] == 24003
        back = await rig.first.ask("DELETE", "/api/v2/servers/127.0.0.1:24003/promotion-rule")
        assert back.status == 200
        assert (await get("/api/instance/127.0.0.1/24003")).json["PromotionRule"] == "neutral"


async def test_nobody_is_promoted_who_is_in_maintenance() -> None:
    async with Rig() as rig:
        await rig.discovered()
        for port in (24001, 24002):
            assert (await rig.first.get(f"/api/begin-maintenance/127.0.0.1/{port}/ann/work")).status == 200
        taken = await rig.first.get("/api/graceful-master-takeover-auto/bench")
        assert taken.json["Details"]["SuccessorKey"]["Port"] == 24003


async def test_tags_are_put_found_and_taken_off() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        get = rig["n3"].get
        put = await get("/api/tag/127.0.0.1/24001?tag=role=web")
        assert (put.message, put.json["Details"]) == ("127.0.0.1:24001 tagged with role=web", ONE)
        await get("/api/tag/127.0.0.1/24002/role/backup")
        await get("/api/tag/127.0.0.1/24002?tag=slow")
        assert (await get("/api/tags/127.0.0.1/24002")).json == ["role=backup", "slow="]
        assert (await get("/api/tag-value/127.0.0.1/24001?tag=role")).json == "web"
        assert (await get("/api/tag-value/127.0.0.1/24002/slow")).json == ""
        missing = await get("/api/tag-value/127.0.0.1/24003/slow")
        assert (missing.status, missing.json["Code"]) == (500, "ERROR")
        searches = {
            "role": [ONE, TWO], "role=web": [ONE], "role,slow": [TWO], "role,~slow": [ONE], "role,!role=web": [TWO],
            "slow=": [TWO], "nonesuch": [],
        }  # fmt: skip
        for text, found in searches.items():
            assert (await get(f"/api/tagged/?tag={text}")).json == found, text
        assert [each["Key"] for each in (await get("/api/search?s=role=backup")).json] == [TWO]
        native = await rig["n2"].get("/api/v2/servers/127.0.0.1:24002")
        assert native.json["tags"] == ["role=backup", "slow="]
        text = (await get("/api/topology-tags/bench")).json["Details"].split("\n")
        assert [line.rpartition(" [")[2] for line in text] == ["]", "role=web]", "role=backup,slow]", "]"]
        gone = await get("/api/untag-all?tag=role=web")
        assert (gone.message, gone.json["Details"]) == ("role removed from 1 instances", [ONE])
        assert (await get("/api/untag/127.0.0.1/24002?tag=role")).json["Details"] == [TWO]
        assert (await get("/api/untag/127.0.0.1/24002/role")).json["Details"] == []
        assert (await get("/api/tagged?tag=role")).json == []


async def test_pools_are_submitted_as_a_whole_and_read_by_cluster() -> None:
    async with Rig() as rig:
        await rig.discovered()
        get = rig.first.get
        applied = await get("/api/submit-pool-instances/readers?instances=127.0.0.1:24001,127.0.0.1:24002,db9:3306")
        assert (applied.status, applied.json["Details"]) == (200, "readers")
        assert (await get("/api/cluster-pool-instances/127.0.0.1:24000")).json == {"readers": [ONE, TWO]}
        await get("/api/submit-pool-instances/readers?instances=127.0.0.1:24002")
        assert (await get("/api/cluster-pool-instances/127.0.0.1:24000/readers")).json == {"readers": [TWO]}
        assert (await get("/api/cluster-pool-instances/bench")).json == {}, "the name is taken literally"
        healthy = (await get("/api/heuristic-cluster-pool-instances/bench/readers")).json["Details"]
        assert [each["Key"] for each in healthy] == [TWO]
        assert (await get("/api/heuristic-cluster-pool-instances/bench/")).json["Details"] == healthy
        assert (await get("/api/heuristic-cluster-pool-lag/bench")).json["Details"] == 0
        wrong = await get("/api/submit-pool-instances/readers?instances=nonsense:port")
        assert (wrong.status, wrong.json["Code"]) == (500, "ERROR")
        assert (await rig.first.ask("DELETE", "/api/v2/pools/readers")).status == 200
        assert (await get("/api/cluster-pool-instances/127.0.0.1:24000")).json == {}


async def test_an_alias_by_hand_goes_before_the_suggested_one_and_stays_through_a_takeover() -> None:
    async with Rig() as rig:
        await rig.discovered()
        get = rig.first.get
        named = await get("/api/set-cluster-alias/127.0.0.1:24000?alias=shop")
        assert (named.status, named.message) == (200, "Cluster 127.0.0.1:24000 now has alias 'shop'")
        await get("/api/graceful-master-takeover-auto/shop/127.0.0.1/24002")
        info = (await get("/api/cluster-info/shop")).json
        assert (info["ClusterName"], info["ClusterAlias"]) == ("127.0.0.1:24002", "shop")
        assert (await rig.first.ask("DELETE", "/api/v2/clusters/shop/alias")).status == 200
        assert (await get("/api/clusters-info")).json[0]["ClusterAlias"] == "bench"


async def test_control_replicas_are_those_whose_lag_counts() -> None:
    ignored = dataclasses.replace(POLICY, control_ignore=HostFilters((":24003$",)), recover_primary=ClusterFilters(()))
    async with Rig(policy=ignored) as rig:
        await rig.discovered()
        shown = (await rig.first.get("/api/cluster-osc-slaves/bench")).json
        assert [each["Key"] for each in shown] == [ONE, TWO], "two a data centre"
        rig.first.prober.crash(24001)
        await rig.until(lambda: not rig.raft.state.servers[key(24001)].reachable)
        shown = (await rig.first.get("/api/cluster-osc-replicas/bench")).json
        assert [each["Key"] for each in shown] == [TWO], "24003 comes next, and is ignored"


async def test_a_virtual_name_is_shown_and_taken_back() -> None:
    async with Rig() as rig:
        await rig.discovered()
        get = rig.first.get
        answer = await get("/api/register-hostname-unresolve/127.0.0.1/24001/db1-virtual")
        assert (answer.status, answer.json["Details"]) == (200, ONE)
        assert (await get("/api/instance/127.0.0.1/24001")).json["UnresolvedHostname"] == "db1-virtual"
        assert (await get("/api/deregister-hostname-unresolve/127.0.0.1/24001")).json["Details"] == ONE
        assert (await get("/api/instance/127.0.0.1/24001")).json["UnresolvedHostname"] == ""
        assert (await get("/api/deregister-hostname-unresolve/127.0.0.1/24001")).status == 500


@pytest.mark.parametrize(
    "path",
    ["begin-maintenance/{}/me/why", "register-candidate/{}/prefer", "tag/{}?tag=x", "untag/{}?tag=x",
     "register-hostname-unresolve/{}/v"],
)  # fmt: skip
async def test_a_policy_is_never_set_on_a_server_that_was_guessed(path: str) -> None:
    async with Rig() as rig:
        await rig.discovered()
        before = rig.raft.state.audit_number
        answer = await rig.first.get(f"/api/{path.format('27.0.0/24001')}")
        assert (answer.status, answer.json["Code"]) == (500, "ERROR")
        assert rig.raft.state.audit_number == before
