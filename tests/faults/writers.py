"""Watches all the time how many servers take writes: two at one moment is what must never be.

A thread asks every running server again and again. Two that say yes in one round are asked once more before it counts,
so that a role that was handed over between two questions is none. It asks as the application: MySQL's root is an
account that a manager may be forbidden to cut off, which would stand in the way of a fence.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pymysql
from pymysql.connections import Connection

from sandbox import dialects
from sandbox.errors import SandboxError
from sandbox.servers import Server

PAUSE_S = 0.03
TIMEOUT_S = 0.5
QUESTION = "SELECT @@global.read_only"


class Writers:
    """What was seen: every pair of servers that took writes at one moment, and how many rounds were asked."""

    def __init__(self, running: Callable[[], list[Server]]) -> None:
        self._running = running
        self._ended = threading.Event()
        self._connections: dict[int, Connection] = {}
        self._thread = threading.Thread(target=self._watch, name="writers", daemon=True)
        self.twofold: list[str] = []
        self.rounds = 0
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Stop asking. Raises what ended the thread, if something did."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=30.0)
        for connection in self._connections.values():
            connection.close()
        if self.failure is not None:
            raise self.failure

    def _watch(self) -> None:
        try:
            while not self._ended.is_set():
                writable = [server for server in self._running() if self._takes_writes(server)]
                if len(writable) > 1:
                    still = [f"{each.host}:{each.port}" for each in writable if self._takes_writes(each)]
                    if len(still) > 1:
                        self.twofold.append(f"{time.time():.3f} {' '.join(still)}")
                self.rounds += 1
                self._ended.wait(PAUSE_S)
        except Exception as error:  # noqa: BLE001 - raised again by end(), in the thread of the test
            self.failure = error

    def _takes_writes(self, server: Server) -> bool:
        try:
            if server.port not in self._connections:
                self._connections[server.port] = server.connect(dialects.APPLICATION, timeout_s=TIMEOUT_S)
            with self._connections[server.port].cursor() as cursor:
                cursor.execute(QUESTION)
                (row,) = cursor.fetchall()
        except (pymysql.MySQLError, OSError, SandboxError):
            dropped = self._connections.pop(server.port, None)
            if dropped is not None:
                dropped.close()
            return False
        return list(row.values() if isinstance(row, dict) else row) == [0]
