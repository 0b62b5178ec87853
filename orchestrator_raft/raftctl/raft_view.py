"""What ``raftctl raft status`` makes of the nodes' answers: the verdict and one screen. Pure.

Contact, round trip and what a node *has* on its disk are as the leader sees them, or as the node that was asked sees
them where no leader answers; everything else is each node's own word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator_raft.raftctl import views

LITTLE_SPACE_BYTES = 256 * 1024 * 1024
Node = Mapping[str, Any]
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def nodes_of(value: Any) -> tuple[Node, ...]:
    """The nodes in an answer; those without a status have an ``error``."""
    found = value.get("nodes") if isinstance(value, dict) else None
    return tuple(node for node in found if isinstance(node, dict)) if isinstance(found, list) else ()


def leader_of(nodes: tuple[Node, ...]) -> Node | None:
    """The node that leads with a live lease, by its own word."""
    return next((node for node in nodes if _number(node, "lease_left_s") > 0), None)


def judge(value: Any) -> tuple[str, ...]:
    """Everything that is not as it should be, worst first; empty when all is well."""
    nodes = nodes_of(value)
    found = [str(node["alarm"]) for node in nodes if node.get("alarm")]
    found += [f"node {_id(node)} has stopped: {node['failure']}" for node in nodes if node.get("failure")]
    if leader_of(nodes) is None:
        found.append("no node holds authority: nothing is recovered until a majority of the nodes is up and agrees")
    found += [f"node {_id(node)} does not answer: {node['error']}" for node in nodes if node.get("error")]
    for node in nodes:
        free = node.get("disk_free_bytes")
        if isinstance(free, int) and free < LITTLE_SPACE_BYTES:
            found.append(f"node {_id(node)} has {size(free)} left on the disk of {node.get('store')}")
    return tuple(dict.fromkeys(found))


def view(value: Any) -> views.View:
    """One screen."""
    nodes = nodes_of(value)
    leader = leader_of(nodes)
    asked = value.get("asked") if isinstance(value, dict) else None
    observer = leader or next((node for node in nodes if node.get("id") == asked), {})
    seen = {str(member.get("id")): member for member in observer.get("members") or () if isinstance(member, dict)}
    states = views.Table(
        ("NODE", "ROLE", "TERM", "COMMIT", "APPLIED", "SYNCED", "HAS", "CONTACT", "ROUND TRIP", "DIGEST", "VERSION"),
        tuple(_state_row(node, seen.get(_id(node), {}), observer) for node in nodes),
    )
    stores = views.Table(
        ("NODE", "ADDRESS", "VOTES", "JOURNAL", "SNAPSHOT", "STORE", "DISK FREE"),
        tuple(_store_row(node, seen.get(_id(node), {})) for node in nodes),
    )
    return (states, views.Lines(("",)), stores, views.Lines(("", *_verdict(value, leader), *remarks(nodes))))


def remarks(nodes: tuple[Node, ...]) -> tuple[str, ...]:
    """What is worth knowing and no problem in itself: an upgrade under way, and who was turned away lately."""
    found = [
        f"the cluster is at level {node['level']} and {_id(node)} knows level {node['newest_level']}: it rises by "
        "itself when every member is connected and knows that level"
        for node in nodes
        if _number(node, "newest_level") > _number(node, "level")
    ]
    for node in nodes:
        for refused in node.get("refused") or ():
            if isinstance(refused, dict):
                ago = duration(_number(refused, "ago_s"))
                found.append(f"{_id(node)}, {ago} ago: {_text(refused, 'reason')}")
    return tuple(found)


def _verdict(value: Any, leader: Node | None) -> Iterator[str]:
    if leader is not None:
        left_s = _number(leader, "lease_left_s")
        yield f"{_id(leader)} leads in term {leader.get('term')}, its lease lives {left_s:.2f} s more"
    problems = judge(value)
    yield from ("1 problem:" if len(problems) == 1 else f"{len(problems)} problems:",) if problems else ("healthy",)
    yield from (f"  {text}" for text in problems)


def _state_row(node: Node, member: Node, observer: Node) -> tuple[str, ...]:
    if node.get("error"):
        return (_id(node), "no answer", "", "", "", "", _has(member), *_link(member), "", "")
    role = _text(node, "role")
    if role == "leader" and not _number(node, "lease_left_s"):
        role = "leader without authority"
    return (
        _id(node), role, _text(node, "term"), _text(node, "commit_index"), _text(node, "applied_index"),
        _text(node, "synced_index"), _has(member), *_link(member), _digest(node, member, observer),
        _text(node, "version"),
    )  # fmt: skip


def _has(member: Node) -> str:
    """A leader begins with zero, until it has heard."""
    return str(member.get("match_index") or "")


def _link(member: Node) -> tuple[str, str]:
    """Contact and round trip; a node's own link says nothing."""
    if not member or member.get("is_self"):
        return ("", "")
    contact, trip = member.get("last_contact_s"), member.get("round_trip_s")
    connected = "" if member.get("is_connected") else ", cut off"
    return (
        f"{contact:.1f} s ago{connected}" if isinstance(contact, float) else "never",
        f"{trip * 1000:.1f} ms" if isinstance(trip, float) else "",
    )


def _digest(node: Node, member: Node, observer: Node) -> str:
    """Whether it was equal to the observer's, where and when; the observer shows the digest itself."""
    if node.get("alarm"):
        return "ALARM"
    if _id(node) == _id(observer):
        return f"{_text(node, 'digest')[:8]} at {_text(node, 'applied_index')}"
    at, ago = member.get("equal_index"), member.get("compared_s")
    if at is None or not isinstance(ago, float):
        return "not compared yet"
    return f"equal at {at}, {ago:.0f} s ago"


def _store_row(node: Node, member: Node) -> tuple[str, ...]:
    votes = "no" if member.get("votes") is False else "yes"
    note = _text(member, "note")
    address = _text(member, "address") or _text(node, "address")
    head = (_id(node), address, f"{votes}, {note}" if note else votes)
    if node.get("error"):
        return (*head, "", "", "", "")
    journal = f"{_text(node, 'journal_entries')} entries, {size(node.get('journal_bytes'))}"
    return (*head, journal, _snapshot(node), size(node.get("store_bytes")), size(node.get("disk_free_bytes")))


def _snapshot(node: Node) -> str:
    if node.get("snapshot_index") is None:
        return "none"
    age_s = node.get("snapshot_age_s")
    age = f", {duration(age_s)} old" if isinstance(age_s, float | int) else ""
    return f"up to {node['snapshot_index']}, {size(node.get('snapshot_bytes'))}{age}"


def size(value: Any) -> str:
    """Bytes for people."""
    if not isinstance(value, int):
        return ""
    number, unit = float(value), 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 or number >= 10 else f"{number:.1f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """The largest unit that says enough."""
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def _id(node: Node) -> str:
    return str(node.get("id", ""))


def _text(node: Node, name: str) -> str:
    value = node.get(name)
    return "" if value is None else str(value)


def _number(node: Node, name: str) -> float:
    value = node.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
