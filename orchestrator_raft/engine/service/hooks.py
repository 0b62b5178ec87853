"""Operations that try hooks: they are told of a failover of the cluster that has not happened.

Nothing is claimed and no server is touched; only the hooks themselves act, and they can see that it is a drill.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator_raft.core.candidates import choose
from orchestrator_raft.core.errors import InvalidInput, Refused, ServerError
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.policy import ExitPolicy
from orchestrator_raft.core.recovery.dead_intermediate import DEAD_INTERMEDIATE
from orchestrator_raft.core.recovery.dead_primary import DEAD_PRIMARY
from orchestrator_raft.core.recovery.model import Recovery, Request
from orchestrator_raft.core.recovery.rejoin import KEPT_OUT, REJOIN
from orchestrator_raft.core.recovery.takeover import TAKEOVER
from orchestrator_raft.core.topology import Server
from orchestrator_raft.engine.proposals import new_id
from orchestrator_raft.engine.service.calls import Call, Reply
from orchestrator_raft.engine.service.names import require_cluster, require_server
from orchestrator_raft.engine.subjects import new_recovery, subject_of
from orchestrator_raft.engine.view import Moment

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk

DRILL = "drill"
TEXT = "This is a drill, nothing has happened"
KINDS = {
    "PreGracefulTakeoverProcesses": TAKEOVER.name,
    "PostGracefulTakeoverProcesses": TAKEOVER.name,
    "PostIntermediateMasterFailoverProcesses": DEAD_INTERMEDIATE.name,
    KEPT_OUT: REJOIN.name,
}
"""The other lists are told of a dead primary."""
WITH_SUCCESSOR = frozenset(
    {
        "PostFailoverProcesses", "PostMasterFailoverProcesses", "PostIntermediateMasterFailoverProcesses",
        "PostGracefulTakeoverProcesses", "PostTakeMasterProcesses",
    }
)  # fmt: skip


async def preview(call: Call, desk: Desk) -> Reply:
    """What a drill would run."""
    recovery, moment = _imagined(call, desk)
    shown = desk.outside.hooks.preview(_list(call, desk), recovery)
    return Reply(message=f"{len(shown)} hooks in {call.text('list')}", value=list(shown), moment=moment)


async def drill(call: Call, desk: Desk) -> Reply:
    """Run it. Raises ServerError with what the hooks said where one failed."""
    name = _list(call, desk)
    recovery, moment = _imagined(call, desk)
    policy = moment.policy
    timeout_s = policy.hook_timeout_s * len(policy.hooks.get(name, ())) + 1.0
    report = await desk.outside.hooks.run(
        name, recovery, fail_stop=policy.hook_exit(name) is ExitPolicy.ABORT, timeout_s=timeout_s, is_drill=True
    )
    if not report.ok:
        raise ServerError(f"{name}: {report.detail}")
    return Reply(message=f"{report.commands} hooks of {name} were run\n{report.detail}".rstrip(), moment=moment)


def _list(call: Call, desk: Desk) -> str:
    name, known = call.text("list"), desk.settings.policy.hooks
    if name not in known:
        raise InvalidInput(f"there is no list '{name}': {', '.join(known) or 'no hooks are configured'}")
    return name


def _imagined(call: Call, desk: Desk) -> tuple[Recovery, Moment]:
    """A recovery that never was, as far as it has come when the list is run."""
    leader = desk.leader()
    moment = leader.viewer.moment()
    cluster = require_cluster(moment.topology, call.text("cluster"))
    primary = moment.topology.primary_of(cluster.id)
    if primary is None:
        raise Refused(f"{cluster.name} has no primary, so there is nothing that could fail over")
    subject = subject_of(primary, cluster, moment, code="DeadMaster", text=TEXT, evidence=())
    asked = call.arguments.get("target")
    target = require_server(moment.topology, asked).key if asked is not None else None
    name = call.text("list")
    recovery = new_recovery(
        KINDS.get(name, DEAD_PRIMARY.name), subject, cluster.id, moment,
        recovery_id=f"{DRILL}-{new_id()}", holder=leader.proposals.node_id, term=leader.term,
        request=Request(by=call.person.name, command=DRILL, designated=target, request_id=call.request_id),
    )  # fmt: skip
    if name not in WITH_SUCCESSOR:
        return recovery, moment
    successor = _successor(primary, target, moment)
    return replace(recovery, successor=successor, promoted=True, moved=primary.replicas), moment


def _successor(primary: Server, target: InstanceKey | None, moment: Moment) -> InstanceKey:
    verdict = choose(primary, moment.topology.replicas_of(primary.key), moment.policy, target)
    if verdict.best is None:
        raise Refused(f"no replica of {primary.key} could take over now: {'; '.join(map(str, verdict.refused))}")
    return verdict.best


HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {"hooks-preview": preview, "hooks-drill": drill}
