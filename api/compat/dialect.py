"""The compatible API's way to speak: parameters in path and query, Code, Message and Details, 200 or 500."""

from __future__ import annotations

from orchestrator_raft.core.errors import OrchestratorError
from orchestrator_raft.core.instance import UnreachableKind
from orchestrator_raft.engine.service import WAIT_S, NotKnown, NotReached, Reply
from orchestrator_raft.operations import Operation

from ..access import Forbidden, ForbiddenHere
from ..dialect import Raw, require_comment
from ..exchange import TEXT, Answer, Ask
from ..node import NodeStatus
from ..routing import Match
from .go import dump
from .health import ROUTES, Envelope
from .reply import body_of, envelope

NOT_FOUND = b"404 page not found\n"
NOT_ALLOWED = b"405 method not allowed\n"
NO_SNIFFING = (("X-Content-Type-Options", "nosniff"),)
FALSE_WHERE_EMPTY = frozenset({"skipProcesses", "unacknowledged"})
"""orchestrator's own flags; ours are set where they are named without a value."""
GO_WORDS = {
    UnreachableKind.UNRESOLVABLE: "no such host",
    UnreachableKind.NO_GREETING: "i/o timeout",
    UnreachableKind.QUERY_TIMEOUT: "i/o timeout",
    UnreachableKind.RESET: "connection reset by peer",
    UnreachableKind.REFUSED: "connection refused",
}
"""Words by which clients tell a server that is not ready yet from one that is set up wrongly."""


class CompatibleDialect:
    """As orchestrator's clients expect it."""

    def __init__(self, message_identity: str = "") -> None:
        self._identity = f"Orchestrator {message_identity} says: " if message_identity else ""

    def arguments(self, match: Match, ask: Ask) -> dict[str, str]:
        """Parameters of the path, and of the query those that the path has not; unknown ones are ignored."""
        query = ask.query_values
        operation = match.route.operation
        asked = {each.name: query[each.name] for each in operation.parameters if each.name in query}
        asked = {name: text for name, text in asked.items() if text or name not in FALSE_WHERE_EMPTY}
        raw = {**asked, **match.parameters}
        require_comment(operation, raw)
        return raw

    def wait_s(self, operation: Operation, ask: Ask) -> float:
        """As long as it takes, which clients expect."""
        return WAIT_S

    async def reply(self, operation: Operation, reply: Reply, node: NodeStatus) -> Answer:
        return Answer(status=200, body=await body_of(operation, reply, node, self._identity))

    def node_answer(self, operation: Operation, arguments: Raw, node: NodeStatus, ask: Ask) -> Answer:
        said = ROUTES[operation.name](node, arguments, ask)
        if not isinstance(said.value, Envelope):
            return Answer(status=said.status, body=dump(said.value))
        code = "OK" if said.status == 200 else "ERROR"
        body = envelope(code, self._identity + said.value.message, dump(said.value.details))
        return Answer(status=said.status, body=body)

    def failure(self, error: OrchestratorError) -> Answer:
        return self._error(_worded(error), status=403 if isinstance(error, ForbiddenHere) else 500)

    def broken(self, request_id: str) -> Answer:
        return self._error(f"Internal error: the log has it under request {request_id}")

    def _error(self, message: str, *, status: int = 500) -> Answer:
        return Answer(status=status, body=envelope("ERROR", self._identity + message))

    def not_found(self) -> Answer:
        return Answer(status=404, body=NOT_FOUND, content_type=TEXT, headers=NO_SNIFFING)

    def not_allowed(self, methods: tuple[str, ...]) -> Answer:
        headers = (*NO_SNIFFING, ("Allow", ", ".join(methods)))
        return Answer(status=405, body=NOT_ALLOWED, content_type=TEXT, headers=headers)


def _worded(error: OrchestratorError) -> str:
    """The error's text, with the words that clients look for where a name or a server was not found."""
    if isinstance(error, NotKnown | Forbidden):
        return error.peers
    text = str(error)
    words = GO_WORDS.get(error.unreachable.kind, "") if isinstance(error, NotReached) else ""
    return text if words in text else f"{text} ({words})"
