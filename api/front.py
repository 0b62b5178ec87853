"""``Front``: from a request to an answer, whoever carries either.

The order is the same for every path: who asks (401), which operation (404, 405), may they (Unauthorized), where does
it run: here, or on the leader. Errors of ``core.errors`` are shown in the words of the dialect; anything else is a
defect of ours, which is reported through ``on_error`` with the request's id and answered without details.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator_raft.core.errors import OrchestratorError, Unavailable
from orchestrator_raft.engine.service import Call, Person, Service, is_bound, typed_arguments
from orchestrator_raft.operations import Operation, Where
from orchestrator_raft.ports import Channel
from orchestrator_raft.tasks import Tasks

from . import access, forwarding
from .access import Admitted, Forbidden
from .compat.dialect import CompatibleDialect
from .dialect import Dialect
from .exchange import TEXT, Answer, Ask, Headers
from .frames import Forwarded, NotLeading
from .native.dialect import NativeDialect
from .node import NodeStatus, NodeView
from .routing import Match, Router, native_root, routes
from .settings import ApiSettings, AuthenticationMethod

OnError = Callable[[str, str, BaseException], None]
"""Hears of defects: request id, method and path, the exception."""
AUTHORITY_WAIT_S = 2.0
LOOK_AGAIN_S = 0.02
GROUPS_TIMEOUT_S = 2.0
NODE_ANSWERED = frozenset({"routed-leader-check"})
"""Operations of the leader that the node's own status answers."""


