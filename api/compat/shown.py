"""What one server looks like at one moment beyond its facts: freshness, downtime, lag, errant transactions, problems.

Derived once here, so that the instance object, the text topology and the analysis say the same of a server.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.analysis import errant_gtids
from orchestrator_raft.core.instance import Channel, Facts, Flavor, Reached, ThreadState
from orchestrator_raft.core.topology import Server
from orchestrator_raft.engine.view import Moment

from ..node import NodeStatus

RECENT_POLLS = 5
"""A server counts as recently checked for so many poll intervals."""
STALE_OWNER = "orchestrator-raft"
STALE_REASON = "lost-in-recovery"
YEAR_MS = 365 * 86_400_000


@dataclass(frozen=True, slots=True)
class Scene:
    """What a reply is made from: a moment of the fleet, and the node that shows it."""

    moment: Moment
    node: NodeStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How new that is which is shown of a server."""

    valid: bool
    """The newest check brought facts."""
    up_to_date: bool
    recently_checked: bool
    seen_ms: float | None
    since_seen_s: float | None
    latency_s: float = 0.0


def freshness(server: Server, scene: Scene) -> Freshness:
    """From the observation of this node, or where it has none (it does not probe) from the replicated record."""
    moment, observation = scene.moment, server.observation
    if observation is None:
        return _recorded_freshness(server, scene)
    age_s = int(moment.now_s - observation.at_s)
    since_s = moment.now_s - observation.seen_at_s if observation.seen_at_s is not None else None
    poll_s = moment.policy.poll_s
    return Freshness(
        valid=observation.reached,
        up_to_date=age_s <= poll_s,
        recently_checked=age_s <= RECENT_POLLS * poll_s,
        seen_ms=moment.now_ms - since_s * 1000 if since_s is not None else None,
        since_seen_s=since_s,
        latency_s=observation.result.latency_s if isinstance(observation.result, Reached) else 0.0,
    )


def _recorded_freshness(server: Server, scene: Scene) -> Freshness:
    """The leader keeps ``reachable`` current; without a leader nobody does, and then the record may be old."""
    record = server.record
    reachable = record is not None and record.reachable and record.facts is not None
    changed_ms = record.reachable_changed_ms if record is not None else 0
    return Freshness(
        valid=reachable,
        up_to_date=False,
        recently_checked=scene.node.leader_id is not None,
        seen_ms=scene.moment.state.time_ms if reachable else changed_ms,
        since_seen_s=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DowntimeShown:
    """A downtime as the peers show it. A stale primary is marked as they mark one: ``lost-in-recovery``."""

    reason: str = ""
    owner: str = ""
    ends_ms: int = 0
    elapsed_s: int = 0

    @property
    def holds(self) -> bool:
        return bool(self.ends_ms)


def downtime(server: Server, moment: Moment) -> DowntimeShown:
    if server.stale is not None:
        elapsed_s = max(0, moment.now_ms - server.stale.since_ms) // 1000
        ends_ms = moment.now_ms + YEAR_MS
        return DowntimeShown(reason=STALE_REASON, owner=STALE_OWNER, ends_ms=ends_ms, elapsed_s=elapsed_s)
    mark = server.downtime
    if mark is None:
        return DowntimeShown()
    elapsed_s = max(0, moment.now_ms - mark.begun_ms) // 1000
    return DowntimeShown(reason=mark.reason, owner=mark.owner, ends_ms=mark.ends_ms, elapsed_s=elapsed_s)


def errant_text(server: Server, moment: Moment) -> str:
    errant = errant_gtids(moment.topology, server)
    return str(errant) if errant else ""


def problems(server: Server, scene: Scene, fresh: Freshness, errant: str) -> list[str]:
    """The first that holds of being out of reach, unchecked, stopped or behind; then errant transactions."""
    facts = server.facts
    channel = facts.channel if facts is not None else None
    found = []
    if not fresh.valid:
        found.append("last_check_invalid")
    elif not fresh.recently_checked:
        found.append("not_recently_checked")
    elif channel is not None and not runs(channel):
        found.append("not_replicating")
    elif facts is not None and _distance_s(facts) > scene.moment.policy.lag_reasonable_s:
        found.append("replication_lag")
    if errant:
        found.append("errant_gtid")
    return found


def _distance_s(facts: Facts) -> float:
    """How far the lag is from the delay that was asked for; unknown lag is none."""
    if facts.lag_s is None:
        return 0.0
    return abs(facts.lag_s - (facts.channel.delay_s if facts.channel is not None else 0))


def runs(channel: Channel | None) -> bool:
    """Both threads run."""
    return channel is not None and channel.replicates


def thread_state(channel: Channel | None, *, receiver: bool) -> ThreadState:
    if channel is None:
        return ThreadState.ABSENT
    return channel.receiver if receiver else channel.applier


def uses_gtid(facts: Facts, flavor: Flavor) -> bool:
    return facts.flavor is flavor and facts.channel is not None and facts.channel.uses_gtid


def supports_gtid(facts: Facts) -> bool:
    """MySQL with GTIDs on."""
    return facts.flavor is Flavor.MYSQL and facts.gtid_mode not in ("", "OFF")
