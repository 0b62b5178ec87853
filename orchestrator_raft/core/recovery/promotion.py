"""The second half that every change of primary shares: promote, bring the others along, tell the world, close.

Theory. The successor is already in the record (so a new leader goes on with the same one) when ``promote`` begins. Its
own steps are required; the other replicas are pointed at it at the same time, without being waited for, because under
semi-sync the new primary can acknowledge nothing until they are connected. ``repoint`` names the same steps again,
joins those that still run and collects what became of each server, so that none is left behind silently.

Only servers that were compared when the successor was chosen follow it here: the successor has all that they have. Any
other one may hold more, so it is left behind on a list, and compared and attached, or kept out, when it answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from orchestrator_raft.core.instance import InstanceKey, ThreadState
from orchestrator_raft.core.policy import ExitPolicy
from orchestrator_raft.core.recovery.event_scheduler import of_others, switched, with_complaints
from orchestrator_raft.core.recovery.machine import Context, Phase
from orchestrator_raft.core.recovery.model import RESUMED, EndState, Recovery
from orchestrator_raft.core.recovery.places import as_said
from orchestrator_raft.core.recovery.steps import (
    FireHook,
    Outcomes,
    Pause,
    PointAt,
    PointTo,
    Reprobe,
    ResetReplication,
    SetSemiSync,
    SetWritable,
    StartReplication,
    Step,
    StopReplication,
    WaitApplied,
    failures,
    succeeded,
)
from orchestrator_raft.core.topology import Server

PROMOTE_ATTEMPTS_MAX = 2
REPOINT_ATTEMPTS_MAX = 4
RETRY_PAUSE_S = 0.25
OPENING = "opening"
"""Mark on the timeline: the successor was told to forget its source and then to accept writes, with what end nobody
heard."""
LISTED = "listed"
"""Mark on the timeline: the old primary of a takeover does not answer, and nobody acknowledges what it takes now."""
REPOINT_DRAIN_S = 3.0
FOLLOWS = (PointTo, StartReplication)
"""The last step of those that let a server follow the successor, by GTID or by position."""
REPOINT_DEADLINE_S = 5.0


def hooks(context: Context, *names: str, fail_stop: bool = False) -> tuple[FireHook, ...]:
    """Steps for those of the lists that are configured; with ``fail_stop`` each stops the recovery if it may."""
    recovery, policy = context.recovery, context.policy
    if recovery.request.skip_hooks:
        return ()
    return tuple(
        FireHook(
            hook=name,
            fail_stop=fail_stop and policy.hook_exit(name) is ExitPolicy.ABORT,
            deadline_s=policy.hook_timeout_s * len(commands) + 1.0,
        )
        for name in names
        if (commands := policy.hooks.get(name))
    )


def others(context: Context) -> tuple[Server, ...]:
    """Servers that have to follow the successor: the old primary's replicas that were compared with it."""
    recovery, topology = context.recovery, context.topology
    outside = {recovery.successor, recovery.subject.key, *recovery.stale}
    keys = [key for key in recovery.followers if key not in outside and key in topology.servers]
    return tuple(topology.servers[key] for key in keys)


def follow(context: Context, server: Server, *, required: bool) -> tuple[Step, ...]:
    """Steps that put ``server`` below the successor.

    It first applies what it has, since a change of source drops relay logs, but only where that can be quick: the
    successor has it all, so one that is delayed, broken or slow fetches it again.
    """
    successor, channel = context.recovery.successor, server.channel
    if successor is None:
        return ()
    if context.recovery.coordinates is not None:
        return _follow_by_position(context.recovery, server, successor)
    point = PointTo(
        key=server.key,
        source=successor,
        credentials_from=(successor,),
        deadline_s=REPOINT_DEADLINE_S,
        required=required,
    )
    drains = channel is not None and channel.applier is ThreadState.RUNNING and channel.delay_s == 0
    if context.recovery.attempt > 1 or not drains:
        return (point,)
    return WaitApplied(key=server.key, deadline_s=REPOINT_DRAIN_S, required=required), point


