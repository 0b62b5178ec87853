"""Where the replicas of a failed server can go: a source for each, or the reason why there is none.

Rules
- Nothing is lost: a replica goes only below a server that has, or is about to apply, all that the replica has received.
  What is in its relay log alone and is dropped with the change of source is then fetched again. One that has more than
  anybody else (errant transactions, on itself or on the failed server) stays where it is, and its extra is named.
- Siblings of the failed server, or the other members of its replication group, go first: in the same place, then in the
  same data centre, then elsewhere; after them the failed server's own sources, nearest first. Among equals the one that
  takes most of the replicas, by its promotion rule, and the one that lags least.
- By GTID only, and within one dialect, as far as version and binary log format allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator_raft.core.candidates.choose import can_replicate_from
from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import PROMOTION_ORDER, Channel, Facts, InstanceKey, ThreadState
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.model import Move, RefusedServer
from orchestrator_raft.core.topology import Server, Topology

NO_TARGET = "neither a sibling of its source nor a server above it answers and can be a source"

NOBODY_ELSE = "nobody else answers and can be its source"


@dataclass(frozen=True, slots=True)
class Relocation:
    """Who goes where, and who cannot be moved."""

    moves: tuple[Move, ...] = ()
    refused: tuple[RefusedServer, ...] = ()


def relocate(
    topology: Topology,
    failed: Server,
    orphans: Sequence[Server],
    policy: Policy,
    tried: dict[InstanceKey, tuple[InstanceKey, ...]] | None = None,
) -> Relocation:
    """A source for each of ``orphans``, freshly probed replicas of ``failed``; ``tried`` ones are left out."""
    already = tried or {}
    targets = _ranked(topology, failed, orphans, policy)
    moves, refused = [], []
    for orphan in orphans:
        before = already.get(orphan.key, ())
        left = [target for target in targets if target.key not in before]
        reasons = {target.key: misfit(orphan, target) for target in left}
        best = next((key for key, reason in reasons.items() if not reason), None)
        if best is not None:
            moves.append(Move(orphan.key, best, before))
        else:
            text = "; ".join(f"not below {key}: {reason}" for key, reason in reasons.items())
            refused.append(RefusedServer(orphan.key, text or (NOBODY_ELSE if before else NO_TARGET)))
    return Relocation(tuple(moves), tuple(refused))


def _ranked(topology: Topology, failed: Server, orphans: Sequence[Server], policy: Policy) -> list[Server]:
    """Possible sources, best first."""
    taken = {failed.key, *(orphan.key for orphan in orphans)}
    above = [topology.servers[key] for key in topology.ancestors(failed.key) if key not in taken]
    mates = [each for each in group_mates(topology, failed) if each.key not in taken and _can_serve(each)]
    siblings = topology.replicas_of(failed.source) if failed.source is not None else ()
    tiers: list[tuple[int, Server]] = [
        (_distance(failed, server), server)
        for server in siblings
        if server.key not in taken and not _unfit_sibling(server, failed, policy)
    ]
    tiers += [(_distance(failed, server), server) for server in mates if not server.set_aside]
    tiers += [(10 + number, server) for number, server in enumerate(above) if _can_serve(server)]

    def rank(entry: tuple[int, Server]) -> tuple[object, ...]:
        tier, server = entry
        facts = server.facts
        rule = PROMOTION_ORDER[facts.promotion_rule] if facts is not None else len(PROMOTION_ORDER)
        takes = sum(1 for orphan in orphans if not misfit(orphan, server))
        lag_s = facts.lag_s if facts is not None and facts.lag_s is not None else 0.0
        return tier, -takes, rule, lag_s, server.key

    return [server for _, server in sorted(tiers, key=rank)]


def group_mates(topology: Topology, failed: Server) -> tuple[Server, ...]:
    """Members of the failed server's replication group that are online: each has all that the group committed."""
    group = failed.facts.group if failed.facts is not None else None
    if group is None:
        return ()
    return tuple(each for each in topology.members(failed.cluster_id) if _is_online_in(each, group.group_name))


def _is_online_in(server: Server, group_name: str) -> bool:
    group = server.fresh.group if server.fresh is not None else None
    return group is not None and (group.group_name, group.state) == (group_name, "ONLINE")


def _distance(failed: Server, server: Server) -> int:
    if failed.facts is None or server.facts is None:
        return 2
    here, there = failed.facts.location, server.facts.location
    if here == there:
        return 0
    return 1 if here.data_center == there.data_center else 2


def _can_serve(server: Server) -> bool:
    facts = server.fresh
    return facts is not None and server.stale is None and facts.can_be_source


def _unfit_sibling(server: Server, failed: Server, policy: Policy) -> bool:
    facts, channel = server.fresh, server.channel
    if facts is None or channel is None or not _can_serve(server) or len(facts.channels) > 1:
        return True
    had_filters = failed.channel is not None and failed.channel.has_filters
    return (
        not channel.replicates
        or channel.delay_s > 0
        or channel.has_filters is not had_filters
        or bool(server.set_aside)
        or policy.promotion_ignore.match(server.key)
    )


def misfit(orphan: Server, target: Server) -> str:
    """Why ``orphan`` must not replicate from ``target``; empty when it may."""
    mine, theirs = orphan.fresh, target.fresh
    if mine is None or theirs is None:
        return "it does not answer"
    channel = mine.channel
    if channel is None or len(mine.channels) > 1:
        return "it replicates over several channels" if mine.channels else "it is no replica"
    if not can_replicate_from(mine, theirs):
        return "version, dialect or binary log format do not allow it"
    if not channel.uses_gtid or mine.received is None or theirs.executed is None:
        return "it cannot be compared, since it does not replicate by GTID"
    extra = mine.received.minus(_can_give(theirs, theirs.executed, theirs.channel))
    if extra:
        return f"it holds transactions that {target.key} lacks: {extra.describe(200)}"
    purged = theirs.purged.minus(mine.received) if theirs.purged is not None else None
    if purged:
        return f"{target.key} has purged transactions that it lacks: {purged.describe(200)}"
    return ""


def _can_give(facts: Facts, executed: GtidSet, channel: Channel | None) -> GtidSet:
    """What a source's binary log has, or will have in a moment."""
    drains = channel is not None and channel.applier is ThreadState.RUNNING and channel.delay_s == 0
    return (facts.received or executed) if drains else executed
