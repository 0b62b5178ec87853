"""Who is best? The no-loss promise of a cluster, and the choice of a successor with every refusal explained."""

from orchestrator_raft.core.candidates.ackers import described, gone, possible_ackers, returned, unknown_ackers
from orchestrator_raft.core.candidates.choose import Refusal, Verdict, choose, unfit
from orchestrator_raft.core.candidates.positions import PositionVerdict, choose_by_position, is_by_position
from orchestrator_raft.core.candidates.promise import (
    Promise,
    answering_ackers,
    has_caught_up,
    is_lapsed,
    missing_ackers,
    promise,
    promise_of,
    promised,
    semi_sync_promises,
)
from orchestrator_raft.core.candidates.sights import SETTLE_S, Sight, can_be_released, sighted

__all__ = [
    "SETTLE_S",
    "PositionVerdict",
    "Promise",
    "Refusal",
    "Sight",
    "Verdict",
    "answering_ackers",
    "can_be_released",
    "choose",
    "choose_by_position",
    "described",
    "gone",
    "has_caught_up",
    "is_by_position",
    "is_lapsed",
    "missing_ackers",
    "possible_ackers",
    "promise",
    "promise_of",
    "promised",
    "returned",
    "semi_sync_promises",
    "sighted",
    "unfit",
    "unknown_ackers",
]
