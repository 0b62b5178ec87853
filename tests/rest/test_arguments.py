"""Where arguments stand and what flags mean: nothing that was said is ignored, least of all ``dry_run``."""

from __future__ import annotations

import pytest

from api.compat.dialect import CompatibleDialect
from api.exchange import Ask
from api.routing import Router, routes
from api.settings import ApiSettings
from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.engine.service import typed_arguments
from orchestrator_raft.operations import OPERATION_BY_NAME
from tests.rest.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
FAILOVER = "/api/v2/clusters/bench/failover"
TAKEOVER = "/api/v2/clusters/bench/takeover"
WAIT = {"Prefer": "wait=60"}


@pytest.mark.parametrize(
    "query", ["dry_run=true", "dry_run=1", "dry_run=YES", "dry_run=", "dry_run", "dry_run=true&dry_run=true"]
)
@pytest.mark.parametrize("path", [FAILOVER, TAKEOVER])
async def test_a_dry_run_in_the_query_of_a_write_is_one(reading: Rig, path: str, query: str) -> None:
    answer = await reading.first.ask("POST", f"{path}?{query}", headers=WAIT)
    assert answer.status == 200 and "this is the plan" in answer.json["message"], answer.body
    assert reading.raft.state.recoveries == {}


async def test_a_dry_run_without_a_value_is_one_on_the_compatible_path(reading: Rig) -> None:
    for query in ("dry_run", "dry_run=", "dry_run=True"):
        answer = await reading.first.get(f"/api/graceful-master-takeover-auto/bench?{query}")
        assert "this is the plan" in answer.message, answer.body
    refused = await reading.first.get("/api/force-master-failover/bench?dry_run=on")
    assert refused.status == 500 and "'on' is neither true nor false" in refused.message
    assert reading.raft.state.recoveries == {}


@pytest.mark.parametrize(
    ("method", "url", "body", "text"),
    [
        ("POST", f"{FAILOVER}?dryrun=true", None, "no parameter 'dryrun'"),
        ("POST", f"{FAILOVER}?dry_run=on", None, "'on' is neither true nor false"),
        ("POST", f"{FAILOVER}?dry_run=true", {"dry_run": False}, "'dry_run' is given twice"),
        ("POST", f"{FAILOVER}?dry_run=false&dry_run=true", None, "'dry_run' is given twice"),
        ("POST", FAILOVER, {"dry_run": "on"}, "'on' is neither true nor false"),
        ("DELETE", "/api/v2/pauses?clusters=bench", None, "no parameter 'clusters'"),
        ("GET", "/api/v2/recoveries?every=maybe", None, "'maybe' is neither true nor false"),
        ("GET", "/api/v2/events?servers=maybe", None, "'maybe' is neither true nor false"),
    ],
)
async def test_what_is_not_clear_is_refused_and_changes_nothing(
    reading: Rig, method: str, url: str, body: object, text: str
) -> None:
    answer = await reading.first.ask(method, url, headers=WAIT, **({} if body is None else {"json": body}))
    assert answer.status == 400 and text in answer.json["detail"], answer.body
    assert (reading.raft.state.recoveries, reading.raft.state.pauses) == ({}, {})


@pytest.mark.parametrize("path", [FAILOVER, "/api/v2/clusters/bench/graceful-master-takeover"])
async def test_the_native_paths_take_the_server_to_promote(path: str) -> None:
    async with Rig(2) as rig:
        await rig.discovered()
        stranger = await rig["n2"].ask("POST", path, json={"target": "127.0.0.1:24009"}, headers=WAIT)
        assert stranger.status == 400 and "24009" in stranger.json["detail"], stranger.body
        asked = {"target": "127.0.0.1:24002"}
        plan = await rig["n2"].ask("POST", path, json={**asked, "dry_run": True}, headers=WAIT)
        assert plan.status == 200 and "127.0.0.1:24002" in plan.json["message"] + str(plan.json["result"])
        assert rig.raft.state.recoveries == {}
        done = await rig["n2"].ask("POST", path, json=asked, headers=WAIT)
        assert done.status == 200, done.body
        recovery = rig.raft.state.recoveries[done.json["result"]["id"]]
        assert str(recovery.successor) == "127.0.0.1:24002"
        command = path.rpartition("/")[2].replace("failover", "force-master-takeover")
        assert recovery.request.command == command


async def test_the_query_of_a_delete_says_which_pause_ends() -> None:
    async with Rig(2) as rig:
        await rig.discovered()
        for body in ({"reason": "all"}, {"reason": "one", "cluster": "bench"}):
            assert (await rig["n2"].ask("POST", "/api/v2/pauses", json=body)).status == 200
        assert (await rig["n2"].ask("DELETE", "/api/v2/pauses?cluster=bench")).status == 200
        [left] = rig.raft.state.pauses.values()
        assert left.reason == "all"


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("Yes", True), ("1", True), ("", True), ("FALSE", False), ("no", False), ("0", False)],
)
async def test_a_flag_is_a_word_for_yes_or_no(text: str, value: bool) -> None:
    operation = OPERATION_BY_NAME["force-master-failover"]
    assert typed_arguments(operation, {"cluster": "c", "dry_run": text})["dry_run"] is value
    with pytest.raises(InvalidInput, match="neither true nor false"):
        typed_arguments(operation, {"cluster": "c", "dry_run": f"x{text}"})


async def test_a_flag_of_the_peers_that_is_empty_stays_false() -> None:
    [match] = Router(routes(ApiSettings())).match("/api/recover/db1/3306")
    for text, flags in (("", {}), ("true", {"skipProcesses": "true"})):
        ask = Ask(method="GET", path="/api/recover/db1/3306", query=(("skipProcesses", text),))
        assert CompatibleDialect().arguments(match, ask) == {"server": "db1:3306", **flags}
