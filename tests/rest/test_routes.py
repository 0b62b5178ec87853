"""Every row of ``operations``: each of its paths answers, as itself, with a body of the kind that the row promises."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable
from itertools import combinations
from typing import Any

import pytest

from api.routing import Route, Router, routes
from api.settings import ApiSettings
from orchestrator_raft.core.instance import UnreachableKind
from orchestrator_raft.core.policy import ClusterFilters
from orchestrator_raft.operations import OPERATION_BY_NAME, OPERATIONS, Operation, Where
from orchestrator_raft.operations.moves import MOVE_ROWS
from tests.engine.fleet import key, primary_facts
from tests.rest.rig import POLICY, Rig

VALUES = {
    "host": "127.0.0.1", "port": "24001", "targetHost": "127.0.0.1", "targetPort": "24001", "hint": "bench",
    "alias": "bench", "name": "127.0.0.1:24000", "page": "0", "id": "1", "uid": "nonesuch", "status": "503",
    "s": "24001", "owner": "me", "reason": "why", "duration": "10m",
    "server": "127.0.0.1:24001", "cluster": "bench", "target": "127.0.0.1:24001",
    "addr": "n9:10008", "by": "n8:10008",
    "seconds": "60", "queue": "DEFAULT", "rule": "prefer", "value": "web", "pool": "p1", "number": "1",
    "virtualname": "db1-virtual",
    "clusterName": "127.0.0.1:24000",
    "process": "17", "log_file": "bin.000001",
    "node": "127.0.0.1", "part": "127.0.0.1", "token": "abc", "bind": "127.0.0.1", "advertise": "127.0.0.1",
}  # fmt: skip
ON_THE_PRIMARY = ("force-master-failover", "force-master-takeover", "graceful-master-takeover", "recover")
QUERY = {"ack": "?comment=seen", "tag": "?tag=role=web", "untag": "?tag=role", "untag-all": "?tag=role",
         "tagged": "?tag=role", "purge-binary-logs": "?force=true", "tag-value": "?tag=role",
         "set-cluster-alias": "?alias=shop", "submit-pool-instances": "?instances=127.0.0.1:24001"}  # fmt: skip
WITHOUT_PARTNER = {"graceful-master-takeover/{host}/{port}", "graceful-master-takeover/{hint}"}
"""These name no target; with several replicas that is refused."""
UNDER_WAY_MS = 600_000

PATHS = [(operation.name, path) for operation in OPERATIONS for path in operation.compatible]
OWN_TESTS = ("events", "api-page", "use-access-token", "hooks-preview", "hooks-drill",
             "save-lost-transactions", "rebuild", "graceful-master-takeover")  # fmt: skip
"""These answer in another way: test_arguments, test_events, test_openapi, test_tokens, test_hook_drills;
tests/faults/test_rebuild."""
NOTHING_AMISS = {
    "skip-query": "No SQL error on",
    "enable-semi-sync-master": "would wait for 1 semi-sync replicas and has 0",
    "gtid-errant-reset-master": "no errant GTID is found",
    "gtid-errant-inject-empty": "no errant GTID is found",
    "locate-gtid-errant": "no errant GTID is found",
    "enable-gtid": "already uses GTID",
}
"""Refused on a server that is well; what they do: tests/scenarios and tests/adapters/test_steps_administration."""
MOVE_NAMES = (*(row.name for row in MOVE_ROWS), *NOTHING_AMISS)
"""These need a deeper tree: test_moves. Or something amiss."""
BY_PLACE = ("disable-gtid", "can-replicate-from")
"""The first needs real binary logs: tests/adapters/test_operations. The other names two servers in its native path."""
NATIVE = [
    (each.name, each.native)
    for each in OPERATIONS
    if each.native and each.name not in OWN_TESTS + MOVE_NAMES + BY_PLACE
]
READS = [(name, path) for name, path in PATHS if not OPERATION_BY_NAME[name].writes and name not in NOTHING_AMISS]
NEVER_DONE = ("raft-follower-health-report", "grab-election")
"""Answered with a refusal, whatever the arguments."""
NOT_HERE = (*NEVER_DONE, *MOVE_NAMES, "disable-gtid")
WRITES = [(name, path) for name, path in PATHS if OPERATION_BY_NAME[name].writes and name not in NOT_HERE]
EMPTY_LISTS = ("maintenance", "downtimed", "audit-recovery", "audit-failure-detection", "blocked-recoveries",
               "active-cluster-recovery", "audit-recovery-steps", "recently-active-cluster-recovery",
               "recently-active-instance-recovery", "pools")  # fmt: skip


def filled(operation: str, template: str) -> str:
    values = {**VALUES, "port": "24000"} if operation.startswith(ON_THE_PRIMARY) else VALUES
    values = {**VALUES, "targetPort": "24000"} if operation.startswith("can-replicate") else values
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template + QUERY.get("ack" if operation.startswith("ack") else operation, "")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("name", "path"), READS)
async def test_every_path_that_reads_answers(reading: Rig, name: str, path: str) -> None:
    answer = await reading.first.get(f"/api/{filled(name, path)}")
    assert answer.status == 200, answer.body
    is_envelope = isinstance(answer.json, dict) and "Code" in answer.json
    assert is_envelope is not OPERATION_BY_NAME[name].bare, answer.body
    if name in EMPTY_LISTS:
        assert answer.json == []
    assert reading.first.defects == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("name", "path"), READS)
async def test_a_follower_answers_reads_as_the_leader_does(reading: Rig, name: str, path: str) -> None:
    at_leader = await reading["n1"].get(f"/api/{filled(name, path)}")
    at_follower = await reading["n2"].get(f"/api/{filled(name, path)}")
    if name in ("leader-check", "raft-state", "health", "raft-status", "headers"):
        return  # about the node that was asked: see test_health
    assert at_follower.status == at_leader.status
    assert shape(at_follower.json) == shape(at_leader.json)


def shape(value: Any) -> Any:
    """Keys and types without values."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value).__name__


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("name", "path"), READS)
async def test_head_and_one_trailing_slash_are_answered_alike(reading: Rig, name: str, path: str) -> None:
    url = f"/api/{filled(name, path)}"
    head = await reading.first.ask("HEAD", url)
    plain, question, query = url.partition("?")
    slash = await reading.first.get(f"{plain}/{question}{query}")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0
    assert slash.status == 200, slash.body
    assert (await reading.first.get(f"{plain}//{question}{query}")).status == 404


