"""Operations that read what a node knows beside the replicated state: figures of probes, names, changes of analysis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from orchestrator_raft.core.errors import Refused
from orchestrator_raft.engine.service.calls import Call, NotReached, Reply
from orchestrator_raft.engine.service.names import find_server

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk

DIAL_TIMEOUT_S = 5.0


async def probes(call: Call, desk: Desk) -> Reply:
    return Reply(value=desk.figures.probes(call.number("seconds")), moment=desk.moment())


async def queue(call: Call, desk: Desk) -> Reply:
    """There is one queue; whatever name is given, its figures are those of this one."""
    return Reply(value=desk.figures.samples(call.number("seconds")), moment=desk.moment())


async def changelog(call: Call, desk: Desk) -> Reply:
    leader = desk.leader()
    return Reply(value=list(leader.viewer.changelog.changes.items()), moment=leader.viewer.moment())


async def resolve(call: Call, desk: Desk) -> Reply:
    """Whether a server can be connected to from the leader. Raises NotReached.

    To connect is to log in, so a reader may ask about known servers only: any other address could be a trap for the
    account that manages all of them. Raises Refused.
    """
    asked = call.arguments["server"]
    known = find_server(desk.moment().topology, asked, guess=True)
    if known is None and not call.person.may_write:
        raise Refused(f"{asked} is no known server, and who may only read cannot have the leader log in elsewhere")
    key = known.key if known is not None else asked
    unreachable = await desk.outside.prober.try_connect(key, timeout_s=DIAL_TIMEOUT_S)
    if unreachable is not None and not unreachable.kind.answers:
        raise NotReached(key, unreachable)
    return Reply(message="Instance resolved", value=key)


async def name_cache(call: Call, desk: Desk) -> Reply:
    """Names are looked up at each connection, so there is nothing to show and nothing to clear."""
    cleared = call.operation.name.startswith("reset")
    return Reply(message="Hostname cache cleared" if cleared else "Cache retrieved", value=None if cleared else {})


async def reelect(call: Call, desk: Desk) -> Reply:
    if not desk.raft.is_enabled:
        raise Refused("reelect: not running with raft setup, so there is nobody else to lead")
    leader = await desk.raft.transfer(None)
    return Reply(message="Set re-elections", value=leader)


async def grab_election(call: Call, desk: Desk) -> Reply:
    if desk.raft.is_enabled:
        raise Refused("Unable to grab election: Raft elects; ask the leader for raft-yield, or any node for reelect")
    return Reply(message="Node elected as leader")


async def reload(call: Call, desk: Desk) -> Reply:
    """Of this node alone; the others read their own files. Raises Refused where another file is asked for."""
    if desk.reload is None:
        raise Refused("reload-configuration: this node has no configuration file")
    asked = call.text("config")
    files = desk.reload.files
    if asked and asked not in files:
        raise Refused(
            f"this node reads {', '.join(files)}, not {asked}, so nothing was read: restart it with that file"
        )
    found = desk.reload()
    changed = ", ".join(found.changed) or "nothing has changed that counts without a restart"
    waiting = f"; these count after a restart: {', '.join(found.need_restart)}" if found.need_restart else ""
    return Reply(message=f"Config reloaded: {changed}{waiting}", value=found, moment=desk.moment())


HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {
    "discovery-metrics-raw": probes,
    "discovery-metrics-aggregated": probes,
    "discovery-queue-metrics-raw": queue,
    "discovery-queue-metrics-aggregated": queue,
    "replication-analysis-changelog": changelog,
    "resolve": resolve,
    "hostname-resolve-cache": name_cache,
    "reset-hostname-resolve-cache": name_cache,
    "reelect": reelect,
    "reload-configuration": reload,
    "grab-election": grab_election,
}
