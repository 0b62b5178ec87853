"""Acts of a plan as steps: one row a verb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

from orchestrator_raft.core.gtid import GtidSet, parse_mysql
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.moves.model import Act, Plan, Stage, Verb
from orchestrator_raft.core.recovery.places import placed, point_at, start_until
from orchestrator_raft.core.recovery.promotion import REPOINT_DEADLINE_S
from orchestrator_raft.core.recovery.steps import (
    FlushBinaryLogs,
    InjectEmpty,
    KillQuery,
    PointTo,
    PurgeBinaryLogs,
    ReadPlace,
    ResetGtids,
    ResetReplication,
    ServerStep,
    SetDelay,
    SetReadOnly,
    SetSemiSync,
    SetWritable,
    SkipTransaction,
    StartReplication,
    StopReceiver,
    StopReplication,
    WaitApplied,
)
from orchestrator_raft.core.topology import Topology


class CannotSay(Exception):
    """An act looks at a server of which it is not known what it asks for."""


def _point(act: Act, _topology: Topology) -> ServerStep:
    if act.source is None:
        raise AssertionError(f"{act} has no source")
    return PointTo(
        key=act.key, source=act.source, credentials_from=act.credentials_from, was_primary=act.was_primary,
        start=act.starts, options=act.options, deadline_s=REPOINT_DEADLINE_S,
    )  # fmt: skip


def _wait(act: Act, topology: Topology) -> ServerStep:
    sets = [_executed(topology, key) for key in act.at]
    return WaitApplied(key=act.key, gtids=str(reduce(GtidSet.union, sets)), deadline_s=act.deadline_s)


def _executed(topology: Topology, key: InstanceKey) -> GtidSet:
    facts = topology.server(key).fresh
    if facts is None or facts.executed is None:
        raise CannotSay(f"{key} does not tell what it has applied")
    return facts.executed


STEPS: dict[Verb, Callable[[Act, Topology], ServerStep]] = {
    Verb.STOP: lambda act, _: StopReplication(key=act.key, deadline_s=act.deadline_s),
    Verb.STOP_RECEIVER: lambda act, _: StopReceiver(key=act.key),
    Verb.DRAIN: lambda act, _: WaitApplied(key=act.key, deadline_s=act.deadline_s),
    Verb.START: lambda act, _: StartReplication(key=act.key, deadline_s=act.deadline_s),
    Verb.RESET: lambda act, _: ResetReplication(key=act.key, deadline_s=act.deadline_s),
    Verb.POINT: _point,
    Verb.WAIT: _wait,
    Verb.READ_PLACE: lambda act, _: ReadPlace(key=act.key, deadline_s=act.deadline_s),
    Verb.UNTIL: lambda act, _: start_until(act),
    Verb.POINT_AT: point_at,
    Verb.CLOSE: lambda act, _: SetReadOnly(key=act.key, deadline_s=act.deadline_s),
    Verb.OPEN: lambda act, _: SetWritable(key=act.key, deadline_s=act.deadline_s),
    Verb.DELAY: lambda act, _: SetDelay(key=act.key, delay_s=act.number, deadline_s=act.deadline_s),
    Verb.SKIP: lambda act, _: SkipTransaction(key=act.key, deadline_s=act.deadline_s),
    Verb.KILL_QUERY: lambda act, _: KillQuery(key=act.key, session=act.number, deadline_s=act.deadline_s),
    Verb.FLUSH: lambda act, _: FlushBinaryLogs(key=act.key, deadline_s=act.deadline_s),
    Verb.PURGE: lambda act, _: PurgeBinaryLogs(key=act.key, log_file=act.text, deadline_s=act.deadline_s),
    Verb.AWAIT_ACKS: lambda act, _: SetSemiSync(key=act.key, source_enabled=True),
    Verb.AWAIT_NO_ACKS: lambda act, _: SetSemiSync(key=act.key, source_enabled=False),
    Verb.ACKNOWLEDGE: lambda act, _: SetSemiSync(key=act.key, replica_enabled=True),
    Verb.ACKNOWLEDGE_NOTHING: lambda act, _: SetSemiSync(key=act.key, replica_enabled=False),
    Verb.INJECT: lambda act, _: InjectEmpty(key=act.key, gtids=act.text, deadline_s=act.deadline_s),
    Verb.HAVE_GTIDS: lambda act, _: ResetGtids(key=act.key, executed=act.text, deadline_s=act.deadline_s),
}


def step_of(act: Act, topology: Topology) -> ServerStep:
    """The step of an act. Raises CannotSay."""
    return STEPS[act.verb](act, topology)


def settled(stage: Stage, plan: Plan, topology: Topology) -> Stage:
    """The stage as it is recorded when it begins: what to do can be told after it was half done, too.

    Once binary logs have been emptied nobody can tell any more what was executed. Raises CannotSay.
    """
    acts = tuple(_settled(_with_place(act, plan, topology), topology) for act in stage.acts)
    return replace(stage, acts=acts, undo=tuple(_with_place(act, plan, topology) for act in stage.undo))


def _with_place(act: Act, plan: Plan, topology: Topology) -> Act:
    found = placed(act, plan, topology)
    if found is None:
        raise CannotSay(f"{act}: it is not known where {', '.join(map(str, act.at))} stands")
    return found


def _settled(act: Act, topology: Topology) -> Act:
    if act.verb is not Verb.FORGET_GTIDS:
        return act
    kept = _executed(topology, act.key).minus(parse_mysql(act.text))
    return replace(act, verb=Verb.HAVE_GTIDS, text=str(kept))
