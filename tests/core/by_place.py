"""What the small fleet does with steps by file and position: a position is how many transactions there are before it.

So it has a meaning only in histories of one server's transactions without gaps, which is what the stories use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator_raft.core.gtid import GtidSet, parse_mysql
from orchestrator_raft.core.instance import Coordinates, InstanceKey
from orchestrator_raft.core.recovery.steps import PointAt, ReadPlace, ServerStep, StartUntil

if TYPE_CHECKING:
    from tests.core.fleet import Database

BY_PLACE = (PointAt, ReadPlace, StartUntil)


def place(gtids: GtidSet) -> Coordinates:
    return Coordinates("binlog.000001", gtids.count())


def by_place(step: ServerStep, server: Database, servers: Mapping[InstanceKey, Database]) -> str:
    if isinstance(step, StartUntil):
        return _until(step, server, servers)
    return _point_at(step, server) if isinstance(step, PointAt) else ""


def _until(step: StartUntil, server: Database, servers: Mapping[InstanceKey, Database]) -> str:
    source = servers.get(server.source) if server.source is not None else None
    if source is None or not source.alive:
        return "no source to read from"
    wanted = step.place.log_position
    if server.executed.count() < wanted:
        (writer,) = source.executed.sources()
        server.executed = parse_mysql(f"{writer}:1-{wanted}").intersection(source.executed)
        server.retrieved = server.executed
    server.receiver_on = server.applier_on = False
    return "" if server.executed.count() >= wanted else "it has not got there"


def _point_at(step: PointAt, server: Database) -> str:
    if server.source == step.source:
        return ""
    if server.source != step.left_source or place(server.executed) != step.left_at or server.applier_on:
        return f"it is not where it has to be, but at {server.executed.count()}"
    if step.place != place(server.executed):
        server.applier_error = "it was sent to another place than the one it stood at"
    server.source, server.retrieved, server.uses_gtid = step.source, server.executed, False
    return ""
