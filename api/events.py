"""The stream of events: what happens, as it happens, by Server-Sent Events (the HTML standard's ``text/event-stream``).

- Events come from the replicated state, so they have the same ids on every node. Who comes back with Last-Event-ID gets
  what was missed, on any node; who has missed more than is kept gets ``reset``: read the state anew, go on from there.
- ``problems`` is the whole list as the leader sees it, at the start and whenever it has changed; it has no id.
- ``servers`` is sent to who asks for it: lag and reachability as the leader sees them, all at the start, then those
  that have changed; it has no id either. What has changed is worked out once for all streams.
- A stream holds no queue: it has a place in the ring, and whoever reads too slowly is sent ``reset``.
- Bounded: the number of streams, the time of each (the client comes back and is admitted anew), the wait for a client
  that takes nothing. A comment goes out when nothing else does, so that proxies and dead clients are noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from orchestrator_raft.core.errors import InvalidInput, Unavailable
from orchestrator_raft.core.replicated.state import Event
from orchestrator_raft.engine.service import Service
from orchestrator_raft.tasks import OnFailure, Tasks

from .exchange import Ask
from .health import find_cluster
from .lags import Lags

STREAMS_MAX = 100
HEARTBEAT_S = 15.0
STREAM_MAX_S = 3600.0
RETRY_MS = 1000
CATCH_UP_S = 3.0
"""For so long this node may be behind the one that gave the last event."""
HEADERS = (("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"))
CONTENT_TYPE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that goes on. Whoever takes the pieces calls ``on_end`` when done, come what may."""

    pieces: AsyncGenerator[bytes, None]
    on_end: Callable[[], None]
    content_type: str = CONTENT_TYPE
    headers: tuple[tuple[str, str], ...] = HEADERS


class Events:
    """The streams of one node."""

    def __init__(
        self, service: Service, on_failure: OnFailure, *, heartbeat_s: float = HEARTBEAT_S, most: int = STREAMS_MAX
    ) -> None:
        self._service = service
        self._heartbeat_s = heartbeat_s
        self._most = most
        self._tasks = Tasks("events", on_failure)
        self._waiting: set[asyncio.Event] = set()
        self._lags = Lags()
        self._is_following = False
        self._is_closed = False

    @property
    def count(self) -> int:
        """Streams that are open."""
        return len(self._waiting)

    def open(self, ask: Ask, cluster: str, last_event_id: str, *, servers: bool = False) -> Stream:
        """A stream from after that event on, from now on without one. Raises InvalidInput, and Unavailable."""
        after = _number(ask.header("last-event-id") or last_event_id)
        cluster_id = ""
        if cluster:
            found = find_cluster(self._service.state, cluster)
            if found is None:
                raise InvalidInput(f"there is no cluster '{cluster}'")
            cluster_id = found.id
        if len(self._waiting) >= self._most or self._is_closed:
            raise Unavailable(f"this node has {self._most} event streams already: ask another node")
        if not self._is_following:
            self._is_following = True
            self._tasks.start("follow the state", self._follow())
            self._service.sight.on_change(self._wake)
        signal = asyncio.Event()
        self._waiting.add(signal)
        pieces = self._pieces(signal, after, cluster_id, servers=servers)
        return Stream(pieces, lambda: self._waiting.discard(signal))

    async def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        self._wake()
        await self._tasks.close()

    async def _follow(self) -> None:
        async for _ in self._service.changes():
            self._wake()

    def _wake(self) -> None:
        for signal in self._waiting:
            signal.set()

    async def _pieces(
        self, signal: asyncio.Event, after: int | None, cluster_id: str, *, servers: bool
    ) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        ends_s, behind_until_s = loop.time() + STREAM_MAX_S, loop.time() + CATCH_UP_S
        position = self._service.state.event_number if after is None else after
        shown: Any = None
        lags = 0
        yield f"retry: {RETRY_MS}\n\n".encode()
        while not self._is_closed and loop.time() < ends_s:
            signal.clear()
            problems = self._problems(cluster_id)
            if problems != shown:
                shown = problems
                yield _piece("problems", problems)
            if servers:
                text, lags = self._changed_servers(lags, cluster_id)
                if text:
                    yield text
            is_behind = position > self._service.state.event_number and loop.time() < behind_until_s
            if not is_behind:
                text, position = self._news(position, cluster_id)
                if text:
                    yield text
            try:
                async with asyncio.timeout(CATCH_UP_S if is_behind else self._heartbeat_s):
                    await signal.wait()
            except TimeoutError:
                yield b": still here\n\n"

    def _news(self, position: int, cluster_id: str) -> tuple[bytes, int]:
        """What has happened after ``position``, and the new position."""
        state = self._service.state
        newest = state.event_number
        oldest = newest - len(state.events) + 1
        if position > newest or position + 1 < oldest:
            text = "events are missing: read the state anew, then go on from here"
            return _piece("reset", {"detail": text, "newest": newest}, newest), newest
        events = state.events[len(state.events) - (newest - position) :] if newest > position else ()
        wanted = [event for event in events if not cluster_id or event.cluster_id in ("", cluster_id)]
        return b"".join(_piece(event.type, shown_event(event), event.number) for event in wanted), newest

    def _changed_servers(self, number: int, cluster_id: str) -> tuple[bytes, int]:
        """Lag and reachability that have changed since that look, and the number of the newest."""
        self._lags.look(self._service.sight.newest.glimpses)
        known = self._service.state.servers
        found = {
            str(key): {"reached": each.reached, "replicates": each.replicates, "lag_s": each.lag_s}
            for key, each in self._lags.since(number).items()
            if not cluster_id or (key in known and known[key].cluster_id == cluster_id)
        }
        return _piece("servers", found) if found else b"", self._lags.number

    def _problems(self, cluster_id: str) -> list[dict[str, str]]:
        return [
            {"server": each.server, "cluster_id": each.cluster_id, "code": each.code, "text": each.text}
            for each in self._service.sight.newest.problems
            if not cluster_id or each.cluster_id == cluster_id
        ]


def shown_event(event: Event) -> dict[str, Any]:
    """One event as JSON."""
    return {
        "number": event.number,
        "at": datetime.fromtimestamp(event.at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "type": event.type,
        "text": event.text,
        "cluster_id": event.cluster_id,
        "server": str(event.server) if event.server is not None else None,
        "recovery_id": event.recovery_id,
        "phase": event.phase,
        "by": event.by,
        "request_id": event.request_id,
    }


def _piece(name: str, value: Any, number: int | None = None) -> bytes:
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\n".encode() + b"data: " + orjson.dumps(value) + b"\n\n"


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InvalidInput(f"'{text[:40]}' is no id of an event (Last-Event-ID)")
    return int(text)
