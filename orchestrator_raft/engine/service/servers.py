"""Operations on servers: discover, forget, downtime, read-only, start and stop replication."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from orchestrator_raft.core.errors import Changed, Refused, ServerError
from orchestrator_raft.core.instance import InstanceKey, Unreachable
from orchestrator_raft.core.replicated import Command, Result
from orchestrator_raft.core.replicated.commands import (
    BeginDowntime,
    EndDowntime,
    ForgetServers,
    PolicyCommand,
    RecordAudit,
)
from orchestrator_raft.core.replicated.state import CHANGED
from orchestrator_raft.core.topology import Server
from orchestrator_raft.engine.leadership import Leader
from orchestrator_raft.engine.service.calls import Call, NotReached, Reply
from orchestrator_raft.engine.service.names import find_server, require_cluster, require_server, unknown_server
from orchestrator_raft.engine.view import Moment

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk

DISCOVER_TIMEOUT_S = 5.0
STEP_DEADLINE_S = 10.0
DOWNTIME_DEFAULT_S = 600


async def propose(leader: Leader, call: Call, kind: type[Command], **fields: Any) -> Result:
    """Propose in the name of the person who asked. Raises Refused with apply's reason, Changed where that is why."""
    if issubclass(kind, PolicyCommand):
        fields = {"if_version": call.if_version, **fields}
    result = await leader.proposals.propose(
        kind, by=call.person.name, request_id=call.request_id, intention=call.intention, **fields
    )
    if not result.ok:
        raise Changed(result.reason) if result.value == CHANGED else Refused(result.reason)
    return result


async def probe(leader: Leader, asked: InstanceKey) -> tuple[Server, Moment]:
    """Probe now and record what was found. Raises NotReached when the server does not answer."""
    observation = await leader.discovery.probe_now(asked, timeout_s=DISCOVER_TIMEOUT_S)
    if isinstance(observation.result, Unreachable):
        raise NotReached(asked, observation.result)
    await leader.recorder.flush()
    leader.watch.changed()
    moment = leader.viewer.moment()
    return moment.topology.server(observation.key), moment


async def discover(call: Call, desk: Desk) -> Reply:
    leader = desk.leader()
    asked = call.arguments["server"]
    leader.pacing.remember(asked)
    try:
        server, moment = await probe(leader, asked)
    except ServerError:
        if asked not in desk.outside.consensus.state.servers:
            leader.inventory.forget(asked)
        raise
    return Reply(message=f"Instance discovered: {server.key}", value=server, moment=moment)


async def async_discover(call: Call, desk: Desk) -> Reply:
    leader = desk.leader()
    leader.tasks.start(f"discover {call.arguments['server']}", _discover_quietly(call, desk))
    return Reply(message=f"Asynchronous discovery initiated for: {call.arguments['server']}")


async def _discover_quietly(call: Call, desk: Desk) -> None:
    try:
        await discover(call, desk)
    except ServerError as error:
        text = f"discovery failed: {error}"
        await propose(desk.leader(), call, RecordAudit, type="discover", message=text, key=call.arguments["server"])


async def refresh(call: Call, desk: Desk) -> Reply:
    leader = desk.leader()
    known = require_server(leader.viewer.moment().topology, call.arguments["server"])
    server, moment = await probe(leader, known.key)
    return Reply(message=f"Instance refreshed: {server.key}", value=server.key, moment=moment)


async def forget(call: Call, desk: Desk) -> Reply:
    leader = desk.leader()
    asked = call.arguments["server"]
    known = find_server(leader.viewer.moment().topology, asked, guess=False)
    if known is None:
        raise unknown_server(asked, peers=f"ForgetInstance(): instance {asked} not found")
    await _forget(leader, call, (known.key,))
    return Reply(message=f"Instance forgotten: {known.key}", value=known.key)


async def forget_cluster(call: Call, desk: Desk) -> Reply:
    leader = desk.leader()
    cluster = require_cluster(leader.viewer.moment().topology, call.text("cluster"))
    await _forget(leader, call, cluster.members)
    return Reply(message=f"Cluster forgotten: {cluster.name}")


async def _forget(leader: Leader, call: Call, keys: tuple[InstanceKey, ...]) -> None:
    await propose(leader, call, ForgetServers, keys=keys, forced=call.flag("force"))
    leader.pacing.forget(keys)
    for key in keys:
        leader.inventory.forget(key)
    leader.watch.changed()


async def begin_downtime(call: Call, desk: Desk) -> Reply:
    leader = desk.leader()
    moment = leader.viewer.moment()
    server = require_server(moment.topology, call.arguments["server"])
    ends_ms = moment.now_ms + 1000 * call.number("duration", DOWNTIME_DEFAULT_S)
    set_ = await propose(
        leader, call, BeginDowntime,
        key=server.key, owner=call.text("owner"), reason=call.text("reason"), ends_ms=ends_ms,
    )  # fmt: skip
    return Reply(message=f"Downtime begun: {server.key}", value=server.key, version=int(set_.value or 0))


async def end_downtime(call: Call, desk: Desk) -> Reply:
    leader = desk.leader()
    server = require_server(leader.viewer.moment().topology, call.arguments["server"])
    await propose(leader, call, EndDowntime, key=server.key)
    return Reply(message=f"Downtime ended: {server.key}", value=server.key, version=0)


HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {
    "discover": discover,
    "async-discover": async_discover,
    "refresh": refresh,
    "forget": forget,
    "forget-cluster": forget_cluster,
    "begin-downtime": begin_downtime,
    "end-downtime": end_downtime,
}
