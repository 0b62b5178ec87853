"""The recorded replies of a peer as data, and the fleet that they were taken from, built back from them.

``facts_of`` reads an Instance object as a probe would have seen the server; a ``Setting`` puts such servers together
with the marks and recoveries of that moment. So our answer about the same fleet can be compared key by key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from api.node import NodeStatus, Role
from orchestrator_raft.core.gtid import parse_mysql
from orchestrator_raft.core.instance import (
    Binlog,
    Channel,
    ChannelOption,
    Coordinates,
    Facts,
    Flavor,
    InstanceKey,
    ProbeResult,
    Reached,
    SemiSync,
    ThreadState,
    Unreachable,
    UnreachableKind,
)
from orchestrator_raft.core.observation import Observation
from orchestrator_raft.core.policy import ClusterFilters, Policy
from orchestrator_raft.core.recovery.model import Acknowledgement, EndState, Mark, Recovery, Request, Subject
from orchestrator_raft.core.replicated import State
from orchestrator_raft.core.replicated.state import AuditEntry, Detection
from orchestrator_raft.core.topology import ClusterRecord, Downtime, Marks, ServerRecord, StalePrimary, build
from orchestrator_raft.engine.view import Moment

FOLDER = Path(__file__).resolve().parent.parent / "recorded" / "percona-mysql97"
NOW_S = 1000.0
POLICY = Policy(
    recover_primary=ClusterFilters(("*",)), recover_intermediate=ClusterFilters(("*",)),
    ignored_codes=frozenset({"ShortSemiSyncTimeoutStructureWarning"}),
)  # fmt: skip
"""The fleet of the recordings waits only ten seconds for its replicas, of which the peers have nothing to say."""


@dataclass(frozen=True)
class Recording:
    """One recorded reply."""

    name: str
    path: str
    status: int
    content_type: str
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def read(name: str) -> Recording:
    """The reply in this file."""
    head, _, body = (FOLDER / f"{name}.json").read_text().partition("\n")
    match = re.match(r"// GET (\S+)  -> (\d+)(?:  (.*))?$", head)
    if match is None:  # recorded without a head line
        return Recording(name, "", 200, "", f"{head}\n{body}")
    return Recording(name, match[1], int(match[2]), match[3] or "", body)


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def key_of(value: Mapping[str, Any]) -> InstanceKey | None:
    return InstanceKey(value["Hostname"], value["Port"]) if value["Hostname"] else None


def _coordinates(value: Mapping[str, Any]) -> Coordinates:
    return Coordinates(value["LogFile"], value["LogPos"])


def _unquoted(text: str) -> str:
    return str(json.loads(text)) if text else ""


def milliseconds(text: str) -> int:
    """A time as the peer writes it, in either of its two forms."""
    moment = datetime.fromisoformat(text.replace("Z", "").replace(" ", "T"))
    return int(moment.replace(tzinfo=UTC).timestamp() * 1000)


def facts_of(shown: Mapping[str, Any], domain: str = "bench.example") -> Facts:
    """What the probe behind an Instance object learned."""
    source = key_of(shown["MasterKey"])
    lag = shown["SecondsBehindMaster"]
    channel = Channel(
        source=source, source_uuid=shown["MasterUUID"], user="repl" if shown["HasReplicationCredentials"] else "",
        receiver=ThreadState(shown["ReplicationIOThreadState"]),
        applier=ThreadState(shown["ReplicationSQLThreadState"]),
        receiver_error=_unquoted(shown["LastIOError"]), applier_error=_unquoted(shown["LastSQLError"]),
        uses_gtid=shown["UsingOracleGTID"], has_filters=shown["HasReplicationFilters"],
        read=_coordinates(shown["ReadBinlogCoordinates"]), executed=_coordinates(shown["ExecBinlogCoordinates"]),
        relay=_coordinates(shown["RelaylogCoordinates"]), lag_s=lag["Int64"] if lag["Valid"] else None,
        delay_s=shown["SQLDelay"],
        options=(ChannelOption("SOURCE_SSL", 1),) if shown["AllowTLS"] else (),
    ) if source is not None else None  # fmt: skip
    return Facts(
        key=InstanceKey(shown["Key"]["Hostname"], shown["Key"]["Port"]), flavor=Flavor.MYSQL,
        version=shown["Version"], version_comment=shown["VersionComment"], server_id=shown["ServerID"],
        server_uuid=shown["ServerUUID"], uptime_s=shown["Uptime"], read_only=shown["ReadOnly"],
        binlog=Binlog(
            enabled=shown["LogBinEnabled"], format=shown["Binlog_format"], row_image=shown["BinlogRowImage"],
            logs_replica_updates=shown["LogSlaveUpdatesEnabled"],
            coordinates=_coordinates(shown["SelfBinlogCoordinates"]),
        ),
        gtid_mode=shown["GTIDMode"], executed=parse_mysql(shown["ExecutedGtidSet"]),
        purged=parse_mysql(shown["GtidPurged"]), channels=(channel,) if channel is not None else (),
        alias=shown["InstanceAlias"], cluster_alias=shown["SuggestedClusterAlias"], cluster_domain=domain,
        semi_sync_priority=shown["SemiSyncPriority"],
        has_replication_credentials=shown["ReplicationCredentialsAvailable"],
        semi_sync=SemiSync(
            available=shown["SemiSyncAvailable"], source_enabled=shown["SemiSyncMasterEnabled"],
            source_active=shown["SemiSyncMasterStatus"], source_clients=shown["SemiSyncMasterClients"],
            wait_for_replica_count=shown["SemiSyncMasterWaitForReplicaCount"],
            timeout_ms=shown["SemiSyncMasterTimeout"], replica_enabled=shown["SemiSyncReplicaEnabled"],
            replica_active=shown["SemiSyncReplicaStatus"], new_names=shown["SemiSyncMasterPluginNewVersion"],
        ),
    )  # fmt: skip


@dataclass
class Setting:
    """Servers as recorded, and what was known about them then."""

    instances: list[Mapping[str, Any]]
    now: str
    recoveries: list[Recovery] = field(default_factory=list)
    detections: list[Detection] = field(default_factory=list)
    audit: list[AuditEntry] = field(default_factory=list)
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Aliases of clusters where they are not what the servers say."""
    lost_are_stale: bool = True
    """Servers lost in a recovery are stale primaries, as ours would be; else in downtime, as the peer's are."""

    def moment(self) -> Moment:
        now_ms = milliseconds(self.now)
        records, observations, clusters = {}, {}, {}
        stale: dict[InstanceKey, StalePrimary] = {}
        downtimes: dict[InstanceKey, Downtime] = {}
        for shown in self.instances:
            facts = facts_of(shown)
            name = shown["ClusterName"]
            records[facts.key] = ServerRecord(key=facts.key, facts=facts.structural(), cluster_id=name)
            observations[facts.key] = _observation(shown, facts)
            host, _, port = name.rpartition(":")
            clusters[name] = ClusterRecord(
                id=name, primary=InstanceKey(host, int(port)), alias=self.aliases.get(name, facts.cluster_alias),
                domain=facts.cluster_domain,
            )  # fmt: skip
            if shown["DowntimeReason"] == "lost-in-recovery":
                since_ms = now_ms - shown["ElapsedDowntime"] // 1_000_000
                ends_ms = milliseconds(shown["DowntimeEndTimestamp"])
                stale[facts.key] = StalePrimary(key=facts.key, cluster_id=name, recovery_id="r", since_ms=since_ms)
                downtimes[facts.key] = Downtime(
                    key=facts.key, owner=shown["DowntimeOwner"], reason=shown["DowntimeReason"], begun_ms=since_ms,
                    ends_ms=ends_ms,
                )  # fmt: skip
        marks = Marks(stale=stale) if self.lost_are_stale else Marks(downtimes=downtimes)
        state = State(
            time_ms=now_ms, servers=records, clusters=clusters, detections=tuple(self.detections),
            recoveries={each.id: each for each in self.recoveries}, audit=tuple(self.audit),
        )  # fmt: skip
        topology = build(records, clusters, observations, marks, now_ms)
        return Moment(state=state, topology=topology, policy=POLICY, now_ms=now_ms, now_s=NOW_S)


