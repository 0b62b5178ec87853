"""Have the replicas caught up with what their primary acknowledged before the promise was made?

Theory in ``core/candidates``: ``promise`` and ``sights``. The leader remembers what the primary had when it was first
seen with semi-sync in force and without acknowledgements of strangers, and looks for possible ackers that have all of
it. A primary that is written to is always ahead of what was read of its replicas, so it is that first sight which
counts, not the newest one.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

from orchestrator_raft.core.candidates import (
    SETTLE_S,
    Sight,
    described,
    has_caught_up,
    semi_sync_promises,
    sighted,
)
from orchestrator_raft.core.replicated.commands import ConfirmCaughtUp
from orchestrator_raft.core.topology import Cluster
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.view import Moment

Work = Coroutine[Any, Any, object]


class CatchingUp:
    """Confirms, once for each lapse; one a term."""

    def __init__(self, proposals: Proposals) -> None:
        self._proposals = proposals
        self._sights: dict[str, Sight] = {}

    def due(self, moment: Moment) -> Iterator[tuple[str, Work]]:
        """Confirmations that are not yet committed, by name."""
        self._sights = {
            cluster.id: sight
            for cluster in moment.topology.clusters.values()
            if not cluster.record.caught_up and (sight := self._sight(cluster, moment)) is not None
        }
        for cluster_id, sight in self._sights.items():
            record = moment.topology.clusters[cluster_id].record
            if sight.gtids is not None and has_caught_up(moment.topology, record, sight.gtids):
                work = self._proposals.propose(ConfirmCaughtUp, cluster_id=cluster_id, lapses=sight.lapses)
                yield f"caught up {cluster_id}", work

    def _sight(self, cluster: Cluster, moment: Moment) -> Sight | None:
        """The one there is; a new one only where what was read of semi-sync is what is replicated, so lapses fit.

        After somebody unknown has acknowledged it takes a while without that, so that one who comes and goes does not
        fill the log.
        """
        primary, known = moment.topology.primary_of(cluster.id), self._sights.get(cluster.id)
        if primary is None or described(moment.topology, cluster.record):
            return None
        if primary.fresh is None:
            return known if known is not None and known.lapses == cluster.record.lapses else None
        recorded = primary.record.facts if primary.record is not None else None
        is_recorded = recorded is not None and recorded.semi_sync == primary.fresh.semi_sync.structural()
        if primary.fresh.executed is None or not is_recorded or not semi_sync_promises(primary.fresh).holds:
            return None
        settle_s = SETTLE_S if cluster.record.lapsed_because else 0.0
        return sighted(known, primary, cluster.record.lapses, (), settle_s)
