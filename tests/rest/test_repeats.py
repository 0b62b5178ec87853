"""A write that comes again under the same X-Request-ID: the same answer, done once, whichever node hears it."""

from __future__ import annotations

import asyncio

import pytest

from api.repeats import REPLAYED
from api.settings import ApiSettings, AuthenticationMethod
from orchestrator_raft.core.errors import Overloaded, Unavailable
from orchestrator_raft.core.replicated.commands import BeginDowntime, ClaimRecovery, KeepAnswer
from tests.rest.rig import Got, Rig
from tests.rest.test_access import basic

DOWNTIME = "/api/v2/servers/127.0.0.1:24001/downtime"
BODY = {"owner": "me", "reason": "why", "duration": "10m"}


def with_id(identifier: str, **more: str) -> dict[str, str]:
    return {"X-Request-ID": identifier, **more}


def is_replay(answer: Got) -> bool:
    return answer.headers.get(REPLAYED[0]) == REPLAYED[1]


async def test_the_same_request_on_another_node_gets_the_first_answer_and_is_done_once() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        first = await rig["n2"].ask("POST", DOWNTIME, json=BODY, headers=with_id("q1"))
        again = [await rig[name].ask("POST", DOWNTIME, json=BODY, headers=with_id("q1")) for name in ("n1", "n3")]
        assert first.status == 200 and not is_replay(first)
        assert [(each.status, each.body, is_replay(each)) for each in again] == [(200, first.body, True)] * 2
        assert sum(isinstance(command, BeginDowntime) for command in rig.raft.log) == 1
        assert first.headers["X-Request-ID"] == "q1"


async def test_the_native_api_refuses_the_same_id_with_other_parameters() -> None:
    async with Rig() as rig:
        await rig.discovered()
        await rig.first.ask("POST", DOWNTIME, json=BODY, headers=with_id("q1"))
        other = await rig.first.ask("POST", DOWNTIME, json={**BODY, "reason": "other"}, headers=with_id("q1"))
        assert other.status == 422
        assert "other parameters" in other.json["detail"]
        assert [each.reason for each in rig.raft.state.downtimes.values()] == ["why"]


async def test_on_the_compatible_api_other_parameters_are_another_request() -> None:
    async with Rig() as rig:
        await rig.discovered()
        for reason in ("one", "two", "one"):
            path = f"/api/begin-downtime/127.0.0.1/24001/me/{reason}/10m"
            assert (await rig.first.get(path, headers=with_id("q1"))).status == 200
        assert sum(isinstance(command, BeginDowntime) for command in rig.raft.log) == 2


async def test_ids_that_nobody_chose_and_ids_of_others_repeat_nothing() -> None:
    settings = ApiSettings(authentication=AuthenticationMethod.TOKEN, user="boss", password="x", power_users=("*",))
    async with Rig(settings=settings) as rig:
        boss = basic("boss", "x")
        await rig.until(lambda: rig.first.service.may_act)
        await rig.first.get("/api/discover/127.0.0.1/24000", headers=boss)
        for headers in (boss, boss, {**boss, "X-Request-ID": "not valid: a b"}):
            assert not is_replay(await rig.first.ask("POST", "/api/v2/recoveries/disable", headers=headers))
        assert rig.raft.state.answers == {}


async def test_two_of_the_same_at_one_time_are_done_once() -> None:
    async with Rig(2) as rig:
        await rig.discovered()
        rig.raft.gate = asyncio.Event()
        asked = [
            rig.begin(rig[name].ask("POST", DOWNTIME, json=BODY, headers=with_id("q1"))) for name in ("n1", "n2", "n1")
        ]
        await rig.until(lambda: rig.raft.at_gate > 0)
        rig.raft.gate.set()
        answers = await asyncio.gather(*asked)
        assert {answer.body for answer in answers} == {answers[0].body}
        assert sum(isinstance(command, BeginDowntime) for command in rig.raft.log) == 1
        assert sum(is_replay(answer) for answer in answers) == 2


async def test_what_was_refused_because_of_bad_input_may_be_asked_again() -> None:
    async with Rig() as rig:
        await rig.discovered()
        bad = await rig.first.ask("POST", DOWNTIME, json={"owner": "me"}, headers=with_id("q1"))
        good = await rig.first.ask("POST", DOWNTIME, json=BODY, headers=with_id("q1"))
        assert (bad.status, good.status) == (400, 200)


async def test_a_refusal_is_an_answer_and_comes_again() -> None:
    async with Rig() as rig:
        await rig.discovered()
        path = "/api/v2/clusters/bench/failover"
        headers = with_id("q1", Prefer="wait=60")
        first = await rig.first.ask("POST", path, json={"careful": True}, headers=headers)
        again = await rig.first.ask("POST", path, json={"careful": True}, headers=headers)
        assert (first.status, again.status, again.body) == (409, 409, first.body)
        assert is_replay(again)


