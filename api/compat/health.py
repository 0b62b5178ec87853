"""What a node says of itself: health, leadership and the raft routes, with the exact texts of the peers.

One function a route, from the node's status to a status code and a JSON value; an ``Envelope`` where the peers use one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..exchange import Ask
from ..node import NodeStatus, Role
from .go import ZERO_TIME, Json, timestamp

HIDDEN_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
HIDDEN = "********"
NOT_RAFT = "not running with raft setup"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A value that goes into Code, Message and Details."""

    message: str
    details: Json = None


@dataclass(frozen=True, slots=True)
class Said:
    """A status code and what goes with it."""

    value: Json | Envelope
    status: int = 200


Arguments = Mapping[str, str]
Route = Callable[[NodeStatus, Arguments, Ask], Said]


def health(node: NodeStatus, _arguments: Arguments, _ask: Ask) -> Said:
    details = health_json(node)
    if node.problem:
        return Said(Envelope(f"Application node is unhealthy {node.problem}", details), 500)
    return Said(Envelope("Application node is healthy", details))


def health_json(node: NodeStatus) -> Json:
    """HealthStatus. With Raft the active node is named by the leader's Raft address, as with the peers."""
    seen = {"FirstSeenActive": timestamp(node.started_ms), "LastSeenActive": timestamp(node.now_ms)}
    myself = _node_health(node.hostname, node.token, version=node.version, **seen)
    active = _node_health(node.leader_address, "") if node.raft_enabled else myself
    return {
        "Healthy": not node.problem,
        "Hostname": node.hostname,
        "Token": node.token,
        "IsActiveNode": node.holds_authority,
        "ActiveNode": active,
        "Error": {} if node.problem else None,
        "AvailableNodes": [myself],
        "RaftLeader": node.leader_address if node.raft_enabled else "",
        "IsRaftLeader": node.raft_enabled and node.holds_authority,
        "RaftLeaderURI": node.leader_uri if node.raft_enabled else "",
        "RaftAdvertise": node.advertise_configured if node.raft_enabled else "",
        "RaftHealthyMembers": list(node.healthy_members) if node.raft_enabled else None,
    }


def _node_health(hostname: str, token: str, *, version: str = "", **seen: str) -> Json:
    return {
        "Hostname": hostname,
        "Token": token,
        "AppVersion": version,
        "FirstSeenActive": seen.get("FirstSeenActive", ""),
        "LastSeenActive": seen.get("LastSeenActive", ""),
        "ExtraInfo": "",
        "Command": "",
        "DBBackend": "",
        "LastReported": ZERO_TIME,
    }


def lb_check(_node: NodeStatus, _arguments: Arguments, _ask: Ask) -> Said:
    return Said("OK")


def leader_check(node: NodeStatus, arguments: Arguments, _ask: Ask) -> Said:
    """200 only with live authority: what a load balancer sends writes of the API to."""
    if node.holds_authority:
        return Said("OK")
    asked = arguments.get("status", "")
    is_status = asked.isascii() and asked.isdigit() and len(asked) == 3 and asked >= "200"
    return Said("Not leader", int(asked) if is_status else 404)


def raft_health(node: NodeStatus, _arguments: Arguments, _ask: Ask) -> Said:
    if not node.raft_enabled:
        return Said(Envelope(f"raft-state: {NOT_RAFT}"), 500)
    return Said("healthy") if is_in_quorum(node) else Said(Envelope("unhealthy"), 500)


def is_in_quorum(node: NodeStatus) -> bool:
    return node.role in (Role.LEADER, Role.FOLLOWER)


def raft_state(node: NodeStatus, _arguments: Arguments, _ask: Ask) -> Said:
    return _with_raft(node, "raft-state", node.role.value)


def raft_leader(node: NodeStatus, _arguments: Arguments, _ask: Ask) -> Said:
    return _with_raft(node, "raft-leader", node.leader_address)


def raft_peers(node: NodeStatus, _arguments: Arguments, _ask: Ask) -> Said:
    return _with_raft(node, "raft-nodes", list(node.peers))


def raft_status(node: NodeStatus, _arguments: Arguments, _ask: Ask) -> Said:
    value = {
        "RaftBind": node.bind,
        "RaftAdvertise": node.advertise,
        "State": node.role.value,
        "Healthy": is_in_quorum(node),
        "IsPartOfQuorum": is_in_quorum(node),
        "Leader": node.leader_address,
        "LeaderURI": node.leader_uri,
        "Peers": list(node.peers),
    }
    return _with_raft(node, "raft-state", value)


def _with_raft(node: NodeStatus, name: str, value: Json) -> Said:
    return Said(value) if node.raft_enabled else Said(Envelope(f"{name}: {NOT_RAFT}"), 500)


def headers(_node: NodeStatus, _arguments: Arguments, ask: Ask) -> Said:
    """The request's headers, names in canonical form and in order; what authenticates is not repeated."""
    shown = {
        _canonical(name): [HIDDEN if name in HIDDEN_HEADERS else _clean(value) for value in values]
        for name, values in sorted(ask.headers.items())
        if name != "host"
    }
    return Said(shown)


def _canonical(name: str) -> str:
    return "-".join(part[:1].upper() + part[1:].lower() for part in _clean(name).split("-"))


def _clean(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


ROUTES: dict[str, Route] = {
    "health": health,
    "lb-check": lb_check,
    "leader-check": leader_check,
    "routed-leader-check": leader_check,
    "raft-health": raft_health,
    "raft-state": raft_state,
    "raft-leader": raft_leader,
    "raft-peers": raft_peers,
    "raft-status": raft_status,
    "headers": headers,
}
