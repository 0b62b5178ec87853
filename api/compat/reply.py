"""From an operation's reply to a body: which shape each value has, and the envelope around it.

A value's type decides its shape; the few operations that show a value in another form are rows of ``OWN_FORMS``. Long
lists are encoded in slices, so that a list of ten thousand servers does not keep the node from its heartbeats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from orchestrator_raft.core.analysis import Diagnosis
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.moves.model import Plan
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.replicated.publications import KeyValue
from orchestrator_raft.core.replicated.state import AuditEntry, BlockedRecovery, Detection
from orchestrator_raft.core.topology import Cluster, Maintenance, RegisteredRule, Server
from orchestrator_raft.engine.figures import ProbeFigure, QueueFigure
from orchestrator_raft.engine.service import Reply
from orchestrator_raft.operations import Operation

from ..node import NodeStatus
from . import text_topology
from .analysis import diagnosis_json
from .audit import audit_json
from .cluster import cluster_json
from .figures import changelog_json, probe_json, probes_aggregated, queue_aggregated, queue_json
from .go import Json, dump, key_json
from .instance import instance_json
from .people import maintenance_json, pools_json, rule_json
from .plan import plan_json
from .recovery import blocked_json, detection_json, listed_json, live_json, steps_json
from .shown import Scene

Shape = Callable[[Any, Scene], Json]
SLICE = 25
"""So many entries of a list are encoded before others get a turn."""
NULL_WHEN_EMPTY = frozenset(
    {
        "clusters",
        "masters",
        "problems",
        "bulk-instances",
        "bulk-promotion-rules",
        "submit-masters-to-kv-stores",
        "discovery-metrics-raw",
        "discovery-queue-metrics-raw",
    }
)
"""Lists that Go leaves nil when there is nothing to list."""

SHAPES: dict[type, Shape] = {
    Server: instance_json,
    Cluster: cluster_json,
    Diagnosis: diagnosis_json,
    Recovery: live_json,
    Detection: detection_json,
    BlockedRecovery: blocked_json,
    AuditEntry: lambda entry, _scene: audit_json(entry),
    Plan: plan_json,
    KeyValue: lambda pair, _scene: {"Key": pair.key, "Value": pair.value},
    Maintenance: maintenance_json,
    ProbeFigure: probe_json,
    QueueFigure: queue_json,
    RegisteredRule: rule_json,
}
LISTED_SHAPES: dict[type, Shape] = {**SHAPES, Recovery: listed_json}
OWN_FORMS: dict[str, Shape] = {
    "topology": text_topology.tree,
    "topology-tabulated": text_topology.table,
    "topology-tags": text_topology.tree_with_tags,
    "discovery-metrics-aggregated": probes_aggregated,
    "discovery-queue-metrics-aggregated": queue_aggregated,
    "replication-analysis-changelog": changelog_json,
    "cluster-pool-instances": pools_json,
    "reload-configuration": lambda found, _scene: " ".join(found.files),
    "audit-recovery-steps": lambda value, _scene: steps_json(value) if isinstance(value, Recovery) else [],
}


async def body_of(operation: Operation, reply: Reply, node: NodeStatus, identity: str) -> bytes:
    """The body of a successful reply; ``identity`` goes in front of its message."""
    value = await _value(operation, reply, node)
    return value if operation.bare else envelope("OK", identity + reply.message, value)


def envelope(code: str, message: str, details: bytes = b"null") -> bytes:
    return b'{"Code":%b,"Message":%b,"Details":%b}' % (dump(code), dump(message), details)


async def _value(operation: Operation, reply: Reply, node: NodeStatus) -> bytes:
    own = OWN_FORMS.get(operation.name)
    if own is not None:
        return dump(own(reply.value, _scene(reply, node)))
    if isinstance(reply.value, list | tuple) and not isinstance(reply.value, InstanceKey):
        return await _list(operation, reply, node)
    return dump(_shaped(reply.value, SHAPES, reply, node))


async def _list(operation: Operation, reply: Reply, node: NodeStatus) -> bytes:
    items = list(reply.value) if isinstance(reply.value, list | tuple) else []
    if not items and operation.name in NULL_WHEN_EMPTY:
        return b"null"
    parts = []
    for position, item in enumerate(items, start=1):
        parts.append(dump(_shaped(item, LISTED_SHAPES, reply, node)))
        if position % SLICE == 0:
            await asyncio.sleep(0)
    return b"[" + b",".join(parts) + b"]"


def _shaped(value: object, shapes: dict[type, Shape], reply: Reply, node: NodeStatus) -> Json:
    """Values without a shape of their own are texts, maps of texts, or nothing."""
    if isinstance(value, InstanceKey):
        return key_json(value)
    shape = shapes.get(type(value))
    return shape(value, _scene(reply, node)) if shape is not None else value


def _scene(reply: Reply, node: NodeStatus) -> Scene:
    if reply.moment is None:
        raise AssertionError("a reply that shows servers or recoveries has to say from which moment")
    return Scene(reply.moment, node)
