"""Keeps the set of possible ackers true: admits who is back, ends a promise to which a stranger acknowledges, releases
who is gone.

Theory in ``core/candidates``: ``ackers`` and ``sights``. While a change of primary runs nothing is done here: it has
stopped the receivers and asks them itself. A return holds the record still too, but the replica that it attaches
becomes a possible acker when it ends, however that is, so it is no stranger.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

from orchestrator_raft.core.candidates import (
    SETTLE_S,
    Sight,
    can_be_released,
    described,
    gone,
    returned,
    semi_sync_promises,
    sighted,
)
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.replicated.commands import AdmitAckers, LapsePromise, ReleaseAckers
from orchestrator_raft.core.replicated.promises import ackers_after
from orchestrator_raft.core.topology import Cluster
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.view import Moment

Work = Coroutine[Any, Any, object]


class Acknowledging:
    """Proposes what is due; one a term."""

    def __init__(self, proposals: Proposals) -> None:
        self._proposals = proposals
        self._sights: dict[str, Sight] = {}

    def due(self, moment: Moment) -> Iterator[tuple[str, Work]]:
        """What is not yet committed, by name."""
        clusters = moment.topology.clusters
        self._sights = {cluster_id: sight for cluster_id, sight in self._sights.items() if cluster_id in clusters}
        for cluster in clusters.values():
            running = moment.state.active_recovery(cluster.id)
            primary = moment.topology.primary_of(cluster.id)
            in_force = semi_sync_promises(primary.fresh if primary is not None else None).holds
            if not in_force or (running is not None and KINDS[running.kind].counts):
                self._sights.pop(cluster.id, None)
                continue
            back = returned(moment.topology, cluster.record)
            if back:
                yield f"admit {cluster.id}", self._proposals.propose(AdmitAckers, cluster_id=cluster.id, keys=back)
            yield from self._lapse(cluster, moment)
            yield from self._release(cluster, moment)

    def _lapse(self, cluster: Cluster, moment: Moment) -> Iterator[tuple[str, Work]]:
        because = described(moment.topology, ackers_after(moment.state, cluster.record))
        if because and cluster.record.caught_up:
            work = self._proposals.propose(LapsePromise, cluster_id=cluster.id, because=because)
            yield f"lapse {cluster.id}", work

    def _release(self, cluster: Cluster, moment: Moment) -> Iterator[tuple[str, Work]]:
        topology, record = moment.topology, cluster.record
        primary, away = topology.primary_of(cluster.id), gone(topology, record)
        before = self._sights.pop(cluster.id, None)
        if primary is None or not away or described(topology, record) or not record.caught_up:
            return
        sight = sighted(before, primary, record.lapses, away, SETTLE_S)
        if sight is None:
            return
        self._sights[cluster.id] = sight
        if moment.state.active_recovery(cluster.id) is None and can_be_released(topology, record, sight):
            keys, lapses = sight.away, sight.lapses
            work = self._proposals.propose(ReleaseAckers, cluster_id=cluster.id, keys=keys, lapses=lapses)
            yield f"release {cluster.id}", work
