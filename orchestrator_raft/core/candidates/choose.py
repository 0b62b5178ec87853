"""``choose``: which replica takes over, and why each other one does not.

Rules
- Data first. What a replica has is executed ∪ retrieved; the union over all replicas is what must be saved. A replica
  that holds all of it goes before any that does not, whatever people prefer; a preferred one that lacks some may still
  be named by a person, and then it first catches up from a holder.
- A transaction that was written on a replica itself and that no other server has, nor the failed one as last seen, is
  errant: nobody was promised it, so it neither counts as data to be saved nor makes its owner a better choice.
- Every refused server is reported with its reason; a verdict without a successor says what would have to change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.health import tells_full_disk
from orchestrator_raft.core.instance import PROMOTION_ORDER, Facts, InstanceKey, PromotionRule, ThreadState
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server

_FORMAT_RANK = {"STATEMENT": 0, "MIXED": 1, "ROW": 2}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One server that is not to be promoted, and why."""

    key: InstanceKey
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The choice. ``best`` is None when nobody is fit; then ``refused`` says why, server by server."""

    best: InstanceKey | None
    ranking: tuple[InstanceKey, ...] = ()
    refused: tuple[Refusal, ...] = ()
    compared: tuple[InstanceKey, ...] = ()
    """Servers whose transactions were compared, the best one among them."""
    needed: GtidSet | None = None
    """Everything that some replica has and that must be saved."""
    catch_up_from: InstanceKey | None = None
    """A server that can give what ``best`` lacks; None when it lacks nothing, or nobody can."""
    unsaved: GtidSet | None = None
    """What is needed and cannot be had: its owners have received it and cannot apply it, or do not log it."""

    @property
    def target(self) -> GtidSet | None:
        """What the successor can and has to have executed before it is opened for writes."""
        if self.needed is None or self.unsaved is None:
            return self.needed
        return self.needed.minus(self.unsaved)


def choose(
    failed: Server,
    candidates: Iterable[Server],
    policy: Policy,
    designated: InstanceKey | None = None,
    *,
    planned: bool = False,
    former: Iterable[Server] = (),
) -> Verdict:
    """Pick the successor of ``failed`` among ``candidates`` (its replicas, freshly probed, receivers stopped).

    ``planned``: the primary lives and replication runs, so the candidates will all have everything in a moment. Who is
    a transaction ahead just now says nothing; instead each has to replicate, and not too far behind.
    ``former``: servers that replicated from it before and are no candidates; what they have has to be saved as well.
    """
    no_candidates = tuple(former)
    every = tuple(server for server in (*candidates, *no_candidates) if server.key != failed.key)
    reasons = {server.key: _no_word(server, failed, every) for server in every}
    servers = tuple(server for server in every if not reasons[server.key])
    needed = data_to_save(servers, failed)
    refused = [Refusal(key, reason) for key, reason in reasons.items() if reason]
    fit: list[Server] = []
    for server in servers:
        reason = "it is no direct replica" if server in no_candidates else ""
        reason = reason or unfit(server, failed, policy, planned=planned) or _not_designated(server, designated)
        if reason:
            refused.append(Refusal(server.key, reason))
        else:
            fit.append(server)
    saving = None if planned else needed
    ranking = sorted(fit, key=lambda server: _rank(server, failed, servers, saving))
    if not ranking:
        return Verdict(best=None, refused=tuple(refused), needed=needed)
    best = ranking[0]
    refused.extend(Refusal(server.key, _beaten(server, best, saving)) for server in ranking[1:])
    holder, unsaved = _holder(servers, best, saving)
    return Verdict(
        best=best.key,
        ranking=tuple(server.key for server in ranking),
        refused=tuple(refused),
        compared=tuple(sorted(server.key for server in servers)),
        needed=needed,
        catch_up_from=holder,
        unsaved=unsaved,
    )


def _no_word(server: Server, failed: Server, every: tuple[Server, ...]) -> str:
    """Why a server is left out altogether: neither chosen nor counted when it comes to what has to be saved."""
    if server.stale is not None:
        return "it is a stale primary or in quarantine"
    facts = [each.facts for each in (failed, *every) if each.facts is not None]
    if server.facts is not None and server.facts.flavor is not facts[0].flavor:
        return "it speaks another dialect"
    return ""


def data_to_save(servers: tuple[Server, ...], failed: Server) -> GtidSet | None:
    """Union of what the reachable replicas have, without errant transactions; None without any GTID set."""
    cleaned = [
        server.fresh.received.minus(errant(server.fresh, _sets_of_others(server, servers, failed)))
        for server in servers
        if server.fresh is not None and server.fresh.received is not None
    ]
    return reduce(lambda one, other: one.union(other), cleaned) if cleaned else None


def _sets_of_others(server: Server, servers: tuple[Server, ...], failed: Server) -> list[GtidSet]:
    """What the other replicas have, and what the failed primary had when it was last seen."""
    received = [other.fresh.received for other in servers if other.key != server.key and other.fresh]
    last_seen = failed.facts.executed if failed.facts is not None else None
    return [each for each in (*received, last_seen) if each is not None]


def errant(facts: Facts, others: Iterable[GtidSet]) -> GtidSet:
    """Transactions written on this server itself that none of ``others`` has. Requires a GTID set in ``facts``."""
    alone = facts.received
    if alone is None:
        raise ValueError(f"{facts.key} has no GTID set")
    for other in others:
        alone = alone.minus(other)
    return alone.only_from(alone.sources_of_server(server_uuid=facts.server_uuid, server_id=facts.server_id))


def holds_all(server: Server, needed: GtidSet | None) -> bool:
    received = server.fresh.received if server.fresh else None
    return needed is None or (received is not None and received.covers(needed))


def unfit(server: Server, failed: Server, policy: Policy, *, planned: bool = False, by_position: bool = False) -> str:
    """Why this server must not be promoted; empty when it may be. ``by_position``: it need not have GTIDs."""
    facts = server.fresh
    if facts is None:
        return "it does not answer"
    late = _cannot_catch_up(facts, policy) if planned else _is_late(facts, policy)
    cannot = _cannot_serve(facts, by_position=by_position) or _disk_trouble(server, facts, policy)
    return cannot or server.in_maintenance or _must_not(server, facts, failed, policy) or late


def _disk_trouble(server: Server, facts: Facts, policy: Policy) -> str:
    """It could write no better than the one it would replace."""
    errors = (error for channel in facts.channels for error in (channel.receiver_error, channel.applier_error))
    if any(tells_full_disk(error) for error in errors):
        return "its disk is full"
    stall_s = server.observation.stall_s if server.observation is not None else 0.0
    return f"its disk has finished nothing for {stall_s:.0f} s" if stall_s > policy.stall_s else ""


def _cannot_catch_up(facts: Facts, policy: Policy) -> str:
    """While writes are refused there is no time for this one."""
    if facts.channel is None or not facts.channel.replicates:
        return "it does not replicate now"
    if facts.lag_s is not None and facts.lag_s > policy.lag_maintenance_s:
        return f"it lags {facts.lag_s:g} s, more than ReasonableMaintenanceReplicationLagSeconds allows"
    return ""


def _is_late(facts: Facts, policy: Policy) -> str:
    """People do not want to wait for this one when the primary is dead."""
    limit, lag = policy.fail_promotion_on_lag_s, facts.lag_s
    if limit > 0 and lag is not None and lag >= limit:
        return f"it lags {lag:g} s (FailMasterPromotionOnLagMinutes)"
    if policy.fail_promotion_if_behind and backlog(facts) > 0:
        return "its applier has not caught up (FailMasterPromotionIfSQLThreadNotUpToDate)"
    return ""


def _cannot_serve(facts: Facts, *, by_position: bool) -> str:
    channel = facts.channel
    if channel is None or len(facts.channels) > 1:
        return "it replicates over several channels" if facts.channels else "it is no replica"
    is_stopped = channel.applier is not ThreadState.RUNNING
    is_behind = is_stopped and backlog(facts) > 0
    checks = (
        (not facts.can_be_source, "it has no binary log of what it replicates (log_bin, log_replica_updates)"),
        (facts.executed is None and not by_position, "it has no GTIDs, so it cannot be compared with the others"),
        (channel.has_filters, "it has replication filters, so it lacks data that its GTIDs do not show"),
        (channel.delay_s > 0, "it is delayed on purpose"),
        (is_stopped and channel.applier_error_number != 0, f"its applier is broken: {channel.applier_error}"),
        (is_behind and not by_position, "its applier is stopped and has not applied all that was received"),
    )
    return next((reason for holds, reason in checks if holds), "")


def _must_not(server: Server, facts: Facts, failed: Server, policy: Policy) -> str:
    here, there = facts.location, failed.facts.location if failed.facts else facts.location
    checks = (
        (facts.promotion_rule is PromotionRule.MUST_NOT, "its promotion rule is must_not"),
        (policy.promotion_ignore.match(server.key), "PromotionIgnoreHostnameFilters matches it"),
        (
            policy.prevent_cross_data_center and here.data_center != there.data_center,
            f"it is in {here.data_center!r}, not {there.data_center!r} (PreventCrossDataCenterMasterFailover)",
        ),
        (
            policy.prevent_cross_region and here.region != there.region,
            f"it is in {here.region!r}, not {there.region!r} (PreventCrossRegionMasterFailover)",
        ),
    )
    return next((reason for holds, reason in checks if holds), "")


def backlog(facts: Facts) -> int:
    """Transactions that were received and not yet applied."""
    if facts.received is None or facts.executed is None:
        return 0
    return facts.received.minus(facts.executed).count()


def _not_designated(server: Server, designated: InstanceKey | None) -> str:
    return f"{designated} was asked for" if designated is not None and server.key != designated else ""


def _rank(server: Server, failed: Server, servers: tuple[Server, ...], needed: GtidSet | None) -> tuple[object, ...]:
    """Smaller is better; the last element makes the order total."""
    facts = server.facts
    if facts is None:
        raise ValueError(f"{server.key} was ranked without facts")
    others = [other.facts for other in servers if other.key != server.key and other.fresh and other.facts]
    cut_off = sum(1 for other in others if not can_replicate_from(other, facts))
    own = errant(facts, _sets_of_others(server, servers, failed)) if facts.received is not None else None
    same_place = failed.facts is not None and facts.location == failed.facts.location
    return (
        not holds_all(server, needed),
        bool(own),
        cut_off,
        PROMOTION_ORDER[facts.promotion_rule],
        not same_place,
        backlog(facts),
        server.key,
    )


def can_replicate_from(replica: Facts, source: Facts) -> bool:
    """Version and binary log format allow ``replica`` to read what ``source`` writes."""
    if replica.flavor is not source.flavor or replica.major_version < source.major_version:
        return False
    return _FORMAT_RANK.get(replica.binlog.format, 2) >= _FORMAT_RANK.get(source.binlog.format, 2)


def _beaten(server: Server, best: Server, needed: GtidSet | None) -> str:
    if holds_all(best, needed) and not holds_all(server, needed):
        return f"{best.key} has transactions that it lacks"
    return f"{best.key} is preferred"


def _can_give(facts: Facts) -> GtidSet | None:
    """What others can fetch from this server: what its binary log holds, or will when its applier is through."""
    channel = facts.channel
    if not facts.can_be_source or (channel is not None and channel.has_filters):
        return None
    drains = channel is not None and channel.applier is ThreadState.RUNNING and channel.delay_s == 0
    return facts.received if drains else facts.executed


def _holder(
    servers: tuple[Server, ...], best: Server, needed: GtidSet | None
) -> tuple[InstanceKey | None, GtidSet | None]:
    """The server that can give most of what ``best`` lacks, and what nobody can give."""
    if needed is None or best.fresh is None or best.fresh.received is None:
        return None, None
    lacking = needed.minus(best.fresh.received)
    givable = [(server.key, _can_give(server.fresh)) for server in servers if server.key != best.key and server.fresh]
    offers = [(lacking.intersection(gtids), key) for key, gtids in givable if gtids is not None]
    offer, holder = min(offers, key=lambda each: (-each[0].count(), each[1]), default=(None, None))
    if offer is None or offer.is_empty:
        return None, lacking
    return holder, lacking.minus(offer)
