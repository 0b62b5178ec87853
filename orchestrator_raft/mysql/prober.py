"""Reads servers: one persistent connection each, one round trip a probe.

Rules
- One probe of a server at a time; whoever asks meanwhile gets that one's result.
- The deadline covers name, connect, greeting, login and answer, with a single second attempt where an old connection
  turns out to be closed.
- An optional statement that fails costs its own fact and one more round trip, and is left out for a minute; people
  hear of it once. (Those that merely do not exist on this server are left out in silence.)
- One that hangs, as a query on a locked table may, costs the rest of the deadline and the connection, and is left out
  as well: a server that answered what is essential is reached.
- A limit of our own that bars a connection is no evidence against the server, and says so by its kind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from orchestrator_raft.core.instance import (
    Facts,
    InstanceKey,
    ProbeResult,
    Reached,
    Unreachable,
    UnreachableKind,
)
from orchestrator_raft.flavors import recognise
from orchestrator_raft.flavors.base import Detection, Dialect, ProbeQuery, Rows
from orchestrator_raft.flavors.rows import LASTING, odd_numbers
from orchestrator_raft.mysql import failures
from orchestrator_raft.mysql.connection import Connection
from orchestrator_raft.mysql.connector import Connector
from orchestrator_raft.mysql.failures import Phase, Unreached
from orchestrator_raft.mysql.greeting import Rejection
from orchestrator_raft.tasks import OnFailure, Tasks

LEFT_OUT_S = 60.0
STATEMENT_END = "\n;\n"
"""On a line of its own, since a configured query may end with a comment."""
_HANGS = Rejection(0, "it hangs")

OnLeftOut = Callable[[InstanceKey, str, str], None]
"""Told once of an optional statement that fails: (server, name of the statement, what the server said)."""


class _Line:
    """What is kept of one server between probes."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.dialect: Dialect | None = None
        self.task: asyncio.Task[ProbeResult] | None = None
        self.left_out: dict[str, float] = {}
        self.complaints: dict[str, int] = {}
        self.is_new = True
        """Nothing has been asked over this connection."""
        self.kept: dict[str, Rows] = {}
        """The last answers to what people configured, for when such a query fails."""

    def drop(self) -> None:
        if self.connection is not None:
            self.connection.abort()
        self.connection = None


