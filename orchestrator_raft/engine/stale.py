"""Stale primaries: servers demoted while out of reach. They are fenced the moment they can be reached (design D4).

Dialled every 50 ms for the first minute, then every second, exempt from any back-off, and independent of recoveries:
the committed entry on the stale list is what authorises this. Only when a server is fenced may anything else be done
with it.

A fence does not outlive a restart, since a server takes its read_only from its configuration. So as long as a server is
on the list, fenced or quarantined, it is watched: when its connection closes, when a probe fails, or when a probe finds
it writable, it counts as out of reach again and is dialled and fenced anew; afterwards it is compared anew.
"""

from __future__ import annotations

import asyncio

from orchestrator_raft.core.errors import AuthorityLost, OrchestratorError, Unavailable
from orchestrator_raft.core.instance import Facts, InstanceKey, Reached
from orchestrator_raft.core.recovery.steps import Fence
from orchestrator_raft.core.replicated.commands import MarkStale
from orchestrator_raft.core.topology import StalePrimary, StaleStatus
from orchestrator_raft.engine.discovery import Discovery
from orchestrator_raft.engine.hands import Hands
from orchestrator_raft.engine.inventory import Inventory
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.ports import Clock, Consensus, Prober
from orchestrator_raft.tasks import Tasks

EAGER_S = 0.05
EAGER_PERIOD_S = 60.0
PATIENT_S = 1.0
DIAL_TIMEOUT_S = 0.5
FENCE_DEADLINE_S = 5.0


LOST = "it may have been restarted since it was fenced"


class StaleGuard:
    """Fences stale primaries, and again whenever the fence may be gone; one a term."""

    def __init__(
        self, term: int, consensus: Consensus, clock: Clock, tasks: Tasks, *, prober: Prober, hands: Hands,
        discovery: Discovery, inventory: Inventory, proposals: Proposals,
    ) -> None:  # fmt: skip
        self._term = term
        self._consensus = consensus
        self._clock = clock
        self._tasks = tasks
        self._prober = prober
        self._hands = hands
        self._discovery = discovery
        self._inventory = inventory
        self._proposals = proposals
        self._guarded: dict[InstanceKey, asyncio.Task[None]] = {}
        self._lost: set[InstanceKey] = set()
        """Servers whose fence may be gone, whatever their mark says."""
        self._fenced_at_s: dict[InstanceKey, float] = {}

    def look(self) -> None:
        """Start a task for each stale primary that has to be fenced. Call on every change of state or inventory."""
        stale = self._consensus.state.stale
        self._lost = {key for key in stale if key in self._lost or self._shows_no_fence(key)}
        for key in stale:
            task = self._guarded.get(key)
            if self._mark(key) is not None and (task is None or task.done()):
                self._guarded[key] = self._tasks.start(f"guard {key}", self._guard(key))

    def connection_closed(self, key: InstanceKey) -> None:
        """A server hung up: if it is a stale primary, its fence counts no more."""
        if key in self._consensus.state.stale:
            self._lost.add(key)
            self.look()

    def _shows_no_fence(self, key: InstanceKey) -> bool:
        """The newest probe, if it is newer than our fence, failed or found the server writable."""
        seen = self._inventory.get(key)
        if seen is None or seen.at_s <= self._fenced_at_s.get(key, 0.0):
            return False
        return seen.result.facts.is_writable if isinstance(seen.result, Reached) else True

    def _mark(self, key: InstanceKey) -> StalePrimary | None:
        """The mark of a server that has to be fenced, and may be: while writes are paused nobody writes anywhere."""
        state = self._consensus.state
        mark = state.stale.get(key)
        if mark is None or state.pause_of(mark.cluster_id) is not None:
            return None
        return mark if (mark.status is StaleStatus.OUT_OF_REACH or key in self._lost) else None

    async def _guard(self, key: InstanceKey) -> None:
        begun_s = self._clock.monotonic_s()
        while (mark := self._mark(key)) is not None:
            try:
                if await self._fence(key):
                    return
                if mark.status is not StaleStatus.OUT_OF_REACH:
                    await self._note(key, LOST)
            except AuthorityLost:
                return
            except (OrchestratorError, TimeoutError) as error:
                await self._note(key, str(error) or "the fence was not up in time")
            is_eager = self._clock.monotonic_s() - begun_s < EAGER_PERIOD_S
            await self._clock.sleep(EAGER_S if is_eager else PATIENT_S)

    async def _fence(self, key: InstanceKey) -> bool:
        """Whether it could be reached and is fenced now."""
        facts = self._facts(key)
        if facts is None or await self._prober.try_connect(key, timeout_s=DIAL_TIMEOUT_S) is not None:
            return False
        if self._mark(key) is None:  # writes were paused while it was dialled
            return False
        await self._hands.perform(Fence(key=key, deadline_s=FENCE_DEADLINE_S), facts, term=self._term)
        self._lost.discard(key)
        self._fenced_at_s[key] = self._clock.monotonic_s()
        await self._proposals.propose(MarkStale, key=key, status=StaleStatus.FENCED)
        self._discovery.wake((key,))
        return True

    def _facts(self, key: InstanceKey) -> Facts | None:
        record = self._consensus.state.servers.get(key)
        return record.facts if record is not None else None

    async def _note(self, key: InstanceKey, detail: str) -> None:
        """It could not be fenced, or not yet: people have to see that, once for each cause."""
        mark = self._mark(key)
        if mark is None or (mark.status is StaleStatus.OUT_OF_REACH and mark.detail == detail):
            return
        status = StaleStatus.OUT_OF_REACH
        try:
            await self._proposals.propose(MarkStale, key=key, status=status, extra=mark.extra, detail=detail)
        except Unavailable:
            return  # no quorum: the next round finds the same
