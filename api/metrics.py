"""``/metrics`` for Prometheus, and the same few counters under orchestrator's names at ``/debug/metrics``.

Everything is read when it is asked for: from the replicated state (the same on every node), from what the leader showed
last (lag, problems), and from this node itself. So a scrape of any node tells of the whole fleet; ``leads`` tells which
node to believe about probes. Nothing waits, nothing is asked of a server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator_raft import __version__
from orchestrator_raft.core.recovery.model import EndState
from orchestrator_raft.engine.figures import Figures

from .compat.go import dump
from .exchange import JSON, Answer
from .health import Scene
from .node import Role

PREFIX = "orchestrator_raft_"
NO_STORE = (("Cache-Control", "no-store"),)
Values = Iterable[tuple[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric and its values by labels."""

    name: str
    help: str
    values: Values
    labels: tuple[str, ...] = ()
    counts: bool = False
    """It only ever grows, as long as the process or the cluster lives."""

    def family(self) -> Metric:
        kind = CounterMetricFamily if self.counts else GaugeMetricFamily
        family: Any = kind(PREFIX + self.name, self.help, labels=self.labels)
        for labels, value in self.values:
            family.add_metric(labels, value)
        return family  # type: ignore[no-any-return]


def _one(value: float) -> Values:
    return (((), float(value)),)


def measured(scene: Scene, figures: Figures) -> Iterator[Measured]:
    """Every metric, at this moment."""
    yield from _of_node(scene, figures)
    yield from _of_fleet(scene)
    yield from _of_recoveries(scene)


def _of_node(scene: Scene, figures: Figures) -> Iterator[Measured]:
    node = scene.node
    yield Measured("info", "The version of this node.", (((__version__, node.node_id), 1.0),), ("version", "node"))
    yield Measured("healthy", "Whether this node is fit to serve.", _one(not node.problem))
    yield Measured("leads", "Whether this node holds authority.", _one(node.holds_authority))
    yield Measured("leader_known", "Whether this node knows a leader.", _one(node.leader_id is not None))
    yield Measured("raft_term", "The Raft term.", _one(node.term))
    roles = (((role.value,), float(node.role is role)) for role in Role)
    yield Measured("raft_role", "1 at the role that this node has.", tuple(roles), ("role",))
    yield Measured("raft_members", "Members of the Raft cluster.", _one(len(node.peers)))
    yield Measured("raft_connected", "Other members to which there is a connection.", _one(len(node.connected)))
    quorum = _one(scene.without_quorum_s)
    yield Measured("without_quorum_seconds", "For how long there was no contact to a majority.", quorum)
    if scene.seen_age_s is not None:
        yield Measured("sight_age_seconds", "How old lag and problems are here.", _one(scene.seen_age_s))
    yield Measured("probes", "Probes that this node has made.", _one(figures.probes_made), counts=True)
    failed = _one(figures.probes_failed)
    yield Measured("probes_failed", "Probes of this node that brought nothing.", failed, counts=True)


def _of_fleet(scene: Scene) -> Iterator[Measured]:
    state = scene.state
    names = {cluster.id: cluster.alias or cluster.name for cluster in state.clusters.values()}
    servers = Counter((names.get(each.cluster_id, ""), each.reachable) for each in state.servers.values())
    by_cluster = tuple(
        ((name, "yes" if reachable else "no"), float(count)) for (name, reachable), count in sorted(servers.items())
    )
    yield Measured("servers", "Known servers.", by_cluster, ("cluster", "reachable"))
    primaries = tuple(
        ((names[each.id], str(each.primary)), float(_is_reachable(scene, each.primary)))
        for each in state.clusters.values()
    )
    yield Measured("primary_reachable", "Whether the primary is reached.", primaries, ("cluster", "primary"))
    changes: Counter[str] = Counter()
    for cluster in state.clusters.values():
        changes[names[cluster.id]] += cluster.generation
    generations = tuple(((name,), float(count)) for name, count in sorted(changes.items()))
    yield Measured("primary_changes", "Changes of the primary role.", generations, ("cluster",), counts=True)
    lags = tuple(
        ((names.get(state.servers[key].cluster_id, ""), str(key)), each.lag_s)
        for key, each in sorted(scene.seen.glimpses.items())
        if each.lag_s is not None and key in state.servers
    )
    yield Measured("replication_lag_seconds", "Lag of replicas that are reached.", lags, ("cluster", "server"))
    leading = frozenset(each.primary for each in state.clusters.values())
    replicating = tuple(
        ((names.get(state.servers[key].cluster_id, ""), str(key)), float(each.replicates))
        for key, each in sorted(scene.seen.glimpses.items())
        if key in state.servers and each.reached and key not in leading
    )
    yield Measured("replicates", "Whether a replica replicates.", replicating, ("cluster", "server"))
    found = Counter((names.get(each.cluster_id, ""), each.code) for each in scene.seen.problems)
    problems = tuple((labels, float(count)) for labels, count in sorted(found.items()))
    yield Measured("problems", "Problems that the leader sees now.", problems, ("cluster", "code"))


