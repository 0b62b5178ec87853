"""Operations that run as a plan: planned, claimed and waited for; or, as a dry run, only planned.

A request is first planned with what is known, and when that refuses, once more with everybody read anew, so that
nobody is refused for what was true a moment ago.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator_raft.core.errors import Refused
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.moves.model import Plan, Planned, Refusal, Wish
from orchestrator_raft.core.moves.table import PLANNERS, plan
from orchestrator_raft.core.recovery.model import EndState, Recovery, Request
from orchestrator_raft.core.recovery.operation import LOOK_ATTEMPTS_MAX, OPERATION, clusters_of, concerned
from orchestrator_raft.core.topology import Topology
from orchestrator_raft.engine.leadership import Leader
from orchestrator_raft.engine.proposals import derived_id
from orchestrator_raft.engine.service import recoveries
from orchestrator_raft.engine.service.calls import Call, Reply
from orchestrator_raft.engine.service.names import require_server
from orchestrator_raft.engine.service.recoveries import RECOVERY, asked_before, claim_and_wait
from orchestrator_raft.engine.service.servers import DISCOVER_TIMEOUT_S
from orchestrator_raft.engine.subjects import new_recovery, subject_of
from orchestrator_raft.engine.view import Moment
from orchestrator_raft.operations import OPERATION_BY_NAME

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk

CODE = "Operation"
SHOWS_ITS_SERVER = ("take-siblings",)
"""These move many, and are answered with the server that was asked for, as with the peers."""
NUMBERS = ("seconds", "process")
FAILOVER = "force-master-takeover"


async def operate(call: Call, desk: Desk) -> Reply:
    """Carry it out, or with ``dry_run`` say what would be done. Raises Refused with the reason."""
    if call.flag("dry_run"):
        found, moment = await _planned_afresh(call, desk.leader())
        return Reply(message=f"{call.operation.name}: nothing was done, this is the plan", value=found, moment=moment)
    then = await asked_before(call, desk) or await claim_and_wait(call, desk, await _begin(call, desk))
    recovery, moment = then
    if recovery.is_active:
        message = f"{call.operation.name}: {recovery.id} is under way"
        return Reply(message=message, value=recovery, moment=moment, under_way=recovery.id)
    return _told(call, recovery, moment)


def wish_of(call: Call, topology: Topology) -> Wish:
    """The operation and its arguments, with servers as they are known."""
    target = call.arguments.get("target")
    return Wish(
        operation=call.operation.name,
        server=require_server(topology, call.arguments["server"]).key,
        target=require_server(topology, target).key if target is not None else None,
        pattern=call.text("pattern"),
        text=call.text("log_file"),
        number=next((call.number(name) for name in NUMBERS if name in call.arguments), 0),
        forced=call.flag("force"),
    )


async def _begin(call: Call, desk: Desk) -> Recovery:
    leader = desk.leader()
    moment = leader.viewer.moment()
    found: Planned = plan(wish_of(call, moment.topology), moment.topology, moment.policy)
    if isinstance(found, Refusal):
        found, moment = await _planned_afresh(call, leader)
    return _recovery(call, leader, moment, found)


async def _planned_afresh(call: Call, leader: Leader) -> tuple[Plan, Moment]:
    """The plan, with every server that it rests on read anew. Raises Refused."""
    moment = leader.viewer.moment()
    wish = wish_of(call, moment.topology)
    reason = ""
    for _ in range(LOOK_ATTEMPTS_MAX):
        await _read(leader, _around(moment.topology, wish))
        moment = leader.viewer.moment()
        found = plan(wish, moment.topology, moment.policy)
        if not isinstance(found, Refusal):
            return found, moment
        reason = found.reason
        if not found.passes:
            break
    raise Refused(f"{call.operation.name}: nothing was changed: {reason}")


def _around(topology: Topology, wish: Wish) -> set[InstanceKey]:
    """The servers that are named, what is above them, and their replicas."""
    named = [key for key in (wish.server, wish.target) if key is not None]
    return {other for key in named for other in (key, *topology.ancestors(key), *topology.server(key).replicas)}


async def _read(leader: Leader, keys: set[InstanceKey]) -> None:
    await asyncio.gather(*(leader.discovery.probe_now(key, timeout_s=DISCOVER_TIMEOUT_S) for key in keys))
    await leader.recorder.flush()


def _recovery(call: Call, leader: Leader, moment: Moment, found: Plan) -> Recovery:
    wish = wish_of(call, moment.topology)
    server = moment.topology.server(wish.server)
    cluster = moment.topology.clusters.get(server.cluster_id)
    subject = subject_of(
        server, cluster, moment, code=CODE, text=f"{wish.operation}: {found.text}",
        evidence=(f"asked for by {call.person.name}",),
    )  # fmt: skip
    request = Request(
        by=call.person.name, command=wish.operation, designated=wish.target, forced=True, request_id=call.request_id,
        wish=wish,
    )  # fmt: skip
    recovery = new_recovery(
        OPERATION.name, subject, server.cluster_id, moment,
        recovery_id=derived_id(call.intention, RECOVERY), holder=leader.proposals.node_id, term=leader.term,
        request=request,
    )  # fmt: skip
    others = clusters_of(moment.topology, concerned(found)) - {server.cluster_id}
    return replace(recovery, plan=found, other_clusters=tuple(sorted(others)))


def _told(call: Call, ended: Recovery, moment: Moment) -> Reply:
    """The peers' answer: the server that was asked for, or those that were moved."""
    word, last = call.operation.name, ended.timeline[-1].text
    if ended.end is not EndState.SUCCEEDED or ended.plan is None:
        raise Refused(f"{word}: {ended.end.value}: {last}")
    if call.operation.name == "delay-replication":
        return Reply(message=last, value=call.number("seconds"), moment=moment)
    if ended.plan.shown is not None and ended.plan.piecemeal:
        return Reply(message=f"promoted replica: {ended.plan.shown}", value=ended.plan.shown, moment=moment)
    if ended.plan.shown is not None:
        return Reply(message=_one_said(call, ended), value=moment.topology.server(ended.plan.shown), moment=moment)
    moved = [moment.topology.server(key) for key in ended.moved if key in moment.topology.servers]
    errors = "; ".join(f"{each.key}: {each.reason}" for each in ended.refused)
    message = f"{ended.plan.text}: {len(moved)} done, {len(ended.refused)} errors" + (f": {errors}" if errors else "")
    if call.operation.name in SHOWS_ITS_SERVER and ended.request.wish is not None:
        return Reply(message=message, value=moment.topology.server(ended.request.wish.server), moment=moment)
    return Reply(message=message, value=moved, moment=moment)


