"""What has been seen of one server: its newest probe, and what only several probes together show.

A single probe cannot tell that nothing moves any more, that a server was restarted, or which of two GTID sets was read
first. ``observe`` joins each result with what was known before; it is pure, and the only maker of observations.

Times are seconds of the observer's monotonic clock. Whatever is measured between two probes begins at the later one, so
a silence is never said to be longer than it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import Channel, Facts, InstanceKey, ProbeResult, Reached, ThreadState

RECENT_S = 300
"""A server that has been up for less may have been restarted since another node saw it last."""


@dataclass(frozen=True, slots=True)
class Read:
    """A GTID set, and when it had been read."""

    executed: GtidSet
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What several probes together show."""

    heard_at_s: float | None = None
    """When the receiver last heard anything, if it runs."""
    unchanged_since_s: float | None = None
    """Since when the server has executed nothing."""
    stalled_since_s: float | None = None
    """Since when it waits for its disk, and no flush was finished."""
    uptime_s: int = 0
    before_restart: Facts | None = None
    """What a primary was like before it was restarted, as long as it is worse since: read-only, or no semi-sync."""
    earlier: Read | None = None
    """What it had executed at the probe before the newest."""


@dataclass(frozen=True, slots=True)
class WriteTrouble:
    """Writes that were tried one after the other, and failed or did not end in time."""

    detail: str
    since_s: float
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The newest that is known of one server: its last probe and, where that failed, the last facts before it."""

    key: InstanceKey
    result: ProbeResult
    at_s: float
    facts: Facts | None = None
    seen_at_s: float | None = None
    asked_at_s: float | None = None
    """When the probe was begun: what it brought is at least as new as this."""
    history: History = History()
    write_trouble: WriteTrouble | None = None

    @property
    def reached(self) -> bool:
        return isinstance(self.result, Reached)

    @property
    def silence_s(self) -> float:
        """For how long the receiver had heard nothing when the server was probed; 0 where nobody knows."""
        heard_at_s = self.history.heard_at_s
        return self.at_s - heard_at_s if self.reached and heard_at_s is not None else 0.0

    @property
    def idle_s(self) -> float:
        """For how long the server had executed nothing."""
        return self._lasting(self.history.unchanged_since_s)

    @property
    def stall_s(self) -> float:
        """For how long it had waited for its disk."""
        return self._lasting(self.history.stalled_since_s)

    def _lasting(self, since_s: float | None) -> float:
        return self.at_s - since_s if self.reached and since_s is not None else 0.0


Observations = Mapping[InstanceKey, Observation]


def observe(
    before: Observation | None, key: InstanceKey, result: ProbeResult, *, at_s: float, asked_at_s: float | None = None,
    recorded: Facts | None = None,
) -> Observation:  # fmt: skip
    """The observation after one more probe. ``recorded`` is what was replicated of this server, by whichever leader."""
    if isinstance(result, Reached):
        facts = result.facts
        history = _joined(before, facts, recorded, at_s)
        return Observation(
            key=key, result=result, at_s=at_s, facts=facts, seen_at_s=at_s, asked_at_s=asked_at_s, history=history,
            write_trouble=before.write_trouble if before else None,
        )  # fmt: skip
    return Observation(
        key=key,
        result=replace(result, key=key),
        at_s=at_s,
        facts=before.facts if before else None,
        seen_at_s=before.seen_at_s if before else None,
        asked_at_s=asked_at_s,
        history=before.history if before else History(),
        write_trouble=before.write_trouble if before else None,
    )


def after_write(before: Observation, complaint: str, at_s: float) -> Observation:
    """The observation after a write was tried; no complaint means that it was done."""
    if not complaint:
        return replace(before, write_trouble=None)
    known = before.write_trouble
    since_s, count = (known.since_s, known.count + 1) if known is not None else (at_s, 1)
    return replace(before, write_trouble=WriteTrouble(complaint, since_s, count))


def _joined(before: Observation | None, facts: Facts, recorded: Facts | None, at_s: float) -> History:
    past = before.history if before is not None else History()
    last = before.facts if before is not None else None
    is_same = last is not None and _position(last) == _position(facts)
    earlier = past.earlier
    if before is not None and before.seen_at_s is not None and last is not None and last.executed is not None:
        earlier = Read(last.executed, before.seen_at_s)
    return History(
        heard_at_s=_heard_at_s(before, facts, at_s),
        unchanged_since_s=past.unchanged_since_s if is_same and past.unchanged_since_s is not None else at_s,
        stalled_since_s=_stalled_since_s(past, last, facts, at_s),
        uptime_s=facts.uptime_s if _tells_uptime(facts) else past.uptime_s,
        before_restart=_before_restart(past, last, facts, recorded),
        earlier=earlier,
    )


def _position(facts: Facts) -> object:
    return facts.executed, facts.binlog.coordinates


def _heard_at_s(before: Observation | None, facts: Facts, at_s: float) -> float | None:
    """A receiver that has just begun to run, or that begins to count anew, has heard something now."""
    channel = facts.channel
    if channel is None or channel.receiver is not ThreadState.RUNNING:
        return None
    known = before.history.heard_at_s if before is not None else None
    last = before.facts.channel if before is not None and before.facts is not None else None
    if before is None or known is None or last is None or _is_another_receiver(last, channel):
        return at_s
    told = at_s - channel.silent_s if channel.silent_s is not None else None
    if _received(last) != _received(channel):
        return at_s  # when exactly is not told: without performance_schema its times are those of heartbeats alone
    if last.heartbeats == channel.heartbeats:
        return known if told is None else max(known, told)
    return at_s if told is None else max(before.at_s, told)


def _is_another_receiver(last: Channel, channel: Channel) -> bool:
    return (
        last.receiver is not ThreadState.RUNNING
        or last.source != channel.source
        or channel.heartbeats < last.heartbeats
    )


def _received(channel: Channel) -> object:
    """What moves when anything but a heartbeat arrives from the source."""
    return channel.read, channel.retrieved


def _stalled_since_s(past: History, last: Facts | None, facts: Facts, at_s: float) -> float | None:
    if not facts.load.syncs_pending:
        return None
    stands_still = last is not None and last.load.syncs == facts.load.syncs
    return past.stalled_since_s if stands_still and past.stalled_since_s is not None else at_s


def _before_restart(past: History, last: Facts | None, facts: Facts, recorded: Facts | None) -> Facts | None:
    if last is not None:
        restarted = _tells_uptime(facts) and facts.uptime_s < past.uptime_s
        earlier = last if restarted else past.before_restart
    else:
        earlier = recorded if _tells_uptime(facts) and facts.uptime_s < RECENT_S else None
    return earlier if earlier is not None and _is_worse(facts, earlier) else None


def _tells_uptime(facts: Facts) -> bool:
    """It comes with the load; where the server told neither, the uptime is 0."""
    return facts.load.connections is not None


def _is_worse(facts: Facts, earlier: Facts) -> bool:
    closed = earlier.is_writable and not facts.is_writable
    alone = earlier.semi_sync.source_enabled and not facts.semi_sync.source_enabled
    return not facts.channels and not earlier.channels and (closed or alone)