def _observation(shown: Mapping[str, Any], facts: Facts) -> Observation:
    since_s = shown["SecondsSinceLastSeen"]["Int64"]
    result: ProbeResult = Reached(facts, latency_s=shown["LastDiscoveryLatency"] / 1e9)
    if not shown["IsLastCheckValid"]:
        result = Unreachable(facts.key, UnreachableKind.REFUSED, "connection refused")
    return Observation(
        key=facts.key, result=result, at_s=NOW_S, facts=facts, seen_at_s=NOW_S - since_s, asked_at_s=NOW_S
    )


def subject_of(entry: Mapping[str, Any]) -> Subject:
    """The subject behind the AnalysisEntry of a recovery or detection."""
    cluster = entry["ClusterDetails"]
    return Subject(
        key=InstanceKey(entry["AnalyzedInstanceKey"]["Hostname"], entry["AnalyzedInstanceKey"]["Port"]),
        code=entry["Analysis"], cluster_name=cluster["ClusterName"], cluster_alias=cluster["ClusterAlias"],
        cluster_domain=cluster["ClusterDomain"], count_replicas=entry["CountReplicas"],
        replicas=tuple(InstanceKey(each["Hostname"], each["Port"]) for each in entry["Replicas"]),
        automated_primary=cluster["HasAutomatedMasterRecovery"],
        automated_intermediate=cluster["HasAutomatedIntermediateMasterRecovery"],
    )  # fmt: skip


