"""Webhooks: a list of hooks told by HTTP, as JSON, to whoever wants to hear of it.

Rules
- A webhook has a name, by which reports speak of it: its URL may hold a secret.
- One with the policy ``warn`` is never waited for, so it delays no failover; what goes wrong is told to the audit. The
  others are waited for, all at the same time, within the time of the list.
- Attempts are few and bounded. All carry the same idempotency key, since one that seemed lost may have arrived.
- With a secret, the body is signed together with the time: ``hmac-sha256(secret, "<seconds>.<body>")``.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.policy import ExitPolicy
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.hooks.commands import DETAIL_MAX, Audit
from orchestrator_raft.hooks.placeholders import Story, raw_values
from orchestrator_raft.ports import HookReport
from orchestrator_raft.tasks import Tasks

PAUSE_S = 0.5
"""Before the second attempt; twice as long before each further one."""
SAID_BYTES_MAX = 1024
BACKGROUND_MAX = 64
AGAIN = frozenset({408, 425, 429})
"""Besides 5xx: statuses after which the same request may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One receiver. ``lists`` are the peers' keys; empty means all."""

    name: str
    url: str = field(repr=False)
    lists: frozenset[str] = frozenset()
    exit: ExitPolicy = ExitPolicy.WARN

    def wants(self, name: str) -> bool:
        return not self.lists or name in self.lists


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """What the configuration says about webhooks."""

    webhooks: tuple[Webhook, ...] = ()
    secret: bytes = field(default=b"", repr=False)
    timeout_s: float = 5.0
    """For one attempt."""
    attempts_max: int = 3


class Webhooks:
    """Sends them."""

    def __init__(self, settings: WebhookSettings, tasks: Tasks, audit: Audit) -> None:
        self._settings = settings
        self._tasks = tasks
        self._audit = audit
        self._session: aiohttp.ClientSession | None = None
        self._in_background: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Webhooks: {', '.join(each.name for each in self._settings.webhooks) or 'none'}>"

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def wanting(self, name: str) -> tuple[Webhook, ...]:
        """Those that want to hear of the list ``name``."""
        return tuple(each for each in self._settings.webhooks if each.wants(name))

    async def run(self, name: str, story: Story, *, timeout_s: float) -> HookReport:
        """Tell all that want to hear of it; fails where one that may stop the recovery was told in vain."""
        body = document(name, story)
        waited: list[Webhook] = []
        failures: list[str] = []
        for webhook in self.wanting(name):
            if webhook.exit is not ExitPolicy.WARN:
                waited.append(webhook)
            elif not self._start(webhook, body, story.recovery):
                failures.append(f"webhook {webhook.name}: not sent: {BACKGROUND_MAX} are under way already")
        found = await asyncio.gather(*(self._send(each, body, timeout_s) for each in waited))
        failures += [failure for failure in found if failure]
        stops = any(failure and each.exit is ExitPolicy.ABORT for each, failure in zip(waited, found, strict=True))
        return HookReport(ok=not stops, detail="\n".join(failures)[:DETAIL_MAX], commands=len(self.wanting(name)))

    def _start(self, webhook: Webhook, body: bytes, recovery: Recovery) -> bool:
        if len(self._in_background) >= BACKGROUND_MAX:
            return False
        task = self._tasks.start(f"webhook {webhook.name}", self._send_and_tell(webhook, body, recovery))
        self._in_background.add(task)
        task.add_done_callback(self._in_background.discard)
        return True

    async def _send_and_tell(self, webhook: Webhook, body: bytes, recovery: Recovery) -> None:
        settings = self._settings
        longest_s = settings.attempts_max * (settings.timeout_s + PAUSE_S * 2.0**settings.attempts_max)
        failure = await self._send(webhook, body, longest_s)
        if failure:
            key: InstanceKey = recovery.subject.key
            await self._audit(key, f"{failure} (recovery {recovery.id})")

    async def _send(self, webhook: Webhook, body: bytes, timeout_s: float) -> str:
        """Why it was not delivered; empty when it was."""
        failure = "its time was over before it was tried"
        try:
            async with asyncio.timeout(timeout_s):
                for attempt in range(1, self._settings.attempts_max + 1):
                    failure, again = await self._attempt(webhook, body)
                    if not again:
                        break
                    if attempt < self._settings.attempts_max:
                        await asyncio.sleep(PAUSE_S * 2.0 ** (attempt - 1))
        except TimeoutError:
            failure = f"not delivered within {timeout_s:.3g} s: {failure}"
        return f"webhook {webhook.name}: {failure}" if failure else ""

    async def _attempt(self, webhook: Webhook, body: bytes) -> tuple[str, bool]:
        """Why this attempt failed (empty: it did not), and whether another one may do better."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
        try:
            async with self._session.post(
                webhook.url, data=body, headers=self._headers(body), timeout=timeout, allow_redirects=False
            ) as response:
                said = (await response.content.read(SAID_BYTES_MAX)).decode("utf-8", "replace").strip()
                if 200 <= response.status < 300:
                    return "", False
                return f"status {response.status}: {said}", response.status >= 500 or response.status in AGAIN
        except TimeoutError:
            return f"no answer within {self._settings.timeout_s:g} s", True
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"{type(error).__name__}: {_without_url(str(error), webhook.url)}", True

    def _headers(self, body: bytes) -> Mapping[str, str]:
        key = json.loads(body)["idempotency_key"]
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if self._settings.secret:
            at_s = str(int(time.time()))
            headers["X-Orchestrator-Raft-Timestamp"] = at_s
            headers["X-Orchestrator-Raft-Signature"] = f"sha256={signature(self._settings.secret, at_s, body)}"
        return headers


def document(name: str, story: Story) -> bytes:
    """The body: which list, for which recovery, and everything that a command of it is told."""
    recovery = story.recovery
    told = {
        "event": name,
        "recovery": recovery.id,
        "idempotency_key": f"{recovery.id}/{name}",
        "is_drill": story.is_drill,
        "cluster": recovery.subject.cluster_alias or recovery.subject.cluster_name,
        "values": raw_values(story),
    }
    return json.dumps(told).encode()


def signature(secret: bytes, at_s: str, body: bytes) -> str:
    """What a receiver compares with ``hmac.compare_digest``."""
    return hmac.new(secret, at_s.encode() + b"." + body, hashlib.sha256).hexdigest()


def _without_url(text: str, url: str) -> str:
    return text.replace(url, "(its URL)")
