"""The event stream: what is told, resumed on any node, cut off where something is missing, bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from api import events
from orchestrator_raft.core.policy import ClusterFilters
from orchestrator_raft.core.replicated.commands import SwitchRecoveries
from orchestrator_raft.core.replicated.state import EVENTS_MAX
from tests.rest.rig import POLICY, Node, Rig

PATIENCE_S = 10.0


@dataclass
class Heard:
    """One event of a stream; a comment has the name ":"."""

    name: str = ""
    number: int | None = None
    data: Any = None


@dataclass
class Listener:
    response: aiohttp.ClientResponse
    before: list[Heard] = field(default_factory=list)

    async def next(self) -> Heard:
        async with asyncio.timeout(PATIENCE_S):
            heard = Heard()
            while True:
                line = (await self.response.content.readline()).decode().rstrip("\n")
                if not line and (heard.name or self.response.content.at_eof()):
                    self.before.append(heard)
                    return heard
                name, _, value = line.partition(":")
                if line.startswith(":"):
                    heard.name = ":"
                elif name == "event":
                    heard.name = value.strip()
                elif name == "id":
                    heard.number = int(value)
                elif name == "data":
                    heard.data = json.loads(value)

    async def until(self, name: str) -> Heard:
        while True:
            heard = await self.next()
            assert heard.name, "the stream ended"
            if heard.name == name:
                return heard


@asynccontextmanager
async def listening(node: Node, query: str = "", **headers: str) -> AsyncIterator[Listener]:
    async with aiohttp.ClientSession() as session, session.get(
        f"{node.url}/api/v2/events{query}", headers=headers
    ) as response:  # fmt: skip
        assert response.status == 200, await response.read()
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Listener(response)


async def disable(node: Node, word: str = "disable", identifier: str = "") -> None:
    assert (await node.ask("POST", f"/api/v2/recoveries/{word}", headers={"X-Request-ID": identifier})).status == 200


async def test_followers_tell_what_happens_as_the_leader_does() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        async with listening(rig["n1"]) as one, listening(rig["n3"]) as other:
            await one.until("problems")
            await other.until("problems")
            await disable(rig["n2"], identifier="id-disable")
            heard = [await each.until("recoveries-disabled") for each in (one, other)]
            assert heard[0] == heard[1]
            assert heard[0].data["request_id"] == "id-disable"
            assert heard[0].number == heard[0].data["number"] <= rig.raft.state.event_number


async def test_who_comes_back_is_told_what_was_missed_on_any_node() -> None:
    async with Rig(2) as rig:
        await rig.discovered()
        await rig.until(lambda: all(each.caught_up for each in rig.raft.state.clusters.values()))
        async with listening(rig["n1"]) as first:
            await first.until("problems")
            await disable(rig["n1"])
            last = await first.until("recoveries-disabled")
        await disable(rig["n1"], "enable")
        await disable(rig["n1"])
        for query, headers in (("", {"Last-Event-ID": str(last.number)}), (f"?last_event_id={last.number}", {})):
            async with listening(rig["n2"], query, **headers) as again:
                told = [await again.until(name) for name in ("recoveries-enabled", "recoveries-disabled")]
                assert last.number is not None
                assert [each.number for each in told] == [last.number + 1, last.number + 2]


async def test_who_missed_more_than_is_kept_is_told_to_begin_anew() -> None:
    async with Rig() as rig:
        await rig.discovered()
        before = rig.raft.state.event_number
        for number in range(EVENTS_MAX + 1):
            await rig.raft.commit(SwitchRecoveries(id=f"s{number}", at_ms=number, enabled=bool(number % 2)))
        async with listening(rig.first, **{"Last-Event-ID": str(before)}) as late:
            reset = await late.until("reset")
            assert reset.number == rig.raft.state.event_number
            assert {each.name for each in late.before} <= {"", "problems", "reset"}
            await disable(rig.first, "enable")
            assert (await late.until("recoveries-enabled")).number == reset.number + 1


async def test_an_id_from_the_future_is_another_cluster_and_begins_anew() -> None:
    async with Rig() as rig:
        await rig.discovered()
        async with listening(rig.first, **{"Last-Event-ID": "999999"}) as listener:
            assert (await listener.until("reset")).number == rig.raft.state.event_number


async def test_problems_are_told_on_every_node_when_they_come_and_when_they_go() -> None:
    nobody_recovers = replace(POLICY, recover_primary=ClusterFilters(()))
    async with Rig(2, policy=nobody_recovers) as rig:
        await rig.discovered()
        async with listening(rig["n2"], "?cluster=bench") as listener:
            rig.first.prober.crash(24000)
            while not (problems := await listener.until("problems")).data:
                pass
            assert "127.0.0.1:24000" in {each["server"] for each in problems.data}
            rig.fleet[24000].down = None
            rig.fleet.settle()
            while (await listener.until("problems")).data:
                pass


async def test_lag_and_reachability_are_told_to_who_asks_for_them() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        async with listening(rig["n2"], "?servers=true&cluster=bench") as follower:
            well = {"reached": True, "replicates": True, "lag_s": 0}
            while (await follower.until("servers")).data.get("127.0.0.1:24002") != well:
                pass
            rig.first.prober.crash(24002)
            while True:
                changed = (await follower.until("servers")).data
                if not changed.get("127.0.0.1:24002", {"reached": True})["reached"]:
                    break
            assert len(changed) < 4


async def test_a_failover_is_told_from_the_problem_to_the_end() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        async with listening(rig["n2"]) as listener:
            await listener.until("problems")
            rig.first.prober.crash(24000)
            await listener.until("recovery-ended")
            names = [each.name for each in listener.before]
            for name in ("problem-detected", "recovery-started", "recovery-phase", "recovery-promoted"):
                assert name in names, names
            assert "primary-changed" in names
            numbers = [each.number for each in listener.before if each.number is not None]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "a gap, or one told twice"


async def test_streams_are_bounded_and_a_place_is_free_again_when_a_client_goes() -> None:
    async with Rig() as rig:
        await rig.discovered()
        rig.first.front._events._most = 1
        async with listening(rig.first) as listener:
            await listener.until("problems")
            refused = await rig.first.get("/api/v2/events")
            assert refused.status == 503 and "ask another node" in refused.json["detail"]
            listener.response.close()
            await disable(rig.first)
            await rig.until(lambda: rig.first.front._events.count == 0)
        async with listening(rig.first) as listener:
            await listener.until("problems")


async def test_a_quiet_stream_shows_that_it_lives() -> None:
    async with Rig() as rig:
        await rig.discovered()
        rig.first.front._events._heartbeat_s = 0.01
        async with listening(rig.first) as listener:
            await listener.until(":")


async def test_a_wrong_id_or_cluster_is_named() -> None:
    async with Rig() as rig:
        await rig.discovered()
        wrong = await rig.first.get("/api/v2/events", headers={"Last-Event-ID": "abc"})
        assert wrong.status == 400 and "Last-Event-ID" in wrong.json["detail"]
        unknown = await rig.first.get("/api/v2/events?cluster=nonesuch")
        assert unknown.status == 400 and "nonesuch" in unknown.json["detail"]
        assert (await rig.first.ask("HEAD", "/api/v2/events")).status == 200
        assert rig.first.front._events.count == 0


async def test_stopping_ends_the_streams() -> None:
    async with Rig() as rig:
        await rig.discovered()
        async with listening(rig.first) as listener:
            await listener.until("problems")
            await rig.first.server.stop()
            while (await listener.next()).name:
                pass


def test_the_limits_are_those_that_the_documents_tell() -> None:
    assert (events.STREAMS_MAX, events.HEARTBEAT_S, EVENTS_MAX) == (100, 15.0, 1000)
