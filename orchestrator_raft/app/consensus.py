"""``ports.Consensus`` and ``ports.RaftAdmin`` on the Raft node; the codec for everything of ours that is in the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from orchestrator_raft.core.gtid import GtidSet, MariadbGtidSet, MysqlGtidSet, parse
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated import COMMANDS, Command, Result, State, apply, levels
from orchestrator_raft.ports import Authority, Peer
from orchestrator_raft.raft.codec import Codec, Hook
from orchestrator_raft.raft.levels import Levels
from orchestrator_raft.raft.node import RaftNode

Node = RaftNode[State, Command, Result]
MEMBERS_S = 20.0
TRANSFER_S = SNAPSHOT_S = 5.0


class ReplicatedMachine:
    """The pure state machine as the Raft node wants it."""

    def initial(self) -> State:
        return State()

    def apply(self, state: State, command: Command) -> tuple[State, Result]:
        return apply(state, command)


def codec() -> Codec[State, Command]:
    """All commands and the state, in the versioned encoding of journal and wire."""
    hooks = [Hook(kind, _encode_gtids, _decode_gtids) for kind in (GtidSet, MysqlGtidSet, MariadbGtidSet)]
    hooks.append(Hook(InstanceKey, list, _decode_key))
    known = Levels(oldest=levels.OLDEST, newest=levels.NEWEST, since=levels.SINCE)
    return Codec(commands=COMMANDS, state_type=State, hooks=hooks, levels=known)


def _encode_gtids(gtids: GtidSet) -> list[str]:
    return [gtids.family, str(gtids)]


def _decode_gtids(plain: list[str]) -> GtidSet:
    family, text = plain
    return parse(family, text)


def _decode_key(plain: list[Any]) -> InstanceKey:
    hostname, port = plain
    if type(hostname) is not str or type(port) is not int:
        raise TypeError("an address is a name and a port")
    return InstanceKey(hostname, port)


class RaftConsensus:
    """The engine's view of the Raft node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def __repr__(self) -> str:
        return f"<RaftConsensus of {self.node_id}>"

    @property
    def node_id(self) -> str:
        return self._node.node_id

    @property
    def state(self) -> State:
        return self._node.state

    async def propose(self, command: Command, *, timeout_s: float) -> Result:
        return await self._node.propose(command, timeout_s=timeout_s)

    async def barrier(self, *, timeout_s: float) -> None:
        await self._node.barrier(timeout_s=timeout_s)

    def authority(self) -> Authority | None:
        held = self._node.authority()
        return Authority(held.term, held.until_s) if held is not None else None

    def leader(self) -> str | None:
        return self._node.leader()

    def peers(self) -> Sequence[Peer]:
        return tuple(Peer(each.id, each.is_connected) for each in self._node.members() if not each.is_self)

    async def changes(self) -> AsyncIterator[None]:
        with self._node.subscribe() as subscription:
            yield
            async for _ in subscription:
                yield


class NodeAdmin:
    """``ports.RaftAdmin`` on the Raft node."""

    def __init__(self, node: Node, *, is_enabled: bool) -> None:
        self._node = node
        self._is_enabled = is_enabled

    @property
    def is_enabled(self) -> bool:
        return self._is_enabled

    def addresses(self) -> Mapping[str, str]:
        return {member.id: member.address for member in self._node.members()}

    async def overview(self) -> Mapping[str, Any]:
        return await self._node.overview()

    def members(self) -> Sequence[Mapping[str, Any]]:
        leader = self._node.leader()
        return [{**asdict(member), "is_leader": member.id == leader} for member in self._node.members()]

    async def add_member(self, address: str) -> str:
        return await self._node.add_member(address, timeout_s=MEMBERS_S)

    async def remove_member(self, node_id: str) -> None:
        await self._node.remove_member(node_id, timeout_s=MEMBERS_S)

    async def replace_member(self, node_id: str, address: str) -> str:
        return await self._node.replace_member(node_id, address, timeout_s=MEMBERS_S)

    async def transfer(self, node_id: str | None) -> str:
        await self._node.transfer(node_id, timeout_s=TRANSFER_S)
        return self._node.leader() or ""

    async def snapshot(self) -> int:
        return await self._node.snapshot(timeout_s=SNAPSHOT_S)
