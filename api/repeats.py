"""A write that comes again is answered again, not done again (design D8).

The same (principal, operation, parameters, ``X-Request-ID``) within a day gets the first answer, from any node; while
the first is still under way, both get its answer. The native API refuses the same id with other parameters; on the
compatible one that is another request, as it is with the peers. Only an id that the client chose counts. ``If-Match``
is one of the parameters. What a node does to itself is done once on each node that is asked.

What is not kept, because it may turn out differently next time and nothing was done: bad input, no right, nobody who
can answer, a policy that is of another version by now. If the leader dies before an answer is kept, the request that
comes again is carried out again; the ids inside are derived from the request, so what was done before is recognised
(``engine.proposals.derived_id``).
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from orchestrator_raft.core.errors import (
    Changed,
    InvalidInput,
    OrchestratorError,
    Overloaded,
    Refused,
    ServerError,
    Unavailable,
)
from orchestrator_raft.core.replicated.state import KeptAnswer
from orchestrator_raft.core.replicated.visitors import ANSWER_BYTES_MAX
from orchestrator_raft.engine.service import Person, Service
from orchestrator_raft.operations import Where

from . import versions
from .access import Forbidden
from .exchange import Answer, Ask
from .routing import Match

REPLAYED = ("X-Request-Replayed", "true")
LOCATION = "Location"
OF_THE_CLUSTER = frozenset({
    "raft-add-peer", "raft-remove-peer", "raft-replace-peer", "raft-yield", "raft-yield-hint",
})  # fmt: skip
"""Any node does these itself, to the cluster: done on one, they are done."""


class OtherParameters(InvalidInput):
    """The same request id with other parameters."""


@dataclass(frozen=True, slots=True)
class Intention:
    """What somebody asks for, recognisable when it comes again."""

    key: str
    parameters: str
    is_native: bool

    @property
    def name(self) -> str:
        """For ids of what is done on the way."""
        return f"{self.key}/{self.parameters}"


def intention(ask: Ask, match: Match, raw: Mapping[str, str], person: Person, node_id: str) -> Intention | None:
    """None for a request that cannot be recognised or repeated: a read, one for a secret, one without a chosen id.

    Raises InvalidInput for an ``If-Match`` that says nothing.
    """
    route = match.route
    if not route.operation.writes or route.operation.secret or not ask.repeatable:
        return None
    version = versions.wanted(ask, match)
    counting = dict(raw) if version is None else {**raw, "If-Match": version}
    parameters = _digest(json.dumps(counting, sort_keys=True))
    scope = [person.name, route.operation.name, route.is_native, ask.request_id]
    if route.operation.where is Where.HERE and route.operation.name not in OF_THE_CLUSTER:
        scope.append(node_id)
    key = scope if route.is_native else [*scope, parameters]
    return Intention(_digest(json.dumps(key)), parameters, route.is_native)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


Perform = Callable[[], Awaitable[Answer]]
Show = Callable[[OrchestratorError], Answer]


class Repeats:
    """Recognises requests that come again."""

    def __init__(self, service: Service, on_unkept: Callable[[str, BaseException], None]) -> None:
        self._service = service
        self._on_unkept = on_unkept
        self._running: dict[str, tuple[str, asyncio.Future[Answer]]] = {}

    async def once(self, wanted: Intention, ask: Ask, person: Person, perform: Perform, show: Show) -> Answer:
        """The answer of ``perform``, or the one that was given before."""
        known = self._service.kept_answer(wanted.key)
        if known is not None:
            _require_same(wanted, known.parameters, ask)
            return _replayed(known)
        running = self._running.get(wanted.key)
        if running is not None:
            _require_same(wanted, running[0], ask)
            return (await asyncio.shield(running[1])).with_headers((REPLAYED,))
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._running[wanted.key] = wanted.parameters, future
        try:
            answer = await self._first(wanted, ask, person, perform, show)
            future.set_result(answer)
            return answer
        except BaseException as error:
            told = error if isinstance(error, OrchestratorError) else Unavailable("the first of these requests failed")
            future.set_exception(told)
            future.exception()  # told to whoever waits; nobody has to
            raise
        finally:
            del self._running[wanted.key]

    async def _first(self, wanted: Intention, ask: Ask, person: Person, perform: Perform, show: Show) -> Answer:
        try:
            answer = await perform()
        except (Forbidden, Overloaded, Changed):
            raise
        except (Refused, ServerError) as error:
            answer = show(error)
        await self._keep(wanted, ask, person, answer)
        return answer

    async def _keep(self, wanted: Intention, ask: Ask, person: Person, answer: Answer) -> None:
        body = answer.body if answer.is_gzipped else gzip.compress(answer.body, compresslevel=6, mtime=0)
        if len(body) > ANSWER_BYTES_MAX:
            return
        location = next((value for name, value in answer.headers if name == LOCATION), "")
        kept = KeptAnswer(
            parameters=wanted.parameters, at_ms=0, status=answer.status, content_type=answer.content_type, body=body,
            location=location,
        )  # fmt: skip
        try:
            await self._service.keep_answer(wanted.key, kept, by=person.name, request_id=ask.request_id)
        except Unavailable as error:
            self._on_unkept(ask.request_id, error)


def _require_same(wanted: Intention, parameters: str, ask: Ask) -> None:
    if wanted.parameters != parameters:
        raise OtherParameters(
            f"request {ask.request_id} was made before with other parameters, so nothing was done: take a new id"
        )


def _replayed(known: KeptAnswer) -> Answer:
    headers = (REPLAYED, (LOCATION, known.location)) if known.location else (REPLAYED,)
    return Answer(
        status=known.status, body=known.body, content_type=known.content_type, headers=headers, is_gzipped=True
    )
