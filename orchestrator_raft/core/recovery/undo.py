"""Taking a change of primary back: the old primary is opened again, and everybody follows it as before.

Theory. Before the promotion began nothing but the old primary was touched, so ``undo`` opens it and that is all. After
that the successor may take writes although nobody heard of its success, and servers may follow it; then ``revoke``
comes first. Its aim: nobody but the old primary takes writes, and the old primary gets whatever the successor may have
acknowledged. A successor that answers is shut and read, and has it all. One that does not answer goes on the stale
list; its followers, the old primary among them, are its possible ackers: when n-k+1 of them are stopped and read, one
of them has it. What the old primary lacks it fetches from whoever has it before it is opened, and only then does
``restore`` put the others below it again.

An old primary that is gone cannot be opened, so the successor is promoted after all. But a restart may have opened the
old one for a while, so this takes what a failover takes: enough of its possible ackers stopped and read, none of
which has anything that the successor lacks. Otherwise it ends, and a failover begins with what is there.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.candidates import is_by_position, missing_ackers, possible_ackers
from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.policy import LossPolicy
from orchestrator_raft.core.recovery.ending import unsuccessful
from orchestrator_raft.core.recovery.event_scheduler import switched
from orchestrator_raft.core.recovery.losses import is_loss_accepted, target_text, too_long
from orchestrator_raft.core.recovery.machine import Context, Phase
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.promotion import RETRY_PAUSE_S, listed
from orchestrator_raft.core.recovery.steps import (
    Fence,
    Outcomes,
    Pause,
    PointTo,
    Reprobe,
    ResetReplication,
    SetReadOnly,
    SetSemiSync,
    SetWritable,
    StartReplication,
    Step,
    StopReceiver,
    StopReplication,
    WaitApplied,
    failures,
    succeeded,
)
from orchestrator_raft.core.topology import Server

UNDO_ATTEMPTS_MAX = 8
RESTORE_ATTEMPTS_MAX = 4
REVOKE_WAIT_MS = 10_000
"""How long the old primary is kept read-only because a successor cannot be shut, before people are called."""
PROMOTIONS_MAX = 3
CATCH_UP_S = 5.0
UNDOING = "undoing"
OPENED = "opened again"
KEPT_CLOSED = "kept closed"
PRIMARY_LOST = "primary lost"


def undo(recovery: Recovery, now_ms: int, reason: str) -> Recovery:
    """Nothing but the old primary was touched: open it again."""
    began = replace(recovery, attempt=1, stale=_others_stale(recovery)).with_errors((reason,))
    return began.marked(UNDOING, now_ms, reason).goto("undo", now_ms)


def _others_stale(recovery: Recovery) -> tuple[InstanceKey, ...]:
    """The stale servers without the old primary, which is the primary again."""
    return tuple(each for each in recovery.stale if each != recovery.subject.key)


def revoke(recovery: Recovery, now_ms: int, reason: str) -> Recovery:
    """The promotion was begun: first make sure that the successor takes no writes."""
    began = replace(recovery, attempt=1).with_errors((reason,)).marked(UNDOING, now_ms, reason)
    return began.goto("revoke", now_ms)


def _pause(recovery: Recovery) -> tuple[Step, ...]:
    return (Pause(deadline_s=RETRY_PAUSE_S),) if recovery.attempt > 1 else ()


# -- revoke


def enter_revoke(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    successor = recovery.successor
    if successor is None:
        return ()
    steps: list[Step] = [Reprobe(key=successor), Fence(key=successor)]
    steps += [StopReceiver(key=successor), Reprobe(key=successor)]
    for server in _possible_ackers(context):
        if server.fresh is not None and server.fresh.is_writable:
            steps += [Reprobe(key=server.key), Fence(key=server.key)]
        steps += [StopReceiver(key=server.key), Reprobe(key=server.key)]
    return (*_pause(recovery), *steps)


def _possible_ackers(context: Context) -> tuple[Server, ...]:
    """Whoever may have followed the successor: the other replicas, and the old primary."""
    recovery, servers = context.recovery, context.topology.servers
    keys = [key for key in (recovery.subject.key, *recovery.followers) if key != recovery.successor]
    return tuple(servers[key] for key in keys if key in servers)


def leave_revoke(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    successor = recovery.successor
    if successor is None:
        return undo(recovery, now, "no successor is recorded")
    is_shut = succeeded(outcomes, Fence, successor) is not None and _received(outcomes, successor) is not None
    primary_answers = succeeded(outcomes, Reprobe, recovery.subject.key) is not None
    if is_shut and not primary_answers and recovery.count_marks(UNDOING) < PROMOTIONS_MAX:
        return _promoted_after_all(context, recovery, outcomes)
    question = "" if is_shut else _open_question(context, outcomes)
    if question and now - _began_ms(recovery) < REVOKE_WAIT_MS:
        return replace(recovery, attempt=recovery.attempt + 1).goto("revoke", now)
    others = {each for each in _others_stale(recovery) if each != successor}
    recovery = replace(recovery, stale=tuple(sorted(others if is_shut else {*others, successor})))
    if question:
        kept_closed = replace(recovery, attempt=1).with_errors((question,)).marked(KEPT_CLOSED, now, question)
        return kept_closed.goto("restore", now)
    found = _with_holder(context, recovery, outcomes)
    return found.goto("restore" if found.mark_time(KEPT_CLOSED) is not None else "undo", now)


def _promoted_after_all(context: Context, recovery: Recovery, outcomes: Outcomes) -> Recovery:
    """The successor is shut and the old primary gone: promote it, unless that could lose what the old one took."""
    key, successor, now = recovery.subject.key, recovery.successor, context.now_ms
    missing, lacking = ("", "") if recovery.kind != "takeover" else _could_lose(context, outcomes)
    if missing and now - _began_ms(recovery) < REVOKE_WAIT_MS:
        return replace(recovery, attempt=recovery.attempt + 1).goto("revoke", now)
    if missing or lacking:
        text = f"{key} was lost, and {successor} is not promoted: {missing or lacking}; dead, {key} is failed over"
        others = tuple(each for each in _others_stale(recovery) if each != successor)
        lost = replace(recovery, attempt=1, stale=others).with_errors((text,))
        return lost.marked(PRIMARY_LOST, now, text).goto("restore", now)
    text = f"{key} does not answer any more, so {successor} is promoted after all"
    return listed(replace(recovery.with_errors((text,)), attempt=1), now, text).goto("promote", now)


def _could_lose(context: Context, outcomes: Outcomes) -> tuple[str, str]:
    """Who may have acknowledged something and does not answer, and what others have that the successor lacks."""
    recovery, successor = context.recovery, context.recovery.successor
    has = _received(outcomes, successor) if successor is not None else None
    if has is None or is_loss_accepted(context, semi_sync=recovery.promised or recovery.lapsed):
        return "", ""
    lacking = ""
    for key in recovery.subject.replicas:
        read = succeeded(outcomes, Reprobe, key)
        received = _received(outcomes, key)
        if key == successor or read is None or read.facts is None or received is None:
            continue
        own = received.sources_of_server(server_uuid=read.facts.server_uuid, server_id=read.facts.server_id)
        more = received.minus(has).without_sources(own)
        lacking = lacking or (f"{key} has {more.describe(200)}, which it lacks" if more else "")
    cluster = context.topology.clusters.get(recovery.cluster_id)
    if cluster is None or not (recovery.promised or recovery.lapsed):
        return "", lacking
    ackers = [key for key in possible_ackers(context.topology, cluster.record) if key != recovery.subject.key]
    read_keys = [key for key in ackers if _received(outcomes, key) is not None]
    silent = ", ".join(str(key) for key in missing_ackers(ackers, recovery.wait_for_replica_count, read_keys))
    return (f"{silent} may have acknowledged its writes and does not answer" if silent else ""), lacking


def _began_ms(recovery: Recovery) -> int:
    began_ms = max((mark.at_ms for mark in recovery.timeline if mark.name == UNDOING), default=recovery.started_ms)
    return max(began_ms, recovery.resumed_ms)


def _open_question(context: Context, outcomes: Outcomes) -> str:
    """Why the old primary must not be opened while the successor is not shut; empty when it may be."""
    recovery = context.recovery
    successor = context.topology.servers.get(recovery.successor) if recovery.successor is not None else None
    if successor is not None and successor.reached:
        why = "; ".join(failures(outcomes)) or "without GTIDs nobody can tell what it took"
        return (
            f"{successor.key} may take writes and could not be shut ({why}), so "
            f"{recovery.subject.key} is kept read-only: make one of them the only writable one by hand"
        )
    if context.policy.loss_policy(recovery.promised) is LossPolicy.ANY:
        return ""
    ackers = [server.key for server in _possible_ackers(context)]
    missing = missing_ackers(
        ackers, recovery.wait_for_replica_count, [key for key in ackers if _received(outcomes, key)]
    )
    if not missing:
        return ""
    names = ", ".join(str(key) for key in missing)
    return (
        f"{recovery.successor} may have acknowledged writes and does not answer, nor do {names}, which may have them: "
        f"{recovery.subject.key} is kept read-only; bring one of them back and fail over (raftctl failover)"
    )


def _received(outcomes: Outcomes, key: InstanceKey) -> GtidSet | None:
    read = succeeded(outcomes, Reprobe, key)
    return read.facts.received if read is not None and read.facts is not None else None


def _with_holder(context: Context, recovery: Recovery, outcomes: Outcomes) -> Recovery:
    """Note what the old primary lacks, and who has most of it."""
    own = _received(outcomes, recovery.subject.key)
    if own is None:
        return replace(recovery, attempt=1)
    offers = []
    for key in (recovery.successor, *recovery.followers):
        read = succeeded(outcomes, Reprobe, key) if key is not None else None
        if read is None or read.facts is None or read.facts.received is None or key == recovery.subject.key:
            continue
        lacking = read.facts.received.minus(own)
        if key != recovery.successor:  # what a replica wrote itself was promised to nobody
            sources = lacking.sources_of_server(server_uuid=read.facts.server_uuid, server_id=read.facts.server_id)
            lacking = lacking.without_sources(sources)
        if lacking:
            offers.append((-lacking.count(), key, own.union(lacking)))
    if not offers:
        return replace(recovery, attempt=1)
    _, holder, target = min(offers, key=lambda offer: offer[:2])
    read = succeeded(outcomes, Reprobe, recovery.subject.key)
    text = target_text(target, (read.facts if read is not None else None,))
    if text is None:
        why = f"{recovery.subject.key} lacks transactions that {holder} has, and is kept read-only: {too_long(target)}"
        return replace(recovery, attempt=1).with_errors((why,)).marked(KEPT_CLOSED, context.now_ms, why)
    return replace(recovery, attempt=1, catch_up_from=holder, target_gtids=text)


# -- undo


def enter_undo(context: Context) -> tuple[Step, ...]:
    """The old primary takes writes again, after it has fetched what it lacks."""
    recovery = context.recovery
    key = recovery.subject.key
    final: Step = SetWritable(key=key) if recovery.reopen else SetReadOnly(key=key)
    after = switched(context, key, on=True)
    if not _was_moved(recovery):
        return (*_pause(recovery), final, *after)
    own: list[Step] = []
    primary = context.topology.server(key)
    if recovery.catch_up_from is not None and not (primary.fresh and primary.fresh.is_writable):
        others = recovery.subject.replicas
        own += [
            PointTo(key=key, source=recovery.catch_up_from, credentials_from=others, was_primary=True),
            WaitApplied(key=key, gtids=recovery.target_gtids, deadline_s=CATCH_UP_S),
        ]
    own += [StopReplication(key=key), ResetReplication(key=key)]
    if recovery.semi_sync:
        count = recovery.wait_for_replica_count or None
        own.append(SetSemiSync(key=key, source_enabled=True, wait_for_replica_count=count))
    return (*_pause(recovery), *own, final, *after)


def _was_moved(recovery: Recovery) -> bool:
    """The promotion was begun, so anybody may be pointed anywhere."""
    return recovery.mark_time("caught up") is not None or recovery.kind == "dead_primary"


def leave_undo(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    key = recovery.subject.key
    recovery = recovery.with_errors(failures(outcomes))
    if succeeded(outcomes, SetWritable if recovery.reopen else SetReadOnly, key) is not None:
        opened = replace(recovery, attempt=1, fenced=False).marked(OPENED, now, str(key))
        return opened.goto("restore", now) if _was_moved(recovery) else _ended(context, opened)
    if recovery.attempt < UNDO_ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).goto("undo", now)
    recovery = replace(recovery, attempt=1)
    return recovery.goto("restore", now) if _was_moved(recovery) else _ended(context, recovery)


def _ended(context: Context, recovery: Recovery) -> Recovery:
    key = recovery.subject.key
    lost = next((mark.text for mark in reversed(recovery.timeline) if mark.name == PRIMARY_LOST), "")
    if lost:
        return unsuccessful(context, replace(recovery, successor=None), EndState.FAILED, lost)
    if recovery.mark_time(OPENED) is None:
        text = (
            f"{key} is read-only and could not be opened again: set it writable by hand (raftctl set-writeable {key})"
        )
        text = next((mark.text for mark in recovery.timeline if mark.name == KEPT_CLOSED), text)
        return unsuccessful(context, recovery.with_errors((text,)), EndState.ABANDONED, text)
    reason = next((mark.text for mark in reversed(recovery.timeline) if mark.name == UNDOING), "")
    restored = replace(recovery, successor=None, moved=tuple(sorted({*recovery.moved, key})))
    end = EndState.UNDONE if recovery.kind == "takeover" else EndState.FAILED
    return unsuccessful(context, restored, end, f"{key} is the primary as before: {reason}")


# -- restore


def enter_restore(context: Context) -> tuple[Step, ...]:
    """Everybody below the old primary again; the successor, which was shut, as a replica like before.

    This is done also where the old primary stays closed: so it can be opened, or failed over, by hand.
    """
    recovery, servers = context.recovery, context.topology.servers
    steps: list[Step] = []
    if {OPENED, PRIMARY_LOST}.isdisjoint(mark.name for mark in recovery.timeline) and recovery.attempt == 1:
        steps += [StopReplication(key=recovery.subject.key), ResetReplication(key=recovery.subject.key)]
    for key in _to_restore(recovery):
        if key in servers and servers[key].reached:
            steps += _back(recovery, servers[key])
    return (*_pause(recovery), *steps)


def _to_restore(recovery: Recovery) -> tuple[InstanceKey, ...]:
    done = {*recovery.stale, *recovery.moved}
    return tuple(key for key in recovery.subject.replicas if key not in done)


def _back(recovery: Recovery, server: Server) -> tuple[Step, ...]:
    key = server.key
    if server.source == recovery.subject.key and is_by_position((server,)):
        return (StartReplication(key=key),)  # it was never pointed anywhere else
    is_successor = key == recovery.successor
    point = PointTo(
        key=key,
        source=recovery.subject.key,
        options=recovery.channel_options if is_successor else (),
        credentials_from=tuple(each for each in recovery.subject.replicas if each != key),
        was_primary=is_successor,
    )
    if is_successor:
        return (SetSemiSync(key=key, source_enabled=False), point) if recovery.semi_sync else (point,)
    drain = WaitApplied(key=key, deadline_s=CATCH_UP_S)
    return (drain, point) if recovery.attempt == 1 and recovery.mark_time(OPENED) is None else (point,)


def leave_restore(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    back = {each.step.key for each in outcomes if each.ok and isinstance(each.step, (PointTo, StartReplication))}
    recovery = replace(recovery, moved=tuple(sorted({*recovery.moved, *back}))).with_errors(failures(outcomes))
    missing = _to_restore(recovery)
    if missing and recovery.attempt < RESTORE_ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).goto("restore", now)
    return _ended(context, replace(recovery, lost=missing))


REVOKE = Phase("revoke", "Shut the successor, and see what it may have acknowledged", enter_revoke, leave_revoke)
UNDO = Phase("undo", "Open the old primary again", enter_undo, leave_undo)
RESTORE = Phase("restore", "Put the others below the old primary again", enter_restore, leave_restore)
