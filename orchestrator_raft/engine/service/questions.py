"""Questions about servers to which nothing is done: may it replicate from there, which of its logs holds that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from orchestrator_raft.core.errors import Refused, ServerError
from orchestrator_raft.core.gtid import GtidSet, parse_mysql
from orchestrator_raft.core.instance import Flavor, InstanceKey
from orchestrator_raft.core.moves.binary_logs import errant_of
from orchestrator_raft.core.moves.check import cannot_replicate, lacks_data, not_a_source
from orchestrator_raft.core.moves.model import Refusal
from orchestrator_raft.engine.leadership import Leader
from orchestrator_raft.engine.service.calls import Call, Reply
from orchestrator_raft.engine.service.names import require_server
from orchestrator_raft.engine.service.servers import DISCOVER_TIMEOUT_S

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk

ASK_TIMEOUT_S = 10.0
"""For all of its binary logs together."""
LOGS_MAX = 1000
"""So many binary logs are looked into, the newest ones."""
REPLICA_WORD = {Flavor.MYSQL: "replica", Flavor.MARIADB: "slave"}


async def can_replicate(call: Call, desk: Desk) -> Reply:
    """By what is known of both; the form ``-gtid`` also by what they hold. Raises Refused with the first reason."""
    moment = desk.leader().viewer.moment()
    server = require_server(moment.topology, call.arguments["server"], guess=True)
    target = require_server(moment.topology, call.arguments["target"], guess=True)
    reason = not_a_source(target)
    if not reason and server.fresh is None:
        reason = f"{server.key} does not answer"
    if not reason and server.fresh is not None and target.fresh is not None:
        reason = cannot_replicate(server.fresh, target.fresh, moment.policy)
        if not reason and call.operation.name.endswith("-gtid"):
            reason = lacks_data(moment.topology, server.fresh, target.fresh)
    if reason:
        raise Refused(f"{server.key} cannot replicate from {target.key}: {reason}")
    return Reply(message="true", value=target.key)


async def restart_statements(call: Call, desk: Desk) -> Reply:
    """What stops replication, a statement of the person's own, and what has it run as it does now."""
    moment = desk.leader().viewer.moment()
    server = require_server(moment.topology, call.arguments["server"])
    facts = server.facts
    channel = facts.channel if facts is not None else None
    if facts is None or channel is None:
        raise Refused(f"{server.key} is no replica")
    word = REPLICA_WORD[facts.flavor]
    stop, start = [f"stop {word}"], [f"start {word}"]
    if not channel.replicates:
        stop, start = [], []
    own = [call.text("q")] if call.text("q") else []
    return Reply(message=f"statements for: {server.key}", value=[*stop, *own, *start])


async def locate_errant(call: Call, desk: Desk) -> Reply:
    """The binary logs that hold errant transactions. Raises Refused where there are none, or none of them is there.

    It takes the acting session of the server, so only who may write may ask, and nobody while it is worked on.
    """
    leader = desk.leader()
    server = require_server(leader.viewer.moment().topology, call.arguments["server"])
    for key in (server.key, server.source):  # one after the other: only a source that was read later shows it
        if key is not None:
            await leader.discovery.probe_now(key, timeout_s=DISCOVER_TIMEOUT_S)
    topology = leader.viewer.moment().topology
    errant = errant_of(topology, topology.server(server.key))
    if isinstance(errant, Refusal):
        raise Refused(f"locate-errant-gtid: {errant.reason}")
    running = desk.outside.consensus.state.active_recovery(server.cluster_id)
    if running is not None:
        raise Refused(f"recovery {running.id} is working on the cluster of {server.key}: wait until it ends")
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            found = await _logs_with(leader, server.key, errant)
    except TimeoutError as error:
        raise ServerError(f"{server.key}: its binary logs were not read within {ASK_TIMEOUT_S:g} s") from error
    finally:
        await leader.hands.let_go((server.key,))
    if not found:
        raise Refused(f"locate-errant-gtid: {errant.describe()} is already purged on {server.key}")
    return Reply(message="located errant GTID", value=found)


async def _logs_with(leader: Leader, key: InstanceKey, errant: GtidSet) -> list[str]:
    """Each log says first what all logs before it hold; what the next one has more is in this one."""

    async def ask(sql: str) -> list[dict[str, object]]:
        return await leader.hands.ask(key, sql, term=leader.term, timeout_s=ASK_TIMEOUT_S)

    names = [str(row["Log_name"]) for row in await ask("SHOW BINARY LOGS")][-LOGS_MAX:]
    before = [parse_mysql(_previous(await ask(f"SHOW BINLOG EVENTS IN '{name}' LIMIT 2"))) for name in names]
    executed = parse_mysql(str((await ask("SELECT @@global.gtid_executed AS executed"))[0]["executed"]))
    held = [after.minus(first) for first, after in zip(before, [*before[1:], executed], strict=True)]
    return [name for name, gtids in zip(names, held, strict=True) if gtids.intersection(errant)]


def _previous(rows: list[dict[str, object]]) -> str:
    return next((str(row["Info"]) for row in rows if row["Event_type"] == "Previous_gtids"), "")


HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {
    "can-replicate-from": can_replicate,
    "can-replicate-from-gtid": can_replicate,
    "restart-replica-statements": restart_statements,
    "locate-gtid-errant": locate_errant,
}
