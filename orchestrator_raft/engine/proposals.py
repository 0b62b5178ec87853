"""Making commands: ids and time go in here, so that nothing below has to draw them.

Also the one place where the engine decides how long a proposal may take.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, TypeVar

from orchestrator_raft.core.replicated import Command, Result
from orchestrator_raft.ports import Clock, Consensus

PROPOSAL_TIMEOUT_S = 5.0
C = TypeVar("C", bound=Command)


def new_id() -> str:
    """A random id, unique without asking anybody."""
    return secrets.token_hex(12)


def derived_id(intention: str, what: str) -> str:
    """The same id each time for the same part of the same intention; a random one where that has no name.

    So what a person asks for again under the same request id is recognised by ``apply``, also when the leader that
    began it is gone.
    """
    return hashlib.sha256(f"{intention}/{what}".encode()).hexdigest()[:24] if intention else new_id()


class Proposals:
    """Proposes commands in this node's name."""

    def __init__(self, consensus: Consensus, clock: Clock) -> None:
        self._consensus = consensus
        self._clock = clock

    @property
    def node_id(self) -> str:
        return self._consensus.node_id

    def make(self, kind: type[C], *, by: str = "", request_id: str = "", intention: str = "", **fields: Any) -> C:
        """A command of this kind, now; with a fresh id unless it is part of an intention that may come again."""
        return kind(
            id=derived_id(intention, kind.__name__),
            at_ms=self._clock.wall_ms(),
            by=by or self._consensus.node_id,
            request_id=request_id,
            **fields,
        )

    async def propose(self, kind: type[Command], **fields: Any) -> Result:
        """``make`` and propose; the result of ``apply``. Raises Unavailable when the outcome is not known in time."""
        command = self.make(kind, **fields)
        return await self._consensus.propose(command, timeout_s=PROPOSAL_TIMEOUT_S)
