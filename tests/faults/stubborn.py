"""Clients that never leave one server: whatever that one acknowledges after it was replaced, they were told.

Each has one connection and inserts without a pause; one that is cut off connects anew. Their ids begin far above
those of the application and are never used twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pymysql

from sandbox.servers import Server

FIRST_ID = 500_000_000
IDS_EACH = 10_000_000
TIMEOUT_S = 20.0
PAUSE_S = 0.002
RETRY_S = 0.02


@dataclass(frozen=True, slots=True)
class Promise:
    """A row that was acknowledged; seconds of the machine's monotonic clock."""

    id: int
    at_s: float


class Stubborn:
    """What ``count`` clients of one server were told."""

    def __init__(self, server: Server, count: int) -> None:
        self._server = server
        self._ended = threading.Event()
        self._told: list[list[Promise]] = [[] for _ in range(count)]
        self._threads = [threading.Thread(target=self._insist, args=(number,), daemon=True) for number in range(count)]

    @property
    def told(self) -> list[Promise]:
        return [promise for each in self._told for promise in tuple(each)]

    def since(self, at_s: float) -> list[Promise]:
        """What was acknowledged at that moment or later."""
        return [promise for promise in self.told if promise.at_s >= at_s]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout=2 * TIMEOUT_S)

    def _insist(self, number: int) -> None:
        next_id = FIRST_ID + number * IDS_EACH
        while not self._ended.is_set():
            try:
                connection = self._connect()
                with connection, connection.cursor() as cursor:
                    while not self._ended.is_set():
                        next_id += 1
                        cursor.execute(f"INSERT INTO app.ledger (id, server) VALUES ({next_id}, @@port)")
                        self._told[number].append(Promise(next_id, time.monotonic()))
                        self._ended.wait(PAUSE_S)
            except (pymysql.MySQLError, OSError):
                self._ended.wait(RETRY_S)

    def _connect(self) -> pymysql.connections.Connection:
        return pymysql.connect(
            host=self._server.host, port=self._server.port, user="app", password="app", autocommit=True,
            connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, write_timeout=TIMEOUT_S,
        )  # fmt: skip


@contextmanager
def insisting(server: Server, count: int = 4) -> Iterator[Stubborn]:
    """Clients that write to this server until the end of the block."""
    clients = Stubborn(server, count)
    clients.start()
    try:
        yield clients
    finally:
        clients.end()
