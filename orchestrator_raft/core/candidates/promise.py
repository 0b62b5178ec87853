"""The no-loss promise: may a failover of this cluster lose a transaction that a client was told is safe? (design D4)

Theory. A primary that waits for k of n possible ackers acknowledges a commit only when k of them hold it. Stop the
receivers of n-k+1 of them and at least one of any k is among those, and none of them can acknowledge any more:
whatever was acknowledged is held by one that answered. So n-k+1 answers are needed, and it does not matter which.

Semi-sync counts only if it cannot be left silently: on the primary, AFTER_SYNC, waiting also when no replica is there,
and with a timeout so long that a person is awake before it passes. And it has to be in force: a primary whose timeout
did pass goes on acknowledging alone (status OFF) until its replicas have caught up, whatever its settings say by then.

What it acknowledged while semi-sync was not in force, or as a replica before it was promoted, nobody waited for. It is
held by k possible ackers, like all the rest, once k of them were seen with everything that the primary had when
semi-sync was seen in force: what it had not by then, it acknowledged under semi-sync. So that sight is what makes the
promise (``caught_up``, replicated), and every change of the primary or of its semi-sync, k included, ends it
(``lapses``), as does everybody who acknowledges and is no possible acker (``ackers``). Only then does it hold for a
leader that has never seen the primary alive.

When the primary dies the last facts that were replicated count. What changes between the last probe and the death is
not seen: a person who switches semi-sync off just then takes the promise with him. A switch-off by timeout cannot hide
there, since it takes an hour of commits that nobody confirms, and coming back takes replicas that have caught up.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from orchestrator_raft.core.candidates.ackers import described
from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import Facts, InstanceKey, SemiSync
from orchestrator_raft.core.topology import ClusterRecord, Server, Topology

TIMEOUT_MIN_MS = 3_600_000
"""A semi-sync timeout below an hour promises nothing: the primary would go on alone."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Whether the promise holds now; ``because`` says why not."""

    holds: bool
    because: str = ""

    def __str__(self) -> str:
        return "no-loss promise: yes" if self.holds else f"no-loss promise: no, because {self.because}"


HOLDS = Promise(True)


def semi_sync_promises(primary: Facts | None) -> Promise:
    """Whether the primary's semi-sync set-up can promise anything at all."""
    if primary is None:
        return Promise(False, "the primary has never been reached")
    obstacle = _obstacle(primary.semi_sync)
    return Promise(False, f"{obstacle} ({primary.key})") if obstacle else HOLDS


def _obstacle(semi_sync: SemiSync) -> str:
    """Why a primary that is set up like this promises nothing; empty if it can."""
    if not semi_sync.source_enabled:
        return "semi-sync is off on the primary"
    if not semi_sync.after_sync:
        return "the primary waits after commit instead of after sync"
    if not semi_sync.wait_without_replicas:
        return "the primary does not wait when no replica is connected"
    if semi_sync.timeout_ms < TIMEOUT_MIN_MS:
        return f"the semi-sync timeout is {semi_sync.timeout_ms} ms, below an hour"
    if semi_sync.wait_for_replica_count < 1:
        return "the primary waits for no replica"
    if not semi_sync.source_active:
        return "semi-sync is not in force: the primary acknowledges without its replicas"
    return ""


def promised(cluster: ClusterRecord, primary: Facts | None) -> Promise:
    """Whether k possible ackers hold whatever was acknowledged, by what is replicated; who answers is left out."""
    able = semi_sync_promises(primary)
    if not able.holds or primary is None or cluster.caught_up:
        return able
    if cluster.lapsed_because:
        return Promise(False, f"{cluster.lapsed_because}; the others have not yet been seen with all of it")
    return Promise(
        False,
        f"{primary.key} may have acknowledged writes before its semi-sync was in force, and too few of its semi-sync "
        "replicas have been seen with all of those",
    )


def is_lapsed(cluster: ClusterRecord, primary: Facts | None) -> bool:
    """Semi-sync is in force: only the sight of its replicas with everything is missing for the promise."""
    return semi_sync_promises(primary).holds and not cluster.caught_up


def has_caught_up(topology: Topology, cluster: ClusterRecord, gtids: GtidSet) -> bool:
    """As many possible ackers as the primary waits for answer now and have all of ``gtids``."""
    primary = topology.servers.get(cluster.primary) if cluster.primary is not None else None
    if primary is None or primary.facts is None:
        return False
    servers = (topology.servers.get(key) for key in cluster.ackers)
    holders = [server for server in servers if server is not None and _holds(server, gtids)]
    return len(holders) >= max(1, primary.facts.semi_sync.wait_for_replica_count)


def _holds(server: Server, gtids: GtidSet) -> bool:
    """It has all of it, and could give it to others."""
    received = server.fresh.received if server.fresh is not None and server.stale is None else None
    filters = server.channel is not None and server.channel.has_filters
    return received is not None and received.family == gtids.family and not filters and received.covers(gtids)


def answers_needed(ackers: Collection[InstanceKey], waits_for: int) -> int:
    """n-k+1: how many possible ackers have to be stopped and read before anybody is promoted."""
    return max(0, len(ackers) - max(1, waits_for) + 1)


def missing_ackers(
    ackers: Collection[InstanceKey], waits_for: int, stopped: Collection[InstanceKey]
) -> tuple[InstanceKey, ...]:
    """Possible ackers that still have to answer; empty when enough of them have been stopped and read."""
    answered = [key for key in ackers if key in stopped]
    if len(answered) >= answers_needed(ackers, waits_for):
        return ()
    return tuple(key for key in ackers if key not in stopped)


def promise(cluster: ClusterRecord, primary: Facts | None, reachable: Collection[InstanceKey]) -> Promise:
    """What the cluster can promise right now, given the servers that answer."""
    able = promised(cluster, primary)
    if not able.holds or primary is None:
        return able
    if len(cluster.ackers) < primary.semi_sync.wait_for_replica_count:
        return Promise(False, f"{cluster.name} has fewer replicas with semi-sync than it waits for")
    missing = missing_ackers(cluster.ackers, primary.semi_sync.wait_for_replica_count, reachable)
    if missing:
        names = ", ".join(str(key) for key in missing)
        return Promise(False, f"possible ackers out of reach: {names}")
    return HOLDS


def promise_of(topology: Topology, cluster_id: str) -> Promise:
    """The same, for people: by what was seen last, or where this node does not look itself, by what is replicated."""
    cluster, primary = topology.clusters.get(cluster_id), topology.primary_of(cluster_id)
    if cluster is None or primary is None:
        return Promise(False, "the cluster has no primary")
    unknown = described(topology, cluster.record) if semi_sync_promises(primary.facts).holds else ""
    if unknown:
        return Promise(False, unknown)
    return promise(cluster.record, primary.facts, answering_ackers(topology, cluster.record))


def answering_ackers(topology: Topology, cluster: ClusterRecord) -> tuple[InstanceKey, ...]:
    """Possible ackers that answer, by what was seen last or is replicated."""
    servers = [topology.servers[key] for key in cluster.ackers if key in topology.servers]
    return tuple([each.key for each in servers if each.cluster_id == cluster.id and _answers(each)])


def _answers(server: Server) -> bool:
    if server.observation is not None:
        return server.reached
    return server.record is not None and server.record.reachable
