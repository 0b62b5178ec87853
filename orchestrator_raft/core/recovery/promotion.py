"""The second half that every change of primary shares: promote, bring the others along, tell the world, close.

Theory. The successor is already in the record (so a new leader goes on with the same one) when ``promote`` begins. Its
own steps are required; the other replicas are pointed at it at the same time, without being waited for, because under
semi-sync the new primary can acknowledge nothing until they are connected. ``repoint`` names the same steps again,
joins those that still run and collects what became of each server, so that none is left behind silently.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.machine import Context, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.steps import (
    FireHook,
    Outcomes,
    Pause,
    PointTo,
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
REPOINT_DRAIN_S = 3.0
REPOINT_DEADLINE_S = 5.0


def hooks(context: Context, *names: str, fail_stop: bool = False) -> tuple[Step, ...]:
    """Steps for those of the lists that are configured."""
    recovery, policy = context.recovery, context.policy
    if recovery.request.skip_hooks:
        return ()
    return tuple(
        FireHook(hook=name, fail_stop=fail_stop, deadline_s=policy.hook_timeout_s * len(commands) + 1.0)
        for name in names
        if (commands := policy.hooks.get(name))
    )


def others(context: Context) -> tuple[Server, ...]:
    """Servers that have to follow the successor: the old primary's replicas, as recorded at the claim."""
    recovery, topology = context.recovery, context.topology
    outside = {recovery.successor, recovery.subject.key, *recovery.stale}
    keys = [key for key in recovery.subject.replicas if key not in outside and key in topology.servers]
    return tuple(topology.servers[key] for key in keys)


def follow(context: Context, server: Server, *, required: bool) -> tuple[Step, ...]:
    """Steps that put ``server`` below the successor; it first applies what it has, since that drops relay logs."""
    successor = context.recovery.successor
    if successor is None:
        return ()
    drain = WaitApplied(key=server.key, deadline_s=REPOINT_DRAIN_S, required=required)
    point = PointTo(
        key=server.key,
        source=successor,
        credentials_from=(successor,),
        deadline_s=REPOINT_DEADLINE_S,
        required=required,
    )
    return drain, point


