"""Where servers stand in binary logs: what acts by position have to know, worked out when their stage begins.

It is recorded with the stage then. So what is done twice, or put back, is done from the places where the servers stood,
wherever they have got meanwhile.

Whose log a place is in is told by the server that an address stands for. A statement can compare only the address that
the replica itself has: a step names a source by that one where the replica has it already.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.instance import Coordinates, InstanceKey
from orchestrator_raft.core.moves.model import Act, Place, Plan, Verb
from orchestrator_raft.core.recovery.steps import Outcomes, PointAt, ReadPlace, ServerStep, StartUntil
from orchestrator_raft.core.topology import Server, Topology


def with_places(plan: Plan, outcomes: Outcomes) -> Plan:
    """The plan with the places that were read in this stage."""
    read = {
        each.step.key: Place(key=each.step.key, log=each.place)
        for each in outcomes
        if isinstance(each.step, ReadPlace) and each.place is not None
    }
    kept = tuple(place for place in plan.places if place.key not in read)
    return replace(plan, places=(*kept, *read.values())) if read else plan


def placed(act: Act, plan: Plan, topology: Topology) -> Act | None:
    """The act with its places; None where they cannot be told."""
    if act.verb not in (Verb.UNTIL, Verb.POINT_AT) or not act.at:
        return act
    left_at = _where(act.at[0], act.log_of, plan, topology)
    place = _where(act.at[0], act.source, plan, topology) if act.verb is Verb.POINT_AT else None
    if left_at is None or (act.verb is Verb.POINT_AT and place is None):
        return None
    return replace(act, left_at=left_at, place=place, at=())


def _where(key: InstanceKey, log_of: InstanceKey | None, plan: Plan, topology: Topology) -> Coordinates | None:
    """Where ``key`` stands in the binary log of ``log_of``: at the end of its own, or as far as it has applied."""
    found = next((place.log for place in plan.places if place.key == key), None) if key == log_of else None
    server = topology.servers.get(key)
    facts = server.fresh if server is not None else None
    if server is not None and key != log_of and facts is not None and facts.channel and server.source == log_of:
        found = facts.channel.executed
    return found if found is not None and found.log_file else None


def start_until(act: Act) -> ServerStep:
    if act.left_at is None:
        raise AssertionError(f"{act} has no place")
    return StartUntil(key=act.key, place=act.left_at, deadline_s=act.deadline_s)


def as_said(server: Server | None, source: InstanceKey) -> InstanceKey:
    """The address by which the replica ``server`` has this source; the source's own key where it has another one."""
    if server is None or server.channel is None or server.source != source:
        return source
    return server.channel.source


def point_at(act: Act, topology: Topology) -> ServerStep:
    if act.left_at is None or act.place is None or act.source is None or act.log_of is None:
        raise AssertionError(f"{act} has no place")
    server = topology.servers.get(act.key)
    return PointAt(
        key=act.key, source=as_said(server, act.source), place=act.place, left_source=as_said(server, act.log_of),
        left_at=act.left_at, deadline_s=act.deadline_s,
    )  # fmt: skip
