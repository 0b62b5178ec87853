"""The part of a failover that only replicas without GTIDs need: apply everything, stop, and compare coordinates.

Theory in ``candidates/positions``. Coordinates in the old primary's binary log are good until a replica is pointed
elsewhere, and the successor's own log must be read before it takes writes. So, once nobody receives any more: wait
until each replica has executed what it has; stop it; read both. One that has done so is noted in the record, since what
came of a transaction only in part is never executed and would look like a backlog ever after. The wait ends when the
one furthest on is through, or at MaxCatchUpSeconds: then those that are not are too slow. Nobody is moved before the
successor is open, so until then all of this can be given up by starting replication again.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.candidates import PositionVerdict, choose_by_position
from orchestrator_raft.core.instance import Coordinates, InstanceKey
from orchestrator_raft.core.recovery.losses import CHOSEN, how_to_accept, is_loss_accepted, loss_risk, with_risk
from orchestrator_raft.core.recovery.machine import Context
from orchestrator_raft.core.recovery.model import Recovery, RefusedServer
from orchestrator_raft.core.recovery.recheck import replicas
from orchestrator_raft.core.recovery.release import give_up
from orchestrator_raft.core.recovery.steps import (
    Outcomes,
    ReadPlace,
    Reprobe,
    Step,
    StopReplication,
    WaitApplied,
    succeeded,
)
from orchestrator_raft.core.topology import Server

DRAIN_S = 3.0
"""How long one turn waits for all replicas, of which only the one furthest on has to be through."""
STOP_S = 5.0


def enter_drain(context: Context) -> tuple[Step, ...]:
    limit_s = min(DRAIN_S, context.policy.catch_up_limit_s)
    steps: list[Step] = []
    for key in (server.key for server in replicas(context) if server.reached):
        if key not in context.recovery.followers:
            steps += [WaitApplied(key=key, deadline_s=limit_s), StopReplication(key=key, deadline_s=STOP_S)]
        steps += [ReadPlace(key=key), Reprobe(key=key)]
    return tuple(steps)


def leave_drain(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    read = tuple(each for each in replicas(context) if each.reached)
    drained = tuple(each for each in read if is_drained(context, outcomes, each.key))
    recovery = replace(recovery, followers=tuple(each.key for each in drained))
    failed = context.topology.server(recovery.subject.key)
    others = tuple(each for each in read if each not in drained)
    verdict = choose_by_position(failed, drained, others, context.policy, recovery.request.designated)
    has_time = now - recovery.phase_started_ms < context.policy.catch_up_limit_s * 1000
    if others and (verdict.best is None or verdict.unsaved) and has_time:
        return replace(recovery, attempt=recovery.attempt + 1)
    recovery = replace(recovery, refused=_refused(recovery, verdict))
    return _decided(context, recovery, verdict, _stands(outcomes, verdict.best))


def is_drained(context: Context, outcomes: Outcomes, key: InstanceKey) -> bool:
    """It has executed all it received and is stopped, now or since an earlier turn, and was read."""
    was = key in context.recovery.followers
    now = all(succeeded(outcomes, kind, key) is not None for kind in (WaitApplied, StopReplication))
    return (was or now) and succeeded(outcomes, Reprobe, key) is not None


def _refused(recovery: Recovery, verdict: PositionVerdict) -> tuple[RefusedServer, ...]:
    before = {each.key: each for each in recovery.refused}
    return tuple((before | {each.key: RefusedServer(each.key, each.reason) for each in verdict.refused}).values())


def _stands(outcomes: Outcomes, key: InstanceKey | None) -> Coordinates | None:
    told = succeeded(outcomes, ReadPlace, key) if key is not None else None
    return told.place if told is not None and told.place is not None and told.place.log_file else None


def _decided(context: Context, recovery: Recovery, verdict: PositionVerdict, stands: Coordinates | None) -> Recovery:
    now = context.now_ms
    best: Server | None = context.topology.server(verdict.best) if verdict.best is not None else None
    if best is None or stands is None:
        reasons = "; ".join(f"{each.key}: {each.reason}" for each in recovery.refused)
        text = reasons or f"{verdict.best} does not say where its binary log stands"
        return give_up(context, recovery, f"no replica can be promoted: {text}")
    if verdict.unsaved and not is_loss_accepted(context, semi_sync=recovery.promised):
        advice = f"make that one fit, or {how_to_accept(recovery)}"
        return give_up(context, recovery, f"somebody else has more. {verdict.unsaved}: {advice}")
    unsaved = (f"lost with the choice: {verdict.unsaved}",) if verdict.unsaved else ()
    chosen = replace(
        recovery.with_errors(unsaved),
        attempt=1,
        successor=best.key,
        coordinates=stands,
        left_at=best.channel.executed if best.channel is not None else None,
        channel_options=best.channel.options if best.channel is not None else (),
        followers=verdict.followers,
        stale=tuple(sorted({*recovery.stale, recovery.subject.key})),
    )
    read = tuple(each for each in replicas(context) if each.reached)
    chosen = chosen.marked(CHOSEN, now, f"{best.key}, whose binary log stands at {stands}")
    return with_risk(chosen, loss_risk(context, read), now).goto("promote", now)
