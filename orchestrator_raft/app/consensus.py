"""``ports.Consensus`` on the Raft node, and the codec for everything of ours that goes through the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from orchestrator_raft.core.gtid import GtidSet, MariadbGtidSet, MysqlGtidSet, parse
from orchestrator_raft.core.replicated import COMMANDS, Command, Result, State, apply
from orchestrator_raft.ports import Authority, Peer
from orchestrator_raft.raft.codec import Codec, Hook
from orchestrator_raft.raft.node import RaftNode

Node = RaftNode[State, Command, Result]


class ReplicatedMachine:
    """The pure state machine as the Raft node wants it."""

    def initial(self) -> State:
        return State()

    def apply(self, state: State, command: Command) -> tuple[State, Result]:
        return apply(state, command)


def codec() -> Codec[State, Command]:
    """All commands and the state, in the versioned encoding of journal and wire."""
    hooks = [Hook(kind, _encode_gtids, _decode_gtids) for kind in (GtidSet, MysqlGtidSet, MariadbGtidSet)]
    return Codec(commands=COMMANDS, state_type=State, hooks=hooks)


def _encode_gtids(gtids: GtidSet) -> list[str]:
    return [gtids.family, str(gtids)]


def _decode_gtids(plain: list[str]) -> GtidSet:
    family, text = plain
    return parse(family, text)


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
