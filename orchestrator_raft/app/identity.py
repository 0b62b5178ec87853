"""This node as its HTTP side shows it, and how the others learn where that is."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

from api.node import NodeStatus, Role
from orchestrator_raft import __version__
from orchestrator_raft.app.consensus import Node, RaftConsensus
from orchestrator_raft.config import Settings
from orchestrator_raft.core.errors import Unavailable
from orchestrator_raft.core.replicated.commands import RegisterNode
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.ports import Clock
from orchestrator_raft.raft.status import Member
from orchestrator_raft.raft.status import Role as RaftRole

ROLES = {
    RaftRole.LEADER: Role.LEADER,
    RaftRole.FOLLOWER: Role.FOLLOWER,
    RaftRole.CANDIDATE: Role.CANDIDATE,
    RaftRole.STOPPED: Role.CANDIDATE,
}
HEALTHY_CONTACT_S = 20.0
"""The peers list a member as healthy for so long after it was heard of."""
REGISTER_AGAIN_S = 1.0


class ThisNode:
    """``api.node.NodeView``."""

    def __init__(self, node: Node, settings: Settings, clock: Clock) -> None:
        self._node = node
        self._settings = settings
        self._clock = clock
        self._token = secrets.token_hex(32)
        self._started_ms = clock.wall_ms()
        self._hostname = socket.gethostname()

    def status(self) -> NodeStatus:
        """How things stand now."""
        raft, settings = self._node.status(), self._settings
        state = self._node.state
        leader = raft.leader
        members = {member.id: member for member in raft.members}
        known = state.nodes.get(leader) if leader is not None else None
        return NodeStatus(
            node_id=self._node.node_id,
            hostname=self._hostname,
            token=self._token,
            version=__version__,
            started_ms=self._started_ms,
            now_ms=self._clock.wall_ms(),
            role=ROLES[raft.role],
            term=raft.term,
            holds_authority=self._node.authority() is not None,
            leader_id=leader,
            raft_enabled=settings.raft_enabled,
            leader_address=members[leader].address if leader in members else "",
            leader_uri=known.http_uri if known is not None else "",
            http_uris=tuple(record.http_uri for record in state.nodes.values()),
            bind=str(settings.raft_bind_address),
            advertise=str(settings.raft_advertise_address),
            advertise_configured=settings.raft_advertise or settings.raft_bind,
            peers=tuple(member.address for member in raft.members),
            healthy_members=tuple(
                _as_written(member.address, settings) for member in raft.members if _is_healthy(member)
            ),
            connected=frozenset(member.id for member in raft.members if member.is_connected and not member.is_self),
            problem=raft.failure or raft.alarm,
        )


def _is_healthy(member: Member) -> bool:
    recent = member.last_contact_s is not None and member.last_contact_s < HEALTHY_CONTACT_S
    return member.is_self or member.is_connected or recent


def _as_written(address: str, settings: Settings) -> str:
    """Without the default port where RaftAdvertise leaves it out: so the peers print it."""
    default = f":{settings.default_raft_port}"
    written = settings.raft_advertise or settings.raft_bind
    return address if written.endswith(default) else address.removesuffix(default)


def http_uri(settings: Settings) -> str:
    """Where people reach this node: HTTPAdvertise, else the host of RaftAdvertise and the port of ListenAddress."""
    if settings.http_advertise:
        return settings.http_advertise
    host = settings.raft_advertise_address.host or "127.0.0.1"
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if settings.use_ssl and not settings.listen_socket else "http"
    return f"{scheme}://{shown}:{settings.listen.port}"


async def keep_registered(node: Node, consensus: RaftConsensus, settings: Settings, clock: Clock) -> None:
    """See to it that the replicated record says where this node's HTTP side is."""
    proposals = Proposals(consensus, clock)
    mine = (str(settings.raft_advertise_address), http_uri(settings), __version__)
    while True:
        record = node.state.nodes.get(node.node_id)
        known = (record.address, record.http_uri, record.version) if record is not None else None
        if known != mine and consensus.leader() is not None:
            with suppress(Unavailable):  # there is no quorum just now: the next round tries again
                await proposals.propose(
                    RegisterNode, node_id=node.node_id, address=mine[0], http_uri=mine[1], version=mine[2]
                )
        await clock.sleep(REGISTER_AGAIN_S)
