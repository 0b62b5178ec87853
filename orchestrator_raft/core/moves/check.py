"""May this server replicate from that one, and may it be moved there now? One reason at a time, in words.

Rules
- Data first: a server goes only below one that has, or is about to apply, all that it has received, and that has not
  purged what it still has to execute. What is in its relay log alone is dropped with the change and fetched again.
- What a move would break is refused and named: members of a replication group, several channels, binlog servers,
  stale primaries, and a primary that would have fewer semi-sync replicas left than it waits for.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import Channel, Facts, Flavor, InstanceKey, ThreadState
from orchestrator_raft.core.moves.model import counted
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server, Topology

FORMATS = ("STATEMENT", "MIXED", "ROW")
"""Binary log formats, from the least to the greatest; a server that logs what it replicates needs no smaller one."""
EXTRA_MAX = 200
"""Characters of a GTID set in a reason."""


def not_movable(server: Server) -> str:
    """Why this server must not get another source, whichever that is."""
    facts = server.fresh
    if facts is None:
        return f"{server.key} does not answer"
    if server.stale is not None:
        return f"{server.key} is a stale primary ({server.stale.status.value}); it is taken back by itself"
    if server.in_maintenance:
        return f"{server.in_maintenance} (raftctl maintenance end {server.key})"
    if facts.is_group_member:
        return f"{server.key} is a member of a replication group, hence it cannot be relocated"
    if facts.is_binlog_server:
        return f"{server.key} is a binlog server, which is not moved"
    if not facts.channels:
        return f"{server.key} is no replica"
    if len(facts.channels) > 1:
        names = ", ".join(channel.name or "''" for channel in facts.channels)
        return f"{server.key} replicates over several channels ({names}): change the one that is meant by hand"
    return ""


def not_a_source(target: Server) -> str:
    """Why nobody should be put below this server."""
    facts = target.fresh
    if facts is None:
        return f"{target.key} does not answer"
    if target.stale is not None:
        return f"{target.key} is a stale primary ({target.stale.status.value})"
    if facts.is_binlog_server:
        return f"{target.key} is a binlog server, below which nobody is moved"
    if not facts.binlog.enabled:
        return f"{target.key} has no binary log (log_bin)"
    if facts.channels and not facts.binlog.logs_replica_updates:
        return f"{target.key} does not log what it replicates (log_replica_updates)"
    return ""


def cannot_replicate(replica: Facts, source: Facts, policy: Policy) -> str:
    """Why ``replica`` cannot read what ``source`` writes, whatever data they have."""
    checks = (
        (replica.key == source.key, "it is the same server"),
        (replica.flavor is not source.flavor, f"{source.key} is {source.flavor.value}, it is {replica.flavor.value}"),
        (
            replica.major_version < source.major_version and not policy.lower_replica_version_allowed,
            f"its version {replica.version} is lower than {source.version} of {source.key}",
        ),
        (
            replica.can_be_source and _format(replica) < _format(source),
            f"its binary log format {replica.binlog.format} is smaller than {source.binlog.format} of {source.key}",
        ),
        (replica.server_id == source.server_id, f"it has the same server_id {source.server_id} as {source.key}"),
        (
            bool(replica.server_uuid) and replica.server_uuid == source.server_uuid,
            f"it has the same server_uuid as {source.key}",
        ),
        (
            policy.verify_replication_filters and loses_by_filters(replica, source),
            f"{source.key} filters what it replicates (VerifyReplicationFilters)",
        ),
        (
            _delay_s(source) > max(_delay_s(replica), policy.lag_maintenance_s),
            f"{source.key} is delayed by {_delay_s(source)} s on purpose, it by {_delay_s(replica)} s",
        ),
    )  # fmt: skip
    return next((reason for holds, reason in checks if holds), "")


def _format(facts: Facts) -> int:
    return FORMATS.index(facts.binlog.format) if facts.binlog.format in FORMATS else len(FORMATS) - 1


def loses_by_filters(replica: Facts, source: Facts) -> bool:
    """What ``source`` leaves out would be missing at ``replica`` as well."""
    return _filters(source) and not _filters(replica)


def _filters(facts: Facts) -> bool:
    return facts.channel is not None and facts.channel.has_filters


def _delay_s(facts: Facts) -> int:
    return facts.channel.delay_s if facts.channel is not None else 0


def uses_gtid(facts: Facts) -> bool:
    """It replicates by GTID, so it finds its place below another server by itself."""
    channel = facts.channel
    return channel is not None and channel.uses_gtid and facts.executed is not None


def lacks_data(topology: Topology, replica: Facts, source: Facts) -> str:
    """Why ``source`` cannot give ``replica`` what it needs, or could not be brought to what it has."""
    if not uses_gtid(replica) or replica.executed is None:
        return "it does not replicate by GTID"
    received = replica.received or replica.executed
    if source.executed is None or source.executed.family != received.family:
        return f"{source.key} has no GTIDs to compare with"
    extra = received.minus(can_give(source, source.executed))
    extra = extra.minus(on_its_way(topology, source, extra))
    if extra:
        return f"it holds transactions that {source.key} lacks: {extra.describe(EXTRA_MAX)}"
    purged = source.purged.minus(replica.executed) if source.purged is not None else None
    if purged:
        return f"{source.key} has purged transactions that it lacks: {purged.describe(EXTRA_MAX)}"
    return ""


def on_its_way(topology: Topology, source: Facts, extra: GtidSet) -> GtidSet:
    """Of ``extra``, what ``source`` will have in a moment: newer transactions of itself and of those above it.

    Two servers are never read at the same time, so under writes the one that is read later has more.
    """
    if source.channel is not None and not source.channel.receives:
        return type(extra)()
    above = [topology.servers[key].facts for key in (source.key, *topology.ancestors(source.key))]
    ids = [(facts.server_uuid, facts.server_id) for facts in above if facts is not None]
    writers = frozenset(each for uuid, id_ in ids for each in extra.sources_of_server(server_uuid=uuid, server_id=id_))
    newer = extra.following(source.executed) if source.executed is not None else extra
    return newer.only_from(writers)


def can_give(facts: Facts, executed: GtidSet) -> GtidSet:
    """What a source's binary log has, or will have in a moment."""
    channel = facts.channel
    drains = channel is not None and channel.applier is ThreadState.RUNNING and channel.delay_s == 0
    return (facts.received or executed) if drains else executed