async def test_a_policy_of_another_version_is_no_answer_to_keep_and_the_version_is_a_parameter() -> None:
    async with Rig(2) as rig:
        await rig.discovered()
        set_ = await rig.first.ask("POST", DOWNTIME, json=BODY, headers=with_id("q0"))
        tag = set_.headers["ETag"]
        late = await rig["n2"].ask("DELETE", DOWNTIME, headers=with_id("q1", **{"If-Match": '"999"'}))
        assert late.status == 412
        assert [kept.status for kept in rig.raft.state.answers.values()] == [200]
        other = await rig["n2"].ask("POST", DOWNTIME, json=BODY, headers=with_id("q0", **{"If-Match": '"999"'}))
        assert other.status == 422
        gone = await rig["n2"].ask("DELETE", DOWNTIME, headers=with_id("q1", **{"If-Match": tag}))
        assert gone.status == 200 and not is_replay(gone), "the same id, read anew and decided anew"
        again = await rig.first.ask("DELETE", DOWNTIME, headers=with_id("q1", **{"If-Match": tag}))
        assert again.status == 200 and is_replay(again)


async def test_what_a_node_does_to_itself_is_done_once_on_each() -> None:
    async with Rig(2) as rig:
        await rig.discovered()
        for name, replayed in (("n1", False), ("n2", False), ("n1", True)):
            answer = await rig[name].ask("POST", "/api/v2/configuration/reload", headers=with_id("q1"))
            assert answer.status == 200 and is_replay(answer) is replayed
        assert [node.reload.count for node in rig.nodes.values()] == [1, 1]


async def test_a_takeover_whose_answer_was_lost_with_its_leader_is_not_made_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer was not kept; the new leader recognises the recovery by its id, and tells how it ended."""
    async with Rig(2) as rig:
        await rig.discovered()
        headers = with_id("q1", Prefer="wait=60")
        path = "/api/v2/clusters/bench/takeover"

        async def lost(*_details: object, **_more: object) -> None:
            raise Unavailable("the leader died just now")

        with monkeypatch.context() as patch:
            patch.setattr(rig["n1"].service, "keep_answer", lost)
            first = await rig["n1"].ask("POST", path, json={"target": "127.0.0.1:24002"}, headers=headers)
        assert first.status == 200, first.body
        rig.raft.elect("n2")
        await rig.until(lambda: rig["n2"].service.may_act)
        again = await rig["n2"].ask("POST", path, json={"target": "127.0.0.1:24002"}, headers=headers)
        assert again.status == 200, again.body
        assert again.json["result"]["id"] == first.json["result"]["id"]
        claims = {command.id for command in rig.raft.log if isinstance(command, ClaimRecovery)}
        assert len(claims) == 1
        rig["n1"].defects.clear()


async def test_a_long_operation_is_answered_at_once_with_where_to_follow_it() -> None:
    async with Rig() as rig:
        await rig.discovered()
        started = await rig.first.ask("POST", "/api/v2/clusters/bench/takeover", headers=with_id("q1"))
        assert started.status == 202, started.body
        location = started.headers["Location"]
        assert started.json["follow"] == location
        recovery = started.json["result"]
        assert location == f"/api/v2/recoveries/{recovery['id']}" and recovery["request"]["request_id"] == "q1"
        await rig.until(lambda: not rig.raft.state.active_recoveries)
        followed = await rig.first.get(location)
        assert (followed.status, followed.json["end"]) == (200, "succeeded")
        again = await rig.first.ask("POST", "/api/v2/clusters/bench/takeover", headers=with_id("q1"))
        assert (again.status, again.headers["Location"], again.body) == (202, location, started.body)


async def test_an_answer_that_is_too_large_is_not_kept() -> None:
    async with Rig() as rig:
        await rig.discovered()
        await rig.first.ask("POST", "/api/v2/servers/127.0.0.1:24001/refresh", headers=with_id("q1"))
        assert any(isinstance(command, KeepAnswer) for command in rig.raft.log)


async def test_that_a_node_was_overloaded_is_no_answer_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Rig() as rig:
        await rig.discovered()

        async def refuse(*_: object, **__: object) -> None:
            raise Overloaded("too much at once; nothing was done, ask again later")

        with monkeypatch.context() as patched:
            patched.setattr(rig.first.service, "call", refuse)
            first = await rig.first.ask("POST", DOWNTIME, json=BODY, headers=with_id("q1"))
        again = await rig.first.ask("POST", DOWNTIME, json=BODY, headers=with_id("q1"))
        assert (first.status, again.status) == (503, 200)
