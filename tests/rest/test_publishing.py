"""What is published, over HTTP: orchestrator's answer to the letter, and ours with the targets."""

from __future__ import annotations

import pytest

from tests.rest.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("path", ["", "/", "/bench", "/127.0.0.1:24001"])
async def test_submitting_answers_with_orchestrators_pairs(reading: Rig, path: str) -> None:
    for node in ("n1", "n2"):
        answer = await reading[node].get(f"/api/submit-masters-to-kv-stores{path}")
        assert answer.status == 200, answer.message
        assert answer.json == {
            "Code": "OK",
            "Message": "Submitted 1 masters",
            "Details": [
                {"Key": "mysql/master/bench", "Value": "127.0.0.1:24000"},
                {"Key": "mysql/master/bench/hostname", "Value": "127.0.0.1"},
                {"Key": "mysql/master/bench/port", "Value": "24000"},
                {"Key": "mysql/master/bench/ipv4", "Value": ""},
                {"Key": "mysql/master/bench/ipv6", "Value": ""},
            ],
        }


async def test_a_cluster_that_nobody_knows_is_an_error(reading: Rig) -> None:
    answer = await reading.first.get("/api/submit-masters-to-kv-stores/nowhere")
    assert answer.status == 500
    assert answer.json["Message"] == "Unable to determine cluster name. clusterHint=nowhere"


async def test_nothing_to_publish_is_gos_nil() -> None:
    async with Rig(1) as rig:
        answer = await rig.first.get("/api/submit-masters-to-kv-stores")
        assert (answer.status, answer.json["Details"]) == (200, None)


async def test_any_node_shows_what_is_published(reading: Rig) -> None:
    for node in ("n1", "n3"):
        [shown] = (await reading[node].get("/api/v2/publications")).json
        assert (shown["alias"], shown["primary"], shown["generation"]) == ("bench", "127.0.0.1:24000", 1)
        assert shown["targets"] == []
