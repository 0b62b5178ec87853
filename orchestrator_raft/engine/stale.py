"""Stale primaries: servers demoted while out of reach. They are fenced the moment they can be reached (design D4).

Dialled every 50 ms for the first minute, then every second, exempt from any back-off, and independent of recoveries:
the committed entry on the stale list is what authorises this. Only when a server is fenced may anything else be done
with it.
"""

from __future__ import annotations

import asyncio

from orchestrator_raft.core.errors import AuthorityLost, OrchestratorError, Unavailable
from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.recovery.steps import Fence
from orchestrator_raft.core.replicated.commands import MarkStale
from orchestrator_raft.core.topology import StalePrimary, StaleStatus
from orchestrator_raft.engine.discovery import Discovery
from orchestrator_raft.engine.hands import Hands
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.ports import Clock, Consensus, Prober
from orchestrator_raft.tasks import Tasks

EAGER_S = 0.05
EAGER_PERIOD_MS = 60_000
PATIENT_S = 1.0
DIAL_TIMEOUT_S = 0.5
FENCE_DEADLINE_S = 5.0


class StaleGuard:
    """Fences stale primaries; one a term."""

    def __init__(
        self, term: int, consensus: Consensus, clock: Clock, tasks: Tasks, *, prober: Prober, hands: Hands,
        discovery: Discovery, proposals: Proposals,
    ) -> None:  # fmt: skip
        self._term = term
        self._consensus = consensus
        self._clock = clock
        self._tasks = tasks
        self._prober = prober
        self._hands = hands
        self._discovery = discovery
        self._proposals = proposals
        self._guarded: dict[InstanceKey, asyncio.Task[None]] = {}

    def look(self) -> None:
        """Start a task for each stale primary that is not fenced yet. Call on every change of the state."""
        for key, mark in self._consensus.state.stale.items():
            task = self._guarded.get(key)
            if mark.status is StaleStatus.OUT_OF_REACH and (task is None or task.done()):
                self._guarded[key] = self._tasks.start(f"guard {key}", self._guard(key))

    def _mark(self, key: InstanceKey) -> StalePrimary | None:
        mark = self._consensus.state.stale.get(key)
        return mark if mark is not None and mark.status is StaleStatus.OUT_OF_REACH else None

    async def _guard(self, key: InstanceKey) -> None:
        while (mark := self._mark(key)) is not None:
            try:
                if await self._fence(key):
                    return
            except AuthorityLost:
                return
            except (OrchestratorError, TimeoutError) as error:
                await self._note(key, str(error) or "the fence was not up in time")
            age_ms = self._clock.wall_ms() - mark.since_ms
            await self._clock.sleep(EAGER_S if age_ms < EAGER_PERIOD_MS else PATIENT_S)

    async def _fence(self, key: InstanceKey) -> bool:
        """Whether it could be reached and is fenced now."""
        facts = self._facts(key)
        if facts is None or await self._prober.try_connect(key, timeout_s=DIAL_TIMEOUT_S) is not None:
            return False
        await self._hands.perform(Fence(key=key, deadline_s=FENCE_DEADLINE_S), facts, term=self._term)
        await self._proposals.propose(MarkStale, key=key, status=StaleStatus.FENCED)
        self._discovery.wake((key,))
        return True

    def _facts(self, key: InstanceKey) -> Facts | None:
        record = self._consensus.state.servers.get(key)
        return record.facts if record is not None else None

    async def _note(self, key: InstanceKey, detail: str) -> None:
        """It is back and could not be fenced: people have to see that, once for each cause."""
        mark = self._mark(key)
        if mark is None or mark.detail == detail:
            return
        try:
            await self._proposals.propose(MarkStale, key=key, status=StaleStatus.OUT_OF_REACH, detail=detail)
        except Unavailable:
            return  # no quorum: the next round finds the same
