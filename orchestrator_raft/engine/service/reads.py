"""Operations that only read: each answers from one moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator_raft.core.analysis import Diagnosis, analyze, diagnose, is_lagging, situate
from orchestrator_raft.core.errors import InvalidInput, Unavailable
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.replicated.state import AuditEntry
from orchestrator_raft.core.topology import Cluster, Server
from orchestrator_raft.engine.service import policy_reads
from orchestrator_raft.engine.service.calls import Call, Reply
from orchestrator_raft.engine.service.names import find_server, require_cluster, require_server
from orchestrator_raft.engine.view import Moment

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk

PAGE_SIZE = 20
RECENT_MS = 300_000
NEEDS_EYES = frozenset({"replication-analysis", "problems"})
"""Replicated state does not say who lags or has stopped, and without observations everybody would look dead."""
Read = Callable[[Call, Moment], Reply]


def _reading(read: Read) -> Callable[[Call, Desk], Awaitable[Reply]]:
    """A handler that takes a moment and answers from it."""

    async def handler(call: Call, desk: Desk) -> Reply:
        if call.operation.name in NEEDS_EYES and not desk.leads:
            raise Unavailable("only the leader sees what is wrong, and none is known now: ask again in a moment")
        return read(call, desk.moment())

    return handler


def _clusters_sorted(moment: Moment) -> list[Cluster]:
    return sorted(moment.topology.clusters.values(), key=lambda cluster: cluster.name)


def clusters(call: Call, moment: Moment) -> Reply:
    return Reply(value=[cluster.name for cluster in _clusters_sorted(moment)], moment=moment)


def clusters_info(call: Call, moment: Moment) -> Reply:
    return Reply(value=_clusters_sorted(moment), moment=moment)


def _members(moment: Moment, cluster: Cluster) -> list[Server]:
    return list(moment.topology.members(cluster.id))


def cluster(call: Call, moment: Moment) -> Reply:
    found = require_cluster(moment.topology, call.text("cluster"), guess=True)
    return Reply(value=_members(moment, found), moment=moment)


def _by_alias(moment: Moment, alias: str) -> Cluster:
    for candidate in _clusters_sorted(moment):
        if candidate.alias == alias:
            return candidate
    raise InvalidInput(f"No cluster found for alias {alias}")


def cluster_by_alias(call: Call, moment: Moment) -> Reply:
    return Reply(value=_members(moment, _by_alias(moment, call.text("alias"))), moment=moment)


def cluster_info(call: Call, moment: Moment) -> Reply:
    return Reply(value=require_cluster(moment.topology, call.text("cluster"), guess=True), moment=moment)


def cluster_info_by_alias(call: Call, moment: Moment) -> Reply:
    return Reply(value=_by_alias(moment, call.text("alias")), moment=moment)


def master(call: Call, moment: Moment) -> Reply:
    found = require_cluster(moment.topology, call.text("cluster"), guess=True)
    primary = moment.topology.primary_of(found.id)
    if primary is None:
        raise InvalidInput(f"No masters found for {call.text('cluster')}")
    return Reply(value=primary, moment=moment)


def masters(call: Call, moment: Moment) -> Reply:
    primaries = (moment.topology.primary_of(each.id) for each in _clusters_sorted(moment))
    writable = [each for each in primaries if each is not None and each.facts is not None and each.facts.is_writable]
    return Reply(value=writable, moment=moment)


def instance(call: Call, moment: Moment) -> Reply:
    return Reply(value=require_server(moment.topology, call.arguments["server"], guess=True), moment=moment)


def instance_replicas(call: Call, moment: Moment) -> Reply:
    server = require_server(moment.topology, call.arguments["server"], guess=True)
    return Reply(value=list(moment.topology.replicas_of(server.key)), moment=moment)


def all_instances(call: Call, moment: Moment) -> Reply:
    return Reply(value=[server for _, server in sorted(moment.topology.servers.items())], moment=moment)


def bulk_instances(call: Call, moment: Moment) -> Reply:
    return Reply(value=sorted(moment.topology.servers), moment=moment)


def search(call: Call, moment: Moment) -> Reply:
    text = call.text("s").lower()
    found = [server for _, server in sorted(moment.topology.servers.items()) if text in _searchable(server, moment)]
    return Reply(value=found, moment=moment)


def _searchable(server: Server, moment: Moment) -> str:
    """Everything of a server that a search looks at; the names of its cluster find all of its members."""
    facts, home = server.facts, moment.topology.clusters.get(server.cluster_id)
    described = (facts.alias, facts.version, facts.version_comment, str(facts.server_id)) if facts else ()
    names = (home.name, home.alias) if home is not None else ()
    tags = (str(tag) for tag in moment.state.tags.get(server.key, ()))
    return " ".join((str(server.key), *described, *names, *tags)).lower()


def topology(call: Call, moment: Moment) -> Reply:
    found = require_cluster(moment.topology, call.text("cluster"), guess=True)
    return Reply(message=f"Topology for cluster {found.name}", value=found, moment=moment)


def replication_analysis(call: Call, moment: Moment) -> Reply:
    analyzed = analyze(moment.topology, moment.policy)
    diagnoses = [_with_verdict(each, moment) for each in analyzed if each.is_interesting and _is_looked_at(each)]
    if "cluster" in call.arguments:
        wanted = require_cluster(moment.topology, call.text("cluster"))
        diagnoses = [each for each in diagnoses if each.situation.server.cluster_id == wanted.id]
    if "server" in call.arguments:
        server = require_server(moment.topology, call.arguments["server"], guess=True)
        diagnoses = [each for each in diagnoses if each.situation.key == server.key]
    return Reply(message="Analysis", value=diagnoses, moment=moment)


def _with_verdict(diagnosis: Diagnosis, moment: Moment) -> Diagnosis:
    problem, text = diagnosis.problem, moment.unconfirmed.get(diagnosis.situation.key, "")
    return replace(diagnosis, problem=replace(problem, unconfirmed=text)) if problem is not None and text else diagnosis


def _is_looked_at(diagnosis: Diagnosis) -> bool:
    """This leader has probed the server and its replicas; before that nothing can be said of them."""
    situation = diagnosis.situation
    return all(server.observation is not None for server in (situation.server, *situation.replicas))


def problems(call: Call, moment: Moment) -> Reply:
    servers = [server for _, server in sorted(moment.topology.servers.items()) if has_problem(server, moment)]
    if "cluster" in call.arguments:
        name = call.text("cluster")
        ids = {each.id for each in moment.topology.clusters.values() if each.name == name}
        servers = [server for server in servers if server.cluster_id in ids]
    return Reply(value=servers, moment=moment)


def has_problem(server: Server, moment: Moment) -> bool:
    """Out of reach, not replicating, lagging, or whatever a rule says of it.

    What is in downtime, stale or not probed yet is left in peace.
    """
    if server.downtime or server.stale or server.observation is None or moment.policy.problem_ignore.match(server.key):
        return False
    channel = server.channel
    replicates = channel is None or channel.replicates
    if not server.reached or not replicates or is_lagging(server, moment.policy):
        return True
    return diagnose(situate(moment.topology, server, moment.policy), moment.policy).problem is not None


def downtimed(call: Call, moment: Moment) -> Reply:
    servers = [server for _, server in sorted(moment.topology.servers.items()) if server.downtime or server.stale]
    if "cluster" in call.arguments:
        wanted = require_cluster(moment.topology, call.text("cluster"), guess=True)
        servers = [server for server in servers if server.cluster_id == wanted.id]
    return Reply(value=servers, moment=moment)


def _page(items: list[object], call: Call) -> list[object]:
    start = call.number("page") * PAGE_SIZE
    return items[start : start + PAGE_SIZE]


def audit(call: Call, moment: Moment) -> Reply:
    entries = list(reversed(moment.state.audit))
    if "server" in call.arguments:
        entries = [entry for entry in entries if entry.key == call.arguments["server"]]
    if "text" in call.arguments:
        entries = [entry for entry in entries if call.text("text").lower() in _audit_text(entry)]
    return Reply(value=_page([*entries], call), moment=moment)


def _audit_text(entry: AuditEntry) -> str:
    return " ".join((entry.type, entry.message, str(entry.key or ""), entry.by, entry.request_id)).lower()


def audit_recovery(call: Call, moment: Moment) -> Reply:
    every = call.flag("every")
    found = [
        each for each in reversed(tuple(moment.state.recoveries.values())) if every or KINDS[each.kind].starts_period
    ]
    wanted: list[Callable[[Recovery], bool]] = []
    if "id" in call.arguments:
        wanted.append(lambda each: call.text("id") in (each.id, str(each.number)))
    if "name" in call.arguments:
        wanted.append(lambda each: each.subject.cluster_name == call.text("name"))
    if "alias" in call.arguments:
        wanted.append(lambda each: each.subject.cluster_alias == call.text("alias"))
    if call.flag("unacknowledged"):
        wanted.append(lambda each: each.acknowledged is None)
    return Reply(value=_page([each for each in found if all(test(each) for test in wanted)], call), moment=moment)


def audit_recovery_steps(call: Call, moment: Moment) -> Reply:
    recovery = moment.state.recoveries.get(call.text("uid"))
    return Reply(value=recovery if recovery is not None else [], moment=moment)


def audit_failure_detection(call: Call, moment: Moment) -> Reply:
    found = list(reversed(moment.state.detections))
    if "id" in call.arguments:
        found = [each for each in found if str(each.number) == call.text("id")]
    if "alias" in call.arguments:
        found = [each for each in found if each.subject.cluster_alias == call.text("alias")]
    return Reply(value=_page([*found], call), moment=moment)


def active_cluster_recovery(call: Call, moment: Moment) -> Reply:
    active = moment.state.active_recoveries
    return Reply(value=[each for each in active if each.subject.cluster_name == call.text("name")], moment=moment)


def _recent(moment: Moment) -> list[Recovery]:
    """Those that run, or ended within ``RECENT_MS``; newest first."""
    since_ms = moment.now_ms - RECENT_MS
    found = reversed(tuple(moment.state.recoveries.values()))
    return [
        each for each in found if KINDS[each.kind].starts_period and (each.is_active or each.finished_ms >= since_ms)
    ]


def recently_active_of_cluster(call: Call, moment: Moment) -> Reply:
    found = [each for each in _recent(moment) if each.subject.cluster_name == call.text("name")]
    return Reply(value=found, moment=moment)


def recently_active_of_server(call: Call, moment: Moment) -> Reply:
    asked = call.arguments["server"]
    known = find_server(moment.topology, asked, guess=True)
    key = known.key if known is not None else asked
    return Reply(value=[each for each in _recent(moment) if each.subject.key == key], moment=moment)


def blocked_recoveries(call: Call, moment: Moment) -> Reply:
    blocked = list(moment.state.blocked)
    if "name" in call.arguments:
        blocked = [each for each in blocked if each.cluster_name == call.text("name")]
    return Reply(value=blocked, moment=moment)


def check_global_recoveries(call: Call, moment: Moment) -> Reply:
    word = "disabled" if moment.state.recoveries_disabled else "enabled"
    return Reply(message=f"Global recoveries {word}", value=word, moment=moment)


def pauses(call: Call, moment: Moment) -> Reply:
    clusters = moment.state.clusters
    found = [
        {
            "cluster": clusters[each.cluster_id].name if each.cluster_id in clusters else "",
            "by": each.by,
            "reason": each.reason,
            "since_ms": each.since_ms,
        }
        for each in moment.state.pauses.values()
    ]
    return Reply(value=found, moment=moment)


def automated_recovery_filters(call: Call, moment: Moment) -> Reply:
    policy = moment.policy
    filters = {
        "RecoverIntermediateMasterClusterFilters": list(policy.recover_intermediate.entries),
        "RecoverMasterClusterFilters": list(policy.recover_primary.entries),
        "RecoveryIgnoreHostnameFilters": list(policy.recovery_ignore.patterns),
    }
    return Reply(message="Automated recovery configuration details", value=filters, moment=moment)


READS: dict[str, Read] = {
    "clusters": clusters,
    "clusters-info": clusters_info,
    "cluster": cluster,
    "cluster-by-alias": cluster_by_alias,
    "cluster-info": cluster_info,
    "cluster-info-by-alias": cluster_info_by_alias,
    "master": master,
    "masters": masters,
    "instance": instance,
    "instance-replicas": instance_replicas,
    "all-instances": all_instances,
    "bulk-instances": bulk_instances,
    "search": search,
    "topology": topology,
    "topology-tabulated": topology,
    "topology-tags": topology,
    "replication-analysis": replication_analysis,
    "problems": problems,
    "downtimed": downtimed,
    "audit": audit,
    "audit-recovery": audit_recovery,
    "audit-recovery-steps": audit_recovery_steps,
    "audit-failure-detection": audit_failure_detection,
    "active-cluster-recovery": active_cluster_recovery,
    "blocked-recoveries": blocked_recoveries,
    "pauses": pauses,
    "check-global-recoveries": check_global_recoveries,
    "automated-recovery-filters": automated_recovery_filters,
    "recently-active-cluster-recovery": recently_active_of_cluster,
    "recently-active-instance-recovery": recently_active_of_server,
    **policy_reads.READS,
}
HANDLERS = {name: _reading(read) for name, read in READS.items()}
