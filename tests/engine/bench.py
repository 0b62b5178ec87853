"""The parts of the engine on twins, put together as one test needs them, and sessions that can be attacked.

``ScriptedSessions`` say what is asked of them to the modelled servers of a ``Fleet``, and note every statement with the
number of the session it went over. A test decides what happens around a statement: wait, take authority away, fail,
never answer. Nothing here knows what is right; the tests say that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from orchestrator_raft.core.errors import ServerError
from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.policy import ClusterFilters, Policy
from orchestrator_raft.core.recovery.model import Recovery, Request
from orchestrator_raft.core.replicated import Command, Result
from orchestrator_raft.core.replicated.commands import ClaimRecovery
from orchestrator_raft.engine.catching_up import CatchingUp
from orchestrator_raft.engine.leadership import Engine, EngineSettings, Leader, Outside, Reports
from orchestrator_raft.engine.pacing import Paces
from orchestrator_raft.engine.subjects import new_recovery, subject_of
from orchestrator_raft.engine.witness import serve_witness
from orchestrator_raft.tasks import Tasks
from tests.engine.fleet import Fleet, key
from tests.engine.twins import MemoryRaft, MemoryRaftAdmin, RecordingHooks, ScriptedProber
from tests.engine.virtual import VirtualClock

PRIMARY, R1, R2, R3 = (key(port) for port in range(24000, 24004))
POLICY = Policy(recover_primary=ClusterFilters(("*",)), recover_intermediate=ClusterFilters(("*",)))
SECRET = "a secret"
"""The password of the modelled replication account."""
T = TypeVar("T")


class SqlFailure(ServerError):
    """A statement's failure, as the adapter makes it."""

    def __init__(self, text: str, number: int = 0) -> None:
        super().__init__(text)
        self.number = number


@dataclass(frozen=True)
class Said:
    """One statement that reached a server."""

    session: int
    key: InstanceKey
    sql: str


class ScriptedSession:
    """``ports.Session``: one numbered session."""

    def __init__(self, sessions: ScriptedSessions, key: InstanceKey, number: int) -> None:
        self._sessions = sessions
        self._key = key
        self.number = number
        self.is_open = True
        self.is_broken = False

    @property
    def key(self) -> InstanceKey:
        return self._key

    async def query(self, sql: str, *, timeout_s: float, masked: str | None = None) -> list[dict[str, object]]:
        assert self.is_open, f"a statement was sent over a session that is closed: {masked or sql}"
        assert not self.is_broken, f"a statement was sent over a session that had failed: {masked or sql}"
        sessions = self._sessions
        self.is_broken = True
        await sessions.before_statement(self._key, sql)
        sessions.said.append(Said(self.number, self._key, sql))
        try:
            rows = sessions.fleet.servers[self._key].say(sql)
        except ServerError as error:
            raise SqlFailure(f"{self._key}: refused, at: {masked or sql}") from error
        failure = sessions.failure_of(self._key, sql)
        if failure is not None:
            text, number = failure
            self.is_broken = number == 0
            raise SqlFailure(f"{self._key}: {text}, at: {masked or sql}", number)
        self.is_broken = False
        await sessions.after_statement(self._key, sql)
        return rows


async def _at_once(_key: InstanceKey, _sql: str) -> None:
    await asyncio.sleep(0)


def _no_failure(_key: InstanceKey, _sql: str) -> tuple[str, int] | None:
    return None


