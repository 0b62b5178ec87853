"""Twins of what a manager node reaches databases and hooks with; asyncio in the node's own loop.

``MysqlSessions`` is the real one, on a connector of ours, so the lock and the killing of its holder are real code. The
prober keeps one connection a server and tries once more when an old one turns out to be closed, as the real one does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator_raft.core.instance import InstanceKey, ProbeResult, Reached, Unreachable, UnreachableKind
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.mysql.failures import BAD_CONNECTION, Phase, Unreached, of_timeout
from orchestrator_raft.mysql.greeting import Rejection
from orchestrator_raft.ports import HookReport
from orchestrator_raft.tasks import Tasks
from tests.fleetsim.sql import CHANGES
from tests.fleetsim.tcp import Connection, Frame

if TYPE_CHECKING:
    from tests.fleetsim.node import ManagerNode

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """As ``mysql.results.Reply``: rows, or the server's error."""

    results: list[list[Row]]
    error: Rejection | None = None


class SimConnection:
    """One connection from a node to a server. Any failure, timeout or cancellation in a statement closes it."""

    def __init__(self, node: ManagerNode, key: InstanceKey, *, acts: bool) -> None:
        self._node = node
        self._key = key
        self._acts = acts
        self._wire: Connection | None = None
        self._number = 0
        self._answers: dict[int, asyncio.Future[Reply]] = {}
        self._greeting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_closed: Callable[[], None] = lambda: None
        self.is_closed = False

    async def open(self, timeout_s: float) -> None:
        node, key = self._node, self._key
        server = node.world.by_key.get(key)
        if server is None:
            raise Unreached(UnreachableKind.UNRESOLVABLE, f"lookup {key.hostname}: no such host")
        self._wire = node.world.tcp.dial(
            node, server, lambda _wire, frame: node.call(self._heard, frame), lambda _wire: node.call(self._lost)
        )
        try:
            async with asyncio.timeout(timeout_s):
                await self._greeting
        except TimeoutError:
            raise of_timeout(key, Phase.GREETING) from None
        finally:
            if not self._greeting.done() or self._greeting.cancelled():
                self.abort()
        if self.is_closed:
            raise Unreached(UnreachableKind.REFUSED, f"dial tcp {key}: connect: connection refused")
        self._wire.ask(("login", "orc"))

    def watch(self, on_closed: Callable[[], None]) -> None:
        self._on_closed = on_closed

    def _heard(self, frame: Frame) -> None:
        if frame[0] == "greeting" and not self._greeting.done():
            self._greeting.set_result(None)
        elif frame[0] in ("rows", "error"):
            waiting = self._answers.pop(frame[1], None)
            if waiting is not None and not waiting.done():
                error = Rejection(frame[2], frame[3]) if frame[0] == "error" else None
                waiting.set_result(Reply([] if error else [frame[2]], error))

    def _lost(self) -> None:
        was_closed, self.is_closed = self.is_closed, True
        if not self._greeting.done():
            self._greeting.set_result(None)
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(Unreached(UnreachableKind.RESET, BAD_CONNECTION))
        self._answers.clear()
        if not was_closed:
            self._on_closed()

    async def query(self, sql: str, *, timeout_s: float) -> Reply:
        if self.is_closed or self._wire is None:
            raise Unreached(UnreachableKind.RESET, BAD_CONNECTION)
        self._number += 1
        waiting = self._answers[self._number] = asyncio.get_running_loop().create_future()
        self._say(("query", self._number, sql))
        try:
            async with asyncio.timeout(timeout_s):
                reply: Reply = await waiting
                return reply
        except TimeoutError:
            self.abort()
            raise of_timeout(self._key, Phase.READY) from None
        except BaseException:
            self.abort()
            raise

    def _say(self, frame: Frame) -> None:
        """The statement leaves now, or when this process goes on, if it stands still right here."""
        node, wire = self._node, self._wire
        assert wire is not None
        changes = self._acts and CHANGES.match(frame[2]) is not None
        term = node.world.checks.says(node, self._key, frame[2], changes=changes) if self._acts else 0
        late_s = node.before_statement() if changes else 0.0
        if late_s > 0:
            node.world.at(late_s, wire.ask, (*frame, term))
        else:
            wire.ask((*frame, term))

    def abort(self) -> None:
        self.is_closed = True
        if self._wire is not None:
            self._wire.leave()

    def quit(self) -> None:
        self.abort()

    async def quit_and_wait(self) -> None:
        self.abort()


