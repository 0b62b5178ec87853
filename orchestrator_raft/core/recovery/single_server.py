"""Repairs of one server in three moves: hooks, one more look, one act. Nobody's role changes.

Theory. What the analysis saw may be gone by now, and acting on a server that has changed is how a manager makes things
worse. So the whole cluster is read anew first, and ``still`` says why the repair must not be made after all. The act is
one step or two on that server, verified by their post-conditions, and tried a few times.

Three such repairs live here:
- ``open_primary``: a primary that is read-only takes writes again (the peers' RecoverNonWriteableMaster). Not while
  anybody else in the cluster takes writes, and not when a replica has transactions that the primary lacks: it lost some
  on its way, and whatever it wrote next would be a second history.
- ``fence_writer``: a server that takes writes beside the primary, and is no plain replica, is fenced. Not while it is
  open who of the two ought to have the role: co-primaries, and servers that replicas follow, are people's to decide.
- ``restore_semi_sync``: a primary that was restarted and waits for no acknowledgement since gets its semi-sync back, as
  it was before. Not before as many replicas as it waited for are connected to acknowledge, or every write would hang.
  No failover hooks run, since nobody's writes are interrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestrator_raft.core.instance import Facts, InstanceKey, SemiSync
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.ending import TELL, unsuccessful
from orchestrator_raft.core.recovery.losses import held_by
from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.promotion import RETRY_PAUSE_S, hooks
from orchestrator_raft.core.recovery.steps import (
    Fence,
    Outcomes,
    Pause,
    Reprobe,
    ServerStep,
    SetSemiSync,
    SetWritable,
    Step,
    failures,
    stopping,
    succeeded,
)
from orchestrator_raft.core.topology import Server, Topology

ATTEMPTS_MAX = 3
ACTING = "acting"
REPROBE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What makes one of these repairs different from the others."""

    name: str
    text: str
    refuse: Callable[[Topology, Server, Server | None], str]
    """Why it must not be made to this server, given the primary; asked before, and again with all freshly probed."""
    act: Callable[[Server], ServerStep]
    is_done: Callable[[Facts], bool]
    done: str
    of_primary: bool
    before: tuple[str, ...] = ("OnFailureDetectionProcesses", "PreFailoverProcesses")
    after: tuple[str, ...] = ("PostFailoverProcesses",)
    """Empty where nobody is told how it ended, either way."""

    def kind(self) -> Kind:
        """The row of the table of recoveries."""
        return Kind(
            self.name,
            self.text,
            (
                Phase("begin", "Run the detection and pre-failover hooks", self.enter_begin, self.leave_begin),
                Phase(
                    "look", "Read the cluster anew, and see whether it is still so", self.enter_look, self.leave_look
                ),
                Phase("act", "Repair it", self.enter_act, self.leave_act),
                Phase("close", "Run the last hooks and close the record", self.enter_close, self.leave_close),
                *((TELL,) if self.after else ()),
            ),
            counts=False,
            of_primary=self.of_primary,
            urgency=1,
            obstacle=self.obstacle,
        )

    def obstacle(self, topology: Topology, key: InstanceKey, policy: Policy) -> str:
        server = topology.server(key)
        return self.refuse(topology, server, topology.primary_of(server.cluster_id))

    def not_now(self, context: Context) -> str:
        return self.obstacle(context.topology, context.recovery.subject.key, context.policy)

    def enter_begin(self, context: Context) -> tuple[Step, ...]:
        return hooks(context, *self.before, fail_stop=True)

    def leave_begin(self, context: Context, outcomes: Outcomes) -> Recovery:
        broken, now = stopping(outcomes), context.now_ms
        if broken:
            text = f"a hook said no, nothing was changed: {broken[0]}"
            return self.in_vain(context, context.recovery.with_errors(broken), EndState.FAILED, text)
        return context.recovery.with_errors(failures(outcomes)).goto("look", now)

    def enter_look(self, context: Context) -> tuple[Step, ...]:
        members = context.topology.members(context.recovery.cluster_id)
        return tuple(Reprobe(key=each.key, deadline_s=REPROBE_S) for each in members if each.reached)

    def leave_look(self, context: Context, outcomes: Outcomes) -> Recovery:
        recovery, now = context.recovery, context.now_ms
        facts = context.topology.server(recovery.subject.key).fresh
        if recovery.mark_time(ACTING) is not None and facts is not None and self.is_done(facts):
            return self.closing(recovery, now)
        reason = _not_read(context, outcomes) or self.not_now(context)
        if reason:
            return self.in_vain(context, recovery, EndState.UNDONE, f"nothing was changed: {reason}")
        return recovery.marked(ACTING, now).goto("act", now)

    def closing(self, recovery: Recovery, now_ms: int) -> Recovery:
        key = recovery.subject.key
        done = replace(recovery, successor=key if self.of_primary else None, moved=(key,), attempt=1)
        return done.marked(self.done, now_ms, str(key)).goto("close", now_ms)

    def enter_act(self, context: Context) -> tuple[Step, ...]:
        if self.not_now(context):  # a new leader begins here, and the world has gone on
            return ()
        server = context.topology.server(context.recovery.subject.key)
        pause = (Pause(deadline_s=RETRY_PAUSE_S),) if context.recovery.attempt > 1 else ()
        return (*pause, self.act(server), Reprobe(key=server.key, deadline_s=REPROBE_S))

    def leave_act(self, context: Context, outcomes: Outcomes) -> Recovery:
        recovery, now = context.recovery.with_errors(failures(outcomes)), context.now_ms
        key = recovery.subject.key
        acted = any(each.ok and each.key == key and not isinstance(each.step, Reprobe) for each in outcomes)
        if acted:
            return self.closing(recovery, now)
        if recovery.attempt < ATTEMPTS_MAX:
            return replace(recovery, attempt=recovery.attempt + 1).goto("look", now)
        why = recovery.errors[-1] if recovery.errors else "it did not answer"
        return self.in_vain(context, recovery, EndState.FAILED, f"{key} could not be repaired: {why}")

    def enter_close(self, context: Context) -> tuple[Step, ...]:
        return hooks(context, *self.after)

    def leave_close(self, context: Context, outcomes: Outcomes) -> Recovery:
        recovery = context.recovery.with_errors(failures(outcomes))
        return recovery.ended(EndState.SUCCEEDED, context.now_ms, f"{recovery.subject.key} {self.done}")

    def in_vain(self, context: Context, recovery: Recovery, end: EndState, text: str) -> Recovery:
        if not self.after:
            return recovery.ended(end, context.now_ms, text)
        return unsuccessful(context, recovery, end, text)


