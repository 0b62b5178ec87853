"""What one server's surroundings are like: the counts and lists that every rule is written in.

A rule may look at a ``Situation`` and at nothing else, so whatever a rule needs is worked out here, from one moment's
topology, when a rule first asks for it. The words are orchestrator's: valid = its newest probe brought facts;
replicating = valid and both threads run. One thing is stricter than there: a receiver that says it runs and has heard
nothing for longer than its heartbeat allows does not replicate, it is silent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator_raft.core.analysis.errant import errant_gtids
from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import Facts, InstanceKey, PromotionRule, ThreadState, Unreachable, UnreachableKind
from orchestrator_raft.core.lazy import lazy
from orchestrator_raft.core.observation import Observation
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Cluster, Server, Topology

_CONNECT_ERROR = re.compile(r"error (?:re)?connecting to (?:master|source)", re.IGNORECASE)


class Sight(NamedTuple):
    """What shows at first sight of a server, and tells which rules can hold for it at all."""

    is_primary: bool
    is_valid: bool
    has_replicas: bool
    is_followed: bool
    """A replica replicates from it."""
    is_writable: bool
    is_replica: bool
    is_replicating: bool
    """Both its threads run."""


@dataclass(frozen=True)
class Situation:
    """One server with its direct replicas, at one moment."""

    server: Server
    topology: Topology
    policy: Policy

    # -- the server itself

    @property
    def key(self) -> InstanceKey:
        return self.server.key

    @property
    def facts(self) -> Facts | None:
        return self.server.facts

    @property
    def observation(self) -> Observation | None:
        return self.server.observation

    @lazy
    def cluster(self) -> Cluster | None:
        return self.topology.clusters.get(self.server.cluster_id)

    @lazy
    def is_primary(self) -> bool:
        """Replicates from nobody. A detached replica counts, as with the peers; one with several channels does not.

        A member of a replication group has no channel either; there the group says who is primary.
        """
        facts = self.facts
        if facts is None:
            return True
        if facts.group is not None and facts.is_group_member and facts.group.role != "PRIMARY":
            return False
        attached = [channel for channel in facts.channels if not channel.source.is_detached]
        return not attached

    @property
    def is_valid(self) -> bool:
        return self.server.reached

    @lazy
    def sight(self) -> Sight:
        server = self.server
        facts, channel, has_replicas = server.facts, server.channel, bool(server.replicas)
        return Sight(
            self.is_primary,
            server.reached,
            has_replicas,
            has_replicas and self.is_followed,
            facts is not None and facts.is_writable,
            channel is not None,
            channel is not None and channel.replicates,
        )

    @lazy
    def is_group_member(self) -> bool:
        return self.facts is not None and self.facts.is_group_member

    @lazy
    def belongs_to_group(self) -> bool:
        """A member, or one that is out of its group for the moment: nobody else makes a primary of it."""
        return self.facts is not None and self.facts.group is not None

    @lazy
    def is_recorded_primary(self) -> bool:
        """It holds the primary role of its cluster, as committed."""
        return self.cluster is not None and self.cluster.primary == self.key

    @lazy
    def failure(self) -> UnreachableKind | None:
        """Why the newest probe brought nothing; None when it did, or there was none."""
        result = self.observation.result if self.observation is not None else None
        return result.kind if isinstance(result, Unreachable) else None

    @lazy
    def is_failing_to_connect(self) -> bool:
        return is_failing_to_connect(self.server)

    @lazy
    def is_co_primary(self) -> bool:
        return self.server.is_co_primary or any(replica.is_co_primary for replica in self.replicas)

    @lazy
    def source(self) -> Server | None:
        return self.topology.servers.get(self.server.source) if self.server.source is not None else None

    @lazy
    def errant(self) -> GtidSet | None:
        """What this replica alone has; None where that cannot be said."""
        return errant_gtids(self.topology, self.server)

    @lazy
    def members(self) -> tuple[Server, ...]:
        """Everybody in its cluster."""
        return tuple(self.topology.members(self.server.cluster_id))

    # -- its replicas

    @lazy
    def replicas(self) -> tuple[Server, ...]:
        return self.topology.replicas_of(self.key) if self.server.replicas else ()

    @lazy
    def valid(self) -> tuple[Server, ...]:
        return tuple([replica for replica in self.replicas if replica.reached])

    @lazy
    def replicating(self) -> tuple[Server, ...]:
        return tuple(
            replica for replica in self.valid if is_replicating(replica) and not is_silent(replica, self.policy)
        )

    @lazy
    def is_followed(self) -> bool:
        return any(is_replicating(replica) and not is_silent(replica, self.policy) for replica in self.replicas)

    @lazy
    def silent(self) -> tuple[Server, ...]:
        """Replicas that say they are connected, and hear nothing."""
        return tuple(replica for replica in self.valid if is_silent(replica, self.policy))

    @lazy
    def hearing(self) -> tuple[Server, ...]:
        """Replicas whose receivers hear this server, whatever their appliers do."""
        return tuple(replica for replica in self.valid if is_hearing(replica, self.policy))

    @lazy
    def failing_to_connect(self) -> tuple[Server, ...]:
        return tuple(replica for replica in self.valid if is_failing_to_connect(replica))

    @lazy
    def lagging(self) -> tuple[Server, ...]:
        return tuple(replica for replica in self.replicas if is_lagging(replica, self.policy))

    @lazy
    def delayed(self) -> tuple[Server, ...]:
        return tuple(replica for replica in self.replicas if (c := replica.channel) is not None and c.delay_s > 0)

    @lazy
    def downtimed(self) -> tuple[Server, ...]:
        return tuple(replica for replica in self.replicas if replica.downtime is not None)

    @lazy
    def logging(self) -> tuple[Server, ...]:
        """Replicas that could be sources, by their last known facts: structure does not depend on who answers now."""
        return tuple([each for each in self.replicas if each.facts is not None and each.facts.can_be_source])

    @lazy
    def is_uniform(self) -> bool:
        """All replicas that could be sources have one version and one format of the binary log, as most fleets have."""
        return len({(each.facts.version, each.facts.binlog.format) for each in self.logging if each.facts}) <= 1

    @lazy
    def semi_sync(self) -> tuple[Server, ...]:
        return tuple(replica for replica in self.valid if replica.facts and replica.facts.semi_sync.replica_enabled)


def is_failing_to_connect(server: Server) -> bool:
    """Its applier runs, its receiver does not, and the receiver's last error is about reaching the source."""
    channel = server.channel
    if not server.reached or channel is None:
        return False
    return (
        channel.receiver is not ThreadState.RUNNING
        and channel.applier is ThreadState.RUNNING
        and _CONNECT_ERROR.search(channel.receiver_error) is not None
    )


