"""Plans that act on one server's channel: another source as it stands, none at all, or one that is set aside.

Theory. These are for people who know what they want, so the new source need not answer: a replica that replicates by
GTID waits for it, and finds its place when it is there. What is known of it must not speak against it.
A detached replica has ``//`` before its source's name: it replicates from nobody, and knows where it belongs.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.instance import DETACHED_MARK, InstanceKey
from orchestrator_raft.core.moves.check import (
    cannot_replicate,
    is_descendant,
    is_stopped,
    lacks_data,
    may_be_needed,
    not_a_source,
    not_movable,
    too_few_ackers,
    uses_gtid,
)
from orchestrator_raft.core.moves.many import matching
from orchestrator_raft.core.moves.model import (
    HOW_GTID,
    Act,
    LeftOut,
    Plan,
    Planned,
    Refusal,
    Stage,
    Verb,
    Wish,
    counted,
    joined,
)
from orchestrator_raft.core.moves.one import DROPS, drained, put_back, target_of
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server, Topology


def repoint(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """Replicate from ``target`` from the same place on, whether it answers or not."""
    server, target = topology.server(wish.server), target_of(topology, wish)
    why_not = _not_repointed(topology, server, target, policy)
    if not why_not and server.source != target.key:
        why_not = too_few_ackers(topology, (server.key,))
    return Refusal(why_not) if why_not else _repointed(server, target)


def repoint_replicas(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """Have the replicas of ``server`` connect to it anew."""
    server = topology.server(wish.server)
    chosen = matching(topology, server, wish.pattern)
    if isinstance(chosen, Refusal):
        return chosen
    reasons = {each.key: _not_repointed(topology, each, server, policy) for each in chosen}
    left_out = tuple(LeftOut(key=key, reason=reason) for key, reason in reasons.items() if reason)
    plans = tuple(_repointed(each, server) for each in chosen if not reasons[each.key])
    if not plans:
        return Refusal("; ".join(str(each) for each in left_out))
    movers = tuple(key for plan in plans for key in plan.movers)
    warnings = tuple(dict.fromkeys(text for plan in plans for text in plan.warnings))
    return Plan(
        text=f"{counted(len(plans), 'replica')} of {server.key} to connect to it anew", how=HOW_GTID,
        stages=joined(plans, policy.replica_operations_max), reads=(*reasons, server.key), movers=movers,
        piecemeal=True, left_out=left_out, warnings=warnings,
    )  # fmt: skip


def _not_repointed(topology: Topology, server: Server, target: Server, policy: Policy) -> str:
    if server.key == target.key or is_descendant(topology, target.key, server.key):
        return f"{target.key} is {server.key} itself, or below it"
    why_not = not_movable(server)
    if why_not or server.fresh is None:
        return why_not
    if server.fresh.is_writable and server.source != target.key:
        return f"{server.key} takes writes, and would be a second writer there: set-read-only first"
    if not uses_gtid(server.fresh):
        return f"{server.key} does not replicate by GTID, so its place means nothing on another server"
    if may_be_needed(server.fresh):
        return f"{server.key} {DROPS}"
    if target.fresh is None:
        return f"{target.key} is a stale primary" if target.stale is not None else ""
    reason = not_a_source(target) or cannot_replicate(server.fresh, target.fresh, policy)
    reason = reason or lacks_data(topology, server.fresh, target.fresh)
    return f"{server.key} cannot replicate from {target.key}: {reason}" if reason else ""


def _repointed(server: Server, target: Server) -> Plan:
    warnings = () if target.fresh is not None else (f"{target.key} does not answer: {server.key} will wait for it",)
    text = f"{server.key} below {target.key}"
    return _channel_plan(server, target.key, text, warnings, (server.key, target.key))


def _channel_plan(
    server: Server, source: InstanceKey, text: str, warnings: tuple[str, ...], reads: tuple[InstanceKey, ...]
) -> Plan:
    facts, channel = server.fresh, server.channel
    if facts is None or channel is None:
        raise AssertionError(f"{server.key} passed the checks and has no channel")
    runs = channel.source.is_detached or not is_stopped(channel)
    follows = runs and not source.is_detached
    acts = (
        *drained(server, facts),
        Act(verb=Verb.STOP, key=server.key),
        Act(verb=Verb.POINT, key=server.key, source=source, starts=False),
        *((Act(verb=Verb.START, key=server.key),) if follows else ()),
    )
    stage = Stage(text=text, acts=acts, undo=put_back(server))
    return Plan(
        text=text, how="" if source.is_detached else HOW_GTID, stages=(stage,), reads=reads,
        movers=(server.key,), warnings=warnings, shown=server.key,
    )  # fmt: skip


def detach(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """Replicate from nobody, and know where it belongs."""
    server = topology.server(wish.server)
    why_not = not_movable(server)
    if why_not or server.channel is None or server.fresh is None:
        return Refusal(why_not)
    source = server.channel.source
    if source.is_detached:
        return Refusal(f"instance already detached: {server.key} (reattach-replica puts it back)")
    why_not = _not_taken_out(topology, server)
    if why_not:
        return Refusal(why_not)
    text = f"{server.key} detached from {source}"
    away = source._replace(hostname=f"{DETACHED_MARK}{source.hostname}")
    return _channel_plan(server, away, text, _leaves(topology, server), (server.key, *_known(topology, source)))


def reattach(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """Below the source again from which it was detached."""
    server = topology.server(wish.server)
    why_not = not_movable(server)
    if why_not or server.channel is None or server.fresh is None:
        return Refusal(why_not)
    if not server.channel.source.is_detached:
        return Refusal(f"instance does not seem to be detached: {server.key}")
    source = server.channel.source.attached
    known = topology.servers.get(source)
    reason = _not_repointed(topology, server, known, policy) if known is not None else ""
    if reason:
        return Refusal(reason)
    text = f"{server.key} below {source} again"
    silent = known is None or known.fresh is None
    warnings = (f"{source} does not answer: {server.key} will wait for it",) if silent else ()
    return _channel_plan(server, source, text, warnings, (server.key, *_known(topology, source)))


def reset_replica(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """Replicate from nobody any more."""
    server = topology.server(wish.server)
    why_not = not_movable(server)
    if why_not or server.channel is None or server.fresh is None:
        return Refusal(why_not)
    why_not = _not_taken_out(topology, server)
    if why_not:
        return Refusal(why_not)
    back = tuple(replace(act, options=server.channel.options) if act.source else act for act in put_back(server))
    acts = (
        *drained(server, server.fresh),
        Act(verb=Verb.STOP, key=server.key),
        Act(verb=Verb.RESET, key=server.key),
    )
    text = f"{server.key} replicates from nobody"
    return Plan(
        text=text, stages=(Stage(text=text, acts=acts, undo=back),), reads=(server.key,), movers=(server.key,),
        warnings=_leaves(topology, server), shown=server.key,
    )  # fmt: skip


def _not_taken_out(topology: Topology, server: Server) -> str:
    primary = topology.primary_of(server.cluster_id)
    if primary is not None and primary.key == server.key and server.source is not None and not server.is_co_primary:
        return f"{server.key} is the primary of its cluster"
    if server.fresh is not None and may_be_needed(server.fresh):
        return f"{server.key} {DROPS}"
    return too_few_ackers(topology, (server.key,))


def _leaves(topology: Topology, server: Server) -> tuple[str, ...]:
    count = len(server.replicas)
    alone = f"{server.key} leaves its cluster"
    return (f"{alone}, and {counted(count, 'replica')} with it" if count else alone,)


def _known(topology: Topology, key: InstanceKey) -> tuple[InstanceKey, ...]:
    return (key,) if key in topology.servers else ()
