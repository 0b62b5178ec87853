"""Plans for one replica that does not use GTID: it is changed over where two servers stand at the same place.

Theory. A position means something in one binary log only. Below its grandparent: the source and the replica stand
still, the replica applies exactly as far as the source's own log goes, and goes on at the source's place in the
grandparent's log. Below a sibling: both stand still, the one behind applies as far as the other, and the replica goes
on where the sibling's own log ends. Nothing else is known to be the same place, so nothing else is done.
"""

from __future__ import annotations

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.moves.check import (
    cannot_replicate,
    is_descendant,
    is_stopped,
    may_be_needed,
    not_a_source,
    not_movable,
    too_few_ackers,
)
from orchestrator_raft.core.moves.model import HOW_PLACE, Act, Plan, Planned, Refusal, Stage, Verb
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server, Topology


def below_by_place(topology: Topology, server: Server, target: Server, policy: Policy) -> Planned:
    """``server`` below ``target``, its grandparent or its sibling; or why not."""
    source = topology.servers.get(server.source) if server.source is not None else None
    why_not = _not_below(topology, server, target, policy)
    if why_not or source is None:
        return Refusal(why_not or f"the source of {server.key} is not known")
    if source.source == target.key:
        other = source
    elif target.source == source.key:
        other = target
    else:
        return Refusal(
            f"{server.key} does not use GTID, so it goes only below its source's source or a sibling: relocating it "
            f"below {target.key} turns to be too complex; please do it manually, step by step"
        )
    why_not = next((reason for each in (server, other) if (reason := _cannot_stand(each, policy))), "")
    why_not = why_not or too_few_ackers(topology, (server.key, other.key))
    return Refusal(why_not) if why_not else _plan(server, source, other, target)


def _not_below(topology: Topology, server: Server, target: Server, policy: Policy) -> str:
    if server.key == target.key or is_descendant(topology, target.key, server.key):
        return f"{target.key} is {server.key} itself, or below it"
    why_not = not_movable(server) or not_a_source(target)
    if why_not or server.fresh is None or target.fresh is None:
        return why_not
    if may_be_needed(server.fresh):
        return f"{server.key} acknowledges what it does not apply now: switch its semi-sync off first"
    reason = cannot_replicate(server.fresh, target.fresh, policy)
    return f"{server.key} cannot replicate from {target.key}: {reason}" if reason else ""


def _cannot_stand(server: Server, policy: Policy) -> str:
    """It has to be stopped, and to be brought to a place, in a moment."""
    facts, channel = server.fresh, server.channel
    why_not = not_movable(server)
    if why_not or facts is None or channel is None:
        return why_not
    checks = (
        (not channel.replicates, f"{server.key}: instance is not replicating"),
        (channel.delay_s > 0, f"{server.key} is delayed on purpose"),
        (facts.lag_s is None, f"{server.key}: cannot determine replication lag"),
        (facts.lag_s is not None and facts.lag_s > policy.lag_maintenance_s, f"{server.key}: lags too much"),
        (facts.is_writable, f"{server.key} takes writes, so it does not stand still"),
    )
    return next((reason for holds, reason in checks if holds), "")


def _plan(server: Server, source: Server, other: Server, target: Server) -> Plan:
    """``other`` is the second server that stands still: the source, or the sibling that is the target."""
    both = (server.key, other.key)
    runs = tuple(_act(Verb.START, key) for key in both)
    still = Stage(
        text=f"{server.key} and {other.key} stand still",
        acts=(
            _act(Verb.STOP, server.key),
            _act(Verb.STOP, other.key),
            *((_act(Verb.READ_PLACE, other.key),) if other is source else ()),
        ),
        undo=runs,
    )
    level = Stage(text="both at the same place", acts=_levelled(server, source, other), undo=())
    text = f"{server.key} below {target.key}"
    there = Act(verb=Verb.POINT_AT, key=server.key, source=target.key, log_of=source.key, at=(other.key,))
    back = Act(verb=Verb.POINT_AT, key=server.key, source=source.key, log_of=target.key, at=(other.key,))
    change = Stage(text=text, acts=(there,), undo=(back, *runs), stays=True)
    go_on = Stage(text="both go on", acts=runs, undo=runs)
    channel = server.channel
    warnings = (f"{other.key} stands still for a moment, and so does what replicates from it",)
    if channel is None or is_stopped(channel):
        raise AssertionError(f"{server.key} passed the checks and does not replicate")
    return Plan(
        text=text, how=HOW_PLACE, stages=(still, level, change, go_on), reads=(server.key, source.key, target.key),
        movers=(server.key,), warnings=warnings, shown=server.key,
    )  # fmt: skip


def _act(verb: Verb, key: InstanceKey) -> Act:
    return Act(verb=verb, key=key)


def _levelled(server: Server, source: Server, other: Server) -> tuple[Act, ...]:
    """The replica goes as far as its source; or of two siblings the one that is behind, as far as the other."""
    mine = Act(verb=Verb.UNTIL, key=server.key, log_of=source.key, at=(other.key,))
    if other is source:
        return (mine,)
    theirs = Act(verb=Verb.UNTIL, key=other.key, log_of=source.key, at=(server.key,))
    return mine, theirs, _act(Verb.READ_PLACE, other.key)