def _one_said(call: Call, ended: Recovery) -> str:
    server, target = ended.request.wish.server if ended.request.wish else "", ended.request.designated
    words = MESSAGES.get(call.operation.name)
    if words is not None:
        return words.format(server=server, target=target)
    return ended.timeline[-1].text


async def make_master(call: Call, desk: Desk) -> Reply:
    """A failover to this replica, for a source that is dead. Raises Refused where it answers."""
    moment = desk.leader().viewer.moment()
    server = require_server(moment.topology, call.arguments["server"])
    source = moment.topology.servers.get(server.source) if server.source is not None else None
    if source is None or source.source is not None:
        raise Refused(
            f"MakeMaster: {server.key} is no direct replica of a primary: make-local-master is for the others"
        )
    if source.reached:
        raise Refused(
            f"MakeMaster: instance's master {source.key} seems to be accessible, so nothing was changed: raftctl "
            "takeover hands its role over"
        )
    if call.flag("dry_run"):
        found = Plan(text=f"a failover of {source.key} to {server.key}", movers=(server.key,), shown=server.key)
        return Reply(message="make-master: nothing was done, this is the plan", value=found, moment=moment)
    arguments = {"cluster": str(source.key), "target": server.key}
    failover = OPERATION_BY_NAME[FAILOVER]
    return await recoveries.HANDLERS[FAILOVER](replace(call, operation=failover, arguments=arguments), desk)


MESSAGES = {
    "relocate": "Instance {server} relocated below {target}",
    "move-below": "Instance {server} moved below {target}",
    "move-below-gtid": "Instance {server} moved below {target} via GTID",
    "move-up": "Instance {server} moved up",
    "move-equivalent": "Instance {server} relocated via equivalence coordinates below {target}",
    "repoint": "Replica {server} repointed below {target}",
    "take-master": "{server} took its master",
    "make-co-master": "Instance made co-master: {server}",
    "make-local-master": "{server} now made local master",
    "reset-replica": "Replica reset on {server}",
    "detach-replica": "Replica detached: {server}",
    "reattach-replica": "Replica reattached: {server}",
    "start-replica": "Replica started",
    "stop-replica": "Replica stopped",
    "stop-replica-nice": "Replica stopped nicely",
    "restart-replica": "Replica restarted",
    "skip-query": "Query skipped",
    "set-read-only": "Server set as read-only",
    "set-writeable": "Server set as writeable",
    "kill-query": "Query killed on : {server}",
    "flush-binary-logs": "Binary logs flushed on: {server}",
    "purge-binary-logs": "Binary logs purged on: {server}",
    "gtid-errant-reset-master": "Removed errant GTID on {server} and issued a RESET MASTER",
}
"""The peers' words, where somebody may look for them."""

HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {
    **dict.fromkeys(PLANNERS, operate),
    "make-master": make_master,
}
