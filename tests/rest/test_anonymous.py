"""``?anonymize=true``: no name is left in any read, the same name is the same everywhere, and nothing else changes."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from api.settings import ApiSettings, AuthenticationMethod
from orchestrator_raft.core.instance import InstanceKey, Location
from orchestrator_raft.operations import OPERATION_BY_NAME, OPERATIONS
from tests.engine.fleet import Fleet, primary_facts, replica_facts
from tests.rest.rig import Got, Rig
from tests.rest.test_access import basic

SERVERS = tuple(InstanceKey(f"payroll{number}.corp.example", 3306) for number in (1, 2, 3))
SECRETS = ("payroll", "corp.example", "berlin", "wages", "hr.example", "anna", "repluser", "10.20.30.40")
"""None of these may be in an answer, whole or in part."""
VALUES = {
    "host": SERVERS[1].hostname, "port": "3306", "targetHost": SERVERS[2].hostname, "targetPort": "3306",
    "hint": "wages", "alias": "wages", "name": str(SERVERS[0]), "clusterName": str(SERVERS[0]), "page": "0", "id": "1",
    "uid": "nonesuch", "status": "404", "s": "payroll", "seconds": "60", "queue": "DEFAULT", "pool": "pool1",
    "server": str(SERVERS[1]), "cluster": "wages", "addr": "n9:10008",
}  # fmt: skip
ELSEWHERE = {"events", "api-page", "openapi", "headers"}
"""A stream, descriptions of the API, and what the caller sent."""


def fleet() -> Fleet:
    place = Location("berlin", "berlin-1", "")
    primary = primary_facts(SERVERS[0], alias="payroll-one", cluster_alias="wages", cluster_domain="hr.example",
                            location=place)  # fmt: skip
    replicas = []
    for key in SERVERS[1:]:
        facts = replica_facts(key, SERVERS[0], cluster_alias="wages", location=place, server_id=hash(key) % 1000 + 2)
        channels = tuple(replace(each, user="repluser") for each in facts.channels)
        replicas.append(replace(facts, channels=channels))
    return Fleet([primary, *replicas])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def telling() -> AsyncIterator[Rig]:
    """Three nodes that have seen a failover, a downtime and a takeover by a person."""
    async with Rig(3, fleet=fleet()) as rig:
        await rig.until(lambda: rig.first.service.may_act)
        get = rig.first.get
        assert (await get(f"/api/discover/{SERVERS[0].hostname}/3306")).status == 200
        await rig.until(lambda: set(rig.raft.state.servers) == set(SERVERS))
        await rig.until(lambda: all(each.caught_up for each in rig.raft.state.clusters.values()))
        await get(f"/api/begin-downtime/{SERVERS[2].hostname}/3306/anna/moving")
        await get(f"/api/begin-maintenance/{SERVERS[2].hostname}/3306/anna/moving")
        await get(f"/api/register-candidate/{SERVERS[1].hostname}/3306/prefer")
        await get(f"/api/tag/{SERVERS[1].hostname}/3306?tag=role=web")
        await get(f"/api/submit-pool-instances/pool1?instances={SERVERS[1]},10.20.30.40:3306")
        taken = await get(f"/api/graceful-master-takeover-auto/wages/{SERVERS[1].hostname}/3306")
        assert taken.status == 200, taken.body
        yield rig


def paths() -> list[str]:
    found = []
    for operation in OPERATIONS:
        if operation.writes or operation.name in ELSEWHERE:
            continue
        native = [f"api/v2{operation.native.partition(' ')[2]}"] if operation.native else []
        found += [*(f"api/{path}" for path in operation.compatible), *native, *operation.root]
    return found


def filled(template: str) -> str:
    for name, value in VALUES.items():
        template = template.replace(f"{{{name}}}", value)
    return template


QUERIES = {"api/tagged": "tag=role&", "api/v2/tagged": "tag=role&", "api/v2/openapi.json": ""}


def with_switch(template: str) -> str:
    tag = "tag=role&" if template.startswith(("api/tagged", "api/v2/tagged", "api/tag-value")) else ""
    return f"/{filled(template)}?{tag}anonymize=true"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("template", paths())
async def test_no_name_is_in_an_anonymised_answer(telling: Rig, template: str) -> None:
    for node in ("n1", "n2"):
        answer = await telling[node].get(with_switch(template))
        text = answer.body.decode()
        assert [each for each in SECRETS if each in text] == [], text[:2000]
        if answer.headers["Content-Type"].startswith("application/"):
            json.loads(text)
        plain = await telling[node].get(with_switch(template).replace("anonymize=true", ""))
        assert answer.status == plain.status
    assert telling.first.defects == telling["n2"].defects == []


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {len(key) if re.search(r"[.:]", key) else key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value).__name__


async def names(node: Any, path: str) -> tuple[Got, Any]:
    answer = await node.get(f"{path}?anonymize=true")
    return answer, answer.json


@pytest.mark.asyncio(loop_scope="module")
async def test_a_name_is_replaced_by_the_same_everywhere_and_nothing_else_is_changed(telling: Rig) -> None:
    _, first = await names(telling["n1"], "/api/cluster/wages")
    _, again = await names(telling["n3"], "/api/cluster/wages")
    plain = (await telling["n1"].get("/api/cluster/wages")).json
    keys = [each["Key"]["Hostname"] for each in first]
    assert keys == [each["Key"]["Hostname"] for each in again]
    assert all(re.fullmatch(r"host-[0-9a-f]{6}", each) for each in keys) and len(set(keys)) == 3
    assert [shape(each) for each in first] == [shape(each) for each in plain]
    assert [each["Version"] for each in first] == [each["Version"] for each in plain]
    replicas = {each["MasterKey"]["Hostname"] for each in first} - {""}
    assert replicas <= set(keys), "links are still links"
    _, native = await names(telling["n2"], "/api/v2/servers")
    assert {each["server"].partition(":")[0] for each in native} == set(keys)
    text = (await telling["n1"].get("/api/topology/wages?anonymize=true")).json["Details"]
    assert all(each in text for each in keys)


@pytest.mark.asyncio(loop_scope="module")
async def test_errors_are_anonymised_and_writes_and_the_stream_are_not(telling: Rig) -> None:
    stream = await telling.first.get("/api/v2/events?anonymize=true")
    assert stream.status == 400 and "anonymize" in stream.json["detail"]
    refused = await telling.first.get(f"/api/tag-value/{SERVERS[1].hostname}/3306?tag=none&anonymize=true")
    assert refused.status == 500 and "payroll" not in refused.message
    write = await telling.first.ask("POST", f"/api/v2/servers/{SERVERS[1]}/refresh?anonymize=true")
    assert write.status == 400 and "no parameter 'anonymize'" in write.json["detail"]
    assert (await telling.first.get("/api/v2/clusters?anonymise=true")).status == 400, "a switch that does not exist"


async def test_who_asks_is_not_told_either() -> None:
    async with Rig(
        2, settings=ApiSettings(authentication=AuthenticationMethod.MULTI, user="anna", password="x")
    ) as rig:
        for node in ("n1", "n2"):
            answer = await rig[node].get("/api/v2/me?anonymize=true", headers=basic("anna", "x"))
            assert answer.status == 200 and b"anna" not in answer.body, answer.body
            assert b"user-" in answer.body


def test_every_read_is_tried() -> None:
    tried = {operation.name for operation in OPERATIONS if not operation.writes} - ELSEWHERE
    assert "audit" in tried and OPERATION_BY_NAME["metrics"].name in tried
