"""What has to be done now and then by the leader: expire downtimes, forget servers long unseen, keep promises true.

``due`` is asked at every look and answers with work that is not yet done; it decides from a moment and awaits nothing.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any, Protocol

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated.commands import EndDowntime, ForgetServers
from orchestrator_raft.core.replicated.policy_commands import DropPool, DropRule, EndMaintenance
from orchestrator_raft.engine.acknowledging import Acknowledging
from orchestrator_raft.engine.catching_up import CatchingUp
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.view import Moment

Work = Coroutine[Any, Any, object]


class Chore(Protocol):
    """Something of its own that is looked after now and then."""

    def due(self, moment: Moment) -> Iterator[tuple[str, Work]]: ...


class Housekeeping:
    """Small chores of the leader."""

    def __init__(self, proposals: Proposals, *more: Chore) -> None:
        self._proposals = proposals
        self._chores: tuple[Chore, ...] = (Acknowledging(proposals), CatchingUp(proposals), *more)

    def due(self, moment: Moment) -> Iterator[tuple[str, Work]]:
        """Chores by name."""
        for chore in self._chores:
            yield from chore.due(moment)
        for key, downtime in moment.state.downtimes.items():
            if downtime.ends_ms <= moment.now_ms:
                yield f"end downtime {key}", self._proposals.propose(EndDowntime, key=key, expired=True)
        yield from self._expired(moment)
        unseen = long_unseen(moment)
        if unseen:
            hours = moment.policy.unseen_forget_s / 3600
            reason = f"not seen for {hours:g} hours (UnseenInstanceForgetHours)"
            yield "forget unseen", self._proposals.propose(ForgetServers, keys=unseen, reason=reason)

    def _expired(self, moment: Moment) -> Iterator[tuple[str, Work]]:
        """Marks of people whose time has come."""
        state, now_ms = moment.state, moment.now_ms
        for key, work in state.maintenances.items():
            if work.ends_ms <= now_ms:
                yield f"end maintenance {key}", self._proposals.propose(EndMaintenance, key=key, expired=True)
        for key, rule in state.rules.items():
            if rule.ends_ms <= now_ms:
                yield f"drop rule {key}", self._proposals.propose(DropRule, key=key, expired=True)
        for name, pool in state.pools.items():
            if pool.ends_ms <= now_ms:
                yield f"drop pool {name}", self._proposals.propose(DropPool, name=name, expired=True)


def long_unseen(moment: Moment) -> tuple[InstanceKey, ...]:
    """Servers that have been out of reach longer than the policy keeps them, and on which nothing depends.

    A stale primary is kept for as long as it is one: it has to be fenced whenever it comes back. A possible acker is
    kept while the promise rests on it; it is released before, if the primary lives.
    """
    limit_ms = moment.policy.unseen_forget_s * 1000
    relied_on = {key for record in moment.state.clusters.values() if record.caught_up for key in record.ackers}
    return tuple(
        key
        for key, record in moment.state.servers.items()
        if not record.reachable
        and key not in moment.state.stale
        and key not in relied_on
        and record.cluster_id not in moment.state.frozen_clusters
        and moment.now_ms - record.reachable_changed_ms > limit_ms
    )
