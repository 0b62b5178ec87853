"""From a follower to the leader and back (design D8).

Rules
- A forwarded request is never forwarded again: a node that does not lead says so, and the node that was asked first
  tries the new leader, once.
- A read may always be tried again. A write only when it certainly did not run: the leader said it does not lead, or
  there was no connection to send it over. Otherwise the answer says that the outcome is not known and how to find out.
- Every wait has an end: 15 minutes and a little for operations that may run for minutes, 30 s for other writes, less
  for reads, which this node can answer itself if it must.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from orchestrator_raft.core.errors import OrchestratorError, Unavailable
from orchestrator_raft.engine.service import Person
from orchestrator_raft.operations import Operation
from orchestrator_raft.ports import Channel

from .exchange import THREAD_FROM_BYTES, Answer, Ask
from .frames import Forwarded, NotLeading, decode_answer, decode_ask, encode_answer, encode_ask
from .node import NodeView

METHOD = "http"
READ_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0
LONG_TIMEOUT_S = 15 * 60 + 10.0
"""A little longer than the leader itself waits, so that its own words arrive."""
NEW_LEADER_WAIT_S = 3.0
LOOK_AGAIN_S = 0.02
ATTEMPTS = 2

Serve = Callable[[Forwarded], Awaitable[Answer | NotLeading]]


class Forwarder:
    """Asks the leader on behalf of somebody who asked this node."""

    def __init__(self, channel: Channel, node: NodeView) -> None:
        self._channel = channel
        self._node = node

    async def forward(self, ask: Ask, person: Person, operation: Operation) -> Answer | None:
        """The leader's answer, or None when this node has to answer: it leads, or a read found no leader.

        Raises Unavailable for a write that nobody took, or whose outcome is not known.
        """
        failed = ""
        for attempt in range(ATTEMPTS):
            leader = self._leader() if attempt == 0 else await self._leader_but(failed)
            if leader is None:
                break
            answer = await self._try(leader, ask, person, operation)
            if answer is not None:
                return answer
            failed = leader
        if operation.writes and not self._node.status().leads:
            raise Unavailable("no leader took this request: nothing was changed; ask again in a moment")
        return None

    def _leader(self) -> str | None:
        """The other node that leads, if one does."""
        status = self._node.status()
        return None if status.leads else status.leader_id

    async def _leader_but(self, failed: str) -> str | None:
        """The next leader, waited for as long as an election may take."""
        for _ in range(round(NEW_LEADER_WAIT_S / LOOK_AGAIN_S)):
            if self._node.status().leader_id not in (failed, None):
                break
            await asyncio.sleep(LOOK_AGAIN_S)
        leader = self._leader()
        return leader if leader != failed else None

    async def _try(self, leader: str, ask: Ask, person: Person, operation: Operation) -> Answer | None:
        """One attempt; None when it certainly did not run, or may run again. Raises Unavailable otherwise."""
        if leader not in self._node.status().connected:
            return None
        timeout_s = deadline_s(operation)
        try:
            reply = decode_answer(
                await self._channel.call(leader, METHOD, encode_ask(ask, person), timeout_s=timeout_s)
            )
        except OrchestratorError as error:
            if not operation.writes:
                return None
            raise Unavailable(
                f"node {leader}, the leader, took this request and did not answer ({error}); it may have been carried"
                f" out: look for request {ask.request_id} in the audit trail before you repeat it"
            ) from error
        return None if isinstance(reply, NotLeading) else reply


def deadline_s(operation: Operation) -> float:
    """How long the leader's answer is waited for."""
    if operation.takes_long:
        return LONG_TIMEOUT_S
    return WRITE_TIMEOUT_S if operation.writes else READ_TIMEOUT_S


def serve(channel: Channel, answer: Serve) -> None:
    """Answer the requests that other nodes forward."""

    async def handle(_node_id: str, payload: bytes) -> bytes:
        asked = decode_ask(payload)
        with structlog.contextvars.bound_contextvars(request_id=asked.ask.request_id):
            made = await answer(asked)
        if isinstance(made, Answer) and len(made.body) >= THREAD_FROM_BYTES:
            return await asyncio.to_thread(encode_answer, made)
        return encode_answer(made)

    channel.serve(METHOD, handle)
