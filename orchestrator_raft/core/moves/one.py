"""Plans for one server that gets another source.

Theory. By GTID a replica finds its place by itself, so one stage is enough: stop it, give it the source, start it.
Where MariaDB would refuse it because its new source is behind, it is first stopped, and the source is waited for. What
was running runs again afterwards, below the new source or, when something failed, below the old one; what somebody
had stopped stays stopped.
"""

from __future__ import annotations

from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.moves.by_place import below_by_place
from orchestrator_raft.core.moves.check import (
    acknowledges,
    cannot_replicate,
    has_to_wait,
    is_descendant,
    is_stopped,
    lacks_data,
    loses_by_filters,
    may_be_needed,
    not_a_source,
    not_movable,
    too_few_ackers,
    uses_gtid,
)
from orchestrator_raft.core.moves.model import HOW_GTID, Act, Plan, Planned, Refusal, Stage, Verb, Wish
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server, Topology

DROPS = (
    "acknowledges, and does not apply all it receives (a delay, or a stopped applier), which a change of source would "
    "drop: switch its semi-sync off first"
)


def target_of(topology: Topology, wish: Wish) -> Server:
    if wish.target is None:
        raise AssertionError(f"{wish.operation} is asked for without a target, which its row demands")
    return topology.server(wish.target)


def relocate(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """The cheapest safe way to have ``server`` below ``target``."""
    return below(topology, topology.server(wish.server), target_of(topology, wish), policy)


def move_below_gtid(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    server, target = topology.server(wish.server), target_of(topology, wish)
    if server.facts is not None and not uses_gtid(server.facts):
        return Refusal(f"Instances {server.key}, {target.key} not GTID compatible or not using GTID")
    return below(topology, server, target, policy)


def move_up(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """One level up, below the source of its source."""
    server = topology.server(wish.server)
    source = topology.servers.get(server.source) if server.source is not None else None
    if source is None:
        return Refusal(not_movable(server) or f"the source of {server.key} is not known")
    if source.source is None:
        return Refusal(f"master is not a replica itself: {source.key}, so there is nothing above it")
    return below(topology, server, topology.server(source.source), policy)


def move_below(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """Below a sibling."""
    server, target = topology.server(wish.server), target_of(topology, wish)
    if server.source is None or server.source != target.source:
        return Refusal(f"instances are not siblings: {server.key}, {target.key} (relocate does not ask for that)")
    return below(topology, server, target, policy)


def move_equivalent(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """Below a server that holds the same place; a replica by GTID finds it, others are not recorded to have one."""
    server, target = topology.server(wish.server), target_of(topology, wish)
    if server.facts is not None and not uses_gtid(server.facts):
        return Refusal(f"No equivalent coordinates found for {server.key} on {target.key}: try relocate")
    return below(topology, server, target, policy)


def below(topology: Topology, server: Server, target: Server, policy: Policy) -> Planned:
    """``server`` below ``target``, or why not."""
    if server.source == target.key:
        return _there_already(server, target)
    if server.facts is not None and server.facts.channels and not uses_gtid(server.facts):
        return below_by_place(topology, server, target, policy)
    why_not = not_below(topology, server, target, policy) or too_few_ackers(topology, (server.key,))
    return Refusal(why_not) if why_not else move(topology, server, target)


def _there_already(server: Server, target: Server) -> Planned:
    why_not = not_movable(server)
    if why_not:
        return Refusal(why_not)
    text = f"{server.key} replicates from {target.key} already"
    return Plan(text=text, reads=(server.key, target.key), movers=(server.key,), shown=server.key)


def not_below(topology: Topology, server: Server, target: Server, policy: Policy) -> str:
    """Why ``server`` must not go below ``target``; empty when it may."""
    if server.key == target.key:
        return f"{server.key} cannot replicate from itself"
    if is_descendant(topology, target.key, server.key):
        return f"relocate: {target.key} is a descendant of {server.key}: take-master swaps the two"
    primary = topology.primary_of(server.cluster_id)
    if primary is not None and primary.key == server.key and server.source is not None:
        return f"{server.key} is the primary of its cluster; to hand its role over: raftctl takeover"
    why_not = not_movable(server) or not_a_source(target)
    if why_not or server.fresh is None or target.fresh is None:
        return why_not
    if server.fresh.is_writable:
        return f"{server.key} takes writes, and would be a second writer there: set-read-only first"
    if may_be_needed(server.fresh):
        return f"{server.key} {DROPS}"
    reason = cannot_replicate(server.fresh, target.fresh, policy) or lacks_data(topology, server.fresh, target.fresh)
    return f"{server.key} cannot replicate from {target.key}: {reason}" if reason else ""


def move(topology: Topology, server: Server, target: Server) -> Plan:
    """The plan of a move that has been checked."""
    facts, channel = server.fresh, server.channel
    if facts is None or channel is None:
        raise AssertionError(f"{server.key} passed the checks of a move and has no channel")
    runs = channel.source.is_detached or not is_stopped(channel)
    warnings = [] if runs else [f"replication of {server.key} is stopped, and stays so"]
    if target.fresh is not None and loses_by_filters(facts, target.fresh):
        warnings.append(f"{target.key} has replication filters: {server.key} will miss what it leaves out")
    if target.cluster_id != server.cluster_id:
        warnings.append(f"{server.key} leaves its cluster and joins that of {target.key}")
    others = tuple(each.key for each in topology.replicas_of(channel.source) if each.key != server.key)
    point = Act(
        verb=Verb.POINT, key=server.key, source=target.key, starts=runs, credentials_from=(*others[:2], target.key)
    )
    back = put_back(server, others[:2])
    text = f"{server.key} below {target.key}"
    stages: tuple[Stage, ...] = (Stage(text=text, acts=(*drained(server, facts), point), undo=back),)
    if has_to_wait(topology, facts, target.key):
        acts = (*drained(server, facts), Act(verb=Verb.STOP, key=server.key))
        stop = Stage(text=f"{server.key} stands still", acts=acts, undo=back)
        wait = Act(verb=Verb.WAIT, key=target.key, at=(server.key,))
        stages = (
            stop,
            Stage(text="the new source gets as far", acts=(wait,)),
            Stage(text=text, acts=(point,), undo=back),
        )
    return Plan(
        text=text, how=HOW_GTID, stages=stages, reads=(server.key, target.key), movers=(server.key,),
        warnings=tuple(warnings), shown=server.key,
    )  # fmt: skip


def drained(server: Server, facts: Facts) -> tuple[Act, ...]:
    """What a replica has acknowledged may be nowhere else, and a change of source drops its relay log."""
    if not acknowledges(facts):
        return ()
    return Act(verb=Verb.STOP_RECEIVER, key=server.key), Act(verb=Verb.DRAIN, key=server.key)


def put_back(server: Server, credentials_from: tuple[InstanceKey, ...] = ()) -> tuple[Act, ...]:
    """Where it was, and running if it was."""
    channel = server.channel
    if channel is None:
        return (Act(verb=Verb.RESET, key=server.key),)
    back = Act(verb=Verb.POINT, key=server.key, source=channel.source, starts=False, credentials_from=credentials_from)
    return (back,) if is_stopped(channel) else (back, Act(verb=Verb.START, key=server.key))
