"""Semi-sync on the right replicas: enough of them for a primary that waits, or exactly as many as it waits for.

Theory. Who may acknowledge is said by a priority (DetectSemiSyncEnforcedQuery): 0 is never asked to, of the others the
greatest comes first, then the better promotion rule. Two modes, as percona/orchestrator has them: *enough*
(RecoverLockedSemiSyncMaster) only switches on, until as many acknowledge as the primary waits for; *exact*
(EnforceExactSemiSyncReplicas) has the best k on and switches the others off.

The primary's own settings are never touched: its wait count is a promise to its clients. So nobody is switched off
before as many as it waits for are connected and acknowledge, and a replica that was switched off stays a possible acker
until it is released like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator_raft.core.instance import PROMOTION_ORDER, InstanceKey
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.promotion import RETRY_PAUSE_S, hooks
from orchestrator_raft.core.recovery.steps import (
    FireHook,
    Outcomes,
    Pause,
    Reprobe,
    SetSemiSync,
    Step,
    failures,
    stopping,
    succeeded,
)
from orchestrator_raft.core.topology import Server, Topology

REPROBE_S = 1.0
STEP_S = 5.0
ATTEMPTS_MAX = 8


@dataclass(frozen=True, slots=True)
class Balance:
    """What has to be switched, and why that may not be enough."""

    enable: tuple[InstanceKey, ...] = ()
    disable: tuple[InstanceKey, ...] = ()
    shortage: str = ""


def balance(topology: Topology, primary: Server, policy: Policy) -> Balance:
    """Who has to be switched on and off now."""
    facts = primary.fresh
    if facts is None or not facts.semi_sync.source_enabled:
        return Balance(shortage=f"{primary.key} does not answer, or waits for nobody")
    replicas = topology.replicas_of(primary.key)
    able = sorted((each for each in replicas if _is_able(each)), key=_order)
    waits_for = max(1, facts.semi_sync.wait_for_replica_count)
    chosen = [each.key for each in able[:waits_for]] if policy.exact_semi_sync else _enough(able, waits_for)
    enable = tuple(each.key for each in able if each.key in chosen and not _acknowledges(each))
    shortage = ""
    if len(chosen) < waits_for:
        shortage = (
            f"{primary.key} waits for {waits_for} replicas, and {len(chosen)} can acknowledge: they have to replicate "
            "and to have a priority by DetectSemiSyncEnforcedQuery"
        )
    is_exact = policy.exact_semi_sync and not shortage
    surplus = [each.key for each in replicas if each.fresh is not None and each.fresh.semi_sync.replica_enabled]
    disable = tuple(key for key in surplus if key not in chosen) if is_exact else ()
    return Balance(enable, disable, shortage)


def _is_able(server: Server) -> bool:
    facts, channel = server.fresh, server.channel
    if facts is None or channel is None or server.stale is not None:
        return False
    return channel.replicates and facts.semi_sync.available and facts.semi_sync_priority > 0


def _order(server: Server) -> tuple[object, ...]:
    facts = server.facts
    if facts is None:
        raise ValueError(f"{server.key} was ordered without facts")
    return -facts.semi_sync_priority, PROMOTION_ORDER[facts.promotion_rule], server.key


def _acknowledges(server: Server) -> bool:
    semi_sync = server.facts.semi_sync if server.facts is not None else None
    return semi_sync is not None and semi_sync.replica_enabled and semi_sync.replica_active


def _enough(able: list[Server], waits_for: int) -> list[InstanceKey]:
    """Those that acknowledge stay; the best of the others come to them."""
    already = [each.key for each in able if _acknowledges(each)]
    more = [each.key for each in able if each.key not in already]
    return [*already, *more[: max(0, waits_for - len(already))]]


def obstacle(topology: Topology, key: InstanceKey, policy: Policy) -> str:
    found = balance(topology, topology.server(key), policy)
    return "" if found.enable or found.disable else found.shortage or f"nobody has to be switched below {key}"


def _probes(context: Context) -> tuple[Step, ...]:
    key = context.recovery.subject.key
    replicas = (each.key for each in context.topology.replicas_of(key) if each.reached)
    return tuple(Reprobe(key=each, deadline_s=REPROBE_S) for each in (key, *replicas))


def enter_look(context: Context) -> tuple[Step, ...]:
    pause = (Pause(deadline_s=RETRY_PAUSE_S),) if context.recovery.attempt > 1 else ()
    told = hooks(context, "OnFailureDetectionProcesses", fail_stop=True) if context.recovery.attempt == 1 else ()
    return (*pause, *told, *_probes(context))


def leave_look(context: Context, outcomes: Outcomes) -> Recovery:
    """Switch on first; off only when the primary itself says that enough acknowledge."""
    recovery, now = context.recovery, context.now_ms
    told = tuple(each for each in outcomes if isinstance(each.step, FireHook))
    broken = stopping(told)
    if broken:
        text = f"a hook said no, nothing was changed: {broken[0]}"
        return recovery.with_errors((text,)).ended(EndState.FAILED, now, text)
    recovery = recovery.with_errors(failures(told))
    primary = context.topology.server(recovery.subject.key)
    if succeeded(outcomes, Reprobe, primary.key) is None or primary.fresh is None:
        return _again(recovery.with_errors(failures(outcomes)), now, f"{primary.key} does not answer")
    found = balance(context.topology, primary, context.policy)
    if found.enable:
        return recovery.goto("enable", now)
    semi_sync = primary.fresh.semi_sync
    if semi_sync.source_clients < semi_sync.wait_for_replica_count:
        return _again(recovery, now, found.shortage or f"too few replicas of {primary.key} have connected yet")
    if found.disable:
        return recovery.goto("disable", now)
    return recovery.goto("close", now)


def _again(recovery: Recovery, now_ms: int, reason: str) -> Recovery:
    if recovery.attempt < ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).goto("look", now_ms)
    return recovery.with_errors((reason,)).goto("close", now_ms)


def _switching(context: Context, *, on: bool) -> tuple[Step, ...]:
    """The switches, found anew: a new leader may begin here."""
    found = balance(context.topology, context.topology.server(context.recovery.subject.key), context.policy)
    keys = found.enable if on else found.disable
    return tuple(SetSemiSync(key=key, replica_enabled=on, deadline_s=STEP_S) for key in keys)


def enter_enable(context: Context) -> tuple[Step, ...]:
    return _switching(context, on=True)


def enter_disable(context: Context) -> tuple[Step, ...]:
    primary = context.topology.server(context.recovery.subject.key).fresh
    if primary is None or primary.semi_sync.source_clients < primary.semi_sync.wait_for_replica_count:
        return ()
    return _switching(context, on=False)


def leave_switched(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery.with_errors(failures(outcomes)), context.now_ms
    changed = {each.step.key for each in outcomes if each.ok and isinstance(each.step, SetSemiSync)}
    recovery = replace(recovery, moved=tuple(sorted({*recovery.moved, *changed})))
    return _again(recovery, now, f"the replicas of {recovery.subject.key} could not be switched in time")


def enter_close(context: Context) -> tuple[Step, ...]:
    return hooks(context, "PostFailoverProcesses") if context.recovery.moved else ()


def leave_close(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery.with_errors(failures(outcomes)), context.now_ms
    if not recovery.moved:
        why = recovery.errors[-1] if recovery.errors else "as many acknowledge as it waits for"
        end = EndState.FAILED if recovery.errors else EndState.UNDONE
        return recovery.ended(end, now, f"nothing was changed: {why}")
    names = ", ".join(str(key) for key in recovery.moved)
    return recovery.ended(EndState.SUCCEEDED, now, f"semi-sync was switched on or off: {names}")


SEMI_SYNC = Kind(
    "semi_sync",
    "Switch semi-sync on at replicas a primary waits for, and off at surplus ones",
    (
        Phase("look", "Read the primary and its replicas, decide", enter_look, leave_look),
        Phase("enable", "Switch semi-sync on", enter_enable, leave_switched),
        Phase("disable", "Switch surplus replicas off", enter_disable, leave_switched),
        Phase("close", "Run the last hooks and close the record", enter_close, leave_close),
    ),
    counts=False,
    urgency=1,
    obstacle=obstacle,
)