Prepare = Callable[[Rig], Awaitable[None]]


async def in_downtime(rig: Rig) -> None:
    assert (await rig.first.get("/api/begin-downtime/127.0.0.1/24001/me/why")).status == 200


async def dead_primary(rig: Rig) -> None:
    """With automatic recovery off, so that only the person who asks recovers."""
    rig.first.prober.crash(24000)
    await rig.until(lambda: rig.first.service.desk.moment().topology.primary_of("c1") is not None)
    await rig.until(lambda: not is_reached(rig, 24000))
    await rig.until(lambda: not any(is_replicating(rig, port) for port in (24001, 24002, 24003)))


def server(rig: Rig, port: int) -> Any:
    moment = rig.first.service.desk.moment()
    return next(each for address, each in moment.topology.servers.items() if address.port == port)


def is_reached(rig: Rig, port: int) -> bool:
    return bool(server(rig, port).reached)


def is_replicating(rig: Rig, port: int) -> bool:
    return bool(server(rig, port).facts.channel.replicates)


async def one_more_peer(rig: Rig) -> None:
    await rig.first.raft_admin.add_member("n9:10008")


async def dead_replica(rig: Rig, port: int = 24001) -> None:
    """One that answers and acknowledges is not forgotten."""
    rig.first.prober.crash(port)
    await rig.until(lambda: not rig.raft.state.servers[key(port)].reachable)


async def in_maintenance(rig: Rig) -> None:
    assert (await rig.first.get("/api/begin-maintenance/127.0.0.1/24001/me/why")).status == 200


async def with_rule(rig: Rig) -> None:
    assert (await rig.first.get("/api/register-candidate/127.0.0.1/24001/prefer")).status == 200


async def with_pool(rig: Rig) -> None:
    assert (await rig.first.get("/api/submit-pool-instances/p1?instances=127.0.0.1:24001")).status == 200


