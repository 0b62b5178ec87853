"""Clients: each has a connection to every server and writes wherever somebody lets it, one write at a time a server.

They are the worst clients there are: they do not ask who the primary is. What a client was told is remembered when it
hears it, not when the server says it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.fleetsim.tcp import Connection, Frame

if TYPE_CHECKING:
    from tests.fleetsim.server import Server
    from tests.fleetsim.world import World

PATIENCE_S = 5.0


class ClientHost:
    """A machine that never fails."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.life = 1
        self.wakes_s = 0.0
        self.is_silent = False

    def accept(self, connection: Connection) -> None:
        connection.hang_up()


class Client:
    """One connection to one server, for ever."""

    def __init__(self, world: World, host: ClientHost, server: Server, every_s: float) -> None:
        self._world = world
        self._host = host
        self._server = server
        self._every_s = every_s
        self._dice = random.Random(f"{world.seed} {host.name} {server.name}")
        self._connection: Connection | None = None
        self._number = 0
        self._waits_since_s: float | None = None
        self.is_active = True
        world.at(self._dice.uniform(0, every_s), self._turn)

    def _turn(self) -> None:
        world = self._world
        world.at(self._dice.uniform(0.5, 1.5) * self._every_s, self._turn)
        if not self.is_active:
            return
        if self._connection is None:
            self._connection = world.tcp.dial(self._host, self._server, self._heard, self._closed)
            self._waits_since_s = world.now_s
        elif self._waits_since_s is None:
            self._number += 1
            self._waits_since_s = world.now_s
            self._connection.ask(("write", self._number))
        elif world.now_s - self._waits_since_s > PATIENCE_S:
            self._connection.leave()
            self._connection = self._waits_since_s = None

    def _heard(self, connection: Connection, frame: Frame) -> None:
        if connection is not self._connection:
            return
        if frame[0] == "greeting":
            connection.ask(("login", "app"))
            self._waits_since_s = None
        elif frame[0] == "written" and frame[1] == self._number:
            self._waits_since_s = None
            self._world.checks.client_told(frame[2], self._server.name, frame[3])
        elif frame[0] == "error" and frame[1] == self._number:
            self._waits_since_s = None
            self._world.statistics.writes_refused += 1

    def _closed(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = self._waits_since_s = None
