"""The wire: decoding of paths, methods, compression, escaping, ids, limits; what a martini router and Go would do."""

from __future__ import annotations

import asyncio
import gzip
import json

import aiohttp
import pytest

from api.settings import ApiSettings
from tests.rest.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
GZIP = {"Accept-Encoding": "gzip, deflate"}
PLAIN = {"Accept-Encoding": "identity"}


async def raw(rig: Rig, request: bytes) -> bytes:
    """The bytes that answer these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.first.server.port)
    writer.write(request)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/api/nonesuch", "/api/cluster", "/api/cluster//", "//api/clusters", "/api/clusters//",
     "/api/discover/127.0.0.1", "/apiclusters", "/API/clusters", "/api/Clusters"],
)  # fmt: skip
async def test_an_unknown_path_is_answered_as_go_does(reading: Rig, path: str) -> None:
    answer = await reading.first.get(path)
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/cluster/127.0.0.1%3A24000", 200),
        ("/api/%63lusters", 200),
        ("/api/begin-downtime/127.0.0.1/24001/me/a%2Fb/10m", 404),
        ("/api/begin-downtime/127.0.0.1/24001/me/a%3Fb/10m", 404),
        ("/api/begin-downtime/127.0.0.1/24001/me/a%23b/10m", 404),
        ("/api%2Fclusters", 200),
        ("/api/cluster/b%ff", 500),
        ("/api/cluster/b%0A", 500),
    ],
)
async def test_a_path_is_decoded_before_it_is_matched(reading: Rig, path: str, status: int) -> None:
    assert (await reading.first.get(path)).status == status


async def test_text_in_a_path_arrives_as_it_was_meant() -> None:
    async with Rig() as rig:
        await rig.discovered()
        await rig.first.get("/api/begin-downtime/127.0.0.1/24001/a%20b/50%25%20+%20%C3%BC%20%3Cb%3E%26/10m")
        [shown] = (await rig.first.get("/api/downtimed")).json
        assert (shown["DowntimeOwner"], shown["DowntimeReason"]) == ("a b", "50% + ü <b>&")


async def test_html_is_escaped_in_json_as_go_does(reading: Rig) -> None:
    answer = await reading.first.get("/api/topology/bench")
    assert b"\\u003e\\u003e,GTID" in answer.body
    for sign in b"<>&":
        assert sign not in answer.body
    assert ">>,GTID" in answer.json["Details"]


async def test_json_is_compact(reading: Rig) -> None:
    body = (await reading.first.get("/api/clusters-info")).body
    assert body == json.dumps(json.loads(body), separators=(",", ":")).encode()


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_an_answer_is_compressed_for_who_takes_it(reading: Rig, node: str) -> None:
    port = reading[node].server.port
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        url = f"http://127.0.0.1:{port}/api/all-instances"
        async with client.get(url, headers=GZIP) as packed, client.get(url, headers=PLAIN) as unpacked:
            assert packed.headers["Content-Encoding"] == "gzip"
            assert "Content-Encoding" not in unpacked.headers
            assert packed.headers["Vary"] == unpacked.headers["Vary"] == "Accept-Encoding"
            both = [json.loads(gzip.decompress(await packed.read())), json.loads(await unpacked.read())]
    assert [len(each) for each in both] == [4, 4]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_the_compatible_api_is_get_only(reading: Rig, method: str) -> None:
    answer = await reading.first.ask(method, "/api/clusters")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


async def test_head_carries_nothing_out(reading: Rig) -> None:
    """A page preview or a link checker must not fail a cluster over."""
    before = reading.raft.state.recovery_number
    answer = await reading.first.ask("HEAD", "/api/force-master-failover/bench")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert reading.raft.state.recovery_number == before


async def test_every_answer_names_node_role_and_term(reading: Rig) -> None:
    for path in ("/api/lb-check", "/api/clusters", "/api/nonesuch", "/api/cluster/nonesuch", "/api/v2/nonesuch"):
        answer = await reading["n1"].get(path)
        found = [answer.headers[name] for name in ("X-Node-ID", "X-Raft-Role", "X-Raft-Term")]
        assert found == ["n1", "Leader", "1"], path
    own = await reading["n2"].get("/api/lb-check")
    assert (own.headers["X-Node-ID"], own.headers["X-Raft-Role"]) == ("n2", "Follower")
    forwarded = await reading["n2"].get("/api/clusters")
    assert (forwarded.headers["X-Node-ID"], forwarded.headers["X-Via-Node-ID"]) == ("n1", "n2")


async def test_a_request_id_is_kept_or_made(reading: Rig) -> None:
    given = await reading.first.get("/api/clusters", headers={"X-Request-ID": "ticket-4711/b"})
    assert given.headers["X-Request-ID"] == "ticket-4711/b"
    made = [(await reading.first.get("/api/clusters")).headers["X-Request-ID"] for _ in range(2)]
    assert len(set(made)) == 2


@pytest.mark.parametrize("bad", ["x" * 129, "a b", 'a"b', "a;b", "ü", ""])
async def test_a_strange_request_id_is_replaced(reading: Rig, bad: str) -> None:
    answer = await raw(reading, get("/api/lb-check", f"X-Request-ID: {bad}"))
    [line] = [each for each in answer.split(b"\r\n") if each.lower().startswith(b"x-request-id")]
    assert line.split(b": ")[1] != bad.encode()
    assert len(line.split(b": ")[1]) == 24


@pytest.mark.parametrize("node", ["n1", "n3"])
async def test_the_request_id_stands_in_the_audit_trail(node: str) -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        headers = {"X-Request-ID": "ticket-1"}
        await rig[node].get("/api/begin-downtime/127.0.0.1/24001/me/why", headers=headers)
        [entry] = [each for each in rig.raft.state.audit if each.type == "begin-downtime"]
        assert entry.request_id == "ticket-1"


async def test_headers_are_echoed_without_what_authenticates(reading: Rig) -> None:
    answer = await raw(reading, get("/api/headers", "x-test: one", "X-Test: two", "Authorization: Basic c2VjcmV0"))
    shown = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert shown == {"Authorization": ["********"], "Connection": ["close"], "X-Test": ["one", "two"]}


async def test_bytes_that_are_no_text_do_no_harm(reading: Rig) -> None:
    for request in (
        get("/api/headers").replace(b"Host: x", b"Host: x\r\nX-Bad: \xff\xfe"),
        get("/api/search?s=%FF%FE"),
        get("/api/search?s=Q").replace(b"Q", b"\xff"),
        get("/api/cluster/Q").replace(b"Q", b"\xff"),
    ):
        answer = await raw(reading, request)
        assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 400", b"HTTP/1.1 500")), answer
    assert reading.first.defects == []


async def test_a_body_that_is_too_large_is_refused(reading: Rig) -> None:
    answer = await reading.first.ask("POST", "/api/v2/recoveries/acknowledge", data=b"x" * (64 * 1024 + 1))
    assert answer.status == 413
    assert "X-Request-ID" in answer.headers


async def test_a_prefix_is_in_front_of_every_path() -> None:
    async with Rig(settings=ApiSettings(url_prefix="/orc")) as rig:
        for path, status in (("/orc/api/lb-check", 200), ("/api/lb-check", 404), ("/orc/api/status", 200),
                             ("/orc/api/v2/health", 200), ("/api/v2/health", 404)):  # fmt: skip
            assert (await rig.first.get(path)).status == status, path


async def test_the_status_path_is_served_where_it_was_asked_for() -> None:
    async with Rig(settings=ApiSettings(url_prefix="/orc", status_path="/my/status")) as rig:
        answer = await rig.first.get("/my/status")
        assert answer.message == "Application node is healthy"
        assert (await rig.first.get("/orc/api/status")).status == 404
        assert (await rig.first.get("/orc/api/health")).status == 200


async def test_messages_can_name_who_speaks() -> None:
    async with Rig(settings=ApiSettings(message_identity="orc-1")) as rig:
        assert (await rig.first.get("/api/health")).message == "Orchestrator orc-1 says: Application node is healthy"
        refused = await rig.first.get("/api/cluster/nonesuch")
        assert refused.message.startswith("Orchestrator orc-1 says: Unable to determine cluster name")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/api/cluster/nonesuch", "Unable to determine cluster name. clusterHint=nonesuch"),
        ("/api/instance/nonesuch/1", "Cannot read instance: nonesuch:1"),
        ("/api/instance/h/port", "Invalid port: port"),
        ("/api/instance/h/0", "Invalid port: 0"),
        ("/api/instance/h/65536", "Invalid port: 65536"),
        ("/api/ack-recovery/1", "No acknowledge comment given"),
        ("/api/ack-all-recoveries?comment=", "No acknowledge comment given"),
        ("/api/begin-downtime/127.0.0.1/24001/me/why/soon", "'soon' is no duration"),
        ("/api/forget/nonesuch/1", "ForgetInstance(): instance nonesuch:1 not found"),
        ("/api/master/nonesuch", "Unable to determine cluster name. clusterHint=nonesuch"),
        ("/api/recover/127.0.0.1/24000", "nothing to recover"),
        ("/api/set-writeable/127.0.0.1/24001", "127.0.0.1:24000 is the primary of this cluster"),
        ("/api/audit/x", "'x' is no number"),
    ],
)
async def test_bad_input_is_told_in_an_envelope_and_changes_nothing(reading: Rig, path: str, message: str) -> None:
    before = reading.raft.state
    answer = await reading.first.get(path)
    assert answer.status == 500
    assert list(answer.json) == ["Code", "Message", "Details"]
    assert (answer.json["Code"], answer.json["Details"]) == ("ERROR", None)
    assert message in answer.message
    assert (reading.raft.state.audit, reading.raft.state.servers) == (before.audit, before.servers)


async def test_a_defect_is_reported_with_its_request_and_shown_without_details(reading: Rig) -> None:
    node = reading["n3"]
    moment = node.service.desk.moment

    def broken() -> None:
        raise ZeroDivisionError("the inside of things")

    leader, reading.raft.leader = reading.raft.leader, None
    node.service.desk.moment = broken  # type: ignore[method-assign,assignment]
    try:
        for path, status in (("/api/clusters", 500), ("/api/v2/clusters", 500)):
            answer = await node.get(path, headers={"X-Request-ID": "r-1"})
            assert answer.status == status
            assert b"r-1" in answer.body
            assert b"inside" not in answer.body
            assert b"ZeroDivision" not in answer.body
    finally:
        reading.raft.leader = leader
        node.service.desk.moment = moment  # type: ignore[method-assign]
    assert [(request_id, what) for request_id, what, _ in node.defects] == [
        ("r-1", "GET /api/clusters"), ("r-1", "GET /api/v2/clusters")
    ]  # fmt: skip
    node.defects.clear()


async def test_query_parameters_stand_for_what_the_path_has_not(reading: Rig) -> None:
    assert len((await reading.first.get("/api/search?s=24002")).json) == 1
    assert len((await reading.first.get("/api/search?s=bench&s=24002")).json) == 4
    assert len((await reading.first.get("/api/search/24002?s=24003&unknown=1")).json) == 1
    assert (await reading.first.get("/api/audit-recovery?unacknowledged=true")).json == []


async def test_many_clients_at_once(reading: Rig) -> None:
    answers = await asyncio.gather(*(reading[f"n{1 + number % 3}"].get("/api/cluster/bench") for number in range(60)))
    assert {answer.status for answer in answers} == {200}
    assert {len(answer.json) for answer in answers} == {4}
