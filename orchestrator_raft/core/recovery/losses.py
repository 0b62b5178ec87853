"""What a change of primary may lose, and what it does lose (design D4).

Theory. When the receivers of n-k+1 of the n possible ackers have been stopped and read, whatever the primary had
acknowledged is held by one of them. If the successor is lost while it is promoted, two things have to be known again:
that those who are left hold everything that had to be saved with the first choice; and that nothing which the lost
successor may have acknowledged in the meantime is missing, for which its own possible ackers, the followers, count.
A replica with replication filters cannot give others what it has received, so it answers for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

from orchestrator_raft.core.candidates import Verdict, is_lapsed, missing_ackers, possible_ackers, promised
from orchestrator_raft.core.gtid import GtidSet, parse
from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.policy import LossPolicy
from orchestrator_raft.core.recovery.machine import Context
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.topology import ClusterRecord, Server

GTIDS_RECORDED_MAX = 8192
TARGET_RECORDED_MAX = 65_536
CHOSEN = "chosen"


def as_found(recovery: Recovery, cluster: ClusterRecord, primary: Facts | None) -> Recovery:
    """Note at the claim what the primary is like: once something was done to it nobody could tell any more."""
    found = promised(cluster, primary)
    if primary is None:
        return replace(recovery, unpromised_because=found.because)
    return replace(
        recovery,
        semi_sync=primary.semi_sync.source_enabled,
        wait_for_replica_count=primary.semi_sync.wait_for_replica_count,
        promised=found.holds,
        unpromised_because=found.because,
        lapsed=is_lapsed(cluster, primary),
        event_scheduler=primary.settings.event_scheduler is True,
        reopen=primary.is_writable,
    )


def is_loss_accepted(context: Context, *, semi_sync: bool) -> bool:
    """The policy, or whoever asked for it, lets this recovery lose transactions; of ``semi_sync`` if they are such that
    clients were told they are safe."""
    return context.recovery.request.accept_loss or context.policy.loss_policy(semi_sync) is LossPolicy.ANY


@dataclass(frozen=True, slots=True)
class Risk:
    """What a promotion now could lose, and what to do about it."""

    text: str
    advice: str = ""
    semi_sync: bool = False
    """Semi-sync acknowledged what could be lost; otherwise nobody said that it is anywhere else."""

    @property
    def as_obstacle(self) -> str:
        return f"{self.text}: {self.advice}" if self.advice else self.text


def with_risk(recovery: Recovery, risk: Risk | None, now_ms: int) -> Recovery:
    """A promotion in spite of ``risk`` says so in its record; where semi-sync is on, people count on the opposite."""
    if risk is None:
        return recovery
    marked = recovery.marked("may lose", now_ms, risk.text)
    if recovery.request.accept_loss:
        marked = marked.marked("loss accepted", now_ms, f"by {recovery.request.by}: {risk.text}")
    return marked.with_errors((f"acknowledged writes may be lost: {risk.text}",)) if recovery.semi_sync else marked


def how_to_accept(recovery: Recovery) -> str:
    """The command with which a person decides that a primary without these transactions is better than none."""
    subject = recovery.subject
    name = subject.cluster_alias or subject.cluster_name or subject.key
    return f"accept the loss: raftctl failover {name} --accept-loss"


def loss_risk(context: Context, frozen: tuple[Server, ...]) -> Risk | None:
    """Why a promotion now could lose an acknowledged transaction; None when it could not.

    Where semi-sync was in force, its ackers have to answer even if the promise as a whole did not hold yet: what is
    accepted by default is to lose what was acknowledged without semi-sync, and nothing else.
    """
    recovery = context.recovery
    if recovery.promised or recovery.lapsed:
        risk = _semi_sync_risk(context, frozen)
        if risk is not None or recovery.promised:
            return risk
    text = f"replicas need not have every write that {recovery.subject.key} acknowledged"
    advice = f"bring {recovery.subject.key} back, or {how_to_accept(recovery)}"
    return Risk(f"{text}, because {recovery.unpromised_because}", advice)


def _semi_sync_risk(context: Context, frozen: tuple[Server, ...]) -> Risk | None:
    recovery = context.recovery
    lacking = _lacking(recovery, frozen)
    if lacking:
        lost = ", ".join(str(each.key) for each in recovery.refused if each.key not in {s.key for s in frozen})
        text = f"only {lost or 'a replica that is gone'} had {lacking.describe(200)}"
        return Risk(text, f"bring it back, or {how_to_accept(recovery)}", semi_sync=True)
    missing = missing_ackers(_ackers(context), recovery.wait_for_replica_count, _answering(frozen))
    if not missing:
        return None
    names = ", ".join(str(key) for key in missing)
    return Risk(
        f"{names} may have acknowledged transactions that nobody else has, and does not answer",
        f"bring it back, or {how_to_accept(recovery)}",
        semi_sync=True,
    )


def _ackers(context: Context) -> tuple[InstanceKey, ...]:
    """Possible ackers of the failed primary; of a lost successor, those of them that were told to follow it."""
    recovery = context.recovery
    cluster = context.topology.clusters.get(recovery.cluster_id)
    ackers = possible_ackers(context.topology, cluster.record) if cluster is not None else recovery.subject.replicas
    if recovery.mark_time(CHOSEN) is None:
        return ackers
    return tuple(key for key in ackers if key in recovery.followers and key not in recovery.stale)


def _answering(frozen: tuple[Server, ...]) -> set[InstanceKey]:
    """Servers that give an answer for what they may have acknowledged: it is compared, and others can have it."""
    return {server.key for server in frozen if server.stale is None and not _filters(server)}


def _filters(server: Server) -> bool:
    channel = server.channel
    return channel is not None and channel.has_filters


def _lacking(recovery: Recovery, frozen: tuple[Server, ...]) -> GtidSet | None:
    """What had to be saved with the first choice and is held by nobody who is left."""
    held = held_by(frozen)
    if not recovery.target_gtids or held is None:
        return None
    return parse(held.family, recovery.target_gtids).minus(held)


def held_by(servers: tuple[Server, ...]) -> GtidSet | None:
    """Everything that any of these servers has received; None without any GTID set."""
    sets = [server.fresh.received for server in servers if server.fresh is not None]
    known = [each for each in sets if each is not None and each.family == next(s.family for s in sets if s is not None)]
    return reduce(lambda one, other: one.union(other), known) if known else None


def lost_transactions(recovery: Recovery, failed: Server, best: Server, verdict: Verdict) -> str:
    """What somebody had and the successor will not have; nobody may have been promised it."""
    has = best.fresh.received if best.fresh else None
    if has is None or verdict.target is None:
        return ""
    had = verdict.needed.union(verdict.target) if verdict.needed is not None else verdict.target
    if failed.facts is not None and failed.facts.executed is not None:
        had = had.union(failed.facts.executed)
    if recovery.target_gtids:
        had = had.union(parse(had.family, recovery.target_gtids))
    lost = had.minus(has.union(verdict.target))
    return "" if lost.is_empty else recorded(lost)


def recorded(gtids: GtidSet) -> str:
    """The set for a record: in full where that is possible, else as much of it as fits, and how much there is."""
    text = str(gtids)
    return text if len(text) <= GTIDS_RECORDED_MAX else gtids.describe(GTIDS_RECORDED_MAX)


def target_text(target: GtidSet | None, compared: Iterable[Facts | None]) -> str | None:
    """What has to be executed, for a record; None where it is too long even so.

    A set that is too long is recorded without what every server that was compared has executed: none of them loses
    that any more, so waiting for the rest, and looking for who holds the rest, is the same.
    """
    text = str(target) if target is not None else ""
    if target is None or len(text) <= TARGET_RECORDED_MAX:
        return text
    text = str(without_common(target, compared))
    return text if len(text) <= TARGET_RECORDED_MAX else None


def without_common(target: GtidSet, compared: Iterable[Facts | None]) -> GtidSet:
    """``target`` without what each of them has executed."""
    executed = [facts.executed for facts in compared if facts is not None and facts.executed is not None]
    return target.minus(reduce(lambda one, other: one.intersection(other), executed)) if executed else target


def too_long(target: GtidSet | None) -> str:
    """What is said where ``target_text`` has no answer."""
    said = target.describe(200) if target is not None else "nothing"
    return f"what has to be saved is in too many pieces to be recorded: {said}"
