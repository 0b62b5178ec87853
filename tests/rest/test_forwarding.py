"""From a follower to the leader: reads and writes, elections under way, answers lost, nobody leading."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api import forwarding
from api.exchange import Ask
from api.frames import NotLeading, decode_answer, encode_ask
from orchestrator_raft.engine.service import Person
from tests.rest.rig import Got, Node, Rig

DOWNTIME = "/api/begin-downtime/127.0.0.1/24001/me/why"


def downtimes(rig: Rig) -> int:
    return sum(1 for entry in rig.raft.state.audit if entry.type == "begin-downtime")


def handed_over(rig: Rig) -> list[tuple[str, str]]:
    return [(source, target) for source, target, method in rig.raft.network.calls if method == forwarding.METHOD]


async def test_a_write_through_a_follower_is_carried_out_once_on_the_leader() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        answer = await rig["n3"].get(DOWNTIME)
        assert (answer.status, answer.message) == (200, "Downtime begun: 127.0.0.1:24001")
        assert downtimes(rig) == 1
        assert handed_over(rig) == [("n3", "n1")]


async def test_a_refusal_of_the_leader_arrives_as_it_is() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        at_leader, at_follower = [await rig[name].get("/api/end-downtime/127.0.0.1/24001") for name in ("n1", "n2")]
        assert (at_follower.status, at_follower.body) == (at_leader.status, at_leader.body)
        assert at_follower.status == 500


async def test_the_leader_asks_nobody() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        await rig["n1"].get("/api/clusters")
        assert handed_over(rig) == []


async def test_what_concerns_the_node_itself_is_never_forwarded() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        for path in ("health", "leader-check", "raft-state", "lb-check", "headers"):
            await rig["n2"].get(f"/api/{path}")
        assert handed_over(rig) == []


async def test_unknown_paths_and_forbidden_writes_stay_here() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        await rig["n2"].get("/api/nonesuch")
        await rig["n2"].get("/api/instance/h/port")
        assert handed_over(rig) == []


async def test_a_native_write_is_forwarded_with_its_body() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        body = {"owner": "ann", "reason": "a <b> & ü", "duration": "1h"}
        answer = await rig["n2"].ask("POST", "/api/v2/servers/127.0.0.1:24001/downtime", json=body)
        assert answer.status == 200, answer.body
        [mark] = rig.raft.state.downtimes.values()
        assert (mark.owner, mark.reason) == ("ann", "a <b> & ü")


async def test_without_a_leader_reads_are_answered_here_and_writes_refused() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        rig.raft.elect(None)
        for path, count in (("/api/clusters", 1), ("/api/cluster/bench", 4), ("/api/all-instances", 4)):
            answer = await rig["n2"].get(path)
            assert (answer.status, len(answer.json)) == (200, count)
            assert answer.headers["X-Node-ID"] == "n2"
        shown = (await rig["n2"].get("/api/instance/127.0.0.1/24001")).json
        assert shown["Problems"] == ["not_recently_checked"], "nobody keeps this record current now"
        refused = await rig["n2"].get(DOWNTIME)
        assert (refused.status, downtimes(rig)) == (500, 0)
        assert "no leader is known now, so nothing was changed" in refused.message
        native = await rig["n2"].ask("POST", "/api/v2/recoveries/disable")
        assert native.status == 503


async def test_without_a_leader_nobody_is_called_dead() -> None:
    """A node that does not probe must not report what only a probe can know."""
    async with Rig(3) as rig:
        await rig.discovered()
        rig.raft.elect(None)
        for path in ("/api/replication-analysis", "/api/problems"):
            answer = await rig["n2"].get(path)
            assert (answer.status, answer.json["Code"]) == (500, "ERROR")
            assert "only the leader sees what is wrong" in answer.message


async def test_a_leader_that_has_just_been_elected_is_waited_for() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        rig.raft.without_authority.add("n2")
        rig.raft.elect("n2")
        asked = [rig.begin(rig[name].get(DOWNTIME)) for name in ("n1", "n2", "n3")]
        await asyncio.sleep(0.1)
        assert not any(each.done() for each in asked)
        rig.raft.without_authority.clear()
        rig.raft.changed()
        assert [(await each).status for each in asked] == [200, 200, 200]
        assert downtimes(rig) == 3


async def test_a_read_does_not_wait_for_authority() -> None:
    """A load balancer that asks who leads wants to hear it now, whatever it is."""
    async with Rig(3) as rig:
        await rig.discovered()
        rig.raft.without_authority.add("n1")
        asked = [await rig["n2"].get(f"/api/{path}") for path in ("routed-leader-check", "clusters")]
        assert [answer.status for answer in asked] == [404, 200]
        assert {answer.headers["X-Node-ID"] for answer in asked} == {"n1"}


async def elect_while_asking(rig: Rig, node: Node, path: str, *, lose_answer: bool) -> Got:
    """The leader is deposed after it got the request."""
    handlers = rig.raft.network.handlers
    first = handlers[("n1", forwarding.METHOD)]

    async def deposed(node_id: str, payload: bytes) -> bytes:
        if lose_answer:
            await first(node_id, payload)
            rig.raft.network.lost_answers.add("n1")
        rig.raft.elect("n2")
        return b"" if lose_answer else await first(node_id, payload)

    handlers[("n1", forwarding.METHOD)] = deposed
    return await node.get(path)


async def test_a_write_that_the_old_leader_did_not_take_goes_to_the_new_one() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        answer = await elect_while_asking(rig, rig["n3"], DOWNTIME, lose_answer=False)
        assert answer.status == 200, answer.body
        assert answer.headers["X-Node-ID"] == "n2"
        assert downtimes(rig) == 1
        assert handed_over(rig) == [("n3", "n1"), ("n3", "n2")]


async def test_a_write_whose_answer_was_lost_is_not_repeated() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        answer = await elect_while_asking(rig, rig["n3"], DOWNTIME, lose_answer=True)
        assert answer.status == 500
        assert "it may have been carried out" in answer.message
        assert answer.headers["X-Request-ID"] in answer.message
        assert downtimes(rig) == 1, "once, and the caller knows that it may have been"
        assert handed_over(rig) == [("n3", "n1")]


async def test_a_read_whose_answer_was_lost_is_asked_again() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        answer = await elect_while_asking(rig, rig["n3"], "/api/clusters", lose_answer=True)
        assert (answer.status, answer.json) == (200, ["127.0.0.1:24000"])
        assert answer.headers["X-Node-ID"] == "n2"


async def test_a_write_without_a_connection_waits_for_the_next_leader() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        rig.raft.network.cut("n1", "n3")
        asked = rig.begin(rig["n3"].get(DOWNTIME))
        await asyncio.sleep(0.05)
        assert not asked.done()
        rig.raft.elect("n2")
        answer = await asked
        assert (answer.status, answer.headers["X-Node-ID"]) == (200, "n2")
        assert downtimes(rig) == 1


async def test_when_this_node_becomes_the_leader_it_answers_itself() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        rig.raft.network.cut("n1", "n3")
        asked = rig.begin(rig["n3"].get(DOWNTIME))
        await asyncio.sleep(0.05)
        rig.raft.elect("n3")
        answer = await asked
        assert (answer.status, answer.headers["X-Node-ID"]) == (200, "n3")
        assert "X-Via-Node-ID" not in answer.headers


async def test_when_no_leader_comes_a_write_is_refused_and_a_read_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "NEW_LEADER_WAIT_S", 0.1)
    async with Rig(3) as rig:
        await rig.discovered()
        rig.raft.network.cut("n1", "n3")
        refused = await rig["n3"].get(DOWNTIME)
        assert (refused.status, downtimes(rig)) == (500, 0)
        assert "nothing was changed" in refused.message
        assert (await rig["n3"].get("/api/clusters")).json == ["127.0.0.1:24000"]


async def test_a_forwarded_request_is_never_forwarded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes that each take the other for the leader."""
    monkeypatch.setattr(forwarding, "NEW_LEADER_WAIT_S", 0.1)
    async with Rig(3) as rig:
        await rig.discovered()
        rig["n2"].view.changes = {"leader_id": "n3"}
        rig["n3"].view.changes = {"leader_id": "n2"}
        answer = await rig["n2"].get("/api/clusters")
        assert answer.status == 200, "from its own state"
        assert handed_over(rig) == [("n2", "n3")]