def demoted(context: Context, *, required: bool) -> tuple[Step, ...]:
    """Steps that make a fenced old primary a replica of the successor."""
    recovery = context.recovery
    if recovery.successor is None or not recovery.fenced or recovery.kind == "dead_primary":
        return ()
    return (
        SetSemiSync(key=recovery.subject.key, replica_enabled=True if recovery.semi_sync else None, required=required),
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
    own: list[Step] = [WaitApplied(key=successor, gtids=recovery.target_gtids, deadline_s=policy.catch_up_limit_s)]
    if policy.apply_promotion:
        own += [StopReplication(key=successor), ResetReplication(key=successor)]
        if recovery.semi_sync:
            own.append(
                SetSemiSync(
                    key=successor, source_enabled=True, wait_for_replica_count=recovery.wait_for_replica_count or None
                )
            )
        own.append(SetWritable(key=successor))
    beside = [step for server in others(context) if server.reached for step in follow(context, server, required=False)]
    return (*_pause(recovery), *own, *beside, *demoted(context, required=False))


def _pause(recovery: Recovery) -> tuple[Step, ...]:
    return (Pause(deadline_s=RETRY_PAUSE_S),) if recovery.attempt > 1 else ()


OnFailure = Callable[[Recovery, Outcomes, int], Recovery]
"""What becomes of a recovery whose successor could not be promoted: (recovery, outcomes, now_ms)."""


def promote_phase(on_failure: OnFailure) -> Phase:
    """The phase of promotion; kinds differ only in what follows when it fails for good."""

    def leave(context: Context, outcomes: Outcomes) -> Recovery:
        recovery, now = context.recovery, context.now_ms
        successor = recovery.successor
        if successor is None:
            return on_failure(recovery, outcomes, now)
        opened = succeeded(outcomes, SetWritable if context.policy.apply_promotion else WaitApplied, successor)
        if opened is not None:
            promoted = replace(recovery, promoted=True, attempt=1).marked("promoted", opened.at_ms, str(successor))
            return promoted.goto("repoint", now)
        recovery = recovery.with_errors(failures(tuple(each for each in outcomes if each.key == successor)))
        drained = succeeded(outcomes, WaitApplied, successor) is not None
        if drained and recovery.attempt < PROMOTE_ATTEMPTS_MAX:
            return replace(recovery, attempt=recovery.attempt + 1).goto("promote", now)
        return on_failure(replace(recovery, attempt=1), outcomes, now)

    text = "Drain the successor's applier and open it for writes; point the others at it meanwhile"
    return Phase("promote", text, enter_promote, leave)


def was_opened(recovery: Recovery, outcomes: Outcomes) -> bool:
    """The successor was told to accept writes, so it may do so although no success was heard."""
    return any(isinstance(each.step, SetWritable) and each.key == recovery.successor for each in outcomes)


def enter_repoint(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    done = set(recovery.moved)
    followers = [server for server in others(context) if server.reached and server.key not in done]
    steps = [step for server in followers for step in follow(context, server, required=True)]
    if recovery.subject.key not in done:
        steps += demoted(context, required=True)
    told = hooks(context, "PostMasterFailoverProcesses") if recovery.attempt == 1 else ()
    return (*_pause(recovery), *told, *steps)


def leave_repoint(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    pointed = [each for each in outcomes if each.ok and isinstance(each.step, PointTo) and each.key is not None]
    moved = tuple(sorted({*recovery.moved, *(each.key for each in pointed if each.key is not None)}))
    recovery = replace(recovery, moved=moved).with_errors(failures(outcomes))
    wanted = {server.key for server in others(context)} | _demoted_key(context)
    missing = tuple(sorted(wanted - set(moved)))
    last = max((each.at_ms for each in pointed), default=now)
    if not missing:
        return replace(recovery, attempt=1).marked("repointed", last, f"{len(moved)} servers").goto("close", now)
    if recovery.attempt < REPOINT_ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).goto("repoint", now)
    return _give_up_on(recovery, missing, now)


def _demoted_key(context: Context) -> set[InstanceKey]:
    step = demoted(context, required=True)
    return {context.recovery.subject.key} if step else set()


def _give_up_on(recovery: Recovery, missing: tuple[InstanceKey, ...], now_ms: int) -> Recovery:
    """Servers that did not follow are named; the old primary joins the stale list, to be attached when it is back."""
    names = ", ".join(str(key) for key in missing)
    stale = {key for key in missing if key == recovery.subject.key}
    given_up = replace(recovery, lost=missing, stale=tuple(sorted({*recovery.stale, *stale})), attempt=1)
    text = f"not attached to {recovery.successor}: {names}; each is attached as soon as it answers"
    return given_up.with_errors((text,)).marked("left behind", now_ms, names).goto("close", now_ms)


def enter_close(context: Context) -> tuple[Step, ...]:
    graceful = context.recovery.kind == "takeover"
    return hooks(context, "PostFailoverProcesses", *(("PostGracefulTakeoverProcesses",) if graceful else ()))


def leave_close(context: Context, outcomes: Outcomes) -> Recovery:
    recovery = context.recovery.with_errors(failures(outcomes))
    return recovery.ended(EndState.SUCCEEDED, context.now_ms, f"{recovery.successor} is the primary")


def enter_release(context: Context) -> tuple[Step, ...]:
    """Give up without a promotion: no replica stays stopped."""
    steps = [
        StartReplication(key=server.key)
        for server in context.topology.replicas_of(context.recovery.subject.key)
        if server.reached
    ]
    return (*steps, *hooks(context, "PostUnsuccessfulFailoverProcesses"))


def leave_release(context: Context, outcomes: Outcomes) -> Recovery:
    recovery = context.recovery.with_errors(failures(outcomes))
    text = recovery.errors[0] if recovery.errors else "no server was fit to be promoted"
    return recovery.ended(EndState.FAILED, context.now_ms, text)


REPOINT = Phase("repoint", "Put the other servers below the successor", enter_repoint, leave_repoint)
CLOSE = Phase("close", "Run the last hooks and close the record", enter_close, leave_close)
RELEASE = Phase("release", "Nobody is promoted: start replication again", enter_release, leave_release)
