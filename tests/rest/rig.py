"""Nodes as in production, but for Raft and the databases: the real engine, service, front and web server on loopback,
over the twins of ``tests/engine``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from api.app import create_app
from api.front import Front, serve_forwarded
from api.node import NodeStatus, Role
from api.server import ApiServer, TcpAddress
from api.settings import ApiSettings
from orchestrator_raft.core.policy import ClusterFilters, Policy
from orchestrator_raft.engine.clock import SystemClock
from orchestrator_raft.engine.leadership import Engine, EngineSettings, Outside, Reports
from orchestrator_raft.engine.pacing import Paces
from orchestrator_raft.engine.service import Service
from orchestrator_raft.engine.witness import serve_witness
from orchestrator_raft.ports import Reloaded
from orchestrator_raft.tasks import Tasks
from tests.engine.fleet import Fleet
from tests.engine.twins import MemoryRaft, MemoryRaftAdmin, MemorySessions, RecordingHooks, ScriptedProber

POLICY = Policy(recover_primary=ClusterFilters(("*",)), recover_intermediate=ClusterFilters(("*",)))
PACES = Paces(primary_interval_s=0.05, primary_timeout_s=0.5, poll_s=0.1, timeout_s=0.5)
PATIENCE_S = 10.0
LOOK_AGAIN_S = 0.005
T = TypeVar("T")


def raft_address(node_id: str) -> str:
    return f"127.0.0.{node_id.removeprefix('n')}:10008"


@dataclass
class TwinNodeView:
    """``api.node.NodeView`` on a ``MemoryRaft``. ``changes`` overrides single fields."""

    raft: MemoryRaft
    node_id: str
    changes: Mapping[str, Any]

    def status(self) -> NodeStatus:
        raft = self.raft
        leader = raft.leader
        status = NodeStatus(
            node_id=self.node_id, hostname=f"host-{self.node_id}", token=f"token-{self.node_id}", version="0.1",
            started_ms=1_795_402_189_000, now_ms=SystemClock().wall_ms(), term=raft.term,
            role=Role.CANDIDATE if leader is None else Role.LEADER if leader == self.node_id else Role.FOLLOWER,
            holds_authority=raft.nodes[self.node_id].authority() is not None,
            leader_id=leader, leader_address=raft_address(leader) if leader else "",
            leader_uri=f"http://host-{leader}:3000" if leader else "",
            bind=raft_address(self.node_id), advertise=raft_address(self.node_id),
            advertise_configured=raft_address(self.node_id).partition(":")[0],
            peers=tuple(raft_address(each) for each in raft.node_ids),
            healthy_members=tuple(raft_address(each).partition(":")[0] for each in raft.node_ids),
            connected=frozenset(peer.node_id for peer in raft.nodes[self.node_id].peers() if peer.connected),
        )  # fmt: skip
        return replace(status, **self.changes)


@dataclass(frozen=True)
class Got:
    """An answer as a client sees it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["Message"])


class TwinReload:
    """A configuration that changes nothing when it is read again."""

    files = ("orchestrator.conf.json",)

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Reloaded:
        self.count += 1
        return Reloaded(files=self.files, need_restart=("ListenAddress",))


class Node:
    """One node."""

    def __init__(self, rig: Rig, node_id: str, settings: ApiSettings) -> None:
        consensus, channel = rig.raft.nodes[node_id], rig.raft.network.channel(node_id)
        self.prober = ScriptedProber(rig.fleet)
        self.hooks = RecordingHooks()
        outside = Outside(
            consensus=consensus, channel=channel, prober=self.prober, sessions=MemorySessions(rig.fleet),
            hooks=self.hooks, clock=SystemClock(),
        )  # fmt: skip
        engine_settings = EngineSettings(policy=rig.policy, paces=PACES)
        self.failures: list[tuple[str, BaseException]] = []
        self.engine = Engine(outside, engine_settings, Reports(self._failed, self._failed))
        self.raft_admin = MemoryRaftAdmin(rig.raft, node_id, raft_address)
        self.reload = TwinReload()
        self.service = Service(outside, self.engine, self.raft_admin, reload=self.reload)
        self.defects: list[tuple[str, str, BaseException]] = []
        self.view = TwinNodeView(rig.raft, node_id, rig.view_changes)
        self.front = Front(
            settings, self.service, self.view, channel,
            on_error=lambda request_id, what, error: self.defects.append((request_id, what, error)),
        )  # fmt: skip
        serve_witness(channel, self.prober)
        serve_forwarded(channel, self.front)
        self.server = ApiServer(create_app(self.front), TcpAddress("127.0.0.1", 0), shutdown_timeout_s=1.0)

    def _failed(self, name: str, error: BaseException) -> None:
        self.failures.append((name, error))

    async def start(self, stack: AsyncExitStack) -> None:
        self.engine.start()
        stack.push_async_callback(self.engine.close)
        await self.server.start()
        stack.push_async_callback(self.server.stop)
        self.url = f"http://127.0.0.1:{self.server.port}"
        self._client = await stack.enter_async_context(aiohttp.ClientSession())

    async def ask(self, method: str, path: str, **more: Any) -> Got:
        """One request; the path is sent exactly as given."""
        url = URL(self.url + path, encoded=True)
        async with self._client.request(method, url, **more) as response:
            return Got(response.status, response.headers, await response.read())

    async def get(self, path: str, **more: Any) -> Got:
        return await self.ask("GET", path, **more)


class Rig:
    """Nodes n1, n2 ... with one log, and one fleet of modelled servers."""

    def __init__(
        self, nodes: int = 1, *, fleet: Fleet | None = None, settings: ApiSettings | None = None,
        settings_of: Mapping[str, ApiSettings] | None = None,
        policy: Policy = POLICY, view_changes: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        names = [f"n{number}" for number in range(1, nodes + 1)]
        self.fleet = fleet if fleet is not None else Fleet.cluster()
        self.policy = policy
        self.view_changes = view_changes or {}
        self.raft = MemoryRaft(*names)
        common = settings or ApiSettings()
        self.nodes = {name: Node(self, name, (settings_of or {}).get(name, common)) for name in names}
        self._stack = AsyncExitStack()
        self._tasks = Tasks("test", lambda _name, _error: None)

    def begin(self, asking: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Ask now, look at the answer later."""
        return self._tasks.start("ask", asking)

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    @property
    def first(self) -> Node:
        return self.nodes["n1"]

    async def __aenter__(self) -> Rig:
        for node in self.nodes.values():
            await node.start(self._stack)
        return self

    async def __aexit__(self, *_details: object) -> None:
        await self._tasks.close()
        await self._stack.aclose()
        failures = [each for node in self.nodes.values() for each in node.failures]
        assert failures == [], failures

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; the test fails when it never comes."""
        for _ in range(round(PATIENCE_S / LOOK_AGAIN_S)):
            if condition():
                return
            await asyncio.sleep(LOOK_AGAIN_S)
        raise AssertionError(f"this did not come true within {PATIENCE_S:g} s")

    async def discovered(self, port: int = 24000) -> None:
        """The whole fleet is known and was probed by the leader."""
        await self.until(lambda: any(node.service.may_act for node in self.nodes.values()))
        leader = self.nodes[self.raft.leader or "n1"]
        answer = await leader.get(f"/api/discover/127.0.0.1/{port}")
        assert answer.status == 200, answer.body
        await self.until(lambda: set(self.raft.state.servers) == set(self.fleet.servers))
        await self.until(lambda: self._is_probed(leader))

    def _is_probed(self, node: Node) -> bool:
        moment = node.service.desk.moment()
        return all(server.observation is not None for server in moment.topology.servers.values())
