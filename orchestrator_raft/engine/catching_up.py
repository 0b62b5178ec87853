"""Have the replicas caught up with what their primary acknowledged before its semi-sync was in force?

Theory in ``core/candidates/promise.py``: the leader remembers what the primary had when it was first seen with
semi-sync in force, and looks for possible ackers that have all of it. A primary that is written to is always ahead of
what was read of its replicas, so it is that first sight which counts, not the newest one.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator_raft.core.candidates import has_caught_up, semi_sync_promises
from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import Facts
from orchestrator_raft.core.replicated.commands import ConfirmCaughtUp
from orchestrator_raft.core.topology import Cluster
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.view import Moment

Work = Coroutine[Any, Any, object]


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a primary had when its semi-sync was first seen in force, at this count of lapses."""

    lapses: int
    gtids: GtidSet


class CatchingUp:
    """Confirms, once for each lapse; one a term."""

    def __init__(self, proposals: Proposals) -> None:
        self._proposals = proposals
        self._sights: dict[str, _Sight] = {}

    def due(self, moment: Moment) -> Iterator[tuple[str, Work]]:
        """Confirmations that are not yet committed, by name."""
        self._sights = {
            cluster.id: sight
            for cluster in moment.topology.clusters.values()
            if not cluster.record.caught_up and (sight := self._sight(cluster, moment)) is not None
        }
        for cluster_id, sight in self._sights.items():
            if has_caught_up(moment.topology, moment.topology.clusters[cluster_id].record, sight.gtids):
                work = self._proposals.propose(ConfirmCaughtUp, cluster_id=cluster_id, lapses=sight.lapses)
                yield f"caught up {cluster_id}", work

    def _sight(self, cluster: Cluster, moment: Moment) -> _Sight | None:
        """The one there is; a new one only where what was read of semi-sync is what is replicated, so lapses fit."""
        known = self._sights.get(cluster.id)
        if known is not None and known.lapses == cluster.record.lapses:
            return known
        primary = moment.topology.primary_of(cluster.id)
        if primary is None or primary.fresh is None or primary.fresh.executed is None or not _in_force(primary.fresh):
            return None
        recorded = primary.record.facts if primary.record is not None else None
        if recorded is None or recorded.semi_sync != primary.fresh.semi_sync.structural():
            return None
        return _Sight(cluster.record.lapses, primary.fresh.executed)


def _in_force(primary: Facts) -> bool:
    return semi_sync_promises(primary).holds
