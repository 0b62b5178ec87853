"""Who is best? The no-loss promise of a cluster, and the choice of a successor with every refusal explained."""

from orchestrator_raft.core.candidates.choose import Refusal, Verdict, choose, unfit
from orchestrator_raft.core.candidates.promise import (
    Promise,
    has_caught_up,
    missing_ackers,
    promise,
    promise_of,
    promised,
    semi_sync_promises,
)

__all__ = [
    "Promise",
    "Refusal",
    "Verdict",
    "choose",
    "has_caught_up",
    "missing_ackers",
    "promise",
    "promise_of",
    "promised",
    "semi_sync_promises",
    "unfit",
]
