"""Saves the transactions of quarantined servers while their binary logs still hold them: once each, and on request.

The return has ended by then: whatever becomes of this blocks and fails nothing. One at a time, since a file may be
large and the leader has other things to do. What became of it is replicated, also where nothing could be saved; the
file is on the node that led. A save counts for the return and the transactions that it was begun for, for no others: a
server that was kept out anew meanwhile is saved anew.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from dataclasses import replace
from typing import Any

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.losses import recorded
from orchestrator_raft.core.recovery.salvage import salvage, to_be_saved
from orchestrator_raft.core.replicated.commands import RecordSaved
from orchestrator_raft.core.replicated.salvage import kept_out_by
from orchestrator_raft.core.topology import SavedTransactions
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.view import Moment
from orchestrator_raft.ports import Salvager

Work = Coroutine[Any, Any, object]
TIMEOUT_S = 600.0
NAME = "save lost transactions"
ASKED_FOR = "asked-for"
"""The folder of what was saved from a server that no recovery keeps out."""


class Salvaging:
    """Knows which servers wait for it."""

    def __init__(self, salvager: Salvager, proposals: Proposals) -> None:
        self._salvager = salvager
        self._proposals = proposals

    def due(self, moment: Moment) -> Iterator[tuple[str, Work]]:
        """The next server to be looked after. Not in a cluster that is being recovered."""
        for cluster_id in moment.topology.clusters:
            waiting = to_be_saved(moment.topology, cluster_id)
            if waiting and moment.state.active_recovery(cluster_id) is None:
                yield NAME, self._save(waiting[0].key, moment)
                return

    async def _save(self, key: InstanceKey, moment: Moment) -> None:
        recovery_id, saved = await save(self._salvager, self._proposals.node_id, key, moment)
        await self._proposals.propose(RecordSaved, key=key, saved=saved, recovery_id=recovery_id)


async def save(salvager: Salvager, node_id: str, key: InstanceKey, moment: Moment) -> tuple[str, SavedTransactions]:
    """Save what only this server has; also the return that keeps it out, or ''. Never raises for what a server does.

    Both are as they are now, before the save: what only it has by the end of it may be something else.
    """
    recovery = kept_out_by(moment.state, key)
    recovery_id, kept_out_for = (recovery.id, recovery.lost_gtids) if recovery is not None else ("", "")
    wanted = salvage(moment.topology, key, recovery_id or ASKED_FOR)
    if isinstance(wanted, str):
        return recovery_id, SavedTransactions(node_id=node_id, problem=wanted, wanted=kept_out_for)
    saved = await salvager.save(wanted, timeout_s=TIMEOUT_S)
    return recovery_id, replace(saved, node_id=node_id, wanted=recorded(wanted.extra))
