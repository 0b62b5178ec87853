"""Replication accounts: where a server that never was a replica gets the user and password to become one.

In this order: ReplicationCredentialsQuery, if one is configured, asked of the servers at hand; the account that a
replica of the cluster uses, where its server tells it (MySQL does, MariaDB does not); the account remembered from a
replica before it was promoted. Accounts live in this process's memory only: never logged, never replicated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator_raft.core.errors import AuthorityLost, ServerError
from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.engine.hands import Hands
from orchestrator_raft.flavors import DIALECTS
from orchestrator_raft.flavors.base import Account

ASK_TIMEOUT_S = 1.0


class AccountBook:
    """Finds replication accounts, and remembers them by cluster."""

    def __init__(self, hands: Hands, credentials_query: str = "", own: Account | None = None) -> None:
        self.own = own
        """The manager's own account: not for replication."""
        self._hands = hands
        self._credentials_query = credentials_query
        self._remembered: dict[str, Account] = {}

    def __repr__(self) -> str:
        return f"<AccountBook of {len(self._remembered)} clusters>"

    async def find(self, cluster_id: str, servers: Iterable[Facts], *, term: int) -> Account | None:
        """An account for a new replica of this cluster, from the first of ``servers`` that tells one."""
        for facts in servers:
            account = await self._from(facts, term)
            if account is not None:
                self._remembered[cluster_id] = account
                return account
        return self._remembered.get(cluster_id)

    async def remember(self, cluster_id: str, facts: Facts, *, term: int) -> None:
        """Note the account of a replica that is about to forget it."""
        account = await self._from(facts, term)
        if account is not None:
            self._remembered[cluster_id] = account

    async def _from(self, facts: Facts, term: int) -> Account | None:
        queries = [self._credentials_query] if self._credentials_query else []
        if facts.channel is not None:
            queries += DIALECTS[facts.flavor].account_queries(facts)
        for query in queries:
            rows = await self._rows(facts.key, query, term)
            if rows and (account := _account(rows[0])) is not None:
                return account
        return None

    async def _rows(self, key: InstanceKey, query: str, term: int) -> list[dict[str, object]]:
        try:
            return await self._hands.ask(key, query, term=term, timeout_s=ASK_TIMEOUT_S)
        except AuthorityLost:
            raise
        except (ServerError, TimeoutError):
            return []  # this one does not tell; the caller asks the next and complains when nobody does


def _account(row: Mapping[str, Any]) -> Account | None:
    """The first two columns are user and password, whatever they are called."""
    values = list(row.values())
    if len(values) < 2 or not values[0]:
        return None
    return Account(_text(values[0]), _text(values[1]))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value if value is not None else "")
