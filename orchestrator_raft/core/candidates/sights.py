"""A sight: what a primary had at a moment from which on we know who acknowledges.

Theory. Whatever the primary acknowledged before a sight it had by then. If k of a set of possible ackers are seen with
all of that, and nobody outside the set acknowledges since, every acknowledged transaction is held by k of the set, and
n-k+1 of the set find it. That serves twice:
- to make the promise: the set is all possible ackers, and nobody unknown is connected (``catching up``);
- to release replicas that are gone (D4): the set is the others. A dead replica would keep a cluster that waits for one
  of n from ever failing over by itself; released, it counts no more. It may hold transactions that were acknowledged
  with it alone, so it has to be away first, then comes the sight, then k of the others have to hold all of that.

Three things make "away first" true. The primary listed the replica no more (``ackers.gone``) in a probe that
ended before the one the sight is from began. For ``SETTLE_S`` it was so in every probe: an acknowledgement that had
just arrived has long woken its commit by then, so that commit is in the sight, and a replica that comes and goes is not
released. And whoever comes back is taken in again (``ackers.returned``, or as soon as it answers).

The set that was away and the lapses of the promise belong to the sight: when either changes, it begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator_raft.core.candidates.promise import has_caught_up
from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.topology import ClusterRecord, Server, Topology

SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Sight:
    """Since when (the observer's monotonic seconds) ``away`` acknowledge nothing; what the primary had after that."""

    lapses: int
    away: tuple[InstanceKey, ...]
    since_s: float
    gtids: GtidSet | None = None


def sighted(
    before: Sight | None, primary: Server, lapses: int, away: tuple[InstanceKey, ...], settle_s: float = 0.0
) -> Sight | None:
    """The sight after this look at the primary; the one there is stays while the primary does not answer."""
    same = before is not None and (before.lapses, before.away) == (lapses, away)
    if primary.fresh is None or primary.observation is None:
        return before if same else None
    at_s = primary.observation.at_s
    if before is None or not same:
        return Sight(lapses, away, at_s)
    if before.gtids is not None or at_s <= before.since_s or at_s - before.since_s < settle_s:
        return before
    return replace(before, gtids=primary.fresh.executed)


def can_be_released(topology: Topology, cluster: ClusterRecord, sight: Sight) -> bool:
    """As many of the others as the primary waits for answer now and have all that those who are away may have."""
    others = replace(cluster, ackers=tuple(key for key in cluster.ackers if key not in sight.away))
    return bool(sight.away) and sight.gtids is not None and has_caught_up(topology, others, sight.gtids)