class MysqlProber:
    """The port ``Prober``."""

    def __init__(
        self, connector: Connector, detection: Detection, *, on_left_out: OnLeftOut, on_failure: OnFailure
    ) -> None:
        self._connector = connector
        self._detection = detection
        self._on_left_out = on_left_out
        self._tasks = Tasks("prober", on_failure)
        self._slots = asyncio.Semaphore(connector.settings.connects_max)
        self._lines: dict[InstanceKey, _Line] = {}
        self._listeners: list[Callable[[InstanceKey], None]] = []

    def __repr__(self) -> str:
        return f"<MysqlProber of {len(self._lines)} servers>"

    def on_closed(self, listener: Callable[[InstanceKey], None]) -> None:
        self._listeners.append(listener)

    def forget(self, key: InstanceKey) -> None:
        connection = self._remove(key)
        if connection is not None:
            connection.quit()

    async def close(self) -> None:
        await self._tasks.close()
        connections = [self._remove(key) for key in list(self._lines)]
        await asyncio.gather(*(connection.quit_and_wait() for connection in connections if connection is not None))

    def _remove(self, key: InstanceKey) -> Connection | None:
        self._connector.forget(key)
        line = self._lines.pop(key, None)
        return line.connection if line is not None else None

    async def probe(self, key: InstanceKey, *, timeout_s: float) -> ProbeResult:
        line = self._lines.setdefault(key, _Line())
        task = line.task
        patience_s: float | None = timeout_s
        if task is None or task.done():
            task = line.task = self._tasks.start(f"probe {key}", self._probe(key, line, timeout_s))
            patience_s = None  # it keeps the deadline itself
        done, _ = await asyncio.wait({task}, timeout=patience_s)
        if done and not task.cancelled():
            return task.result()
        return failures.of_timeout(key, Phase.READY).as_result(key)

    async def try_connect(self, key: InstanceKey, *, timeout_s: float) -> Unreachable | None:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        try:
            connection = await self._connector.connect(key, timeout_s=timeout_s)
            reply = await connection.query("SELECT 1", timeout_s=deadline_s - loop.time())
        except Unreached as failure:
            return failure.as_result(key)
        connection.quit()
        if reply.error is not None:
            return _of_reply(key, reply.error).as_result(key)
        return None

    # -- one probe ---------------------------------------------------------------------------------------------------

    async def _probe(self, key: InstanceKey, line: _Line, timeout_s: float) -> ProbeResult:
        started_s = time.monotonic()
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        is_old = line.connection is not None and not line.connection.is_closed
        try:
            try:
                facts = await self._read(key, line, deadline_s)
            except Unreached as failure:
                if not is_old or failure.kind is not UnreachableKind.RESET:
                    raise
                line.drop()
                facts = await self._read(key, line, deadline_s)
        except Unreached as failure:
            line.drop()
            return failure.as_result(key)
        finally:
            if self._lines.get(key) is not line:
                line.drop()  # forgotten meanwhile
        return Reached(facts, time.monotonic() - started_s)

    async def _read(self, key: InstanceKey, line: _Line, deadline_s: float) -> Facts:
        if line.connection is None or line.connection.is_closed:
            await self._connect(key, line, deadline_s)
        connection, dialect = line.connection, line.dialect
        if connection is None or dialect is None:
            raise Unreached(UnreachableKind.RESET, failures.BAD_CONNECTION)
        now_s = asyncio.get_running_loop().time()
        wanted = dialect.probe(self._detection)
        due = (query for query in wanted if line.left_out.get(query.name, 0.0) <= now_s)
        queries = [query for query in due if line.is_new or not query.once]
        rows = await self._ask(key, line, connection, queries, deadline_s)
        line.is_new = False
        line.kept |= {name: rows[name] for name in LASTING & rows.keys()}
        rows = line.kept | rows
        try:
            return dialect.parse(key, rows, self._detection)
        except ValueError as error:
            raise Unreached(UnreachableKind.PROTOCOL, f"{key}: {error}") from error

    async def _connect(self, key: InstanceKey, line: _Line, deadline_s: float) -> None:
        loop = asyncio.get_running_loop()
        line.drop()
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._slots.acquire()
        except TimeoutError:
            text = f"this node was busy with {self._connector.settings.connects_max} other connections"
            raise Unreached(UnreachableKind.OWN_TROUBLE, text) from None
        try:
            connection = await self._connector.connect(key, timeout_s=deadline_s - loop.time())
        finally:
            self._slots.release()
        line.connection, line.dialect, line.is_new = connection, recognise(connection.server_version), True
        connection.watch(partial(self._closed, key))

    def _closed(self, key: InstanceKey) -> None:
        for listener in self._listeners:
            listener(key)

    async def _ask(
        self, key: InstanceKey, line: _Line, connection: Connection, queries: list[ProbeQuery], deadline_s: float
    ) -> dict[str, Rows]:
        """Rows by name. Statements after one that failed are asked in one more round trip."""
        rows: dict[str, Rows] = {}
        asked = tuple(queries)
        while queries:
            left_s = deadline_s - asyncio.get_running_loop().time()
            essential = sum(not query.optional for query in queries)
            text = STATEMENT_END.join(query.sql for query in queries)
            reply = await connection.query(text, timeout_s=left_s, enough=essential)
            if len(reply.results) > len(queries):
                raise Unreached(UnreachableKind.PROTOCOL, f"{key}: a configured query consists of several statements")
            rows |= {query.name: result for query, result in zip(queries, reply.results, strict=False)}
            if reply.error is None and not reply.is_cut:
                break
            failed = queries[len(reply.results)]
            if reply.is_cut:
                self._leave_out(key, line, failed, _HANGS)
                break
            if reply.error is not None and not failed.optional:
                raise _of_reply(key, reply.error)
            self._leave_out(key, line, failed, reply.error or _HANGS)
            queries = queries[len(reply.results) + 1 :]
        odd = odd_numbers(rows)
        for query in [query for query in asked if query.name in odd]:
            del rows[query.name]
            self._leave_out(key, line, query, Rejection(0, odd[query.name]))
        for name in rows:
            line.complaints.pop(name, None)
        return rows

    def _leave_out(self, key: InstanceKey, line: _Line, query: ProbeQuery, error: Rejection) -> None:
        line.left_out[query.name] = asyncio.get_running_loop().time() + LEFT_OUT_S
        if error.number in query.absent_errors or line.complaints.get(query.name) == error.number:
            return
        line.complaints[query.name] = error.number
        self._on_left_out(key, query.name, f"Error {error.number}: {error.message}" if error.number else error.message)


def _of_reply(key: InstanceKey, error: Rejection) -> Unreached:
    return failures.of_server_error(key, Phase.READY, error.number, error.message)
