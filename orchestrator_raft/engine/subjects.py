"""From a diagnosis to the record of a recovery: pure; automatic and asked-for ones begin here alike."""

from __future__ import annotations

from orchestrator_raft.core.analysis import Diagnosis, Problem
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import Mark, Recovery, Request, Subject
from orchestrator_raft.core.topology import Cluster, Server
from orchestrator_raft.engine.view import Moment

DEADLINE_MS = 15 * 60_000


def subject_of(
    server: Server, cluster: Cluster | None, moment: Moment, *, code: str, text: str, evidence: tuple[str, ...]
) -> Subject:
    """What is recorded about the server a recovery is for."""
    name = cluster.name if cluster else str(server.key)
    alias = cluster.alias if cluster else name
    return Subject(
        key=server.key,
        code=code,
        text=text,
        evidence=tuple(each[:300] for each in evidence[:20]),
        cluster_name=name,
        cluster_alias=alias,
        cluster_domain=cluster.record.domain if cluster else "",
        replicas=server.replicas,
        count_replicas=len(server.replicas),
        is_primary=server.source is None,
        is_co_primary=server.is_co_primary,
        is_downtimed=server.downtime is not None,
        automated_primary=moment.policy.recover_primary.match(name, alias),
        automated_intermediate=moment.policy.recover_intermediate.match(name, alias),
    )


def subject_of_problem(diagnosis: Diagnosis, problem: Problem, evidence: tuple[str, ...], moment: Moment) -> Subject:
    """The subject of a recovery that the analysis asks for."""
    situation = diagnosis.situation
    return subject_of(
        situation.server,
        situation.cluster,
        moment,
        code=problem.code,
        text=problem.rule.text,
        evidence=evidence,
    )


def new_recovery(
    kind: str, subject: Subject, cluster_id: str, moment: Moment, *, recovery_id: str, holder: str, term: int,
    request: Request | None = None, noticed_ms: int | None = None,
) -> Recovery:  # fmt: skip
    """A recovery in its first phase, ready to be claimed."""
    timeline: tuple[Mark, ...] = ()
    if noticed_ms is not None:
        timeline = (Mark("noticed", noticed_ms), Mark("confirmed", moment.now_ms))
    elif request is not None:
        timeline = (Mark("asked for", moment.now_ms, request.by),)
    return Recovery(
        id=recovery_id,
        kind=kind,
        cluster_id=cluster_id,
        subject=subject,
        request=request or Request(),
        holder=holder,
        term=term,
        phase=KINDS[kind].phases[0].name,
        started_ms=moment.now_ms,
        deadline_ms=moment.now_ms + DEADLINE_MS,
        timeline=timeline,
    )


def channel_donor(moment: Moment, cluster: Cluster, but: InstanceKey) -> Server | None:
    """A replica of the cluster's primary whose channel options a returning server gets."""
    if cluster.primary is None:
        return None
    replicas = moment.topology.replicas_of(cluster.primary)
    return next((each for each in replicas if each.key != but and each.facts and each.facts.channel), None)
