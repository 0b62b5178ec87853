"""Runs the recoveries that were granted: advance, perform, record, and again (design D3.7).

The truth is the replicated record. On every change the supervisor compares the running claims in the state with the
tasks it holds: a claim without a task is taken over (ResumeRecovery, which makes this term the fencing token), every
server of its cluster that this leader has not seen yet is looked at, and it goes on in its recorded phase. A task stops
at once when authority is gone or a proposal of its failed or was refused; then it records nothing more, and nothing
that it began goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator_raft.core.errors import InvalidInput, Unavailable
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.machine import Context, Entered, Performed, advance
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.recovery.steps import Reprobe
from orchestrator_raft.core.replicated import Result
from orchestrator_raft.core.replicated.claims import refuse_paused
from orchestrator_raft.core.replicated.commands import FinishRecovery, RecordPhase, ResumeRecovery
from orchestrator_raft.engine.executor import Executor
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.records import Recorder
from orchestrator_raft.engine.view import Viewer
from orchestrator_raft.ports import Consensus
from orchestrator_raft.tasks import Tasks

TURNS_MAX = 500
"""More turns than any recovery can need: a loop that never ends is a defect, and then it stops."""


FIRST_LOOK_S = 1.0
"""The longest a recovery waits for servers that this leader has not seen yet, before it decides anything."""


class Superseded(Exception):
    """Another leader holds this recovery now."""


class Supervisor:
    """Owner of the recovery tasks of one term."""

    def __init__(
        self, term: int, consensus: Consensus, proposals: Proposals, tasks: Tasks, *, viewer: Viewer,
        recorder: Recorder, make_executor: Callable[[], Executor], on_ended: Callable[[Recovery], None],
    ) -> None:  # fmt: skip
        self._term = term
        self._consensus = consensus
        self._proposals = proposals
        self._tasks = tasks
        self._viewer = viewer
        self._recorder = recorder
        self._make_executor = make_executor
        self._on_ended = on_ended
        self._running: dict[str, asyncio.Task[None]] = {}
        self._unrecordable: set[str] = set()
        """Recoveries whose next record no quorum can take: they wait for people, not in a loop."""

    def __repr__(self) -> str:
        return f"<Supervisor of term {self._term}: {len(self._running)} recoveries>"

    def look(self) -> None:
        """Start a task for each running claim that has none. Call on every change of the state."""
        authority = self._consensus.authority()
        if authority is None or authority.term != self._term:
            return
        for recovery in self._consensus.state.active_recoveries:
            task = self._running.get(recovery.id)
            if (task is None or task.done()) and recovery.id not in self._unrecordable:
                self._running[recovery.id] = self._tasks.start(f"recovery {recovery.id}", self._run(recovery.id))

    async def _run(self, recovery_id: str) -> None:
        await self._end_those_that_gave_way(recovery_id)
        executor = self._make_executor()
        try:
            recovery = await self._take_over(recovery_id)
            await self._look_first(recovery, executor)
            for _ in range(TURNS_MAX):
                if not recovery.is_active:
                    self._on_ended(recovery)
                    return
                recovery = await self._turn(recovery, executor)
            raise AssertionError(f"recovery {recovery_id} took more than {TURNS_MAX} turns")
        except (Unavailable, Superseded):
            return  # whoever leads next, perhaps this node again, goes on from the record
        finally:
            await executor.close()
            self._running.pop(recovery_id, None)

    async def _end_those_that_gave_way(self, recovery_id: str) -> None:
        """Before this one acts: nothing that held one of its clusters and ended for it may act any more."""
        recoveries = self._consensus.state.recoveries
        recovery = recoveries[recovery_id]
        for other_id, task in tuple(self._running.items()):
            other = recoveries.get(other_id)
            if other is None or other.is_active or task.done():
                continue
            if any(other.holds(cluster_id) for cluster_id in (recovery.cluster_id, *recovery.other_clusters)):
                task.cancel()
                await asyncio.wait((task,))
                self._on_ended(other)

    async def _take_over(self, recovery_id: str) -> Recovery:
        """The record, held by this term."""
        recovery = self._recorded(recovery_id)
        if (recovery.holder, recovery.term) == (self._consensus.node_id, self._term):
            return recovery
        result = await self._proposals.propose(
            ResumeRecovery, recovery_id=recovery_id, holder=self._consensus.node_id, term=self._term
        )
        if not result.ok:
            raise Superseded(result.reason)
        return self._recorded(recovery_id)

    async def _look_first(self, recovery: Recovery, executor: Executor) -> None:
        """A new leader has seen nothing yet: what it takes for dead only because of that must decide nothing."""
        topology = self._viewer.moment().topology
        named = {recovery.subject.key, *recovery.subject.replicas, *recovery.followers, *recovery.stale}
        members = {server.key for server in topology.members(recovery.cluster_id)}
        keys = named | members | ({recovery.successor} if recovery.successor is not None else set())
        unseen = [key for key in sorted(keys) if key in topology.servers and topology.servers[key].observation is None]
        await executor.perform(tuple(Reprobe(key=key, deadline_s=FIRST_LOOK_S) for key in unseen), recovery)

    def _recorded(self, recovery_id: str) -> Recovery:
        recovery = self._consensus.state.recoveries.get(recovery_id)
        if recovery is None:
            raise Superseded(f"recovery {recovery_id} is gone")
        return recovery

    async def _turn(self, recovery: Recovery, executor: Executor) -> Recovery:
        """One phase: enter, perform, leave, record."""
        kind = KINDS[recovery.kind]
        entered, steps = advance(kind, Entered(), self._context(recovery))
        if not entered.is_active:
            return await self._record(entered)
        outcomes = await executor.perform(steps, recovery) if steps else ()
        left, _ = advance(kind, Performed(outcomes), self._context(recovery))
        if not left.is_active:
            await self._look_again(left, executor)
        if not steps and left.is_active:
            return left  # nothing was done, so there is nothing a new leader would have to know
        return await self._record(left)

    async def _look_again(self, recovery: Recovery, executor: Executor) -> None:
        """Read what the recovery changed: the structure that is recorded with its end has to be the new one."""
        keys = {*recovery.moved, *((recovery.successor,) if recovery.promoted and recovery.successor else ())}
        await executor.perform(tuple(Reprobe(key=key) for key in sorted(keys)), recovery)

    def _context(self, recovery: Recovery) -> Context:
        moment = self._viewer.moment()
        held = (recovery.cluster_id, *recovery.other_clusters)
        paused = next(filter(None, (refuse_paused(moment.state, cluster_id) for cluster_id in held)), "")
        return Context(
            recovery=recovery, topology=moment.topology, policy=moment.policy, now_ms=moment.now_ms, paused=paused
        )

    async def _propose_cut_down(self, kind: type[RecordPhase | FinishRecovery], recovery: Recovery) -> Result:
        """What was too large, with fewer words; if that is too large as well, it is not tried again in this term."""
        try:
            return await self._proposals.propose(kind, recovery=recovery, request_id=recovery.request.request_id)
        except InvalidInput:
            self._unrecordable.add(recovery.id)
            raise

    async def _record(self, recovery: Recovery) -> Recovery:
        """Commit the recovery as it stands. The last record goes after the structure it led to (see records.py)."""
        if not recovery.is_active:
            await self._recorder.flush()
        kind: type[RecordPhase | FinishRecovery] = RecordPhase if recovery.is_active else FinishRecovery
        try:
            result = await self._proposals.propose(kind, recovery=recovery, request_id=recovery.request.request_id)
        except InvalidInput:
            recovery = recovery.cut_down()
            result = await self._propose_cut_down(kind, recovery)
        if not result.ok:
            raise Superseded(result.reason)
        return recovery
