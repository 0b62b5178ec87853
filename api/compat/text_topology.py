"""A cluster as text: a tree for people, and the same in columns. Widths and words are the peers'.

A line: two spaces a level, ``+`` for a replica that replicates (``-`` for one that does not), address, alias, then lag,
status, version, read-only, binary log format and marks.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.replicated.labels import Tag
from orchestrator_raft.core.topology import Cluster, Server

from . import shown
from .shown import Freshness, Scene


@dataclass(frozen=True, slots=True)
class Line:
    """A server with its place in the tree, and the columns behind it."""

    key: InstanceKey
    name: str
    columns: tuple[str, ...]


def tree(cluster: Cluster, scene: Scene) -> str:
    """One line a server, the columns in brackets and aligned."""
    lines = _lines(cluster, scene)
    width = max((len(line.name) for line in lines), default=0)
    return "\n".join(_row(line, width) for line in lines)


def _row(line: Line, width: int) -> str:
    return f"{line.name.ljust(width)} [{','.join(each for each in line.columns if each)}]"


def tree_with_tags(cluster: Cluster, scene: Scene) -> str:
    """The tree with the tags of each server behind it."""
    tags, lines = scene.moment.state.tags, _lines(cluster, scene)
    width = max((len(line.name) for line in lines), default=0)
    return "\n".join(
        f"{_row(line, width)} [{','.join(_tag(each) for each in tags.get(line.key, ()))}]" for line in lines
    )


def _tag(tag: Tag) -> str:
    return str(tag) if tag.value else tag.name


def table(cluster: Cluster, scene: Scene) -> str:
    """The same as columns of equal width, with ``|`` between them."""
    rows = [(line.name, *line.columns) for line in _lines(cluster, scene)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return "\n".join("|".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)


def _lines(cluster: Cluster, scene: Scene) -> list[Line]:
    """Depth first from the primary, then from every other server whose source is not of this cluster."""
    members = [scene.moment.topology.servers[key] for key in cluster.members]
    lines: list[Line] = []
    drawn: set[InstanceKey] = set()
    for server in sorted(members, key=lambda server: (server.key != cluster.primary, server.depth, server.key)):
        _draw(server, 0, scene, lines, drawn)
    return lines


def _draw(server: Server, depth: int, scene: Scene, lines: list[Line], drawn: set[InstanceKey]) -> None:
    if server.key in drawn:
        return
    drawn.add(server.key)
    fresh = shown.freshness(server, scene)
    facts = server.facts
    mark = ""
    if depth:
        keeps_up = facts is not None and shown.runs(facts.channel) and fresh.valid and fresh.recently_checked
        mark = "  " * (depth - 1) + ("+ " if keeps_up else "- ")
    alias = f" ({facts.alias})" if facts is not None and facts.alias else ""
    lines.append(Line(server.key, f"{mark}{server.key}{alias}", _columns(server, fresh, scene)))
    for replica in scene.moment.topology.replicas_of(server.key):
        if replica.depth > 0:
            _draw(replica, depth + 1, scene, lines, drawn)


def _columns(server: Server, fresh: Freshness, scene: Scene) -> tuple[str, ...]:
    facts = server.facts
    if facts is None:
        return ("unknown", "invalid", "", "", "nobinlog", "")
    return (
        _lag(facts, fresh),
        _status(facts, fresh, scene),
        facts.version,
        "ro" if facts.read_only else "rw",
        facts.binlog.format if facts.binlog.enabled else "nobinlog",
        ",".join(_marks(server, facts, scene)),
    )


def _lag(facts: Facts, fresh: Freshness) -> str:
    channel = facts.channel
    if channel is not None and channel.source.is_detached:
        return "detached"
    if not (fresh.valid and fresh.recently_checked):
        return "unknown"
    if channel is not None and facts.lag_s is None:
        return "null"
    return f"{int(facts.lag_s or 0)}s"


def _status(facts: Facts, fresh: Freshness, scene: Scene) -> str:
    channel = facts.channel
    if not fresh.valid:
        return "invalid"
    if not fresh.recently_checked:
        return "unchecked"
    if channel is not None and not channel.source.is_detached:
        if not channel.replicates:
            return "nonreplicating"
        if facts.lag_s is None or facts.lag_s - channel.delay_s > scene.moment.policy.lag_maintenance_s:
            return "lag"
    return "ok"


def _marks(server: Server, facts: Facts, scene: Scene) -> list[str]:
    errant = shown.errant_text(server, scene.moment)
    uses_gtid = shown.supports_gtid(facts) or (facts.channel is not None and facts.channel.uses_gtid)
    marks = {
        ">>": facts.binlog.enabled and facts.binlog.logs_replica_updates,
        "GTID:errant": uses_gtid and bool(errant),
        "GTID": uses_gtid and not errant,
        "semi:master": facts.semi_sync.source_active,
        "semi:replica": facts.semi_sync.replica_active,
        "downtimed": shown.downtime(server, scene.moment).holds,
    }
    return [word for word, holds in marks.items() if holds]
