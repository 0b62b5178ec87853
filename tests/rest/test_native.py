"""The native API: methods, bodies, problem+json, the field's own words; and the general converter behind it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from api.native.values import plain
from orchestrator_raft.core.analysis import analyze
from orchestrator_raft.core.gtid import parse_mysql
from orchestrator_raft.core.instance import InstanceKey, PromotionRule, ThreadState
from orchestrator_raft.core.policy import ClusterFilters, Policy
from tests.engine.fleet import key
from tests.rest.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOWNTIME = "/api/v2/servers/127.0.0.1:24001/downtime"
PROBLEM = "application/problem+json"


async def test_values_are_in_the_fields_own_words(reading: Rig) -> None:
    await reading.until(lambda: all(each.caught_up for each in reading.raft.state.clusters.values()))
    [cluster] = (await reading.first.get("/api/v2/clusters")).json
    assert (cluster["name"], cluster["alias"], cluster["primary"]) == ("127.0.0.1:24000", "bench", "127.0.0.1:24000")
    assert cluster["no_loss_promise"] == {"holds": True, "because": ""}
    server = (await reading.first.get("/api/v2/servers/127.0.0.1:24001")).json
    assert (server["server"], server["source"], server["reached"]) == ("127.0.0.1:24001", "127.0.0.1:24000", True)
    assert server["facts"]["channels"][0]["receiver"] == "running"
    assert server["facts"]["executed"].endswith(":1-20")
    topology = (await reading.first.get("/api/v2/clusters/bench/topology")).json
    assert topology["cluster"] == "127.0.0.1:24000"
    assert topology["text"].count("\n") == 3
    node = (await reading["n2"].get("/api/v2/raft")).json
    assert (node["node_id"], node["role"], node["holds_authority"]) == ("n2", "Follower", False)


async def test_a_cluster_that_promises_nothing_says_why() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        await rig.until(lambda: all(each.caught_up for each in rig.raft.state.clusters.values()))
        rig.fleet[24000].set_semi_sync(source_enabled=False)
        await rig.until(lambda: not rig.raft.state.servers[key(24000)].facts.semi_sync.source_enabled)
        for node in ("n1", "n2"):
            [cluster] = (await rig[node].get("/api/v2/clusters")).json
            assert cluster["no_loss_promise"]["holds"] is False
            assert cluster["no_loss_promise"]["because"] == "semi-sync is off on the primary (127.0.0.1:24000)"


async def test_a_cluster_may_be_named_by_a_member_in_one_segment(reading: Rig) -> None:
    for hint in ("bench", "127.0.0.1:24000", "127.0.0.1%3A24002"):
        assert len((await reading.first.get(f"/api/v2/clusters/{hint}/servers")).json) == 4


async def test_problems_say_what_holds_and_why_nothing_is_done() -> None:
    async with Rig(policy=Policy(recover_primary=ClusterFilters(()))) as rig:
        await rig.discovered()
        rig.first.prober.crash(24000)

        await rig.until(lambda: problem_of(rig) == "DeadMaster")
        [problem] = (await rig.first.get("/api/v2/problems?server=127.0.0.1:24000")).json
        assert (problem["server"], problem["severity"], problem["recovery"]) == (
            "127.0.0.1:24000", "critical", "dead_primary"
        )  # fmt: skip
        assert "RecoverMasterClusterFilters" in problem["not_repaired_because"]
        assert problem["evidence"]
        everywhere = (await rig.first.get("/api/v2/problems")).json
        assert problem in everywhere
        assert len(everywhere) > 1


def problem_of(rig: Rig) -> str:
    """What the leader finds wrong with the primary now."""
    moment = rig.first.service.desk.moment()
    found = {each.situation.key.port: each.code for each in analyze(moment.topology, moment.policy)}
    return found[24000]


async def test_a_write_takes_its_parameters_from_the_body() -> None:
    async with Rig() as rig:
        await rig.discovered()
        answer = await rig.first.ask("POST", DOWNTIME, json={"owner": "ann", "reason": "disk", "duration": "30s"})
        assert answer.json == {"message": "Downtime begun: 127.0.0.1:24001", "result": "127.0.0.1:24001"}
        [mark] = (await rig.first.get("/api/v2/downtimes")).json
        assert mark["downtime"]["ends_ms"] - mark["downtime"]["begun_ms"] == pytest.approx(30_000, abs=5_000)
        assert (await rig.first.ask("DELETE", DOWNTIME)).status == 200
        assert (await rig.first.get("/api/v2/downtimes")).json == []


@pytest.mark.parametrize(
    ("request_made", "status", "text"),
    [
        (("POST", DOWNTIME, {"owner": "ann"}), 400, "reason"),
        (("POST", DOWNTIME, {"owner": "ann", "reason": "x", "why": 1}), 400, "no parameter 'why'"),
        (("POST", DOWNTIME, {"owner": ["ann"], "reason": "x"}), 400, "'owner' has to be"),
        (("POST", DOWNTIME, {"owner": "ann", "reason": "x", "server": "h:1"}), 400, "no parameter 'server'"),
        (("POST", DOWNTIME, ["ann"]), 400, "JSON object"),
        (
            ("POST", "/api/v2/servers/127.0.0.1:24009/downtime", {"owner": "a", "reason": "b"}),
            400,
            "no server 127.0.0.1:24009 is known",
        ),
        (("DELETE", DOWNTIME, None), 409, "not in downtime"),
        (("POST", "/api/v2/servers/127.0.0.1:24009/discover", None), 502, "refused"),
        (("POST", "/api/v2/servers/127.0.0.1:24000/recover", {"skip_processes": True}), 409, "nothing to recover"),
        (("POST", "/api/v2/recoveries/acknowledge", None), 400, "comment"),
        (("GET", "/api/v2/clusters/nonesuch", None), 400, "no cluster 'nonesuch' is known"),
        (("GET", "/api/v2/audit?page=x", None), 400, "no number"),
        (("GET", "/api/v2/audit?pages=1", None), 400, "it has: server, page"),
        (("GET", "/api/v2/nonesuch", None), 404, "no such path"),
        (("PUT", "/api/v2/clusters", None), 405, "GET, HEAD"),
        (("GET", "/api/v2/servers/127.0.0.1:24001/refresh", None), 405, "POST"),
        (("HEAD", "/api/v2/nonesuch", None), 404, ""),
    ],
)
async def test_what_goes_wrong_is_a_problem_document(
    reading: Rig, request_made: tuple[str, str, object], status: int, text: str
) -> None:
    method, path, body = request_made
    answer = await reading.first.ask(method, path, **({} if body is None else {"json": body}))
    assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM)
    if method != "HEAD":
        assert list(answer.json) == ["type", "title", "status", "detail"]
        assert answer.json["status"] == status
        assert text in answer.json["detail"]


@pytest.mark.parametrize(
    ("content_type", "data", "text"),
    [
        ("text/plain", b'{"comment": "x"}', "has to be application/json"),
        ("application/x-www-form-urlencoded", b"comment=x", "has to be application/json"),
        ("application/json", b"{", "no JSON"),
        ("application/json", b"\xff", "no JSON"),
        ("application/json; charset=utf-8", b"[]", "JSON object"),
    ],
)
async def test_a_body_has_to_be_json(reading: Rig, content_type: str, data: bytes, text: str) -> None:
    headers = {"Content-Type": content_type}
    answer = await reading.first.ask("POST", "/api/v2/recoveries/acknowledge", data=data, headers=headers)
    assert (answer.status, answer.headers["Content-Type"]) == (400, PROBLEM)
    assert text in answer.json["detail"]


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_a_page_of_another_site_cannot_act_with_a_browsers_credentials(reading: Rig, node: str) -> None:
    url = reading[node].url
    for origin, status in ((url, 200), ("http://evil.example", 403), ("null", 403)):
        answer = await reading[node].ask("POST", "/api/v2/recoveries/enable", headers={"Origin": origin})
        assert answer.status == status, answer.body


async def test_native_problems_keep_signs_as_they_are(reading: Rig) -> None:
    answer = await reading.first.get("/api/v2/clusters/%3Cb%3E")
    assert b"<b>" in answer.body


@dataclass(frozen=True)
class Inner:
    key: InstanceKey
    state: ThreadState


@dataclass(frozen=True)
class Outer:
    rule: PromotionRule
    inner: tuple[Inner, ...]
    by_key: dict[InstanceKey, float | None]
    names: frozenset[str]


async def test_any_value_of_the_domain_becomes_json() -> None:
    key = InstanceKey("::1", 3306)
    value = Outer(
        PromotionRule.MUST_NOT, (Inner(key, ThreadState.RUNNING),), {key: 1.5, InstanceKey("h", 1): None},
        frozenset({"b", "a"}),
    )  # fmt: skip
    assert plain(value) == {
        "rule": "must_not", "inner": [{"key": "[::1]:3306", "state": "running"}],
        "by_key": {"[::1]:3306": 1.5, "h:1": None}, "names": ["a", "b"],
    }  # fmt: skip
    text = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"
    assert plain(parse_mysql(text)) == text
    json.dumps(plain(value))


async def test_a_person_may_accept_a_loss_and_the_record_says_who_what_and_for_whom() -> None:
    async with Rig(policy=Policy()) as rig:
        await rig.discovered()
        await rig.until(lambda: all(each.caught_up for each in rig.raft.state.clusters.values()))
        for port in (24003, 24000):
            rig.first.prober.crash(port)
        await rig.until(lambda: not any(rig.raft.state.servers[key(port)].reachable for port in (24000, 24003)))
        path = "/api/v2/clusters/bench/failover"
        accepted = await rig.first.ask("POST", path, json={"accept_loss": True}, headers={"Prefer": "wait=60"})
        assert accepted.status == 200, accepted.body
        recovery = accepted.json["result"]
        assert (recovery["promoted"], recovery["request"]["accept_loss"]) == (True, True)
        marks = {each["name"]: each["text"] for each in recovery["timeline"]}
        assert "127.0.0.1:24003 may have acknowledged transactions that nobody else has" in marks["loss accepted"]
        assert any("acknowledged writes may be lost: 127.0.0.1:24003" in each for each in recovery["errors"])
