"""Tries to write: one statement of people's choice on a connection of its own, closed again at once.

A server whose disk stands still or is full answers every read, so the probe cannot tell; and a statement that waits for
ever must not stand in the way of the probe's own connection.
"""

from __future__ import annotations

import asyncio

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.mysql.connector import Connector
from orchestrator_raft.mysql.failures import Unreached


class MysqlWriter:
    """The port ``Writer``."""

    def __init__(self, connector: Connector, sql: str) -> None:
        self._connector = connector
        self._sql = sql

    async def try_write(self, key: InstanceKey, *, timeout_s: float) -> str | None:
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        try:
            connection = await self._connector.connect(key, timeout_s=timeout_s)
        except Unreached:
            return None
        try:
            reply = await connection.query(self._sql, timeout_s=deadline_s - asyncio.get_running_loop().time())
        except Unreached as failure:
            connection.abort()
            return f"{failure.kind.value} after {timeout_s:g} s"
        connection.quit()
        return f"Error {reply.error.number}: {reply.error.message}" if reply.error is not None else ""
