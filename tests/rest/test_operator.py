"""The calls of Percona's operator for MySQL: paths, fields, texts and users as it has them, to the letter.

It asks whichever node is at hand, by ``curl`` inside that node's container; it looks at no status code; a reply that is
no error is parsed as an instance before anything else. Servers are pods: the name is the first label of the host.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio

from api.settings import ApiSettings, AuthenticationMethod
from orchestrator_raft.core.instance import InstanceKey, Unreachable, UnreachableKind
from tests.engine.fleet import Fleet, primary_facts, replica_facts
from tests.rest.rig import Got, Rig

PODS = tuple(f"ps-mysql-{number}" for number in range(3))
SERVERS = tuple(InstanceKey(f"{pod}.ps-mysql.ns1", 3306) for pod in PODS)
HINT = "ps.ns1"
MULTI = ApiSettings(authentication=AuthenticationMethod.MULTI, user="orchestrator", password="secret")


def pods() -> Fleet:
    """A primary and two replicas, each called like its pod."""
    primary = primary_facts(SERVERS[0], alias=PODS[0], cluster_alias=HINT, cluster_domain="", server_id=1)
    replicas = (
        replica_facts(key, SERVERS[0], alias=pod, cluster_alias=HINT, server_id=number)
        for number, (key, pod) in enumerate(zip(SERVERS[1:], PODS[1:], strict=True), start=2)
    )
    return Fleet([primary, *replicas])


class Operator:
    """Asks the second node, which follows; as the user ``orchestrator`` unless another is named."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    async def ask(self, path: str, user: str = "orchestrator:secret") -> Got:
        headers = {"Authorization": f"Basic {b64encode(user.encode()).decode()}"} if user else {}
        return await self.rig["n2"].get(f"/{path}", headers=headers)

    async def json(self, path: str, user: str = "orchestrator:secret") -> Any:
        return (await self.ask(path, user)).json


@pytest_asyncio.fixture
async def operator() -> AsyncIterator[Operator]:
    async with Rig(3, fleet=pods(), settings=MULTI) as rig:
        made = Operator(rig)
        await rig.until(lambda: rig.first.service.may_act)
        assert (await made.json(f"api/discover/{SERVERS[0].hostname}/3306"))["Code"] == "OK"
        await rig.until(lambda: set(rig.raft.state.servers) == set(SERVERS))
        await rig.until(lambda: all(each.caught_up for each in rig.raft.state.clusters.values()))
        yield made


async def test_the_primary_is_an_instance_with_the_fields_that_are_read(operator: Operator) -> None:
    primary = await operator.json(f"api/master/{HINT}")
    assert (primary["InstanceAlias"], primary["Key"]) == (PODS[0], {"Hostname": SERVERS[0].hostname, "Port": 3306})
    assert primary["MasterKey"] == {"Hostname": "", "Port": 0}
    assert [each["Hostname"] for each in primary["Replicas"]] == [each.hostname for each in SERVERS[1:]]
    assert (primary["ReadOnly"], primary["Problems"], primary["IsDowntimed"]) == (False, [], False)
    assert (primary["DowntimeReason"], primary["DowntimeOwner"], primary["DowntimeEndTimestamp"]) == ("", "", "")
    assert type(primary["ElapsedDowntime"]) is int


async def test_a_cluster_that_is_not_there_yet_is_told_in_words_and_parses_as_no_instance(operator: Operator) -> None:
    nobody = await operator.json("api/master/other.ns1")
    assert nobody["Code"] == "ERROR" and "Unable to determine cluster name" in nobody["Message"]
    assert nobody.get("InstanceAlias", "") == ""


@pytest.mark.parametrize("name", [HINT, f"{SERVERS[0]}", "ps-mysql-0.ps-mysql:3306"])
async def test_a_cluster_is_read_by_alias_by_name_and_by_part_of_a_name(operator: Operator, name: str) -> None:
    servers = await operator.json(f"api/cluster/{name}/")
    assert [each["Key"]["Hostname"] for each in servers] == [each.hostname for each in SERVERS]
    replicas = servers[1:]
    assert all(each["ReplicationSQLThreadRuning"] and each["ReplicationIOThreadRuning"] for each in replicas)
    assert all(each["Problems"] == [] for each in servers)
    assert (await operator.json("api/clusters/"))[0] == str(SERVERS[0])


async def test_a_pod_is_in_downtime_while_it_is_backed_up(operator: Operator) -> None:
    pod = PODS[2]
    begun = await operator.json(f"api/begin-downtime/{pod}/3306/operator/backup/600s")
    assert begun["Code"] == "OK"
    shown = await operator.json(f"api/instance/{pod}/3306")
    assert (shown["IsDowntimed"], shown["DowntimeOwner"], shown["DowntimeReason"]) == (True, "operator", "backup")
    assert datetime.fromisoformat(shown["DowntimeEndTimestamp"]).tzinfo is not None, "parsed as RFC 3339"
    assert type(shown["ElapsedDowntime"]) is int and shown["ElapsedDowntime"] >= 0
    assert (await operator.json(f"api/end-downtime/{pod}/3306"))["Code"] == "OK"
    assert (await operator.json(f"api/instance/{pod}/3306"))["IsDowntimed"] is False


