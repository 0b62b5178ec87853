"""``Front``: from a request to an answer, whoever carries either.

The order is the same for every path: who asks (401), which operation (404, 405), may they (Unauthorized), does a page
of another site make them (403), where does it run: here, or on the leader. Errors of ``core.errors`` are shown in the
words of the dialect; anything else is a defect of ours, which is reported through ``on_error`` with the request's id
and answered without details.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from orchestrator_raft.core.errors import InvalidInput, OrchestratorError, Refused, Unavailable
from orchestrator_raft.engine.service import Call, Person, Service, is_bound, parse_flag, typed_arguments
from orchestrator_raft.operations import LEFT_OUT, Operation, Where
from orchestrator_raft.ports import Channel
from orchestrator_raft.tasks import Tasks

from . import access, anonymous, events, forwarding, health, metrics, openapi, paging, tokens, versions
from .access import Admitted, Forbidden
from .compat.dialect import CompatibleDialect
from .dialect import Dialect
from .events import Events, Stream
from .exchange import Answer, Ask, Headers
from .frames import Forwarded, NotLeading
from .gate import Gate, OnError
from .native.dialect import NativeDialect
from .node import NodeStatus, NodeView
from .page import WebPage
from .repeats import Repeats, intention
from .routing import Match, Router, native_root, routes
from .settings import ApiSettings

log = logging.getLogger("orchestrator_raft.api")
AUTHORITY_WAIT_S = 2.0
VIA = "X-Via-Node-ID"
LOOK_AGAIN_S = 0.02
NODE_ANSWERED = frozenset({"routed-leader-check"})
"""Operations of the leader that the node's own status answers."""
Raw = Mapping[str, str]
Own = Callable[[Ask, Raw], Answer | Stream | Awaitable[Answer]]


