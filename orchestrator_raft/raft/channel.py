"""Questions between nodes over their own connections: HTTP that is forwarded, witness questions, proposals (design D8).

A handler answers whole (an awaitable of bytes) or in chunks (an asynchronous iterator of bytes). Either way the answer
travels in parts of at most ``PART_BYTES``, of which a caller holds at most ``WINDOW_PARTS``: a slow reader slows the
handler down, and heartbeats pass between the parts.

Rules
- Every call has a deadline, which travels with it; a caller that no longer waits cancels the handler, whose iterator is
  closed in its own task.
- An error of ``core.errors`` travels back with its class and its text. Anything else that a handler raises is a bug of
  ours: it is logged here with its trace, and the caller gets one line.
- The connection breaking, the deadline and a node that is not connected are ``Unavailable``: ask again, or elsewhere.
  A call beyond a limit is ``Overloaded``: it is sure that no handler has seen it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator_raft.core import errors
from orchestrator_raft.core.errors import InvalidInput, OrchestratorError, Overloaded, Unavailable
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.messages import (
    TEXT_MAX,
    Call,
    CallCancel,
    CallCredit,
    CallFailure,
    CallMessage,
    CallPart,
    Message,
)
from orchestrator_raft.tasks import Tasks

log = logging.getLogger("orchestrator_raft.raft")
Answer = AsyncIterator[bytes] | Awaitable[bytes]
Handler = Callable[[str, bytes], Answer]

PART_BYTES = 64 * 1024
WINDOW_PARTS = 16
REQUEST_BYTES_MAX = 2 * 1024 * 1024
ANSWER_BYTES_MAX = 256 * 1024 * 1024
HANDLERS_MAX = 256
CALLS_MAX = 1024
TIMEOUT_S_MAX = 3600.0


class Wire(Protocol):
    """What the channel needs of the transport."""

    def send(self, slot: str, message: Message) -> bool: ...
    async def drain(self, slot: str) -> None: ...


@dataclass(slots=True)
class _Waiting:
    """A call of ours."""

    slot: str
    parts: asyncio.Queue[CallPart | CallFailure] = field(default_factory=lambda: asyncio.Queue(WINDOW_PARTS + 1))
    taken: int = 0


@dataclass(slots=True)
class _Running:
    """A call that is answered here."""

    task: asyncio.Task[None] | None = None
    credit: int = WINDOW_PARTS
    more: asyncio.Event = field(default_factory=asyncio.Event)


class Channel:
    """``serve`` may be called before ``open``; nothing is asked or answered before."""

    def __init__(self, tasks: Tasks) -> None:
        self._me = ""
        self._wire: Wire | None = None
        self._tasks = tasks
        self._handlers: dict[str, Handler] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._running: dict[tuple[str, int], _Running] = {}
        self._last_id = 0

    def open(self, me: str, wire: Wire | None) -> None:
        """This node's id, and its connections; a node that is alone has none and answers itself."""
        self._me, self._wire = me, wire

    # asking

    def serve(self, method: str, handler: Handler) -> None:
        """Answer calls of ``method``; the handler gets the calling node's id and the payload."""
        if method in self._handlers:
            raise ValueError(f"two handlers for '{method}'")
        self._handlers[method] = handler

    async def call(self, node_id: str, method: str, payload: bytes, *, timeout_s: float) -> bytes:
        """The whole answer. Raises Unavailable, or the OrchestratorError that the handler raised."""
        parts: list[bytes] = []
        size = 0
        async for part in self.stream(node_id, method, payload, timeout_s=timeout_s):
            parts.append(part)
            size += len(part)
            if size > ANSWER_BYTES_MAX:
                raise InvalidInput(f"the answer of {node_id} to '{method}' is larger than {ANSWER_BYTES_MAX} bytes")
        return b"".join(parts)

    async def stream(self, node_id: str, method: str, payload: bytes, *, timeout_s: float) -> AsyncIterator[bytes]:
        """The answer in chunks as they come; their borders mean nothing. Errors as in ``call``, at any chunk."""
        if len(payload) > REQUEST_BYTES_MAX:
            raise InvalidInput(
                f"'{method}' with {len(payload)} bytes: a question to a node has at most {REQUEST_BYTES_MAX}"
            )
        deadline_s = asyncio.get_running_loop().time() + min(timeout_s, TIMEOUT_S_MAX)
        chunks = (
            self._local(method, payload) if node_id == self._me else self._remote(node_id, method, payload, timeout_s)
        )
        try:
            while True:
                async with asyncio.timeout_at(deadline_s):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk
        except TimeoutError as error:
            raise Unavailable(f"{node_id} did not answer '{method}' within {timeout_s:g} s; ask again") from error
        finally:
            await chunks.aclose()

    async def _local(self, method: str, payload: bytes) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._chunks(self._me, method, payload)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _remote(self, node_id: str, method: str, payload: bytes, timeout_s: float) -> AsyncGenerator[bytes, None]:
        call_id, waiting = self._ask(node_id, method, payload, min(timeout_s, TIMEOUT_S_MAX))
        ended = False
        try:
            while not ended:
                part = await waiting.parts.get()
                ended = isinstance(part, CallFailure) or part.end
                if isinstance(part, CallFailure):
                    raise _rebuilt(part)
                if part.data:
                    yield part.data
                self._took_one(call_id, waiting)
        finally:
            self._waiting.pop(call_id, None)
            if not ended:
                self._send(node_id, CallCancel(call_id))

    def _ask(self, node_id: str, method: str, payload: bytes, timeout_s: float) -> tuple[int, _Waiting]:
        if len(self._waiting) >= CALLS_MAX:
            raise Overloaded(f"{self._me} already waits for {CALLS_MAX} answers; nothing was done, ask again later")
        self._last_id += 1
        call_id, waiting = self._last_id, _Waiting(node_id)
        self._waiting[call_id] = waiting
        if not self._send(node_id, Call(call_id, method, payload, timeout_s)):
            del self._waiting[call_id]
            raise Unavailable(f"{node_id} is not connected to {self._me}; ask again, or ask another node")
        return call_id, waiting

    def _took_one(self, call_id: int, waiting: _Waiting) -> None:
        waiting.taken += 1
        if waiting.taken == WINDOW_PARTS // 2:
            self._send(waiting.slot, CallCredit(call_id, waiting.taken))
            waiting.taken = 0

    def _send(self, slot: str, message: CallMessage) -> bool:
        return self._wire is not None and self._wire.send(slot, message)

    # what the connections tell

    def received(self, slot: str, message: CallMessage) -> None:
        """Raises ProtocolError when the peer sends more than was allowed."""
        match message:
            case Call():
                self._start(slot, message)
            case CallPart(call_id) | CallFailure(call_id):
                waiting = self._waiting.get(call_id)
                if waiting is not None and waiting.slot == slot:
                    _put(waiting, message)
            case CallCredit(call_id, parts):
                running = self._running.get((slot, call_id))
                if running is not None:
                    running.credit = min(running.credit + parts, WINDOW_PARTS)
                    running.more.set()
            case CallCancel(call_id):
                self._cancel((slot, call_id))

    def disconnected(self, slot: str) -> None:
        for waiting in self._waiting.values():
            if waiting.slot == slot:
                while not waiting.parts.empty():
                    waiting.parts.get_nowait()
                waiting.parts.put_nowait(CallFailure(0, "Unavailable", f"the connection to {slot} broke; ask again"))
        for key in [key for key in self._running if key[0] == slot]:
            self._cancel(key)

    def _cancel(self, key: tuple[str, int]) -> None:
        running = self._running.get(key)
        if running is not None and running.task is not None:
            running.task.cancel()

    # answering

    def _start(self, slot: str, call: Call) -> None:
        key = (slot, call.call_id)
        if key in self._running:
            raise ProtocolError("it uses the number of a call that is still being answered")
        if len(self._running) >= HANDLERS_MAX:
            text = f"{self._me} answers {HANDLERS_MAX} calls already; nothing was done, ask again later"
            self._send(slot, CallFailure(call.call_id, Overloaded.__name__, text))
            return
        running = self._running[key] = _Running()
        running.task = self._tasks.start(f"answer {call.method}", self._answer(slot, call, running))
        running.task.add_done_callback(lambda _: self._running.pop(key, None))

    async def _answer(self, slot: str, call: Call, running: _Running) -> None:
        try:
            async with asyncio.timeout(min(call.timeout_s, TIMEOUT_S_MAX)):
                async with aclosing(self._chunks(slot, call.method, call.payload)) as chunks:
                    async for chunk in chunks:
                        await self._send_part(slot, CallPart(call.call_id, chunk, end=False), running)
                await self._send_part(slot, CallPart(call.call_id, b"", end=True), running)
        except OrchestratorError as error:
            self._send(slot, CallFailure(call.call_id, type(error).__name__, str(error)[:TEXT_MAX]))
        except TimeoutError:
            text = f"{self._me} did not finish '{call.method}' within {call.timeout_s:g} s"
            self._send(slot, CallFailure(call.call_id, "Unavailable", text))
        except ConnectionError:
            return  # whoever asked is gone, and has been told by the broken connection
        except Exception:
            log.exception("the handler of '%s' failed on a call of %s", call.method, slot)
            text = f"{self._me} failed while it answered '{call.method}'; its log has the cause"
            self._send(slot, CallFailure(call.call_id, "OrchestratorError", text))

    async def _chunks(self, slot: str, method: str, payload: bytes) -> AsyncGenerator[bytes, None]:
        handler = self._handlers.get(method)
        if handler is None:
            raise InvalidInput(f"{self._me} knows no '{method}': it runs another version")
        answer = handler(slot, payload)
        if inspect.isawaitable(answer):
            for chunk in _cut(await answer):
                yield chunk
            return
        async with AsyncExitStack() as ending:
            if isinstance(answer, AsyncGenerator):
                await ending.enter_async_context(aclosing(answer))
            async for piece in answer:
                for chunk in _cut(piece):
                    yield chunk

    async def _send_part(self, slot: str, part: CallPart, running: _Running) -> None:
        while running.credit == 0:
            running.more.clear()
            await running.more.wait()
        running.credit -= 1
        assert self._wire is not None
        await self._wire.drain(slot)
        if not self._wire.send(slot, part):
            raise ConnectionResetError(f"{slot} is gone")


def _cut(data: bytes) -> list[bytes]:
    return [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]


def _put(waiting: _Waiting, message: CallPart | CallFailure) -> None:
    try:
        waiting.parts.put_nowait(message)
    except asyncio.QueueFull as error:
        raise ProtocolError("it sends more of an answer than was asked for") from error


def _rebuilt(failure: CallFailure) -> OrchestratorError:
    """The error that the handler raised; one that this version does not know becomes the common base."""
    kind = getattr(errors, failure.kind, OrchestratorError)
    known = isinstance(kind, type) and issubclass(kind, OrchestratorError)
    return kind(failure.text) if known else OrchestratorError(failure.text)
