"""Operations on servers that are kept out: save what only they have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from orchestrator_raft.core.errors import Refused, ServerError
from orchestrator_raft.core.replicated.commands import RecordSaved
from orchestrator_raft.engine.salvaging import save
from orchestrator_raft.engine.service.calls import Call, Reply
from orchestrator_raft.engine.service.names import require_server
from orchestrator_raft.engine.service.servers import probe, propose

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk


async def save_lost_transactions(call: Call, desk: Desk) -> Reply:
    """The server is read first and then its primary, whose set only grows, so that nothing looks extra that is not."""
    leader, salvager = desk.leader(), desk.outside.salvager
    if salvager is None:
        raise Refused("this node has no directory for lost transactions: set LostTransactionsDirectory or RaftDataDir")
    key = require_server(leader.viewer.moment().topology, call.arguments["server"]).key
    server, moment = await probe(leader, key)
    primary = moment.topology.primary_of(server.cluster_id)
    if primary is not None:
        _, moment = await probe(leader, primary.key)
    saved = await save(salvager, leader.proposals.node_id, key, moment)
    await propose(leader, call, RecordSaved, key=key, saved=saved)
    if not saved.path:
        raise ServerError(f"{key}: nothing was saved: {saved.problem}")
    return Reply(message=f"Saved: {saved}", value=saved, moment=moment)


HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {"save-lost-transactions": save_lost_transactions}