async def test_a_long_operation_is_waited_for_and_an_ordinary_one_not_for_ever() -> None:
    limits = {name: forwarding.deadline_s(operation) for name, operation in operations().items()}
    assert limits["graceful-master-takeover-auto"] > 900 >= 30
    assert limits["discover"] == 30
    assert limits["clusters"] < 30


def operations() -> dict[str, Any]:
    from orchestrator_raft.operations import OPERATION_BY_NAME

    return OPERATION_BY_NAME


async def test_a_node_that_does_not_lead_says_so_instead_of_answering() -> None:
    async with Rig(2) as rig:
        handler = rig.raft.network.handlers[("n2", forwarding.METHOD)]
        ask = Ask(method="GET", path="/api/clusters", request_id="r")
        reply = decode_answer(await handler("n1", encode_ask(ask, Person("ann"))))
        assert isinstance(reply, NotLeading)


async def test_a_write_that_has_begun_goes_on_when_the_connection_breaks() -> None:
    """The nodes' channel cancels a handler whose caller is gone."""
    async with Rig(2) as rig:
        await rig.discovered()
        handler = rig.raft.network.handlers[("n1", forwarding.METHOD)]
        rig.raft.gate = asyncio.Event()
        ask = Ask(method="GET", path=DOWNTIME, request_id="r")

        async def handle() -> bytes:
            return await handler("n2", encode_ask(ask, Person("ann")))

        handling = rig.begin(handle())
        await rig.until(lambda: rig.raft.at_gate > 0)
        handling.cancel()
        await rig.until(handling.done)
        assert (handling.cancelled(), downtimes(rig)) == (True, 0)
        rig.raft.gate.set()
        await rig.until(lambda: downtimes(rig) == 1)


async def test_a_takeover_through_a_follower_arrives_whole() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        answer = await rig["n2"].get("/api/graceful-master-takeover-auto/bench/127.0.0.1/24003")
        assert answer.status == 200, answer.body
        assert answer.json["Details"]["SuccessorKey"]["Port"] == 24003
        assert answer.json["Details"]["ProcessingNodeHostname"] == "host-n1"
