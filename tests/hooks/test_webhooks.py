"""Webhooks: who is told what, signed how, how often, and who waits for it. A real receiver on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.policy import ExitPolicy
from orchestrator_raft.hooks.commands import CommandHooks, HookSettings
from orchestrator_raft.hooks.every import AUDITED_CHARACTERS_MAX, EveryHook
from orchestrator_raft.hooks.webhooks import Webhook, Webhooks, WebhookSettings
from orchestrator_raft.tasks import Tasks
from tests.hooks.story import FAILED, PROMOTED, RECOVERY, REPLICAS

LIST, OTHER = "PreFailoverProcesses", "PostFailoverProcesses"
SECRET = b"a secret"


@dataclass
class Receiver:
    """An HTTP server that remembers requests and answers as told: a status each, the last one for ever."""

    statuses: list[int] = field(default_factory=lambda: [200])
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    port: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        if self.gate is not None:
            await self.gate.wait()
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, text="no such room" if status >= 400 else "", headers={"Location": "/other"})

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@dataclass
class Bench:
    receiver: Receiver
    tasks: Tasks
    audited: list[tuple[InstanceKey, str]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    made: list[Webhooks] = field(default_factory=list)

    def hook(self, exit_: ExitPolicy, *lists: str, path: str = "token-7") -> Webhook:
        url = f"http://127.0.0.1:{self.receiver.port}/{path}"
        return Webhook(name="chat", url=url, lists=frozenset(lists), exit=exit_)

    def every(self, *hooks: Webhook, lists: dict[str, list[str]] | None = None, **settings: Any) -> EveryHook:
        webhooks = Webhooks(WebhookSettings(webhooks=hooks, **settings), self.tasks, self._audit)
        self.made.append(webhooks)
        commands = CommandHooks(HookSettings(lists=lists or {}), self.tasks, self._audit)
        return EveryHook(commands, webhooks, self.tasks, self._audit)

    async def _audit(self, key: InstanceKey, text: str) -> None:
        self.audited.append((key, text))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30.0):
            while not condition():  # noqa: ASYNC110 - what is waited for happens over a socket
                await asyncio.sleep(0.01)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.port = runner.addresses[0][1]
    failures: list[BaseException] = []
    made = Bench(receiver, Tasks("webhooks of a test", lambda _name, error: failures.append(error)), failures=failures)
    yield made
    await made.tasks.close()
    for webhooks in made.made:
        await webhooks.close()
    await runner.cleanup()
    assert failures == []


async def test_a_receiver_is_told_everything_and_signed(bench: Bench) -> None:
    hooks = bench.every(bench.hook(ExitPolicy.FAIL), secret=SECRET)
    report = await hooks.run(OTHER, PROMOTED, fail_stop=False, timeout_s=30.0)
    assert (report.ok, report.commands) == (True, 1)
    ((headers, body),) = bench.receiver.got
    told = json.loads(body)
    assert (told["event"], told["recovery"], told["cluster"], told["is_drill"]) == (OTHER, "r-7", "shop", False)
    assert told["values"]["successorHost"] == "db2.example"
    assert told["values"]["lostReplicas"] == str(REPLICAS[1])
    assert headers["Idempotency-Key"] == told["idempotency_key"] == f"r-7/{OTHER}"
    signed = headers["X-Orchestrator-Raft-Timestamp"].encode() + b"." + body
    assert headers["X-Orchestrator-Raft-Signature"] == f"sha256={hmac.new(SECRET, signed, hashlib.sha256).hexdigest()}"


async def test_only_wanted_lists_are_told(bench: Bench) -> None:
    hooks = bench.every(bench.hook(ExitPolicy.FAIL, OTHER))
    assert (await hooks.run(LIST, RECOVERY, fail_stop=True, timeout_s=30.0)).commands == 0
    assert bench.receiver.got == []


async def test_a_trouble_that_passes_is_tried_again_under_the_same_key(bench: Bench) -> None:
    bench.receiver.statuses = [503, 429, 204]
    report = await bench.every(bench.hook(ExitPolicy.ABORT)).run(LIST, RECOVERY, fail_stop=True, timeout_s=60.0)
    assert report.ok
    assert {headers["Idempotency-Key"] for headers, _ in bench.receiver.got} == {f"r-7/{LIST}"}
    assert len(bench.receiver.got) == 3


@pytest.mark.parametrize(("status", "attempts"), [(500, 3), (404, 1), (302, 1)])
async def test_abort_stops_with_a_reason_that_holds_no_url(bench: Bench, status: int, attempts: int) -> None:
    bench.receiver.statuses = [status]
    report = await bench.every(bench.hook(ExitPolicy.ABORT)).run(LIST, RECOVERY, fail_stop=True, timeout_s=60.0)
    assert not report.ok
    assert report.detail.startswith(f"webhook chat: status {status}")
    assert "token-7" not in report.detail
    assert len(bench.receiver.got) == attempts


async def test_fail_is_reported_and_stops_nothing(bench: Bench) -> None:
    bench.receiver.statuses = [400]
    report = await bench.every(bench.hook(ExitPolicy.FAIL)).run(LIST, RECOVERY, fail_stop=True, timeout_s=60.0)
    assert report.ok
    assert report.detail == "webhook chat: status 400: no such room"


async def test_a_receiver_that_only_warns_is_not_waited_for(bench: Bench) -> None:
    bench.receiver.gate = asyncio.Event()
    bench.receiver.statuses = [400]
    hooks = bench.every(bench.hook(ExitPolicy.WARN))
    report = await hooks.run(LIST, RECOVERY, fail_stop=True, timeout_s=30.0)
    assert (report.ok, report.detail) == (True, "")
    await bench.until(lambda: len(bench.receiver.got) == 1)
    bench.receiver.gate.set()
    await bench.until(lambda: len(bench.audited) == 2)
    assert (FAILED, "webhook chat: status 400: no such room (recovery r-7)") in bench.audited


async def test_one_that_hangs_is_given_up_with_the_time_of_the_list(bench: Bench) -> None:
    bench.receiver.gate = asyncio.Event()
    report = await bench.every(bench.hook(ExitPolicy.ABORT)).run(LIST, RECOVERY, fail_stop=True, timeout_s=0.3)
    assert not report.ok
    assert "not delivered within" in report.detail


async def test_nobody_there_is_a_failure_without_the_url(bench: Bench) -> None:
    nowhere = Webhook(name="chat", url="http://127.0.0.1:1/token-7", exit=ExitPolicy.ABORT)
    report = await bench.every(nowhere, attempts_max=1).run(LIST, RECOVERY, fail_stop=True, timeout_s=30.0)
    assert not report.ok
    assert "token-7" not in report.detail


async def test_a_command_that_aborts_comes_before_webhooks(bench: Bench) -> None:
    hooks = bench.every(bench.hook(ExitPolicy.FAIL), lists={LIST: ["echo no; exit 3"]})
    report = await hooks.run(LIST, RECOVERY, fail_stop=True, timeout_s=30.0)
    assert (report.ok, report.commands) == (False, 1)
    assert bench.receiver.got == []


async def test_what_hooks_said_is_in_the_audit_and_bounded(bench: Bench) -> None:
    hooks = bench.every(lists={LIST: ["echo address taken away", "yes | head -c 100000"]})
    await hooks.run(LIST, RECOVERY, fail_stop=True, timeout_s=30.0)
    await bench.until(lambda: bool(bench.audited))
    ((key, text),) = bench.audited
    assert key == FAILED
    assert text.startswith(f"{LIST} (recovery r-7): 2 hooks, done\n{LIST} 1 of 2: address taken away\n")
    assert len(text) <= AUDITED_CHARACTERS_MAX


async def test_a_drill_is_marked_and_a_preview_runs_nothing(bench: Bench) -> None:
    lists = {LIST: ['echo {failedHost} "$ORC_IS_DRILL" "$ORC_IDEMPOTENCY_KEY"']}
    hooks = bench.every(bench.hook(ExitPolicy.FAIL), lists=lists)
    command, webhook = hooks.preview(LIST, RECOVERY)
    assert command.text.startswith("echo db1.example ")
    assert command.environment["ORC_IS_DRILL"] == "true"
    assert set(command.environment) == {name for name in command.environment if name.startswith("ORC_")}
    assert json.loads(webhook.text)["is_drill"] is True
    assert bench.receiver.got == []
    report = await hooks.run(LIST, RECOVERY, fail_stop=True, timeout_s=30.0, is_drill=True)
    assert f"db1.example true r-7/{LIST}" in report.detail
    assert [each["is_drill"] for each in bench.receiver.documents] == [True]


async def test_a_list_with_the_policy_fail_ends_with_its_first_failure(bench: Bench) -> None:
    commands = CommandHooks(
        HookSettings(lists={OTHER: ["exit 1", "echo second"]}, ending=frozenset({OTHER})), bench.tasks, bench._audit
    )
    report = await commands.run(OTHER, RECOVERY, fail_stop=False, timeout_s=30.0)
    assert (report.ok, report.commands) == (False, 1)
