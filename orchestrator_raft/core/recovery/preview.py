"""What a takeover or a failover that a person asks for would do, as a plan to be read: pure, and never carried out.

Who would be chosen is decided by the same functions that decide it then; what they see then may be newer.
"""

from __future__ import annotations

from orchestrator_raft.core.candidates import choose, promise_of
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.moves.model import HOW_GTID, LeftOut, Plan, Planned, Refusal, Stage
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.takeover import refusal
from orchestrator_raft.core.topology import Server, Topology


def takeover_plan(
    topology: Topology, primary: Server, designated: InstanceKey | None, policy: Policy, *, start_old_primary: bool
) -> Planned:
    """How ``primary`` would hand its role over."""
    why_not = refusal(topology, primary, designated, policy, start_old_primary=start_old_primary)
    verdict = choose(primary, topology.replicas_of(primary.key), policy, designated, planned=True)
    if why_not or verdict.best is None:
        return Refusal(why_not or "no replica can take over")
    best, limit_s = verdict.best, policy.demotion_block_limit_s
    others = _others(primary, best)
    end = "" if start_old_primary else ", where it stays stopped"
    texts = (
        f"{primary.key} refuses writes, for {limit_s:g} s at most; what goes wrong until {best} is opened is undone",
        f"{best} applies all that {primary.key} has, and takes writes",
        *((f"{others} below {best}",) if others else ()),
        f"{primary.key} below {best}{end}",
    )
    return Plan(
        text=f"{primary.key} hands its role to {best}", how=HOW_GTID, stages=_stages(texts), reads=(primary.key, best),
        movers=(best,), left_out=tuple(LeftOut(key=each.key, reason=each.reason) for each in verdict.refused),
        block_s=limit_s, shown=best,
    )  # fmt: skip


def failover_plan(topology: Topology, primary: Server, designated: InstanceKey | None, policy: Policy) -> Planned:
    """How ``primary`` would be replaced, dead or not."""
    verdict = choose(primary, topology.replicas_of(primary.key), policy, designated)
    reasons = tuple(LeftOut(key=each.key, reason=each.reason) for each in verdict.refused)
    if verdict.best is None:
        why = "; ".join(str(each) for each in reasons) or "it has none"
        return Refusal(f"no replica of {primary.key} can be promoted: {why}")
    best, others = verdict.best, _others(primary, verdict.best)
    fence = "is fenced" if primary.reached else "does not answer, so it is listed, and fenced when it is back"
    promise = promise_of(topology, primary.cluster_id)
    warnings = [] if promise.holds else [f"acknowledged writes may be lost: {promise.because}"]
    if primary.reached:
        warnings.insert(0, f"{primary.key} answers: raftctl takeover would lose nothing")
    texts = (
        f"{primary.key} {fence}",
        "receivers stop and replicas are compared",
        f"{best} applies all that it has received, and takes writes",
        *((f"{others} below {best}",) if others else ()),
    )
    return Plan(
        text=f"{primary.key} is replaced by {best}, as things are now", how=HOW_GTID, stages=_stages(texts),
        reads=(primary.key, best), movers=(best,), left_out=reasons, warnings=tuple(warnings),
        block_s=policy.catch_up_limit_s, shown=best,
    )  # fmt: skip


def _others(primary: Server, best: InstanceKey) -> str:
    return ", ".join(str(key) for key in primary.replicas if key != best)


def _stages(texts: tuple[str, ...]) -> tuple[Stage, ...]:
    return tuple(Stage(text=text) for text in texts)
