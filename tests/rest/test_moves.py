"""Every path of an operation that moves servers: carried out, planned, and refused with the reason, over HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator_raft.core.policy import ClusterFilters
from orchestrator_raft.core.recovery.model import EndState
from orchestrator_raft.operations.model import Operation
from orchestrator_raft.operations.moves import MOVE_ROWS
from tests.engine.fleet import Fleet, key, replica_facts, running_channel
from tests.rest.rig import POLICY, Rig

ROLES: dict[str, tuple[int, int | None, str]] = {
    "relocate": (24004, 24002, ""),
    "relocate-replicas": (24001, 24002, ""),
    "move-up": (24004, None, ""),
    "move-up-replicas": (24001, None, ""),
    "move-below": (24004, 24005, ""),
    "move-below-gtid": (24004, 24002, ""),
    "move-replicas-gtid": (24001, 24002, ""),
    "move-equivalent": (24004, 24002, ""),
    "repoint": (24004, 24002, ""),
    "repoint-replicas": (24001, None, ""),
    "regroup-replicas": (24001, None, ""),
    "regroup-replicas-gtid": (24001, None, ""),
    "take-siblings": (24004, None, ""),
    "take-master": (24004, None, ""),
    "make-co-master": (24002, None, ""),
    "make-local-master": (24004, None, ""),
    "make-master": (24002, None, "dead"),
    "reset-replica": (24004, None, ""),
    "detach-replica": (24004, None, ""),
    "reattach-replica": (24004, None, "detach-replica/127.0.0.1/24004"),
}
"""Server, target, and what comes before; 24000 has the replicas 24001 to 24003, 24001 has 24004 and 24005."""
PATHS = [(row, path) for row in MOVE_ROWS for path in row.compatible]
LISTS = {"relocate-replicas", "move-up-replicas", "move-replicas-gtid", "repoint-replicas"}


def tree() -> Fleet:
    fleet = Fleet.cluster()
    executed = fleet[24001].facts.executed
    assert executed is not None
    for port in (24004, 24005):
        channel = running_channel(key(24001), executed)
        fleet.add(replica_facts(key(port), key(24001), executed=executed, channels=(channel,)))
    return fleet


def rig_of(operation: str) -> Rig:
    """With automatic recovery off where the primary dies, so that only the person who asks recovers."""
    policy = replace(POLICY, recover_primary=ClusterFilters(())) if operation == "make-master" else POLICY
    return Rig(fleet=tree(), policy=policy)


async def prepared(rig: Rig, before: str) -> None:
    await rig.discovered()
    if before == "dead":
        rig.first.prober.crash(24000)
        await rig.until(lambda: not rig.first.service.desk.moment().topology.server(key(24000)).reached)
    elif before:
        answer = await rig.first.get(f"/api/{before}")
        assert answer.status == 200, answer.body


def filled(row: Operation, template: str) -> str:
    server, target, _ = ROLES[row.name]
    path = template.replace("{host}/{port}", f"127.0.0.1/{server}").replace("{server}", f"127.0.0.1:{server}")
    return path.replace("{targetHost}/{targetPort}", f"127.0.0.1/{target}")


def test_every_row_has_its_role_here() -> None:
    assert set(ROLES) == {row.name for row in MOVE_ROWS}


@pytest.mark.parametrize(("row", "path"), PATHS, ids=[path.partition("/")[0] for _, path in PATHS])
async def test_a_compatible_path_is_carried_out_and_answers_as_the_peers_do(row: Operation, path: str) -> None:
    async with rig_of(row.name) as rig:
        await prepared(rig, ROLES[row.name][2])
        answer = await rig.first.get(f"/api/{filled(row, path)}")
        assert answer.status == 200, answer.body
        assert list(answer.json) == ["Code", "Message", "Details"]
        details = answer.json["Details"]
        if row.name in LISTS:
            assert details and all("Key" in each for each in details)
        elif row.name.startswith("regroup"):
            assert details == {"Hostname": "127.0.0.1", "Port": 24004}
        elif row.name != "make-master":
            assert details["Key"]["Port"] == ROLES[row.name][0]
        assert rig.first.defects == []


@pytest.mark.parametrize("row", MOVE_ROWS, ids=lambda row: row.name)
async def test_natively_it_is_planned_and_then_done(row: Operation) -> None:
    method, _, path = row.native.partition(" ")
    _, target, before = ROLES[row.name]
    body = {"target": f"127.0.0.1:{target}"} if target is not None else {}
    async with rig_of(row.name) as rig:
        await prepared(rig, before)
        url, count = f"/api/v2{filled(row, path)}", len(rig.raft.state.recoveries)
        answer = await rig.first.ask(method, url, json={**body, "dry_run": True}, headers={"Prefer": "wait=60"})
        assert answer.status == 200, answer.body
        planned = answer.json["result"]
        assert planned["text"] and {"stages", "warnings", "left_out", "expected_block_s"} <= set(planned)
        assert len(rig.raft.state.recoveries) == count, "a dry run does nothing"
        answer = await rig.first.ask(method, url, json=body, headers={"Prefer": "wait=60"})
        assert answer.status == 200, answer.body
        assert rig.first.defects == []


async def test_a_refusal_says_why_and_is_no_recovery() -> None:
    async with Rig(fleet=tree()) as rig:
        await rig.discovered()
        answer = await rig.first.get("/api/relocate/127.0.0.1/24001/127.0.0.1/24004")
        assert answer.status == 500
        assert "is a descendant of" in answer.message
        native = await rig.first.ask("POST", "/api/v2/servers/127.0.0.1:24001/take-master", json={"dry_run": True})
        assert native.status == 409
        assert "is the primary of its cluster" in native.json["detail"]
        assert rig.raft.state.recoveries == {}


async def test_only_one_operation_at_a_time_and_each_leaves_one_entry_in_the_audit() -> None:
    async with Rig(fleet=tree()) as rig:
        await rig.discovered()
        asking = [
            rig.begin(rig.first.get(f"/api/relocate/127.0.0.1/{port}/127.0.0.1/24002")) for port in (24004, 24005)
        ]
        answers = [await each for each in asking]
        done = [each for each in answers if each.status == 200]
        refused = [each for each in answers if each.status == 500]
        assert done
        assert all("is running" in each.message for each in refused)
        ended = [each for each in rig.raft.state.recoveries.values() if each.end is EndState.SUCCEEDED]
        assert len(ended) == len(done)
        for each in ended:
            assert each.request.wish is not None
            told = [line for line in rig.raft.state.audit if line.type == "relocate" and line.key == each.subject.key]
            assert len(told) == 1


@pytest.mark.parametrize(
    "path",
    [
        "graceful-master-takeover-auto/bench", "graceful-master-takeover/bench/127.0.0.1/24002",
        "force-master-failover/bench", "force-master-takeover/bench/127.0.0.1/24002",
    ],
)  # fmt: skip
async def test_a_change_of_primary_can_be_planned_and_is_not_done(path: str) -> None:
    async with Rig(fleet=tree()) as rig:
        await rig.discovered()
        answer = await rig.first.get(f"/api/{path}?dry_run=true")
        assert answer.status == 200, answer.body
        plan = answer.json["Details"]
        if "24002" in path:
            assert plan["Servers"] == [{"Hostname": "127.0.0.1", "Port": 24002}]
        assert len(plan["Stages"]) >= 3
        assert plan["ExpectedBlockSeconds"] > 0
        assert len(plan["LeftOut"]) == 2, "and why each other one is not chosen"
        assert rig.raft.state.recoveries == {}
        refused = await rig.first.get("/api/graceful-master-takeover/bench/127.0.0.1/24004?dry_run=true")
        assert refused.status == 500
        assert "is no direct replica" in refused.message


async def test_take_master_tells_its_own_hooks_who_took_whose_place() -> None:
    policy = replace(POLICY, hooks={"PostTakeMasterProcesses": ("true",)})
    async with Rig(fleet=tree(), policy=policy) as rig:
        await rig.discovered()
        answer = await rig.first.get("/api/take-master/127.0.0.1/24004")
        assert answer.status == 200, answer.body
        (recovery,) = rig.raft.state.recoveries.values()
        assert rig.first.hooks.ran == [("PostTakeMasterProcesses", recovery.id)]
        assert recovery.plan is not None
        assert (recovery.successor, recovery.plan.demoted) == (key(24004), key(24001))
