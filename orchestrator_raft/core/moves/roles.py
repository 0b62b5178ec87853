"""Plans by which servers change their places with each other: swaps, rings, and one replica put above its siblings."""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.candidates import choose
from orchestrator_raft.core.instance import Facts
from orchestrator_raft.core.moves.check import (
    acknowledges,
    cannot_replicate,
    lacks_data,
    not_a_source,
    not_movable,
    too_few_ackers,
    uses_gtid,
)
from orchestrator_raft.core.moves.many import all_below
from orchestrator_raft.core.moves.model import (
    HOW_GTID,
    Act,
    Plan,
    Planned,
    Refusal,
    Stage,
    Verb,
    Wish,
    counted,
    joined,
)
from orchestrator_raft.core.moves.one import move, not_below, put_back
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server, Topology

TAKE_MASTER_HOOK = "PostTakeMasterProcesses"


def take_master(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """Swap ``server`` with its source."""
    server = topology.server(wish.server)
    master = topology.servers.get(server.source) if server.source is not None else None
    if master is None:
        return Refusal(not_movable(server) or f"the source of {server.key} is not known")
    if master.is_co_primary:
        return Refusal(f"{master.key} is co-master. Cannot take it.")
    if master.source is None:
        return Refusal(f"{master.key} is the primary of its cluster; to hand its role over: raftctl takeover")
    above = topology.server(master.source)
    why_not = not_below(topology, server, above, policy) or not_movable(master) or not_a_source(server)
    if why_not or master.fresh is None or server.fresh is None or above.fresh is None:
        return Refusal(why_not or f"{master.key} does not answer: make-local-master goes round it")
    reason = cannot_replicate(master.fresh, server.fresh, policy) or lacks_data(topology, master.fresh, above.fresh)
    if reason:
        return Refusal(f"{master.key} cannot replicate from {server.key}: {reason}")
    if acknowledges(master.fresh) and not server.fresh.semi_sync.replica_enabled:
        why_not = too_few_ackers(topology, (master.key,))
        if why_not:
            return Refusal(why_not)
    up, down = move(topology, server, above), move(topology, master, server)
    return Plan(
        text=f"{server.key} takes the place of {master.key}, which goes below it", how=HOW_GTID,
        stages=(*up.stages, *down.stages), reads=(server.key, master.key, above.key),
        movers=(server.key, master.key), warnings=(*up.warnings, *down.warnings), shown=server.key,
        hook=TAKE_MASTER_HOOK, successor=server.key, demoted=master.key,
    )  # fmt: skip


def make_local_master(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """``server`` goes below the source of its source, and its siblings below it; its source may be dead."""
    server = topology.server(wish.server)
    master = topology.servers.get(server.source) if server.source is not None else None
    if master is None or master.source is None:
        why_not = f"the source of {server.key} is no replica itself: make-master is for that"
        return Refusal(not_movable(server) or why_not)
    above = topology.server(master.source)
    siblings = tuple(each for each in topology.replicas_of(master.key) if each.key != server.key)
    why_not = not_below(topology, server, above, policy)
    reasons = (not_below(topology, each, server, policy) for each in siblings)
    why_not = why_not or next((reason for reason in reasons if reason), "")
    why_not = why_not or too_few_ackers(topology, (server.key, *(each.key for each in siblings)))
    if why_not:
        return Refusal(why_not)
    below = tuple(move(topology, each, server) for each in siblings)
    stages = (*move(topology, server, above).stages, *(joined(below, policy.replica_operations_max) if below else ()))
    text = f"{server.key} below {above.key}, with {counted(len(siblings), 'sibling')} below it"
    return Plan(
        text=text, how=HOW_GTID, stages=stages,
        reads=(server.key, above.key, *(each.key for each in siblings)),
        movers=(server.key, *(each.key for each in siblings)), shown=server.key,
    )  # fmt: skip


def make_co_master(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """The source of ``server`` replicates from it as well."""
    server = topology.server(wish.server)
    master = topology.servers.get(server.source) if server.source is not None else None
    if master is None:
        return Refusal(not_movable(server) or f"the source of {server.key} is not known")
    why_not = _not_co_master(topology, server, master, policy)
    if why_not or server.channel is None:
        return Refusal(why_not)
    point = Act(
        verb=Verb.POINT, key=master.key, source=server.key, was_primary=True, options=server.channel.options,
        credentials_from=(server.key, *master.replicas[:2]),
    )  # fmt: skip
    text = f"{master.key} replicates from {server.key} as well"
    return Plan(
        text=text, how=HOW_GTID, stages=(Stage(text=text, acts=(point,), undo=put_back(master)),),
        reads=(server.key, master.key), movers=(master.key,), shown=server.key,
    )  # fmt: skip


def _not_co_master(topology: Topology, server: Server, master: Server, policy: Policy) -> str:
    why_not = not_movable(server)
    facts, theirs = server.fresh, master.fresh
    if why_not or facts is None or theirs is None:
        return why_not or f"{master.key} does not answer"
    checks = (
        (master.source == server.key, f"{server.key} is already co master of {master.key}"),
        (not facts.read_only, f"instance {server.key} is not read-only; first make it read-only (set-read-only)"),
        (facts.channel is not None and not facts.channel.replicates, f"{server.key} does not replicate"),
        (_lags(facts, policy), f"{server.key} lags too much"),
        (not uses_gtid(facts), f"{server.key} does not replicate by GTID"),
        (theirs.is_group_member, f"{master.key} is a member of a replication group"),
    )  # fmt: skip
    found = next((reason for holds, reason in checks if holds), "") or _has_another_source(topology, master)
    return found or not_a_source(server) or _would_bring(facts, theirs, policy)


def _lags(facts: Facts, policy: Policy) -> bool:
    return facts.lag_s is None or facts.lag_s > policy.lag_maintenance_s


def _has_another_source(topology: Topology, master: Server) -> str:
    """It has one already; only a ring whose other half is dead or read-only may be replaced."""
    if master.source is None:
        return f"{master.key} was detached on purpose" if master.channel is not None else ""
    other = topology.server(master.source)
    if master.is_co_primary and (other.fresh is None or other.fresh.read_only):
        return ""
    return f"{master.key} replicates from {other.key}: cowardly refusing to demote it"


def _would_bring(server: Facts, master: Facts, policy: Policy) -> str:
    """What the source would get from its replica that it must not have."""
    reason = cannot_replicate(master, server, policy)
    if reason:
        return f"{master.key} cannot replicate from {server.key}: {reason}"
    if master.executed is None or server.executed is None or master.executed.family != server.executed.family:
        return f"{master.key} has no GTIDs to compare with"
    extra = server.executed.minus(master.executed)
    own = extra.only_from(extra.sources_of_server(server_uuid=server.server_uuid, server_id=server.server_id))
    return f"{server.key} holds transactions of its own: {own.describe(200)}" if own else ""


def regroup(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """The best replica of ``server`` gets its siblings below it."""
    server = topology.server(wish.server)
    replicas = topology.replicas_of(server.key)
    if not replicas:
        return Refusal(f"No replicas found for {server.key}")
    if len(replicas) == 1:
        only = replicas[0].key
        return Plan(text=f"{only} is the only replica of {server.key}", reads=(only,), movers=(only,), shown=only)
    verdict = choose(server, replicas, policy, planned=server.reached)
    if verdict.best is None:
        reasons = "; ".join(str(each) for each in verdict.refused)
        return Refusal(f"chooseCandidateReplica: no candidate replica found: {reasons}")
    best = topology.server(verdict.best)
    siblings = tuple(each for each in replicas if each.key != best.key)
    found = all_below(topology, server, siblings, best, policy)
    if isinstance(found, Refusal):
        return found
    return replace(found, shown=best.key)


def regroup_gtid(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    others = [each for each in topology.replicas_of(wish.server) if each.facts is None or not uses_gtid(each.facts)]
    if others:
        return Refusal(f"not using GTID: {', '.join(str(each.key) for each in others)}")
    return regroup(wish, topology, policy)
