"""Plans for how one replica finds its place at the source it has: by GTID, or by file and position."""

from __future__ import annotations

from orchestrator_raft.core.instance import Facts, Flavor
from orchestrator_raft.core.moves.alone import act_on, as_it_runs, plan_for, replica
from orchestrator_raft.core.moves.check import EXTRA_MAX, is_stopped, may_be_needed, not_movable, too_few_ackers
from orchestrator_raft.core.moves.model import Act, Planned, Refusal, Stage, Verb, Wish
from orchestrator_raft.core.moves.one import DROPS, drained
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server, Topology


def enable_gtid(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    """From now on it finds its place by GTID; put back by its place in the source's log."""
    found = replica(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, facts, channel = found
    if channel.uses_gtid:
        return Refusal(f"{server.key} already uses GTID")
    why_not = _cannot_change(topology, server, facts) or _has_no_gtids(topology, server, facts)
    if why_not:
        return Refusal(why_not)
    runs = as_it_runs(server, channel)
    stop = Stage(text=f"{server.key} stands still", acts=_stopped(server, facts), undo=runs)
    there = Act(verb=Verb.POINT, key=server.key, source=channel.source, starts=not is_stopped(channel))
    text = f"{server.key} replicates by GTID"
    return plan_for(server, text, stop, Stage(text=text, acts=(there,), undo=(_by_place(server), *runs)))


def disable_gtid(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    """From now on it finds its place by file and position, from where it stands."""
    found = replica(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, facts, channel = found
    if not channel.uses_gtid:
        return Refusal(f"{server.key} is not using GTID")
    why_not = _cannot_change(topology, server, facts)
    if why_not:
        return Refusal(why_not)
    runs = as_it_runs(server, channel)
    stop = Stage(text=f"{server.key} stands still", acts=_stopped(server, facts), undo=runs)
    text = f"{server.key} replicates by file and position"
    back = Act(verb=Verb.POINT, key=server.key, source=channel.source, starts=False)
    change = Stage(text=text, acts=(_by_place(server),), undo=(back, *runs))
    warning = f"without GTID {server.key} cannot follow a new primary by itself, nor be promoted without loss"
    stages = (stop, change, *(Stage(text="start", acts=runs) for _ in runs[:1]))
    return plan_for(server, text, *stages, warnings=(warning,))


def _cannot_change(topology: Topology, server: Server, facts: Facts) -> str:
    drops = f"{server.key} {DROPS}" if may_be_needed(facts) else ""
    return not_movable(server) or drops or too_few_ackers(topology, (server.key,))


def _has_no_gtids(topology: Topology, server: Server, facts: Facts) -> str:
    source = topology.servers.get(server.source) if server.source is not None else None
    theirs = source.fresh if source is not None else None
    if theirs is None:
        return f"the source of {server.key} does not answer"
    for each in (facts, theirs):
        if each.flavor is Flavor.MYSQL and each.gtid_mode.upper() != "ON":
            return f"gtid_mode of {each.key} is {each.gtid_mode or 'OFF'}: switch it to ON first"
    if facts.executed is None or theirs.executed is None:
        return f"{server.key} or its source has no GTIDs"
    purged = theirs.purged.minus(facts.executed) if theirs.purged is not None else None
    return f"{theirs.key} has purged transactions that it lacks: {purged.describe(EXTRA_MAX)}" if purged else ""


def _stopped(server: Server, facts: Facts) -> tuple[Act, ...]:
    return (*drained(server, facts), act_on(server, Verb.STOP))


def _by_place(server: Server) -> Act:
    """At the place in its source's log that it has applied."""
    return Act(verb=Verb.POINT_AT, key=server.key, source=server.source, log_of=server.source, at=(server.key,))
