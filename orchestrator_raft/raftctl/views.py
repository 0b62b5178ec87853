"""From the API's JSON to what people read: tables and lines, as values. Pure.

Rules: a name that is missing in an answer is shown as empty, so that an older or newer node can be read; times are UTC;
nothing is said by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Json = Any


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of text; ``empty`` is said when there are no rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = "nothing"


@dataclass(frozen=True, slots=True)
class Lines:
    """Text that stands as it is."""

    lines: tuple[str, ...]


Block = Table | Lines
View = tuple[Block, ...]


def clusters(value: Json) -> View:
    rows = tuple(
        (_text(each, "name"), _alias(each), _text(each, "primary"), str(len(_list(each, "members"))),
         _text(each, "domain"), _yes_or_no(each, "no_loss_promise", "holds"),
         _yes_or_no(each, "automatic_failover", "possible"))
        for each in _objects(value)
    )  # fmt: skip
    empty = "no clusters are known: raftctl discover HOST:PORT"
    columns = ("CLUSTER", "ALIAS", "PRIMARY", "SERVERS", "DOMAIN", "NO-LOSS", "FAILOVER")
    return (Table(columns, rows, empty),)


def outlooks(value: Json) -> tuple[str, ...]:
    """Of each cluster what stands against the no-loss promise, and against a failover by itself."""
    found: list[str] = []
    for each in _objects(value):
        promise = _object(each, "no_loss_promise")
        if promise and not promise.get("holds"):
            found.append(f"{_name(each)}: no-loss promise: no, because {_text(promise, 'because')}")
        found += [text for text in (refused_failover(each),) if text]
    return tuple(found)


def refused_failover(cluster: Mapping[str, Json]) -> str:
    """That an automatic failover of this cluster would be refused now, and why; empty where it would not."""
    failover = _object(cluster, "automatic_failover")
    if not failover or failover.get("possible"):
        return ""
    return f"{_name(cluster)}: an automatic failover would be refused now: {_text(failover, 'because')}"


def _name(cluster: Mapping[str, Json]) -> str:
    return _alias(cluster) or _text(cluster, "name")


def clusters_explained(value: Json) -> View:
    """The table, and below it what is not as one would wish."""
    explained = outlooks(value)
    return (*clusters(value), Lines(explained)) if explained else clusters(value)


def _yes_or_no(value: Mapping[str, Json], name: str, field: str) -> str:
    found = _object(value, name)
    if not found:
        return ""
    return "yes" if found.get(field) else "no"


def _alias(cluster: Mapping[str, Json]) -> str:
    """The alias where it says more than the name."""
    alias = _text(cluster, "alias")
    return "" if alias == cluster.get("name") else alias


def topology(value: Json) -> View:
    return (Lines(tuple(_text(value, "text").splitlines())),)


def problems(value: Json) -> View:
    rows = tuple(row for each in _objects(value) for row in _problem_rows(each))
    return (Table(("SERVER", "SEVERITY", "PROBLEM", "TEXT", "EVIDENCE", "NOT REPAIRED BECAUSE"), rows, "no problems"),)


def _problem_rows(diagnosis: Mapping[str, Json]) -> Iterable[tuple[str, ...]]:
    server = _text(diagnosis, "server")
    if diagnosis.get("severity"):
        yield (
            server, _text(diagnosis, "severity"), _text(diagnosis, "code"), _text(diagnosis, "text"),
            "; ".join(_list(diagnosis, "evidence")), _text(diagnosis, "not_repaired_because"),
        )  # fmt: skip
    for weakness in _objects(diagnosis.get("structure")):
        evidence = "; ".join(_list(weakness, "evidence"))
        yield (server, "warning", _text(weakness, "code"), _text(weakness, "text"), evidence, "")


def audit(value: Json) -> View:
    rows = tuple(
        (moment(each.get("at_ms")), _text(each, "type"), _text(each, "key"), _text(each, "by"), _text(each, "message"))
        for each in _objects(value)
    )
    return (Table(("TIME", "TYPE", "SERVER", "BY", "MESSAGE"), rows, "the audit trail is empty here"),)


def servers(value: Json) -> View:
    rows = tuple(_server_row(each) for each in _objects(value))
    return (Table(("SERVER", "STATE", "SOURCE", "VERSION", "MODE", "LAG", "MARKS"), rows, "no servers"),)


def _server_row(server: Mapping[str, Json]) -> tuple[str, ...]:
    facts = _object(server, "facts")
    return (
        _text(server, "server"), reachability(server), _text(server, "source"), _text(facts, "version"),
        _mode(facts), lag(facts), marks(server),
    )  # fmt: skip


def instance(value: Json) -> View:
    """One server, a line for each thing worth knowing."""
    facts, semi_sync = _object(value, "facts"), _object(_object(value, "facts"), "semi_sync")
    channels = _objects(facts.get("channels"))
    pairs: list[tuple[str, str]] = [
        ("server", _text(value, "server")),
        ("alias", _text(facts, "alias")),
        ("cluster", _text(value, "cluster_id")),
        ("state", reachability(value)),
        ("marks", marks(value)),
        ("version", f"{_text(facts, 'version')} {_text(facts, 'version_comment')}".strip()),
        ("identity", _text(facts, "server_uuid") or _text(facts, "server_id")),
        ("mode", _mode(facts)),
        ("source", _text(value, "source")),
        ("replicas", ", ".join(_list(value, "replicas"))),
        ("lag", lag(facts)),
        ("promotion rule", _text(facts, "promotion_rule")),
        ("semi-sync", _semi_sync(semi_sync)),
        ("executed GTIDs", _text(facts, "executed")),
        *((f"replication error {channel.get('name') or ''}".strip(), _channel_error(channel)) for channel in channels),
    ]
    width = max(len(name) for name, _ in pairs)
    return (Lines(tuple(f"{name:{width}}  {text}" for name, text in pairs if text)),)


def _semi_sync(semi_sync: Mapping[str, Json]) -> str:
    parts = []
    if semi_sync.get("source_enabled"):
        count = _text(semi_sync, "wait_for_replica_count")
        parts.append(f"source, waits for {count}, {_text(semi_sync, 'source_clients')} connected")
    if semi_sync.get("replica_enabled"):
        parts.append("replica")
    return "; ".join(parts)


def _channel_error(channel: Mapping[str, Json]) -> str:
    return "; ".join(text for text in (_text(channel, "receiver_error"), _text(channel, "applier_error")) if text)


def reachability(server: Mapping[str, Json]) -> str:
    if server.get("reached"):
        return "ok"
    failure = _object(server, "unreachable")
    if failure:
        return f"out of reach: {_text(failure, 'kind')}"
    return "not probed yet" if server.get("reached") is None else "out of reach"


def marks(server: Mapping[str, Json]) -> str:
    """What people or recoveries have noted about a server."""
    found = []
    stale = _object(server, "stale")
    for name in ("downtime", "maintenance"):
        mark = _object(server, name)
        if mark:
            until = moment(mark.get("ends_ms"))
            found.append(f"{name} until {until} by {_text(mark, 'owner')}: {_text(mark, 'reason')}")
    if stale:
        extra = f", only it has {_text(stale, 'extra')}" if stale.get("extra") else ""
        found.append(f"stale primary, {_text(stale, 'status')}{extra}{saved(stale)}")
    return "; ".join(found)


def saved(holder: Mapping[str, Json]) -> str:
    """Where transactions were saved that only one server has, or why not; empty where nobody has tried."""
    found = _object(holder, "saved")
    if not found:
        return ""
    where = f"saved in {_text(found, 'path')} on node {_text(found, 'node_id')}" if found.get("path") else "not saved"
    return f"; {where}: {_text(found, 'problem')}" if found.get("problem") else f"; {where}"


def _mode(facts: Mapping[str, Json]) -> str:
    if "read_only" not in facts:
        return ""
    if facts.get("super_read_only"):
        return "super-read-only"
    return "read-only" if facts["read_only"] else "writable"


def lag(facts: Mapping[str, Json]) -> str:
    channels = _objects(facts.get("channels"))
    lag_s = facts.get("queried_lag_s")
    if lag_s is None and channels:
        lag_s = channels[0].get("lag_s")
    return "" if lag_s is None else f"{lag_s} s"


def recoveries(value: Json) -> View:
    rows = tuple(_recovery_row(each) for each in _objects(value))
    columns = ("NO", "STARTED", "CLUSTER", "WHAT", "SERVER", "SUCCESSOR", "END", "TOOK", "ACKNOWLEDGED", "UID")
    return (Table(columns, rows, "no recoveries are recorded"),)


def _recovery_row(recovery: Mapping[str, Json]) -> tuple[str, ...]:
    subject = _object(recovery, "subject")
    acknowledged = _object(recovery, "acknowledged")
    begun, ended = recovery.get("started_ms") or 0, recovery.get("finished_ms") or 0
    return (
        _text(recovery, "number"), moment(begun), _text(subject, "cluster_alias") or _text(subject, "cluster_name"),
        what(recovery), _text(subject, "key"), _text(recovery, "successor"), _text(recovery, "end"),
        f"{ended - begun} ms" if ended else "", _text(acknowledged, "by") or ("yes" if acknowledged else "no"),
        _text(recovery, "id"),
    )  # fmt: skip


def blocked(value: Json) -> View:
    rows = tuple(
        (moment(each.get("at_ms")), _text(each, "key"), _text(each, "cluster_name"), _text(each, "code"),
         _text(each, "reason"))
        for each in _objects(value)
    )  # fmt: skip
    return (Table(("TIME", "SERVER", "CLUSTER", "PROBLEM", "NOT RECOVERED BECAUSE"), rows, "no recovery is blocked"),)


def what(recovery: Mapping[str, Json]) -> str:
    return _text(_object(recovery, "request"), "command") or _text(_object(recovery, "subject"), "code")


def recovery_details(recovery: Mapping[str, Json]) -> View:
    """Everything about one recovery: its timeline, who was not chosen and why, what went wrong."""
    subject, request = _object(recovery, "subject"), _object(recovery, "request")
    acknowledged = _object(recovery, "acknowledged")
    alias = _text(subject, "cluster_alias") or _text(subject, "cluster_name")
    name = f"recovery {_text(recovery, 'number')} ({_text(recovery, 'id')})"
    lines = [
        f"{name}: {what(recovery)} of {_text(subject, 'key')}, cluster {alias}: {_text(recovery, 'end')}",
        f"  {_text(subject, 'text')}" if subject.get("text") else "",
        f"  asked for by {_text(request, 'by')}" if request.get("by") else "",
        f"  held by {_text(recovery, 'holder')} in term {_text(recovery, 'term')}",
        *timeline(recovery.get("timeline")),
        *_section(
            "not chosen", (f"{each.get('key')}: {each.get('reason')}" for each in _objects(recovery.get("refused")))
        ),
        *_section("moved", _list(recovery, "moved")),
        *_section("left behind", _list(recovery, "lost")),
        *_section("stale primaries", _list(recovery, "stale")),
        *_section(
            "transactions that the cluster lacks",
            [f"{recovery['lost_gtids']}{saved(recovery)}"] if recovery.get("lost_gtids") else [],
        ),
        *_section("errors", _list(recovery, "errors")),
    ]
    if acknowledged:
        by = _text(acknowledged, "by") or "somebody"
        lines.append(f"  acknowledged by {by} at {moment(acknowledged.get('at_ms'))}: {_text(acknowledged, 'comment')}")
    return (Lines(tuple(line for line in lines if line)),)


def timeline(value: Json) -> list[str]:
    """Each mark with its milliseconds since the first and since the one before."""
    ordered = sorted(_objects(value), key=lambda mark: int(mark.get("at_ms") or 0))
    if not ordered:
        return []
    first = before = int(ordered[0].get("at_ms") or 0)
    lines = [f"  timeline from {moment(first, milliseconds=True)}"]
    for mark in ordered:
        at = int(mark.get("at_ms") or 0)
        since, step = f"{at - first} ms", f"+{at - before}"
        lines.append(f"  {since:>12} {step:>9}  {_text(mark, 'name')}  {_text(mark, 'text')}".rstrip())
        before = at
    return lines


def _section(title: str, items: Iterable[Json]) -> list[str]:
    lines = [f"    {item}" for item in items]
    return [f"  {title}:", *lines] if lines else []


def done(value: Json) -> View:
    """A write's answer: the node's message, and the recovery if it was one."""
    message = _text(value, "message") or _text(value, "Message") or "done"
    result = value.get("result") if isinstance(value, dict) else None
    details: View = recovery_details(result) if isinstance(result, dict) and "timeline" in result else ()
    if isinstance(result, dict) and "stages" in result:
        details = plan(result)
    return (Lines((message,)), *details)


def plan(value: Json) -> View:
    """What would be done: stage by stage, then what speaks against it."""
    how = _text(value, "how")
    lines = [_text(value, "text") + (f" (by {how})" if how else "")]
    for number, stage in enumerate(_objects(value.get("stages")), start=1):
        lines.append(f"{number}. {_text(stage, 'text')}")
        lines += [f"   {step}" for step in _list(stage, "steps")]
    lines += [f"not: {_text(each, 'key')}: {_text(each, 'reason')}" for each in _objects(value.get("left_out"))]
    lines += [f"beware: {text}" for text in _list(value, "warnings")]
    block_s = value.get("expected_block_s")
    lines += [f"writes wait for up to {block_s:g} s"] if block_s else []
    return (Lines(tuple(lines)),)


def moment(at_ms: Json, *, milliseconds: bool = False) -> str:
    if not isinstance(at_ms, int) or at_ms <= 0:
        return ""
    text = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(" ", "milliseconds" if milliseconds else "seconds")
    return text.replace("+00:00", "Z")


def _text(value: Json, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    return "" if found is None else str(found)


def _object(value: Json, name: str) -> dict[str, Json]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _list(value: Json, name: str) -> list[Json]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _objects(value: Json) -> list[dict[str, Json]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
