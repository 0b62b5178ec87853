"""``analyze``: the rules run over a topology.

A diagnosis is made for each server; it carries the problem, if a rule found one, and the structure warnings. What
makes a problem not ours to repair (downtime, filters) is said in ``skipped`` and never hides the problem itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from orchestrator_raft.core.analysis.rules import NO_PROBLEM, Confirmation, Rule, Severity, asked
from orchestrator_raft.core.analysis.situation import Situation, situate
from orchestrator_raft.core.analysis.warnings import Weakness, structure_warnings
from orchestrator_raft.core.candidates import choose, missing_ackers, possible_ackers
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.policy import LossPolicy, Policy
from orchestrator_raft.core.topology import Cluster, Topology

OF_INTERMEDIATES = ("dead_intermediate",)
"""Recoveries that RecoverIntermediateMasterClusterFilters switch on."""
OF_OTHERS = ("fence_writer",)
"""Recoveries of a server that is not the primary."""
SWITCHES: Mapping[str, tuple[str, Callable[[Policy], bool]]] = {
    "open_primary": ("RecoverNonWriteableMaster", lambda policy: policy.recover_read_only_primary),
    "semi_sync": (
        "RecoverLockedSemiSyncMaster, EnforceExactSemiSyncReplicas",
        lambda policy: policy.exact_semi_sync or policy.recover_locked_semi_sync,
    ),
    "restore_semi_sync": ("RestoreSemiSync", lambda policy: policy.restore_semi_sync),
    "fence_writer": ("FenceSecondWriter", lambda policy: policy.fence_second_writer),
    **dict.fromkeys(
        ("FullDiskMaster", "StalledDiskMaster", "MasterCannotWrite"),
        ("UnwriteableMasterPolicy", lambda policy: policy.replace_unwritable_primary),
    ),
    "HungMaster": ("RecoverHungMaster", lambda policy: policy.recover_hung_primary),
}
"""Recoveries, and codes, with a switch of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, with what shows it."""

    rule: Rule
    key: InstanceKey
    cluster_id: str
    evidence: tuple[str, ...]
    skipped: str = ""
    """Why nothing is done about it although the rule names a recovery; empty when it may be repaired."""

    unconfirmed: str = ""
    """Why it is not acted on now although it may be repaired: who contradicts, or has not spoken yet."""

    @property
    def code(self) -> str:
        return self.rule.code

    @property
    def is_actionable(self) -> bool:
        return bool(self.rule.recovery) and not self.skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the rules say of one server."""

    situation: Situation
    problem: Problem | None
    weaknesses: tuple[Weakness, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Codes of the structure warnings."""
        return tuple(weakness.code for weakness in self.weaknesses)

    @property
    def code(self) -> str:
        return self.problem.code if self.problem else NO_PROBLEM

    @property
    def is_interesting(self) -> bool:
        return self.problem is not None or bool(self.weaknesses)


def analyze(topology: Topology, policy: Policy) -> tuple[Diagnosis, ...]:
    """Diagnoses of all servers, ordered by key."""
    servers = topology.servers
    return tuple(diagnose(situate(topology, servers[key], policy), policy) for key in sorted(servers))


def diagnose(situation: Situation, policy: Policy) -> Diagnosis:
    """The first rule that finds evidence, and every structure warning."""
    if policy.recovery_ignore.match(situation.key) or situation.server.stale is not None:
        return Diagnosis(situation=situation, problem=None, weaknesses=())
    return Diagnosis(situation=situation, problem=_problem(situation, policy), weaknesses=structure_warnings(situation))


def _problem(situation: Situation, policy: Policy) -> Problem | None:
    for rule in asked(situation.sight):
        evidence = rule.predicate(situation)
        if evidence is None or (rule.code in policy.ignored_codes and rule.severity is Severity.WARNING):
            continue
        rule = _meant(rule, situation)
        return Problem(
            rule=rule,
            key=situation.key,
            cluster_id=situation.server.cluster_id,
            evidence=evidence,
            skipped=_skipped(rule, situation, policy),
        )
    return None


def _meant(rule: Rule, situation: Situation) -> Rule:
    """A dead co-primary without the role is replaced by nobody; its replicas need another source."""
    cluster = situation.cluster
    if rule.recovery != "dead_primary" or not situation.is_co_primary or cluster is None:
        return rule
    return rule if cluster.primary == situation.key else replace(rule, recovery="dead_intermediate")


def _skipped(rule: Rule, situation: Situation, policy: Policy) -> str:
    set_aside = situation.server.set_aside
    if set_aside:
        return set_aside
    replicas = situation.replicas
    if rule.hidden_by_downtimed_replicas and replicas and len(situation.downtimed) == len(replicas):
        return f"all replicas of {situation.key} are in downtime"
    return _left_alone(rule, situation, policy) if rule.recovery else ""


def _left_alone(rule: Rule, situation: Situation, policy: Policy) -> str:
    """Why this server is nothing that we repair by ourselves; empty when it is."""
    key, cluster = situation.key, situation.cluster
    for switch, is_on in (SWITCHES[each] for each in (rule.code, rule.recovery) if each in SWITCHES):
        if not is_on(policy):
            return f"nobody asked for this repair ({switch})"
    if rule.recovery in OF_INTERMEDIATES:
        return _left_alone_intermediate(situation, policy)
    if cluster is None or not policy.recover_primary.match(cluster.name, cluster.alias):
        name = cluster.name if cluster else str(key)
        return f"automatic recovery is off for cluster {name}: RecoverMasterClusterFilters does not match it"
    if situation.facts is None:
        return f"nobody has ever reached {key}: fail it over by hand if it is lost (raftctl failover)"
    if rule.recovery in OF_OTHERS:
        return "" if cluster.primary not in (key, None) else f"{key} is the recorded primary of its cluster"
    if cluster.primary != key:
        return f"the recorded primary of this cluster is {cluster.name}, not {key}: repair or forget {key} by hand"
    is_alive = rule.recovery == "dead_primary" and rule.confirmation is Confirmation.NONE
    return _not_replaceable(situation, cluster, policy) if is_alive else ""


def _not_replaceable(situation: Situation, cluster: Cluster, policy: Policy) -> str:
    """Why a primary that answers stays as it is: to fence it and then promote nobody would only make things worse."""
    primary, facts = situation.server, situation.server.fresh
    verdict = choose(primary, situation.replicas, policy)
    best = situation.topology.server(verdict.best).fresh if verdict.best is not None else None
    if best is None or facts is None:
        return "no replica can take over: " + "; ".join(str(each) for each in verdict.refused)
    lacking = facts.executed.minus(best.received) if facts.executed is not None and best.received is not None else None
    if lacking:
        return f"{best.key} would take over, and lacks what {primary.key} has: {lacking.describe(200)}"
    count = facts.semi_sync.wait_for_replica_count if facts.semi_sync.source_enabled else 0
    answering = {each.key for each in situation.valid}
    missing = missing_ackers(possible_ackers(situation.topology, cluster.record), count, answering) if count else ()
    if missing and policy.loss_policy(semi_sync_is_on=True) is not LossPolicy.ANY:
        names = ", ".join(str(each) for each in missing)
        return f"{names} may have acknowledged transactions that nobody else has, and does not answer"
    return ""


def _left_alone_intermediate(situation: Situation, policy: Policy) -> str:
    key, cluster = situation.key, situation.cluster
    if cluster is None or not policy.recover_intermediate.match(cluster.name, cluster.alias):
        name = cluster.name if cluster else str(key)
        return (
            f"automatic recovery is off for cluster {name}: RecoverIntermediateMasterClusterFilters does not match it"
        )
    return f"{key} is the recorded primary of its cluster" if cluster.primary == key else ""
