"""Claims that rebuild quarantined servers by themselves, where people want that (RebuildQuarantinedReplicas).

One server of a cluster at a time, only once its transactions are in a file, and each seldom: a copy that failed is more
likely to fail again than not, and moves all data each time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.model import Recovery, Request
from orchestrator_raft.core.recovery.rebuild import DEADLINE_MS, REBUILD, donor_for, waiting
from orchestrator_raft.core.replicated.claims import refuse_claim
from orchestrator_raft.core.replicated.commands import ClaimRecovery
from orchestrator_raft.core.topology import Cluster, Server
from orchestrator_raft.engine.proposals import Proposals, new_id
from orchestrator_raft.engine.subjects import new_recovery, subject_of
from orchestrator_raft.engine.view import Moment

Work = Coroutine[Any, Any, object]
AGAIN_S = 6 * 3600.0
CODE = "ServerRebuilt"
TEXT = "A server that is kept out gets a copy of the cluster's data"


class Rebuilds:
    """Knows which servers were tried when; one a term."""

    def __init__(self, term: int, proposals: Proposals, *, on_claimed: Callable[[], None]) -> None:
        self._term = term
        self._proposals = proposals
        self._on_claimed = on_claimed
        self._tried_at_s: dict[InstanceKey, float] = {}

    def due(self, moment: Moment) -> Iterator[tuple[str, Work]]:
        """One claim a cluster."""
        if not moment.policy.rebuild_quarantined:
            return
        self._tried_at_s = {key: at_s for key, at_s in self._tried_at_s.items() if moment.now_s - at_s < AGAIN_S}
        for cluster in moment.topology.clusters.values():
            if not moment.policy.recover_primary.match(cluster.name, cluster.alias):
                continue
            found = waiting(moment.topology, cluster.id, moment.policy)
            server = next((each for each in found if each.key not in self._tried_at_s), None)
            recovery = self._new(server, cluster, moment) if server is not None else None
            if server is not None and recovery is not None and refuse_claim(moment.state, recovery, 0) is None:
                self._tried_at_s[server.key] = moment.now_s
                yield f"rebuild {cluster.name}", self._claim(recovery)

    def _new(self, server: Server, cluster: Cluster, moment: Moment) -> Recovery:
        request = Request(designated=donor_for(moment.topology, server, moment.policy))
        return rebuilding(server, cluster, moment, request, recovery_id=new_id(), holder=self._proposals.node_id,
                          term=self._term)  # fmt: skip

    async def _claim(self, recovery: Recovery) -> None:
        result = await self._proposals.propose(ClaimRecovery, recovery=recovery, block_ms=0)
        if result.ok:
            self._on_claimed()


def rebuilding(
    server: Server, cluster: Cluster, moment: Moment, request: Request, *, recovery_id: str, holder: str, term: int
) -> Recovery:
    """The recovery that replaces this server's data by that of ``request.designated``."""
    evidence = (f"its data is replaced by a copy of {request.designated}'s",)
    subject = subject_of(server, cluster, moment, code=CODE, text=TEXT, evidence=evidence)
    made = new_recovery(
        REBUILD.name, subject, cluster.id, moment, recovery_id=recovery_id, holder=holder, term=term, request=request
    )
    return replace(made, deadline_ms=moment.now_ms + DEADLINE_MS)
