"""The native API's way to speak: JSON bodies in, values out, and problem+json (RFC 9457) for whatever went wrong."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping

import orjson

from orchestrator_raft.core.errors import (
    Changed,
    InvalidInput,
    OrchestratorError,
    Overloaded,
    Refused,
    ServerError,
    Unavailable,
)
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.topology import Cluster
from orchestrator_raft.engine.service import WAIT_S, Reply
from orchestrator_raft.operations import Operation

from ..access import Forbidden
from ..compat import text_topology
from ..compat.shown import Scene
from ..dialect import Raw, require_comment
from ..exchange import Answer, Ask
from ..node import NodeStatus
from ..repeats import LOCATION, OtherParameters
from ..routing import Match
from .values import Json, document, plain

PROBLEM = "application/problem+json"
SLICE = 25
STATUSES: tuple[tuple[type[OrchestratorError], int, str], ...] = (
    (Forbidden, 403, "Forbidden"),
    (OtherParameters, 422, "Request id used before"),
    (InvalidInput, 400, "Invalid input"),
    (Changed, 412, "Changed meanwhile"),
    (Overloaded, 503, "Unavailable"),
    (Refused, 409, "Refused"),
    (ServerError, 502, "A database server failed"),
    (Unavailable, 503, "Unavailable"),
)
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,6})(?:$|[,;\s])", re.IGNORECASE)
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


class NativeDialect:
    """The API of ``/api/v2``."""

    def __init__(self, url_prefix: str = "") -> None:
        self._root = f"{url_prefix}/api/v2"

    def arguments(self, match: Match, ask: Ask) -> dict[str, str]:
        """Parameters of the path, and the others from the query or, of a write, the JSON body.

        Raises InvalidInput for unknown ones, and for one that is given twice with different values.
        """
        operation = match.route.operation
        given = _once_each(ask.query, {} if ask.method in ("GET", "HEAD") else _body(ask))
        by_name = {_snake(each.name): each.name for each in operation.parameters if each.name not in match.parameters}
        unknown = sorted(set(given) - set(by_name))
        if unknown:
            known = ", ".join(by_name) or "none"
            raise InvalidInput(f"{operation.name} has no parameter '{unknown[0]}' here; it has: {known}")
        raw = {**{by_name[name]: text for name, text in given.items()}, **match.parameters}
        require_comment(operation, raw)
        return raw

    def wait_s(self, operation: Operation, ask: Ask) -> float:
        """A long operation is answered at once, or after at most ``Prefer: wait=SECONDS`` (RFC 7240)."""
        if not operation.takes_long:
            return WAIT_S
        found = _WAIT.search(ask.header("prefer"))
        return min(float(found[1]), WAIT_S) if found is not None else 0.0

    async def reply(self, operation: Operation, reply: Reply, node: NodeStatus) -> Answer:
        value = await self._value(operation, reply, node)
        if reply.under_way:
            followed = f"{self._root}/recoveries/{reply.under_way}"
            answer = _json({"message": reply.message, "follow": followed, "result": value}, status=202)
            return answer.with_headers(((LOCATION, followed), ("Retry-After", "1")))
        answer = _json({"message": reply.message, "result": value} if operation.writes else value)
        return answer if reply.version is None else answer.with_headers((("ETag", f'"{reply.version}"'),))

    async def _value(self, operation: Operation, reply: Reply, node: NodeStatus) -> Json:
        value = reply.value
        if operation.name == "topology" and isinstance(value, Cluster) and reply.moment is not None:
            return {"cluster": value.name, "text": text_topology.tree(value, Scene(reply.moment, node))}
        if isinstance(value, InstanceKey) or not isinstance(value, list | tuple):
            return document(value, reply.moment)
        items = []
        for position, item in enumerate(value, start=1):
            items.append(document(item, reply.moment))
            if position % SLICE == 0:
                await asyncio.sleep(0)
        return items

    def node_answer(self, operation: Operation, arguments: Raw, node: NodeStatus, ask: Ask) -> Answer:
        status = 503 if operation.name == "health" and node.problem else 200
        return _json(plain(node), status=status)

    def failure(self, error: OrchestratorError) -> Answer:
        for kind, status, title in STATUSES:
            if isinstance(error, kind):
                return problem(status, title, str(error))
        return problem(500, "Error", str(error))

    def broken(self, request_id: str) -> Answer:
        return problem(500, "Internal error", f"the log has it under request {request_id}")

    def not_found(self) -> Answer:
        return problem(404, "Not found", "there is no such path")

    def not_allowed(self, methods: tuple[str, ...]) -> Answer:
        allowed = ", ".join(methods)
        answer = problem(405, "Method not allowed", f"this path has: {allowed}")
        return answer.with_headers((("Allow", allowed),))


def problem(status: int, title: str, detail: str) -> Answer:
    body = orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
    return Answer(status=status, body=body, content_type=PROBLEM)


def _json(value: Json, *, status: int = 200) -> Answer:
    return Answer(status=status, body=orjson.dumps(value), content_type="application/json")


def _snake(name: str) -> str:
    return _CAPITAL.sub("_", name).lower()


def _once_each(query: Iterable[tuple[str, str]], body: Mapping[str, str]) -> dict[str, str]:
    """What query and body say together: neither is ignored. Raises InvalidInput where they contradict each other."""
    found = dict(body)
    for name, text in query:
        if found.setdefault(name, text) != text:
            raise InvalidInput(f"'{name}' is given twice, as '{found[name]}' and as '{text}', so nothing was done")
    return found


def _body(ask: Ask) -> dict[str, str]:
    """The body as texts by name. Raises InvalidInput for anything but an object of texts, numbers and booleans."""
    if not ask.body:
        return {}
    media_type = ask.header("content-type").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise InvalidInput(f"the body has to be application/json, this one is '{media_type}'")
    try:
        value = orjson.loads(ask.body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput("the body has to be a JSON object of parameters")
    return {name: _text(name, each) for name, each in value.items() if each is not None}


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise InvalidInput(f"'{name}' has to be a text, a number or a boolean")
