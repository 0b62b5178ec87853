"""Who is best? The no-loss promise of a cluster, and the choice of a successor with every refusal explained."""

from orchestrator_raft.core.candidates.choose import Refusal, Verdict, choose, unfit
from orchestrator_raft.core.candidates.promise import Promise, missing_ackers, promise, semi_sync_promises

__all__ = ["Promise", "Refusal", "Verdict", "choose", "missing_ackers", "promise", "semi_sync_promises", "unfit"]
