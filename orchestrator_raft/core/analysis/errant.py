"""Errant transactions: what a replica has executed and its source never had.

A comparison of two servers is a comparison of two moments. What a replica has, its source had earlier, so only a set of
the source that was read after the replica's can show that something is errant; where the newest one of the replica was
not read before it, the replica's set of the probe before is compared. What an ancestor wrote itself is left out, as the
peers do: under semi-sync a replica has a transaction before its source counts it as executed. So is what an
intermediate source has received and not yet executed.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator_raft.core.gtid import EMPTY_MARIADB, EMPTY_MYSQL, Family, GtidSet, Source
from orchestrator_raft.core.instance import Facts
from orchestrator_raft.core.observation import Observation
from orchestrator_raft.core.topology import Server, Topology

NONE: Mapping[Family, GtidSet] = {each.family: each for each in (EMPTY_MYSQL, EMPTY_MARIADB)}


def errant_gtids(topology: Topology, server: Server) -> GtidSet | None:
    """The errant transactions of ``server``; None where nothing can be said.

    It has no source, one of the two was not sampled or has no GTIDs, or the source was not read after the replica.
    """
    source = topology.servers.get(server.source) if server.source is not None and server.reached else None
    if source is None or not source.reached or source.facts is None:
        return None
    mine, known = _read_before(server.observation, source.observation), source.facts.received
    if mine is None or known is None or mine.family != known.family:
        return None
    if known.covers(mine):
        return NONE[mine.family]
    extra = mine.minus(known)
    for key in topology.ancestors(server.key):
        ancestor = topology.servers[key].facts
        if ancestor is not None:
            extra = extra.without_sources(_wrote(extra, ancestor))
    return extra


def _wrote(gtids: GtidSet, facts: Facts) -> frozenset[Source]:
    return frozenset(gtids.sources_of_server(server_uuid=facts.server_uuid, server_id=facts.server_id))


def _read_before(replica: Observation | None, source: Observation | None) -> GtidSet | None:
    """What the replica had executed before the source was asked, as late as is known."""
    if replica is None or source is None or source.asked_at_s is None:
        return None
    if replica.at_s <= source.asked_at_s:
        return replica.facts.executed if replica.facts is not None else None
    earlier = replica.history.earlier
    return earlier.executed if earlier is not None and earlier.at_s <= source.asked_at_s else None
