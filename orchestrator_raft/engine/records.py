"""Brings structural differences from the inventory into the replicated log, batched, one proposal at a time."""

from __future__ import annotations

import asyncio

from orchestrator_raft.core.errors import Unavailable
from orchestrator_raft.core.replicated.commands import ObserveServers, ServerObservation
from orchestrator_raft.engine.inventory import Inventory
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.ports import Consensus

BATCH_MAX = 50


class Recorder:
    """Proposes what differs between inventory and state."""

    def __init__(self, consensus: Consensus, proposals: Proposals, inventory: Inventory) -> None:
        self._consensus = consensus
        self._proposals = proposals
        self._inventory = inventory
        self._turn = asyncio.Lock()

    def pending(self) -> tuple[ServerObservation, ...]:
        """What is not replicated yet."""
        return self._inventory.differences(self._consensus.state)

    async def flush(self) -> None:
        """Replicate everything that differs now. Raises Unavailable when there is no quorum."""
        async with self._turn:
            pending = self.pending()
            for start in range(0, len(pending), BATCH_MAX):
                result = await self._proposals.propose(ObserveServers, servers=pending[start : start + BATCH_MAX])
                if not result.ok:
                    raise Unavailable(f"the structure of the fleet could not be recorded: {result.reason}")
