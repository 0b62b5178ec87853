"""May this recovery start? One lease per cluster, no storms, and a reason for every refusal.

The same function answers the leader before it proposes and ``apply`` when it decides, so the log holds no hopeless
claims.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.replicated.state import State


@dataclass(frozen=True, slots=True)
class ClaimRefusal:
    """Why a claim is refused, and the recovery that is in the way where there is one."""

    reason: str
    blocking_recovery_id: str = ""


def refuse_claim(state: State, recovery: Recovery, block_ms: int) -> ClaimRefusal | None:
    """None when the claim may be granted."""
    if recovery.cluster_id not in state.clusters:
        return ClaimRefusal(f"there is no cluster {recovery.cluster_id} any more")
    if recovery.kind not in KINDS:
        return ClaimRefusal(f"there is no recovery named '{recovery.kind}'")
    running = state.active_recovery(recovery.cluster_id)
    if running is not None:
        text = f"recovery {running.id} of this cluster is running since it was claimed by {running.holder}"
        return ClaimRefusal(text, running.id)
    if recovery.request.forced:
        return None
    return _refuse_automatic(state, recovery, block_ms)


def _refuse_automatic(state: State, recovery: Recovery, block_ms: int) -> ClaimRefusal | None:
    if state.recoveries_disabled:
        return ClaimRefusal("automatic recoveries are disabled (raftctl recoveries enable)")
    downtime = state.downtimes.get(recovery.subject.key)
    if downtime is not None and downtime.ends_ms > state.time_ms:
        return ClaimRefusal(f"{recovery.subject.key} is in downtime by {downtime.owner}: {downtime.reason}")
    if not KINDS[recovery.kind].counts:
        return None
    for earlier in reversed(tuple(state.recoveries.values())):
        if earlier.cluster_id == recovery.cluster_id and _blocks(earlier, state.time_ms, block_ms):
            left_s = (earlier.finished_ms + block_ms - state.time_ms) // 1000
            text = (
                f"this cluster was recovered {(state.time_ms - earlier.finished_ms) // 1000} s ago; it is not recovered"
                f" again by itself for another {left_s} s, or until somebody acknowledges: raftctl ack {earlier.id}"
            )
            return ClaimRefusal(text, earlier.id)
    return None


def _blocks(earlier: Recovery, now_ms: int, block_ms: int) -> bool:
    """Only a recovery that promoted somebody, by itself or not, and that nobody has acknowledged."""
    if not KINDS[earlier.kind].counts or earlier.is_active or not earlier.promoted:
        return False
    return earlier.acknowledged is None and now_ms < earlier.finished_ms + block_ms
