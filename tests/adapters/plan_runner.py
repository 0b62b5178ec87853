"""Performs one step on a real server as the engine does: a probe, an acting session, the plan, its post-condition."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from orchestrator_raft.core.errors import ServerError
from orchestrator_raft.core.instance import Facts, InstanceKey, Reached
from orchestrator_raft.core.recovery.steps import ServerStep
from orchestrator_raft.flavors import DIALECTS
from orchestrator_raft.flavors.base import Account, Detection, Statement
from orchestrator_raft.mysql import Connector, MysqlProber, MysqlSessions, MysqlSettings, TlsMode
from orchestrator_raft.mysql.sessions import ActingSession
from sandbox.servers import Server

ACCOUNT = Account("repl", "repl")
DETECTION = Detection(mysql_hostname_resolve_method="@@report_host")


def key_of(server: Server) -> InstanceKey:
    return InstanceKey(server.host, server.port)


def settings(user: str = "orc", **more: object) -> MysqlSettings:
    return MysqlSettings(**{"user": user, "password": user, "tls": TlsMode.NONE, **more})  # type: ignore[arg-type]


def not_told(*args: object) -> None:
    """Nobody is told anything in this test; if somebody is, it fails."""
    raise AssertionError(args)


@asynccontextmanager
async def probing(
    user: str = "orc", detection: Detection = DETECTION, told: Callable[..., None] = not_told, **more: object
) -> AsyncIterator[MysqlProber]:
    prober = MysqlProber(Connector(settings(user, **more)), detection, on_left_out=told, on_failure=not_told)
    try:
        yield prober
    finally:
        await prober.close()


async def facts_of(server: Server, user: str = "orc") -> Facts:
    async with probing(user) as prober:
        result = await prober.probe(key_of(server), timeout_s=5.0)
    assert isinstance(result, Reached), result
    return result.facts


async def perform(step: ServerStep, server: Server, account: Account | None = None, user: str = "orc") -> None:
    """Reach the step's goal. Raises ServerError as the engine's hands do."""
    facts = await facts_of(server, user)
    plan = DIALECTS[facts.flavor].plan(step, facts, account)
    sessions = MysqlSessions(Connector(settings(user)))
    deadline_s = time.monotonic() + step.deadline_s
    async with sessions.acting(step.key, timeout_s=step.deadline_s) as session:
        await run(session, plan, deadline_s)


async def rows_of(server: Server, sql: str, user: str = "orc") -> list[dict[str, object]]:
    """Rows of a reading statement, said by the manager's account."""
    async with MysqlSessions(Connector(settings(user))).acting(key_of(server), timeout_s=5.0) as session:
        return [dict(row) for row in await session.query(sql, timeout_s=5.0)]


async def run(session: ActingSession, plan: Sequence[Statement], deadline_s: float) -> None:
    for statement in plan:
        complaint = await say(session, statement, deadline_s)
        while complaint and statement.until_checked and time.monotonic() < deadline_s - 0.1:
            await asyncio.sleep(0.02)
            complaint = await say(session, statement, deadline_s)
        if complaint:
            raise ServerError(f"{session.key}: {complaint}")


async def say(session: ActingSession, statement: Statement, deadline_s: float) -> str:
    left_s = max(0.001, deadline_s - time.monotonic())
    try:
        rows = await session.query(statement.sql, timeout_s=left_s, masked=statement.masked or None)
    except ServerError as error:
        if getattr(error, "number", 0) in statement.ignored_errors:
            return ""
        raise
    if statement.then is not None:
        await run(session, statement.then(rows), deadline_s)
    return statement.check(rows) if statement.check is not None else ""