class ScriptedSessions:
    """``ports.Sessions`` on a fleet, with everything a test may want to happen."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.said: list[Said] = []
        self.opened: list[InstanceKey] = []
        self.closed: list[int] = []
        self.open_count = 0
        self.held: set[InstanceKey] = set()
        """Servers on which somebody else holds the lock, and is killed."""
        self.opening: Callable[[InstanceKey], Awaitable[None]] | None = None
        self.before_statement: Callable[[InstanceKey, str], Awaitable[None]] = _at_once
        self.after_statement: Callable[[InstanceKey, str], Awaitable[None]] = _at_once
        self.failure_of: Callable[[InstanceKey, str], tuple[str, int] | None] = _no_failure
        """Text and error number of a failure; number 0: the connection broke. The statement took effect."""

    @asynccontextmanager
    async def acting(
        self, key: InstanceKey, *, timeout_s: float, before_kill: Callable[[], None]
    ) -> AsyncIterator[ScriptedSession]:
        self.opened.append(key)
        number = len(self.opened)
        await asyncio.sleep(0)
        if self.opening is not None:
            await self.opening(key)
        if key in self.held:
            before_kill()
        server = self.fleet.servers.get(key)
        if server is None or server.down is not None:
            raise SqlFailure(f"{key}: connection refused")
        session = ScriptedSession(self, key, number)
        self.open_count += 1
        try:
            yield session
        finally:
            self.open_count -= 1
            session.is_open = False
            self.closed.append(number)

    def said_to(self, key: InstanceKey) -> list[str]:
        return [each.sql for each in self.said if each.key == key]


class Gate:
    """Holds back what matches until it is opened."""

    def __init__(self, matches: Callable[[InstanceKey, str], bool]) -> None:
        self._matches = matches
        self._open = asyncio.Event()
        self.reached = asyncio.Event()

    async def __call__(self, key: InstanceKey, sql: str) -> None:
        await asyncio.sleep(0)
        if self._matches(key, sql):
            self.reached.set()
            await self._open.wait()

    def open(self) -> None:
        self._open.set()


async def never(*_details: object, **_more: object) -> None:
    """Hang."""
    await asyncio.Event().wait()


class Bench:
    """Twins of everything outside, and the parts of one term's leader over them; nothing runs until a test says so."""

    def __init__(self, *, fleet: Fleet | None = None, nodes: int = 3, policy: Policy = POLICY) -> None:
        self.fleet = fleet or Fleet.cluster()
        names = [f"n{number}" for number in range(1, nodes + 1)]
        self.raft = MemoryRaft(*names)
        self.clock = VirtualClock()
        self.probers = {name: ScriptedProber(self.fleet) for name in names}
        self.sessions = {name: ScriptedSessions(self.fleet) for name in names}
        self.hooks = {name: RecordingHooks() for name in names}
        self.policy = policy
        self.settings = EngineSettings(policy=policy, paces=Paces(poll_s=1.0), seeds=(PRIMARY,))
        self.failures: list[tuple[str, BaseException]] = []
        self.broken: list[tuple[str, BaseException]] = []
        self._tasks = Tasks("test", lambda _name, _error: None)
        self._leaders: list[Leader] = []
        self._engines: list[Engine] = []
        for name in names:
            serve_witness(self.raft.network.channel(name), self.probers[name])

    def outside(self, node: str = "n1") -> Outside:
        return Outside(
            consensus=self.raft.nodes[node], channel=self.raft.network.channel(node), prober=self.probers[node],
            sessions=self.sessions[node], hooks=self.hooks[node], clock=self.clock,
            raft=MemoryRaftAdmin(self.raft, node),
        )  # fmt: skip

    def leader(self, node: str = "n1", term: int | None = None) -> Leader:
        """The parts of a leader, not started."""
        made = Leader(term or self.raft.term, self.outside(node), self.settings, Reports(self._failed, self._broke))
        self._leaders.append(made)
        return made

    def engine(self, node: str = "n1") -> Engine:
        """A node's whole engine, started."""
        made = Engine(self.outside(node), self.settings, Reports(self._failed, self._broke))
        self._engines.append(made)
        made.start()
        return made

    def _failed(self, name: str, error: BaseException) -> None:
        self.failures.append((name, error))

    def _broke(self, name: str, error: BaseException) -> None:
        self.broken.append((name, error))

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return self._tasks.start("test", work)

    def facts(self, key: InstanceKey) -> Facts:
        return self.fleet.servers[key].facts

    async def known(self, leader: Leader) -> None:
        """The leader has probed the whole fleet, and it is recorded."""
        for each in self.fleet.servers:
            await leader.discovery.probe_now(each, timeout_s=1.0)
        await leader.recorder.flush()
        catching_up = CatchingUp(leader.proposals)
        for _ in range(2):
            for _name, work in catching_up.due(leader.viewer.moment()):
                await work
            await asyncio.sleep(0.5)
            await leader.discovery.probe_now(PRIMARY, timeout_s=1.0)

    def recovery(
        self, leader: Leader, kind: str = "dead_primary", on: InstanceKey = PRIMARY, name: str = "r1", **request: Any
    ) -> Recovery:
        """A recovery in its first phase, as the leader would claim it."""
        moment = leader.viewer.moment()
        server = moment.topology.server(on)
        cluster = moment.topology.clusters[server.cluster_id]
        subject = subject_of(server, cluster, moment, code="DeadMaster", text="it is dead", evidence=())
        return new_recovery(
            kind, subject, cluster.id, moment, recovery_id=name, holder=leader.proposals.node_id, term=leader.term,
            request=Request(by="anna", forced=True, **request),
        )  # fmt: skip

    async def claimed(self, leader: Leader, kind: str = "dead_primary", **more: Any) -> Recovery:
        """The same, granted."""
        recovery = self.recovery(leader, kind, **more)
        result = await leader.proposals.propose(ClaimRecovery, recovery=recovery, block_ms=0)
        assert result.ok, result.reason
        return self.raft.state.recoveries[recovery.id]

    async def until(self, condition: Callable[[], bool], at_most_s: float = 120.0) -> None:
        """Let virtual time pass until the condition holds."""
        end_s = self.clock.monotonic_s() + at_most_s
        while not condition():
            assert self.clock.monotonic_s() < end_s, f"this did not come true within {at_most_s:g} s"
            await asyncio.sleep(0.005)

    def refuse(self, kind: type[Command], result: Result | Exception) -> list[Command]:
        """Proposals of this kind end so from now on; what was proposed is noted in the list."""
        seen: list[Command] = []
        commit = self.raft.commit

        async def commit_or_refuse(command: Command) -> Result:
            if not isinstance(command, kind):
                return await commit(command)
            seen.append(command)
            await asyncio.sleep(0)
            if isinstance(result, Exception):
                raise result
            return result

        self.raft.commit = commit_or_refuse  # type: ignore[method-assign]
        return seen

    async def close(self) -> None:
        for made in self._leaders:
            await made.close()
        for engine in self._engines:
            await engine.close()
        await self._tasks.close()
        assert self.failures == self.broken == [], (self.failures, self.broken)
