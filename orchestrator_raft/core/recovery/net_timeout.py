"""Let a replica notice sooner that its source is silent: set its net timeout and heartbeat while it is stopped.

Theory. The change takes a stop of the receiver and may drop the relay log, in which a transaction may be that only this
replica has acknowledged. So its receiver stops first and what it has is applied; only then is anything changed. And it
is never begun where the source would be left with fewer ackers than it waits for. However that ends, replication is
started again, by whoever leads then. Where this gives way to something more urgent, its replica is left behind: unless
a failover points it anew, it is compared and attached like every replica that missed a change of primary.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.promotion import RETRY_PAUSE_S
from orchestrator_raft.core.recovery.steps import (
    Outcomes,
    Pause,
    Reprobe,
    SetNetTimeout,
    StartReplication,
    Step,
    StopReceiver,
    WaitApplied,
    failures,
    succeeded,
)
from orchestrator_raft.core.topology import Server, Topology

APPLY_S = 3.0
ATTEMPTS_MAX = 8
NAME = "net_timeout"


def tells_late(topology: Topology, server: Server, policy: Policy) -> str:
    """What is too slow about it, if that may be changed now."""
    facts, channel = server.fresh, server.channel
    if facts is None or channel is None or not channel.replicates or channel.delay_s > 0 or not policy.net_timeout_s:
        return ""
    timeout_s, period_s = facts.settings.net_timeout_s, channel.heartbeat_period_s
    is_slow = timeout_s is not None and timeout_s > policy.net_timeout_s
    beats_late = period_s is not None and (period_s == 0 or period_s > policy.net_timeout_s / 2)
    if not (is_slow or beats_late) or _is_needed(topology, server):
        return ""
    return f"{server.key} gives a silent source up after {timeout_s} s, with a heartbeat every {period_s or 0:g} s"


def _is_needed(topology: Topology, server: Server) -> bool:
    """Its source would wait for more acknowledgements than there are ackers without it."""
    source = topology.servers.get(server.source) if server.source is not None else None
    facts = source.fresh if source is not None else None
    if facts is None:
        return True
    left = facts.semi_sync.source_clients - 1
    return facts.semi_sync.source_enabled and left < max(1, facts.semi_sync.wait_for_replica_count)


def enter_stop(context: Context) -> tuple[Step, ...]:
    key = context.recovery.subject.key
    return StopReceiver(key=key), WaitApplied(key=key, deadline_s=APPLY_S)


def leave_stop(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery.with_errors(failures(outcomes)), context.now_ms
    return recovery.goto("start" if failures(outcomes) else "set", now)


def enter_set(context: Context) -> tuple[Step, ...]:
    timeout_s = int(context.policy.net_timeout_s)
    return (SetNetTimeout(key=context.recovery.subject.key, timeout_s=timeout_s),) if timeout_s else ()


def leave_set(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery.with_errors(failures(outcomes)), context.now_ms
    key = recovery.subject.key
    done = succeeded(outcomes, SetNetTimeout, key) is not None
    return replace(recovery, moved=(key,) if done else ()).goto("start", now)


def enter_start(context: Context) -> tuple[Step, ...]:
    key = context.recovery.subject.key
    pause = (Pause(deadline_s=RETRY_PAUSE_S),) if context.recovery.attempt > 1 else ()
    return (*pause, StartReplication(key=key), Reprobe(key=key))


def leave_start(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    key = recovery.subject.key
    if succeeded(outcomes, StartReplication, key) is None:
        recovery = recovery.with_errors(failures(outcomes))
        if recovery.attempt < ATTEMPTS_MAX:
            return replace(recovery, attempt=recovery.attempt + 1).goto("start", now)
        return recovery.ended(EndState.ABANDONED, now, f"{key} is stopped and could not be started: start it by hand")
    if not recovery.moved:
        why = recovery.errors[-1] if recovery.errors else "nobody wants it any more"
        return recovery.ended(EndState.FAILED, now, f"nothing was changed: {why}")
    return recovery.ended(EndState.SUCCEEDED, now, f"{key} notices a silent source sooner")


NET_TIMEOUT = Kind(
    NAME,
    "Let a replica notice sooner that its source is silent",
    (
        Phase("stop", "Stop its receiver and apply what it has", enter_stop, leave_stop),
        Phase("set", "Set replica_net_timeout and the heartbeat period", enter_set, leave_set),
        Phase("start", "Start replication again", enter_start, leave_start),
    ),
    counts=False,
    of_primary=False,
    starts_period=False,
    urgency=1,
)
