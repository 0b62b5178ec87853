"""The fleet and a cluster in few words: worst first, in the rules' words, the same on every node."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from api.settings import ApiSettings, AuthenticationMethod
from bench.raft_machine import fleet as large_fleet
from orchestrator_raft.core.analysis import Severity, analyze
from orchestrator_raft.core.policy import ClusterFilters, Policy
from orchestrator_raft.core.replicated import State, apply
from orchestrator_raft.core.topology import build
from orchestrator_raft.engine.service.overview import CLUSTERS_AT_ONCE, fleet_of
from orchestrator_raft.engine.view import Moment
from orchestrator_raft.tasks import Tasks
from tests.engine.fleet import key
from tests.rest.rig import Rig

UNREPAIRED = Policy(recover_primary=ClusterFilters(()))


@pytest.mark.asyncio(loop_scope="module")
async def test_followers_show_what_the_leader_shows(reading: Rig) -> None:
    await reading.until(lambda: all(each.caught_up for each in reading.raft.state.clusters.values()))
    one, other = [(await reading[node].get("/api/v2/clusters/bench/map")).json for node in ("n1", "n3")]
    for shown in (one, other):
        assert shown["looked"] is True
        assert [each["server"] for each in shown["servers"]] == [f"127.0.0.1:{port}" for port in range(24000, 24004)]
        for server in shown["servers"]:
            server.pop("seen_s_ago")
        shown.pop("at_ms")
    assert one == other
    assert [each["is_primary"] for each in one["servers"]] == [True, False, False, False]
    assert one["servers"][1]["semi_sync"]["possible_acker"] is True
    fleet = (await reading["n2"].get("/api/v2/fleet")).json
    assert fleet["clusters"] == [one["cluster"]]
    assert one["cluster"]["troubles"] == []


async def troubles(rig: Rig) -> dict[str, dict[str, Any]]:
    [cluster] = (await rig.first.get("/api/v2/fleet")).json["clusters"]
    return {each["code"]: each for each in cluster["troubles"]}


async def test_what_is_wrong_is_told_with_what_would_be_done_about_it() -> None:
    async with Rig(policy=UNREPAIRED) as rig:
        await rig.discovered()
        rig.first.prober.crash(24000)
        moment = rig.first.service.desk.moment
        await rig.until(lambda: not moment().topology.server(key(24000)).reached)
        found: dict[str, dict[str, Any]] = {}
        for _ in range(500):
            found = await troubles(rig)
            if "DeadMaster" in found:
                break
        dead = found["DeadMaster"]
        assert (dead["severity"], dead["server"]) == ("critical", "127.0.0.1:24000")
        assert dead["repair"]
        assert "RecoverMasterClusterFilters" in dead["because"]
        assert next(iter(found)) == "DeadMaster"


async def test_the_fleet_is_told_as_the_watch_found_it_last_and_what_it_has_not_seen_is_looked_at() -> None:
    async with Rig(policy=UNREPAIRED) as rig:
        await rig.discovered()
        desk = rig.first.service.desk
        await rig.until(
            lambda: len(desk.moment().diagnoses) == len(rig.fleet.servers) and not severities(desk.moment())
        )
        well = desk.moment()
        rig.first.prober.crash(24000)
        await rig.until(lambda: Severity.CRITICAL in severities(desk.moment()))
        ill = desk.moment()
        for moment, is_dead in ((ill, True), (replace(well, diagnoses=ill.diagnoses), True),
                                (replace(ill, diagnoses=well.diagnoses), False)):  # fmt: skip
            [cluster] = (await fleet_of(moment, looked=True)).clusters
            assert any(each.severity == "critical" for each in cluster.troubles) is is_dead
        unseen = replace(ill, diagnoses=())
        assert await fleet_of(unseen, looked=True) == await fleet_of(
            replace(unseen, diagnoses=analyze(unseen.topology, unseen.policy)), looked=True
        )


def severities(moment: Moment) -> set[Severity]:
    return {each.problem.rule.severity for each in moment.diagnoses if each.problem is not None}


async def test_others_go_on_while_a_large_fleet_is_told() -> None:
    state = State()
    for command in large_fleet(12 * CLUSTERS_AT_ONCE):
        state, _ = apply(state, command)
    topology = build(state.servers, state.clusters, {}, state.marks, state.time_ms)
    moment = Moment(state=state, topology=topology, policy=UNREPAIRED, now_ms=state.time_ms, now_s=0.0)
    tasks = Tasks("test", lambda _name, _error: None)
    telling = tasks.start("tell", fleet_of(moment, looked=True))
    rounds = 0
    while not telling.done():
        await asyncio.sleep(0)
        rounds += 1
    await tasks.close()
    assert len(telling.result().clusters) == 3 * CLUSTERS_AT_ONCE
    assert rounds >= 3


async def test_without_a_leader_nothing_is_said_of_health() -> None:
    async with Rig() as rig:
        await rig.discovered()
        rig.raft.elect(None)
        await rig.until(lambda: not rig.first.service.desk.leads)
        shown = (await rig.first.get("/api/v2/clusters/bench/map")).json
        assert shown["looked"] is False
        assert [each["reached"] for each in shown["servers"]] == [None] * 4
        assert shown["cluster"]["troubles"] == []


async def test_everybody_is_told_who_they_are() -> None:
    settings = ApiSettings(authentication=AuthenticationMethod.MULTI, user="ann", password="secret")
    async with Rig(settings=settings) as rig:
        for user, password, may_write in (("ann", "secret", True), ("readonly", "x", False)):
            asked = await rig.first.get("/api/v2/me", headers={"Authorization": basic(user, password)})
            assert asked.json == {"name": user, "may_write": may_write}


def basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


async def test_marks_and_tags_of_people_are_shown_and_searched() -> None:
    async with Rig() as rig:
        await rig.discovered()
        server = "/api/v2/servers/127.0.0.1:24002"
        assert (await rig.first.ask("POST", f"{server}/tags", json={"tag": "rack=b7"})).status == 200
        mark = {"owner": "ann", "reason": "disk"}
        assert (await rig.first.ask("POST", f"{server}/maintenance", json=mark)).status == 200
        shown = (await rig.first.get("/api/v2/clusters/bench/map")).json
        [marked] = [each for each in shown["servers"] if each["server"] == "127.0.0.1:24002"]
        assert (marked["tags"], marked["maintenance"]["owner"]) == (["rack=b7"], "ann")
        assert "rack=b7" in shown["cluster"]["words"]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_phases_of_each_kind_of_recovery_are_told(reading: Rig) -> None:
    kinds = {each["name"]: each for each in (await reading["n2"].get("/api/v2/recovery-kinds")).json}
    assert kinds["dead_primary"]["text"]
    assert all(kinds["dead_primary"]["phases"].values())


async def test_the_audit_trail_is_searched_by_any_text() -> None:
    async with Rig() as rig:
        await rig.discovered()
        for number in range(25):
            body = {"owner": f"Ann{number % 5}", "reason": "disk"}
            assert (await rig.first.ask("POST", "/api/v2/servers/127.0.0.1:24002/downtime", json=body)).status == 200
        found = (await rig.first.get("/api/v2/audit?text=ann3")).json
        assert [each["message"] for each in found] == ["owner: Ann3, reason: disk"] * 5
        assert len((await rig.first.get("/api/v2/audit?text=disk&page=1")).json) == 5
        assert (await rig.first.get("/api/v2/audit?text=nonesuch")).json == []
