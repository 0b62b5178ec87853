"""What the peers miss: primaries that are alive and of no use, and replicas that are not what they say.

Nothing here is guessed from one sign: each names two things that fit together, or one that a server says itself.
"""

from __future__ import annotations

from orchestrator_raft.core.analysis.evidence import Evidence, hears_nothing, names, unreached
from orchestrator_raft.core.analysis.primaries import locked_hypothesis
from orchestrator_raft.core.analysis.situation import Situation, is_replicating, is_silent
from orchestrator_raft.core.health import tells_full_disk
from orchestrator_raft.core.instance import ThreadState, UnreachableKind
from orchestrator_raft.core.topology import Server

_MUTE = frozenset({UnreachableKind.NO_GREETING, UnreachableKind.QUERY_TIMEOUT})
"""What a frozen process looks like: the kernel takes the connection, and nobody says anything on it."""
_REFUSALS = frozenset({UnreachableKind.AUTHENTICATION, UnreachableKind.TLS_MISSING, UnreachableKind.PROTOCOL})
WRITES_IN_VAIN = 2
_STOPS_RECEIVING = (ThreadState.STOPPED, ThreadState.ABSENT)

# -- primaries


def hung_primary(s: Situation) -> Evidence | None:
    """It does not answer, and those who say that they are connected to it hear nothing either.

    A slow primary's sessions for its replicas are not held up by its clients, so its replicas still get heartbeats; a
    frozen one sends none. A replica that lost its connection agrees; one that hears the primary refutes all of it.
    """
    holds = s.failure in _MUTE and s.is_primary and bool(s.silent) and not s.hearing and not s.is_group_member
    if not holds:
        return None
    silent = {replica.key for replica in s.silent}
    others = tuple(each for each in s.valid if each.key not in silent)
    dead = tuple(each for each in s.replicas if not each.reached)
    lost = (f"not connected to it: {names(others)}",) if others else ()
    gone = (f"not reachable either: {names(dead)}",) if dead else ()
    return (unreached(s), *(hears_nothing(each) for each in s.silent), *lost, *gone)


def saturated_primary(s: Situation) -> Evidence | None:
    """It has as many connections as it takes. It is alive, so nobody replaces it.

    On one that waits for acknowledgements clients pile up; there the cause is named, not this.
    """
    if not s.is_primary:
        return None
    if s.failure is UnreachableKind.TOO_MANY_CONNECTIONS:
        return (unreached(s),)
    load = s.facts.load if s.facts is not None and s.is_valid else None
    if load is None or not load.is_saturated or locked_hypothesis(s) is not None:
        return None
    return (f"{load.connections} connections of {load.connections_max} (max_connections) are taken",)


def stalled_disk(s: Situation) -> Evidence | None:
    """Flushes to disk are waited for, and none has been finished for a while."""
    stall_s = s.observation.stall_s if s.observation is not None else 0.0
    if stall_s <= s.policy.stall_s or not s.is_primary or s.facts is None:
        return None
    waiting = s.facts.load.syncs_pending
    return (f"{waiting} flushes to disk are waited for, and none was finished for {stall_s:.0f} s",)


def full_disk(s: Situation) -> Evidence | None:
    evidence = cannot_write(s)
    return evidence if evidence is not None and tells_full_disk(evidence[0]) else None


def cannot_write(s: Situation) -> Evidence | None:
    """It answers, and two writes running have failed. A locked one only waits, and a closed one refuses on purpose."""
    trouble = s.observation.write_trouble if s.observation is not None else None
    if trouble is None or trouble.count < WRITES_IN_VAIN or not s.is_recorded_primary:
        return None
    if s.facts is None or not s.facts.is_writable or locked_hypothesis(s) is not None:
        return None
    return (f"{trouble.count} writes running have failed (WriteProbeQuery): {trouble.detail}",)


def restarted_read_only(s: Situation) -> Evidence | None:
    before = s.observation.history.before_restart if s.observation is not None else None
    holds = before is not None and before.is_writable and s.is_primary and not s.belongs_to_group
    holds = holds and s.facts is not None and not s.facts.is_writable
    return (f"{s.key} was restarted and is read-only since: nobody writes to this cluster",) if holds else None


def restarted_without_semi_sync(s: Situation) -> Evidence | None:
    before = s.observation.history.before_restart if s.observation is not None else None
    holds = before is not None and before.semi_sync.source_enabled and s.is_valid and s.is_primary
    holds = holds and s.facts is not None and not s.facts.semi_sync.source_enabled
    said = f"{s.key} was restarted and waits for no acknowledgement since: its next crash may lose commits"
    return (said, "write rpl_semi_sync_source_enabled into its configuration") if holds else None


def second_writer(s: Situation) -> Evidence | None:
    """It takes writes, replicates from nobody or in a circle, and another one holds the role."""
    return _writes_beside(s) if s.is_primary or s.is_co_primary else None


def writable_replica(s: Situation) -> Evidence | None:
    return _writes_beside(s)


def _writes_beside(s: Situation) -> Evidence | None:
    """It takes writes although the recorded primary of its cluster does."""
    if not s.is_valid or s.facts is None or not s.facts.is_writable or s.is_group_member or s.is_recorded_primary:
        return None
    primary = s.topology.primary_of(s.server.cluster_id)
    if primary is None or primary.facts is None or primary.facts.read_only:
        return None
    return (f"{s.key} takes writes, and so does {primary.key}, the primary of this cluster",)


def refuses_manager(s: Situation) -> Evidence | None:
    """It answers, and does not let this manager look: nobody would see it fail."""
    return (unreached(s),) if s.failure in _REFUSALS else None


# -- replicas


def broken_applier(s: Situation) -> Evidence | None:
    channel = s.server.channel
    if channel is None or not channel.applier_error_number or not s.is_valid:
        return None
    holds = channel.applier is not ThreadState.RUNNING
    return (
        (f"its applier stopped with error {channel.applier_error_number}: {channel.applier_error}",) if holds else None
    )


def broken_receiver(s: Situation) -> Evidence | None:
    """One that gave up; one that still tries to connect is its source's problem."""
    channel = s.server.channel
    if channel is None or not channel.receiver_error_number or not s.is_valid:
        return None
    holds = channel.receiver in _STOPS_RECEIVING
    said = f"its receiver stopped with error {channel.receiver_error_number}: {channel.receiver_error}"
    return (said,) if holds else None


def silent_replica(s: Situation) -> Evidence | None:
    """Its source answers us, and it hears nothing from it."""
    holds = is_silent(s.server, s.policy) and s.is_valid and s.source is not None and s.source.reached
    return (hears_nothing(s.server),) if holds else None


def errant_replica(s: Situation) -> Evidence | None:
    if s.source is None or not s.errant:
        return None
    return (f"{s.source.key}, its source, never had {s.errant.describe()}",)


def lagging_replica(s: Situation) -> Evidence | None:
    """Further behind than it ought to be; what it is delayed on purpose does not count."""
    lag_s = _unwanted_lag_s(s.server)
    limit_s = s.policy.lag_reasonable_s
    if lag_s is None or lag_s <= limit_s or not is_replicating(s.server):
        return None
    return (f"it is {lag_s:g} s behind, more than {limit_s:g} s (ReasonableReplicationLagSeconds)",)


def _unwanted_lag_s(server: Server) -> float | None:
    lag_s = server.facts.lag_s if server.facts is not None else None
    if lag_s is None or server.channel is None:
        return None
    return lag_s - server.channel.delay_s
