"""The network between nodes, and what ``Transport`` makes of it, in virtual time.

A *line* is one TCP connection: it keeps order and loses nothing as long as it lives. A direction that is blocked holds
frames back; when it opens again they arrive, late. A side that hears nothing for ``SILENCE_S`` closes its end; the
other side learns that when the news gets through, or by its own silence.

What the transport promises is modelled as it does it: either side dials while it has no line, the side with the smaller
name numbers the lines, the highest number counts on each side, and frames of a line that does not count are dropped.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator_raft.raft.transport import PING_S, REDIAL_S, SILENCE_S
from tests.sim.statistics import Statistics

HANDSHAKE_ROUNDS = 3
DELAY_MAX_S = 4.0


class Host(Protocol):
    """What the network needs of the world."""

    now_s: float
    dice: random.Random
    statistics: Statistics

    def at(self, delay_s: float, action: Any, *arguments: Any) -> None: ...
    def life(self, name: str) -> int:
        """Number of the process that runs under this name; 0 while none does."""

    def wakes_s(self, name: str) -> float:
        """When the process goes on; the past if it runs."""

    def dials(self, name: str, peer: str) -> bool: ...
    def accepts(self, name: str, peer: str) -> bool: ...
    def peer_connected(self, name: str, peer: str) -> None: ...
    def peer_disconnected(self, name: str, peer: str) -> None: ...
    def peer_said(self, name: str, peer: str, frame: Any) -> bool:
        """False if the line is to be closed."""


class End:
    """What a side sends last."""


@dataclass(frozen=True, slots=True)
class Use:
    """The smaller side says that a line counts."""

    number: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Keeps a quiet line alive."""


END, PING = End(), Ping()


@dataclass(slots=True)
class Way:
    """One direction of a line."""

    target: str
    life: int
    frames: deque[tuple[float, Any]] = field(default_factory=deque)
    newest_s: float = 0.0
    is_closed: bool = False
    """The target has closed its end, or its process is gone."""


class Line:
    """One connection between two processes."""

    __slots__ = ("number", "ways")

    def __init__(self, one: str, one_life: int, other: str, other_life: int) -> None:
        self.number = 0
        self.ways = {other: Way(other, other_life), one: Way(one, one_life)}

    @property
    def is_over(self) -> bool:
        return all(way.is_closed and not way.frames for way in self.ways.values())

    def peer_of(self, name: str) -> str:
        return next(other for other in self.ways if other != name)


@dataclass(slots=True)
class Link:
    """One peer as a node sees it."""

    active: Line | None = None
    number: int = 0
    peer_life: int = 0
    heard_s: float = 0.0


