"""The only hands that touch a server: one acting session a server, one statement at a time, never without authority.

Theory (design D4). MySQL knows no fencing token, so a late statement of a deposed leader must be stopped otherwise:
the session that acts holds the lock ``orchestrator_raft`` on the server, a newer leader kills the holder of that lock
before it acts, and a session never reconnects inside a step. Before every single statement, also one that is repeated
until its post-condition holds, the term of the recovery is compared with live authority. Within one node everybody
acts through here, so two parts of it never hold two sessions on one server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack

from orchestrator_raft.core.errors import AuthorityLost, ServerError
from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.recovery.steps import ServerStep
from orchestrator_raft.flavors import DIALECTS
from orchestrator_raft.flavors.base import Account, Statement
from orchestrator_raft.ports import Clock, Consensus, Session, Sessions

CONNECT_TIMEOUT_S = 2.0
RECHECK_S = 0.02
LAST_CHECK_S = 0.1
"""No check is begun so shortly before the deadline: the last complaint says more than a timeout."""


class Hands:
    """Performs steps on servers."""

    def __init__(self, consensus: Consensus, sessions: Sessions, clock: Clock) -> None:
        self._consensus = consensus
        self._sessions = sessions
        self._clock = clock
        self._hands: dict[InstanceKey, _Hand] = {}

    def __repr__(self) -> str:
        return f"<Hands on {len(self._hands)} servers>"

    def require_authority(self, term: int) -> None:
        """Raises AuthorityLost unless this node may act in exactly this term, now."""
        authority = self._consensus.authority()
        if authority is None or authority.term != term:
            raise AuthorityLost(f"this node may not act in term {term} any more")

    async def perform(self, step: ServerStep, facts: Facts, *, term: int, account: Account | None = None) -> None:
        """Reach the step's goal within its deadline. Raises ServerError, AuthorityLost, or TimeoutError."""
        plan = DIALECTS[facts.flavor].plan(step, facts, account)
        hand = self._hands.setdefault(step.key, _Hand(step.key))
        deadline_s = self._clock.monotonic_s() + step.deadline_s
        async with asyncio.timeout(step.deadline_s), hand.turn:
            self.require_authority(term)
            session = await hand.session(
                self._sessions, min(CONNECT_TIMEOUT_S, step.deadline_s), lambda: self.require_authority(term)
            )
            try:
                await self._run(session, plan, deadline_s, term)
            except BaseException:
                await hand.drop()
                raise

    async def _run(self, session: Session, plan: tuple[Statement, ...], deadline_s: float, term: int) -> None:
        for statement in plan:
            complaint = await self._say(session, statement, deadline_s, term)
            while complaint and statement.until_checked and self._clock.monotonic_s() + LAST_CHECK_S < deadline_s:
                await self._clock.sleep(RECHECK_S)
                complaint = await self._say(session, statement, deadline_s, term)
            if complaint:
                raise ServerError(f"{session.key}: {complaint}")

    async def _say(self, session: Session, statement: Statement, deadline_s: float, term: int) -> str:
        """One statement and what follows from its rows; the complaint of its check, or ''."""
        self.require_authority(term)
        left_s = max(0.001, deadline_s - self._clock.monotonic_s())
        try:
            rows = await session.query(statement.sql, timeout_s=left_s, masked=statement.masked or None)
        except ServerError as error:
            if error.number in statement.ignored_errors:
                return ""
            raise
        if statement.then is not None:
            await self._run(session, statement.then(rows), deadline_s, term)
        return statement.check(rows) if statement.check is not None else ""

    async def ask(self, key: InstanceKey, sql: str, *, term: int, timeout_s: float) -> list[dict[str, object]]:
        """Rows of a reading statement, over the acting session. Raises ServerError, AuthorityLost or TimeoutError."""
        hand = self._hands.setdefault(key, _Hand(key))
        async with asyncio.timeout(timeout_s), hand.turn:
            self.require_authority(term)
            session = await hand.session(self._sessions, timeout_s, lambda: self.require_authority(term))
            try:
                return [dict(row) for row in await session.query(sql, timeout_s=timeout_s)]
            except BaseException:
                await hand.drop()
                raise

    async def let_go(self, keys: Iterable[InstanceKey] | None = None) -> None:
        """Close the sessions on these servers (on all, if none are named); the next step opens a new one."""
        for key in tuple(self._hands) if keys is None else tuple(keys):
            hand = self._hands.get(key)
            if hand is not None:
                async with hand.turn:
                    await hand.drop()


class _Hand:
    """One server's acting session, and whose turn it is."""

    def __init__(self, key: InstanceKey) -> None:
        self._key = key
        self.turn = asyncio.Lock()
        self._session: Session | None = None
        self._open = AsyncExitStack()

    async def session(self, sessions: Sessions, timeout_s: float, before_kill: Callable[[], None]) -> Session:
        if self._session is None:
            acting = sessions.acting(self._key, timeout_s=timeout_s, before_kill=before_kill)
            self._session = await self._open.enter_async_context(acting)
        return self._session

    async def drop(self) -> None:
        self._session = None
        stack, self._open = self._open, AsyncExitStack()
        await stack.aclose()
