"""A leader in this process that acts on real servers: the real engine, prober and sessions; only Raft is a twin."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from orchestrator_raft.core.instance import Channel, Facts, InstanceKey
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server as Known
from orchestrator_raft.engine.clock import SystemClock
from orchestrator_raft.engine.leadership import Engine, EngineSettings, Outside, Reports
from orchestrator_raft.engine.pacing import Paces
from orchestrator_raft.engine.service import Call, Person, Reply, Service
from orchestrator_raft.mysql import Connector, MysqlProber, MysqlSessions
from orchestrator_raft.operations import OPERATION_BY_NAME
from sandbox.servers import Server
from tests.adapters.plan_runner import DETECTION, key_of, settings
from tests.engine.twins import MemoryRaft, MemoryRaftAdmin, RecordingHooks

PATIENCE_S = 30.0
PACES = Paces(primary_interval_s=0.1, primary_timeout_s=1.0, poll_s=0.2, timeout_s=2.0)


class Leading:
    """One leader and the fleet that it manages."""

    def __init__(self, service: Service, raft: MemoryRaft, hooks: RecordingHooks) -> None:
        self.service = service
        self.raft = raft
        self.hooks = hooks

    async def call(self, operation: str, server: Server, target: Server | None = None, **more: Any) -> Reply:
        """One operation in the name of anna. Raises the errors of ``core.errors``."""
        arguments: dict[str, Any] = {"server": key_of(server), **more}
        if target is not None:
            arguments["target"] = key_of(target)
        call = Call(operation=OPERATION_BY_NAME[operation], arguments=arguments, person=Person("anna"))
        return await self.service.call(call)

    def known(self, server: Server) -> Known:
        return self.service.desk.moment().topology.server(key_of(server))

    def facts(self, server: Server) -> Facts:
        facts = self.known(server).fresh
        assert facts is not None, f"{server} was not reached"
        return facts

    def channel(self, server: Server) -> Channel:
        channel = self.facts(server).channel
        assert channel is not None, f"{server} is no replica"
        return channel

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        give_up_s = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > give_up_s:
                raise AssertionError(f"not within {PATIENCE_S:g} s: {what}")
            await asyncio.sleep(0.01)

    async def discover(self, servers: Sequence[Server]) -> None:
        for server in servers:
            await self.call("discover", server)

    async def tree(self, links: dict[Server, Server]) -> None:
        """Have the servers replicate so, as the manager sees it."""
        for server, source in links.items():
            await self.until(f"{server} below {source}", lambda s=server, t=source: self._is_below(s, key_of(t)))  # type: ignore[misc]

    def _is_below(self, server: Server, source: InstanceKey) -> bool:
        known = self.known(server)
        return known.source == source and known.channel is not None and known.channel.replicates


@asynccontextmanager
async def leading(policy: Policy | None = None) -> AsyncIterator[Leading]:
    raft, hooks, clock = MemoryRaft("n1"), RecordingHooks(), SystemClock()
    failed: list[tuple[str, BaseException]] = []
    connector = Connector(settings())
    prober = MysqlProber(connector, DETECTION, on_left_out=lambda *_: None, on_failure=lambda *_: None)
    outside = Outside(
        consensus=raft.nodes["n1"], channel=raft.network.channel("n1"), prober=prober,
        sessions=MysqlSessions(connector), hooks=hooks, clock=clock,
    )  # fmt: skip
    account = "SELECT 'repl' AS user, 'repl' AS password"
    engine_settings = EngineSettings(policy=policy or Policy(), paces=PACES, credentials_query=account)
    report = Reports(lambda name, error: failed.append((name, error)), lambda name, error: failed.append((name, error)))
    engine = Engine(outside, engine_settings, report)
    service = Service(outside, engine, MemoryRaftAdmin(raft, "n1"))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(prober.close)
        engine.start()
        stack.push_async_callback(engine.close)
        found = Leading(service, raft, hooks)
        await found.until("it leads", lambda: service.may_act)
        yield found
    assert failed == [], failed
