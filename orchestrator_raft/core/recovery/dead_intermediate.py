"""Recovery of the replicas of an intermediate primary that is dead, or that none of them can reach.

Theory. Nobody's role changes and nobody takes writes who did not before, so this is safe as long as no replica loses
what it has. Everybody is read anew, then each replica goes to a source that has all it has (see ``relocation``); one
for which there is none stays where it is, and is reported. Nothing is stopped before its new source is known, so that
a replica out of reach meanwhile is not left stopped. A source that fails a replica is not tried again for it; the next
best one is, and in the end it is put back.

A failed server that answers, again or all along, keeps its replicas if they can reach it: their receivers are started
anew first, since after a restart of their source they may sit out the rest of a long retry period.

It gives way to a change of primary at once. What was being moved then is compared and attached like every replica that
missed one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from orchestrator_raft.core.instance import InstanceKey, ThreadState
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.ending import TELL, unsuccessful
from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import EndState, Move, Recovery, RefusedServer
from orchestrator_raft.core.recovery.promotion import REPOINT_DEADLINE_S, RETRY_PAUSE_S, hooks
from orchestrator_raft.core.recovery.relocation import group_mates, relocate
from orchestrator_raft.core.recovery.steps import (
    Outcomes,
    Pause,
    PointTo,
    Reprobe,
    StartReplication,
    Step,
    StopReceiver,
    failures,
    stopping,
    succeeded,
)
from orchestrator_raft.core.topology import Server, Topology

MOVE = "move"
"""The phase from whose beginning on replicas may replicate from other sources than before."""
REPROBE_S = 1.0
REPROBE_DEAD_S = 0.25
LISTEN_S = 1.0
LISTEN_ATTEMPTS_MAX = 3
LOOK_ATTEMPTS_MAX = 3
MOVE_ATTEMPTS_MAX = 6
MOVE_LIMIT_MS = 10_000
PUT_BACK_ATTEMPTS_MAX = 8
CHOSEN = "chosen"
UNREACHED = "its replicas cannot reach it"


def obstacle(topology: Topology, key: InstanceKey, policy: Policy) -> str:
    """Why nothing could be moved, by what was probed last; empty when something can."""
    failed = topology.servers.get(key)
    primary = topology.primary_of(failed.cluster_id) if failed is not None else None
    replicas = tuple(each for each in topology.replicas_of(key) if each.reached and each is not primary)
    if failed is None or not replicas:
        return f"no replica of {key} answers, so none can be moved"
    found = relocate(topology, failed, replicas, policy)
    if found.moves:
        return ""
    return "no replica can be moved: " + "; ".join(f"{each.key}: {each.reason}" for each in found.refused)


def orphans(context: Context) -> tuple[Server, ...]:
    """Replicas of the failed server, as recorded at the claim, that nobody has moved elsewhere since.

    The primary is none of them: one that replicates from a dead co-primary goes on waiting for it.
    """
    recovery, servers = context.recovery, context.topology.servers
    primary = context.topology.primary_of(recovery.cluster_id)
    known = [servers[key] for key in recovery.subject.replicas if key in servers and servers[key] is not primary]
    return tuple(each for each in known if each.source == recovery.subject.key and each.stale is None)


def _pause(recovery: Recovery) -> tuple[Step, ...]:
    return (Pause(deadline_s=RETRY_PAUSE_S),) if recovery.attempt > 1 else ()


def enter_begin(context: Context) -> tuple[Step, ...]:
    return hooks(context, "OnFailureDetectionProcesses", "PreFailoverProcesses", fail_stop=True)


def leave_begin(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    broken = stopping(outcomes)
    if broken:
        text = f"a hook said no, nothing was changed: {broken[0]}"
        return unsuccessful(context, recovery.with_errors(broken), EndState.FAILED, text)
    recovery = recovery.with_errors(failures(outcomes))
    recovery = replace(recovery, kept_stopped=tuple(each.key for each in orphans(context) if _is_stopped(each)))
    if context.topology.server(recovery.subject.key).reached:
        return _knock(recovery, now)
    return recovery.goto("look", now)


def _is_stopped(server: Server) -> bool:
    """Somebody stopped its replication, and that stays so wherever it is moved."""
    return server.reached and server.channel is not None and server.channel.stopped_on_purpose


def _knock(recovery: Recovery, now_ms: int) -> Recovery:
    return replace(recovery, attempt=1).marked(UNREACHED, now_ms).goto("knock", now_ms)


# -- the failed server answers us, its replicas do not reach it


def enter_knock(context: Context) -> tuple[Step, ...]:
    found = [each for each in orphans(context) if each.reached and each.key not in context.recovery.kept_stopped]
    return tuple(step for each in found for step in (StopReceiver(key=each.key), StartReplication(key=each.key)))


def leave_knock(context: Context, outcomes: Outcomes) -> Recovery:
    return context.recovery.with_errors(failures(outcomes)).goto("listen", context.now_ms)


def enter_listen(context: Context) -> tuple[Step, ...]:
    keys = (context.recovery.subject.key, *(each.key for each in orphans(context) if each.reached))
    return (Pause(deadline_s=LISTEN_S), *(Reprobe(key=key, deadline_s=REPROBE_S) for key in keys))


def leave_listen(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    reaching = [each for each in orphans(context) if each.reached and _receives(each)]
    if reaching:
        names = ", ".join(str(each.key) for each in reaching)
        text = f"nothing was moved: {recovery.subject.key} answers, and {names} reach it again"
        return unsuccessful(context, recovery, EndState.UNDONE, text)
    if recovery.attempt < LISTEN_ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).goto("listen", now)
    return replace(recovery, attempt=1).goto("look", now)


def _receives(server: Server) -> bool:
    return server.channel is not None and server.channel.receiver is ThreadState.RUNNING


# -- stop, read, decide


def enter_look(context: Context) -> tuple[Step, ...]:
    recovery, topology = context.recovery, context.topology
    failed = topology.server(recovery.subject.key)
    steps: list[Step] = [Reprobe(key=failed.key, deadline_s=REPROBE_DEAD_S, required=False)]
    for each in orphans(context):
        steps.append(Reprobe(key=each.key, deadline_s=REPROBE_S, required=each.reached))
    siblings = topology.replicas_of(failed.source) if failed.source is not None else ()
    above = (topology.server(key) for key in topology.ancestors(failed.key))
    named = {failed.key, *recovery.subject.replicas}
    near = (*siblings, *group_mates(topology, failed), *above)
    targets = [each.key for each in near if each.reached and each.key not in named]
    return (*_pause(recovery), *steps, *(Reprobe(key=key, deadline_s=REPROBE_S) for key in dict.fromkeys(targets)))


def leave_look(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    failed = context.topology.server(recovery.subject.key)
    if failed.reached and recovery.mark_time(UNREACHED) is None:
        return _knock(recovery, now)
    read = tuple(each for each in orphans(context) if each.reached and succeeded(outcomes, Reprobe, each.key))
    if not read and recovery.attempt < LOOK_ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).with_errors(failures(outcomes)).goto("look", now)
    found = relocate(context.topology, failed, read, context.policy)
    silent = tuple(
        RefusedServer(each.key, "it could not be read: " + _complaint(outcomes, each.key))
        for each in orphans(context)
        if each not in read
    )
    recovery = replace(recovery, refused=(*silent, *found.refused), moves=found.moves, attempt=1)
    if not found.moves:
        return put_back(recovery, now, _reasons(recovery))
    recovery = replace(recovery, successor=_most_chosen(found.moves))
    return recovery.marked(CHOSEN, now, str(recovery.successor)).goto(MOVE, now)


def _complaint(outcomes: Outcomes, key: InstanceKey) -> str:
    return next((each.detail for each in outcomes if each.key == key and not each.ok), "it does not answer")


def _reasons(recovery: Recovery) -> str:
    reasons = "; ".join(f"{each.key}: {each.reason}" for each in recovery.refused) or "there is none left"
    return f"no replica of {recovery.subject.key} can be moved: {reasons}"


def _most_chosen(moves: tuple[Move, ...]) -> InstanceKey | None:
    counted = Counter(move.source for move in moves)
    return min(counted, key=lambda key: (-counted[key], key), default=None)


# -- move


def _left(recovery: Recovery) -> tuple[Move, ...]:
    return tuple(move for move in recovery.moves if move.key not in recovery.moved and not _is_back(recovery, move))


def _is_back(recovery: Recovery, move: Move) -> bool:
    """It goes back to where it was."""
    return move.source == recovery.subject.key


def enter_move(context: Context) -> tuple[Step, ...]:
    recovery = context.recovery
    steps: list[Step] = []
    for move in _left(recovery):
        if recovery.attempt > 1:
            steps.append(Reprobe(key=move.key, deadline_s=REPROBE_S))
        siblings = tuple(key for key in recovery.subject.replicas if key != move.key)
        steps.append(
            PointTo(
                key=move.key,
                source=move.source,
                credentials_from=(*siblings, move.source),
                start=move.key not in recovery.kept_stopped,
                deadline_s=REPOINT_DEADLINE_S,
            )
        )
    return (*_pause(recovery), *steps)


def leave_move(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    pointed = {each.step.key for each in outcomes if each.ok and isinstance(each.step, PointTo)}
    recovery = replace(recovery, moved=tuple(sorted({*recovery.moved, *pointed}))).with_errors(failures(outcomes))
    left = _left(recovery)
    if not left:
        return recovery.marked("moved", now, f"{len(recovery.moved)} servers").goto("restore", now)
    if recovery.attempt < MOVE_ATTEMPTS_MAX and now - _chosen_ms(recovery) < MOVE_LIMIT_MS and _hopeful(context, left):
        return replace(recovery, attempt=recovery.attempt + 1).goto(MOVE, now)
    return _elsewhere(context, replace(recovery, attempt=1), left)


def _chosen_ms(recovery: Recovery) -> int:
    return max((mark.at_ms for mark in recovery.timeline if mark.name == CHOSEN), default=recovery.started_ms)


def _hopeful(context: Context, left: tuple[Move, ...]) -> bool:
    return any(context.topology.server(move.source).reached for move in left)


def _elsewhere(context: Context, recovery: Recovery, left: tuple[Move, ...]) -> Recovery:
    """Each replica that its source failed gets the next best one, by what is known of everybody now."""
    topology, now = context.topology, context.now_ms
    tried = {move.key: (*move.tried, move.source) for move in left}
    servers = tuple(topology.server(move.key) for move in left)
    found = relocate(topology, topology.server(recovery.subject.key), servers, context.policy, tried)
    kept = tuple(move for move in recovery.moves if move not in left)
    back = tuple(Move(each.key, recovery.subject.key, tried[each.key]) for each in found.refused)
    failed = tuple(RefusedServer(each.key, _failed(tried[each.key], each.reason)) for each in found.refused)
    recovery = replace(recovery, moves=(*kept, *back, *found.moves), refused=(*recovery.refused, *failed))
    if found.moves:
        recovery = replace(recovery, successor=_most_chosen((*_done(recovery), *found.moves)))
        return recovery.marked(CHOSEN, now, str(recovery.successor)).goto(MOVE, now)
    return replace(recovery, successor=_most_chosen(_done(recovery))).goto("restore", now)


def _failed(tried: tuple[InstanceKey, ...], reason: str) -> str:
    return f"it could not be attached to {', '.join(str(key) for key in tried)}; {reason}"


# -- whoever was not moved goes on as before


def put_back(recovery: Recovery, now_ms: int, reason: str) -> Recovery:
    done = _done(recovery)
    back = tuple(Move(move.key, recovery.subject.key, move.tried) for move in recovery.moves if move not in done)
    recovery = replace(recovery, attempt=1, moves=(*done, *back), successor=_most_chosen(done))
    return recovery.with_errors((reason,)).marked("giving up", now_ms, reason).goto("restore", now_ms)


def put_back_late(context: Context, recovery: Recovery) -> Recovery:
    return put_back(recovery, context.now_ms, f"it was out of time in phase '{recovery.phase}'")


def _done(recovery: Recovery) -> tuple[Move, ...]:
    return tuple(move for move in recovery.moves if move.key in recovery.moved)


def enter_restore(context: Context) -> tuple[Step, ...]:
    """Below the failed server again, and started, so that they go on when it is back."""
    recovery, servers = context.recovery, context.topology.servers
    steps: list[Step] = []
    for move in recovery.moves:
        server = servers.get(move.key)
        if move.source != recovery.subject.key or server is None or not server.reached:
            continue
        others = tuple(other for other in recovery.subject.replicas if other != move.key)
        steps.append(PointTo(key=move.key, source=move.source, credentials_from=others, start=False))
        steps += [StartReplication(key=move.key)] if move.key not in recovery.kept_stopped else []
        steps.append(Reprobe(key=move.key, deadline_s=REPROBE_S))
    return (*_pause(recovery), *steps)


def leave_restore(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    broken = failures(outcomes)
    if broken and recovery.attempt < PUT_BACK_ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).with_errors(broken).goto("restore", now)
    primary = context.topology.primary_of(recovery.cluster_id)
    outside = {primary.key} if primary is not None else set()
    known = {key for key in recovery.subject.replicas if key in context.topology.servers} - outside
    elsewhere = {key for key in known if context.topology.server(key).source not in (recovery.subject.key, None)}
    lost = tuple(sorted(known - elsewhere - {*recovery.moved}))
    return replace(recovery, attempt=1, lost=lost).with_errors(broken).goto("close", now)


# -- close


def enter_close(context: Context) -> tuple[Step, ...]:
    if not context.recovery.moved:
        return ()
    return hooks(context, "PostIntermediateMasterFailoverProcesses", "PostFailoverProcesses")


def leave_close(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery.with_errors(failures(outcomes)), context.now_ms
    if not recovery.moved:
        text = next((mark.text for mark in recovery.timeline if mark.name == "giving up"), _reasons(recovery))
        return unsuccessful(context, replace(recovery, successor=None), EndState.FAILED, text)
    names = ", ".join(str(key) for key in recovery.moved)
    text = f"moved from {recovery.subject.key}: {names}"
    if recovery.lost:
        text += f"; not moved: {', '.join(str(key) for key in recovery.lost)}"
    return recovery.ended(EndState.SUCCEEDED, now, text)


DEAD_INTERMEDIATE = Kind(
    "dead_intermediate",
    "Move the replicas of a dead intermediate primary to a sibling of it, or to a server above it",
    (
        Phase("begin", "Run the detection and pre-failover hooks", enter_begin, leave_begin, late=put_back_late),
        Phase("knock", "Let the replicas of a living server try again", enter_knock, leave_knock, late=put_back_late),
        Phase("listen", "See whether they reach it now", enter_listen, leave_listen, late=put_back_late),
        Phase("look", "Read everybody, find a source for each", enter_look, leave_look, late=put_back_late),
        Phase(MOVE, "Give each replica its new source", enter_move, leave_move, late=put_back_late),
        Phase("restore", "Start again what could not be moved", enter_restore, leave_restore),
        Phase("close", "Run the last hooks and close the record", enter_close, leave_close),
        TELL,
    ),
    counts=False,
    of_primary=False,
    urgency=1,
    obstacle=obstacle,
)
