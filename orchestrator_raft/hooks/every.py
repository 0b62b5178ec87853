"""``ports.Hooks``: the commands of a list first, then its webhooks; and what they said goes into the audit trail."""

from __future__ import annotations

import time

from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.hooks.commands import DETAIL_MAX, Audit, CommandHooks
from orchestrator_raft.hooks.webhooks import Webhooks, document
from orchestrator_raft.ports import HookPreview, HookReport
from orchestrator_raft.tasks import Tasks

AUDITED_CHARACTERS_MAX = 2000


class EveryHook:
    """Commands and webhooks as one."""

    def __init__(self, commands: CommandHooks, webhooks: Webhooks, tasks: Tasks, audit: Audit) -> None:
        self._commands = commands
        self._webhooks = webhooks
        self._tasks = tasks
        self._audit = audit

    def __repr__(self) -> str:
        return f"<EveryHook: {self._commands!r}, {self._webhooks!r}>"

    async def run(
        self, name: str, recovery: Recovery, *, fail_stop: bool, timeout_s: float, is_drill: bool = False
    ) -> HookReport:
        ends_s = time.monotonic() + timeout_s
        told = await self._commands.run(
            name, recovery, fail_stop=fail_stop, timeout_s=timeout_s, is_drill=is_drill
        )  # fmt: skip
        if told.ok or not (fail_stop or self._commands.ends_with_first_failure(name)):
            story = self._commands.story(name, recovery, is_drill=is_drill)
            left_s = max(0.0, ends_s - time.monotonic())
            sent = await self._webhooks.run(name, story, timeout_s=left_s)
            detail = "\n".join(text for text in (told.detail, sent.detail) if text)[:DETAIL_MAX]
            told = HookReport(ok=told.ok and sent.ok, detail=detail, commands=told.commands + sent.commands)
        if told.commands:
            self._tasks.start(f"audit of {name}", self._record(recovery, _audited(name, recovery, told)))
        return told

    async def _record(self, recovery: Recovery, text: str) -> None:
        await self._audit(recovery.subject.key, text)

    def preview(self, name: str, recovery: Recovery) -> tuple[HookPreview, ...]:
        webhooks = self._webhooks.wanting(name)
        text = document(name, self._commands.story(name, recovery, is_drill=True)).decode() if webhooks else ""
        shown = (HookPreview(label=f"webhook {each.name}", text=text) for each in webhooks)
        return (*self._commands.preview(name, recovery), *shown)


def _audited(name: str, recovery: Recovery, report: HookReport) -> str:
    how = "done" if report.ok else "failed"
    text = f"{name} (recovery {recovery.id}): {report.commands} hooks, {how}"
    return f"{text}\n{report.detail}".strip()[:AUDITED_CHARACTERS_MAX]
