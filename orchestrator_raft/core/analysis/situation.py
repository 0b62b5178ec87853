"""What one server's surroundings are like: the counts and lists that every rule is written in.

A rule may look at a ``Situation`` and at nothing else, so whatever a rule needs is computed here, once, from one
moment's topology. The words are orchestrator's: valid = its newest probe brought facts; replicating = valid and both
threads run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator_raft.core.instance import Facts, InstanceKey, ThreadState
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Cluster, Server, Topology

_CONNECT_ERROR = re.compile(r"error (?:re)?connecting to (?:master|source)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One server with its direct replicas, at one moment."""

    server: Server
    cluster: Cluster | None
    replicas: tuple[Server, ...]
    valid: tuple[Server, ...]
    replicating: tuple[Server, ...]
    failing_to_connect: tuple[Server, ...]
    lagging: tuple[Server, ...]
    delayed: tuple[Server, ...]
    downtimed: tuple[Server, ...]
    logging: tuple[Server, ...]
    """Replicas that could be sources, by their last known facts: structure does not depend on who answers now."""
    semi_sync: tuple[Server, ...]

    @property
    def key(self) -> InstanceKey:
        return self.server.key

    @property
    def facts(self) -> Facts | None:
        return self.server.facts

    @property
    def is_primary(self) -> bool:
        """Replicates from nobody. A detached replica counts, as with the peers; one with several channels does not."""
        return self.facts is None or all(channel.source.is_detached for channel in self.facts.channels)

    @property
    def is_valid(self) -> bool:
        return self.server.reached

    @property
    def is_failing_to_connect(self) -> bool:
        return is_failing_to_connect(self.server)


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


def uses_gtid(server: Server) -> bool:
    return server.channel is not None and server.channel.uses_gtid


def situate(topology: Topology, server: Server, policy: Policy) -> Situation:
    """Everything the rules may ask about ``server``."""
    replicas = topology.replicas_of(server.key)
    valid = tuple(replica for replica in replicas if replica.reached)
    return Situation(
        server=server,
        cluster=topology.clusters.get(server.cluster_id),
        replicas=replicas,
        valid=valid,
        replicating=tuple(replica for replica in valid if is_replicating(replica)),
        failing_to_connect=tuple(replica for replica in valid if is_failing_to_connect(replica)),
        lagging=tuple(replica for replica in replicas if is_lagging(replica, policy)),
        delayed=tuple(replica for replica in replicas if (c := replica.channel) is not None and c.delay_s > 0),
        downtimed=tuple(replica for replica in replicas if replica.downtime is not None),
        logging=tuple(replica for replica in replicas if replica.facts is not None and replica.facts.can_be_source),
        semi_sync=tuple(replica for replica in valid if replica.facts and replica.facts.semi_sync.replica_enabled),
    )


def is_lagging(server: Server, policy: Policy) -> bool:
    """It is further behind than ReasonableReplicationLagSeconds allows; unknown lag is none."""
    lag = server.facts.lag_s if server.facts else None
    return lag is not None and lag > policy.lag_reasonable_s
