"""Acting sessions: a connection of its own that holds the lock ``orchestrator_raft`` on the server.

Theory (design D4). The lock is the fence around late statements: whoever wants to act kills the session that holds it,
which ends whatever that one still has under way, and takes it. A session never reconnects; after any failure in the
middle of a statement it is closed, and nobody knows whether the statement took effect, so the step is looked at anew.
The string literals in plans count on backslash escapes, so sql_mode is set; nothing else of the session is changed. An
account with CONNECTION_ADMIN (MySQL) or CONNECTION ADMIN (MariaDB) gets in although max_connections is reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from orchestrator_raft.core.errors import ServerError
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.mysql.connection import Connection
from orchestrator_raft.mysql.connector import Connector
from orchestrator_raft.mysql.failures import Unreached
from orchestrator_raft.mysql.results import Row

LOCK = "orchestrator_raft"
LOCK_RETRY_S = 0.01
RELEASE_TIMEOUT_S = 0.5
SHOWN_CHARACTERS_MAX = 300
_TAKE = f"SELECT GET_LOCK('{LOCK}', 0) AS taken, IFNULL(IS_USED_LOCK('{LOCK}'), 0) AS holder"
_RELEASE = f"DO RELEASE_LOCK('{LOCK}')"
_PREPARE = "SET SESSION sql_mode = ''"
_NO_SUCH_SESSION = 1094


class SqlFailure(ServerError):
    """A statement failed; ``number`` is the server's error number, 0 where the connection broke instead."""

    def __init__(self, text: str, number: int = 0) -> None:
        super().__init__(text)
        self.number = number


class ActingSession:
    """The port ``Session``."""

    def __init__(self, key: InstanceKey, connection: Connection) -> None:
        self._key = key
        self._connection = connection

    def __repr__(self) -> str:
        return f"<ActingSession on {self._key}>"

    @property
    def key(self) -> InstanceKey:
        return self._key

    async def query(self, sql: str, *, timeout_s: float, masked: str | None = None) -> tuple[Row, ...]:
        """Rows of one statement. Raises SqlFailure; after a failure of the connection every further statement fails."""
        shown = " ".join((masked or sql).split())[:SHOWN_CHARACTERS_MAX]
        try:
            reply = await self._connection.query(sql, timeout_s=timeout_s)
        except Unreached as failure:
            raise SqlFailure(f"{self._key}: {failure.detail}, at: {shown}", failure.number) from None
        if reply.error is not None:
            raise SqlFailure(
                f"{self._key}: {reply.error.message} (Error {reply.error.number}), at: {shown}", reply.error.number
            )
        return reply.results[0]


class MysqlSessions:
    """The port ``Sessions``."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def __repr__(self) -> str:
        return f"<MysqlSessions by {self._connector!r}>"

    @asynccontextmanager
    async def acting(
        self, key: InstanceKey, *, timeout_s: float, before_kill: Callable[[], None] = lambda: None
    ) -> AsyncIterator[ActingSession]:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        try:
            connection = await self._connector.connect(key, timeout_s=timeout_s)
        except Unreached as failure:
            raise SqlFailure(f"{key}: {failure.detail}", failure.number) from None
        session = ActingSession(key, connection)
        try:
            await _take_lock(session, deadline_s, before_kill)
            yield session
            await _release(session, connection)
        finally:
            connection.abort()


async def _take_lock(session: ActingSession, deadline_s: float, before_kill: Callable[[], None]) -> None:
    """Kill whoever holds the lock, and take it. Raises SqlFailure at the deadline, and what ``before_kill`` raises."""
    loop = asyncio.get_running_loop()
    killed: str | None = None
    await session.query(_PREPARE, timeout_s=deadline_s - loop.time())
    while loop.time() < deadline_s:
        try:
            holder = await _holder(session, deadline_s - loop.time())
            if holder is None:
                return
            if holder != killed:
                before_kill()  # the holder may be a newer leader: connecting took its time
                await _kill(session, holder, deadline_s - loop.time())
                killed = holder
        except SqlFailure as failure:
            if failure.number or killed is None:
                raise
            break  # the deadline passed in the middle of a question
        await asyncio.sleep(LOCK_RETRY_S)
    raise SqlFailure(
        f"{session.key}: session {killed} of another manager holds the lock '{LOCK}' and does not end: "
        "see what it waits for with SHOW PROCESSLIST"
    )


async def _holder(session: ActingSession, timeout_s: float) -> str | None:
    """Take the lock; the id of the session that holds it, or None when it is ours now."""
    rows = await session.query(_TAKE, timeout_s=timeout_s)
    return rows[0]["holder"] if rows[0]["taken"] != "1" else None


async def _kill(session: ActingSession, holder: str, timeout_s: float) -> None:
    try:
        await session.query(f"KILL {int(holder)}", timeout_s=timeout_s)
    except SqlFailure as failure:
        if failure.number != _NO_SUCH_SESSION:
            raise


async def _release(session: ActingSession, connection: Connection) -> None:
    """Give the lock back and say goodbye; a connection that is gone has done both."""
    if connection.is_closed:
        return
    try:
        await session.query(_RELEASE, timeout_s=RELEASE_TIMEOUT_S)
    except SqlFailure:
        return  # the server ends the session, and the lock with it, when it notices that we are gone
    await connection.quit_and_wait()
