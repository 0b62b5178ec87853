"""Does the primary still take writes? Off unless people name a statement (``WriteProbeQuery``).

Each writable primary of a cluster that is not being recovered is asked now and then. A write that hangs leaves a
session waiting on the server, so while writes fail the next attempt comes later and later.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.engine.inventory import Inventory
from orchestrator_raft.engine.view import Moment
from orchestrator_raft.ports import Clock, Writer

Work = Coroutine[Any, Any, object]
INTERVAL_MAX_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePace:
    """How often a primary is asked to write, and how long it may take."""

    interval_s: float = 5.0
    timeout_s: float = 2.0


class WriteProbes:
    """Knows whose turn it is; the results are in the inventory."""

    def __init__(self, writer: Writer, inventory: Inventory, clock: Clock, pace: WritePace) -> None:
        self._writer = writer
        self._inventory = inventory
        self._clock = clock
        self._pace = pace
        self._next_at_s: dict[InstanceKey, float] = {}

    def due(self, moment: Moment) -> Iterator[tuple[str, Work]]:
        """Writes to try now, by name."""
        primaries = {cluster.primary for cluster in moment.topology.clusters.values()}
        self._next_at_s = {key: at_s for key, at_s in self._next_at_s.items() if key in primaries}
        for cluster in moment.topology.clusters.values():
            server = moment.topology.primary_of(cluster.id)
            facts = server.fresh if server is not None else None
            if facts is None or server is None or not facts.is_writable or server.stale is not None:
                continue
            waits = self._next_at_s.get(server.key, 0.0) > moment.now_s
            busy = moment.state.active_recovery(cluster.id) is not None or moment.state.pause_of(cluster.id) is not None
            if not waits and not busy:
                trouble = server.observation.write_trouble if server.observation is not None else None
                failures = trouble.count if trouble is not None else 0
                interval_s = min(INTERVAL_MAX_S, self._pace.interval_s * 2.0 ** max(0, failures - 1))
                self._next_at_s[server.key] = moment.now_s + interval_s
                yield f"write to {server.key}", self._try(server.key)

    async def _try(self, key: InstanceKey) -> None:
        complaint = await self._writer.try_write(key, timeout_s=self._pace.timeout_s)
        if complaint is not None:
            self._inventory.record_write(key, complaint, self._clock.monotonic_s())
