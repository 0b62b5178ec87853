"""TopologyRecovery of the compatible API in its three forms, its steps, and recoveries that did not start.

The reply of a takeover or failover is filled in; the lists show less and mark what is missing in other ways (an object
of empty values where the reply has null, a list with one empty text where it has none). Clients know both.
"""

from __future__ import annotations

from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import Acknowledgement, Recovery
from orchestrator_raft.core.replicated.claims import has_acted
from orchestrator_raft.core.replicated.state import BlockedRecovery, Detection

from . import analysis
from .go import Json, coordinates_json, key_json, keys_json, timestamp
from .shown import Scene

STEPS_PER_RECOVERY = 100
"""Steps of one recovery have consecutive ids; more than its timeline and its errors can hold."""
TYPES = {
    "dead_primary": "MasterRecovery",
    "takeover": "MasterRecovery",
    "dead_intermediate": "IntermediateMasterRecovery",
}


def live_json(recovery: Recovery, scene: Scene) -> Json:
    """The Details of a takeover's or failover's reply."""
    successor = scene.moment.topology.servers.get(recovery.successor) if recovery.successor is not None else None
    facts = successor.facts if successor is not None else None
    return {
        "Id": recovery.number,
        "UID": recovery.id,
        "AnalysisEntry": analysis.live_json(recovery, scene),
        "SuccessorKey": key_json(recovery.successor) if recovery.successor is not None else None,
        "SuccessorAlias": facts.alias if facts is not None else "",
        "SuccessorBinlogCoordinates": coordinates_json(facts.binlog.coordinates) if facts is not None else None,
        "IsActive": recovery.is_active,
        "IsSuccessful": has_acted(recovery),
        **_outcome(recovery, errors=list(recovery.errors)),
        **_processing(recovery.holder, scene),
        **_acknowledged(recovery.acknowledged),
        **_relations(recovery, scene),
        "Type": TYPES.get(recovery.kind, ""),
        "RecoveryType": "MasterRecoveryGTID" if KINDS[recovery.kind].counts else "NotMasterRecovery",
    }


def listed_json(recovery: Recovery, scene: Scene) -> Json:
    """One entry of audit-recovery and its like."""
    return {
        "Id": recovery.number,
        "UID": recovery.id,
        "AnalysisEntry": analysis.recorded_json(recovery.subject),
        "SuccessorKey": key_json(recovery.successor),
        "SuccessorAlias": _alias(recovery, scene),
        "SuccessorBinlogCoordinates": None,
        "IsActive": is_in_active_period(recovery, scene),
        "IsSuccessful": has_acted(recovery),
        **_outcome(recovery, errors=list(recovery.errors) or [""]),
        **_processing(recovery.holder, scene),
        **_acknowledged(recovery.acknowledged),
        **_relations(recovery, scene),
        "Type": "",
        "RecoveryType": "NotMasterRecovery",
    }


def detection_json(detection: Detection, scene: Scene) -> Json:
    """One entry of audit-failure-detection."""
    at = timestamp(detection.at_ms)
    related = scene.moment.state.recoveries.get(detection.recovery_id)
    return {
        "Id": detection.number,
        "UID": "",
        "AnalysisEntry": analysis.recorded_json(detection.subject, start_active_period=at),
        "SuccessorKey": None,
        "SuccessorAlias": "",
        "SuccessorBinlogCoordinates": None,
        "IsActive": False,
        "IsSuccessful": False,
        "LostReplicas": [],
        "ParticipatingInstanceKeys": [],
        "AllErrors": None,
        "RecoveryStartTimestamp": at,
        "RecoveryEndTimestamp": "",
        **_processing(detection.node_id, scene),
        **_acknowledged(None),
        "LastDetectionId": 0,
        "RelatedRecoveryId": related.number if related is not None else 0,
        "Type": "",
        "RecoveryType": "",
    }


def is_in_active_period(recovery: Recovery, scene: Scene) -> bool:
    """It runs, or it keeps its cluster from being recovered again by itself."""
    if recovery.is_active:
        return True
    block_ms = scene.moment.policy.recovery_block_s * 1000
    blocks = has_acted(recovery) and recovery.acknowledged is None
    return blocks and scene.moment.now_ms < recovery.finished_ms + block_ms


def _alias(recovery: Recovery, scene: Scene) -> str:
    server = scene.moment.topology.servers.get(recovery.successor) if recovery.successor is not None else None
    return server.facts.alias if server is not None and server.facts is not None else ""


def _outcome(recovery: Recovery, *, errors: list[str]) -> dict[str, Json]:
    return {
        "LostReplicas": keys_json(recovery.lost),
        "ParticipatingInstanceKeys": keys_json(recovery.moved),
        "AllErrors": errors,
        "RecoveryStartTimestamp": timestamp(recovery.started_ms),
        "RecoveryEndTimestamp": timestamp(recovery.finished_ms),
    }


def _processing(node_id: str, scene: Scene) -> dict[str, Json]:
    """The node that worked on it: this one by host name and token, another by the host of its Raft address and id."""
    if node_id == scene.node.node_id:
        return {"ProcessingNodeHostname": scene.node.hostname, "ProcessingNodeToken": scene.node.token}
    record = scene.moment.state.nodes.get(node_id)
    name = record.address.rpartition(":")[0].strip("[]") if record is not None else node_id
    return {"ProcessingNodeHostname": name, "ProcessingNodeToken": node_id}


def _acknowledged(mark: Acknowledgement | None) -> dict[str, Json]:
    return {
        "Acknowledged": mark is not None,
        "AcknowledgedAt": timestamp(mark.at_ms) if mark is not None else "",
        "AcknowledgedBy": mark.by if mark is not None else "",
        "AcknowledgedComment": mark.comment if mark is not None else "",
    }


def _relations(recovery: Recovery, scene: Scene) -> dict[str, Json]:
    detections = scene.moment.state.detections
    number = next((each.number for each in reversed(detections) if each.recovery_id == recovery.id), 0)
    return {"LastDetectionId": number, "RelatedRecoveryId": 0}


def steps_json(recovery: Recovery) -> Json:
    """The timeline, then the errors; ids grow with time and over all recoveries."""
    marks = [(mark.at_ms, f"{mark.name}: {mark.text}" if mark.text else mark.name) for mark in recovery.timeline]
    last_ms = recovery.finished_ms or (marks[-1][0] if marks else recovery.started_ms)
    entries = [*marks, *((last_ms, f"error: {error}") for error in recovery.errors)]
    return [
        {
            "Id": recovery.number * STEPS_PER_RECOVERY + position,
            "RecoveryUID": recovery.id,
            "AuditAt": timestamp(at_ms),
            "Message": text,
        }
        for position, (at_ms, text) in enumerate(entries)
    ]


def blocked_json(blocked: BlockedRecovery, scene: Scene) -> Json:
    blocking = scene.moment.state.recoveries.get(blocked.blocking_recovery_id)
    return {
        "FailedInstanceKey": key_json(blocked.key),
        "ClusterName": blocked.cluster_name,
        "Analysis": blocked.code,
        "LastBlockedTimestamp": timestamp(blocked.at_ms),
        "BlockingRecoveryId": blocking.number if blocking is not None else 0,
    }