def _not_read(context: Context, outcomes: Outcomes) -> str:
    key = context.recovery.subject.key
    return "" if succeeded(outcomes, Reprobe, key) is not None else f"{key} does not answer"


def _writers(topology: Topology, but: Server) -> list[Server]:
    members = topology.members(but.cluster_id)
    return [each for each in members if each.key != but.key and each.fresh is not None and each.fresh.is_writable]


def not_to_be_opened(topology: Topology, server: Server, primary: Server | None) -> str:
    """Why the primary must stay read-only."""
    if primary is None or primary.key != server.key:
        return f"{server.key} does not hold the role any more"
    facts = server.fresh
    if facts is None or server.stale is not None or server.set_aside:
        return server.set_aside or f"{server.key} does not answer, or it was demoted"
    if facts.is_writable:
        return f"{server.key} takes writes again"
    writers = _writers(topology, server)
    if writers:
        return f"{', '.join(str(each.key) for each in writers)} takes writes: make one of them read-only first"
    held = held_by(topology.replicas_of(server.key))
    lacking = None if held is None or facts.executed is None or held.family != facts.executed.family else held
    extra = lacking.minus(facts.executed) if lacking is not None and facts.executed is not None else None
    if extra:
        return f"its replicas have transactions that {server.key} lacks, so it must not write: {extra.describe(200)}"
    return ""


def not_to_be_fenced(topology: Topology, server: Server, primary: Server | None) -> str:
    """Why a second writer is left alone."""
    if primary is None or primary.fresh is None or primary.stale is not None or primary.key == server.key:
        return "the role is open: nobody else is known to hold it"
    if not primary.fresh.is_writable:
        return f"the role is open: {primary.key} is read-only"
    if server.fresh is None or not server.fresh.is_writable:
        return f"{server.key} takes no writes any more"
    return contested(server, primary)


def contested(server: Server, primary: Server) -> str:
    """Why nobody but people can say which of the two ought to take writes; empty when the record decides."""
    if server.is_co_primary:
        return f"{server.key} and {primary.key} are co-primaries: people decide which of them takes writes"
    if server.replicas and server.source is None:
        return f"replicas follow {server.key}: people decide whether it or {primary.key} is the primary"
    return ""


def _semi_sync_before(server: Server) -> SemiSync | None:
    """What it was before the restart that took it away."""
    observation = server.observation
    before = observation.history.before_restart if observation is not None else None
    return before.semi_sync if before is not None and before.semi_sync.source_enabled else None


def not_to_wait(topology: Topology, server: Server, primary: Server | None) -> str:
    """Why the primary must not wait for acknowledgements again."""
    if primary is None or primary.key != server.key:
        return f"{server.key} does not hold the role any more"
    facts, before = server.fresh, _semi_sync_before(server)
    if facts is None or server.stale is not None or server.set_aside:
        return server.set_aside or f"{server.key} does not answer, or it was demoted"
    if facts.semi_sync.source_enabled:
        return f"{server.key} waits for acknowledgements again"
    if before is None:
        return f"what semi-sync of {server.key} was like before its restart is not known any more: set it by hand"
    if not facts.semi_sync.available:
        return f"{server.key} was started without the semi-sync plugins: load them, best in its configuration"
    wanted, connected = max(1, before.wait_for_replica_count), facts.semi_sync.source_clients
    if connected < wanted:
        return (
            f"{server.key} would wait for {wanted} acknowledgements, and {connected} semi-sync replicas are connected: "
            "switch semi-sync on at more replicas"
        )
    return ""


def _wait_again(server: Server) -> ServerStep:
    before = _semi_sync_before(server) or SemiSync()
    count, timeout_ms = before.wait_for_replica_count or None, before.timeout_ms or None
    return SetSemiSync(key=server.key, source_enabled=True, wait_for_replica_count=count, timeout_ms=timeout_ms)


OPEN_PRIMARY = Repair(
    name="open_primary", text="Make a primary that is read-only writable again", refuse=not_to_be_opened,
    act=lambda server: SetWritable(key=server.key), done="takes writes again", of_primary=True,
    is_done=lambda facts: facts.is_writable,
).kind()  # fmt: skip
FENCE_WRITER = Repair(
    name="fence_writer", text="Fence a server that takes writes beside the primary", refuse=not_to_be_fenced,
    act=lambda server: Fence(key=server.key), done="is fenced", of_primary=False,
    is_done=lambda facts: not facts.is_writable,
).kind()  # fmt: skip
RESTORE_SEMI_SYNC = Repair(
    name="restore_semi_sync", text="Let a restarted primary wait for acknowledgements again", refuse=not_to_wait,
    act=_wait_again, done="waits for acknowledgements again", of_primary=True,
    is_done=lambda facts: facts.semi_sync.source_enabled, before=("OnFailureDetectionProcesses",), after=(),
).kind()  # fmt: skip
