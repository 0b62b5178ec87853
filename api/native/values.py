"""Domain values as JSON of the native API: one general rule, and a few projections.

The rule: a dataclass is an object of its fields, an enumeration its value, an address and a GTID set their text, a
mapping an object, a sequence an array. The projections are for values that contain each other or would repeat
themselves. Names are those of the code: snake case, units last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from orchestrator_raft.core.analysis import Diagnosis
from orchestrator_raft.core.candidates import promise_of
from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import InstanceKey, Unreachable
from orchestrator_raft.core.moves.model import Plan
from orchestrator_raft.core.replicated.outlook import outlook
from orchestrator_raft.core.topology import Cluster, Server
from orchestrator_raft.engine.view import Moment

Json = Any


def plain(value: Any) -> Json:
    """Any value of the domain as JSON."""
    projection = PROJECTIONS.get(type(value))
    if projection is not None:
        return plain(projection(value))
    if isinstance(value, InstanceKey | GtidSet):
        return str(value)
    if isinstance(value, Enum):
        return value.name.lower() if isinstance(value.value, int) else value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(each) for each in value)
    return value


def document(value: Any, moment: Moment | None) -> Json:
    """The same of a value that was asked for; a server with its tags, a cluster with what it promises and would do."""
    shown = plain(value)
    if isinstance(value, Server) and moment is not None:
        shown["tags"] = [str(tag) for tag in moment.state.tags.get(value.key, ())]
    if isinstance(value, Cluster) and moment is not None:
        shown["no_loss_promise"] = plain(promise_of(moment.topology, value.id))
        shown["automatic_failover"] = plain(outlook(moment.state, moment.topology, value.id, moment.policy))
    return shown


def _server(server: Server) -> Mapping[str, Any]:
    observation, record = server.observation, server.record
    failure = observation.result if observation is not None else None
    unreachable = failure if isinstance(failure, Unreachable) else None
    return {
        "server": server.key,
        "cluster_id": server.cluster_id,
        "reached": observation.reached if observation is not None else None,
        "unreachable": {"kind": unreachable.kind, "detail": unreachable.detail} if unreachable is not None else None,
        "recorded_reachable": record.reachable if record is not None else None,
        "addresses": record.addresses if record is not None else (),
        "source": server.source,
        "replicas": server.replicas,
        "depth": server.depth,
        "is_co_primary": server.is_co_primary,
        "downtime": server.downtime,
        "maintenance": server.maintenance,
        "stale": server.stale,
        "facts": server.facts,
    }


def _cluster(cluster: Cluster) -> Mapping[str, Any]:
    return {
        "id": cluster.id,
        "name": cluster.name,
        "alias": cluster.alias,
        "domain": cluster.record.domain,
        "primary": cluster.primary,
        "generation": cluster.record.generation,
        "possible_ackers": cluster.record.ackers,
        "released_ackers": cluster.record.released,
        "members": cluster.members,
    }


def _diagnosis(diagnosis: Diagnosis) -> Mapping[str, Any]:
    problem, situation = diagnosis.problem, diagnosis.situation
    return {
        "server": situation.key,
        "cluster_id": situation.server.cluster_id,
        "code": diagnosis.code,
        "severity": problem.rule.severity if problem is not None else None,
        "text": problem.rule.text if problem is not None else "",
        "evidence": problem.evidence if problem is not None else (),
        "recovery": problem.rule.recovery if problem is not None else "",
        "not_repaired_because": problem.skipped or problem.unconfirmed if problem is not None else "",
        "structure_warnings": diagnosis.warnings,
        "structure": [
            {"code": each.code, "text": each.warning.text, "evidence": each.evidence} for each in diagnosis.weaknesses
        ],
    }


def _plan(plan: Plan) -> Mapping[str, Any]:
    return {
        "text": plan.text,
        "how": plan.how,
        "stages": [
            {"text": each.text, "steps": [str(act) for act in each.acts], "undo": [str(act) for act in each.undo]}
            for each in plan.stages
        ],
        "servers": plan.movers,
        "left_out": plan.left_out,
        "warnings": plan.warnings,
        "expected_block_s": plan.block_s,
    }


PROJECTIONS: dict[type, Callable[[Any], Mapping[str, Any]]] = {
    Server: _server,
    Cluster: _cluster,
    Diagnosis: _diagnosis,
    Plan: _plan,
}
