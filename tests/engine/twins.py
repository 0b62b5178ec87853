"""In-memory twins of every port of the engine, with the faults that tests need. See ``fleet`` for the servers.

``MemoryRaft`` is one replicated log for several nodes: every command goes through the real ``apply``. What a real
cluster needs elections for is done by hand here: ``elect`` names the leader, ``cut`` separates two nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from orchestrator_raft.core.errors import Refused, ServerError, Unavailable
from orchestrator_raft.core.instance import InstanceKey, ProbeResult, Reached, Unreachable, UnreachableKind
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.replicated import Command, Result, State, apply
from orchestrator_raft.ports import Authority, Handler, HookPreview, HookReport, Peer
from tests.engine.fleet import Fleet

FOR_EVER = float("inf")


class MemoryNetwork:
    """Which nodes can talk to each other, and what happens to calls between them."""

    def __init__(self) -> None:
        self.handlers: dict[tuple[str, str], Handler] = {}
        self._cut: set[frozenset[str]] = set()
        self.lost_answers: set[str] = set()
        """Nodes whose answers are lost on the way: the call was carried out all the same."""
        self.calls: list[tuple[str, str, str]] = []
        """(from, to, method) of every call that was delivered."""

    def cut(self, one: str, other: str) -> None:
        self._cut.add(frozenset({one, other}))

    def heal(self) -> None:
        self._cut.clear()
        self.lost_answers.clear()

    def linked(self, one: str, other: str) -> bool:
        return frozenset({one, other}) not in self._cut

    def channel(self, node_id: str) -> MemoryChannel:
        return MemoryChannel(self, node_id)


class MemoryChannel:
    """``ports.Channel`` of one node."""

    def __init__(self, network: MemoryNetwork, node_id: str) -> None:
        self._network = network
        self._node_id = node_id

    def serve(self, method: str, handler: Handler) -> None:
        self._network.handlers[(self._node_id, method)] = handler

    async def call(self, node_id: str, method: str, payload: bytes, *, timeout_s: float) -> bytes:
        network = self._network
        handler = network.handlers.get((node_id, method))
        if handler is None or not network.linked(self._node_id, node_id):
            raise Unavailable(f"node {node_id} is not connected")
        network.calls.append((self._node_id, node_id, method))
        try:
            async with asyncio.timeout(timeout_s):
                answer = await handler(self._node_id, payload)
        except TimeoutError as error:
            raise Unavailable(f"node {node_id} did not answer within {timeout_s:g} s") from error
        if node_id in network.lost_answers or not network.linked(self._node_id, node_id):
            raise Unavailable(f"the connection to node {node_id} was lost")
        return answer


class MemoryRaft:
    """The log that all nodes share, who leads it, and in which term."""

    def __init__(self, *node_ids: str, state: State | None = None) -> None:
        self.node_ids = node_ids
        self.network = MemoryNetwork()
        self.state = state or State()
        self.leader: str | None = node_ids[0]
        self.term = 1
        self.without_authority: set[str] = set()
        """Leaders whose lease has lapsed."""
        self.refuse_proposals = False
        self.gate: asyncio.Event | None = None
        """Where there is one, proposals wait until it is set."""
        self.at_gate = 0
        self.log: list[Command] = []
        self._listeners: list[asyncio.Event] = []
        self.nodes = {node_id: MemoryConsensus(self, node_id) for node_id in node_ids}

    def elect(self, node_id: str | None) -> None:
        """From now on this node leads, in a new term; None for nobody."""
        self.leader = node_id
        self.term += 1
        self.changed()

    def changed(self) -> None:
        for event in self._listeners:
            event.set()

    async def commit(self, command: Command) -> Result:
        self.at_gate += 1
        await (self.gate.wait() if self.gate is not None else asyncio.sleep(0))
        self.at_gate -= 1
        if self.refuse_proposals or self.leader is None:
            raise Unavailable("there is no quorum: nothing can be recorded now")
        self.log.append(command)
        self.state, result = apply(self.state, command)
        self.changed()
        return result

    async def changes(self) -> AsyncIterator[None]:
        event = asyncio.Event()
        self._listeners.append(event)
        try:
            while True:
                yield
                await event.wait()
                event.clear()
        finally:
            self._listeners.remove(event)


class MemoryConsensus:
    """``ports.Consensus`` of one node of a ``MemoryRaft``."""

    def __init__(self, raft: MemoryRaft, node_id: str) -> None:
        self._raft = raft
        self._node_id = node_id

    @property
    def node_id(self) -> str:
        return self._node_id

    @property
    def state(self) -> State:
        return self._raft.state

    async def propose(self, command: Command, *, timeout_s: float) -> Result:
        return await self._raft.commit(command)

    async def barrier(self, *, timeout_s: float) -> None:
        await asyncio.sleep(0)

    def authority(self) -> Authority | None:
        raft = self._raft
        if raft.leader != self._node_id or self._node_id in raft.without_authority:
            return None
        return Authority(term=raft.term, until_s=FOR_EVER)

    def leader(self) -> str | None:
        return self._raft.leader

    def peers(self) -> Sequence[Peer]:
        raft = self._raft
        others = [each for each in raft.node_ids if each != self._node_id]
        return tuple(Peer(each, raft.network.linked(self._node_id, each)) for each in others)

    def changes(self) -> AsyncIterator[None]:
        return self._raft.changes()


class MemoryRaftAdmin:
    """``ports.RaftAdmin`` of one node of a ``MemoryRaft``; addresses as ``address`` makes them."""

    def __init__(self, raft: MemoryRaft, node_id: str, address: Callable[[str], str] = str) -> None:
        self._raft = raft
        self._node_id = node_id
        self._address = address
        self.is_enabled = True
        self.added: dict[str, str] = {}
        self.removed: set[str] = set()

    def addresses(self) -> Mapping[str, str]:
        founders = {node_id: self._address(node_id) for node_id in self._raft.node_ids}
        return {id_: address for id_, address in (founders | self.added).items() if id_ not in self.removed}

    def members(self) -> Sequence[Mapping[str, Any]]:
        return [{"id": id_, "address": address, "votes": True} for id_, address in self.addresses().items()]

    async def add_member(self, address: str) -> str:
        self.added[address] = address
        return address

    async def remove_member(self, node_id: str) -> None:
        self.removed.add(node_id)

    async def replace_member(self, node_id: str, address: str) -> str:
        self.removed.add(node_id)
        return await self.add_member(address)

    async def overview(self) -> Mapping[str, Any]:
        return {"asked": self._node_id, "nodes": [{"id": node_id} for node_id in self._raft.node_ids]}

    async def transfer(self, node_id: str | None) -> str:
        others = [each for each in self._raft.node_ids if each != self._node_id]
        if not others or node_id == self._node_id:
            raise Refused(f"{self._node_id} has nobody to hand over to")
        self._raft.elect(node_id or others[0])
        return node_id or others[0]

    async def snapshot(self) -> int:
        return len(self._raft.log)


@dataclass
class ScriptedProber:
    """``ports.Prober`` on a fleet: facts as they stand, or the failure that the fleet says."""

    fleet: Fleet
    probed: list[InstanceKey] = field(default_factory=list)
    _listener: Callable[[InstanceKey], None] = lambda _key: None

    async def probe(self, key: InstanceKey, *, timeout_s: float) -> ProbeResult:
        await asyncio.sleep(0)
        self.probed.append(key)
        server = self.fleet.servers.get(key)
        if server is None:
            return Unreachable(key, UnreachableKind.REFUSED, "connection refused")
        return server.down or Reached(server.facts, latency_s=0.001)

    async def try_connect(self, key: InstanceKey, *, timeout_s: float) -> Unreachable | None:
        result = await self.probe(key, timeout_s=timeout_s)
        return result if isinstance(result, Unreachable) else None

    def on_closed(self, listener: Callable[[InstanceKey], None]) -> None:
        self._listener = listener

    def forget(self, key: InstanceKey) -> None:
        """There is no connection to close."""

    async def close(self) -> None:
        self._listener = lambda _key: None

    def crash(self, port: int, kind: UnreachableKind = UnreachableKind.REFUSED) -> None:
        """Take a server down and let its connections close, as a crash does."""
        self.fleet.crash(port, kind)
        self._listener(self.fleet[port].facts.key)


class MemorySession:
    """``ports.Session`` on one modelled server."""

    def __init__(self, fleet: Fleet, key: InstanceKey) -> None:
        self._fleet = fleet
        self._key = key

    @property
    def key(self) -> InstanceKey:
        return self._key

    async def query(self, sql: str, *, timeout_s: float, masked: str | None = None) -> list[dict[str, object]]:
        await asyncio.sleep(0)
        return self._fleet.servers[self._key].say(sql)


class MemorySessions:
    """``ports.Sessions`` on a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    @asynccontextmanager
    async def acting(
        self, key: InstanceKey, *, timeout_s: float, before_kill: Callable[[], None]
    ) -> AsyncIterator[MemorySession]:
        server = self._fleet.servers.get(key)
        if server is None or server.down is not None:
            raise ServerError(f"{key}: connection refused")
        yield MemorySession(self._fleet, key)


class RecordingHooks:
    """``ports.Hooks`` that run nothing and remember what they were asked for."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str]] = []
        self.drills: list[tuple[str, Recovery]] = []
        self.fails = ""

    async def run(
        self, name: str, recovery: Recovery, *, fail_stop: bool, timeout_s: float, is_drill: bool = False
    ) -> HookReport:
        if is_drill:
            self.drills.append((name, recovery))
        else:
            self.ran.append((name, recovery.id))
        return HookReport(ok=not self.fails, detail=self.fails, commands=1)

    def preview(self, name: str, recovery: Recovery) -> tuple[HookPreview, ...]:
        return (HookPreview(f"{name} 1 of 1", f"echo {recovery.subject.key.hostname}", {"ORC_IS_DRILL": "true"}),)
