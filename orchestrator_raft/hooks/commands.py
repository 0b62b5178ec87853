"""``ports.Hooks`` for the peers' *Processes lists: shell commands of the configuration, told about one recovery.

Rules
- In order. The first failure of a fail-stop list ends it; the others go on and report.
- A command whose text ends in ``&`` is started and not waited for. It has an owner all the same: a limit of time and of
  number, and what goes wrong with it is told to the audit.
- A report names a command by list and position, never by its text, which may hold secrets.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.hooks.placeholders import Story, Successor, environment, known_successor, substitute, values
from orchestrator_raft.hooks.shell import Ended, run_command
from orchestrator_raft.ports import HookPreview, HookReport
from orchestrator_raft.tasks import Tasks

DETAIL_MAX = 65_536
TAKE_MASTER = "PostTakeMasterProcesses"
"""Its commands get no placeholders but two arguments and two variables: successor and demoted server as host:port."""

Audit = Callable[[InstanceKey, str], Awaitable[None]]
"""Told of what went wrong with a command that nobody waits for: the failed server and a text."""
FactsOf = Callable[[InstanceKey], Facts | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSettings:
    """What the configuration says about hooks, and limits."""

    lists: Mapping[str, Sequence[str]]
    """Commands by the peers' key, as PreFailoverProcesses."""
    shell: str = "bash"
    orchestrator_host: str = ""
    command_timeout_s: float = 60.0
    background_timeout_s: float = 3600.0
    background_max: int = 16
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    ending: frozenset[str] = frozenset()
    """Lists that end with their first failure though they stop nothing (exit policy ``fail``)."""


@dataclass(frozen=True, slots=True)
class _Command:
    """One command ready to be run, and the name by which people know it."""

    label: str
    text: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str]

    @property
    def in_background(self) -> bool:
        return self.text.rstrip().endswith("&")


class CommandHooks:
    """Runs the lists. ``facts_of`` answers with the newest facts of a server: the successor's alias and position."""

    def __init__(
        self, settings: HookSettings, tasks: Tasks, audit: Audit, facts_of: FactsOf = lambda key: None
    ) -> None:
        self._settings = settings
        self._tasks = tasks
        self._audit = audit
        self._facts_of = facts_of
        self._in_background: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        names = ", ".join(f"{name} {len(commands)}" for name, commands in self._settings.lists.items() if commands)
        return f"<CommandHooks: {names or 'none'}; {len(self._in_background)} in the background>"

    def use(self, settings: HookSettings) -> None:
        """Run these from now on; what runs already goes on."""
        self._settings = settings

    def ends_with_first_failure(self, name: str) -> bool:
        """Whether the list ends so although it stops no recovery."""
        return name in self._settings.ending

    def preview(self, name: str, recovery: Recovery) -> tuple[HookPreview, ...]:
        """The commands of a drill, and what only they have in their environment."""
        mine = environment(self.story(name, recovery, is_drill=True))
        return tuple(
            HookPreview(each.label, each.text, {variable: each.environ[variable] for variable in mine})
            for each in self._commands(name, recovery, is_drill=True)
        )

    async def run(
        self, name: str, recovery: Recovery, *, fail_stop: bool, timeout_s: float, is_drill: bool = False
    ) -> HookReport:
        """Run the list ``name`` within ``timeout_s`` seconds. The report has failures first, then all output."""
        ends_s = time.monotonic() + timeout_s
        failures: list[str] = []
        notes: list[str] = []
        begun = 0
        for command in self._commands(name, recovery, is_drill=is_drill):
            begun += 1
            ended = await self._run_one(command, recovery, ends_s)
            text = _told(command, ended)
            (failures if ended.failure else notes).append(text)
            if ended.failure and (fail_stop or self.ends_with_first_failure(name)):
                break
        detail = "\n".join(text for text in (*failures, *notes) if text)
        return HookReport(ok=not failures, detail=detail[:DETAIL_MAX], commands=begun)

    def _commands(self, name: str, recovery: Recovery, *, is_drill: bool) -> list[_Command]:
        texts = self._settings.lists.get(name, ())
        story = self.story(name, recovery, is_drill=is_drill)
        environ = {**self._settings.environ, **environment(story)}
        arguments: tuple[str, ...] = ()
        if name == TAKE_MASTER:
            arguments = _successor_and_demoted(story)
            environ |= dict(zip(("ORC_SUCCESSOR_HOST", "ORC_FAILED_HOST"), arguments, strict=True))
        else:
            known = values(story)
            texts = [substitute(text, known) for text in texts]
        labels = (f"{name} {position} of {len(texts)}" for position in range(1, len(texts) + 1))
        return [_Command(label, text, arguments, environ) for label, text in zip(labels, texts, strict=True)]

    def story(self, name: str, recovery: Recovery, *, is_drill: bool = False) -> Story:
        """All that hooks of the list are told of a recovery."""
        host = self._settings.orchestrator_host
        key = known_successor(recovery)
        if key is None:
            return Story(recovery=recovery, orchestrator_host=host, hook=name, is_drill=is_drill)
        facts = self._facts_of(key)
        alias = facts.alias if facts else ""
        place = facts.binlog.coordinates if facts else None
        coordinates = f"{place.log_file}:{place.log_position}" if place and place.log_file else ""
        successor = Successor(key=key, alias=alias, coordinates=coordinates)
        return Story(recovery=recovery, orchestrator_host=host, successor=successor, hook=name, is_drill=is_drill)

    async def _run_one(self, command: _Command, recovery: Recovery, ends_s: float) -> Ended:
        if command.in_background:
            return self._start(command, recovery)
        left_s = ends_s - time.monotonic()
        if left_s <= 0:
            return Ended("not started: the time of the list is over", "", 0)
        timeout_s = min(self._settings.command_timeout_s, left_s)
        return await self._execute(command, command.text, timeout_s)

    async def _execute(self, command: _Command, text: str, timeout_s: float) -> Ended:
        shell = self._settings.shell
        return await run_command(shell, text, command.arguments, command.environ, timeout_s=timeout_s)

    def _start(self, command: _Command, recovery: Recovery) -> Ended:
        limit = self._settings.background_max
        if len(self._in_background) >= limit:
            return Ended(f"not started: {limit} commands are running in the background already", "", 0)
        task = self._tasks.start(command.label, self._background(command, recovery))
        self._in_background.add(task)
        task.add_done_callback(self._in_background.discard)
        return Ended("", "started in the background", 0)

    async def _background(self, command: _Command, recovery: Recovery) -> None:
        text = command.text.rstrip().rstrip("&")
        ended = await self._execute(command, text, self._settings.background_timeout_s)
        if ended.failure:
            await self._audit(recovery.subject.key, f"hook {_told(command, ended)} (recovery {recovery.id})")


def _told(command: _Command, ended: Ended) -> str:
    """One command's part of the report; empty when there is nothing to tell."""
    if not ended.failure:
        return f"{command.label}: {ended.output}" if ended.output else ""
    said = f": {ended.output}" if ended.output else ""
    return f"{command.label}: {ended.failure}, {ended.elapsed_ms} ms{said}"


def _successor_and_demoted(story: Story) -> tuple[str, str]:
    successor, plan = story.recovery.successor, story.recovery.plan
    demoted = plan.demoted if plan is not None and plan.demoted is not None else story.recovery.subject.key
    return ("" if successor is None else str(successor)), str(demoted)