def _follow_by_position(recovery: Recovery, server: Server, successor: InstanceKey) -> tuple[Step, ...]:
    """Without GTIDs it stands where the successor stood, and has been stopped."""
    if recovery.coordinates is None or recovery.left_at is None:
        return ()
    point = PointAt(
        key=server.key, source=as_said(server, successor), place=recovery.coordinates,
        left_source=as_said(server, recovery.subject.key), left_at=recovery.left_at, deadline_s=REPOINT_DEADLINE_S,
    )  # fmt: skip
    return point, StartReplication(key=server.key, deadline_s=REPOINT_DEADLINE_S)


def demoted(context: Context, *, required: bool) -> tuple[Step, ...]:
    """Steps that make a fenced old primary a replica of the successor.

    Its semi-sync source side is switched off: it takes no writes any more, and its applier would wait for ackers.
    """
    recovery = context.recovery
    if recovery.successor is None or not recovery.fenced or recovery.kind == "dead_primary":
        return ()
    role = SetSemiSync(key=recovery.subject.key, source_enabled=False, replica_enabled=True, required=required)
    return (
        *((role,) if recovery.semi_sync else ()),
        PointTo(
            key=recovery.subject.key,
            source=recovery.successor,
            options=recovery.channel_options,
            credentials_from=(recovery.successor, *recovery.subject.replicas),
            was_primary=True,
            start=recovery.request.start_old_primary,
            deadline_s=REPOINT_DEADLINE_S,
            required=required,
        ),
    )


def enter_promote(context: Context) -> tuple[Step, ...]:
    recovery, policy = context.recovery, context.policy
    successor = recovery.successor
    if successor is None:
        return ()
    own: list[Step] = [] if recovery.attempt == 1 else [Reprobe(key=successor, deadline_s=1.0)]
    own += [WaitApplied(key=successor, gtids=recovery.target_gtids, deadline_s=policy.catch_up_limit_s)]
    if _is_applied(context):
        own += [StopReplication(key=successor), ResetReplication(key=successor)]
        if recovery.semi_sync:
            own.append(
                SetSemiSync(
                    key=successor, source_enabled=True, wait_for_replica_count=recovery.wait_for_replica_count or None
                )
            )
        own.append(SetWritable(key=successor))
    is_open = recovery.coordinates is None  # by position a replica that was pointed away could not be chosen any more
    early = [server for server in others(context) if server.reached and is_open]
    beside = [step for server in early for step in follow(context, server, required=False)]
    return (*_pause(recovery), *own, *beside, *demoted(context, required=False))


def listed(recovery: Recovery, now_ms: int, why: str) -> Recovery:
    """The old primary does not answer any more, and a restart may open it: nobody is promoted before it is listed."""
    stale = tuple(sorted({*recovery.stale, recovery.subject.key}))
    return replace(recovery, fenced=False, stale=stale).marked(LISTED, now_ms, why)


def _is_applied(context: Context) -> bool:
    """Promotion is carried out by us; of a failover people may have kept that for themselves."""
    return context.policy.apply_promotion or context.recovery.kind == "takeover"


def _with_moved(recovery: Recovery, outcomes: Outcomes) -> Recovery:
    """Note who follows the successor by now."""
    pointed = {each.step.key for each in outcomes if each.ok and isinstance(each.step, FOLLOWS)}
    return replace(recovery, moved=tuple(sorted({*recovery.moved, *pointed})))


def _pause(recovery: Recovery) -> tuple[Step, ...]:
    return (Pause(deadline_s=RETRY_PAUSE_S),) if recovery.attempt > 1 else ()


OnFailure = Callable[[Context, Recovery, Outcomes], Recovery]
"""What becomes of a recovery whose successor could not be promoted."""