class SimConnector:
    """What ``MysqlSessions`` needs of the connector."""

    def __init__(self, node: ManagerNode, *, acts: bool) -> None:
        self._node = node
        self._acts = acts

    async def connect(self, key: InstanceKey, *, timeout_s: float) -> SimConnection:
        connection = SimConnection(self._node, key, acts=self._acts)
        await connection.open(timeout_s)
        return connection


class SimProber:
    """``ports.Prober``."""

    def __init__(self, node: ManagerNode, tasks: Tasks) -> None:
        self._connector = SimConnector(node, acts=False)
        self._node = node
        self._tasks = tasks
        self._lines: dict[InstanceKey, SimConnection] = {}
        self._running: dict[InstanceKey, asyncio.Task[ProbeResult]] = {}
        self._listeners: list[Callable[[InstanceKey], None]] = []

    def on_closed(self, listener: Callable[[InstanceKey], None]) -> None:
        self._listeners.append(listener)

    def forget(self, key: InstanceKey) -> None:
        line = self._lines.pop(key, None)
        if line is not None:
            line.quit()

    async def close(self) -> None:
        for key in list(self._lines):
            self.forget(key)

    async def probe(self, key: InstanceKey, *, timeout_s: float) -> ProbeResult:
        task = self._running.get(key)
        if task is None or task.done():
            task = self._running[key] = self._tasks.start(f"probe {key}", self._probe(key, timeout_s))
        done, _ = await asyncio.wait({task}, timeout=timeout_s + 0.01)
        if done and not task.cancelled():
            return task.result()
        return of_timeout(key, Phase.READY).as_result(key)

    async def _probe(self, key: InstanceKey, timeout_s: float) -> ProbeResult:
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        line = self._lines.get(key)
        is_old = line is not None and not line.is_closed
        try:
            try:
                return await self._read(key, deadline_s)
            except Unreached as failure:
                if not is_old or failure.kind is not UnreachableKind.RESET:
                    raise
                return await self._read(key, deadline_s)
        except Unreached as failure:
            self.forget(key)
            return failure.as_result(key)

    async def _read(self, key: InstanceKey, deadline_s: float) -> ProbeResult:
        loop = asyncio.get_running_loop()
        line = self._lines.get(key)
        if line is None or line.is_closed:
            line = await self._connector.connect(key, timeout_s=max(0.001, deadline_s - loop.time()))
            line.watch(lambda: self._hung_up(key))
            self._lines[key] = line
        reply = await line.query("PROBE", timeout_s=max(0.001, deadline_s - loop.time()))
        facts = reply.results[0][0]["facts"]
        self._node.world.checks.probed(self._node, facts)
        return Reached(facts, 0.001)

    def _hung_up(self, key: InstanceKey) -> None:
        for listener in self._listeners:
            listener(key)

    async def try_connect(self, key: InstanceKey, *, timeout_s: float) -> Unreachable | None:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        try:
            connection = await self._connector.connect(key, timeout_s=timeout_s)
            await connection.query("SELECT 1", timeout_s=max(0.001, deadline_s - loop.time()))
        except Unreached as failure:
            return failure.as_result(key)
        connection.quit()
        return None


class SimHooks:
    """``ports.Hooks``: takes some time, fails or hangs now and then."""

    def __init__(self, node: ManagerNode) -> None:
        self._node = node
        self._dice = random.Random(f"{node.world.seed} hooks {node.name} {node.life}")

    async def run(
        self, name: str, recovery: Recovery, *, fail_stop: bool, timeout_s: float, is_drill: bool = False
    ) -> HookReport:
        world, dice = self._node.world, self._dice
        world.statistics.hooks += 1
        world.note(f"{self._node.name} runs {name} for {recovery.id}")
        takes_s = dice.choice((0.0, 0.01, 0.1, 0.5, 30.0 if world.troubled else 0.0))
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(takes_s)
        except TimeoutError:
            return HookReport(False, f"{name} did not end within {timeout_s:g} s", 1)
        if world.troubled and dice.random() < 0.1:
            return HookReport(False, f"{name} ended with code 1", 1)
        return HookReport(True, "", 1)

    def preview(self, name: str, recovery: Recovery) -> tuple[Any, ...]:
        """Nobody asks for it here."""
        del name, recovery
        return ()
