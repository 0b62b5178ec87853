"""Desired state: small things that drift while all is well, put right one server at a time.

To add one: a row in ``CHORES``. ``finds`` says by a fresh probe, in one sentence, what is not as it should be;
``steps`` put it right; ``switch`` is the field of the policy that lets us. Rules:
- Only in a cluster whose primary answers, takes writes and is the recorded one, and that people gave to us
  (RecoverMasterClusterFilters); never on a stale server, one in downtime or maintenance, a co-primary, or one that is
  ignored.
- What a person may have done on purpose is not undone: replication that was stopped without an error stays stopped.
- It is never urgent: it gives way to everything, leaves no period behind, runs no hooks; the audit trail has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestrator_raft.core.instance import Flavor, InstanceKey, ThreadState
from orchestrator_raft.core.policy import EventSchedulerPolicy, Policy
from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.net_timeout import NAME, tells_late
from orchestrator_raft.core.recovery.steps import (
    Outcomes,
    Reprobe,
    ServerStep,
    SetEventScheduler,
    SetReadOnly,
    StartReplication,
    Step,
    failures,
    succeeded,
)
from orchestrator_raft.core.topology import Cluster, Server, Topology

REPROBE_S = 1.0
GAVE_UP = frozenset({1040, 1053, 1129, 1130, 1158, 1159, 1160, 1161, 1200, 2002, 2003, 2005, 2006, 2013, 2055})
"""Errors after which a receiver has stopped for good although nothing but the way to its source was in its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """One row: what should be so, whether people want it, how to see that it is not, and what to do."""

    name: str
    text: str
    switch: Callable[[Policy], bool]
    finds: Callable[[Topology, Server, Policy], str]
    steps: Callable[[InstanceKey], tuple[ServerStep, ...]]
    kind: str = "upkeep"
    """The recovery that does it; another one than this where one step is not enough."""


def _writable(topology: Topology, server: Server, policy: Policy) -> str:
    facts = server.fresh
    return f"the replica {server.key} takes writes" if facts is not None and facts.is_writable else ""


def _weakly_read_only(topology: Topology, server: Server, policy: Policy) -> str:
    facts = server.fresh
    if facts is None or facts.flavor is not Flavor.MYSQL or facts.super_read_only or facts.is_writable:
        return ""
    return f"the replica {server.key} is read_only and not super_read_only: privileged accounts could write there"


def _gave_up(topology: Topology, server: Server, policy: Policy) -> str:
    channel = server.channel
    source = topology.servers.get(server.source) if server.source is not None else None
    if channel is None or source is None or not source.reached or source.stale is not None:
        return ""
    stopped = channel.receiver in (ThreadState.STOPPED, ThreadState.ABSENT)
    if not stopped or channel.applier is not ThreadState.RUNNING or channel.receiver_error_number not in GAVE_UP:
        return ""
    return f"the receiver of {server.key} gave up ({channel.receiver_error_number}), and {source.key} answers"


def _runs_events(topology: Topology, server: Server, policy: Policy) -> str:
    facts = server.fresh
    return f"the replica {server.key} runs scheduled events" if facts and facts.settings.event_scheduler else ""


CHORES: tuple[Chore, ...] = (
    Chore(
        name="read-only replica", text="A replica takes no writes", switch=lambda policy: policy.close_replicas,
        finds=_writable, steps=lambda key: (SetReadOnly(key=key),),
    ),
    Chore(
        name="super-read-only replica", text="A MySQL replica is super_read_only",
        switch=lambda policy: policy.use_super_read_only, finds=_weakly_read_only,
        steps=lambda key: (SetReadOnly(key=key),),
    ),
    Chore(
        name="receiving replica", text="A receiver that gave up is started when its source answers",
        switch=lambda policy: policy.restart_receivers, finds=_gave_up, steps=lambda key: (StartReplication(key=key),),
    ),
    Chore(
        name="quiet replica", text="A replica runs no scheduled events",
        switch=lambda policy: policy.event_scheduler is EventSchedulerPolicy.ENFORCE,
        finds=_runs_events, steps=lambda key: (SetEventScheduler(key=key, on=False),),
    ),
    Chore(
        name="watchful replica", text="A replica notices soon that its source is silent",
        switch=lambda policy: policy.net_timeout_s > 0, finds=tells_late, steps=lambda key: (), kind=NAME,
    ),
)  # fmt: skip


def due(topology: Topology, cluster: Cluster, policy: Policy) -> tuple[tuple[InstanceKey, Chore, str], ...]:
    """Servers of this cluster that are not as they should be: the first thing that is wrong with each."""
    primary = topology.primary_of(cluster.id)
    if primary is None or primary.fresh is None or not primary.fresh.is_writable or primary.stale is not None:
        return ()
    if not policy.recover_primary.match(cluster.name, cluster.alias):
        return ()
    found = []
    for server in topology.members(cluster.id):
        if not is_plain_replica(server, primary, policy):
            continue
        chore = _first(topology, server, policy)
        if chore is not None:
            found.append((server.key, chore, chore.finds(topology, server, policy)))
    return tuple(found)


def is_plain_replica(server: Server, primary: Server, policy: Policy) -> bool:
    """It answers, replicates over one channel, and nobody wants it left alone."""
    facts = server.fresh
    return (
        facts is not None
        and server.key != primary.key
        and server.source is not None
        and len(facts.channels) == 1
        and not server.is_co_primary
        and server.stale is None
        and not server.set_aside
        and not policy.recovery_ignore.match(server.key)
    )


def _first(topology: Topology, server: Server, policy: Policy) -> Chore | None:
    return next((each for each in CHORES if each.switch(policy) and each.finds(topology, server, policy)), None)


def enter_repair(context: Context) -> tuple[Step, ...]:
    """What has to be done is found anew: it may be done, or something else may be wrong by now."""
    server = context.topology.server(context.recovery.subject.key)
    return (Reprobe(key=server.key, deadline_s=REPROBE_S), *_steps(context, server))


def _steps(context: Context, server: Server) -> tuple[ServerStep, ...]:
    cluster = context.topology.clusters.get(context.recovery.cluster_id)
    wanted = due(context.topology, cluster, context.policy) if cluster is not None else ()
    return next((chore.steps(key) for key, chore, _ in wanted if key == server.key), ())


def leave_repair(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    key = recovery.subject.key
    broken = failures(outcomes)
    if broken:
        return recovery.with_errors(broken).ended(EndState.FAILED, now, broken[0])
    acted = [each for each in outcomes if each.key == key and not isinstance(each.step, Reprobe)]
    if not acted or succeeded(outcomes, Reprobe, key) is None:
        return recovery.ended(EndState.UNDONE, now, f"nothing was changed: {key} is as it should be")
    text = "; ".join(recovery.subject.evidence) or str(key)
    return replace(recovery, moved=(key,)).ended(EndState.SUCCEEDED, now, f"put right: {text}")


UPKEEP = Kind(
    "upkeep",
    "Put right what has drifted on one server while all is well",
    (Phase("repair", "Read it anew and put it right", enter_repair, leave_repair),),
    counts=False,
    of_primary=False,
    starts_period=False,
    urgency=0,
)
