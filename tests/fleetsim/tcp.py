"""Connections to database servers in virtual time: of managers, clients and replicas.

A connection keeps order and loses nothing while it lives. A direction that is blocked, or a process that stands still,
holds frames back; they arrive late, which is what a late statement is. A process that dies closes its connections; a
machine that dies says nothing. Who dials finds out by a greeting, a reset, or its own patience.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

Frame = tuple[Any, ...]
OnFrame = Callable[["Connection", Frame], None]
OnClosed = Callable[["Connection"], None]
HELLO: Frame = ("hello",)
END: Frame = ("end",)
DELAY_MAX_S = 3.0


class Host(Protocol):
    """A machine, and the process on it if there is one."""

    name: str
    life: int
    """Number of the process; 0 while none runs."""
    wakes_s: float
    is_silent: bool
    """The whole machine is gone: nobody even says that nobody listens."""

    def accept(self, connection: Connection) -> None:
        """Somebody has dialled: bind ``connection.there`` and greet."""


class Agenda(Protocol):
    now_s: float

    def at(self, delay_s: float, action: Callable[..., None], *arguments: Any) -> None: ...


class End:
    """One end of a connection: who holds it, and what is on the way to it."""

    __slots__ = ("frames", "host", "is_closed", "life", "newest_s", "on_closed", "on_frame")

    def __init__(self, host: Host, life: int) -> None:
        self.host = host
        self.life = life
        self.on_frame: OnFrame = _nobody_reads
        self.on_closed: OnClosed = _nobody_cares
        self.frames: deque[tuple[float, Frame]] = deque()
        self.newest_s = 0.0
        self.is_closed = False


def _nobody_reads(_connection: Connection, _frame: Frame) -> None: ...
def _nobody_cares(_connection: Connection) -> None: ...


class Connection:
    """``here`` is the end that dialled, ``there`` the server's."""

    __slots__ = ("here", "network", "there")

    def __init__(self, network: Tcp, here: Host, there: Host) -> None:
        self.network = network
        self.here = End(here, here.life)
        self.there = End(there, 0)

    @property
    def is_open(self) -> bool:
        """As the end that dialled sees it."""
        return not self.here.is_closed

    def ask(self, frame: Frame) -> None:
        """From the end that dialled to the server."""
        self.network.push(self, self.here, self.there, frame)

    def answer(self, frame: Frame) -> None:
        self.network.push(self, self.there, self.here, frame)

    def leave(self) -> None:
        """The end that dialled closes."""
        self.network.shut(self, self.here, self.there)

    def hang_up(self) -> None:
        """The server closes."""
        self.network.shut(self, self.there, self.here)


