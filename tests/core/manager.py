"""The manager's side of the model: the real ``apply`` and the real ``advance``, driven as the engine drives them.

It is the engine's loop without its waiting: probe, record what differs, claim, and then enter, perform, leave, record.
Steps on one server run in order and stop at the first that fails; different servers may interleave in any way, so the
order in which sequences run, and how much of the steps that nobody waits for has been done when a phase ends, are
choices of the test. A crash of the manager is the exception ``Crash``, raised by the test between two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator_raft.core.candidates import (
    SETTLE_S,
    Sight,
    can_be_released,
    described,
    gone,
    has_caught_up,
    returned,
    semi_sync_promises,
    sighted,
)
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.moves.model import Refusal, Wish
from orchestrator_raft.core.moves.table import plan
from orchestrator_raft.core.observation import Observation, observe
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.machine import Context, Entered, Performed, advance
from orchestrator_raft.core.recovery.model import Recovery, Request, Subject
from orchestrator_raft.core.recovery.operation import clusters_of, concerned
from orchestrator_raft.core.recovery.rejoin import returning
from orchestrator_raft.core.recovery.steps import Fence, Outcome, Outcomes, Pause, Reprobe, ServerStep, Step
from orchestrator_raft.core.replicated import Result, State, apply
from orchestrator_raft.core.replicated.claims import refuse_paused
from orchestrator_raft.core.replicated.commands import (
    AdmitAckers,
    ClaimRecovery,
    Command,
    ConfirmCaughtUp,
    FinishRecovery,
    LapsePromise,
    MarkStale,
    ObserveServers,
    RecordPhase,
    ReleaseAckers,
    ResumeRecovery,
    ServerObservation,
)
from orchestrator_raft.core.replicated.promises import ackers_after
from orchestrator_raft.core.topology import Cluster, StaleStatus, Topology, build
from tests.core.fleet import Fleet

TURNS_MAX = 300
DEADLINE_MS = 900_000
STEP_MS = 10


class Crash(Exception):
    """The leading node is gone, between two steps or before a record."""


class Refused(Exception):
    """``apply`` refused a command."""


@dataclass
class Hooks:
    """What a test may do while a recovery runs."""

    before_step: Callable[[Step], None] = lambda step: None
    after_step: Callable[[Outcome], None] = lambda outcome: None
    before_record: Callable[[Recovery], None] = lambda recovery: None
    turned: Callable[[Recovery, Outcomes, Recovery], None] = lambda before, outcomes, after: None
    instead: Callable[[Step], str | None] = lambda step: None
    """A complaint with which the step fails instead of being performed."""
    cut: Callable[[Sequence[Step]], int] = len
    """How many steps of a sequence that nobody waits for have been done when the phase ends."""
    crash_within: Callable[[Sequence[Sequence[Step]]], Sequence[int] | None] = lambda sequences: None
    """How many steps of each sequence of this phase are done when the leader dies; None when it lives on."""


@dataclass
class Manager:
    """One cluster of manager nodes: the replicated state, and whoever leads."""

    fleet: Fleet
    policy: Policy = field(default_factory=Policy)
    state: State = field(default_factory=State)
    term: int = 1
    now_ms: int = 1_000_000
    hooks: Hooks = field(default_factory=Hooks)
    seen: dict[InstanceKey, Observation] = field(default_factory=dict)
    reverse: bool = False
    """Run the sequences of a phase in the opposite order."""
    guards: bool = False
    """Stale primaries are fenced between two phases if they answer."""
    polling: bool = False
    """Everybody is probed between two phases; otherwise only what a Reprobe read, and that a server hung up."""
    sights: dict[str, Sight] = field(default_factory=dict)
    _commands: int = 0

    # -- looking

    def look(self, keys: Iterable[InstanceKey] | None = None) -> None:
        """Probe servers (all, unless some are named) and replicate what differs."""
        for key in self.fleet.by_key if keys is None else keys:
            self._probe(key)
        self.flush()

    def _probe(self, key: InstanceKey) -> None:
        now_s = self.now_ms / 1000
        record = self.state.servers.get(key)
        self.seen[key] = observe(
            self.seen.get(key), key, self.fleet.probe(key),
            at_s=now_s, asked_at_s=now_s, recorded=record.facts if record is not None else None,
        )  # fmt: skip

    def flush(self) -> None:
        """What the engine's recorder does: structural differences, in one command."""
        differing = []
        for key, observation in self.seen.items():
            record = self.state.servers.get(key)
            facts = observation.facts.structural() if observation.facts is not None else None
            known = record is not None and record.reachable == observation.reached
            if known and (not observation.reached or (record is not None and record.facts == facts)):
                continue
            if record is not None or observation.reached:
                differing.append(ServerObservation(key=key, facts=facts, reachable=observation.reached))
        if differing:
            self.propose(ObserveServers, servers=tuple(differing))
        for cluster in self.topology.clusters.values():
            self._keep_promise(cluster)
        for cluster in self.topology.clusters.values():
            self._release(cluster)

    def wait(self, seconds: int) -> None:
        """Time passes, with a look each second."""
        for _ in range(seconds):
            self.now_ms += 1000
            self.look()

    def _keep_promise(self, cluster: Cluster) -> None:
        """What the engine's housekeeping does about strangers, and once replicas have what their primary had."""
        primary, record = self.topology.primary_of(cluster.id), cluster.record
        facts = primary.fresh if primary is not None else None
        running = self.state.active_recovery(cluster.id)
        if facts is None or not semi_sync_promises(facts).holds:
            return
        back, because = returned(self.topology, record), described(self.topology, ackers_after(self.state, record))
        is_changed = running is not None and KINDS[running.kind].counts
        if back and not is_changed:
            self.propose(AdmitAckers, cluster_id=cluster.id, keys=back)
        if because and record.caught_up and not is_changed:
            self.propose(LapsePromise, cluster_id=cluster.id, because=because)
        elif (
            not because
            and not record.caught_up
            and facts.executed
            and has_caught_up(self.topology, record, facts.executed)
        ):
            self.propose(ConfirmCaughtUp, cluster_id=cluster.id, lapses=record.lapses)

    def _release(self, cluster: Cluster) -> None:
        """What it does about possible ackers that are gone."""
        primary, record = self.topology.primary_of(cluster.id), cluster.record
        away = gone(self.topology, record)
        before = self.sights.pop(cluster.id, None)
        if primary is None or not away or not record.caught_up or described(self.topology, record):
            return
        sight = sighted(before, primary, record.lapses, away, SETTLE_S)
        if sight is None:
            return
        self.sights[cluster.id] = sight
        if self.state.active_recovery(cluster.id) is None and can_be_released(self.topology, record, sight):
            self.propose(ReleaseAckers, cluster_id=cluster.id, keys=sight.away, lapses=sight.lapses)

    @property
    def topology(self) -> Topology:
        return build(self.state.servers, self.state.clusters, dict(self.seen), self.state.marks, self.now_ms)

    # -- the log

    def propose(self, kind: type[Command], **fields: Any) -> Result:
        self._commands += 1
        command = kind(id=f"command-{self._commands}", at_ms=self.now_ms, **fields)
        self.state, result = apply(self.state, command)
        return result

    def claim(
        self, kind: str, name: str, *, recovery_id: str = "r1", request: Request | None = None, block_ms: int = 0
    ) -> Recovery:
        """A granted claim on the cluster of this server. Raises Refused."""
        server = self.topology.server(self.fleet[name].key)
        cluster = self.topology.clusters[server.cluster_id]
        subject = Subject(
            key=server.key, code="DeadMaster", replicas=server.replicas, count_replicas=len(server.replicas),
            cluster_name=cluster.name, cluster_alias=cluster.alias,
        )  # fmt: skip
        recovery = Recovery(
            id=recovery_id, kind=kind, cluster_id=cluster.id, subject=subject, request=request or Request(),
            holder=f"node{self.term}", term=self.term, phase=KINDS[kind].phases[0].name,
            started_ms=self.now_ms, deadline_ms=self.now_ms + DEADLINE_MS,
        )  # fmt: skip
        if kind == "rejoin":
            recovery = replace(recovery, semi_sync=self._primary_has_semi_sync(cluster.id))
        if recovery.request.wish is not None:
            recovery = self._planned(recovery, recovery.request.wish)
        result = self.propose(ClaimRecovery, recovery=recovery, block_ms=block_ms)
        if not result.ok:
            raise Refused(result.reason)
        return self.state.recoveries[recovery_id]

    def _planned(self, recovery: Recovery, wish: Wish) -> Recovery:
        """What the service does before it claims an operation."""
        found = plan(wish, self.topology, self.policy)
        if isinstance(found, Refusal):
            raise Refused(found.reason)
        others = clusters_of(self.topology, concerned(found)) - {recovery.cluster_id}
        return replace(recovery, plan=found, other_clusters=tuple(sorted(others)))

    def _primary_has_semi_sync(self, cluster_id: str) -> bool:
        primary = self.topology.primary_of(cluster_id)
        return bool(primary and primary.facts and primary.facts.semi_sync.source_enabled)

    # -- the loop

    def run(self, recovery_id: str = "r1") -> Recovery:
        """Until it has ended. Raises Crash where the test says so."""
        for _ in range(TURNS_MAX):
            recovery = self.state.recoveries[recovery_id]
            if not recovery.is_active:
                return recovery
            self._goes_on(recovery)
        raise AssertionError(f"{recovery_id} did not end in {TURNS_MAX} turns: {self.state.recoveries[recovery_id]}")

    def _goes_on(self, recovery: Recovery) -> None:
        """Turns until one is recorded: a turn without steps changes nothing that a new leader would miss."""
        for _ in range(TURNS_MAX):
            steps, outcomes, left = self._turn(recovery)
            self.hooks.turned(recovery, outcomes, left)
            if steps or not left.is_active:
                self._record(left)
                return
            recovery = left
        raise AssertionError(f"{recovery.id} turns without steps for ever in phase {recovery.phase}")

    def _turn(self, recovery: Recovery) -> tuple[tuple[Step, ...], Outcomes, Recovery]:
        kind = KINDS[recovery.kind]
        entered, steps = advance(kind, Entered(), self._context(recovery))
        if not entered.is_active:
            return steps, (), entered
        outcomes = self._perform(steps)
        left, _ = advance(kind, Performed(outcomes), self._context(recovery))
        return steps, outcomes, left

    def _context(self, recovery: Recovery) -> Context:
        hung_up = [key for key, each in self.seen.items() if each.reached and not self.fleet.by_key[key].alive]
        self.look(None if self.polling else hung_up)
        if self.guards:
            self.guard()
        return Context(
            recovery=recovery, topology=self.topology, policy=self.policy, now_ms=self.now_ms,
            paused=refuse_paused(self.state, recovery.cluster_id),
        )  # fmt: skip

    def _record(self, recovery: Recovery) -> None:
        if not recovery.is_active:
            self.look({*recovery.moved, *((recovery.successor,) if recovery.promoted and recovery.successor else ())})
        self.hooks.before_record(recovery)
        result = self.propose(RecordPhase if recovery.is_active else FinishRecovery, recovery=recovery)
        if not result.ok:
            raise Refused(result.reason)

    def _perform(self, steps: tuple[Step, ...]) -> Outcomes:
        for pause in (step for step in steps if isinstance(step, Pause)):
            self.now_ms += round(pause.deadline_s * 1000)
        sequences = list(by_server(steps).values())
        done_before_crash = self.hooks.crash_within(sequences)
        if done_before_crash is not None:
            for sequence, count in zip(sequences, done_before_crash, strict=True):
                self._do(sequence[:count])
            raise Crash
        done = [self._sequence(each) for each in (reversed(sequences) if self.reverse else sequences)]
        return tuple(outcome for outcomes in done for outcome in outcomes)

    def _sequence(self, steps: Sequence[Step]) -> Outcomes:
        waited_for = max((position for position, step in enumerate(steps, start=1) if step.required), default=0)
        count = max(waited_for, self.hooks.cut(steps)) if waited_for < len(steps) else len(steps)
        return self._do(steps[:count])

    def _do(self, steps: Sequence[Step]) -> Outcomes:
        outcomes = []
        for step in steps:
            self.hooks.before_step(step)
            outcome = self._step(step)
            outcomes.append(outcome)
            self.hooks.after_step(outcome)
            if not outcome.ok and getattr(step, "fail_stop", True):
                break
        return tuple(outcomes)

    def _step(self, step: Step) -> Outcome:
        complaint = self.hooks.instead(step)
        outcome = self.fleet.perform(step) if complaint is None else Outcome(step=step, ok=False, detail=complaint)
        self.now_ms += STEP_MS
        if isinstance(step, Reprobe):
            self._probe(step.key)
        return replace(outcome, at_ms=self.now_ms)

    # -- after a crash, and afterwards

    def guard(self) -> None:
        """Stale primaries are fenced as soon as they answer and are not, as the engine's guard does it."""
        for key, mark in self.state.stale.items():
            if self.state.pause_of(mark.cluster_id) is not None:
                continue
            needs_fence = mark.status is StaleStatus.OUT_OF_REACH or self.fleet.by_key[key].is_open
            if needs_fence and self.fleet.perform(Fence(key=key)).ok:
                self.propose(MarkStale, key=key, status=StaleStatus.FENCED)

    def take_over(self, recovery_id: str = "r1") -> None:
        """A new leader: nothing in memory but the replicated state; it probes everybody and resumes the claim."""
        self.term += 1
        self.seen, self.sights = {}, {}
        self.now_ms += 800
        self.look()
        recovery = self.state.recoveries.get(recovery_id)
        if recovery is not None and recovery.is_active:
            result = self.propose(ResumeRecovery, recovery_id=recovery_id, holder=f"node{self.term}", term=self.term)
            if not result.ok:
                raise Refused(result.reason)

    def bring_back(self, limit: int = 8) -> list[Recovery]:
        """Rejoin every server that waits for it, as the engine does, until nobody does."""
        ended: list[Recovery] = []
        for _ in range(limit):
            self.look()
            waiting = [key for cluster_id in self.state.clusters for key in returning(self.topology, cluster_id)]
            if not waiting:
                break
            name = self.fleet.by_key[waiting[0]].name
            rejoin_id = f"rejoin-{len(self.state.recoveries)}"
            self.claim("rejoin", name, recovery_id=rejoin_id)
            ended.append(self.run(rejoin_id))
        else:
            raise AssertionError(f"after {limit} attempts servers still wait to be taken back: {ended}")
        return ended


def by_server(steps: Iterable[Step]) -> dict[InstanceKey | None, tuple[Step, ...]]:
    """Steps in order, by server; hooks are one sequence of their own."""
    groups: dict[InstanceKey | None, tuple[Step, ...]] = {}
    for step in steps:
        if not isinstance(step, Pause):
            key = step.key if isinstance(step, ServerStep) else None
            groups[key] = (*groups.get(key, ()), step)
    return groups
