"""Opens connections: names, addresses, TLS policy and the deadline over all of it.

In mixed mode a server is first tried in plain text. If it refuses that login in a way that may mean "not without TLS",
and offers TLS, it is tried so; what it wants is remembered until it is forgotten or no longer offers it.
"""

from __future__ import annotations

import asyncio
import ssl

from orchestrator_raft.core.instance import InstanceKey, UnreachableKind
from orchestrator_raft.mysql import failures
from orchestrator_raft.mysql.connection import Connection
from orchestrator_raft.mysql.failures import WANTS_TLS, Phase, Unreached
from orchestrator_raft.mysql.names import Names
from orchestrator_raft.mysql.settings import MysqlSettings, TlsMode, tls_context


class Connector:
    """Makes connections by the settings. Raises StartupError where the TLS files cannot be used."""

    def __init__(self, settings: MysqlSettings, names: Names | None = None) -> None:
        self.settings = settings
        self._context = tls_context(settings)
        self._names = names or Names()
        self._want_tls: set[InstanceKey] = set()

    def __repr__(self) -> str:
        return f"<Connector as {self.settings.user}, TLS {self.settings.tls.value}>"

    def forget(self, key: InstanceKey) -> None:
        """Forget what is remembered of a server that is no longer watched."""
        self._want_tls.discard(key)

    async def connect(self, key: InstanceKey, *, timeout_s: float) -> Connection:
        """A connection, logged in. Raises Unreached at the deadline at the latest."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        if self.settings.tls is not TlsMode.MIXED:
            return await self._open(key, self._context, deadline_s)
        if key in self._want_tls:
            return await self._open_encrypted(key, deadline_s)
        return await self._open_mixed(key, deadline_s)

    async def _open_mixed(self, key: InstanceKey, deadline_s: float) -> Connection:
        try:
            return await self._open(key, None, deadline_s)
        except Unreached as refusal:
            if refusal.number not in WANTS_TLS:
                raise
            try:
                encrypted = await self._open(key, self._context, deadline_s)
            except Unreached as failure:
                raise (refusal if failure.kind is UnreachableKind.TLS_MISSING else failure) from None
        self._want_tls.add(key)
        return encrypted

    async def _open_encrypted(self, key: InstanceKey, deadline_s: float) -> Connection:
        try:
            return await self._open(key, self._context, deadline_s)
        except Unreached as failure:
            if failure.kind is not UnreachableKind.TLS_MISSING:
                raise
        self._want_tls.discard(key)
        return await self._open(key, None, deadline_s)

    async def _open(self, key: InstanceKey, context: ssl.SSLContext | None, deadline_s: float) -> Connection:
        addresses = await self._addresses(key, deadline_s)
        for place, address in enumerate(addresses, 1):
            connection = Connection(key, self.settings, context)
            left_s = deadline_s - asyncio.get_running_loop().time()
            share_s = left_s / (len(addresses) - place + 1)
            try:
                await connection.open(address, timeout_s=share_s)
            except Unreached:
                if place == len(addresses) or connection.phase is not Phase.CONNECTING:
                    raise
            else:
                return connection
        raise Unreached(UnreachableKind.UNRESOLVABLE, f"lookup {key.hostname}: no such host")

    async def _addresses(self, key: InstanceKey, deadline_s: float) -> list[str]:
        try:
            async with asyncio.timeout_at(deadline_s):
                return await self._names.addresses(key.hostname)
        except TimeoutError:
            raise failures.of_timeout(key, Phase.RESOLVING) from None
        except OSError as error:
            raise failures.of_error(key, error) from error