class Tcp:
    """All connections, and what happens to the ways between machines."""

    def __init__(self, agenda: Agenda, seed: int, delay_s: tuple[float, float]) -> None:
        self._agenda = agenda
        self._seed = seed
        self._delay_s = delay_s
        self._connections: list[Connection] = []
        self._blocked: dict[tuple[str, str], int] = {}
        self._slowness: dict[tuple[str, str], float] = {}
        self._dice: dict[tuple[str, str], random.Random] = {}
        self.changed_s: dict[tuple[str, str], float] = {}
        """When a way was last blocked, slow, or repaired."""

    # ways

    def block(self, one: str, other: str) -> None:
        self._blocked[one, other] = self._blocked.get((one, other), 0) + 1
        self.changed_s[one, other] = self._agenda.now_s

    def unblock(self, one: str, other: str) -> None:
        count = self._blocked.get((one, other), 0)
        if count > 1:
            self._blocked[one, other] = count - 1
        elif count:
            del self._blocked[one, other]
            self.changed_s[one, other] = self._agenda.now_s
            self._go_on(lambda source, target: (source.name, target.name) == (one, other))

    def slow_down(self, one: str, other: str, factor: float) -> None:
        self._slowness[one, other] = factor
        self.changed_s[one, other] = self._agenda.now_s

    def heal(self) -> None:
        for way in sorted(self._blocked):
            self._blocked[way] = 1
            self.unblock(*way)
        for way in sorted(self._slowness):
            self.slow_down(*way, 1.0)
        self._slowness.clear()

    def is_blocked(self, one: str, other: str) -> bool:
        return (one, other) in self._blocked or (other, one) in self._blocked

    def is_well(self, one: str, other: str, for_s: float) -> bool:
        """Open and quick in both directions, for so long already."""
        since_s = self._agenda.now_s - for_s
        ways = ((one, other), (other, one))
        return not any(
            way in self._blocked or self._slowness.get(way, 1.0) > 1.0 or self.changed_s.get(way, 0.0) > since_s
            for way in ways
        )

    # machines

    def died(self, host: Host) -> None:
        """The process is gone; its machine says so to the others, unless it has gone with it."""
        for connection in list(self._connections):
            for mine, theirs in _both(connection):
                if mine.host is host and not mine.is_closed:
                    mine.is_closed = True
                    if not host.is_silent:
                        self._put(connection, mine, theirs, END)

    def woke(self, host: Host) -> None:
        self._go_on(lambda _source, target: target is host)

    def _go_on(self, matches: Callable[[Host, Host], bool]) -> None:
        for connection in list(self._connections):
            for source, target in _both(connection):
                if target.frames and matches(source.host, target.host):
                    self._agenda.at(0.0, self._arrive, connection, source, target)

    # connections

    def dial(self, here: Host, there: Host, on_frame: OnFrame, on_closed: OnClosed) -> Connection:
        connection = Connection(self, here, there)
        connection.here.on_frame, connection.here.on_closed = on_frame, on_closed
        self._connections = [each for each in self._connections if not _is_over(each)]
        self._connections.append(connection)
        self._put(connection, connection.here, connection.there, HELLO)
        return connection

    def push(self, connection: Connection, source: End, target: End, frame: Frame) -> None:
        if not source.is_closed and source.host.life == source.life != 0:
            self._put(connection, source, target, frame)

    def shut(self, connection: Connection, source: End, target: End) -> None:
        if not source.is_closed and source.host.life == source.life:
            source.is_closed = True
            source.frames.clear()
            self._put(connection, source, target, END)

    def _put(self, connection: Connection, source: End, target: End, frame: Frame) -> None:
        way = (source.host.name, target.host.name)
        dice = self._dice.get(way)
        if dice is None:
            dice = self._dice[way] = random.Random(f"{self._seed} {way}")
        takes_s = min(DELAY_MAX_S, dice.uniform(*self._delay_s) * self._slowness.get(way, 1.0))
        arrives_s = max(target.newest_s, self._agenda.now_s + takes_s)
        target.newest_s = arrives_s
        target.frames.append((arrives_s, frame))
        self._agenda.at(arrives_s - self._agenda.now_s, self._arrive, connection, source, target)

    def _arrive(self, connection: Connection, source: End, target: End) -> None:
        host = target.host
        while target.frames and target.frames[0][0] <= self._agenda.now_s + 1e-9:
            if (source.host.name, host.name) in self._blocked or host.wakes_s > self._agenda.now_s:
                return
            if host.is_silent:
                target.frames.clear()
                return
            frame = target.frames.popleft()[1]
            if frame is HELLO and host.life:
                target.life = host.life
                host.accept(connection)
            elif host.life == 0 or host.life != target.life or target.is_closed:
                self._reset(connection, source, target)
            elif frame is END:
                target.is_closed = True
                target.on_closed(connection)
            else:
                target.on_frame(connection, frame)

    def _reset(self, connection: Connection, source: End, target: End) -> None:
        """Nobody reads there: the sender is told."""
        target.frames.clear()
        if not target.is_closed or not source.is_closed:
            target.is_closed = True
            if not source.is_closed:
                self._put(connection, target, source, END)


def _both(connection: Connection) -> Iterable[tuple[End, End]]:
    return (connection.here, connection.there), (connection.there, connection.here)


def _is_over(connection: Connection) -> bool:
    return all(end.is_closed and not end.frames for end in (connection.here, connection.there))


def hosts(connections: Iterable[Connection]) -> Iterator[tuple[Host, Host]]:
    return ((each.here.host, each.there.host) for each in connections)
