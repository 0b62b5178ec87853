"""The request's id from the client to the log of every node it passes, the commands, the record and the hooks."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from orchestrator_raft.engine.service import Call, Reply
from orchestrator_raft.hooks.placeholders import Story, environment
from tests.rest.rig import Rig


async def test_a_chosen_id_goes_all_the_way_and_a_wrong_one_is_replaced() -> None:
    async with Rig(2) as rig:
        await rig.discovered()
        headers = {"X-Request-ID": "change-4711", "Prefer": "wait=60"}
        done = await rig["n2"].ask("POST", "/api/v2/clusters/bench/takeover", headers=headers)
        assert (done.status, done.headers["X-Request-ID"]) == (200, "change-4711")
        recovery = done.json["result"]
        assert recovery["request"]["request_id"] == "change-4711"
        recorded = rig.raft.state.recoveries[recovery["id"]]
        assert environment(Story(recovery=recorded, orchestrator_host="n1"))["ORC_REQUEST_ID"] == "change-4711"
        about = {each.type: each.request_id for each in rig.raft.state.audit if "recovery" in each.type}
        assert about == {"claim-recovery": "change-4711", "finish-recovery": "change-4711"}
        claimed = [each for each in rig.raft.state.events if each.type == "recovery-started"]
        assert [each.request_id for each in claimed] == ["change-4711"]
        for wrong in ("", "a b", "x" * 129, "a\u00e9"):
            answer = await rig.first.get("/api/clusters", headers={"X-Request-ID": wrong})
            assert answer.headers["X-Request-ID"] not in ("", wrong)


async def test_the_log_of_each_node_that_a_request_passes_knows_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Rig(2) as rig:
        await rig.discovered()
        known: list[Any] = []
        service = rig["n1"].service
        call = service.call

        async def watched(asked: Call) -> Reply:
            known.append(structlog.contextvars.get_contextvars().get("request_id"))
            return await call(asked)

        monkeypatch.setattr(service, "call", watched)
        for name in ("n1", "n2"):
            await rig[name].get("/api/clusters", headers={"X-Request-ID": f"by-{name}"})
            await rig[name].ask("POST", "/api/v2/recoveries/enable", headers={"X-Request-ID": f"write-by-{name}"})
        assert known == ["by-n1", "write-by-n1", "by-n2", "write-by-n2"]
        assert structlog.contextvars.get_contextvars() == {}
