"""From a step to a dialect's statements: one table for both dialects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.instance import Facts
from orchestrator_raft.core.recovery.steps import (
    CheckClone,
    CloneFrom,
    Fence,
    PointAt,
    PointTo,
    ReadCopy,
    ReadPlace,
    Reprobe,
    ResetReplication,
    ServerStep,
    SetEventScheduler,
    SetNetTimeout,
    SetReadOnly,
    SetSemiSync,
    SetWritable,
    StartReplication,
    StartUntil,
    StopReceiver,
    StopReplication,
    WaitApplied,
)
from orchestrator_raft.flavors import administration, cloning, events, net_timeout, places, replication, semi_sync
from orchestrator_raft.flavors.base import Account, Statement
from orchestrator_raft.flavors.replication import Grammar

Plan = tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """What a dialect says where words alone do not make the difference."""

    grammar: Grammar
    fence: Callable[[], Plan]
    set_read_only: Callable[[SetReadOnly], Plan]
    set_writable: Callable[[], Plan]
    wait_applied: Callable[[WaitApplied], Plan]


def plan(speech: Speech, step: ServerStep, facts: Facts, account: Account | None) -> Plan:
    """The statements that reach the step's goal; a wish that cannot be said makes a plan that fails and says so."""
    try:
        if isinstance(step, CheckClone | CloneFrom | ReadCopy):
            return cloning.plan(step, facts, account)
        return _plan(speech, step, facts, account)
    except (InvalidInput, ValueError) as error:
        return (replication.failing(f"{type(step).__name__} cannot be carried out: {error}"),)


def _plan(speech: Speech, step: ServerStep, facts: Facts, account: Account | None) -> Plan:
    match step:
        case Fence():
            return speech.fence()
        case SetReadOnly():
            return speech.set_read_only(step)
        case SetWritable():
            return speech.set_writable()
        case WaitApplied():
            return speech.wait_applied(step)
        case SetEventScheduler():
            return events.set_scheduler(step)
        case SetSemiSync():
            return semi_sync.plan(speech.grammar, step)
        case _:
            return _on_source(speech.grammar, step, facts, account)


def _on_source(grammar: Grammar, step: ServerStep, facts: Facts, account: Account | None) -> Plan:
    match step:
        case PointTo():
            return replication.point_to(grammar, step, facts, account)
        case PointAt():
            return places.point_at(grammar, step, facts)
        case StartUntil():
            return places.start_until(grammar, step)
        case SetNetTimeout():
            return net_timeout.set_net_timeout(grammar, step)
        case _:
            return _on_threads(grammar, step, facts)


def _on_threads(grammar: Grammar, step: ServerStep, facts: Facts) -> Plan:
    match step:
        case StopReceiver():
            return replication.stop_receiver(grammar)
        case StopReplication():
            return replication.stop(grammar)
        case StartReplication():
            return replication.start(grammar)
        case ResetReplication():
            return replication.reset(grammar)
        case Reprobe() | ReadPlace():
            return ()
        case _:
            return administration.plan(grammar, step, facts)
