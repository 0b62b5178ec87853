"""``If-Match`` and ``If-None-Match`` of the native API: a policy is set only where it still is what somebody looked at.

A policy's ``ETag`` is a number, another one each time it is set, and ``"0"`` where there is none. The state itself
compares it (``PolicyCommand.if_version``), so of two people who looked at the same, one succeeds and the other is told.
"""

from __future__ import annotations

import re

from orchestrator_raft.core.errors import InvalidInput

from .exchange import Ask
from .routing import Match

VERSIONED = frozenset({
    "begin-downtime", "end-downtime", "begin-maintenance", "end-maintenance", "register-candidate",
    "deregister-candidate", "submit-pool-instances", "drop-pool", "set-cluster-alias", "drop-cluster-alias",
    "register-hostname-unresolve", "deregister-hostname-unresolve",
})  # fmt: skip
_TAG = re.compile(r'"(\d{1,18})"')


def wanted(ask: Ask, match: Match) -> int | None:
    """The version that a write is meant for; None where it does not mind. Raises InvalidInput."""
    tag, none = ask.header("if-match").strip(), ask.header("if-none-match").strip()
    if not match.route.is_native or not match.route.operation.writes or not (tag or none):
        return None
    if match.route.operation.name not in VERSIONED:
        raise InvalidInput(f"{match.route.operation.name} knows no versions (If-Match): leave the header out")
    found = _TAG.fullmatch(tag)
    if none == "*" and not tag:
        return 0
    if found is None or none:
        raise InvalidInput('write If-Match: "NUMBER" as the ETag says, or If-None-Match: * where there should be none')
    return int(found[1])
