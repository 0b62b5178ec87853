"""Operations that start, switch or acknowledge recoveries, by the path of automatic ones: a claim in Raft."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator_raft.core.analysis import diagnose, situate
from orchestrator_raft.core.candidates import choose
from orchestrator_raft.core.errors import InvalidInput, Refused, Unavailable
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.moves.model import Planned, Refusal
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import EndState, Recovery, Request
from orchestrator_raft.core.recovery.preview import failover_plan, takeover_plan
from orchestrator_raft.core.recovery.takeover import refusal
from orchestrator_raft.core.replicated.claims import has_acted
from orchestrator_raft.core.replicated.commands import (
    AcknowledgeRecoveries,
    ClaimRecovery,
    PauseWrites,
    SwitchRecoveries,
)
from orchestrator_raft.core.topology import Server
from orchestrator_raft.engine.leadership import Leader
from orchestrator_raft.engine.proposals import derived_id
from orchestrator_raft.engine.service.calls import WAIT_S, Call, Reply
from orchestrator_raft.engine.service.names import require_cluster, require_server
from orchestrator_raft.engine.service.servers import DISCOVER_TIMEOUT_S, probe, propose
from orchestrator_raft.engine.subjects import new_recovery, subject_of
from orchestrator_raft.engine.view import Moment

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk

POLL_S = 0.02
RECOVERY = "recovery"
FREE_WAIT_S = 30.0


async def claim_and_wait(call: Call, desk: Desk, recovery: Recovery) -> tuple[Recovery, Moment]:
    """Claim, and wait until the recovery has ended on whichever node, or for as long as whoever asks wants to wait.

    Raises Refused with the reason of a refusal.
    """
    leader = desk.leader()
    await propose(leader, call, ClaimRecovery, recovery=recovery, block_ms=0)
    leader.look()
    return await _wait(call, desk, recovery.id)


async def _wait(call: Call, desk: Desk, recovery_id: str) -> tuple[Recovery, Moment]:
    clock = desk.outside.clock
    give_up_s = clock.monotonic_s() + call.wait_s
    while True:
        recorded = desk.outside.consensus.state.recoveries.get(recovery_id)
        if recorded is not None and not recorded.is_active:
            return recorded, desk.moment()
        if clock.monotonic_s() >= give_up_s:
            break
        await clock.sleep(POLL_S)
    if recorded is not None and call.wait_s < WAIT_S:
        return recorded, desk.moment()
    raise Unavailable(f"recovery {recovery_id} is still running after {WAIT_S:g} s: raftctl recoveries shows it")


async def asked_before(call: Call, desk: Desk) -> tuple[Recovery, Moment] | None:
    """The recovery that this very request began earlier, perhaps on a leader that is gone by now, waited for."""
    recovery_id = derived_id(call.intention, RECOVERY) if call.intention else ""
    if recovery_id not in desk.outside.consensus.state.recoveries:
        return None
    return await _wait(call, desk, recovery_id)


def _request(call: Call, *, command: str, designated: InstanceKey | None) -> Request:
    return Request(by=call.person.name, command=command, designated=designated, forced=True, request_id=call.request_id)


def _recovery(
    call: Call, leader: Leader, moment: Moment, server: Server, *, request: Request, kind: str, code: str, text: str
) -> Recovery:
    cluster = moment.topology.clusters.get(server.cluster_id)
    subject = subject_of(server, cluster, moment, code=code, text=text, evidence=(f"asked for by {request.by}",))
    return new_recovery(
        kind, subject, server.cluster_id, moment,
        recovery_id=derived_id(call.intention, RECOVERY), holder=leader.proposals.node_id, term=leader.term,
        request=request,
    )  # fmt: skip


def _primary(moment: Moment, hint: str) -> Server:
    cluster = require_cluster(moment.topology, hint)
    primary = moment.topology.primary_of(cluster.id)
    if primary is None:
        raise InvalidInput(f"Cannot deduce cluster master for {hint}")
    group = primary.facts.group if primary.facts is not None else None
    if group is not None:
        raise Refused(
            f"{primary.key} is a member of the replication group {group.group_name}, which elects its primary itself: "
            "use group_replication_set_as_primary() there"
        )
    return primary


def _target(call: Call, moment: Moment) -> InstanceKey | None:
    asked = call.arguments.get("target")
    return require_server(moment.topology, asked).key if asked is not None else None


Begin = Callable[[Call, "Desk"], Awaitable[Recovery]]
Tell = Callable[[Call, Recovery, Moment], Reply]


def long_operation(begin: Begin, tell: Tell) -> Callable[[Call, Desk], Awaitable[Reply]]:
    """The handler of an operation that is a recovery: how it begins, and how its end is told."""

    async def carry_out(call: Call, desk: Desk) -> Reply:
        then = await asked_before(call, desk) or await claim_and_wait(call, desk, await begin(call, desk))
        recovery, moment = then
        if recovery.is_active:
            message = f"{call.operation.name}: recovery {recovery.id} is under way"
            return Reply(message=message, value=recovery, moment=moment, under_way=recovery.id)
        return tell(call, recovery, moment)

    return carry_out


def told_failover(call: Call, recovery: Recovery, moment: Moment) -> Reply:
    word = call.operation.name
    if not recovery.promoted:
        reasons = "; ".join(recovery.errors) or recovery.end.value
        raise Refused(f"{word}: recovery {recovery.id} ended, yet no replica was promoted: {reasons}")
    return Reply(message=f"{word}: successor promoted", value=recovery, moment=moment)


async def force_failover(call: Call, desk: Desk) -> Recovery:
    leader = desk.leader()
    moment = leader.viewer.moment()
    primary = _primary(moment, call.text("cluster"))
    if call.flag("accept_loss"):
        moment = await _once_free(desk, primary.cluster_id)
        primary = _primary(moment, call.text("cluster"))
    target = _target(call, moment)
    if target is not None and target not in primary.replicas:
        raise InvalidInput(f"You may only promote a direct child of the master {primary.key}: {target} is none")
    if primary.reached:
        _check_living(call, moment, primary, target)
    word = call.operation.name if target is None else "force-master-takeover"
    request = replace(_request(call, command=word, designated=target), accept_loss=call.flag("accept_loss"))
    text = "A person declared the primary dead"
    return _recovery(call, leader, moment, primary, request=request, kind="dead_primary", code="DeadMaster", text=text)


async def _once_free(desk: Desk, cluster_id: str) -> Moment:
    """The moment when no failover of the cluster runs: who accepts a loss must not be refused by one that waits."""
    clock = desk.outside.clock
    give_up_s = clock.monotonic_s() + FREE_WAIT_S
    while clock.monotonic_s() < give_up_s and desk.outside.consensus.state.active_recovery(cluster_id) is not None:
        await clock.sleep(POLL_S)
    return desk.leader().viewer.moment()


def _check_living(call: Call, moment: Moment, primary: Server, target: InstanceKey | None) -> None:
    """A primary that answers is not touched where that is not wanted, or where nobody could take its place."""
    if call.flag("careful"):
        raise Refused(
            f"{primary.key} is the primary and answers, so nothing was changed. If it was promoted just now, the "
            "failover is done (raftctl recoveries); to hand its role over: raftctl takeover; to replace it all the "
            "same: raftctl failover --force"
        )
    verdict = choose(primary, moment.topology.replicas_of(primary.key), moment.policy, target)
    if verdict.best is None:
        reasons = "; ".join(map(str, verdict.refused)) or "there is none"
        raise Refused(f"no replica of {primary.key} can be promoted, so nothing was changed: {reasons}")


async def recover(call: Call, desk: Desk) -> Recovery:
    """Act on what the analysis reports, at once and without regard to blocks; not on a healthy server."""
    leader = desk.leader()
    moment = leader.viewer.moment()
    server = require_server(moment.topology, call.arguments["server"])
    diagnosis = diagnose(situate(moment.topology, server, moment.policy), moment.policy)
    problem = diagnosis.problem
    if problem is None or not problem.rule.recovery:
        raise Refused(f"Recovery on {server.key} not attempted: analysis reports {diagnosis.code}, nothing to recover")
    skip = call.flag("skipProcesses") or call.operation.name == "recover-lite"
    target = _target(call, moment)
    request = replace(_request(call, command="recover", designated=target), skip_hooks=skip)
    rule = problem.rule
    return _recovery(
        call, leader, moment, server, request=request, kind=rule.recovery, code=problem.code, text=rule.text
    )


def told_recovery(call: Call, recovery: Recovery, moment: Moment) -> Reply:
    if KINDS[recovery.kind].counts:
        told_failover(call, recovery, moment)
    elif not has_acted(recovery):
        raise Refused(f"recover: recovery {recovery.id} ended and changed nothing: {recovery.timeline[-1].text}")
    return Reply(message=f"Recovery executed on {recovery.subject.key}", value=recovery.successor, moment=moment)


async def takeover(call: Call, desk: Desk) -> Recovery:
    leader = desk.leader()
    moment = leader.viewer.moment()
    primary = _primary(moment, call.text("cluster"))
    automatic = call.operation.name.endswith("-auto")
    target = _target(call, moment)
    if target is None and not automatic and len(primary.replicas) > 1:
        raise InvalidInput(
            f"GracefulMasterTakeover: target instance not indicated, auto=false, and master {primary.key} has "
            f"{len(primary.replicas)} replicas: name one, or use the -auto form"
        )
    if target is not None and target not in primary.replicas:
        raise InvalidInput(
            f"GracefulMasterTakeover: designated instance {target} must be directly replicating from the master "
            f"{primary.key}"
        )
    await asyncio.gather(
        probe(leader, primary.key),
        *(leader.discovery.probe_now(key, timeout_s=DISCOVER_TIMEOUT_S) for key in primary.replicas),
    )
    moment = leader.viewer.moment()
    server = moment.topology.server(primary.key)
    why_not = refusal(moment.topology, server, target, moment.policy, start_old_primary=automatic)
    if why_not:
        raise Refused(f"graceful-master-takeover: nothing was changed: {why_not}")
    asked = _request(call, command="graceful-master-takeover", designated=target)
    request = replace(asked, start_old_primary=automatic)
    text = "A person asked for a planned change of primary"
    return _recovery(call, leader, moment, primary, request=request, kind="takeover", code="DeadMaster", text=text)


def told_takeover(_call: Call, ended: Recovery, moment: Moment) -> Reply:
    if ended.end is not EndState.SUCCEEDED:
        reasons = "; ".join(ended.errors) or ended.end.value
        raise Refused(f"graceful-master-takeover: {ended.end.value}: {reasons}")
    return Reply(message="graceful-master-takeover: successor promoted", value=ended, moment=moment)


Preview = Callable[[Call, Moment, Server], Planned]


def previewed(
    carry_out: Callable[[Call, Desk], Awaitable[Reply]], preview: Preview
) -> Callable[[Call, Desk], Awaitable[Reply]]:
    """The handler, which for a dry run only answers with the plan. Raises Refused where there is none."""

    async def handle(call: Call, desk: Desk) -> Reply:
        if not call.flag("dry_run"):
            return await carry_out(call, desk)
        moment = desk.leader().viewer.moment()
        found = preview(call, moment, _primary(moment, call.text("cluster")))
        if isinstance(found, Refusal):
            raise Refused(f"{call.operation.name}: nothing was changed: {found.reason}")
        message = f"{call.operation.name}: nothing was done, this is the plan"
        return Reply(message=message, value=found, moment=moment)

    return handle


def _failover_plan(call: Call, moment: Moment, primary: Server) -> Planned:
    return failover_plan(moment.topology, primary, _target(call, moment), moment.policy)


def _takeover_plan(call: Call, moment: Moment, primary: Server) -> Planned:
    automatic = call.operation.name.endswith("-auto")
    return takeover_plan(moment.topology, primary, _target(call, moment), moment.policy, start_old_primary=automatic)


async def acknowledge(call: Call, desk: Desk) -> Reply:
    leader = desk.leader()
    topology = leader.viewer.moment().topology
    selector: dict[str, object] = {"every": True}
    value: object = call.text("comment")
    if call.operation.name == "ack-recovery":
        selector, value = {"recovery_id": call.text("id")}, call.text("id")
    elif call.operation.name == "ack-recovery-cluster":
        cluster = require_cluster(topology, call.text("cluster"))
        selector, value = {"cluster_id": cluster.id}, cluster.name
    elif call.operation.name == "ack-recovery-instance":
        server = call.arguments["server"]
        selector, value = {"key": server}, server
    result = await propose(leader, call, AcknowledgeRecoveries, comment=call.text("comment"), **selector)
    return Reply(message=f"Acknowledged {result.value} recoveries", value=value)


async def switch(call: Call, desk: Desk) -> Reply:
    enabled = call.operation.name.startswith("enable")
    await propose(desk.leader(), call, SwitchRecoveries, enabled=enabled)
    word = "enabled" if enabled else "disabled"
    return Reply(message=f"Globally {word} recoveries", value=word)


async def pause(call: Call, desk: Desk) -> Reply:
    """Writes to one cluster, or to all, are paused, or go on."""
    leader = desk.leader()
    paused = call.operation.name == "pause-writes"
    cluster = None
    if "cluster" in call.arguments:
        cluster = require_cluster(leader.viewer.moment().topology, call.text("cluster"))
    cluster_id, name = (cluster.id, cluster.name) if cluster is not None else ("", "all clusters")
    reason = call.text("reason") if paused else ""
    await propose(leader, call, PauseWrites, paused=paused, cluster_id=cluster_id, reason=reason)
    leader.look()
    return Reply(message=f"Writes to {name} are {'paused' if paused else 'allowed'}", value=name)


HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {
    "force-master-failover": previewed(long_operation(force_failover, told_failover), _failover_plan),
    "force-master-takeover": previewed(long_operation(force_failover, told_failover), _failover_plan),
    "recover": long_operation(recover, told_recovery),
    "recover-lite": long_operation(recover, told_recovery),
    "graceful-master-takeover": previewed(long_operation(takeover, told_takeover), _takeover_plan),
    "graceful-master-takeover-auto": previewed(long_operation(takeover, told_takeover), _takeover_plan),
    "ack-recovery": acknowledge,
    "ack-recovery-cluster": acknowledge,
    "ack-recovery-instance": acknowledge,
    "ack-all-recoveries": acknowledge,
    "disable-global-recoveries": switch,
    "enable-global-recoveries": switch,
    "pause-writes": pause,
    "resume-writes": pause,
}
