"""Claims that make a replica tell: on doubt it has to connect to its source anew (D3.5; RestartReceiversOnDoubt).

No node reaches the primary, and replicas say they hear it: their connections may be older than its death, and with a
long heartbeat they would say so for half a minute. So after a while the receiver of one of them is stopped and started.
If it connects, the primary lives, and nothing more is asked for a minute. If it does not, the next one is asked. One at
a time, so that a living primary never lacks more than one acknowledging replica, and only for a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from orchestrator_raft.core.analysis.doubt import hearing_in_doubt
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.recovery.reconnect import RECONNECT
from orchestrator_raft.core.replicated.claims import refuse_claim
from orchestrator_raft.core.replicated.commands import ClaimRecovery
from orchestrator_raft.core.topology import Cluster, Server
from orchestrator_raft.engine.proposals import Proposals, new_id
from orchestrator_raft.engine.subjects import new_recovery, subject_of
from orchestrator_raft.engine.view import Moment
from orchestrator_raft.engine.witness import Witnesses

Work = Coroutine[Any, Any, object]
PATIENCE_S = 5.0
"""So long the leader must not have reached it: a pause of it, or the end of a short heartbeat period, comes before."""
AGAIN_S = 60.0
CODE = "ReplicaInDoubt"
TEXT = "No node reaches the primary, and this replica says that it hears it"


class Doubts:
    """Knows which primaries are in doubt, since when, and who was asked; one a term."""

    def __init__(
        self, term: int, proposals: Proposals, witnesses: Witnesses, *, on_claimed: Callable[[], None]
    ) -> None:
        self._term = term
        self._proposals = proposals
        self._witnesses = witnesses
        self._on_claimed = on_claimed
        self._since_s: dict[InstanceKey, float] = {}
        self._asked_at_s: dict[InstanceKey, float] = {}

    def due(self, moment: Moment) -> Iterator[tuple[str, Work]]:
        """One replica of each primary in doubt, if it is time to ask."""
        if not moment.policy.restart_on_doubt:
            return
        lost = {cluster.id: primary for cluster in moment.topology.clusters.values()
                if (primary := _lost_primary(cluster, moment)) is not None}  # fmt: skip
        out_of_reach = {primary.key for primary in lost.values()}
        self._since_s = {key: self._since_s.get(key, moment.now_s) for key in out_of_reach}
        self._asked_at_s = {key: at_s for key, at_s in self._asked_at_s.items() if moment.now_s - at_s < AGAIN_S}
        for cluster_id, primary in sorted(lost.items()):
            cluster = moment.topology.clusters[cluster_id]
            if moment.now_s - self._since_s[primary.key] < PATIENCE_S:
                continue
            work = self._claim(cluster, primary, moment)
            if work is not None:
                yield f"doubt {cluster.name}", work

    def _claim(self, cluster: Cluster, primary: Server, moment: Moment) -> Work | None:
        eyes = self._witnesses.eyes(primary.key)
        hearing = hearing_in_doubt(moment.topology, primary, eyes, moment.policy)
        if not hearing or any(each.key in self._asked_at_s for each in hearing):
            return None  # no doubt; or one was asked and hears it: the primary lives, or has not told yet
        chosen = hearing[0]
        evidence = (f"no node reaches {primary.key}", f"{chosen.key} says that it hears it")
        subject = subject_of(chosen, cluster, moment, code=CODE, text=TEXT, evidence=evidence)
        recovery = new_recovery(
            RECONNECT.name, subject, cluster.id, moment,
            recovery_id=new_id(), holder=self._proposals.node_id, term=self._term,
        )  # fmt: skip
        if refuse_claim(moment.state, recovery, 0) is not None:
            return None
        self._asked_at_s[chosen.key] = moment.now_s
        return self._propose(recovery)

    async def _propose(self, recovery: Recovery) -> None:
        result = await self._proposals.propose(ClaimRecovery, recovery=recovery, block_ms=0)
        if result.ok:
            self._on_claimed()


def _lost_primary(cluster: Cluster, moment: Moment) -> Server | None:
    """The primary of a cluster that people gave to us, while this leader does not reach it."""
    primary = moment.topology.primary_of(cluster.id)
    wanted = moment.policy.recover_primary.match(cluster.name, cluster.alias)
    if primary is None or primary.observation is None or primary.reached or primary.answers or not wanted:
        return None
    return primary