class Front:
    """The HTTP side of a node without its web server."""

    def __init__(
        self, settings: ApiSettings, service: Service, node: NodeView, channel: Channel, *, on_error: OnError
    ) -> None:
        access.check(settings)
        self._settings = settings
        self._service = service
        self._node = node
        self._forwarder = forwarding.Forwarder(channel, node)
        self._on_error = on_error
        self._writes = Tasks("forwarded writes", lambda name, error: on_error("", name, error))
        self._router = Router(routes(settings))
        self._compatible: Dialect = CompatibleDialect(settings.message_identity)
        self._native: Dialect = NativeDialect()
        self._native_root = native_root(settings)

    @property
    def settings(self) -> ApiSettings:
        return self._settings

    async def answer(self, ask: Ask) -> Answer:
        """The answer to a client. Never raises but for cancellation."""
        admitted = await self._admit(ask)
        if admitted is None:
            refused = Answer(status=401, body=access.NOT_ADMITTED, content_type=TEXT, headers=(access.CHALLENGE,))
            return self._signed(refused)
        return await self._answer(ask, admitted, forwarded=False)

    async def answer_forwarded(self, forwarded: Forwarded) -> Answer | NotLeading:
        """The leader's side: the person was admitted by the node that was asked.

        A write that has begun goes on when the connection to that node breaks, as it does when a client goes away.
        """
        ready = await self._may_act() if self._is_write(forwarded.ask) else self._node.status().leads
        if not ready:
            return NotLeading(f"node {self._node.status().node_id} does not lead")
        person = Person(forwarded.person.name, forwarded.person.may_write and not self._settings.read_only)
        answering = self._answer(forwarded.ask, Admitted(person), forwarded=True)
        if not self._is_write(forwarded.ask):
            return await answering
        return await asyncio.shield(self._writes.start(f"forwarded {forwarded.ask.path}", answering))

    async def close(self) -> None:
        """End the forwarded writes that are still under way."""
        await self._writes.close()

    def _is_write(self, ask: Ask) -> bool:
        routes = [match.route for match in self._router.match(ask.path)]
        return any(route.operation.writes and ask.method in route.methods for route in routes)

    async def _admit(self, ask: Ask) -> Admitted | None:
        groups: frozenset[str] = frozenset()
        settings = self._settings
        if settings.authentication is AuthenticationMethod.PROXY and settings.power_groups:
            user = access.proxy_user(settings, ask.headers)
            groups = await self._groups(user, ask) if user else groups
        return access.admit(settings, ask.headers, groups)

    async def _groups(self, user: str, ask: Ask) -> frozenset[str]:
        """Groups as the system knows them; none when its directory does not answer in time."""
        try:
            async with asyncio.timeout(GROUPS_TIMEOUT_S):
                return await asyncio.to_thread(access.unix_groups, user)
        except (TimeoutError, OSError) as error:
            self._on_error(ask.request_id, f"Unix groups of {user}", error)
            return frozenset()

    async def _answer(self, ask: Ask, admitted: Admitted, *, forwarded: bool) -> Answer:
        dialect = self._native if ask.path.startswith(self._native_root) else self._compatible
        matches = self._router.match(ask.path)
        if not matches:
            return self._signed(dialect.not_found())
        match = next((each for each in matches if ask.method in each.route.methods), None)
        if match is None:
            methods = tuple(sorted({method for each in matches for method in each.route.methods}))
            return self._signed(dialect.not_allowed(methods))
        dialect = self._native if match.route.is_native else self._compatible
        try:
            return await self._carry_out(ask, match, dialect, admitted, forwarded=forwarded)
        except OrchestratorError as error:
            return self._signed(dialect.failure(error))
        except Exception as error:  # noqa: BLE001 - the last line: reported, and answered without internals
            self._on_error(ask.request_id, f"{ask.method} {ask.path}", error)
            return self._signed(dialect.broken(ask.request_id))

    async def _carry_out(
        self, ask: Ask, match: Match, dialect: Dialect, admitted: Admitted, *, forwarded: bool
    ) -> Answer:
        operation = match.route.operation
        if operation.writes and not admitted.person.may_write:
            raise Forbidden(admitted.why_not_write)
        raw = dialect.arguments(match, ask)
        if operation.where is Where.HERE and not is_bound(operation):
            return self._signed(dialect.node_answer(operation, raw, self._node.status(), ask))
        arguments = typed_arguments(operation, raw)
        if not forwarded and operation.where is Where.LEADER:
            answer = await self._elsewhere(ask, admitted.person, operation)
            if answer is not None:
                return answer.with_headers((("X-Via-Node-ID", self._node.status().node_id),))
        if operation.name in NODE_ANSWERED:
            return self._signed(dialect.node_answer(operation, raw, self._node.status(), ask))
        call = Call(operation=operation, arguments=arguments, person=admitted.person, request_id=ask.request_id)
        reply = await self._service.call(call)
        status = self._node.status()
        return self._signed(await dialect.reply(operation, reply, status), status)

    async def _elsewhere(self, ask: Ask, person: Person, operation: Operation) -> Answer | None:
        """The leader's answer where another node leads; None where this node has to answer."""
        status = self._node.status()
        if not status.leads and status.leader_id is not None:
            answer = await self._forwarder.forward(ask, person, operation)
            if answer is not None:
                return answer
        if operation.writes and not await self._may_act():
            raise Unavailable("no leader is known now, so nothing was changed: ask again in a moment")
        return None

    async def _may_act(self) -> bool:
        """Whether this node may carry out a leader's work; a leader just elected is given a moment to be ready."""
        for _ in range(round(AUTHORITY_WAIT_S / LOOK_AGAIN_S)):
            if not self._node.status().leads or self._service.may_act:
                break
            await asyncio.sleep(LOOK_AGAIN_S)
        return self._service.may_act

    def _signed(self, answer: Answer, status: NodeStatus | None = None) -> Answer:
        """With the node, role and term that made it."""
        status = status or self._node.status()
        headers: Headers = (
            ("X-Node-ID", status.node_id),
            ("X-Raft-Role", status.role.value),
            ("X-Raft-Term", str(status.term)),
        )
        return answer.with_headers(headers)


def serve_forwarded(channel: Channel, front: Front) -> None:
    """Register the leader's side of forwarding."""
    forwarding.serve(channel, front.answer_forwarded)
