"""Turns confirmed problems into claims, and says why where that is not possible.

The decision is the replicated ``apply``'s; here the same pure function is asked first, so that a hopeless claim is not
written into the log over and over. A blocked recovery is recorded once for each reason, and so is each detection.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from orchestrator_raft.core.analysis import Diagnosis, Problem
from orchestrator_raft.core.instance import ChannelOption, InstanceKey
from orchestrator_raft.core.policy import ExitPolicy
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import EndState, Recovery, Request, Subject
from orchestrator_raft.core.recovery.rejoin import returning
from orchestrator_raft.core.replicated import State
from orchestrator_raft.core.replicated.claims import ClaimRefusal, Storm, refuse_claim
from orchestrator_raft.core.replicated.commands import ClaimRecovery, RecordBlocked, RecordDetection
from orchestrator_raft.core.topology import Cluster, Server
from orchestrator_raft.engine.proposals import Proposals, new_id
from orchestrator_raft.engine.subjects import channel_donor, new_recovery, subject_of, subject_of_problem
from orchestrator_raft.engine.view import Moment
from orchestrator_raft.ports import Hooks

Work = Coroutine[Any, Any, object]
DETECTION_LIST = "OnFailureDetectionProcesses"
RETURN_RETRY_S = 30.0
"""A return that failed is tried again so long afterwards, and after each failure twice as long as before."""
RETURN_RETRY_MAX_S = 600.0
FAILED_RETRY_S = 60.0
"""A recovery that promoted nobody is tried again so long afterwards, or at once when its chances are others."""


@dataclass(frozen=True, slots=True)
class _Chances:
    """What a recovery that promoted nobody may have failed for: who answered, and whose answers were needed."""

    reached: frozenset[InstanceKey]
    ackers: tuple[InstanceKey, ...]
    caught_up: bool
    at_s: float


@dataclass(frozen=True, slots=True)
class _Tried:
    """Attempts to take back one server since one did something."""

    cluster_id: str
    count: int
    at_s: float

    @property
    def again_at_s(self) -> float:
        return self.at_s + min(RETURN_RETRY_MAX_S, RETURN_RETRY_S * 2.0 ** (self.count - 1))


class Claims:
    """Makes claims in the name of one term's leader."""

    def __init__(
        self, node_id: str, term: int, proposals: Proposals, hooks: Hooks, *, on_claimed: Callable[[], None]
    ) -> None:
        self._node_id = node_id
        self._term = term
        self._proposals = proposals
        self._hooks = hooks
        self._on_claimed = on_claimed
        self._returns: dict[InstanceKey, _Tried] = {}
        self._in_vain: dict[tuple[str, str], _Chances] = {}
        """Clusters and kinds whose last recovery changed nothing: how things were when it was claimed."""

    def claim(
        self, diagnosis: Diagnosis, problem: Problem, evidence: tuple[str, ...], moment: Moment, *, noticed_ms: int
    ) -> Work | None:
        """The claim of a confirmed problem; None when it would end as the last one did, or all has been said."""
        if self._would_be_in_vain(problem, moment):
            return None
        subject = subject_of_problem(diagnosis, problem, evidence, moment)
        recovery = self._new(problem.rule.recovery, subject, problem.cluster_id, moment, noticed_ms)
        recovery = replace(recovery, request=Request(designated=wanted_co_primary(diagnosis.situation.server, moment)))
        block_ms = int(moment.policy.recovery_block_s * 1000)
        storm = Storm(moment.policy.storm_clusters, int(moment.policy.storm_s * 1000))
        refusal = refuse_claim(moment.state, recovery, block_ms, storm) or _obstacle(problem, moment)
        if refusal is None:
            return self._claim(recovery, block_ms, storm, _chances(moment, problem.cluster_id))
        if is_recorded_as_blocked(moment.state, problem, refusal.blocking_recovery_id):
            return None
        return self._proposals.propose(
            RecordBlocked,
            key=problem.key,
            cluster_id=problem.cluster_id,
            code=problem.code,
            reason=refusal.reason,
            blocking_recovery_id=refusal.blocking_recovery_id,
        )

    def _would_be_in_vain(self, problem: Problem, moment: Moment) -> bool:
        last = self._in_vain.get((problem.cluster_id, problem.rule.recovery))
        if last is None:
            return False
        now = _chances(moment, problem.cluster_id)
        return now.at_s - last.at_s < FAILED_RETRY_S and now == replace(last, at_s=now.at_s)

    def _new(
        self, kind: str, subject: Subject, cluster_id: str, moment: Moment, noticed_ms: int | None = None
    ) -> Recovery:
        return new_recovery(
            kind, subject, cluster_id, moment,
            recovery_id=new_id(), holder=self._node_id, term=self._term, noticed_ms=noticed_ms,
        )  # fmt: skip

    async def _claim(self, recovery: Recovery, block_ms: int, storm: Storm, seen: _Chances) -> None:
        result = await self._proposals.propose(
            ClaimRecovery,
            recovery=recovery,
            block_ms=block_ms,
            storm_clusters=storm.clusters,
            storm_ms=storm.period_ms,
        )
        if result.ok:
            self._in_vain[recovery.cluster_id, recovery.kind] = seen
            self._on_claimed()
            await self._proposals.propose(RecordDetection, subject=recovery.subject, recovery_id=recovery.id)

    def announce(self, diagnosis: Diagnosis, problem: Problem, moment: Moment) -> Work | None:
        """Record a problem that is not recovered and run the detection hooks; None when that was done already."""
        block_ms = int(moment.policy.detection_block_s * 1000)
        if is_recorded_as_detected(moment.state, problem, moment.now_ms - block_ms):
            return None
        why_not = problem.skipped or problem.unconfirmed
        evidence = (*problem.evidence, *((why_not,) if why_not else ()))
        subject = subject_of_problem(diagnosis, problem, evidence, moment)
        return self._announce(
            self._new(problem.rule.recovery or "dead_primary", subject, problem.cluster_id, moment), moment
        )

    async def _announce(self, recovery: Recovery, moment: Moment) -> None:
        result = await self._proposals.propose(RecordDetection, subject=recovery.subject)
        if result.ok and moment.policy.hooks.get(DETECTION_LIST):
            timeout_s = moment.policy.hook_timeout_s
            stops = moment.policy.hook_exit(DETECTION_LIST) is ExitPolicy.ABORT
            await self._hooks.run(DETECTION_LIST, recovery, fail_stop=stops, timeout_s=timeout_s)

    def claim_return(self, cluster: Cluster, moment: Moment) -> Work | None:
        """Attach a server that missed a change of primary, if there is one and its time has come.

        Each has its own back-off, so one that cannot be attached does not keep the others out.
        """
        back = [key for key in returning(moment.topology, cluster.id) if self._may_return(key, moment.now_s)]
        if not back:
            return None
        server = moment.topology.server(min(back, key=self._tried_at_s))
        text = "An old primary is back" if server.stale else "A replica was left behind at a change of primary"
        subject = subject_of(server, cluster, moment, code="ServerReturned", text=text, evidence=(text,))
        recovery = self._new("rejoin", subject, cluster.id, moment)
        primary = moment.topology.primary_of(cluster.id)
        donor = channel_donor(moment, cluster, server.key)
        options: tuple[ChannelOption, ...] = ()
        if donor is not None and donor.facts is not None and donor.facts.channel is not None:
            options = donor.facts.channel.options_for_others
        semi_sync = bool(primary and primary.facts and primary.facts.semi_sync.source_enabled)
        recovery = replace(recovery, channel_options=options, semi_sync=semi_sync)
        if refuse_claim(moment.state, recovery, 0) is not None:
            return None
        return self._claim_return(recovery, moment.now_s)

    def _may_return(self, key: InstanceKey, now_s: float) -> bool:
        tried = self._returns.get(key)
        return tried is None or tried.again_at_s <= now_s

    def _tried_at_s(self, key: InstanceKey) -> float:
        tried = self._returns.get(key)
        return tried.at_s if tried is not None else 0.0

    async def _claim_return(self, recovery: Recovery, now_s: float) -> None:
        result = await self._proposals.propose(ClaimRecovery, recovery=recovery, block_ms=0)
        if result.ok:
            before = self._returns.get(recovery.subject.key)
            count = before.count + 1 if before is not None else 1
            self._returns[recovery.subject.key] = _Tried(recovery.cluster_id, count, now_s)
            self._on_claimed()

    def ended(self, recovery: Recovery) -> None:
        """A recovery of ours has ended: after one that did something, the next need not wait."""
        if recovery.end is EndState.CAME_BACK:
            self._in_vain.pop((recovery.cluster_id, recovery.kind), None)
        if recovery.moved or recovery.promoted:
            self._returns = {
                key: tried
                for key, tried in self._returns.items()
                if key not in recovery.moved and not (recovery.promoted and tried.cluster_id == recovery.cluster_id)
            }
            for other in [each for each in self._in_vain if each[0] == recovery.cluster_id]:
                del self._in_vain[other]


