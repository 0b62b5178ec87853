"""Rebuild a server that is kept out by MySQL's CLONE plugin: all its data is replaced by a copy of a healthy replica's.

Theory. It destroys what only this server has, so either that was saved, or a person said that it may go; which of the
two is checked before the claim and again in here. Before anything is dropped, plugin, privileges and versions of both
servers are checked. From the beginning of the copy on the server's mark says that its data is unsound, so no return
attaches it, however this ends. Only a copy that the server itself calls whole takes that back: not the end of the
statement, since the server restarts in the middle of it, and not its GTIDs, which may outlive its data. Then it is like
any stale primary whose fence has to be renewed: its return attaches it.

It gives way to everything more urgent, which ends the copy; then the server has lost its data and is rebuilt again.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.instance import Flavor, InstanceKey
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.losses import recorded
from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.rejoin import extra_gtids
from orchestrator_raft.core.recovery.steps import (
    COPIED,
    COPYING,
    CheckClone,
    CloneFrom,
    Outcomes,
    Pause,
    ReadCopy,
    Reprobe,
    Step,
    failures,
    succeeded,
)
from orchestrator_raft.core.topology import Server, StaleStatus, Topology

CHECKED = "checked"
CHECK = "check"
CLONED = "cloned"
UNSOUND = "a copy of the data failed: rebuild it again"
CLOCKS_S = 15.0
"""A copy is this rebuild's if it began after the check, by the server's clock, with so much for the way there."""
WAIT_PAUSE_S = 2.0
WAIT_ATTEMPTS_MAX = 300
DEADLINE_MS = 24 * 3600_000


def obstacle(topology: Topology, key: InstanceKey, donor: InstanceKey | None, *, accept_loss: bool) -> str:
    """Why this server must not be rebuilt from that one; empty when it may."""
    server = topology.server(key)
    primary = topology.primary_of(server.cluster_id)
    if primary is None or primary.key == key:
        return f"{key} is the primary of its cluster"
    if server.stale is None or server.stale.status is not StaleStatus.QUARANTINED:
        return f"{key} is not in quarantine: only a server that is kept out is rebuilt"
    if server.fresh is None or primary.fresh is None:
        return f"{key if server.fresh is None else primary.key} does not answer"
    if server.replicas or server.fresh.group is not None:
        return f"{key} has replicas, or is a member of a replication group"
    if not accept_loss and not is_saved(server, primary):
        return (
            f"{key} holds transactions that {primary.key} lacks and that are not saved: raftctl save-lost-transactions "
            f"{key}, or accept the loss"
        )
    return _misfit(topology, server, donor)


def _misfit(topology: Topology, server: Server, donor: InstanceKey | None) -> str:
    if donor is None:
        return "no healthy replica of its version, on MySQL, can give its data"
    giver = topology.server(donor)
    if giver.cluster_id != server.cluster_id or giver.key == server.key or giver.stale is not None:
        return f"{donor} is no healthy member of this cluster"
    return "" if _fits(server, giver) else f"{donor} does not answer, or is of another make or series than {server.key}"


def is_saved(server: Server, primary: Server) -> bool:
    """It has nothing that its primary lacks, or exactly what it has extra now is in a file."""
    extra = extra_gtids(server, primary)
    if extra is None or extra.is_empty:
        return extra is not None
    saved = server.stale.saved if server.stale is not None else None
    return saved is not None and bool(saved.path) and not saved.problem and saved.wanted == recorded(extra)


def donor_for(topology: Topology, server: Server, policy: Policy) -> InstanceKey | None:
    """The replica that gives its data: one that lags least, never the primary, which has enough to do."""
    primary = topology.primary_of(server.cluster_id)
    replicas = topology.replicas_of(primary.key) if primary is not None else ()
    fit = [
        each
        for each in replicas
        if each.key != server.key and each.stale is None and not each.set_aside and _fits(server, each)
        and each.channel is not None and each.channel.replicates and each.channel.delay_s == 0
        and not policy.recovery_ignore.match(each.key)
    ]  # fmt: skip
    return min(fit, key=lambda each: (each.facts.lag_s or 0.0 if each.facts else 0.0, each.key)).key if fit else None


def _fits(server: Server, donor: Server) -> bool:
    mine, theirs = server.fresh, donor.fresh
    if mine is None or theirs is None or mine.flavor is not Flavor.MYSQL or theirs.flavor is not Flavor.MYSQL:
        return False
    if mine.major_version <= (8, 0):
        return mine.version == theirs.version
    return mine.major_version == theirs.major_version


def waiting(topology: Topology, cluster_id: str, policy: Policy) -> tuple[Server, ...]:
    """Quarantined servers of this cluster that may be rebuilt without asking anybody."""
    return tuple(
        server
        for server in topology.members(cluster_id)
        if not server.set_aside
        and not obstacle(topology, server.key, donor_for(topology, server, policy), accept_loss=False)
    )


# -- phases


def enter_check(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    primary = context.topology.primary_of(recovery.cluster_id)
    donor = recovery.request.designated
    if primary is None or donor is None:
        return ()
    key = recovery.subject.key
    return (
        Reprobe(key=key),
        CheckClone(key=key),
        Reprobe(key=donor),
        CheckClone(key=donor, as_donor=True),
        *((Reprobe(key=primary.key),) if primary.key != donor else ()),
    )


def leave_check(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    request, key = recovery.request, recovery.subject.key
    why_not = obstacle(context.topology, key, request.designated, accept_loss=request.accept_loss)
    broken = failures(outcomes) or ((why_not,) if why_not else ())
    if broken:
        text = f"nothing was changed: {broken[0]}"
        return recovery.with_errors(broken).ended(EndState.UNDONE, now, text)
    text = f"its data is replaced by a copy of {request.designated}'s"
    return recovery.marked(CHECKED, now, text).goto("clone", now)


def enter_clone(context: Context) -> tuple[Step, ...]:
    donor = context.recovery.request.designated
    return (CloneFrom(key=context.recovery.subject.key, donor=donor),) if donor is not None else ()


def leave_clone(context: Context, outcomes: Outcomes) -> Recovery:
    """However the statement ended: a restart ends it with a lost connection."""
    recovery = context.recovery.with_errors(failures(outcomes))
    return replace(recovery, attempt=1).marked(CLONED, context.now_ms).goto("wait", context.now_ms)


def enter_wait(context: Context) -> tuple[Step, ...]:
    recovery, primary = context.recovery, context.topology.primary_of(context.recovery.cluster_id)
    key, checked_ms = recovery.subject.key, recovery.mark_time(CHECKED) or recovery.started_ms
    within_s = (context.now_ms - checked_ms) / 1000 + CLOCKS_S
    of_primary = (Reprobe(key=primary.key),) if primary is not None else ()
    return (Pause(deadline_s=WAIT_PAUSE_S), Reprobe(key=key), ReadCopy(key=key, within_s=within_s), *of_primary)


def leave_wait(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    key = recovery.subject.key
    server, primary = context.topology.server(key), context.topology.primary_of(recovery.cluster_id)
    read = succeeded(outcomes, ReadCopy, key)
    if primary is None or read is None or read.detail == COPYING or not primary.reached:
        if recovery.attempt < WAIT_ATTEMPTS_MAX:
            return replace(recovery, attempt=recovery.attempt + 1).goto("wait", now)
        text = f"{key} does not say whether it has a whole copy: see that it runs, then rebuild it again"
        return recovery.with_errors((text,)).ended(EndState.FAILED, now, text)
    extra = extra_gtids(server, primary)
    if read.detail != COPIED or extra is None or not extra.is_empty:
        why = f" ({read.detail})" if read.detail != COPIED else ""
        text = f"the copy failed{why}, and {key} may have lost its data: rebuild it again"
        return recovery.with_errors((text,)).ended(EndState.FAILED, now, text)
    text = f"{key} has a copy of the data of {recovery.request.designated}"
    return replace(recovery, moved=(key,)).ended(EndState.SUCCEEDED, now, text)


REBUILD = Kind(
    "rebuild",
    "Replace the data of a server that is kept out by a copy of a healthy replica's (CLONE plugin)",
    (
        Phase(CHECK, "See that both servers can, and that nothing is lost", enter_check, leave_check),
        Phase("clone", "Copy", enter_clone, leave_clone),
        Phase("wait", "Wait until it is back, and see what it has", enter_wait, leave_wait),
    ),
    counts=False,
    of_primary=False,
    starts_period=False,
    urgency=0,
)
