"""What load balancers are told: by server, by status code, on every node, through an election and without quorum."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api import health
from api.settings import ApiSettings
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.engine.sight import Glimpse, Seen, decode, encode
from tests.rest.rig import Got, Node, Rig

PRIMARY, REPLICA, OTHER = "127.0.0.1:24000", "127.0.0.1:24001", "127.0.0.1:24002"


async def check(node: Node, which: str, query: str = "", cluster: str = "bench") -> Got:
    return await node.get(f"/health/cluster/{cluster}/{which}{query}")


async def ready(rig: Rig) -> None:
    await rig.discovered()
    for node in rig.nodes.values():
        await rig.until(lambda node=node: node.service.sight.newest.glimpses != {})  # type: ignore[misc]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_about_the_node(method: str) -> None:
    async with Rig(2) as rig:
        await rig.until(lambda: rig["n1"].service.may_act)
        found = {
            (name, path): (await rig[name].ask(method, f"/health/{path}")).status
            for name in ("n1", "n2")
            for path in ("live", "ready", "leader")
        }
        assert found == {
            ("n1", "live"): 200, ("n1", "ready"): 200, ("n1", "leader"): 200,
            ("n2", "live"): 200, ("n2", "ready"): 200, ("n2", "leader"): 503,
        }  # fmt: skip
        rig.raft.without_authority.add("n1")
        assert (await rig["n1"].ask(method, "/health/leader")).status == 503, "only with authority"
        rig.raft.elect(None)
        assert (await rig["n2"].ask(method, "/health/ready")).status == 503
        assert (await rig["n2"].ask(method, "/health/live")).status == 200


async def test_a_node_with_a_problem_is_not_ready() -> None:
    async with Rig(view_changes={"problem": "its disk is full"}) as rig:
        answer = await rig.first.get("/health/ready")
        assert (answer.status, answer.json["detail"]) == (503, "its disk is full")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_the_primary_by_server_on_every_node(method: str) -> None:
    async with Rig(3) as rig:
        await ready(rig)
        for node in rig.nodes.values():
            for cluster in ("bench", "c1", PRIMARY, OTHER):
                url = f"/health/cluster/{cluster}/primary?server="
                assert (await node.ask(method, url + PRIMARY)).status == 200
                assert (await node.ask(method, url + REPLICA)).status == 503
            assert (await check(node, "primary")).json["server"] == PRIMARY


async def test_the_primary_follows_a_takeover_on_every_node() -> None:
    async with Rig(3) as rig:
        await ready(rig)
        headers = {"Prefer": "wait=60"}
        done = await rig["n2"].ask("POST", "/api/v2/clusters/bench/takeover", json={"target": OTHER}, headers=headers)
        assert done.status == 200, done.body
        for node in rig.nodes.values():
            assert (await check(node, "primary", f"?server={OTHER}")).status == 200
            assert (await check(node, "primary", f"?server={PRIMARY}")).status == 503


async def test_replicas_by_lag() -> None:
    async with Rig(2) as rig:
        await ready(rig)
        for node in rig.nodes.values():
            assert (await check(node, "replica", f"?server={REPLICA}")).status == 200
            assert (await check(node, "replica", f"?server={PRIMARY}")).status == 503
        slow = rig.fleet[24001]
        slow.facts = replace(slow.facts, queried_lag_s=42.0)
        for node in rig.nodes.values():
            await rig.until(
                lambda node=node: node.service.sight.newest.glimpses[slow.facts.key].lag_s == 42.0  # type: ignore[misc]
            )
            late = await check(node, "replica", f"?server={REPLICA}&lag=41")
            assert late.status == 503 and "lags 42 s, more than 41" in late.json["detail"]
            assert (await check(node, "replica", f"?server={REPLICA}&lag=42")).status == 200
            assert (await check(node, "replica", "?lag=1")).json["server"] in (OTHER, "127.0.0.1:24003")
        rig.fleet.crash(24001)
        for node in rig.nodes.values():
            await rig.until(
                lambda node=node: not node.service.sight.newest.glimpses[slow.facts.key].reached  # type: ignore[misc]
            )
            assert (await check(node, "replica", f"?server={REPLICA}&lag=99")).status == 503


async def test_questions_that_are_none() -> None:
    async with Rig() as rig:
        await ready(rig)
        assert (await check(rig.first, "primary", cluster="nonesuch")).status == 404
        assert (await check(rig.first, "primary", "?server=127.0.0.1:1")).status == 404
        assert (await check(rig.first, "primary", "?server=x")).status == 404
        for lag in ("x", "-1", "1e9", "٣", "9999999999"):
            assert (await check(rig.first, "replica", f"?server={REPLICA}&lag={lag}")).status == 400, lag
        assert (await rig.first.ask("POST", "/health/live")).status == 405
        assert rig.first.defects == []


@pytest.mark.parametrize(("fails", "status"), [(False, 200), (True, 503)])
async def test_without_a_majority_the_last_answer_holds_or_the_checks_fail(fails: bool, status: int) -> None:
    settings = ApiSettings(fails_without_quorum=fails, no_quorum_after_s=2.5)
    async with Rig(2, settings=settings) as rig:
        await ready(rig)
        follower = rig["n2"]
        rig.raft.elect(None)
        assert (await check(follower, "primary", f"?server={PRIMARY}")).status == 200, "an election is no outage"
        await rig.until(lambda: follower.service.sight.without_quorum_s > 2.5)
        assert (await check(follower, "primary", f"?server={PRIMARY}")).status == status
        assert (await check(follower, "replica", f"?server={REPLICA}")).status == status
        rig.raft.elect("n1")
        assert (await check(follower, "primary", f"?server={PRIMARY}")).status == 200


async def test_no_check_asks_a_server_or_another_node() -> None:
    async with Rig(2) as rig:
        await ready(rig)
        rig.raft.network.cut("n1", "n2")
        rig.raft.network.calls.clear()
        for which in ("primary", "replica"):
            assert (await check(rig["n2"], which)).status == 200
        assert [call for call in rig.raft.network.calls if call[2] == "http"] == []


async def test_a_sight_from_somebody_who_does_not_lead_is_not_believed() -> None:
    async with Rig(3) as rig:
        await ready(rig)
        channel = rig.raft.network.channel("n3")
        lie = encode(Seen(term=99, glimpses={InstanceKey("127.0.0.1", 24001): Glimpse(reached=False)}))
        await channel.call("n2", "sight", lie, timeout_s=1)
        assert rig["n2"].service.sight.newest.term != 99


def test_a_sight_arrives_as_it_was_sent() -> None:
    sent = Seen(term=3, glimpses={InstanceKey("fd00::1", 3306): Glimpse(reached=True, replicates=True, lag_s=0.5)})
    assert decode(encode(sent)) == sent


def test_every_check_is_an_operation() -> None:
    assert set(health.CHECKS) == {"health-live", "health-ready", "health-leader", "health-primary", "health-replica"}
