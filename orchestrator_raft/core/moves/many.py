"""Plans for several replicas of one server: each for itself, so many side by side, and what cannot be moved stays."""

from __future__ import annotations

from orchestrator_raft.core.moves.check import too_few_ackers, uses_gtid
from orchestrator_raft.core.moves.model import HOW_GTID, LeftOut, Plan, Planned, Refusal, Wish, counted, joined
from orchestrator_raft.core.moves.one import move, not_below, target_of
from orchestrator_raft.core.moves.patterns import compiled
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server, Topology

MOVERS_MAX = 100
"""So many servers in one operation; its record has to fit into one entry of the log."""


def relocate_replicas(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """The replicas of ``server``, or those that ``pattern`` matches, below ``target``."""
    server, target = topology.server(wish.server), target_of(topology, wish)
    chosen = matching(topology, server, wish.pattern, without=target)
    if isinstance(chosen, Refusal):
        return chosen
    return all_below(topology, server, chosen, target, policy)


def move_replicas_gtid(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    server, target = topology.server(wish.server), target_of(topology, wish)
    chosen = matching(topology, server, wish.pattern, without=target)
    if isinstance(chosen, Refusal):
        return chosen
    by_gtid = tuple(each for each in chosen if each.facts is not None and uses_gtid(each.facts))
    if not by_gtid:
        return Refusal(f"no replica of {server.key} uses GTID")
    return all_below(topology, server, by_gtid, target, policy)


def move_up_replicas(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """The replicas of ``server`` one level up, below its own source."""
    server = topology.server(wish.server)
    if server.source is None:
        return Refusal(f"{server.key} is no replica itself, so there is nothing above it")
    chosen = matching(topology, server, wish.pattern)
    if isinstance(chosen, Refusal):
        return chosen
    return all_below(topology, server, chosen, topology.server(server.source), policy)


def take_siblings(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """The siblings of ``server`` below it."""
    server = topology.server(wish.server)
    if server.source is None:
        return Refusal(f"take-siblings: instance {server.key} is not a replica.")
    source = topology.server(server.source)
    chosen = matching(topology, source, wish.pattern, without=server)
    if isinstance(chosen, Refusal):
        return Refusal(f"{server.key} has no siblings") if not wish.pattern else chosen
    return all_below(topology, source, chosen, server, policy)


def matching(
    topology: Topology, server: Server, pattern: str, *, without: Server | None = None
) -> tuple[Server, ...] | Refusal:
    """Replicas of ``server`` that are meant."""
    replicas = tuple(each for each in topology.replicas_of(server.key) if each is not without)
    if pattern:
        wanted = compiled(pattern)
        if isinstance(wanted, Refusal):
            return wanted
        replicas = tuple(each for each in replicas if wanted.search(str(each.key)))
    if not replicas:
        return Refusal(f"No replicas found for {server.key}" + (f" that '{pattern}' matches" if pattern else ""))
    if len(replicas) > MOVERS_MAX:
        return Refusal(f"{server.key} has {len(replicas)} replicas, more than {MOVERS_MAX} at once: choose by pattern")
    return replicas


def all_below(
    topology: Topology, server: Server, replicas: tuple[Server, ...], target: Server, policy: Policy
) -> Planned:
    """Each of ``replicas`` below ``target``; those that cannot be moved are left out, with the reason."""
    left_out: list[LeftOut] = []
    plans: list[Plan] = []
    for each in replicas:
        reason = not_below(topology, each, target, policy)
        if reason:
            left_out.append(LeftOut(key=each.key, reason=reason))
        else:
            plans.append(move(topology, each, target))
    if not plans:
        return Refusal("; ".join(str(each) for each in left_out))
    movers = tuple(key for plan in plans for key in plan.movers)
    why_not = too_few_ackers(topology, movers)
    if why_not:
        return Refusal(why_not)
    warnings = tuple(dict.fromkeys(text for plan in plans for text in plan.warnings))
    return Plan(
        text=f"{counted(len(movers), 'replica')} of {server.key} below {target.key}",
        how=HOW_GTID,
        stages=joined(tuple(plans), policy.replica_operations_max),
        reads=(*movers, target.key, *(each.key for each in left_out)),
        movers=movers,
        piecemeal=True,
        left_out=tuple(left_out),
        warnings=warnings,
    )
