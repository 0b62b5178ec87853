"""Lists of the native API in portions: all of it once, in order, on every node, whoever comes and goes meanwhile."""

from __future__ import annotations

import re
from typing import Any

import pytest

from api.paging import LISTS
from orchestrator_raft.operations import OPERATION_BY_NAME
from tests.engine.fleet import key
from tests.rest.rig import Got, Node, Rig
from tests.rest.test_routes import QUERY, filled


def following(got: Got) -> str:
    """Where the next portion is; empty at the end."""
    found = re.fullmatch(r'<(.+)>; rel="next"', got.headers.get("Link", ""))
    return found[1] if found else ""


async def walked(node: Node, path: str) -> list[list[Any]]:
    portions = []
    while path:
        got = await node.get(path)
        assert got.status == 200, got.body
        portions.append(got.json)
        path = following(got)
    return portions


@pytest.mark.asyncio(loop_scope="module")
async def test_the_portions_of_a_list_are_the_list(reading: Rig) -> None:
    for node in (reading["n1"], reading["n3"]):
        whole = await node.get("/api/v2/servers")
        assert (whole.headers["X-Total-Count"], following(whole)) == ("4", "")
        for limit, sizes in ((1, [1, 1, 1, 1]), (3, [3, 1]), (4, [4]), (9, [4])):
            portions = await walked(node, f"/api/v2/servers?limit={limit}")
            assert [len(each) for each in portions] == sizes
            keys = [server["server"] for portion in portions for server in portion]
            assert keys == [server["server"] for server in whole.json]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", sorted(LISTS))
async def test_every_list_can_be_had_in_portions(reading: Rig, name: str) -> None:
    path = filled("", OPERATION_BY_NAME[name].native.partition(" ")[2])
    query = QUERY.get(name, "?") + "&"
    whole = await reading.first.get(f"/api/v2{path}{query}")
    portions = await walked(reading.first, f"/api/v2{path}{query}limit=1")
    assert [each for portion in portions for each in portion] == whole.json
    assert int(whole.headers["X-Total-Count"]) == len(whole.json)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", "(limit)"),
        ("limit=x", "(limit)"),
        ("limit=99999999", "(limit)"),
        ("after=nobody:1", "(after)"),
        ("limit=1&anonymize=true", "not both"),
    ],
)
async def test_a_wrong_portion_is_named(reading: Rig, query: str, words: str) -> None:
    got = await reading.first.get(f"/api/v2/servers?{query}")
    assert got.status == 400 and words in got.json["detail"]


@pytest.mark.asyncio(loop_scope="module")
async def test_other_answers_have_no_portions(reading: Rig) -> None:
    assert (await reading.first.get("/api/v2/servers/127.0.0.1:24001?limit=1")).status == 400
    assert len((await reading.first.get("/api/all-instances?limit=1")).json) == 4, "not in the compatible API"


async def test_nothing_is_skipped_when_another_entry_is_gone() -> None:
    async with Rig() as rig:
        await rig.discovered()
        first = await rig.first.get("/api/v2/servers?limit=2")
        rig.first.prober.crash(24003)
        await rig.until(lambda: not rig.raft.state.servers[key(24003)].reachable)
        assert (await rig.first.get("/api/forget/127.0.0.1/24003")).status == 200
        rest = await walked(rig.first, following(first))
        assert [server["server"] for portion in rest for server in portion] == ["127.0.0.1:24002"]
