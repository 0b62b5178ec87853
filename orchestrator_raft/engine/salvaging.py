"""Saves the transactions of quarantined servers while their binary logs still hold them: once each, and on request.

The return has ended by then: whatever becomes of this blocks and fails nothing. One at a time, since a file may be
large and the leader has other things to do. What became of it is replicated, also where nothing could be saved; the
file is on the node that led.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from dataclasses import replace
from typing import Any

from orchestrator_raft.core.instance import InstanceKey
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
        saved = await save(self._salvager, self._proposals.node_id, key, moment)
        await self._proposals.propose(RecordSaved, key=key, saved=saved)


async def save(salvager: Salvager, node_id: str, key: InstanceKey, moment: Moment) -> SavedTransactions:
    """Save what only this server has. Never raises for what a server does."""
    recovery = kept_out_by(moment.state, key)
    wanted = salvage(moment.topology, key, recovery.id if recovery is not None else ASKED_FOR)
    if isinstance(wanted, str):
        return SavedTransactions(node_id=node_id, problem=wanted)
    return replace(await salvager.save(wanted, timeout_s=TIMEOUT_S), node_id=node_id)
