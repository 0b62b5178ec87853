"""The no-loss promise: may a failover of this cluster lose a transaction that a client was told is safe? (design D4)

Theory. A primary that waits for k of n possible ackers acknowledges a commit only when k of them hold it. Stop the
receivers of n-k+1 of them and at least one of any k is among those, and none of them can acknowledge any more:
whatever was acknowledged is held by one that answered. So n-k+1 answers are needed, and it does not matter which.

Semi-sync counts only if it cannot be left silently: on the primary, AFTER_SYNC, waiting also when no replica is there,
and with a timeout so long that a person is awake before it passes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.topology import ClusterRecord

TIMEOUT_MIN_MS = 3_600_000
"""A semi-sync timeout below an hour promises nothing: the primary would go on alone."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Whether the promise holds now; ``because`` says why not."""

    holds: bool
    because: str = ""

    def __str__(self) -> str:
        return "no-loss promise: yes" if self.holds else f"no-loss promise: no, because {self.because}"


def semi_sync_promises(primary: Facts | None) -> Promise:
    """Whether the primary's semi-sync set-up can promise anything at all."""
    if primary is None:
        return Promise(False, "the primary has never been reached")
    semi_sync = primary.semi_sync
    obstacles = (
        (not semi_sync.source_enabled, "semi-sync is off on the primary"),
        (not semi_sync.after_sync, "the primary waits after commit instead of after sync"),
        (not semi_sync.wait_without_replicas, "the primary does not wait when no replica is connected"),
        (semi_sync.timeout_ms < TIMEOUT_MIN_MS, f"the semi-sync timeout is {semi_sync.timeout_ms} ms, below an hour"),
        (semi_sync.wait_for_replica_count < 1, "the primary waits for no replica"),
    )
    for holds, because in obstacles:
        if holds:
            return Promise(False, f"{because} ({primary.key})")
    return Promise(True)


def answers_needed(ackers: Collection[InstanceKey], waits_for: int) -> int:
    """n-k+1: how many possible ackers have to be stopped and read before anybody is promoted."""
    return max(0, len(ackers) - max(1, waits_for) + 1)


def missing_ackers(
    ackers: Collection[InstanceKey], waits_for: int, stopped: Collection[InstanceKey]
) -> tuple[InstanceKey, ...]:
    """Possible ackers that still have to answer; empty when enough of them have been stopped and read."""
    answered = [key for key in ackers if key in stopped]
    if len(answered) >= answers_needed(ackers, waits_for):
        return ()
    return tuple(key for key in ackers if key not in stopped)


def promise(cluster: ClusterRecord, primary: Facts | None, reachable: Collection[InstanceKey]) -> Promise:
    """What the cluster can promise right now, given the servers that answer."""
    able = semi_sync_promises(primary)
    if not able.holds or primary is None:
        return able
    if len(cluster.ackers) < primary.semi_sync.wait_for_replica_count:
        return Promise(False, f"{cluster.name} has fewer replicas with semi-sync than it waits for")
    missing = missing_ackers(cluster.ackers, primary.semi_sync.wait_for_replica_count, reachable)
    if missing:
        names = ", ".join(str(key) for key in missing)
        return Promise(False, f"possible ackers out of reach: {names}")
    return Promise(True)
