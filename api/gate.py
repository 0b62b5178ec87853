"""``Gate``: who is let in, before anything else is looked at: ``access`` decides, with what is found out here.

Certificate, then credentials. Failed logins slow down by ``logins``; Unix groups come from the system, access tokens
from the replicated state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from . import access
from .access import Admitted, Visitor
from .exchange import TEXT, Answer, Ask
from .logins import RETRY_AFTER_S, Logins
from .settings import ApiSettings, AuthenticationMethod

GROUPS_TIMEOUT_S = 2.0
TOO_MANY = b"Too many failed logins from your address: try again in a moment\n"
OnError = Callable[[str, str, BaseException], None]
"""Hears of defects: request id, method and path, the exception."""


class Tokens(Protocol):
    """Whoever knows access tokens."""

    def token_owner(self, token: str) -> str | None:
        """Whose token this is; None if it is not valid."""


class Gate:
    """The entrance of one node."""

    def __init__(self, settings: ApiSettings, tokens: Tokens, on_error: OnError) -> None:
        access.check(settings)
        self._settings = settings
        self._tokens = tokens
        self._on_error = on_error
        self._logins = Logins(time.monotonic, delay_max_s=settings.failed_login_delay_max_s)

    async def admit(self, ask: Ask) -> Admitted | Answer:
        """Who it is, or the answer for nobody."""
        refusal = access.certificate_refusal(self._settings, ask)
        if refusal:
            return Answer(status=401, body=refusal, content_type=TEXT)
        if self._logins.is_crowded(ask.remote):
            return Answer(status=429, body=TOO_MANY, content_type=TEXT, headers=(("Retry-After", str(RETRY_AFTER_S)),))
        admitted = access.admit(self._settings, await self._visitor(ask))
        if admitted is not None:
            return access.named(admitted, ask)
        if access.credentials(ask.headers) is not None:
            await self._logins.hold_back(ask.remote)
        return Answer(status=401, body=access.NOT_ADMITTED, content_type=TEXT, headers=(access.CHALLENGE,))

    async def _visitor(self, ask: Ask) -> Visitor:
        settings = self._settings
        groups: frozenset[str] = frozenset()
        owner = None
        if settings.authentication is AuthenticationMethod.PROXY and settings.power_groups:
            user = access.proxy_user(settings, ask.headers, ask.remote)
            groups = await self._groups(user, ask) if user else groups
        if settings.authentication is AuthenticationMethod.TOKEN:
            token = access.presented_token(ask.headers)
            owner = self._tokens.token_owner(token) if token else None
        return Visitor(headers=ask.headers, remote=ask.remote, groups=groups, token_owner=owner)

    async def _groups(self, user: str, ask: Ask) -> frozenset[str]:
        """Groups as the system knows them; none when its directory does not answer in time."""
        try:
            async with asyncio.timeout(GROUPS_TIMEOUT_S):
                return await asyncio.to_thread(access.unix_groups, user)
        except (TimeoutError, OSError) as error:
            self._on_error(ask.request_id, f"Unix groups of {user}", error)
            return frozenset()
