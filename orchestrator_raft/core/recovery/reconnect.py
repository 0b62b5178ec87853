"""Have one replica connect to its source anew, to make it tell whether the source lives (design D3.5).

No node reaches the primary, and replicas say they hear it; ``analysis.doubt`` says of whom that may be asked. Stopping
and starting a receiver is a recovery, so that a replica is not left stopped by a leader that dies in between. It is as
urgent as a failover, which waits for its answer anyway, and over within seconds.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.steps import (
    Outcomes,
    Pause,
    StartReplication,
    Step,
    StopReceiver,
    failures,
)

ATTEMPTS_MAX = 3
RETRY_PAUSE_S = 0.5


def enter_restart(context: Context) -> tuple[Step, ...]:
    key = context.recovery.subject.key
    pause = (Pause(deadline_s=RETRY_PAUSE_S),) if context.recovery.attempt > 1 else ()
    return (*pause, StopReceiver(key=key), StartReplication(key=key))


def leave_restart(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    key, broken = recovery.subject.key, failures(outcomes)
    if not broken:
        text = f"the receiver of {key} was started anew: what it says now is new"
        return replace(recovery, moved=(key,)).ended(EndState.SUCCEEDED, now, text)
    recovery = recovery.with_errors(broken)
    if recovery.attempt >= ATTEMPTS_MAX:
        text = f"{broken[-1]}: see that it replicates, raftctl start-replica {key}"
        return recovery.ended(EndState.FAILED, now, text)
    return replace(recovery, attempt=recovery.attempt + 1).goto("restart", now)


RECONNECT = Kind(
    "reconnect",
    "Have a replica connect to its source anew, to make it tell whether that lives",
    (Phase("restart", "Stop its receiver and start it", enter_restart, leave_restart),),
    counts=False,
    of_primary=False,
    starts_period=False,
)