async def with_virtual_name(rig: Rig) -> None:
    assert (await rig.first.get("/api/register-hostname-unresolve/127.0.0.1/24001/db1-virtual")).status == 200


async def paused(rig: Rig) -> None:
    assert (await rig.first.ask("POST", "/api/v2/pauses", json={"reason": "testing"})).status == 200


PREPARATIONS: dict[str, Prepare] = {
    "end-downtime": in_downtime,
    "forget": dead_replica,
    "resume-writes": paused,
    "end-maintenance": in_maintenance,
    "end-maintenance-number": in_maintenance,
    "deregister-candidate": with_rule,
    "drop-pool": with_pool,
    "deregister-hostname-unresolve": with_virtual_name,
    "recover": dead_primary,
    "recover-lite": dead_primary,
    "raft-remove-peer": one_more_peer,
    "raft-replace-peer": one_more_peer,
}


@pytest.mark.parametrize(("name", "path"), [each for each in WRITES if each[1] not in WITHOUT_PARTNER])
async def test_every_path_that_writes_answers(name: str, path: str) -> None:
    policy = dataclasses.replace(POLICY, recover_primary=ClusterFilters(())) if name.startswith("recover") else POLICY
    async with Rig(2 if name == "reelect" else 1, policy=policy) as rig:
        await rig.discovered()
        if name in PREPARATIONS:
            await PREPARATIONS[name](rig)
        if name == "set-writeable":
            path = "set-writeable/127.0.0.1/24000"
        answer = await rig.first.get(f"/api/{filled(name, path)}")
        assert answer.status == 200, answer.body
        if not OPERATION_BY_NAME[name].bare:
            assert list(answer.json) == ["Code", "Message", "Details"]
            assert answer.json["Code"] == "OK"
        assert rig.first.defects == []


@pytest.mark.parametrize("name", NOTHING_AMISS)
async def test_what_is_for_servers_with_something_amiss_is_refused_on_others(name: str) -> None:
    operation = OPERATION_BY_NAME[name]
    async with Rig() as rig:
        await rig.discovered()
        for path in operation.compatible:
            refused = await rig.first.get(f"/api/{filled(name, path)}")
            assert (refused.status, NOTHING_AMISS[name] in refused.message) == (500, True), refused.body
        url, body = filled("", operation.native.partition(" ")[2]), native_body(operation, operation.native)
        method = operation.native.partition(" ")[0]
        body = body if method == "POST" else None
        answer = await rig.first.ask(method, f"/api/v2{url}", json=body, headers={"Prefer": "wait=60"})
        assert (answer.status, NOTHING_AMISS[name] in answer.json["detail"]) == (409, True), answer.body
        assert rig.first.defects == []


@pytest.mark.parametrize("path", sorted(WITHOUT_PARTNER))
async def test_a_takeover_without_a_target_needs_a_single_replica(path: str) -> None:
    async with Rig() as rig:
        await rig.discovered()
        refused = await rig.first.get(f"/api/{filled('graceful-master-takeover', path)}")
        assert refused.status == 500
        assert "GracefulMasterTakeover: target instance not indicated" in refused.message


@pytest.mark.parametrize(("name", "native"), NATIVE)
async def test_every_native_path_answers(name: str, native: str) -> None:
    method, _, path = native.partition(" ")
    policy = dataclasses.replace(POLICY, recover_primary=ClusterFilters(())) if name == "recover" else POLICY
    async with Rig(2 if name == "raft-transfer" else 1, policy=policy) as rig:
        await rig.discovered()
        if name in PREPARATIONS:
            await PREPARATIONS[name](rig)
        on_primary = name.startswith((*ON_THE_PRIMARY, "set-writeable"))
        url = filled("", path).replace("24001", "24000") if on_primary else filled("", path)
        body = native_body(OPERATION_BY_NAME[name], path) if method == "POST" else None
        url += QUERY.get(name, "") if method == "GET" else ""
        answer = await rig.first.ask(method, f"/api/v2{url}", json=body, headers={"Prefer": "wait=60"})
        assert answer.status == 200, answer.body
        assert answer.headers["Content-Type"] == "application/json"
        json.loads(answer.body)
        assert rig.first.defects == []


