"""``Service.call``: from an operation's name to its handler.

Any node has a service. Reading works from any node's own replicated state; what needs the leader's eyes or hands raises
Unavailable elsewhere, and ``api`` forwards such calls before they get here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from orchestrator_raft.core.errors import Refused, Unavailable
from orchestrator_raft.core.replicated import State
from orchestrator_raft.core.replicated.commands import KeepAnswer
from orchestrator_raft.core.replicated.state import KeptAnswer
from orchestrator_raft.core.replicated.visitors import kept_answer
from orchestrator_raft.engine.figures import Figures
from orchestrator_raft.engine.inventory import Inventory
from orchestrator_raft.engine.leadership import Engine, EngineSettings, Leader, Outside
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.service import (
    hooks,
    moves,
    node_reads,
    overview,
    policies,
    publishing,
    questions,
    raft,
    reads,
    recoveries,
    returns,
    servers,
    tokens,
)
from orchestrator_raft.engine.service.calls import Call, Reply
from orchestrator_raft.engine.sight import Sight
from orchestrator_raft.engine.view import Moment, Viewer
from orchestrator_raft.operations import OPERATION_BY_NAME, Operation
from orchestrator_raft.ports import RaftAdmin, Reloaded

Handler = Callable[[Call, "Desk"], Awaitable[Reply]]


class Reload(Protocol):
    """Reads the configuration again. Raises InvalidInput with everything that is wrong in it."""

    @property
    def files(self) -> tuple[str, ...]:
        """What it reads."""

    def __call__(self) -> Reloaded: ...


class Desk:
    """What handlers work with."""

    def __init__(self, outside: Outside, engine: Engine, admin: RaftAdmin, reload: Reload | None) -> None:
        self.outside = outside
        self.raft = admin
        self.reload = reload
        self._engine = engine
        self._bystander = Viewer(outside.consensus, Inventory(), engine.settings.policy, outside.clock)

    @property
    def settings(self) -> EngineSettings:
        """Those of now: the policy is another one when the configuration was read again."""
        return self._engine.settings

    @property
    def leads(self) -> bool:
        return self._engine.leader is not None

    @property
    def may_act(self) -> bool:
        leader, authority = self._engine.leader, self.outside.consensus.authority()
        return leader is not None and authority is not None and authority.term == leader.term

    def leader(self) -> Leader:
        """The leader's parts. Raises Unavailable on a node that does not lead or may not act now."""
        leader = self._engine.leader
        if leader is None or not self.may_act:
            raise Unavailable("this node does not lead: ask the leader, or ask again when one is elected")
        return leader

    @property
    def sight(self) -> Sight:
        return self._engine.sight

    @property
    def figures(self) -> Figures:
        return self._engine.figures

    def moment_ms(self) -> int:
        """Replicated time as far as known."""
        return max(self.outside.consensus.state.time_ms, self.outside.clock.wall_ms())

    def moment(self) -> Moment:
        """The leader's view, or on another node the replicated one, without observations."""
        leader = self._engine.leader
        self._bystander.policy = self.settings.policy
        return leader.viewer.moment() if leader is not None else self._bystander.moment()


class Service:
    """All operations of a node."""

    def __init__(self, outside: Outside, engine: Engine, admin: RaftAdmin, *, reload: Reload | None = None) -> None:
        self.desk = Desk(outside, engine, admin, reload)

    @property
    def may_act(self) -> bool:
        """Whether this node can carry out a leader's work now: it leads, with live authority."""
        return self.desk.may_act

    async def call(self, call: Call) -> Reply:
        """Carry out one operation. Raises the errors of ``core.errors``."""
        if call.operation.writes and not (call.person.may_write or call.operation.admits):
            raise Refused("Unauthorized")
        handler = HANDLERS.get(call.operation.name)
        if handler is None:
            raise Refused(f"{call.operation.name} is answered elsewhere")
        return await handler(call, self.desk)

    @property
    def state(self) -> State:
        return self.desk.outside.consensus.state

    @property
    def sight(self) -> Sight:
        """What the leader sees right now."""
        return self.desk.sight

    @property
    def figures(self) -> Figures:
        """Of this node's probes."""
        return self.desk.figures

    @property
    def lag_reasonable_s(self) -> float:
        return self.desk.settings.policy.lag_reasonable_s

    def changes(self) -> AsyncIterator[None]:
        """Yields whenever the replicated state may have changed."""
        return self.desk.outside.consensus.changes()

    def token_owner(self, token: str) -> str | None:
        """Whose access token this is; None if it is not valid now."""
        return tokens.owner_of(self.state, token, self.desk.moment_ms())

    def kept_answer(self, key: str) -> KeptAnswer | None:
        """What the request with this key was answered with, within the last day."""
        return kept_answer(self.state, key, self.desk.moment_ms())

    async def keep_answer(self, key: str, answer: KeptAnswer, *, by: str, request_id: str) -> None:
        """Have all nodes keep it. Raises Unavailable when that is not known to have been done."""
        proposals = Proposals(self.desk.outside.consensus, self.desk.outside.clock)
        await proposals.propose(
            KeepAnswer, by=by, request_id=request_id, key=key, parameters=answer.parameters, status=answer.status,
            content_type=answer.content_type, location=answer.location, body=answer.body,
        )  # fmt: skip


HANDLERS: dict[str, Handler] = {
    **hooks.HANDLERS,
    **moves.HANDLERS,
    **node_reads.HANDLERS,
    **overview.HANDLERS,
    **policies.HANDLERS,
    **publishing.HANDLERS,
    **questions.HANDLERS,
    **raft.HANDLERS,
    **reads.HANDLERS,
    **recoveries.HANDLERS,
    **returns.HANDLERS,
    **servers.HANDLERS,
    **tokens.HANDLERS,
}


def is_bound(operation: Operation) -> bool:
    """Whether there is a handler for it; the rest is answered from the node's own status."""
    return operation.name in HANDLERS


UNBOUND = sorted(name for name in HANDLERS if name not in OPERATION_BY_NAME)
if UNBOUND:
    raise AssertionError(f"handlers without a row in operations: {UNBOUND}")
