"""What a page shows of the fleet and of one cluster: few words a server, all of one moment, worst first.

Rules
- A row has what people look for on one screen. Everything of one server is ``GET /servers/{server}``.
- Problems come from the same rules that recoveries come from, with what would be done, or why nothing is.
- Of the fleet is told what the watch found at its last look, and the loop goes on between clusters: for 10,000 servers
  it is half a second's work, of one moment all the same. One cluster is looked at anew.
- Without a leader nobody looks at servers, so nothing is said of their health: ``looked`` is false, and the rest is
  what is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator_raft.core.analysis import Diagnosis, diagnose, situate
from orchestrator_raft.core.candidates import promise_of
from orchestrator_raft.core.instance import Facts, InstanceKey, ThreadState, Unreachable
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.replicated.outlook import Outlook, outlook
from orchestrator_raft.core.topology import Cluster, Server, StaleStatus
from orchestrator_raft.engine.service.calls import Call, Reply
from orchestrator_raft.engine.service.names import require_cluster
from orchestrator_raft.engine.service.shown import (
    ClusterMap,
    Fleet,
    ShownCluster,
    ShownKind,
    ShownRecovery,
    ShownSemiSync,
    ShownServer,
    Trouble,
)
from orchestrator_raft.engine.view import Moment

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk

CRITICAL, WARNING, NOTE = "critical", "warning", "note"
RANKS = {CRITICAL: 0, WARNING: 1, NOTE: 2}
CLUSTERS_AT_ONCE = 50
"""So many are described before others get the loop: some ten milliseconds."""
Diagnoses = Mapping[InstanceKey, Diagnosis]
OUT_OF_REACH = "OutOfReach"
NOT_REPLICATING = "NotReplicating"
NO_FAILOVER = "NoFailover"
KEPT_OUT = "KeptOut"
KEPT_OUT_TEXTS = {
    StaleStatus.OUT_OF_REACH: "It was demoted while out of reach, and is fenced as soon as it answers",
    StaleStatus.FENCED: "It was demoted while out of reach; it is fenced, and looked at before it is taken back",
    StaleStatus.QUARANTINED: "It holds transactions that the cluster does not, so it is fenced and kept out",
}


async def fleet_of(moment: Moment, *, looked: bool) -> Fleet:
    """Everything on one page."""
    state = moment.state
    recoveries = tuple(state.recoveries.values())
    found = _found_last(moment) if looked else {}
    shown: list[ShownCluster] = []
    for each in moment.topology.clusters.values():
        shown.append(_cluster(moment, each, found, recoveries, looked=looked))
        if len(shown) % CLUSTERS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return Fleet(
        at_ms=moment.now_ms,
        looked=looked,
        recoveries_disabled=state.recoveries_disabled,
        pause=state.pauses.get(""),
        unacknowledged=sum(1 for each in recoveries if _wants_a_look(each)),
        blocked=len(state.blocked),
        clusters=tuple(sorted(shown, key=_worst_first)),
    )


def map_of(moment: Moment, cluster: Cluster, *, looked: bool) -> ClusterMap:
    """One cluster on one page."""
    recoveries = tuple(moment.state.recoveries.values())
    ackers = frozenset(cluster.record.ackers)
    members = sorted(moment.topology.members(cluster.id), key=lambda each: (each.depth, each.key))
    found = {each.key: _diagnosis(moment, each) for each in members if looked}
    servers = tuple(_server(moment, cluster, each, ackers, _troubles(moment, each, found)) for each in members)
    return ClusterMap(
        at_ms=moment.now_ms, looked=looked, cluster=_cluster(moment, cluster, found, recoveries, looked=looked),
        servers=servers,
    )  # fmt: skip


def _found_last(moment: Moment) -> Diagnoses:
    """Every server's diagnosis by the watch's last look, anew only for those that it has not seen yet."""
    found = {each.situation.key: each for each in moment.diagnoses}
    servers = moment.topology.servers
    return {key: found.get(key) or _diagnosis(moment, each) for key, each in servers.items()}


def _diagnosis(moment: Moment, server: Server) -> Diagnosis:
    return diagnose(situate(moment.topology, server, moment.policy), moment.policy)


def _worst_first(cluster: ShownCluster) -> tuple[object, ...]:
    first = RANKS[cluster.troubles[0].severity] if cluster.troubles else len(RANKS)
    return (cluster.running is None, first, -len(cluster.troubles), cluster.alias, cluster.name)


def _wants_a_look(recovery: Recovery) -> bool:
    """It changed, or tried to change, a primary, and nobody has acknowledged it."""
    return recovery.acknowledged is None and KINDS[recovery.kind].starts_period and not recovery.is_active


def _cluster(
    moment: Moment, cluster: Cluster, diagnoses: Diagnoses, recoveries: tuple[Recovery, ...], *, looked: bool
) -> ShownCluster:
    servers = tuple(moment.topology.members(cluster.id))
    own = [each for each in recoveries if each.cluster_id == cluster.id]
    lags = [each.fresh.lag_s for each in servers if each.fresh is not None and each.fresh.lag_s is not None]
    troubles = [trouble for each in servers for trouble in _troubles(moment, each, diagnoses)]
    fate = outlook(moment.state, moment.topology, cluster.id, moment.policy)
    running = _newest(each for each in own if each.is_active)
    if looked and running is None:
        troubles += _no_failover(cluster, fate, troubles)
    return ShownCluster(
        id=cluster.id,
        name=cluster.name,
        alias=cluster.alias,
        domain=cluster.record.domain,
        primary=cluster.primary,
        servers=cluster.members,
        words=_words(moment, servers),
        reached=sum(1 for each in servers if each.reached),
        downtimed=sum(1 for each in servers if each.downtime is not None),
        kept_out=sum(1 for each in servers if each.stale is not None),
        lag_max_s=max(lags, default=None),
        troubles=tuple(sorted(troubles, key=lambda each: (RANKS[each.severity], each.server))),
        no_loss_promise=promise_of(moment.topology, cluster.id),
        automatic_failover=fate,
        pause=moment.state.pauses.get(cluster.id),
        running=running,
        last=_newest(each for each in own if not each.is_active and KINDS[each.kind].starts_period),
    )


def _no_failover(cluster: Cluster, fate: Outlook, troubles: list[Trouble]) -> list[Trouble]:
    """That a failover would not begin by itself, where nobody wanted it so and nothing worse says it already."""
    is_worse = any(each.severity == CRITICAL and each.server == cluster.primary for each in troubles)
    if fate.possible or fate.by_choice or is_worse or cluster.primary is None:
        return []
    text = "If it dies now, nothing takes its place by itself"
    return [Trouble(server=cluster.primary, code=NO_FAILOVER, severity=WARNING, text=text, evidence=(fate.because,))]


def _tags(moment: Moment, key: InstanceKey) -> tuple[str, ...]:
    return tuple(str(tag).removesuffix("=") for tag in moment.state.tags.get(key, ()))


def _words(moment: Moment, servers: tuple[Server, ...]) -> tuple[str, ...]:
    tags = {tag for each in servers for tag in _tags(moment, each.key)}
    known = [each.facts for each in servers if each.facts is not None]
    found = {
        word
        for facts in known
        for word in (facts.alias, facts.flavor.value, facts.version, facts.location.data_center,
                     facts.location.region, facts.location.environment)
    }  # fmt: skip
    return tuple(sorted((found | tags) - {""}))


def _newest(recoveries: Iterable[Recovery]) -> ShownRecovery | None:
    found = max(recoveries, key=lambda each: each.number, default=None)
    return in_short(found) if found is not None else None


def in_short(recovery: Recovery) -> ShownRecovery:
    """A recovery in one line."""
    return ShownRecovery(
        id=recovery.id,
        number=recovery.number,
        kind=recovery.kind,
        text=KINDS[recovery.kind].text,
        code=recovery.subject.code,
        server=recovery.subject.key,
        successor=recovery.successor if recovery.promoted else None,
        phase=recovery.phase,
        end=recovery.end.value,
        started_ms=recovery.started_ms,
        finished_ms=recovery.finished_ms,
        is_acknowledged=recovery.acknowledged is not None,
    )


def _troubles(moment: Moment, server: Server, diagnoses: Diagnoses) -> tuple[Trouble, ...]:
    """What is wrong with one server; nothing is said of one that nobody looks at: it has no diagnosis."""
    if server.stale is not None:
        status, extra = server.stale.status, server.stale.extra
        evidence = (f"only it has {extra}",) if extra else ()
        text = KEPT_OUT_TEXTS[status]
        return (Trouble(server=server.key, code=KEPT_OUT, severity=WARNING, text=text, evidence=evidence),)
    diagnosis = diagnoses.get(server.key)
    if diagnosis is None or server.observation is None:
        return ()
    found = [*_problem(diagnosis, moment), *_structure(diagnosis)]
    return tuple(found) if diagnosis.problem is not None else (*_plain(server, moment), *found)


def _problem(diagnosis: Diagnosis, moment: Moment) -> list[Trouble]:
    problem = diagnosis.problem
    if problem is None:
        return []
    rule = problem.rule
    repair = KINDS[rule.recovery].text if rule.recovery else ""
    because = problem.skipped or moment.unconfirmed.get(problem.key, "")
    severity = NOTE if diagnosis.situation.server.downtime is not None else rule.severity.value
    return [
        Trouble(
            server=problem.key, code=rule.code, severity=severity, text=rule.text, evidence=problem.evidence,
            repair=repair, because=because,
        )
    ]  # fmt: skip


def _structure(diagnosis: Diagnosis) -> list[Trouble]:
    key = diagnosis.situation.key
    return [
        Trouble(
            server=key, code=each.code, severity=NOTE if each.warning.is_advice else WARNING, text=each.warning.text,
            evidence=each.evidence,
        )
        for each in diagnosis.weaknesses
    ]  # fmt: skip


def _plain(server: Server, moment: Moment) -> list[Trouble]:
    """What no rule is about, since a replica alone endangers nobody, but people should see."""
    severity = NOTE if server.downtime is not None else WARNING
    result = server.observation.result if server.observation is not None else None
    if isinstance(result, Unreachable):
        text = f"out of reach: {result.kind.value}"
        return [Trouble(server=server.key, code=OUT_OF_REACH, severity=severity, text=text,
                        evidence=(result.detail,))]  # fmt: skip
    channel = server.channel
    if channel is not None and not channel.replicates:
        errors = tuple(each for each in (channel.receiver_error, channel.applier_error) if each)
        return [Trouble(server=server.key, code=NOT_REPLICATING, severity=severity, evidence=errors,
                        text=f"receiver {_word(channel.receiver)}, applier {_word(channel.applier)}")]  # fmt: skip
    return []


def _word(state: ThreadState) -> str:
    return state.name.lower()


def _server(
    moment: Moment, cluster: Cluster, server: Server, ackers: frozenset[InstanceKey], troubles: tuple[Trouble, ...]
) -> ShownServer:
    facts, observation, channel = server.facts, server.observation, server.channel
    result = observation.result if observation is not None else None
    seen_at_s = observation.seen_at_s if observation is not None else None
    return ShownServer(
        server=server.key,
        source=server.source,
        is_primary=cluster.primary == server.key,
        is_co_primary=server.is_co_primary,
        reached=observation.reached if observation is not None else None,
        unreachable=f"{result.kind.value}: {result.detail}" if isinstance(result, Unreachable) else "",
        seen_s_ago=max(0.0, moment.now_s - seen_at_s) if seen_at_s is not None else None,
        lag_s=server.fresh.lag_s if server.fresh is not None else None,
        delay_s=channel.delay_s if channel is not None else 0,
        receiver=_word(channel.receiver) if channel is not None and server.reached else "",
        applier=_word(channel.applier) if channel is not None and server.reached else "",
        replication_error=(channel.receiver_error or channel.applier_error) if channel is not None else "",
        semi_sync=_semi_sync(facts, server.key in ackers) if facts is not None else None,
        tags=_tags(moment, server.key),
        downtime=server.downtime,
        maintenance=server.maintenance,
        stale=server.stale,
        troubles=troubles,
        **_described(facts),
    )


def _described(facts: Facts | None) -> dict[str, Any]:
    """What a server is, as far as anybody ever reached it."""
    if facts is None:
        return {"alias": "", "flavor": "", "version": "", "data_center": "", "region": "", "environment": "",
                "read_only": None, "promotion_rule": "", "logs_updates": None}  # fmt: skip
    place = facts.location
    return {"alias": facts.alias, "flavor": facts.flavor.value, "version": facts.version,
            "data_center": place.data_center, "region": place.region, "environment": place.environment,
            "read_only": facts.read_only, "promotion_rule": facts.promotion_rule.value,
            "logs_updates": facts.can_be_source}  # fmt: skip


def _semi_sync(facts: Facts, is_acker: bool) -> ShownSemiSync:
    found = facts.semi_sync
    return ShownSemiSync(
        source=found.source_active, replica=found.replica_active,
        wait_for_replica_count=found.wait_for_replica_count, possible_acker=is_acker,
    )  # fmt: skip


async def fleet(_call: Call, desk: Desk) -> Reply:
    moment = desk.moment()
    return Reply(value=await fleet_of(moment, looked=desk.leads), moment=moment)


async def cluster_map(call: Call, desk: Desk) -> Reply:
    moment = desk.moment()
    found = require_cluster(moment.topology, call.text("cluster"))
    return Reply(value=map_of(moment, found, looked=desk.leads), moment=moment)


async def whoami(call: Call, desk: Desk) -> Reply:
    return Reply(value={"name": call.person.name, "may_write": call.person.may_write})


async def kinds(_call: Call, desk: Desk) -> Reply:
    found = [
        ShownKind(name=each.name, text=each.text, phases={phase.name: phase.text for phase in each.phases})
        for each in KINDS.values()
    ]
    return Reply(value=found)


HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {
    "fleet": fleet,
    "cluster-map": cluster_map,
    "recovery-kinds": kinds,
    "whoami": whoami,
}
