"""Operations on servers that are kept out: save what only they have; rebuild them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from orchestrator_raft.core.errors import Refused, ServerError
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.model import EndState, Recovery, Request
from orchestrator_raft.core.recovery.rebuild import donor_for, obstacle
from orchestrator_raft.core.replicated.commands import RecordSaved
from orchestrator_raft.core.topology import Server
from orchestrator_raft.engine.leadership import Leader
from orchestrator_raft.engine.proposals import derived_id
from orchestrator_raft.engine.rebuilds import rebuilding
from orchestrator_raft.engine.salvaging import save
from orchestrator_raft.engine.service.calls import Call, Reply
from orchestrator_raft.engine.service.names import require_server
from orchestrator_raft.engine.service.recoveries import RECOVERY, long_operation
from orchestrator_raft.engine.service.servers import probe, propose
from orchestrator_raft.engine.view import Moment

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk


async def save_lost_transactions(call: Call, desk: Desk) -> Reply:
    leader, salvager = desk.leader(), desk.outside.salvager
    if salvager is None:
        raise Refused("this node has no directory for lost transactions: set LostTransactionsDirectory or RaftDataDir")
    server, moment = await _read(leader, call.arguments["server"])
    recovery_id, saved = await save(salvager, leader.proposals.node_id, server.key, moment)
    await propose(leader, call, RecordSaved, key=server.key, saved=saved, recovery_id=recovery_id)
    if not saved.path:
        raise ServerError(f"{server.key}: nothing was saved: {saved.problem}")
    return Reply(message=f"Saved: {saved}", value=saved, moment=moment)


async def _read(leader: Leader, asked: InstanceKey) -> tuple[Server, Moment]:
    """The server is read first and then its primary, whose set only grows, so that nothing looks extra that is not."""
    key = require_server(leader.viewer.moment().topology, asked).key
    server, moment = await probe(leader, key)
    primary = moment.topology.primary_of(server.cluster_id)
    if primary is not None:
        _, moment = await probe(leader, primary.key)
    return moment.topology.server(key), moment


async def rebuild(call: Call, desk: Desk) -> Recovery:
    leader = desk.leader()
    server, moment = await _read(leader, call.arguments["server"])
    named = call.arguments.get("donor")
    policy, topology = moment.policy, moment.topology
    donor = require_server(topology, named).key if named is not None else donor_for(topology, server, policy)
    accept_loss = call.flag("accept_loss")
    why_not = obstacle(topology, server.key, donor, accept_loss=accept_loss)
    if why_not:
        raise Refused(f"rebuild: nothing was changed: {why_not}")
    request = Request(
        by=call.person.name, command="rebuild", designated=donor, forced=True, accept_loss=accept_loss,
        request_id=call.request_id,
    )  # fmt: skip
    return rebuilding(
        server, topology.clusters[server.cluster_id], moment, request,
        recovery_id=derived_id(call.intention, RECOVERY), holder=leader.proposals.node_id, term=leader.term,
    )  # fmt: skip


def told_rebuild(_call: Call, ended: Recovery, moment: Moment) -> Reply:
    if ended.end is not EndState.SUCCEEDED:
        raise Refused(f"rebuild: {ended.end.value}: {'; '.join(ended.errors) or ended.timeline[-1].text}")
    return Reply(message=f"rebuild: {ended.timeline[-1].text}", value=ended, moment=moment)


HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {
    "save-lost-transactions": save_lost_transactions,
    "rebuild": long_operation(rebuild, told_rebuild),
}