def is_replicating(server: Server) -> bool:
    channel = server.channel
    return server.reached and channel is not None and channel.replicates


def is_silent(server: Server, policy: Policy) -> bool:
    """Its receiver says it is connected, and has heard nothing for longer than its heartbeat allows."""
    channel, observation = server.channel, server.observation
    if observation is None or channel is None or channel.receiver is not ThreadState.RUNNING:
        return False
    period_s = channel.heartbeat_period_s or 0.0
    return period_s > 0 and observation.silence_s > period_s + policy.silence_s


def is_hearing(server: Server, policy: Policy) -> bool:
    """Its receiver is connected to its source and hears it."""
    channel = server.channel
    connected = server.reached and channel is not None and channel.receiver is ThreadState.RUNNING
    return connected and not is_silent(server, policy)


def has_vote(server: Server) -> bool:
    """What it says about the death of its source counts (design D3.5).

    A replica that was stopped has no opinion. One that is delayed, in downtime or never to be promoted (a backup) may
    be cut off from its source for reasons of its own. That one of them still hears the source counts all the same.
    """
    channel = server.channel
    if not server.reached or channel is None or channel.stopped_on_purpose or channel.delay_s > 0:
        return False
    is_backup = server.facts is not None and server.facts.promotion_rule is PromotionRule.MUST_NOT
    return server.downtime is None and not is_backup


def uses_gtid(server: Server) -> bool:
    return server.channel is not None and server.channel.uses_gtid


def situate(topology: Topology, server: Server, policy: Policy) -> Situation:
    """Everything the rules may ask about ``server``."""
    return Situation(server, topology, policy)


def is_lagging(server: Server, policy: Policy) -> bool:
    """It is further behind than ReasonableReplicationLagSeconds allows; unknown lag is none."""
    lag = server.facts.lag_s if server.facts else None
    return lag is not None and lag > policy.lag_reasonable_s