def recovery_of(shown: Mapping[str, Any], *, kind: str = "dead_primary", command: str = "") -> Recovery:
    """The record behind a TopologyRecovery."""
    mark = None
    if shown["Acknowledged"]:
        at_ms = milliseconds(shown["AcknowledgedAt"])
        mark = Acknowledgement(at_ms=at_ms, by=shown["AcknowledgedBy"], comment=shown["AcknowledgedComment"])
    cluster = shown["AnalysisEntry"]["ClusterDetails"]["ClusterName"]
    return Recovery(
        id=shown["UID"], number=shown["Id"], kind=kind, cluster_id=cluster,
        subject=subject_of(shown["AnalysisEntry"]), holder="n1", term=1, phase="close", deadline_ms=0,
        started_ms=milliseconds(shown["RecoveryStartTimestamp"] or "2026-11-23T02:51:57Z"),
        finished_ms=milliseconds(shown["RecoveryEndTimestamp"] or "2026-11-23T02:51:57Z"),
        end=EndState.SUCCEEDED, successor=key_of(shown["SuccessorKey"]), promoted=shown["IsSuccessful"],
        errors=tuple(shown["AllErrors"]), request=Request(command=command), acknowledged=mark,
    )  # fmt: skip


def detection_of(shown: Mapping[str, Any], recovery_id: str) -> Detection:
    at_ms = milliseconds(shown["RecoveryStartTimestamp"])
    subject = subject_of(shown["AnalysisEntry"])
    return Detection(number=shown["Id"], subject=subject, at_ms=at_ms, node_id="n1", recovery_id=recovery_id)


def audit_of(shown: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(
        number=shown["AuditId"], at_ms=milliseconds(shown["AuditTimestamp"]), type=shown["AuditType"],
        message=shown["Message"], key=key_of(shown["AuditInstanceKey"]),
    )  # fmt: skip


def marks_of(steps: list[Mapping[str, Any]]) -> tuple[Mark, ...]:
    return tuple(Mark(each["Message"], milliseconds(each["AuditAt"])) for each in steps)


def node_of(health: Mapping[str, Any]) -> NodeStatus:
    """The node behind the recorded health and raft answers."""
    me = health["AvailableNodes"][0]
    return NodeStatus(
        node_id="n1", hostname=health["Hostname"], token=health["Token"], version=me["AppVersion"],
        started_ms=milliseconds(me["FirstSeenActive"]), now_ms=milliseconds(me["LastSeenActive"]),
        role=Role.LEADER, term=1, holds_authority=health["IsRaftLeader"], leader_id="n1",
        leader_address=health["RaftLeader"], leader_uri=health["RaftLeaderURI"],
        bind="127.0.0.1:10178", advertise="127.0.0.1:10178", advertise_configured=health["RaftAdvertise"],
        peers=("127.0.0.1:10178", "127.0.0.2:10178", "127.0.0.3:10178"),
        healthy_members=tuple(health["RaftHealthyMembers"]),
    )  # fmt: skip
