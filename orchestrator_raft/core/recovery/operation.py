"""An operation that a person asked for: the plan of ``core/moves`` carried out stage by stage, or put back.

Theory. The servers that the plan rests on are read anew, and then it is planned once more: what does not hold any more
is refused, and nothing was changed. From then on the plan in the record counts. Each stage is recorded before it begins
and can be done twice, so a new leader repeats the one it finds. A stage that fails again and again is put back with all
before it, in reverse; of a piecemeal plan only the servers that failed are, and the others go on.

It gives way at once to a recovery that is more urgent. What was being moved then is compared and attached like every
replica that missed a change of primary; what a person wanted stopped is not started.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.moves.model import Act, Plan, Progress, Refusal, Stage, Verb
from orchestrator_raft.core.moves.table import plan
from orchestrator_raft.core.recovery.acts import CannotSay, settled, step_of
from orchestrator_raft.core.recovery.machine import Context, Kind, Phase
from orchestrator_raft.core.recovery.model import EndState, Move, Recovery, RefusedServer
from orchestrator_raft.core.recovery.places import with_places
from orchestrator_raft.core.recovery.promotion import RETRY_PAUSE_S, hooks
from orchestrator_raft.core.recovery.steps import Outcomes, Pause, Reprobe, ServerStep, Step, failures
from orchestrator_raft.core.topology import Topology

REPROBE_S = 3.0
"""The next stage rests on it, so a slow server is given time; one that is not there says so at once."""
LOOK_ATTEMPTS_MAX = 3
STAGE_ATTEMPTS_MAX = 2
UNDO_ATTEMPTS_MAX = 8
PLANNED = "planned"
UNDOING = "undoing"


def _steps(acts: Iterable[Act], context: Context) -> tuple[Step, ...]:
    """The acts, and then each server is read: the next stage may look at where it stands. Raises CannotSay."""
    steps: list[Step] = [step_of(act, context.topology) for act in acts]
    keys = dict.fromkeys(step.key for step in steps if isinstance(step, ServerStep))
    pause: tuple[Step, ...] = (Pause(deadline_s=RETRY_PAUSE_S),) if context.recovery.attempt > 1 else ()
    return (*pause, *steps, *(Reprobe(key=key, deadline_s=REPROBE_S) for key in keys))


# -- look


def concerned(found: Plan) -> tuple[InstanceKey, ...]:
    """Every server that the plan rests on or touches."""
    touched = [act.key for stage in found.stages for act in stage.acts]
    return tuple(dict.fromkeys((*found.reads, *touched)))


def clusters_of(topology: Topology, keys: Iterable[InstanceKey]) -> set[str]:
    """Clusters that have to stand still while something is done to these servers."""
    return {topology.servers[key].cluster_id for key in keys if key in topology.servers}


def enter_look(context: Context) -> tuple[Step, ...]:
    found = context.recovery.plan
    keys = concerned(found) if found is not None else (context.recovery.subject.key,)
    return tuple(Reprobe(key=key, deadline_s=REPROBE_S, required=True) for key in keys)


def leave_look(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    if recovery.request.wish is None:
        return recovery.ended(EndState.FAILED, now, "nothing was asked for")
    found = plan(recovery.request.wish, context.topology, context.policy)
    if isinstance(found, Refusal) and found.passes and recovery.attempt < LOOK_ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).goto("look", now)
    if isinstance(found, Refusal):
        return recovery.with_errors((found.reason,)).ended(EndState.UNDONE, now, f"nothing was changed: {found.reason}")
    outside = clusters_of(context.topology, concerned(found)) - {recovery.cluster_id, *recovery.other_clusters}
    if outside:
        text = "nothing was changed: servers have gone to another cluster meanwhile"
        return recovery.ended(EndState.UNDONE, now, text)
    read = {each.key for each in outcomes}
    planned = replace(recovery, plan=found)
    if not set(concerned(found)) <= read and recovery.attempt < LOOK_ATTEMPTS_MAX:
        return replace(planned, attempt=recovery.attempt + 1).goto("look", now)
    left_out = tuple(RefusedServer(each.key, each.reason) for each in found.left_out)
    planned = replace(planned, attempt=1, refused=left_out, progress=Progress()).marked(PLANNED, now, found.text)
    return _begin(context, planned) if found.stages else _closing(planned, now)


# -- act


def _begin(context: Context, recovery: Recovery) -> Recovery:
    """On to the stage of its progress; from now on its servers may be on their way."""
    found, number = _plan(recovery), recovery.progress.stage
    try:
        stage = settled(found.stages[number], found, context.topology)
    except CannotSay as error:
        before = replace(recovery, progress=Progress(stage=max(0, number - 1)))
        return undo(before, context.now_ms, str(error))
    begun = (*found.stages[:number], stage)
    recovery = replace(recovery, plan=replace(found, stages=(*begun, *found.stages[number + 1 :])))
    moves: dict[InstanceKey, Move] = {}
    for act in (act for stage in begun for act in stage.acts if act.verb is not Verb.WAIT):
        was = context.topology.server(act.key).source
        source = act.source if act.source is not None and not act.source.is_detached else was
        if source is not None and (act.source is not None or act.key not in moves):
            moves[act.key] = Move(act.key, source)
    return replace(recovery, attempt=1, moves=tuple(moves.values())).goto("act", context.now_ms)


def _plan(recovery: Recovery) -> Plan:
    if recovery.plan is None:
        raise AssertionError(f"operation {recovery.id} acts without a plan")
    return recovery.plan


def _stage(recovery: Recovery) -> Stage:
    return _plan(recovery).stages[recovery.progress.stage]


def on_their_way(recovery: Recovery) -> tuple[InstanceKey, ...]:
    """Servers that may stand still, or below a source that is not theirs, though nobody wants that.

    The plan gives them a source, or starts what ran before; one that a person wanted stopped stays as it is.
    """
    stages = recovery.plan.stages if recovery.plan is not None else ()
    acts = [act for stage in stages for act in stage.acts]
    pointed = {act.key for act in acts if act.source is not None and not act.source.is_detached}
    ran = {act.key for stage in stages for act in stage.undo if act.verb is Verb.START}
    started = ran if recovery.phase == "undo" else ran & {act.key for act in acts if act.verb is Verb.START}
    unfinished = (move.key for move in recovery.moves if move.key not in recovery.moved)
    return tuple(key for key in unfinished if key in pointed | started)


def _given_up(recovery: Recovery) -> set[InstanceKey]:
    return {each.key for each in recovery.refused}


def _acts(recovery: Recovery) -> tuple[Act, ...]:
    gone = _given_up(recovery)
    kept = (act for act in _stage(recovery).acts if act.key not in gone)
    looking = (replace(act, at=tuple(key for key in act.at if key not in gone)) for act in kept)
    return tuple(act for act in looking if act.verb is not Verb.WAIT or act.at)


def enter_act(context: Context) -> tuple[Step, ...]:
    try:
        return _steps(_acts(context.recovery), context)
    except CannotSay:
        return ()


def leave_act(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    acts = _acts(recovery)
    broken = _broken(context, acts, outcomes)
    if not broken:
        read = replace(recovery, plan=with_places(_plan(recovery), outcomes))
        return _next_stage(context, _with_moved(read))
    recovery = recovery.with_errors(tuple(broken.values()))
    if recovery.attempt < STAGE_ATTEMPTS_MAX and _stage(recovery).repeats:
        return replace(recovery, attempt=recovery.attempt + 1).goto("act", now)
    if not _plan(recovery).piecemeal:
        return undo(recovery, now, next(iter(broken.values())))
    failing = _failing(recovery, broken)
    refused = tuple(RefusedServer(key, reason) for key, reason in failing.items())
    recovery = replace(_with_moved(recovery, but=set(failing)), refused=(*recovery.refused, *refused))
    progress = Progress(stage=recovery.progress.stage, failing=tuple(failing), reached=recovery.progress.stage)
    names = ", ".join(str(key) for key in failing)
    return replace(recovery, progress=progress, attempt=1).marked(UNDOING, now, names).goto("undo", now)


def _broken(context: Context, acts: tuple[Act, ...], outcomes: Outcomes) -> dict[InstanceKey, str]:
    """Servers on which not every act was done, with the first complaint of each."""
    if acts and not outcomes:
        return {acts[0].key: _not_sayable(acts, context)}
    counted: dict[InstanceKey, int] = {}
    complaints: dict[InstanceKey, str] = {}
    for each in outcomes:
        if each.key is None or isinstance(each.step, Reprobe):
            continue
        if each.ok:
            counted[each.key] = counted.get(each.key, 0) + 1
        else:
            complaints[each.key] = f"{each.step}: {each.detail}"
    wanted: dict[InstanceKey, int] = {}
    for act in acts:
        wanted[act.key] = wanted.get(act.key, 0) + 1
    return {
        key: complaints.get(key, f"{key}: not done") for key, count in wanted.items() if counted.get(key, 0) < count
    }


def _not_sayable(acts: tuple[Act, ...], context: Context) -> str:
    try:
        _steps(acts, context)
    except CannotSay as error:
        return str(error)
    return "nothing was done"


def _failing(recovery: Recovery, broken: dict[InstanceKey, str]) -> dict[InstanceKey, str]:
    """Movers that failed; where another server did, everybody whose stage rests on it."""
    found = _plan(recovery)
    movers = {key: reason for key, reason in broken.items() if key in found.movers}
    others = [reason for key, reason in broken.items() if key not in found.movers]
    if not others:
        return movers
    waiting = dict.fromkeys(key for act in _acts(recovery) for key in (*act.at, act.key) if key in found.movers)
    return {**dict.fromkeys(waiting, others[0]), **movers}


def _with_moved(recovery: Recovery, but: Iterable[InstanceKey] = ()) -> Recovery:
    """Movers for which nothing is left to do have been moved."""
    found, number = _plan(recovery), recovery.progress.stage
    begun = {act.key for stage in found.stages[: number + 1] for act in stage.acts}
    ahead = {act.key for stage in found.stages[number + 1 :] for act in stage.acts}
    gone = _given_up(recovery) | set(but)
    done = {key for key in found.movers if key in begun and key not in ahead and key not in gone}
    return replace(recovery, moved=tuple(sorted({*recovery.moved, *done})))


def _next_stage(context: Context, recovery: Recovery) -> Recovery:
    number = recovery.progress.stage + 1
    if number == len(_plan(recovery).stages):
        return _closing(recovery, context.now_ms)
    return _begin(context, replace(recovery, progress=Progress(stage=number)))


# -- undo


def undo(recovery: Recovery, now_ms: int, reason: str) -> Recovery:
    """Put everything back, from the stage that was begun last to the first."""
    progress = Progress(stage=recovery.progress.stage, reached=recovery.progress.stage)
    back = replace(recovery, progress=progress, attempt=1, moved=()).with_errors((reason,))
    return back.marked(UNDOING, now_ms, reason).goto("undo", now_ms)


def undo_late(context: Context, recovery: Recovery) -> Recovery:
    if recovery.plan is None or not recovery.plan.stages or recovery.phase == "look":
        return recovery.ended(EndState.UNDONE, context.now_ms, "nothing was changed: it was out of time")
    return undo(recovery, context.now_ms, f"it was out of time in phase '{recovery.phase}'")


def _undo_acts(recovery: Recovery) -> tuple[Act, ...]:
    failing = recovery.progress.failing
    return tuple(act for act in _stage(recovery).undo if not failing or act.key in failing)


def enter_undo(context: Context) -> tuple[Step, ...]:
    try:
        return _steps(_undo_acts(context.recovery), context)
    except CannotSay:
        return ()


def leave_undo(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    broken = _broken(context, _undo_acts(recovery), outcomes)
    if broken and recovery.attempt < UNDO_ATTEMPTS_MAX:
        return replace(recovery, attempt=recovery.attempt + 1).goto("undo", now)
    complaints = tuple(f"{key} could not be put back: {reason}" for key, reason in broken.items())
    recovery = replace(recovery, attempt=1, lost=tuple(sorted({*recovery.lost, *broken}))).with_errors(complaints)
    if recovery.progress.stage > 0 and not _plan(recovery).stages[recovery.progress.stage - 1].stays:
        earlier = replace(recovery.progress, stage=recovery.progress.stage - 1)
        return replace(recovery, progress=earlier).goto("undo", now)
    if recovery.progress.failing:
        return _next_stage(context, replace(recovery, progress=Progress(stage=recovery.progress.reached)))
    return _undone(recovery, now)


def _undone(recovery: Recovery, now_ms: int) -> Recovery:
    reason = next((mark.text for mark in reversed(recovery.timeline) if mark.name == UNDOING), "")
    if recovery.lost:
        names = ", ".join(str(key) for key in recovery.lost)
        return _ended(recovery, EndState.FAILED, now_ms, f"{names} could not be put back: {reason}")
    begun = _plan(recovery).stages[: recovery.progress.reached + 1]
    done = begun[: recovery.progress.stage]
    stays = ", ".join(stage.text for stage in (*done, *(each for each in begun if each.is_final)))
    if stays:
        return _ended(recovery, EndState.FAILED, now_ms, f"{reason}; cannot be put back, if it was done: {stays}")
    return _ended(recovery, EndState.UNDONE, now_ms, f"everything is as it was: {reason}")


def _ended(recovery: Recovery, end: EndState, now_ms: int, text: str) -> Recovery:
    """Its record keeps what was done, and not what would have put it back."""
    found = _plan(recovery)
    done = replace(found, reads=(), places=(), stages=tuple(replace(each, undo=()) for each in found.stages))
    return replace(recovery, plan=done).ended(end, now_ms, text)


# -- close


def _closing(recovery: Recovery, now_ms: int) -> Recovery:
    """What was moved has the source that the plan says; whoever was only stopped on the way has not been moved."""
    found = _plan(recovery)
    pointed = {act.key: act.source for stage in found.stages for act in stage.acts if act.source is not None}
    moves = tuple(move for move in recovery.moves if pointed.get(move.key) == move.source)
    return replace(recovery, attempt=1, moves=moves, successor=found.successor).goto("close", now_ms)


def enter_close(context: Context) -> tuple[Step, ...]:
    found = _plan(context.recovery)
    return hooks(context, found.hook) if found.hook else ()


def leave_close(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery.with_errors(failures(outcomes)), context.now_ms
    found = _plan(recovery)
    if found.stages and not recovery.moved:
        reasons = "; ".join(f"{each.key}: {each.reason}" for each in recovery.refused)
        end = EndState.FAILED if recovery.lost else EndState.UNDONE
        return _ended(recovery, end, now, f"nothing was moved: {reasons}")
    text = f"{found.text} (by {found.how})" if found.how else found.text
    if recovery.refused:
        text += f"; {len(recovery.moved)} done, not: {', '.join(str(each.key) for each in recovery.refused)}"
    return _ended(recovery, EndState.SUCCEEDED, now, text)


OPERATION = Kind(
    "operation",
    "Carry out what a person asked for, stage by stage, or put it back",
    (
        Phase("look", "Read the servers anew and plan once more", enter_look, leave_look, late=undo_late),
        Phase("act", "One stage of the plan", enter_act, leave_act, late=undo_late),
        Phase("undo", "Put back what was done, in reverse", enter_undo, leave_undo),
        Phase("close", "Run the last hook and close the record", enter_close, leave_close),
    ),
    counts=False,
    of_primary=None,
    starts_period=False,
    urgency=0,
)
