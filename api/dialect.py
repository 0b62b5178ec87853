"""What an answer has to look like: the one interface of the compatible and the native API.

Both carry out the same operations through the same handlers; they differ in how arguments come in and how values,
errors and unknown paths go out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from orchestrator_raft.core.errors import InvalidInput, OrchestratorError
from orchestrator_raft.engine.service import Reply
from orchestrator_raft.operations import Operation

from .exchange import Answer, Ask
from .node import NodeStatus
from .routing import Match

Raw = Mapping[str, str]


class Dialect(Protocol):
    """One way to speak."""

    def arguments(self, match: Match, ask: Ask) -> dict[str, str]:
        """Raw arguments by parameter name. Raises InvalidInput."""

    def wait_s(self, operation: Operation, ask: Ask) -> float:
        """For how many seconds the end of a long operation is waited for. Raises InvalidInput."""

    async def reply(self, operation: Operation, reply: Reply, node: NodeStatus) -> Answer:
        """A reply of the service."""

    def node_answer(self, operation: Operation, arguments: Raw, node: NodeStatus, ask: Ask) -> Answer:
        """What this node says of itself."""

    def failure(self, error: OrchestratorError) -> Answer:
        """An error that is fit to be shown."""

    def broken(self, request_id: str) -> Answer:
        """A defect of ours: no details for the caller, the request's id to find it in the log."""

    def not_found(self) -> Answer:
        """There is no such path."""

    def not_allowed(self, methods: tuple[str, ...]) -> Answer:
        """There is such a path, for other methods."""


def require_comment(operation: Operation, raw: Raw) -> None:
    """Raises InvalidInput when an acknowledgement has no comment, in the words that clients know."""
    if any(parameter.name == "comment" for parameter in operation.parameters) and not raw.get("comment", ""):
        raise InvalidInput("No acknowledge comment given")