def has_to_wait(topology: Topology, replica: Facts, source: InstanceKey) -> bool:
    """MariaDB lets nobody connect who is ahead of its binary log; a source that may be behind must get there first."""
    return replica.flavor is Flavor.MARIADB and source not in topology.ancestors(replica.key)


def is_stopped(channel: Channel) -> bool:
    """Somebody stopped it: it stays so wherever it is moved."""
    return channel.stopped_on_purpose and channel.applier is not ThreadState.RUNNING


def is_descendant(topology: Topology, key: InstanceKey, ancestor: InstanceKey) -> bool:
    """``key`` replicates from ``ancestor``, directly or through others."""
    return ancestor in topology.ancestors(key)


def too_few_ackers(topology: Topology, leaving: Iterable[InstanceKey]) -> str:
    """Why these replicas must not leave a primary that waits for them; its commits would hang."""
    by_source: dict[InstanceKey, list[Server]] = {}
    for key in leaving:
        server = topology.servers.get(key)
        facts = server.fresh if server is not None else None
        if server is not None and facts is not None and server.source is not None and acknowledges(facts):
            by_source.setdefault(server.source, []).append(server)
    for source, ackers in by_source.items():
        primary = topology.servers[source].fresh
        if primary is None or not primary.semi_sync.source_enabled or not primary.is_writable:
            continue
        left = primary.semi_sync.source_clients - len(ackers)
        waits_for = primary.semi_sync.wait_for_replica_count
        if left < waits_for:
            return (
                f"{source} waits for {counted(waits_for, 'semi-sync replica')} and would have "
                f"{max(0, left)} left, so it could take no writes: switch semi-sync on at other replicas of it first"
            )
    return ""


def acknowledges(facts: Facts) -> bool:
    """Its receiver runs, and semi-sync is on there."""
    channel = facts.channel
    return channel is not None and channel.receiver is ThreadState.RUNNING and facts.semi_sync.replica_enabled


def may_be_needed(facts: Facts) -> bool:
    """It may hold in its relay log alone what a client was told is safe, and does not apply it."""
    channel = facts.channel
    if channel is None or not acknowledges(facts):
        return False
    return channel.applier is not ThreadState.RUNNING or channel.delay_s > 0
