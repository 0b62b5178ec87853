"""Answers of the scenario files: what analysis, confirmation and choice say, and whole recoveries as conversations."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable

from orchestrator_raft.core.analysis import (
    Confirmed,
    Eyes,
    WitnessAnswer,
    analyze,
    confirm,
)
from orchestrator_raft.core.candidates import choose, promise_of
from orchestrator_raft.core.moves.model import Plan, Refusal, Wish
from orchestrator_raft.core.moves.table import plan
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import Recovery, Request
from orchestrator_raft.core.recovery.steps import (
    FireHook,
    Outcome,
    Outcomes,
    PointAt,
    PointTo,
    ServerStep,
    SetEventScheduler,
    SetSemiSync,
    Step,
    WaitApplied,
)
from tests.core.asked import holding_unasked
from tests.core.manager import Crash, Refused
from tests.core.manager import by_server as sequences_of
from tests.core.scenario import World, meaningful

Lines = list[str]


def ask(world: World, verb: str, words: list[str], lines: Iterable[str]) -> Lines:
    """The answer to one section."""
    return _VERBS[verb](world, words, meaningful(lines))


def _break(world: World, words: list[str], lines: Lines) -> Lines:
    for line in lines:
        world.change_line(line)
    world.manager.look()
    return _analysis(world)


def _later(world: World, words: list[str], lines: Lines) -> Lines:
    """``= later 5``: the changes, and then so many seconds, in each of which everybody is probed."""
    for line in lines:
        world.change_line(line)
    for _ in range(int(words[0])):
        world.fleet.passes(1)
        world.manager.now_ms += 1000
        world.manager.look()
    return _analysis(world)


def _analysis(world: World) -> Lines:
    said: Lines = []
    for diagnosis in analyze(world.manager.topology, world.manager.policy):
        name, problem = world.name(diagnosis.situation.key), diagnosis.problem
        assert [] == holding_unasked(diagnosis.situation)
        if problem is not None:
            recovery = f" recovery={problem.rule.recovery}" if problem.rule.recovery else ""
            said.append(f"{name} {problem.code} {problem.rule.severity.value}{recovery}")
            said += [f"  {world.said(each)}" for each in problem.evidence]
            said += [f"  skipped: {world.said(problem.skipped)}"] if problem.skipped else []
        for weakness in diagnosis.weaknesses:
            said.append(f"{name} {weakness.code}")
            said += [f"  {world.said(each)}" for each in weakness.evidence]
    return said or ["no problem"]


def _confirm(world: World, words: list[str], lines: Lines) -> Lines:
    """``= confirm P witnesses=2 n2=reached n3=unreached``"""
    name, count, *answers = words
    topology = world.manager.topology
    problem = next(
        each.problem
        for each in analyze(topology, world.manager.policy)
        if each.problem is not None and world.name(each.situation.key) == name
    )
    heard = tuple(
        WitnessAnswer(node_id=node, reached=answer == "reached", detail=answer, at_s=0.0)
        for node, _, answer in (each.partition("=") for each in answers)
    )
    eyes = Eyes(witnesses=int(count.removeprefix("witnesses=")), answers=heard)
    verdict = confirm(problem, topology, eyes, world.manager.policy)
    if isinstance(verdict, Confirmed):
        return ["confirmed", *(f"  {world.said(each)}" for each in verdict.evidence)]
    why = verdict.text
    return [f"{type(verdict).__name__.lower()}: {world.said(why)}"]


def _choose(world: World, words: list[str], lines: Lines) -> Lines:
    """``= choose P designated=R2``"""
    failed, options = words[0], _options(words[1:])
    topology, key = world.manager.topology, world.fleet[words[0]].key
    designated = world.fleet[options["designated"]].key if "designated" in options else None
    verdict = choose(
        topology.server(key),
        topology.replicas_of(key),
        world.manager.policy,
        designated,
        planned="planned" in options,
    )
    said = [f"best {world.name(verdict.best)} for {failed}"]
    if verdict.catch_up_from is not None:
        said.append(f"catches up from {world.name(verdict.catch_up_from)}")
    if verdict.needed is not None:
        said.append(f"to be saved: {world.said(str(verdict.needed))}")
    if verdict.unsaved:
        said.append(f"cannot be saved: {world.said(str(verdict.unsaved))}")
    return said + [f"refused {world.name(each.key)}: {world.said(each.reason)}" for each in verdict.refused]


def _options(words: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}


# -- whole recoveries


class Play:
    """Runs one recovery and writes down who said what."""

    def __init__(self, world: World, lines: Lines) -> None:
        self.world = world
        self.said: Lines = []
        self._last: Lines = []
        self._repeated = 0
        self._rules = [_Direction(world, line) for line in lines]
        hooks = world.manager.hooks
        hooks.before_step = self._before
        hooks.after_step = self._after
        hooks.instead = self._instead
        hooks.turned = self._turned

    def run(self, kind: str, name: str, request: Request, recovery_id: str) -> None:
        manager = self.world.manager
        try:
            recovery = manager.claim(kind, name, recovery_id=recovery_id, request=request)
        except Refused as refused:
            self.said.append(f"claim refused: {self.world.said(str(refused))}")
            return
        while recovery.is_active:
            try:
                recovery = manager.run(recovery_id)
            except Crash:
                self._say([f"-- node{manager.term} is gone, node{manager.term + 1} takes over"])
                manager.take_over(recovery_id)
        self._flush()
        last = recovery.timeline[-1]
        self.said.append(f"{recovery.end.value}: {self.world.said(last.text)}")

    def _before(self, step: Step) -> None:
        for rule in self._rules:
            rule.before(step)

    def _after(self, outcome: Outcome) -> None:
        for rule in self._rules:
            rule.after(outcome)

    def _instead(self, step: Step) -> str | None:
        return next((complaint for rule in self._rules if (complaint := rule.instead(step)) is not None), None)

    def _turned(self, before: Recovery, outcomes: Outcomes, after: Recovery) -> None:
        by_step = {id(each.step): each for each in outcomes}
        lines = [before.phase]
        for key, steps in sequences_of(each.step for each in outcomes).items():
            who = "hooks" if key is None else self.world.name(key)
            lines.append(f"  {who}: " + ", ".join(self._outcome(by_step[id(step)]) for step in steps))
        goes_on = after.phase if after.is_active else "end"
        lines.append("  -> " + " ".join([goes_on, *self._changes(before, after)]))
        lines += [f"     ! {self.world.said(each)}" for each in after.errors if each not in before.errors]
        if after.refused != before.refused:
            lines += [
                f"     refused {self.world.name(each.key)}: {self.world.said(each.reason)}" for each in after.refused
            ]
        self._say(lines)

    def _outcome(self, outcome: Outcome) -> str:
        said = self._step(outcome.step)
        return said if outcome.ok else f"{said} FAILED ({self.world.said(outcome.detail)})"

    def _step(self, step: Step) -> str:
        name = type(step).__name__
        if isinstance(step, PointTo):
            return f"{name} {self.world.name(step.source)}"
        if isinstance(step, PointAt):
            return f"{name} {self.world.name(step.source)} {step.place}"
        if isinstance(step, FireHook):
            return step.hook
        if isinstance(step, WaitApplied):
            return f"{name} {self.world.said(step.gtids)}".rstrip()
        if isinstance(step, SetEventScheduler):
            return f"{name} {'on' if step.on else 'off'}"
        if isinstance(step, SetSemiSync):
            sides = (("source", step.source_enabled), ("replica", step.replica_enabled))
            return " ".join([name, *(f"{side}={'on' if on else 'off'}" for side, on in sides if on is not None)])
        return name

    def _changes(self, before: Recovery, after: Recovery) -> Iterable[str]:
        for field in ("successor", "catch_up_from"):
            if getattr(before, field) != getattr(after, field):
                yield f"{field}={self.world.name(getattr(after, field))}"
        for field in ("stale", "moved", "lost"):
            if getattr(before, field) != getattr(after, field):
                yield f"{field}={self.world.names(getattr(after, field))}"
        if before.moves != after.moves:
            moves = (f"{self.world.name(each.key)}->{self.world.name(each.source)}" for each in after.moves)
            yield "moves=" + (",".join(moves) or "-")
        for field in ("fenced", "promoted", "semi_sync"):
            if getattr(before, field) != getattr(after, field):
                yield f"{field}={'yes' if getattr(after, field) else 'no'}"
        for field in ("target_gtids", "lost_gtids"):
            if getattr(before, field) != getattr(after, field):
                yield f"{field}={self.world.said(getattr(after, field)) or '-'}"

    def _say(self, lines: Lines) -> None:
        """Attempts that go exactly like the one before are counted, not repeated."""
        if lines == self._last:
            self._repeated += 1
            return
        self._flush()
        self.said += lines
        self._last = lines

    def _flush(self) -> None:
        if self._repeated:
            self.said.append(f"  (and so {self._repeated} more times)")
        self._repeated, self._last = 0, []


class _Direction:
    """One line that steers a play; its words are explained in the README of the scenarios."""

    def __init__(self, world: World, line: str) -> None:
        self._world = world
        head, _, self._change = line.partition(": ")
        self._word, self._step, self._server, *rest = shlex.split(head)
        self._detail = next((each for each in rest if not each.isdigit()), "it went wrong")
        self._left = next((int(each) for each in rest if each.isdigit()), 1)

    def _matches(self, step: Step) -> bool:
        if self._left == 0 or type(step).__name__ != self._step:
            return False
        if isinstance(step, FireHook):
            matches = step.hook == self._server
        else:
            matches = isinstance(step, ServerStep) and self._world.name(step.key) == self._server
        if matches:
            self._left -= 1
        return matches

    def before(self, step: Step) -> None:
        if self._word == "before" and self._matches(step):
            self._world.change_line(self._change)
        elif self._word == "crash-before" and self._matches(step):
            raise Crash

    def after(self, outcome: Outcome) -> None:
        if self._word == "after" and self._matches(outcome.step):
            self._world.change_line(self._change)
        elif self._word == "crash-after" and self._matches(outcome.step):
            raise Crash

    def instead(self, step: Step) -> str | None:
        return self._detail if self._word == "fail" and self._matches(step) else None


def _play(world: World, words: list[str], lines: Lines) -> Lines:
    """``= play dead_primary P forced designated=R2``, ``= play relocate X S``: an operation, and what is asked for"""
    kind, name, *more = words
    options = _options(more)
    if kind not in KINDS:
        return _operate(world, kind, name, more, lines)
    request = Request(
        by="anna" if "forced" in options or kind == "takeover" else "",
        designated=world.fleet[options["designated"]].key if "designated" in options else None,
        forced="forced" in options or kind == "takeover",
        accept_loss="accept-loss" in options,
        start_old_primary="no-start" not in options,
    )
    return _run(world, kind, name, request, lines)


def _run(world: World, kind: str, name: str, request: Request, lines: Lines) -> Lines:
    play = Play(world, lines)
    play.run(kind, name, request, f"r{len(world.manager.state.recoveries) + 1}")
    world.manager.hooks.__init__()  # type: ignore[misc]
    return play.said + _fleet(world)


def wish_of(world: World, operation: str, name: str, words: Iterable[str]) -> Wish:
    """``relocate X S``, ``relocate-replicas I T pattern=0.3`` as a wish; servers by their names in the scenario."""
    options = _options(each for each in words if "=" in each)
    target = next((each for each in words if "=" not in each), None)
    return Wish(
        operation=operation,
        server=world.fleet[name].key,
        target=world.fleet[target].key if target is not None else None,
        pattern=options.get("pattern", ""),
        text=options.get("text", ""),
        number=int(options.get("number", "0")),
        forced="force" in options,
    )


def _operate(world: World, operation: str, name: str, words: list[str], lines: Lines) -> Lines:
    wish = wish_of(world, operation, name, words)
    return _run(world, "operation", name, Request(by="anna", forced=True, wish=wish), lines)


def _plan(world: World, words: list[str], lines: Lines) -> Lines:
    """``= plan relocate X S``: what would be done, or why not."""
    operation, name, *more = words
    found = plan(wish_of(world, operation, name, more), world.manager.topology, world.manager.policy)
    if isinstance(found, Refusal):
        return [f"refused: {world.said(found.reason)}"]
    return _said_plan(world, found)


def _said_plan(world: World, found: Plan) -> Lines:
    said = [world.said(found.text) + (f" (by {found.how})" if found.how else "")]
    for stage in found.stages:
        said.append(f"  {world.said(stage.text)}")
        said += [f"    {world.said(str(act))}" for act in stage.acts]
        said += [f"    back: {world.said(str(act))}" for act in stage.undo]
    said += [f"  not {world.said(str(each))}" for each in found.left_out]
    said += [f"  beware: {world.said(each)}" for each in found.warnings]
    return said + ([f"  writes wait up to {found.block_s:g} s"] if found.block_s else [])


def _fleet(world: World) -> Lines:
    """Where everybody stands afterwards."""
    manager = world.manager
    manager.look()
    said = []
    for cluster in manager.state.clusters.values():
        words = [f"{cluster.id} primary={world.name(cluster.primary)} generation={cluster.generation}"]
        words += [f"ackers={world.names(cluster.ackers)}"] if cluster.ackers else []
        said.append(" ".join(words))
    for database in world.fleet.by_key.values():
        mark = manager.state.stale.get(database.key)
        words = [database.name, "rw" if database.is_open else "ro" if database.alive else "dead"]
        words += [f"<- {world.name(database.source)}"] if database.source is not None else []
        words += ["stopped"] if database.source is not None and not database.receiver_on else []
        words += [f"({mark.status.value})"] if mark is not None else []
        words += [f"extra {world.said(mark.extra)}"] if mark is not None and mark.extra else []
        said.append("  " + " ".join(words))
    return said


def _wait(world: World, words: list[str], lines: Lines) -> Lines:
    """``= wait 10``: so many seconds pass, with a look each; who may acknowledge by then, and the promise."""
    world.manager.wait(int(words[0]))
    said = []
    for cluster in world.manager.state.clusters.values():
        who = [f"{cluster.id} ackers={world.names(cluster.ackers)}"]
        who += [f"released={world.names(cluster.released)}"] if cluster.released else []
        said.append(f"{' '.join(who)}; {world.said(str(promise_of(world.manager.topology, cluster.id)))}")
    return said


_VERBS: dict[str, Callable[[World, list[str], Lines], Lines]] = {
    "draw": lambda world, words, lines: _analysis(world),
    "break": _break,
    "later": _later,
    "confirm": _confirm,
    "choose": _choose,
    "play": _play,
    "plan": _plan,
    "wait": _wait,
}