def promote_phase(on_failure: OnFailure) -> Phase:
    """The phase of promotion; kinds differ only in what follows when it fails for good."""

    def leave(context: Context, outcomes: Outcomes) -> Recovery:
        recovery, now = context.recovery, context.now_ms
        successor = recovery.successor
        if successor is None:
            return on_failure(context, recovery, outcomes)
        opened = succeeded(outcomes, SetWritable if _is_applied(context) else WaitApplied, successor)
        if opened is not None:
            promoted = replace(recovery, promoted=True, attempt=1).marked("promoted", opened.at_ms, str(successor))
            return _with_moved(promoted, outcomes).goto("repoint", now)
        recovery = recovery.with_errors(failures(tuple(each for each in outcomes if each.key == successor)))
        if any(isinstance(each.step, StopReplication) and each.key == successor for each in outcomes):
            recovery = recovery.marked(OPENING, now, str(successor))
        limit_ms = context.policy.catch_up_limit_s * 1000
        has_time = succeeded(outcomes, WaitApplied, successor) or now - recovery.phase_started_ms < limit_ms / 2
        if has_time and recovery.attempt < PROMOTE_ATTEMPTS_MAX:
            return replace(recovery, attempt=recovery.attempt + 1).goto("promote", now)
        return on_failure(context, replace(recovery, attempt=1), outcomes)

    text = "Drain the successor's applier and open it for writes; point the others at it meanwhile"
    return Phase("promote", text, enter_promote, leave)


def may_be_open(recovery: Recovery) -> bool:
    """The successor is a replica no more and may take writes: we told it so, or an earlier leader may have."""
    names = [mark.name for mark in recovery.timeline]
    since = len(names) - names[::-1].index("chosen") if "chosen" in names else 0
    return not {OPENING, RESUMED}.isdisjoint(names[since:])


def enter_repoint(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    done = set(recovery.moved)
    followers = [server for server in others(context) if server.reached and server.key not in done]
    steps = [step for server in followers for step in follow(context, server, required=True)]
    if recovery.subject.key not in done:
        steps += demoted(context, required=True)
    if _is_applied(context):
        steps += switched(context, recovery.successor, on=True)
    told = hooks(context, "PostMasterFailoverProcesses") if recovery.attempt == 1 else ()
    return (*_pause(recovery), *told, *steps)


def leave_repoint(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    recovery = _with_moved(recovery, outcomes).with_errors(failures(of_others(outcomes)))
    recovery = with_complaints(recovery, outcomes)
    wanted = {server.key for server in others(context)} | _demoted_key(context)
    missing = wanted - set(recovery.moved)
    if missing and recovery.attempt < REPOINT_ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).goto("repoint", now)
    last = max((each.at_ms for each in outcomes if each.ok and isinstance(each.step, FOLLOWS)), default=now)
    recovery = replace(recovery, attempt=1).marked("repointed", last, f"{len(recovery.moved)} servers")
    return _name_the_rest(context, recovery, missing).goto("close", now)


def _demoted_key(context: Context) -> set[InstanceKey]:
    step = demoted(context, required=True)
    return {context.recovery.subject.key} if step else set()


def _name_the_rest(context: Context, recovery: Recovery, missing: set[InstanceKey]) -> Recovery:
    """Servers that did not follow are named; the old primary joins the stale list, to be attached when it is back."""
    known = {key for key in recovery.subject.replicas if key in context.topology.servers}
    lost = tuple(sorted((known | missing) - {*recovery.moved, recovery.successor, *recovery.stale}))
    if not lost:
        return recovery
    names = ", ".join(str(key) for key in lost)
    stale = {key for key in lost if key == recovery.subject.key}
    left = replace(recovery, lost=lost, stale=tuple(sorted({*recovery.stale, *stale})))
    text = f"not attached to {recovery.successor}: {names}; each is taken back as soon as it answers"
    if recovery.coordinates is not None:
        text = f"lost to {recovery.successor}: {names}; without GTIDs only who stood where it stood can follow: rebuild"
    return left.with_errors((text,)).marked("left behind", context.now_ms, names)


def enter_close(context: Context) -> tuple[Step, ...]:
    graceful = context.recovery.kind == "takeover"
    return hooks(context, "PostFailoverProcesses", *(("PostGracefulTakeoverProcesses",) if graceful else ()))


def leave_close(context: Context, outcomes: Outcomes) -> Recovery:
    recovery = context.recovery.with_errors(failures(outcomes))
    return recovery.ended(EndState.SUCCEEDED, context.now_ms, f"{recovery.successor} is the primary")


REPOINT = Phase("repoint", "Put the other servers below the successor", enter_repoint, leave_repoint)
CLOSE = Phase("close", "Run the last hooks and close the record", enter_close, leave_close)