async def test_replication_is_paused_and_goes_on(operator: Operator) -> None:
    for verb, runs in (("stop", False), ("start", True)):
        answer = await operator.json(f"api/{verb}-replica/{SERVERS[1].hostname}/3306")
        assert (answer["Code"], answer["Details"]["ReplicationSQLThreadRuning"]) == ("OK", runs)


async def test_the_role_goes_to_the_first_pod_by_its_name(operator: Operator) -> None:
    taken = await operator.json(f"api/graceful-master-takeover-auto/{HINT}/{PODS[1]}/3306")
    assert (taken["Code"], taken["Details"]["SuccessorKey"]["Hostname"]) == ("OK", SERVERS[1].hostname)
    assert (await operator.json(f"api/master/{HINT}"))["InstanceAlias"] == PODS[1]


async def test_a_pod_that_is_gone_is_forgotten_by_its_name(operator: Operator) -> None:
    operator.rig.fleet.servers[SERVERS[2]].down = _down(SERVERS[2], UnreachableKind.UNRESOLVABLE)
    await operator.rig.until(lambda: not operator.rig.raft.state.servers[SERVERS[2]].reachable)
    answer = await operator.json(f"api/forget/{PODS[2]}/3306")
    assert answer["Code"] == "OK", answer
    assert SERVERS[2] not in operator.rig.raft.state.servers
    again = await operator.json(f"api/forget/{PODS[2]}/3306")
    assert again["Code"] == "ERROR"


async def test_a_writable_primary_is_set_writable_once_more(operator: Operator) -> None:
    assert (await operator.json(f"api/set-writeable/{SERVERS[0].hostname}/3306"))["Code"] == "OK"


@pytest.mark.parametrize(
    ("kind", "words"), [(UnreachableKind.UNRESOLVABLE, "no such host"), (UnreachableKind.NO_GREETING, "i/o timeout")]
)
async def test_a_server_that_is_not_up_yet_is_told_by_the_words_it_waits_for(
    operator: Operator, kind: UnreachableKind, words: str
) -> None:
    fleet = operator.rig.fleet
    late = InstanceKey("ps-mysql-3.ps-mysql.ns1", 3306)
    fleet.add(primary_facts(late))
    fleet.servers[late].down = _down(late, kind)
    answer = await operator.json(f"api/discover/{late.hostname}/3306")
    assert answer["Code"] == "ERROR" and words in answer["Message"]


def _down(key: InstanceKey, kind: UnreachableKind) -> Any:
    return Unreachable(key, kind, f"{kind.value} by {key}")


async def test_nodes_come_and_go_by_address(operator: Operator) -> None:
    assert await operator.json("api/raft-add-peer/ps-orc-3.ps-orc.ns1:10008") == "ps-orc-3.ps-orc.ns1:10008"
    known = await operator.json("api/raft-add-peer/ps-orc-3.ps-orc.ns1:10008")
    assert known["Code"] == "ERROR" and "peer already known" in known["Message"]
    assert await operator.json("api/raft-remove-peer/ps-orc-3.ps-orc.ns1:10008") == "ps-orc-3.ps-orc.ns1:10008"
    unknown = await operator.json("api/raft-remove-peer/ps-orc-9.ps-orc.ns1:10008")
    assert unknown["Code"] == "ERROR" and "peer is unknown" in unknown["Message"]


async def test_probes_of_the_container_and_of_the_sidecar(operator: Operator) -> None:
    for path in ("api/lb-check", "api/health"):
        assert (await operator.ask(path, "readonly:readonly")).status == 200
        assert (await operator.ask(path, "")).status == 401
    assert await operator.json("api/raft-leader", "readonly:readonly")
    statuses = [(await node.get("/api/leader-check", headers=_basic("readonly:x"))).status for node in _nodes(operator)]
    assert sorted(statuses) == [200, 404, 404]


def _nodes(operator: Operator) -> list[Any]:
    return list(operator.rig.nodes.values())


def _basic(user: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(user.encode()).decode()}"}


async def test_who_is_let_in_and_who_may_write(operator: Operator) -> None:
    assert (await operator.ask("api/clusters", "")).status == 401
    for user in ("orchestrator:secret", "readonly:whatever"):
        assert (await operator.ask("api/clusters", user)).status == 200
    for path in ("api/begin-downtime/nonexistent/3306/test/test/1s", f"api/stop-replica/{PODS[1]}/3306"):
        refused = await operator.json(path, "readonly:readonly")
        assert refused == {"Code": "ERROR", "Message": "Unauthorized", "Details": None}
