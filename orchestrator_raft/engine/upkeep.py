"""Claims for upkeep: servers that drifted from what they should be, one at a time and never in a hurry.

A deviation has to last a moment, so that what a change of primary or a restart shows on its way is not taken for one.
A server that is put right over and over (somebody else wants it otherwise) is left alone for longer each time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.recovery.upkeep import Chore, due
from orchestrator_raft.core.replicated.claims import refuse_claim
from orchestrator_raft.core.replicated.commands import ClaimRecovery
from orchestrator_raft.core.topology import Cluster
from orchestrator_raft.engine.proposals import Proposals, new_id
from orchestrator_raft.engine.subjects import new_recovery, subject_of
from orchestrator_raft.engine.view import Moment

SETTLE_S = 2.0
RETRY_S = 30.0
RETRY_MAX_S = 3600.0
CODE = "DesiredState"


@dataclass(frozen=True, slots=True)
class _Tried:
    count: int
    at_s: float

    @property
    def again_at_s(self) -> float:
        return self.at_s + min(RETRY_MAX_S, RETRY_S * 2.0 ** (self.count - 1))


class Upkeep:
    """Makes these claims in the name of one term's leader."""

    def __init__(self, node_id: str, term: int, proposals: Proposals, *, on_claimed: Callable[[], None]) -> None:
        self._node_id = node_id
        self._term = term
        self._proposals = proposals
        self._on_claimed = on_claimed
        self._since_s: dict[tuple[str, InstanceKey, str], float] = {}
        self._tried: dict[InstanceKey, _Tried] = {}

    def claim(self, cluster: Cluster, moment: Moment) -> Coroutine[Any, Any, object] | None:
        """The claim for one server of the cluster that is not as it should be, if its time has come."""
        found = due(moment.topology, cluster, moment.policy)
        current = {(cluster.id, key, chore.name): (key, chore, text) for key, chore, text in found}
        for gone in [each for each in self._since_s if each[0] == cluster.id and each not in current]:
            del self._since_s[gone]
        for name, (key, chore, text) in current.items():
            since_s = self._since_s.setdefault(name, moment.now_s)
            if moment.now_s - since_s >= SETTLE_S and self._may_try(key, moment.now_s):
                recovery = self._new(key, chore, text, cluster, moment)
                if refuse_claim(moment.state, recovery, 0) is None:
                    return self._claim(recovery, moment.now_s)
        return None

    def _may_try(self, key: InstanceKey, now_s: float) -> bool:
        tried = self._tried.get(key)
        return tried is None or tried.again_at_s <= now_s

    def _new(self, key: InstanceKey, chore: Chore, text: str, cluster: Cluster, moment: Moment) -> Recovery:
        server = moment.topology.server(key)
        subject = subject_of(server, cluster, moment, code=CODE, text=chore.text, evidence=(text,))
        return new_recovery(
            chore.kind, subject, cluster.id, moment, recovery_id=new_id(), holder=self._node_id, term=self._term
        )

    async def _claim(self, recovery: Recovery, now_s: float) -> None:
        result = await self._proposals.propose(ClaimRecovery, recovery=recovery, block_ms=0)
        if result.ok:
            before = self._tried.get(recovery.subject.key)
            is_again = before is not None and now_s < before.again_at_s + RETRY_MAX_S
            self._tried[recovery.subject.key] = _Tried(before.count + 1 if before and is_again else 1, now_s)
            self._on_claimed()
