"""How often each server is probed: pure arithmetic on a moment.

Primaries, also stale ones that answer, are watched closely, replicas at the configured pace, everybody in a cluster
whose primary does not answer very closely for a short while (the truth is being looked for), those whose answer a
failover waits for each second, those whose sight the no-loss promise waits for like primaries, and the long dead seldom
(design D3.1, flat cost).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator_raft.core.candidates import is_lapsed
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.observation import Observation
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.topology import Server
from orchestrator_raft.engine.discovery import Pace
from orchestrator_raft.engine.view import Moment

SUSPECT_INTERVAL_S = 0.04
SUSPECT_PERIOD_S = 5.0
LATE_S = 0.3
"""When a primary has not answered for so long its replicas are looked at: a silence is measured from a look on."""
DEAD_INTERVAL_MAX_S = 30.0
MISSED_INTERVAL_S = 1.0
"""Of a server whose answer a failover may be waiting for."""
FORGET_POLLS = 3
"""A server that was forgotten is not found again through its neighbours for so many poll intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paces:
    """The configured paces."""

    primary_interval_s: float = 0.5
    primary_timeout_s: float = 1.0
    poll_s: float = 5.0
    timeout_s: float = 3.0


class Pacing:
    """Paces for all servers that have to be probed: the recorded ones and those asked for."""

    def __init__(self, paces: Paces, seeds: tuple[InstanceKey, ...] = ()) -> None:
        self._paces = paces
        self._seeds = set(seeds)
        self._forgotten: set[InstanceKey] = set()
        self._forgotten_until_s: dict[InstanceKey, float] = {}
        self._down_since_s: dict[InstanceKey, float] = {}

    def forget(self, keys: Iterable[InstanceKey]) -> None:
        """Do not find these again at once through their neighbours, who may still name them for a while."""
        self._seeds -= set(keys)
        self._forgotten |= set(keys)

    def remember(self, key: InstanceKey) -> None:
        """Somebody asks for this server, so a recent ``forget`` counts no more."""
        self._forgotten.discard(key)
        self._forgotten_until_s.pop(key, None)

    def paces(self, moment: Moment) -> dict[InstanceKey, Pace]:
        """The pace of every recorded server, and of neighbours that servers name and nobody knows yet."""
        found: dict[InstanceKey, Pace] = {}
        for server in moment.topology.servers.values():
            found[server.key] = self._pace(server, moment)
        for address in self._wanted(moment):
            found.setdefault(address, Pace(interval_s=self._paces.poll_s, timeout_s=self._paces.timeout_s))
        for key in [key for key in self._down_since_s if key not in found]:
            del self._down_since_s[key]
        return found

    def _pace(self, server: Server, moment: Moment) -> Pace:
        paces = self._paces
        primary = moment.topology.primary_of(server.cluster_id)
        suspect = primary if primary is not None and primary.observation is not None and not primary.reached else None
        down_s = self._down_for(server, moment.now_s)
        if suspect is not None and (server.reached or server.key == suspect.key):
            running = moment.state.active_recovery(server.cluster_id)
            in_doubt = running is None or not KINDS[running.kind].counts
            if in_doubt and self._down_for(suspect, moment.now_s) < SUSPECT_PERIOD_S:
                return Pace(interval_s=SUSPECT_INTERVAL_S, timeout_s=paces.primary_timeout_s)
            return Pace(interval_s=paces.primary_interval_s, timeout_s=paces.primary_timeout_s)
        if self._is_orphaned(server, moment) or self._leaves_orphans(server, moment):
            return Pace(interval_s=SUSPECT_INTERVAL_S, timeout_s=paces.primary_timeout_s)
        if primary is not None and server.key == primary.key:
            return Pace(interval_s=paces.primary_interval_s, timeout_s=paces.primary_timeout_s, late_s=LATE_S)
        if server.stale is not None and server.reached:
            return Pace(interval_s=paces.primary_interval_s, timeout_s=paces.primary_timeout_s)
        if suspect is not None and self._is_missed(server, moment):
            return Pace(interval_s=min(MISSED_INTERVAL_S, paces.poll_s), timeout_s=paces.primary_timeout_s)
        if server.reached and primary is not None and self._is_awaited(server, primary, moment):
            return Pace(interval_s=min(paces.primary_interval_s, paces.poll_s), timeout_s=paces.timeout_s)
        interval_s = paces.poll_s if server.reached else min(DEAD_INTERVAL_MAX_S, max(1.0, down_s / 4))
        return Pace(interval_s=interval_s, timeout_s=paces.timeout_s)

    def _is_orphaned(self, server: Server, moment: Moment) -> bool:
        """Its source has just been found out of reach: what it says of it is wanted soon."""
        source = moment.topology.servers.get(server.source) if server.source is not None else None
        return server.reached and source is not None and self._leaves_orphans(source, moment)

    def _leaves_orphans(self, server: Server, moment: Moment) -> bool:
        is_out = server.observation is not None and not server.reached and bool(server.replicas)
        is_quiet = moment.state.active_recovery(server.cluster_id) is None
        return is_out and is_quiet and self._down_for(server, moment.now_s) < SUSPECT_PERIOD_S

    def _is_missed(self, server: Server, moment: Moment) -> bool:
        """A possible acker that does not answer while the primary is down: nobody may be promoted without it."""
        cluster = moment.topology.clusters.get(server.cluster_id)
        return cluster is not None and server.key in cluster.record.ackers

    def _is_awaited(self, server: Server, primary: Server, moment: Moment) -> bool:
        """A possible acker in a cluster whose no-loss promise waits for nothing but to see that it has everything."""
        cluster = moment.topology.clusters[server.cluster_id]
        return server.key in cluster.record.ackers and is_lapsed(cluster.record, primary.facts)

    def _down_for(self, server: Server, now_s: float) -> float:
        """Seconds since this server was first found out of reach; 0 while it answers."""
        observation: Observation | None = server.observation
        if observation is None or observation.reached:
            self._down_since_s.pop(server.key, None)
            return 0.0
        return now_s - self._down_since_s.setdefault(server.key, observation.at_s)

    def _wanted(self, moment: Moment) -> set[InstanceKey]:
        """Addresses that are not recorded and ought to be tried: neighbours, and seeds nobody has reached yet."""
        for key in self._forgotten:
            self._forgotten_until_s[key] = moment.now_s + FORGET_POLLS * self._paces.poll_s
        self._forgotten.clear()
        self._seeds -= {address for record in moment.state.servers.values() for address in record.addresses}
        self._seeds -= set(moment.state.servers)
        hidden = {key for key, until_s in self._forgotten_until_s.items() if until_s > moment.now_s}
        return (self._neighbours(moment) | self._seeds) - hidden

    def _neighbours(self, moment: Moment) -> set[InstanceKey]:
        """Sources, replicas and group members that servers name and nobody recorded, less those that people exclude."""
        known = set(moment.state.servers) | {
            address for record in moment.state.servers.values() for address in record.addresses
        }
        named: set[InstanceKey] = set()
        for server in moment.topology.servers.values():
            facts = server.fresh
            if facts is not None:
                named |= {*facts.replicas, *((facts.source,) if facts.source is not None else ())}
                members = facts.group.members if facts.group is not None else ()
                named |= {InstanceKey(each.hostname, each.port) for each in members}
        return set(moment.policy.discovery_ignore.without(named - known))
