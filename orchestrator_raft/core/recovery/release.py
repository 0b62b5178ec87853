"""Giving up a failover: nobody is promoted, and everything is put back as it was.

Theory. The primary is the primary again, dead or not: it leaves the stale list, so that it is not fenced when it
returns and its death is seen again; if it was fenced it is opened. Where a lost successor may take writes, that needs
the care of ``undo``, if the primary answers; if it does not, it is none of ours to open.
The replicas replicate from it again, also those that had been pointed elsewhere; but where a successor was lost that
may have taken writes, they stay with what they have of it until they are compared with the primary.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.candidates import is_by_position
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.ending import unsuccessful
from orchestrator_raft.core.recovery.event_scheduler import switched
from orchestrator_raft.core.recovery.losses import held_by
from orchestrator_raft.core.recovery.machine import Context, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.promotion import RETRY_PAUSE_S
from orchestrator_raft.core.recovery.steps import (
    Outcomes,
    Pause,
    PointTo,
    SetWritable,
    StartReplication,
    Step,
    failures,
    succeeded,
)
from orchestrator_raft.core.recovery.undo import revoke
from orchestrator_raft.core.topology import StaleStatus

ATTEMPTS_MAX = 8
GIVING_UP = "giving up"


def give_up(context: Context, recovery: Recovery, *errors: str) -> Recovery:
    """On to ``release``, in the record as well: the primary is not stale any more when its steps begin."""
    key = recovery.subject.key
    fenced = recovery.fenced or _was_fenced(context)
    stale = tuple(each for each in recovery.stale if each != key)
    recovery = recovery.with_errors(errors)
    reason = recovery.errors[-1] if recovery.errors else "no server was fit to be promoted"
    given_up = replace(recovery, attempt=1, fenced=fenced, stale=stale, successor=None)
    if stale and fenced and context.topology.server(key).reached:
        return revoke(replace(given_up, successor=stale[-1]), context.now_ms, reason)
    return given_up.marked(GIVING_UP, context.now_ms, reason).goto("release", context.now_ms)


def _was_fenced(context: Context) -> bool:
    """Closed by the guard of stale primaries, or by a leader that died before it could record that.

    It may also have restarted and be closed since; then it is opened only if it has everything its replicas have.
    """
    primary = context.topology.server(context.recovery.subject.key)
    if primary.stale is not None and primary.stale.status is StaleStatus.FENCED:
        return True
    if primary.fresh is None or primary.fresh.is_writable or primary.fresh.executed is None:
        return False
    replicas = tuple(
        context.topology.servers[key] for key in context.recovery.subject.replicas if key in context.topology.servers
    )
    held = held_by(replicas)
    return held is None or (held.family == primary.fresh.executed.family and primary.fresh.executed.covers(held))


def enter_release(context: Context) -> tuple[Step, ...]:
    recovery, servers = context.recovery, context.topology.servers
    key = recovery.subject.key
    pause: tuple[Step, ...] = (Pause(deadline_s=RETRY_PAUSE_S),) if recovery.attempt > 1 else ()
    steps: list[Step] = []
    if _is_to_be_opened(recovery):
        steps += [SetWritable(key=key), *switched(context, key, on=True)]
    was_moved = recovery.mark_time("chosen") is not None and not recovery.stale and not _is_by_position(context)
    for server in (servers[each] for each in recovery.subject.replicas if each in servers):
        if server.reached and server.key not in recovery.stale:
            others = tuple(each for each in recovery.subject.replicas if each != server.key)
            back = PointTo(key=server.key, source=key, credentials_from=others, deadline_s=2.0)
            steps.append(back if was_moved else StartReplication(key=server.key))
    return (*pause, *steps)


def _is_by_position(context: Context) -> bool:
    """Without GTIDs nobody is pointed anywhere before the successor is open."""
    recovery, servers = context.recovery, context.topology.servers
    found = (servers[key] for key in recovery.subject.replicas if key in servers and key not in recovery.stale)
    return is_by_position(tuple(each for each in found if each.fresh is not None and each.channel is not None))


def _is_to_be_opened(recovery: Recovery) -> bool:
    return recovery.fenced and recovery.reopen and not recovery.stale


def leave_release(context: Context, outcomes: Outcomes) -> Recovery:
    recovery = context.recovery.with_errors(failures(outcomes))
    key, now = recovery.subject.key, context.now_ms
    text = next((mark.text for mark in reversed(recovery.timeline) if mark.name == GIVING_UP), "nobody was promoted")
    if _is_to_be_opened(recovery) and succeeded(outcomes, SetWritable, key) is None:
        if recovery.attempt < ATTEMPTS_MAX:
            return replace(recovery, attempt=recovery.attempt + 1).goto("release", now)
        text = (
            f"{key} is read-only and could not be opened again: set it writable by hand (raftctl set-writeable {key})"
        )
        recovery = recovery.with_errors((text,))
    return unsuccessful(context, replace(recovery, lost=_not_back(recovery, outcomes)), EndState.FAILED, text)


def _not_back(recovery: Recovery, outcomes: Outcomes) -> tuple[InstanceKey, ...]:
    """Replicas that may not replicate from the primary again; they are taken back as soon as both answer."""
    kinds = (PointTo,) if recovery.stale else (StartReplication, PointTo)
    back = {each.step.key for each in outcomes if isinstance(each.step, kinds) and each.ok}
    return tuple(sorted({*recovery.subject.replicas} - back - {*recovery.stale}))


RELEASE = Phase("release", "Nobody is promoted: put everything back", enter_release, leave_release)
