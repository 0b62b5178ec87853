"""What to fetch from the binary logs of a server that is kept out, before it is rebuilt and they are gone.

Theory. A quarantined server holds transactions that its cluster lacks. ``extra`` is what to save, ``common`` is what
the server has besides: on MariaDB the place in the binary logs at which reading begins is named by the last transaction
before the first extra one. Both are worked out anew from the newest probes, since a record may be shortened. The
primary's set only grows, so a primary that was read after the server shows nothing as extra that it has.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import Flavor, InstanceKey
from orchestrator_raft.core.recovery.rejoin import extra_gtids
from orchestrator_raft.core.topology import Server, StaleStatus, Topology

NOT_COMPARABLE = "GTIDs are missing there or at the primary, so nobody can tell what only it has"


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """Transactions to be saved from one server into files of a folder."""

    key: InstanceKey
    flavor: Flavor
    extra: GtidSet
    common: GtidSet
    folder: str
    """The recovery's id, which names the folder."""


def salvage(topology: Topology, key: InstanceKey, folder: str) -> Salvage | str:
    """What to save of this server; a text where there is nothing, or where it cannot be told."""
    server = topology.server(key)
    primary = topology.primary_of(server.cluster_id)
    if primary is None or primary.key == key:
        return f"{key} is the primary of its cluster: whatever it has is not lost"
    silent = next((each.key for each in (server, primary) if each.fresh is None), None)
    if silent is not None:
        return f"{silent} does not answer"
    extra = extra_gtids(server, primary)
    facts = server.fresh
    if facts is None or facts.executed is None or extra is None:
        return NOT_COMPARABLE
    extra = extra.intersection(facts.executed)
    if extra.is_empty:
        return f"{primary.key} has every transaction that {key} has executed: there is nothing to save"
    return Salvage(key=key, flavor=facts.flavor, extra=extra, common=facts.executed.minus(extra), folder=folder)


def to_be_saved(topology: Topology, cluster_id: str) -> tuple[Server, ...]:
    """Quarantined servers of this cluster that answer, and of which nobody has tried to save anything."""
    primary = topology.primary_of(cluster_id)
    if primary is None or primary.fresh is None:
        return ()
    return tuple(server for server in topology.members(cluster_id) if server.fresh is not None and _waits(server))


def _waits(server: Server) -> bool:
    mark = server.stale
    return mark is not None and mark.status is StaleStatus.QUARANTINED and mark.saved is None
