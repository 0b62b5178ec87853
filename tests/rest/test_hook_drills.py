"""Hooks tried before they are needed: what they are told, and that nothing else happens."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from orchestrator_raft.core.policy import ClusterFilters, Policy
from tests.engine.fleet import key
from tests.rest.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
DRILL = "/api/v2/clusters/bench/hooks/drill"
LISTS = ("PreFailoverProcesses", "PostMasterFailoverProcesses", "PostGracefulTakeoverProcesses")
POLICY = Policy(recover_primary=ClusterFilters(("*",)), hooks={name: ("command",) for name in LISTS})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[Rig]:
    async with Rig(2, policy=POLICY) as made:
        await made.discovered()
        yield made


@pytest.mark.parametrize("name", LISTS)
async def test_a_drill_tells_of_a_failover_that_never_was(rig: Rig, name: str) -> None:
    answer = await rig["n2"].ask("POST", DRILL, json={"list": name})
    assert answer.status == 200, answer.body
    ran, recovery = rig.first.hooks.drills[-1]
    assert ran == name
    assert recovery.id.startswith("drill-")
    assert (recovery.request.command, recovery.subject.key) == ("drill", key(24000))
    assert recovery.subject.text == "This is a drill, nothing has happened"
    assert recovery.promoted is (name != "PreFailoverProcesses")
    assert (recovery.successor in (key(24001), key(24002), key(24003))) is recovery.promoted
    assert rig.raft.state.recoveries == {}
    assert rig.first.hooks.ran == []


async def test_the_successor_may_be_named(rig: Rig) -> None:
    asked = {"list": "PostMasterFailoverProcesses", "target": "127.0.0.1:24002"}
    assert (await rig.first.ask("POST", DRILL, json=asked)).status == 200
    assert rig.first.hooks.drills[-1][1].successor == key(24002)


async def test_a_hook_that_fails_is_an_error_with_what_it_said(rig: Rig) -> None:
    rig.first.hooks.fails = "PreFailoverProcesses 1 of 1: exit code 3"
    try:
        answer = await rig.first.ask("POST", DRILL, json={"list": "PreFailoverProcesses"})
    finally:
        rig.first.hooks.fails = ""
    assert answer.status == 502
    assert "exit code 3" in answer.json["detail"]


async def test_a_preview_runs_nothing(rig: Rig) -> None:
    before = len(rig.first.hooks.drills)
    asked = {"list": "PreFailoverProcesses"}
    answer = await rig.first.ask("POST", "/api/v2/clusters/bench/hooks/preview", json=asked)
    [shown] = answer.json["result"]
    assert shown["text"] == "echo 127.0.0.1"
    assert shown["environment"] == {"ORC_IS_DRILL": "true"}
    assert len(rig.first.hooks.drills) == before


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"list": "PreFailover"}, 400, "there is no list 'PreFailover'"),
        ({"list": "PreFailoverProcesses", "target": "127.0.0.1:9"}, 400, "no server 127.0.0.1:9"),
        ({}, 400, "needs 'list'"),
    ],
)
async def test_what_does_not_exist_is_an_error(rig: Rig, asked: dict[str, str], status: int, said: str) -> None:
    answer = await rig.first.ask("POST", DRILL, json=asked)
    assert answer.status == status
    assert said in answer.json["detail"]