def _is_reachable(scene: Scene, primary: Any) -> bool:
    record = scene.state.servers.get(primary)
    return record is not None and record.reachable


def _of_recoveries(scene: Scene) -> Iterator[Measured]:
    state = scene.state
    recoveries = tuple(state.recoveries.values())
    active = Counter(each.kind for each in recoveries if each.is_active)
    running = tuple(((kind,), float(count)) for kind, count in sorted(active.items()))
    yield Measured("recoveries_running", "Recoveries that run now.", running, ("kind",))
    ended = Counter((each.kind, each.end.value) for each in recoveries if not each.is_active)
    kept = tuple((labels, float(count)) for labels, count in sorted(ended.items()))
    yield Measured("recoveries_kept", "Ended recoveries in the record.", kept, ("kind", "end"))
    open_ = sum(1 for each in recoveries if each.acknowledged is None and each.promoted)
    yield Measured("recoveries_unacknowledged", "Changes of primary that nobody has acknowledged.", _one(open_))
    yield Measured("recoveries", "Recoveries so far.", _one(state.recovery_number), counts=True)
    yield Measured("detections", "Detected problems so far.", _one(state.detection_number), counts=True)
    yield Measured("audit_entries", "Entries of the audit trail so far.", _one(state.audit_number), counts=True)
    yield Measured("recoveries_blocked", "Recoveries that did not start.", _one(len(state.blocked)))
    yield Measured("recoveries_disabled", "Whether automatic recoveries are off.", _one(state.recoveries_disabled))
    yield Measured("write_pauses", "Pauses of writes to databases.", _one(len(state.pauses)))
    yield Measured("downtimes", "Servers in downtime.", _one(len(state.downtimes)))
    yield Measured("maintenances", "Servers in maintenance.", _one(len(state.maintenances)))
    stale = Counter(each.status.value for each in state.stale.values())
    yield Measured(
        "stale_primaries", "Demoted primaries that are not back.",
        tuple(((status,), float(count)) for status, count in sorted(stale.items())), ("status",),
    )  # fmt: skip


class _Now(Collector):
    """What a scrape finds."""

    def __init__(self, scene: Scene, figures: Figures) -> None:
        self._scene = scene
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        for each in measured(self._scene, self._figures):
            yield each.family()


_PROCESS = CollectorRegistry()
ProcessCollector(namespace="orchestrator_raft", registry=_PROCESS)


def prometheus(scene: Scene, figures: Figures) -> Answer:
    """The text that Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(_Now(scene, figures))
    body = generate_latest(registry) + generate_latest(_PROCESS)
    return Answer(status=200, body=body, content_type=CONTENT_TYPE_LATEST, headers=NO_STORE)


KINDS = {"dead_primary": "dead_master", "dead_intermediate": "dead_intermediate_master"}
"""Our recoveries under the names of orchestrator's counters."""


def debug(scene: Scene, figures: Figures) -> Answer:
    """orchestrator's counters and gauges by name, as far as there is such a thing here."""
    state, node = scene.state, scene.node
    shown: dict[str, int] = {
        "discoveries.attempt": figures.probes_made,
        "discoveries.fail": figures.probes_failed,
        "discoveries.recent_count": len(figures.probes(60)),
        "discoveries.dead_instances": sum(1 for each in state.servers.values() if not each.reachable),
        "elect.is_elected": int(node.holds_authority),
        "health.is_healthy": int(not node.problem),
        "raft.is_healthy": int(node.leader_id is not None),
        "raft.is_leader": int(node.holds_authority),
        "recover.pending": len(state.active_recoveries),
        "audit.write": state.audit_number,
    }
    samples = figures.samples(2)
    shown["discoveries.queue_length"] = samples[-1].waiting if samples else 0
    for kind, name in KINDS.items():
        mine = [each for each in state.recoveries.values() if each.kind == kind]
        shown[f"recover.{name}.start"] = len(mine)
        shown[f"recover.{name}.success"] = sum(1 for each in mine if each.end is EndState.SUCCEEDED)
        shown[f"recover.{name}.fail"] = sum(1 for each in mine if each.end is EndState.FAILED)
    body = dump(dict(sorted(shown.items())))
    return Answer(status=200, body=body, content_type=JSON, headers=NO_STORE)