class Network:
    """``accepts_replaced`` is the planted bug: frames of lines that no longer count get through."""

    def __init__(self, host: Host, names: list[str], delay_s: tuple[float, float]) -> None:
        self._host = host
        self._delay_s = delay_s
        self._blocked: set[tuple[str, str]] = set()
        self._slowness: dict[tuple[str, str], float] = {}
        self.distance: dict[tuple[str, str], float] = {}
        """How much longer one way is than another, as long as the run lasts."""
        self._lines: list[Line] = []
        self.accepts_replaced = False
        self.links: dict[tuple[str, str], Link] = {}
        for here in names:
            for there in names:
                if here != there:
                    self.links[here, there] = Link()
                    host.at(host.dice.uniform(0, 0.05), self._dial, here, there)
                    host.at(host.dice.uniform(0, PING_S), self._keep_pinging, here, there)

    # faults

    def block(self, source: str, target: str) -> None:
        self._blocked.add((source, target))

    def unblock(self, source: str, target: str, late_s: float | None = None) -> None:
        """What was held back gets through ``late_s`` later."""
        if (source, target) in self._blocked:
            self._blocked.discard((source, target))
            for line in list(self._lines):
                if source in line.ways and target in line.ways:
                    after_s = self._host.dice.uniform(0, 0.2) if late_s is None else late_s
                    self._host.at(after_s, self._arrive, line, target)

    def heal(self) -> None:
        for source, target in sorted(self._blocked):
            self.unblock(source, target)
        self._slowness.clear()

    def limit_distances(self, way_max_s: float) -> None:
        longest = max(1.0, way_max_s / self._delay_s[1])
        self.distance = {path: min(longest, factor) for path, factor in self.distance.items()}

    def slow_down(self, source: str, target: str, factor: float) -> None:
        self._slowness[source, target] = factor

    def died(self, name: str, *, silently: bool) -> None:
        """The process is gone. Its machine says so to the peers, unless it has gone with it."""
        for line in self._lines_of(name):
            line.ways[name].is_closed = True
            if not silently:
                self._push(line, line.peer_of(name), END)
        for (here, _), link in self.links.items():
            if here == name:
                link.active, link.number, link.peer_life = None, 0, 0

    def woke(self, name: str) -> None:
        for line in self._lines_of(name):
            self._arrive(line, name)

    def _lines_of(self, name: str) -> Iterator[Line]:
        return (line for line in list(self._lines) if name in line.ways)

    def is_blocked(self, one: str, other: str) -> bool:
        return (one, other) in self._blocked or (other, one) in self._blocked

    # sending

    def is_connected(self, here: str, there: str) -> bool:
        link = self.links.get((here, there))
        return link is not None and link.active is not None

    def send(self, here: str, there: str, frame: Any) -> None:
        link = self.links.get((here, there))
        if link is not None and link.active is not None:
            self._push(link.active, there, frame)

    def _push(self, line: Line, target: str, frame: Any) -> None:
        way, host = line.ways[target], self._host
        path = (line.peer_of(target), target)
        factor = self._slowness.get(path, 1.0) * self.distance.get(path, 1.0)
        takes_s = min(DELAY_MAX_S, host.dice.uniform(*self._delay_s) * factor)
        arrives_s = max(way.newest_s, host.now_s + takes_s)
        way.newest_s = arrives_s
        way.frames.append((arrives_s, frame))
        host.at(arrives_s - host.now_s, self._arrive, line, target)

    def _arrive(self, line: Line, target: str) -> None:
        """Hand over what has arrived, as far as it gets through."""
        way, host, source = line.ways[target], self._host, line.peer_of(target)
        while way.frames and way.frames[0][0] <= host.now_s + 1e-9:
            if (source, target) in self._blocked:
                return
            if host.life(target) != way.life or (way.is_closed and not self.accepts_replaced):
                self._reset(line, target)
                return
            wakes_s = host.wakes_s(target)
            if wakes_s > host.now_s:
                return
            self._taken(line, target, source, way.frames.popleft()[1])

    def _reset(self, line: Line, target: str) -> None:
        """Nobody reads there: the sender is told, if the machine runs."""
        way, source = line.ways[target], line.peer_of(target)
        self._host.statistics.late_frames_dropped += sum(not isinstance(frame, End | Ping) for _, frame in way.frames)
        way.frames.clear()
        if self._host.life(target) and not line.ways[source].is_closed:
            self._push(line, source, END)

    def _taken(self, line: Line, here: str, there: str, frame: Any) -> None:
        link = self.links[here, there]
        if isinstance(frame, Use):
            self._consider(line, here, there, frame.number)
        elif frame is END:
            self._close(line, here, there)
        elif link.active is line or self.accepts_replaced:
            link.heard_s = self._host.now_s
            if frame is not PING and not self._host.peer_said(here, there, frame):
                self.abort(here, there)
        else:
            self._host.statistics.late_frames_dropped += 1

    # lines

    def _dial(self, here: str, there: str) -> None:
        host = self._host
        host.at(host.dice.uniform(*REDIAL_S), self._dial, here, there)
        if not host.life(here) or not host.life(there) or self.links[here, there].active is not None:
            return
        if not host.dials(here, there):
            return
        if max(host.wakes_s(here), host.wakes_s(there)) > host.now_s or self.is_blocked(here, there):
            return
        line = Line(here, host.life(here), there, host.life(there))
        host.at(HANDSHAKE_ROUNDS * host.dice.uniform(*self._delay_s), self._introduce, line)

    def _introduce(self, line: Line) -> None:
        """Both have proved that they belong; the smaller one decides."""
        host = self._host
        smaller, larger = sorted(line.ways)
        for name in (smaller, larger):
            if host.life(name) != line.ways[name].life or host.wakes_s(name) > host.now_s:
                return
        if self.is_blocked(smaller, larger) or not all([host.accepts(smaller, larger), host.accepts(larger, smaller)]):
            return
        self._lines = [known for known in self._lines if not known.is_over]
        self._lines.append(line)
        number = self.links[smaller, larger].number + 1
        self._push(line, larger, Use(number))
        self._consider(line, smaller, larger, number)

    def _consider(self, line: Line, here: str, there: str, number: int) -> None:
        """The line counts here from now on, unless a newer one does."""
        link = self.links[here, there]
        peer_life = line.ways[there].life
        if link.peer_life == peer_life and number <= link.number:
            self._shut(line, here)
            return
        old, link.active = link.active, line
        link.number, link.peer_life, link.heard_s = number, peer_life, self._host.now_s
        self._host.statistics.connections += 1
        if old is not None:
            self._shut(old, here)
            self._host.peer_disconnected(here, there)
        self._host.peer_connected(here, there)

    def abort(self, here: str, there: str) -> None:
        link = self.links[here, there]
        if link.active is not None:
            self._close(link.active, here, there)

    def _close(self, line: Line, here: str, there: str) -> None:
        self._shut(line, here)
        link = self.links[here, there]
        if link.active is line:
            link.active = None
            self._host.peer_disconnected(here, there)

    def _shut(self, line: Line, here: str) -> None:
        """This end is closed, and the other side will hear of it."""
        if line.ways[here].is_closed:
            return
        line.ways[here].is_closed = True
        peer = line.peer_of(here)
        if not line.ways[peer].is_closed:
            self._push(line, peer, END)

    def _keep_pinging(self, here: str, there: str) -> None:
        host = self._host
        wakes_s = host.wakes_s(here)
        if wakes_s > host.now_s:
            host.at(wakes_s - host.now_s, self._keep_pinging, here, there)
            return
        host.at(PING_S, self._keep_pinging, here, there)
        link = self.links[here, there]
        if link.active is None or not host.life(here):
            return
        if host.now_s - link.heard_s > SILENCE_S:
            self.abort(here, there)
        else:
            self.send(here, there, PING)
