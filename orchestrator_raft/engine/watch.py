"""The leader's eye: on every changed probe, and on a slow tick, one consistent look at everything, and what follows.

Rules
- ``look`` is synchronous: state, inventory and policy are read and decided on without an await in between. What has to
  be done is started as tasks, one at a time for each purpose, and their results come back as changes.
- A new leader decides nothing for a cluster until each of its servers has been probed since authority was gained
  (D3.4).
- A problem that nobody repairs is announced only when it has lasted a moment, so that the first milliseconds of a crash
  (when replicas have not noticed yet) are not reported as a problem of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from orchestrator_raft.core.analysis import Confirmation, Confirmed, Diagnosis, Problem, Severity, analyze, confirm
from orchestrator_raft.core.errors import Unavailable
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated.claims import gives_way
from orchestrator_raft.core.topology import Cluster
from orchestrator_raft.engine.claims import Claims
from orchestrator_raft.engine.discovery import Discovery
from orchestrator_raft.engine.housekeeping import Housekeeping
from orchestrator_raft.engine.inventory import Change
from orchestrator_raft.engine.pacing import Pacing
from orchestrator_raft.engine.records import Recorder
from orchestrator_raft.engine.upkeep import Upkeep
from orchestrator_raft.engine.view import Moment, Viewer
from orchestrator_raft.engine.witness import Witnesses
from orchestrator_raft.ports import Consensus
from orchestrator_raft.tasks import Tasks

TICK_S = 1.0
QUIET_S = 0.1
"""Changes that are not urgent are looked at together, so often at most."""
REST_SHARE = 3.0
"""After a look at a large fleet, so many times what it took are left to others, unless something is urgent."""
SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Suspicion:
    """When something was first seen: a problem of one code, or anything at all about one server."""

    since_s: float
    since_ms: int


class Watch:
    """Looks, and starts what has to be done; one a term."""

    def __init__(
        self, term: int, consensus: Consensus, viewer: Viewer, tasks: Tasks, *, discovery: Discovery,
        witnesses: Witnesses, recorder: Recorder, claims: Claims, upkeep: Upkeep, pacing: Pacing,
        housekeeping: Housekeeping, authority_since_s: float, on_look: Callable[[], None],
    ) -> None:  # fmt: skip
        self._term = term
        self._consensus = consensus
        self._viewer = viewer
        self._tasks = tasks
        self._discovery = discovery
        self._witnesses = witnesses
        self._recorder = recorder
        self._claims = claims
        self._upkeep = upkeep
        self._pacing = pacing
        self._housekeeping = housekeeping
        self._authority_since_s = authority_since_s
        self._on_look = on_look
        self._changed = asyncio.Event()
        self._urgent = asyncio.Event()
        self._suspicions: dict[tuple[InstanceKey, str], Suspicion] = {}
        self._noticed: dict[InstanceKey, Suspicion] = {}
        self._busy: set[str] = set()

    def changed(self, change: Change | None = None) -> None:
        """Something is new; without a change, or with an urgent one, it is looked at immediately."""
        self._changed.set()
        if change is None or change.urgent:
            self._urgent.set()

    async def run(self) -> None:
        """Look for ever."""
        time = asyncio.get_running_loop().time
        while True:
            self._changed.clear()
            self._urgent.clear()
            begun_s = time()
            self.look()
            took_s = time() - begun_s
            await self._wait(self._changed, TICK_S)
            await self._wait(self._urgent, max(QUIET_S, REST_SHARE * took_s))

    async def _wait(self, event: asyncio.Event, at_most_s: float) -> None:
        try:
            async with asyncio.timeout(at_most_s):
                await event.wait()
        except TimeoutError:
            return

    def look(self) -> None:
        """One look. Nothing in here awaits."""
        authority = self._consensus.authority()
        if authority is None or authority.term != self._term:
            return
        moment = self._viewer.moment()
        self._discovery.watch(self._pacing.paces(moment), moment.state.servers)
        if self._recorder.pending():
            self._start_once("record", self._recorder.flush())
        diagnoses = self._viewer.diagnoses = analyze(moment.topology, moment.policy)
        self._viewer.changelog.note(diagnoses, moment.now_ms)
        self._forget_old_suspicions(diagnoses)
        for diagnosis in diagnoses:
            if diagnosis.problem is not None:
                self._consider(diagnosis, diagnosis.problem, moment)
        for cluster in moment.topology.clusters.values():
            self._consider_members(cluster, moment)
        for name, work in self._housekeeping.due(moment):
            self._start_once(name, work)
        self._on_look()

    def _start_once(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Start ``work`` unless the last of this name is still under way."""
        if name in self._busy:
            work.close()
            return
        self._busy.add(name)
        task = self._tasks.start(name, self._guarded(name, work))
        task.add_done_callback(lambda _task: work.close())  # one that is cancelled before its first step awaits nothing

    async def _guarded(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except Unavailable:
            return  # no quorum just now: the next look finds the same and tries again
        finally:
            self._busy.discard(name)
            self._changed.set()

    def _forget_old_suspicions(self, diagnoses: tuple[Diagnosis, ...]) -> None:
        current = {(each.problem.key, each.problem.code) for each in diagnoses if each.problem is not None}
        suspected = {key for key, _ in current}
        urgent = {each.situation.key for each in diagnoses if _is_urgent(each)}
        for forgotten in [each for each in self._suspicions if each not in current]:
            del self._suspicions[forgotten]
        for key in [key for key in self._noticed if key not in urgent]:
            del self._noticed[key]
            self._witnesses.clear(key)
        for key in [key for key in self._viewer.unconfirmed if key not in suspected]:
            del self._viewer.unconfirmed[key]

    def _is_ready(self, cluster_id: str, moment: Moment) -> bool:
        return not self._not_yet_probed(cluster_id, moment)

    def _not_yet_probed(self, cluster_id: str, moment: Moment) -> tuple[InstanceKey, ...]:
        """Servers of the cluster that were not probed since this node gained authority."""
        return tuple(
            server.key
            for server in moment.topology.members(cluster_id)
            if server.observation is None or server.observation.at_s < self._authority_since_s
        )

    def _consider(self, diagnosis: Diagnosis, problem: Problem, moment: Moment) -> None:
        waits_for = self._not_yet_probed(problem.cluster_id, moment)
        if waits_for:
            names = ", ".join(str(key) for key in waits_for)
            self._viewer.unconfirmed[problem.key] = f"this leader has not probed {names} yet"
            return
        self._viewer.unconfirmed.pop(problem.key, None)
        running = moment.state.active_recovery(problem.cluster_id)
        if running is not None and not (problem.is_actionable and gives_way(running, problem.rule.recovery)):
            return
        now = Suspicion(moment.now_s, moment.now_ms)
        if _is_urgent(diagnosis):
            self._noticed.setdefault(problem.key, now)
        if problem.rule.confirmation is Confirmation.EYES:
            self._witnesses.ask(problem.key)
        suspicion = self._suspicions.setdefault((problem.key, problem.code), now)
        if problem.is_actionable:
            self._consider_recovery(diagnosis, problem, suspicion, moment)
        elif problem.rule.notifies and moment.now_s - suspicion.since_s >= SETTLE_S:
            self._start_announcement(diagnosis, problem, moment)

    def _consider_recovery(self, diagnosis: Diagnosis, problem: Problem, suspicion: Suspicion, moment: Moment) -> None:
        verdict = confirm(problem, moment.topology, self._witnesses.eyes(problem.key), moment.policy)
        if isinstance(verdict, Confirmed):
            noticed_ms = self._noticed.get(problem.key, suspicion).since_ms
            work = self._claims.claim(diagnosis, problem, verdict.evidence, moment, noticed_ms=noticed_ms)
            if work is not None:
                self._start_once(f"claim {problem.key}", work)
            return
        self._viewer.unconfirmed[problem.key] = verdict.text
        if moment.now_s - suspicion.since_s >= SETTLE_S:
            self._start_announcement(diagnosis, replace(problem, unconfirmed=verdict.text), moment)

    def _start_announcement(self, diagnosis: Diagnosis, problem: Problem, moment: Moment) -> None:
        work = self._claims.announce(diagnosis, problem, moment)
        if work is not None:
            self._start_once(f"announce {problem.key} {problem.code}", work)

    def _consider_members(self, cluster: Cluster, moment: Moment) -> None:
        """Servers that want to be taken back; and where there are none, what has drifted."""
        if self._is_ready(cluster.id, moment) and moment.state.active_recovery(cluster.id) is None:
            work = self._claims.claim_return(cluster, moment)
            if work is not None:
                self._start_once(f"rejoin {cluster.id}", work)
                return
            work = self._upkeep.claim(cluster, moment)
            if work is not None:
                self._start_once(f"upkeep {cluster.id}", work)


def _is_urgent(diagnosis: Diagnosis) -> bool:
    """Something that a recovery may follow from; a warning that lasts for days is not when a failure was noticed."""
    problem = diagnosis.problem
    if problem is None or problem.rule.severity is not Severity.CRITICAL:
        return False
    return bool(problem.rule.recovery) or not diagnosis.situation.is_valid