class Front:
    """The HTTP side of a node without its web server."""

    def __init__(
        self, settings: ApiSettings, service: Service, node: NodeView, channel: Channel, *, on_error: OnError
    ) -> None:
        self._settings = settings
        self._service = service
        self._node = node
        self._gate = Gate(settings, service, on_error)
        self._forwarder = forwarding.Forwarder(channel, node)
        self._on_error = on_error
        self._writes = Tasks("forwarded writes", lambda name, error: on_error("", name, error))
        self._events = Events(service, lambda name, error: on_error("", name, error))
        self._repeats = Repeats(service, lambda request_id, error: on_error(request_id, "keep an answer", error))
        self._router = Router(routes(settings))
        self._pages = openapi.Pages(settings, self._router.routes)
        self._page = WebPage(settings)
        self._compatible: Dialect = CompatibleDialect(settings.message_identity)
        self._native: Dialect = NativeDialect(settings.url_prefix)
        self._native_root = native_root(settings)
        self._own: dict[str, Own] = {
            **{name: self._check_of(name) for name in health.CHECKS},
            "metrics": lambda _ask, _raw: asyncio.to_thread(
                metrics.prometheus, self._health_scene(), self._service.figures
            ),
            "debug-metrics": lambda _ask, _raw: metrics.debug(self._health_scene(), self._service.figures),
            "events": self._open_stream,
            "openapi": lambda _ask, _raw: self._pages.specification,
            "api-page": lambda _ask, _raw: self._pages.page,
        }

    @property
    def settings(self) -> ApiSettings:
        return self._settings

    async def answer(self, ask: Ask) -> Answer | Stream:
        """The answer to a client. Never raises but for cancellation."""
        admitted = await self._gate.admit(ask)
        if isinstance(admitted, Answer):
            return self._signed(admitted)
        return await self._answer(ask, admitted, forwarded=False)

    async def answer_forwarded(self, forwarded: Forwarded) -> Answer | NotLeading:
        """The leader's side: the person was admitted by the node that was asked.

        A write that has begun goes on when the connection to that node breaks, as it does when a client goes away.
        """
        ready = await self._may_act() if self._is_write(forwarded.ask) else self._node.status().leads
        if not ready:
            return NotLeading(f"node {self._node.status().node_id} does not lead")
        person = Person(forwarded.person.name, forwarded.person.may_write and not self._settings.read_only)
        answering = self._answered(forwarded.ask, Admitted(person))
        if not self._is_write(forwarded.ask):
            return await answering
        return await asyncio.shield(self._writes.start(f"forwarded {forwarded.ask.path}", answering))

    async def _answered(self, ask: Ask, admitted: Admitted) -> Answer:
        answer = await self._answer(ask, admitted, forwarded=True)
        if isinstance(answer, Stream):
            raise AssertionError("a stream is made by the node that is asked for it")
        return answer

    async def end_streams(self) -> None:
        """End what would go on for ever, so that the web server can stop."""
        await self._events.close()

    async def close(self) -> None:
        """End the streams and the forwarded writes that are still under way."""
        await self._events.close()
        await self._writes.close()

    def _is_write(self, ask: Ask) -> bool:
        routes = [match.route for match in self._router.match(ask.path)]
        return any(route.operation.writes and ask.method in route.methods for route in routes)

    async def _answer(self, ask: Ask, admitted: Admitted, *, forwarded: bool) -> Answer | Stream:
        dialect = self._native if ask.path.startswith(self._native_root) else self._compatible
        matches = self._router.match(ask.path)
        if not matches:
            return self._signed(self._page.answer(ask) or dialect.not_found())
        match = next((each for each in matches if ask.method in each.route.methods), None)
        if match is None:
            methods = tuple(sorted({method for each in matches for method in each.route.methods}))
            return self._signed(dialect.not_allowed(methods))
        answer = await self._attempted(ask, match, admitted, forwarded=forwarded)
        if not anonymous.is_asked(ask, match.route.operation):
            return answer
        return await self._anonymized(answer, admitted.person)

    async def _anonymized(self, answer: Answer | Stream, person: Person) -> Answer | Stream:
        """With names replaced, unless the leader has done so."""
        if isinstance(answer, Stream) or any(name == VIA for name, _ in answer.headers):
            return answer
        status = self._node.status()
        return await asyncio.to_thread(anonymous.answer_without_names, answer, self._service.state, status, person.name)

    async def _attempted(self, ask: Ask, match: Match, admitted: Admitted, *, forwarded: bool) -> Answer | Stream:
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
    ) -> Answer | Stream:
        operation = match.route.operation
        if operation.writes and not operation.admits:
            self._check_write(ask, match, admitted, forwarded=forwarded)
        raw = dialect.arguments(match, _known(ask, match))
        own = self._own.get(operation.name)
        if own is not None:
            said = own(ask, raw)
            answer = await said if isinstance(said, Awaitable) else said
            return answer if isinstance(answer, Stream) else self._signed(answer)
        if operation in LEFT_OUT:
            raise Refused(operation.help)
        if operation.where is Where.HERE and not is_bound(operation):
            return self._signed(dialect.node_answer(operation, raw, self._node.status(), ask))
        typed_arguments(operation, raw)
        if not forwarded and operation.where is Where.LEADER:
            elsewhere = await self._elsewhere(ask, admitted.person, operation)
            if elsewhere is not None:
                return elsewhere.with_headers(((VIA, self._node.status().node_id),))
        if operation.name in NODE_ANSWERED:
            return self._signed(dialect.node_answer(operation, raw, self._node.status(), ask))
        return await self._once(ask, match, dialect, admitted.person, raw)

    def _check_write(self, ask: Ask, match: Match, admitted: Admitted, *, forwarded: bool) -> None:
        """Raises Forbidden. Where a page comes from and how it asks was looked at by the node that was asked."""
        if not admitted.person.may_write:
            raise Forbidden(admitted.why_not_write)
        if not forwarded:
            access.check_site(ask)
            if not match.route.is_native:
                access.check_get(self._settings, ask)

    async def _once(self, ask: Ask, match: Match, dialect: Dialect, person: Person, raw: Raw) -> Answer:
        """Here, now; or the answer that this very request has had before."""
        wanted = intention(ask, match, raw, person, self._node.status().node_id)
        operation = match.route.operation
        call = Call(
            operation=operation, arguments=typed_arguments(operation, raw), person=person, request_id=ask.request_id,
            intention=wanted.name if wanted is not None else "", wait_s=dialect.wait_s(operation, ask),
            if_version=versions.wanted(ask, match),
        )  # fmt: skip

        async def perform() -> Answer:
            return await self._perform(ask, match, dialect, call)

        if wanted is None:
            return await perform()

        def show(error: OrchestratorError) -> Answer:
            return self._signed(dialect.failure(error))

        return await self._repeats.once(wanted, ask, person, perform, show)

    async def _perform(self, ask: Ask, match: Match, dialect: Dialect, call: Call) -> Answer:
        operation = call.operation
        if operation.writes:
            log.info("%s asks for %s (%s)", call.person.name or "somebody", operation.name, ask.path)
        reply = await self._service.call(call)
        if operation.name == tokens.OPERATION and not match.route.is_native:
            return self._signed(tokens.taken(str(reply.value), self._settings, ask))
        status = self._node.status()
        reply, headers = paging.portion(ask, reply) if paging.is_paged(match) else (reply, ())
        return self._signed((await dialect.reply(operation, reply, status)).with_headers(headers), status)

    def _check_of(self, name: str) -> Own:
        return lambda _ask, raw: health.answer(name, self._health_scene(), raw)

    def _health_scene(self) -> health.Scene:
        sight = self._service.sight
        return health.Scene(
            node=self._node.status(), state=self._service.state, seen=sight.newest, seen_age_s=sight.age_s,
            without_quorum_s=sight.without_quorum_s, settings=self._settings,
            lag_reasonable_s=self._service.lag_reasonable_s,
        )  # fmt: skip

    def _open_stream(self, ask: Ask, raw: Raw) -> Answer | Stream:
        if ask.method == "HEAD":
            return Answer(status=200, body=b"", content_type=events.CONTENT_TYPE)
        servers = parse_flag("servers", raw.get("servers", "false"))
        return self._events.open(ask, raw.get("cluster", ""), raw.get("lastEventId", ""), servers=servers)

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


def _known(ask: Ask, match: Match) -> Ask:
    """The request without what is dealt with here. Raises InvalidInput for what cannot be had."""
    if anonymous.is_asked(ask, match.route.operation):
        if match.route.operation.name == "events":
            raise InvalidInput("the stream of events has names (anonymize): read the audit trail instead")
        if paging.is_paged(match) and paging.is_asked(ask):
            raise InvalidInput("a list is had in portions (limit, after) or anonymised, not both: portions go by names")
    bare = ask if match.route.operation.writes else anonymous.without_switch(ask)
    return paging.without_portion(bare) if paging.is_paged(match) else bare


def serve_forwarded(channel: Channel, front: Front) -> None:
    """Register the leader's side of forwarding."""
    forwarding.serve(channel, front.answer_forwarded)
