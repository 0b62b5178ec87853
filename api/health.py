"""Answers for load balancers, by the status code alone: about this node, and about a cluster's servers.

Rules
- No SQL, no waiting, no other node: the primary is what is committed, a replica's lag what the leader showed last.
- During an election the last answer holds. A node without contact to a majority for longer than
  NoQuorumHealthSeconds goes on with it, or fails every cluster check, as NoQuorumHealth says.
- 200 is yes, 503 no, 404 a cluster or server that nobody knows, 400 a question that is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated import State
from orchestrator_raft.core.topology import ClusterRecord
from orchestrator_raft.engine.service.calls import parse_server
from orchestrator_raft.engine.sight import Glimpse, Seen

from .exchange import Answer
from .node import NodeStatus, Role
from .settings import ApiSettings

LAG_DEFAULT_S = 10.0
NO_STORE = (("Cache-Control", "no-store"),)
CONTENT_TYPE = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that an answer is made from."""

    node: NodeStatus
    state: State
    seen: Seen
    seen_age_s: float | None
    without_quorum_s: float
    settings: ApiSettings
    lag_reasonable_s: float = LAG_DEFAULT_S

    @property
    def has_failed(self) -> bool:
        """Without contact for so long that cluster checks fail."""
        return self.settings.fails_without_quorum and self.without_quorum_s > self.settings.no_quorum_after_s


@dataclass(frozen=True, slots=True)
class Said:
    """A status code and why."""

    status: int
    text: str
    server: InstanceKey | None = None


Arguments = Mapping[str, str]


def live(_scene: Scene, _arguments: Arguments) -> Said:
    return Said(200, "this process answers")


def ready(scene: Scene, _arguments: Arguments) -> Said:
    node = scene.node
    if node.problem:
        return Said(503, node.problem)
    if node.role is Role.CANDIDATE or node.leader_id is None:
        return Said(503, "no leader is known here")
    return Said(200, f"{node.leader_id} leads")


def leader(scene: Scene, _arguments: Arguments) -> Said:
    if scene.node.holds_authority:
        return Said(200, "this node leads")
    return Said(503, "this node does not lead")


def primary(scene: Scene, arguments: Arguments) -> Said:
    found = _looked_up(scene, arguments)
    if isinstance(found, Said):
        return found
    cluster, server = found
    if cluster.primary is None:
        return Said(503, f"cluster {cluster.id} has no primary")
    if server is None or server == cluster.primary:
        return Said(200, f"{cluster.primary} is the primary", cluster.primary)
    return Said(503, f"{server} is not the primary, {cluster.primary} is", cluster.primary)


def replica(scene: Scene, arguments: Arguments) -> Said:
    found = _looked_up(scene, arguments)
    if isinstance(found, Said):
        return found
    cluster, server = found
    limit_s = float(arguments["lag"]) if arguments.get("lag") else scene.lag_reasonable_s
    if server is not None:
        why_not = _not_fit(scene, cluster, server, limit_s)
        return Said(503, why_not, server) if why_not else Said(200, f"{server} replicates", server)
    for key, record in scene.state.servers.items():
        if record.cluster_id == cluster.id and not _not_fit(scene, cluster, key, limit_s):
            return Said(200, f"{key} replicates", key)
    return Said(503, f"no replica of cluster {cluster.id} lags {limit_s:g} s or less")


def _not_fit(scene: Scene, cluster: ClusterRecord, server: InstanceKey, limit_s: float) -> str:
    """Why clients should not read there; empty if they may."""
    if server == cluster.primary:
        return f"{server} is the primary"
    if server in scene.state.stale:
        return f"{server} was demoted while out of reach, and is not taken back yet"
    return _not_current(scene.seen.glimpses.get(server), server, limit_s)


def _not_current(glimpse: Glimpse | None, server: InstanceKey, limit_s: float) -> str:
    if glimpse is None or not glimpse.reached:
        return f"the leader does not reach {server}"
    if not glimpse.replicates:
        return f"{server} does not replicate"
    if glimpse.lag_s is None:
        return f"how far {server} lags is not known"
    return f"{server} lags {glimpse.lag_s:g} s, more than {limit_s:g}" if glimpse.lag_s > limit_s else ""


def _looked_up(scene: Scene, arguments: Arguments) -> tuple[ClusterRecord, InstanceKey | None] | Said:
    """The cluster and the server that are meant, or why there is no answer."""
    if scene.has_failed:
        return Said(503, f"no contact to a majority of the nodes for {scene.without_quorum_s:.0f} s (NoQuorumHealth)")
    cluster = find_cluster(scene.state, arguments["cluster"])
    if cluster is None:
        return Said(404, f"there is no cluster '{arguments['cluster']}'")
    text = arguments.get("server", "")
    if not text:
        return cluster, None
    server = _server(scene.state, text)
    if server is None or scene.state.servers[server].cluster_id != cluster.id:
        return Said(404, f"there is no server '{text}' in cluster {cluster.id}: write host:port")
    return cluster, server


def find_cluster(state: State, text: str) -> ClusterRecord | None:
    """By its id, its exact alias if that is unique, or the exact host:port of a member."""
    if text in state.clusters:
        return state.clusters[text]
    by_alias = [cluster for cluster in state.clusters.values() if cluster.alias == text]
    if len(by_alias) == 1:
        return by_alias[0]
    member = _server(state, text)
    return state.clusters.get(state.servers[member].cluster_id) if member is not None else None


def _server(state: State, text: str) -> InstanceKey | None:
    try:
        key = parse_server(text)
    except InvalidInput:
        return None
    if key in state.servers:
        return key
    return next((known for known, record in state.servers.items() if key in record.addresses), None)


CHECKS: dict[str, Callable[[Scene, Arguments], Said]] = {
    "health-live": live,
    "health-ready": ready,
    "health-leader": leader,
    "health-primary": primary,
    "health-replica": replica,
}


def answer(name: str, scene: Scene, arguments: Arguments) -> Answer:
    """The answer to one check."""
    lag = arguments.get("lag", "")
    if lag and not (lag.isascii() and lag.isdigit() and len(lag) < 9):
        said = Said(400, f"'{lag}' is no number of seconds (lag)")
    else:
        said = CHECKS[name](scene, arguments)
    value: dict[str, object] = {"status": "up" if said.status == 200 else "down", "detail": said.text}
    if said.server is not None:
        value["server"] = str(said.server)
    if scene.seen_age_s is not None and name == "health-replica":
        value["seen_s_ago"] = round(scene.seen_age_s, 1)
    return Answer(status=said.status, body=orjson.dumps(value), content_type=CONTENT_TYPE, headers=NO_STORE)