def native_body(operation: Operation, path: str) -> dict[str, str]:
    given = {"addr": "n9:10008", "by": "n8:10008", "owner": "me", "reason": "why", "comment": "seen",
             "seconds": "60", "process": "17", "log_file": "bin.000001", "force": "true",
             "rule": "prefer", "name": "role", "alias": "shop", "virtualname": "db1-virtual"}  # fmt: skip
    return {
        each.name: given[each.name]
        for each in operation.parameters
        if each.name in given and f"{{{each.name}}}" not in path
    }


def test_no_two_routes_mean_the_same_path() -> None:
    for one, other in combinations(routes(ApiSettings()), 2):
        if len(one.segments) == len(other.segments) and set(one.methods) & set(other.methods):
            clash = all(
                a == b or a.startswith("{") or b.startswith("{")
                for a, b in zip(one.segments, other.segments, strict=True)
            )
            assert not clash, (one, other)


@pytest.mark.parametrize(
    "route",
    [each for each in routes(ApiSettings()) if each.operation in OPERATIONS],
    ids=lambda route: "/".join(route.segments),
)
def test_a_path_binds_the_operations_own_parameters(route: Route) -> None:
    path = "/" + filled(route.operation.name, "/".join(route.segments)).partition("?")[0]
    matches = [match for match in Router([route]).match(path)]
    assert len(matches) == 1
    known = {parameter.name for parameter in route.operation.parameters}
    assert set(matches[0].parameters) <= known


def test_every_operation_has_a_path() -> None:
    assert [each.name for each in OPERATIONS if not each.compatible and not each.native and not each.root] == []


def test_only_the_node_itself_answers_about_itself() -> None:
    """What is answered here must not need the leader, or a load balancer's question would wait for an election."""
    here = {operation.name for operation in OPERATIONS if operation.where is Where.HERE}
    assert {"health", "lb-check", "leader-check", "raft-health", "raft-state", "raft-leader"} <= here


async def test_the_whole_story_of_a_server_by_http() -> None:
    """Discovered, in downtime, out of it, read-only, forgotten: what each write did is what reads then show."""
    async with Rig() as rig:
        await rig.discovered()
        get = rig.first.get
        await get("/api/begin-downtime/127.0.0.1/24001/me/why/1h")
        shown = (await get("/api/downtimed")).json
        assert [(each["Key"]["Port"], each["DowntimeOwner"], each["DowntimeReason"]) for each in shown] == [
            (24001, "me", "why")
        ]
        assert (await get("/api/end-downtime/127.0.0.1/24001")).status == 200
        assert (await get("/api/downtimed")).json == []
        assert (await get("/api/stop-replica/127.0.0.1/24002")).json["Details"]["ReplicationSQLThreadState"] == 0
        assert [each["Problems"] for each in (await get("/api/problems")).json] == [["not_replicating"]]
        assert (await get("/api/start-replica/127.0.0.1/24002")).json["Details"]["ReplicationSQLThreadState"] == 1
        assert (await get("/api/problems")).json is None
        await dead_replica(rig, 24003)
        assert (await get("/api/forget/127.0.0.1/24003")).json["Details"] == {"Hostname": "127.0.0.1", "Port": 24003}
        assert (await get("/api/instance/127.0.0.1/24003")).message == "Cannot read instance: 127.0.0.1:24003"


async def test_a_takeover_reply_shows_the_fleet_as_it_is_afterwards() -> None:
    async with Rig() as rig:
        await rig.discovered()
        before = rig.raft.state.clusters
        answer = await rig.first.get("/api/graceful-master-takeover-auto/bench/127.0.0.1/24002")
        details = answer.json["Details"]
        assert details["SuccessorKey"] == {"Hostname": "127.0.0.1", "Port": 24002}
        assert (details["IsSuccessful"], details["IsActive"], details["AllErrors"]) == (True, False, [])
        assert rig.raft.state.clusters.keys() == before.keys(), "a cluster keeps its id"
        topology = (await rig.first.get("/api/topology/bench")).json["Details"].split("\n")
        assert [line.split(" [")[0].strip() for line in topology] == [
            "127.0.0.1:24002", "+ 127.0.0.1:24000", "+ 127.0.0.1:24001", "+ 127.0.0.1:24003"
        ]  # fmt: skip
        assert (await rig.first.get("/api/master/bench")).json["Key"]["Port"] == 24002
        assert (await rig.first.get("/api/clusters")).json == ["127.0.0.1:24002"]


