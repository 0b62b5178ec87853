"""What the HTTP side has to know about its own node, as one value and the port it comes through.

Addresses are texts as orchestrator prints them: ``host:port`` in the raft routes, and in the health answer exactly what
RaftAdvertise says. The composition root makes the value from the Raft node; nothing here is kept between requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Role(Enum):
    """A node's place in the Raft cluster, in orchestrator's words."""

    LEADER = "Leader"
    FOLLOWER = "Follower"
    CANDIDATE = "Candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """One node at one moment."""

    node_id: str
    hostname: str
    token: str
    """Random text that identifies this run of the process."""
    version: str
    started_ms: int
    now_ms: int
    role: Role
    term: int
    holds_authority: bool
    """This node may act now (design D4); the only meaning of "leader" for load balancers."""
    leader_id: str | None
    raft_enabled: bool = True
    """False for a single node that was not set up with Raft: the raft routes say so."""
    leader_address: str = ""
    """Raft address of the leader, ``host:port``; empty when none is known."""
    leader_uri: str = ""
    """URL of the leader's HTTP side; empty when none is known."""
    http_uris: tuple[str, ...] = ()
    """URLs of the HTTP sides of all nodes that have registered one."""
    bind: str = ""
    advertise: str = ""
    advertise_configured: str = ""
    """RaftAdvertise as it was written, without a port if it had none."""
    peers: tuple[str, ...] = ()
    """Raft addresses of all nodes, this one included."""
    healthy_members: tuple[str, ...] = ()
    """Nodes that were heard of lately, named as ``advertise_configured`` is."""
    connected: frozenset[str] = frozenset()
    """Ids of the other nodes to which there is a connection right now."""
    problem: str = ""
    """Why this node is not fit to serve; empty when it is."""

    @property
    def leads(self) -> bool:
        """This node is the leader as far as it knows, with or without live authority."""
        return self.leader_id == self.node_id


class NodeView(Protocol):
    """This node, seen from its HTTP side."""

    def status(self) -> NodeStatus:
        """How things stand now. Cheap: it is asked several times a request."""
