"""Recovery of a cluster whose primary is dead, or is declared dead by a person.

Theory (design D4). A primary that answers is fenced before anything else is touched. Then the receivers of the
replicas are stopped: from then on nobody can acknowledge a commit of the old primary, and what each replica has stands
still and can be compared. Only servers that were stopped and read are compared. The successor is committed together
with the old primary as a stale one, which is taken back, or kept out, when it answers. If too few possible ackers
answered to know of all acknowledged transactions, the loss policy decides: by default wait, then refuse and name the
missing server; it is tried again at once when that answers, and a person may accept the loss.

A successor may be lost while it is promoted. Then another one is chosen, and if it may have been opened for writes it
goes on the stale list too. What the first choice had to save is still to be saved, and what the lost one may have
acknowledged itself is held by its followers.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.candidates import Verdict, choose, is_by_position, possible_ackers, unfit
from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.recovery.by_position import enter_drain, leave_drain
from orchestrator_raft.core.recovery.ending import TELL, unsuccessful
from orchestrator_raft.core.recovery.event_scheduler import switched, with_complaints
from orchestrator_raft.core.recovery.losses import (
    CHOSEN,
    how_to_accept,
    is_loss_accepted,
    loss_risk,
    lost_transactions,
    target_text,
    too_long,
    with_risk,
)
from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery, RefusedServer
from orchestrator_raft.core.recovery.promotion import CLOSE, REPOINT, RETRY_PAUSE_S, hooks, may_be_open, promote_phase
from orchestrator_raft.core.recovery.recheck import (
    enter_recheck,
    is_old,
    is_resumed_untouched,
    leave_recheck,
    replicas,
)
from orchestrator_raft.core.recovery.release import RELEASE, give_up
from orchestrator_raft.core.recovery.steps import (
    Fence,
    Outcomes,
    Pause,
    PointTo,
    Reprobe,
    Step,
    StopReceiver,
    WaitApplied,
    failures,
    stopping,
    succeeded,
)
from orchestrator_raft.core.recovery.undo import RESTORE, REVOKE, UNDO
from orchestrator_raft.core.topology import Server, StaleStatus

ACKER_WAIT_MS = 10_000
"""How long a failover waits for possible ackers that do not answer before it refuses."""
FENCE_DEAD_S = 0.25
FENCE_ATTEMPTS_MAX = 3
FREEZE_ATTEMPTS_MAX = 3
BEFORE = ("OnFailureDetectionProcesses", "PreFailoverProcesses")
CATCH_UP_ATTEMPTS_MAX = 2


def enter_begin(context: Context) -> tuple[Step, ...]:
    return hooks(context, *BEFORE, fail_stop=True)


def leave_begin(context: Context, outcomes: Outcomes) -> Recovery:
    broken = stopping(outcomes)
    if broken:
        text = f"a hook said no, nothing was changed: {broken[0]}"
        return unsuccessful(context, context.recovery.with_errors(broken), EndState.FAILED, text)
    took_time = [step for step in hooks(context, *BEFORE) if step.hook not in context.policy.unwaited_lists]
    if took_time or is_old(context):
        return context.recovery.with_errors(failures(outcomes)).goto("recheck", context.now_ms)
    return leave_recheck(context, outcomes)


def enter_freeze(context: Context) -> tuple[Step, ...]:
    if is_resumed_untouched(context):
        return ()
    recovery = context.recovery
    failed = context.topology.server(recovery.subject.key)
    pause: tuple[Step, ...] = (Pause(deadline_s=RETRY_PAUSE_S),) if recovery.attempt > 1 else ()
    if failed.reached and not recovery.fenced:
        return (*pause, Fence(key=failed.key), Reprobe(key=failed.key), *switched(context, failed.key, on=False))
    steps: list[Step] = []
    if not recovery.fenced:
        steps.append(Fence(key=failed.key, deadline_s=FENCE_DEAD_S, required=False))
        steps.append(Reprobe(key=failed.key, required=False))
    for replica in replicas(context):
        steps.append(StopReceiver(key=replica.key, required=replica.reached))
        steps.append(Reprobe(key=replica.key, required=replica.reached, deadline_s=1.0))
    for server in former_replicas(context):
        if server.reached:
            steps += _hold_still(context, server)
            steps.append(Reprobe(key=server.key, deadline_s=1.0))
    return (*pause, *steps)


def _hold_still(context: Context, server: Server) -> tuple[Step, ...]:
    """One that was being attached to the failed primary: nothing said to it earlier may act later, nor may it receive.

    The first step makes it so for statements, whoever said them: the acting session ends every earlier one (D4).
    """
    if not _was_being_attached(context, server.key):
        return ()
    fence = (Fence(key=server.key, deadline_s=1.0),) if context.topology.server(server.key).stale is not None else ()
    return (*fence, *((StopReceiver(key=server.key),) if server.channel is not None else ()))


def _was_being_attached(context: Context, key: InstanceKey) -> bool:
    cluster = context.topology.clusters.get(context.recovery.cluster_id)
    is_late = cluster is not None and key in cluster.record.left_behind
    return is_late or context.topology.server(key).stale is not None


def _stands_still(context: Context, server: Server) -> bool:
    """It receives nothing from the failed primary."""
    channel = server.channel
    return server.source != context.recovery.subject.key or channel is None or not channel.receives


def former_replicas(context: Context) -> tuple[Server, ...]:
    """Possible ackers that do not replicate from the primary any more: what they got from it counts, no more.

    They were moved below another replica, or they are successors that were lost in an earlier attempt and are fenced,
    or they were just being taken back and are stopped.
    """
    recovery, topology = context.recovery, context.topology
    cluster = topology.clusters.get(recovery.cluster_id)
    outside = {recovery.subject.key, *recovery.subject.replicas, *recovery.stale}
    ackers = possible_ackers(topology, cluster.record) if cluster is not None else ()
    servers = [topology.servers[key] for key in ackers if key in topology.servers and key not in outside]
    return tuple(
        replace(server, stale=None)
        for server in servers
        if (server.source != recovery.subject.key or _was_being_attached(context, server.key))
        and (server.stale is None or (server.stale.status is not StaleStatus.QUARANTINED and not server.stale.unsound))
    )


def leave_freeze(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    if not outcomes and is_resumed_untouched(context):
        return recovery.goto("recheck", now)
    failed = context.topology.server(recovery.subject.key)
    fenced = recovery.fenced or succeeded(outcomes, Fence, failed.key) is not None
    recovery = with_complaints(replace(recovery, fenced=fenced), outcomes)
    if failed.reached and not recovery.fenced:
        return _not_fenced(context, recovery, outcomes)
    every = replicas(context)
    if recovery.fenced and not context.recovery.fenced:
        recovery = recovery.marked("fenced", now, str(failed.key))
    if _was_about_the_primary_alone(outcomes, failed.key):
        return replace(recovery, attempt=1 if recovery.fenced else recovery.attempt + 1).goto("freeze", now)
    frozen = tuple(server for server in every if server.reached and is_frozen(outcomes, server.key))
    former = tuple(
        each
        for each in former_replicas(context)
        if each.reached and succeeded(outcomes, Reprobe, each.key) and _stands_still(context, each)
    )
    if not frozen and any(server.reached for server in every) and recovery.attempt < FREEZE_ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).goto("freeze", now)
    risk = loss_risk(context, (*frozen, *former))
    if risk is not None and not is_loss_accepted(context, semi_sync=risk.semi_sync):
        return _wait_for_ackers(context, recovery, risk.as_obstacle)
    if is_by_position(frozen):
        return replace(_with_silent(context, recovery, outcomes), attempt=1, followers=()).goto("drain", now)
    designated = recovery.request.designated
    designated = None if designated in recovery.stale else designated
    verdict = choose(failed, frozen, context.policy, designated, former=former)
    decided = chosen(context, _with_refused(context, recovery, outcomes, verdict), failed, verdict)
    return with_risk(decided, risk, now) if decided.successor is not None else decided


def _was_about_the_primary_alone(outcomes: Outcomes, primary: InstanceKey) -> bool:
    """It answered when the turn began, so that turn was for nothing but to fence it."""
    return any(isinstance(each.step, Fence) and each.key == primary and each.step.required for each in outcomes)


def _not_fenced(context: Context, recovery: Recovery, outcomes: Outcomes) -> Recovery:
    text = f"{recovery.subject.key} is alive and could not be fenced: {'; '.join(failures(outcomes))}"
    recovery = recovery.marked("not fenced", context.now_ms, text)
    if recovery.count_marks("not fenced") < FENCE_ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).goto("freeze", context.now_ms)
    return give_up(context, recovery, text)


def _wait_for_ackers(context: Context, recovery: Recovery, obstacle: str) -> Recovery:
    now = context.now_ms
    waits_since = recovery.timeline[-1] if recovery.timeline else None
    if waits_since is None or waits_since.name != "waiting":
        recovery = recovery.marked("waiting", now, obstacle)
        waits_since = recovery.timeline[-1]
    if now - waits_since.at_ms < ACKER_WAIT_MS:
        return replace(recovery, attempt=recovery.attempt + 1).goto("freeze", now)
    return give_up(context, recovery, obstacle)


def is_frozen(outcomes: Outcomes, key: InstanceKey) -> bool:
    """Its receiver was stopped, and it was read afterwards."""
    return succeeded(outcomes, StopReceiver, key) is not None and succeeded(outcomes, Reprobe, key) is not None


def _with_refused(context: Context, recovery: Recovery, outcomes: Outcomes, verdict: Verdict) -> Recovery:
    """Everybody who is not chosen, and why: lost successors, servers that could not be stopped and read, the others."""
    known = _with_silent(context, recovery, outcomes).refused
    compared = tuple(RefusedServer(refusal.key, refusal.reason) for refusal in verdict.refused)
    return replace(recovery, refused=(*known, *compared))


def _with_silent(context: Context, recovery: Recovery, outcomes: Outcomes) -> Recovery:
    lost = tuple(each for each in recovery.refused if each.key in recovery.stale)
    silent = tuple(
        RefusedServer(server.key, "it could not be stopped and read: " + _complaint(outcomes, server.key))
        for server in replicas(context)
        if not is_frozen(outcomes, server.key)
    )
    return replace(recovery, refused=(*lost, *silent))


def _complaint(outcomes: Outcomes, key: InstanceKey) -> str:
    return next((each.detail for each in outcomes if each.key == key and not each.ok), "it does not answer")


def chosen(context: Context, recovery: Recovery, failed: Server, verdict: Verdict) -> Recovery:
    """Put the verdict into the record, and the old primary on the stale list."""
    if verdict.best is None:
        reasons = "; ".join(f"{each.key}: {each.reason}" for each in recovery.refused) or "there is none"
        return give_up(context, recovery, f"no replica can be promoted: {reasons}")
    if verdict.unsaved and not is_loss_accepted(context, semi_sync=context.recovery.promised):
        text = (
            f"only replicas that can neither be promoted nor give them to others hold {verdict.unsaved.describe(200)}: "
            f"make one of them fit (the reasons are listed), or {how_to_accept(recovery)}"
        )
        return give_up(context, recovery, text)
    best = context.topology.server(verdict.best)
    target = target_text(verdict.target, (context.topology.server(key).fresh for key in verdict.compared))
    if target is None:
        return give_up(context, recovery, too_long(verdict.target))
    decided = replace(
        with_channel(recovery, best.facts),
        attempt=1,
        successor=verdict.best,
        catch_up_from=verdict.catch_up_from,
        target_gtids=target,
        followers=_followers(context, verdict),
        stale=tuple(sorted({*recovery.stale, failed.key})),
        lost_gtids=lost_transactions(recovery, failed, best, verdict),
    )
    decided = decided.marked(CHOSEN, context.now_ms, str(verdict.best))
    return decided.goto("catch_up" if verdict.catch_up_from else "promote", context.now_ms)


def _followers(context: Context, verdict: Verdict) -> tuple[InstanceKey, ...]:
    """Servers that were compared and hold nothing that could not be saved."""
    facts = {key: context.topology.server(key).fresh for key in verdict.compared}
    unsaved = verdict.unsaved
    return tuple(
        key
        for key, each in facts.items()
        if key in context.recovery.subject.replicas
        and each is not None
        and (not unsaved or each.received is None or not each.received.intersection(unsaved))
    )


def with_channel(recovery: Recovery, successor: Facts | None) -> Recovery:
    """Note the successor's channel options before they are reset, for an old primary that has to follow it."""
    channel = successor.channel if successor else None
    return replace(recovery, channel_options=channel.options if channel else ())


