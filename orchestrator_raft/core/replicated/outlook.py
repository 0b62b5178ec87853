"""Would the cluster fail over by itself if its primary died now? Asked before it does, and answered with the reason.

Nothing is decided here: the same functions are asked that decide then, with what is known now. What is known changes
with a death (who answers, how far the replicas have got), so a yes is an outlook and no promise.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.candidates import answering_ackers, choose, is_lapsed, missing_ackers, promise_of, promised
from orchestrator_raft.core.policy import LossPolicy, Policy
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import Recovery, Subject
from orchestrator_raft.core.replicated.claims import refuse_claim
from orchestrator_raft.core.replicated.state import State
from orchestrator_raft.core.topology import Cluster, Server, Topology

KIND = "dead_primary"


@dataclass(frozen=True, slots=True)
class Outlook:
    """Whether a failover would begin by itself; ``because`` says why not, ``by_choice`` that people wanted it so."""

    possible: bool
    because: str = ""
    by_choice: bool = False


def outlook(state: State, topology: Topology, cluster_id: str, policy: Policy) -> Outlook:
    """What would become of an automatic failover of this cluster now."""
    cluster, primary = topology.clusters.get(cluster_id), topology.primary_of(cluster_id)
    if cluster is None or primary is None:
        return Outlook(False, "the cluster has no primary")
    if not policy.recover_primary.match(cluster.name, cluster.alias):
        return Outlook(False, "it is switched off for this cluster (RecoverMasterClusterFilters)", by_choice=True)
    refusal = refuse_claim(state, _claim(cluster, primary), int(policy.recovery_block_s * 1000))
    if refusal is not None:
        return Outlook(False, refusal.reason, by_choice=state.recoveries_disabled or bool(primary.set_aside))
    obstacle = _loss(cluster, primary, topology, policy)
    return Outlook(not obstacle, obstacle)


def _claim(cluster: Cluster, primary: Server) -> Recovery:
    """The claim that would be made."""
    return Recovery(
        id="", kind=KIND, cluster_id=cluster.id, subject=Subject(key=primary.key, code="DeadMaster"), holder="", term=0,
        phase=KINDS[KIND].phases[0].name, started_ms=0, deadline_ms=0,
    )  # fmt: skip


def _loss(cluster: Cluster, primary: Server, topology: Topology, policy: Policy) -> str:
    """What the loss policy would have against it, or that nobody is fit."""
    holds = promised(cluster.record, primary.facts).holds
    promise = promise_of(topology, cluster.id)
    if is_lapsed(cluster.record, primary.facts) and primary.facts is not None:
        waits_for = primary.facts.semi_sync.wait_for_replica_count
        holds = bool(missing_ackers(cluster.record.ackers, waits_for, answering_ackers(topology, cluster.record)))
    if not promise.holds and policy.loss_policy(holds) is not LossPolicy.ANY:
        return f"acknowledged writes might be lost: {promise.because}"
    verdict = choose(primary, topology.replicas_of(primary.key), policy)
    if verdict.best is None:
        reasons = "; ".join(str(each) for each in verdict.refused) or "it has none"
        return f"no replica can be promoted: {reasons}"
    return ""
