"""ETag and If-Match: a policy is set only where it still is what somebody looked at, whoever asks which node."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.versions import VERSIONED
from orchestrator_raft.operations import OPERATION_BY_NAME
from tests.rest.rig import Got, Node, Rig

ONE = "/api/v2/servers/127.0.0.1:24001"
POLICIES: dict[str, dict[str, str]] = {
    f"{ONE}/downtime": {"owner": "ann", "reason": "disk"},
    f"{ONE}/maintenance": {"owner": "ann", "reason": "disk"},
    f"{ONE}/promotion-rule": {"rule": "prefer"},
    f"{ONE}/virtual-name": {"virtualname": "db1-virtual"},
    "/api/v2/pools/readers": {"instances": "127.0.0.1:24001"},
    "/api/v2/clusters/bench/alias": {"alias": "bench-by-hand"},
}


async def put(node: Node, path: str, body: dict[str, str], **headers: str) -> Got:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await node.ask("POST", path, json=body, headers=named)


@pytest.mark.parametrize("path", sorted(POLICIES))
async def test_a_policy_is_set_once_of_two_who_looked_at_the_same(path: str) -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        body, node = POLICIES[path], rig["n2"]
        empty = await node.get(path)
        assert (empty.status, empty.json, empty.headers["ETag"]) == (200, None, '"0"')
        first = await put(node, path, body, If_None_Match="*")
        assert first.status == 200, first.body
        tag = first.headers["ETag"]
        before, path = path, path.replace("/bench/", "/bench-by-hand/")
        late = await put(rig["n3"], path, body, If_Match='"0"')
        assert (late.status, late.json["title"]) == (412, "Changed meanwhile")
        shown = await rig["n3"].get(path)
        assert shown.headers["ETag"] == tag and shown.json is not None
        wrong = await node.ask("DELETE", path, headers={"If-Match": '"999"'})
        assert (wrong.status, (await node.get(path)).headers["ETag"]) == (412, tag)
        gone = await node.ask("DELETE", path, headers={"If-Match": tag})
        assert (gone.status, gone.headers["ETag"]) == (200, '"0"'), gone.body
        assert (await node.get(before)).json is None


async def test_of_many_at_once_one_succeeds() -> None:
    async with Rig(3) as rig:
        await rig.discovered()
        path = f"{ONE}/promotion-rule"
        asked = (
            put(node, path, {"rule": rule}, If_Match='"0"')
            for node in rig.nodes.values()
            for rule in ("must", "prefer", "must_not")
        )
        statuses = sorted(got.status for got in await asyncio.gather(*asked))
        assert statuses == [200, *[412] * 8]


async def test_without_the_header_the_last_one_counts() -> None:
    async with Rig() as rig:
        await rig.discovered()
        path = f"{ONE}/promotion-rule"
        tags = [(await put(rig.first, path, {"rule": rule})).headers["ETag"] for rule in ("prefer", "prefer", "must")]
        assert len(set(tags)) == 3, "another number each time"
        assert (await rig.first.get(path)).json["rule"] == "must"


@pytest.mark.parametrize(
    ("headers", "word"),
    [({"If-Match": "5"}, "NUMBER"), ({"If-Match": "*"}, "NUMBER"), ({"If-Match": 'W/"5"'}, "NUMBER"),
     ({"If-None-Match": '"5"'}, "NUMBER"), ({"If-Match": '"5"', "If-None-Match": "*"}, "NUMBER")],
)  # fmt: skip
async def test_a_header_that_says_nothing_is_refused(headers: dict[str, Any], word: str) -> None:
    async with Rig() as rig:
        await rig.discovered()
        got = await rig.first.ask("POST", f"{ONE}/promotion-rule", json={"rule": "must"}, headers=headers)
        assert got.status == 400 and word in got.json["detail"]
        assert rig.raft.state.rules == {}
        other = await rig.first.ask("POST", f"{ONE}/refresh", headers={"If-Match": '"1"'})
        assert other.status == 400 and "If-Match" in other.json["detail"]


def test_what_is_versioned_is_a_native_write() -> None:
    assert all(OPERATION_BY_NAME[name].writes and OPERATION_BY_NAME[name].native for name in VERSIONED)