def enter_catch_up(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    if recovery.successor is None or recovery.catch_up_from is None:
        return ()
    limit = context.policy.catch_up_limit_s
    return (
        PointTo(key=recovery.successor, source=recovery.catch_up_from, deadline_s=5.0),
        WaitApplied(key=recovery.successor, gtids=recovery.target_gtids, deadline_s=limit),
    )


def leave_catch_up(context: Context, outcomes: Outcomes) -> Recovery:
    """One that failed is chosen anew, since the holder or the successor may be gone, but not for ever."""
    recovery, now = context.recovery, context.now_ms
    if not failures(outcomes):
        return recovery.marked("caught up", now, str(recovery.catch_up_from)).goto("promote", now)
    text = f"{recovery.successor} could not catch up from {recovery.catch_up_from}"
    recovery = recovery.with_errors((text, *failures(outcomes))).marked("not caught up", now, text)
    if recovery.count_marks("not caught up") < CATCH_UP_ATTEMPTS_MAX:
        return replace(recovery, successor=None, catch_up_from=None).goto("freeze", now)
    return give_up(context, recovery)


def give_up_late(context: Context, recovery: Recovery) -> Recovery:
    """What was true when it began may be long past: put everything back; what is wrong then is found anew."""
    return give_up(context, recovery, f"it was out of time in phase '{recovery.phase}'")


def promotion_failed(context: Context, recovery: Recovery, outcomes: Outcomes) -> Recovery:
    """Choose again if the successor is gone, since writes are down; give up if nobody else would do better."""
    gone, now = recovery.successor, context.now_ms
    if gone is None:
        return give_up(context, recovery)
    server = context.topology.server(gone)
    if may_be_open(recovery):
        recovery = replace(recovery, stale=tuple(sorted({*recovery.stale, gone})))
    if server.reached and succeeded(outcomes, WaitApplied, gone) is None:
        failed = context.topology.server(recovery.subject.key)
        is_by_position = recovery.coordinates is not None
        reason = (
            unfit(server, failed, context.policy, by_position=is_by_position) or "its applier did not drain in time"
        )
        recovery = replace(recovery, refused=(*recovery.refused, RefusedServer(gone, reason)))
        return give_up(context, recovery, f"{gone} could not be promoted: {reason}")
    again = replace(
        recovery,
        successor=None,
        catch_up_from=None,
        coordinates=None,
        refused=(*recovery.refused, RefusedServer(gone, "it failed while it was being promoted")),
    )
    again = again.marked("successor lost", now, str(gone))
    if again.count_marks("successor lost") > len(recovery.subject.replicas):
        return give_up(context, again, f"{gone} failed while it was being promoted, like every one before")
    return again.goto("freeze", now)


DEAD_PRIMARY = Kind(
    "dead_primary",
    "Promote the best replica of a dead primary and bring the others along",
    (
        Phase("begin", "Run the detection and pre-failover hooks", enter_begin, leave_begin, late=give_up_late),
        Phase("recheck", "See whether it came back by itself", enter_recheck, leave_recheck, late=give_up_late),
        Phase("freeze", "Fence the old primary, stop, compare, choose", enter_freeze, leave_freeze, late=give_up_late),
        Phase("drain", "Without GTIDs: apply, stop, compare coordinates", enter_drain, leave_drain, late=give_up_late),
        Phase(
            "catch_up",
            "Fetch what the successor lacks from the replica that has it",
            enter_catch_up,
            leave_catch_up,
            late=give_up_late,
        ),
        promote_phase(promotion_failed),
        REPOINT,
        CLOSE,
        RELEASE,
        REVOKE,
        UNDO,
        RESTORE,
        TELL,
    ),
)