async def test_a_dead_primary_is_replaced_and_shown_as_lost() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        rig.first.prober.crash(24000)
        await rig.until(lambda: bool(rig.raft.state.recoveries) and not rig.raft.state.active_recoveries)
        lost = (await rig["n3"].get("/api/instance/127.0.0.1/24000")).json
        assert lost["IsDowntimed"] is True
        assert lost["DowntimeReason"] == "lost-in-recovery"
        assert lost["Problems"] == ["last_check_invalid"]
        successor = (await rig["n2"].get("/api/master/bench")).json
        assert successor["ReadOnly"] is False
        assert lost["ClusterName"] == successor["ClusterName"]
        [recovery] = (await rig["n2"].get("/api/audit-recovery")).json
        assert recovery["IsActive"] is True, "it keeps the cluster from being recovered again"
        assert recovery["LastDetectionId"] == 1
        steps = (await rig["n2"].get(f"/api/audit-recovery-steps/{recovery['UID']}")).json
        assert [each["Id"] for each in steps] == sorted(each["Id"] for each in steps)
        assert any("promoted" in each["Message"] for each in steps)
        acked = await rig["n2"].get(f"/api/ack-recovery/{recovery['Id']}?comment=seen%20it")
        assert (acked.status, acked.json["Details"]) == (200, "1")
        [recovery] = (await rig["n2"].get("/api/audit-recovery")).json
        assert (recovery["Acknowledged"], recovery["AcknowledgedComment"]) == (True, "seen it")
        assert recovery["IsActive"] is False


@pytest.mark.parametrize(
    ("kind", "words"),
    [(UnreachableKind.UNRESOLVABLE, "no such host"), (UnreachableKind.NO_GREETING, "i/o timeout"),
     (UnreachableKind.QUERY_TIMEOUT, "i/o timeout"), (UnreachableKind.REFUSED, "connection refused")],
)  # fmt: skip
async def test_a_server_that_is_not_up_yet_is_told_by_the_words_that_clients_look_for(
    kind: UnreachableKind, words: str
) -> None:
    async with Rig() as rig:
        await rig.until(lambda: rig.first.service.may_act)
        rig.fleet.add(primary_facts(rig.fleet[24000].facts.key.__class__("127.0.0.1", 24009)))
        rig.fleet.crash(24009, kind)
        refused = await rig.first.get("/api/discover/127.0.0.1/24009")
        assert refused.status == 500
        assert words in refused.message
        assert (await rig.first.ask("POST", "/api/v2/servers/127.0.0.1:24009/discover")).status == 502
        assert (await rig.first.get("/api/all-instances")).json == []


@pytest.mark.asyncio(loop_scope="module")
async def test_a_careful_failover_leaves_a_living_primary_alone(reading: Rig) -> None:
    """Issued a moment after the automatic failover it would hit the server that was promoted just now."""
    answer = await reading.first.ask("POST", "/api/v2/clusters/bench/failover", json={"careful": True})
    assert answer.status == 409
    assert "is the primary and answers, so nothing was changed" in answer.json["detail"]
    assert not reading.raft.state.recoveries


async def test_a_takeover_that_would_be_refused_is_not_even_begun() -> None:
    """The replicas that stay are too few for the semi-sync of the new primary, unless the old one follows at once."""
    async with Rig() as rig:
        rig.fleet[24000].set_semi_sync(wait_for_replica_count=3)
        await rig.discovered()
        refused = await rig.first.get("/api/graceful-master-takeover/bench/127.0.0.1/24002")
        assert (refused.status, refused.json["Code"]) == (500, "ERROR")
        assert "nothing was changed" in refused.message
        assert "3 semi-sync replicas and have 2" in refused.message
        assert not rig.raft.state.recoveries
        rig.fleet.crash(24002)
        refused = await rig.first.get("/api/graceful-master-takeover-auto/bench/127.0.0.1/24002")
        assert "it does not answer" in refused.message, "replicas are looked at now, not when they are due"
        assert not rig.raft.state.recoveries
