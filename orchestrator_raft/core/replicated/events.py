"""What happened, for those who follow it live: the difference that a command made to the state, as numbered events.

Events are made by ``apply`` and so are the same, with the same numbers, on every node: whoever lost one node goes on at
another where he was. They tell what is in the state anyway; the newest are kept, in a ring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from orchestrator_raft.core.differences import differences
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.replicated.commands import Command
from orchestrator_raft.core.replicated.state import EVENTS_MAX, Event, State
from orchestrator_raft.core.topology import (
    ClusterRecord,
    Downtime,
    Maintenance,
    RegisteredRule,
    ServerRecord,
    StalePrimary,
)

K = TypeVar("K")
V = TypeVar("V")
NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """An event before it has a number."""

    type: str
    text: str
    cluster_id: str = ""
    server: InstanceKey | None = None
    recovery_id: str = ""
    phase: str = ""


def with_events(before: State, after: State, command: Command) -> State:
    """``after`` with the events of what ``command`` changed since ``before``."""
    news = [each for differ in DIFFERENCES for each in differ(before, after)][-EVENTS_MAX:]
    if not news:
        return after
    number = after.event_number
    events = tuple(
        Event(
            number=number + position, at_ms=after.time_ms, type=each.type, text=each.text, cluster_id=each.cluster_id,
            server=each.server, recovery_id=each.recovery_id, phase=each.phase, by=command.by,
            request_id=command.request_id,
        )
        for position, each in enumerate(news, start=1)
    )  # fmt: skip
    return replace(after, events=(*after.events, *events)[-EVENTS_MAX:], event_number=number + len(events))


def _changes(before: Mapping[K, V], after: Mapping[K, V]) -> Iterator[tuple[V | None, V | None]]:
    """Old and new value of each key whose value is another object; None where there was or is none."""
    for key in differences(before, after):
        old, new = before.get(key), after.get(key)
        if old != new:
            yield old, new


def _servers(before: State, after: State) -> Iterator[News]:
    for old, new in _changes(before.servers, after.servers):
        if new is None and old is not None:
            yield _of(old, "server-forgotten", f"{old.key} is not watched any more")
        elif new is not None and old is None:
            yield _of(new, "server-discovered", f"{new.key} is watched from now on")
        elif new is not None and old is not None:
            yield from _server(old, new)


def _of(record: ServerRecord, type_: str, text: str) -> News:
    return News(type=type_, text=text, cluster_id=record.cluster_id, server=record.key)


def _server(old: ServerRecord, new: ServerRecord) -> Iterator[News]:
    if old.reachable != new.reachable:
        word = "reachable" if new.reachable else "unreachable"
        yield _of(new, f"server-{word}", f"{new.key} is {'reached again' if new.reachable else 'out of reach'}")
    if old.cluster_id != new.cluster_id:
        yield _of(new, "server-cluster-changed", f"{new.key} belongs to cluster {new.cluster_id or 'none'} now")
    if old.facts is None or new.facts is None or old.facts is new.facts:
        return
    if old.facts.source != new.facts.source:
        yield _of(new, "source-changed", f"{new.key} replicates from {new.facts.source or NOBODY} now")
    if old.facts.read_only != new.facts.read_only:
        yield _of(new, "read-only-changed", f"{new.key} is {'read-only' if new.facts.read_only else 'writable'} now")


def _clusters(before: State, after: State) -> Iterator[News]:
    for old, new in _changes(before.clusters, after.clusters):
        if new is None and old is not None:
            yield _about(old, "cluster-gone", f"cluster {old.id} has no server any more")
        elif new is not None and old is None:
            yield _about(new, "cluster-appeared", f"cluster {new.id}, primary {new.primary or NOBODY}")
        elif new is not None and old is not None:
            yield from _cluster(old, new)


def _about(record: ClusterRecord, type_: str, text: str) -> News:
    return News(type=type_, text=text, cluster_id=record.id, server=record.primary)


def _cluster(old: ClusterRecord, new: ClusterRecord) -> Iterator[News]:
    if old.primary != new.primary:
        yield _about(new, "primary-changed", f"{new.primary or NOBODY} is primary in place of {old.primary or NOBODY}")
    if old.alias != new.alias:
        yield _about(new, "alias-changed", f"cluster {new.id} is called '{new.alias}' now")
    if old.caught_up != new.caught_up:
        text = "no acknowledged write can be lost" if new.caught_up else "acknowledged writes may be lost"
        yield _about(new, "promise-changed", f"cluster {new.id}: {text} with the primary {new.primary or NOBODY}")


def _recoveries(before: State, after: State) -> Iterator[News]:
    for old, new in _changes(before.recoveries, after.recoveries):
        if new is None:
            continue
        if old is None:
            yield _in(new, "recovery-started", f"{new.kind} of {new.subject.key}: {new.subject.code}")
        elif old.phase != new.phase and new.is_active:
            yield _in(new, "recovery-phase", f"{new.kind} of {new.subject.key}: {new.phase}")
        if new.promoted and (old is None or not old.promoted):
            yield _in(new, "recovery-promoted", f"{new.successor or NOBODY} was promoted")
        if not new.is_active and (old is None or old.is_active):
            yield _in(new, "recovery-ended", f"{new.kind} of {new.subject.key}: {new.end.value}")
        if new.acknowledged is not None and (old is None or old.acknowledged is None):
            yield _in(new, "recovery-acknowledged", f"by {new.acknowledged.by}: {new.acknowledged.comment}")


def _in(recovery: Recovery, type_: str, text: str) -> News:
    return News(
        type=type_, text=text, cluster_id=recovery.cluster_id, server=recovery.subject.key, recovery_id=recovery.id,
        phase=recovery.phase,
    )  # fmt: skip


def _detections(before: State, after: State) -> Iterator[News]:
    for detection in after.detections[-(after.detection_number - before.detection_number) or len(after.detections) :]:
        subject = detection.subject
        record = after.servers.get(subject.key)
        yield News(
            type="problem-detected", text=f"{subject.code}: {subject.text}", server=subject.key,
            cluster_id=record.cluster_id if record is not None else "", recovery_id=detection.recovery_id,
        )  # fmt: skip


def _marks(before: State, after: State) -> Iterator[News]:
    for old, new in _changes(before.downtimes, after.downtimes):
        yield from _begun_or_ended(old, new, "downtime", _downtime_text)
    for old_work, new_work in _changes(before.maintenances, after.maintenances):
        yield from _begun_or_ended(old_work, new_work, "maintenance", _maintenance_text)
    for old_rule, new_rule in _changes(before.rules, after.rules):
        if old_rule is None or new_rule is None or old_rule.rule is not new_rule.rule:
            yield from _begun_or_ended(old_rule, new_rule, "promotion-rule", _rule_text)
    for key in differences(before.tags, after.tags):
        tags = after.tags.get(key, ())
        if tags != before.tags.get(key, ()):
            text = ", ".join(str(tag) for tag in tags) or "none"
            yield News(type="tags-changed", text=f"{key}: {text}", server=key)
    for old_stale, new_stale in _changes(before.stale, after.stale):
        yield from _begun_or_ended(old_stale, new_stale, "stale-primary", _stale_text)


def _begun_or_ended(old: Any, new: Any, name: str, text: Callable[[Any], str]) -> Iterator[News]:
    """A mark that is there and was not, or is another one; or that is gone."""
    mark = new if new is not None else old
    word = "ended" if new is None else "begun" if old is None else "changed"
    yield News(type=f"{name}-{word}", text=f"{mark.key}: {text(mark)}", server=mark.key)


def _downtime_text(downtime: Downtime) -> str:
    return f"downtime of {downtime.owner}: {downtime.reason}"


def _maintenance_text(maintenance: Maintenance) -> str:
    return f"maintenance by {maintenance.owner}: {maintenance.reason}"


def _rule_text(registered: RegisteredRule) -> str:
    return f"promotion rule {registered.rule.value}"


def _stale_text(stale: StalePrimary) -> str:
    return f"stale primary, {stale.status.value}"


def _switches(before: State, after: State) -> Iterator[News]:
    if before.recoveries_disabled != after.recoveries_disabled:
        word = "disabled" if after.recoveries_disabled else "enabled"
        yield News(type=f"recoveries-{word}", text=f"automatic recoveries are {word}")
    for key in sorted({*before.pauses, *after.pauses}):
        if (key in before.pauses) != (key in after.pauses):
            word = "paused" if key in after.pauses else "resumed"
            yield News(type=f"writes-{word}", text=f"writes to {key or 'all clusters'} are {word}")


DIFFERENCES: tuple[Callable[[State, State], Iterator[News]], ...] = (
    _servers, _clusters, _detections, _recoveries, _marks, _switches,
)  # fmt: skip
