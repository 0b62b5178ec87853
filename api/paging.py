"""Lists of the native API in portions: ``?limit=100``, and ``after=`` the name of the last entry that one has.

An answer that is not the end of its list has ``Link: <...>; rel="next"``, and each says in ``X-Total-Count`` how long
the whole list is. Entries are named, not counted, so nothing is skipped or told twice when others come and go
meanwhile; if the named entry itself is gone, that is said (400), and one begins anew. Without ``limit`` a list is
answered whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from orchestrator_raft.core.analysis import Diagnosis
from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.replicated.state import BlockedRecovery
from orchestrator_raft.engine.service import Reply

from .exchange import Ask, Headers
from .routing import Match

LIMIT, AFTER = "limit", "after"
LIMIT_MAX = 10_000
LISTS = frozenset({
    "clusters", "clusters-info", "cluster", "masters", "instance-replicas", "all-instances", "replication-analysis",
    "problems", "downtimed", "maintenance", "bulk-promotion-rules", "tags", "tagged", "pools", "cluster-osc-replicas",
    "blocked-recoveries",
})  # fmt: skip
"""Operations whose native answers can be had in portions. Those with ``page`` have it instead."""


def is_paged(match: Match) -> bool:
    return match.route.is_native and match.route.operation.name in LISTS


def is_asked(ask: Ask) -> bool:
    return LIMIT in ask.query_values or AFTER in ask.query_values


def without_portion(ask: Ask) -> Ask:
    """The same request as its operation knows it."""
    return replace(ask, query=tuple(pair for pair in ask.query if pair[0] not in (LIMIT, AFTER)))


def portion(ask: Ask, reply: Reply) -> tuple[Reply, Headers]:
    """The part of the list that is asked for, and what leads to the next. Raises InvalidInput."""
    items = reply.value
    if not isinstance(items, list | tuple):
        raise AssertionError("only lists are had in portions")
    query = ask.query_values
    limit = _limit(query.get(LIMIT, ""))
    start = _start(items, query.get(AFTER, ""))
    end = len(items) if limit is None else start + limit
    headers: Headers = (("X-Total-Count", str(len(items))),)
    if end < len(items):
        others = [pair for pair in ask.query if pair[0] != AFTER]
        following = urlencode([*others, (AFTER, name_of(items[end - 1]))])
        headers = (*headers, ("Link", f'<{ask.path}?{following}>; rel="next"'))
    return replace(reply, value=list(items[start:end])), headers


def _limit(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 7 and 0 < int(text) <= LIMIT_MAX):
        raise InvalidInput(f"'{text}' is no number from 1 to {LIMIT_MAX} ({LIMIT})")
    return int(text)


def _start(items: Sequence[Any], after: str) -> int:
    if not after:
        return 0
    for position, item in enumerate(items, start=1):
        if name_of(item) == after:
            return position
    raise InvalidInput(f"'{after}' is not in this list any more ({AFTER}): begin anew without it")


def name_of(item: Any) -> str:
    """What tells an entry from the others of its list: its address, id, number or name."""
    if isinstance(item, Diagnosis):
        return str(item.situation.key)
    if isinstance(item, BlockedRecovery):
        return f"{item.key} {item.code}"
    for field in ("id", "number", "key", "name"):
        found = getattr(item, field, None)
        if found is not None and not callable(found):
            return str(found)
    return str(item)