def wanted_co_primary(dead: Server, moment: Moment) -> InstanceKey | None:
    """The other of two co-primaries, where nobody else may succeed the dead one, or where it takes writes already."""
    other = moment.topology.servers.get(dead.source) if dead.source is not None and dead.is_co_primary else None
    if other is None:
        return None
    writes = other.fresh is not None and other.fresh.is_writable
    return other.key if writes or moment.policy.promote_other_co_primary else None


def _obstacle(problem: Problem, moment: Moment) -> ClaimRefusal | None:
    """It could do nothing now."""
    obstacle = KINDS[problem.rule.recovery].obstacle
    reason = obstacle(moment.topology, problem.key, moment.policy) if obstacle is not None else ""
    return ClaimRefusal(reason) if reason else None


def _chances(moment: Moment, cluster_id: str) -> _Chances:
    reached = frozenset(server.key for server in moment.topology.members(cluster_id) if server.reached)
    cluster = moment.topology.clusters.get(cluster_id)
    if cluster is None:
        return _Chances(reached, (), False, moment.now_s)
    return _Chances(reached, cluster.record.ackers, cluster.record.caught_up, moment.now_s)


def is_recorded_as_blocked(state: State, problem: Problem, blocking_recovery_id: str) -> bool:
    return any(
        (each.key, each.code, each.blocking_recovery_id) == (problem.key, problem.code, blocking_recovery_id)
        for each in state.blocked
    )


def is_recorded_as_detected(state: State, problem: Problem, since_ms: int) -> bool:
    """This problem was recorded since then, and nobody has acknowledged it."""
    return any(
        (each.subject.key, each.subject.code) == (problem.key, problem.code)
        and each.at_ms >= since_ms
        and each.acknowledged is None
        for each in state.detections
    )
