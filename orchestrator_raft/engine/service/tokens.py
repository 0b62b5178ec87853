"""Access tokens, as the peers have them: made for somebody, taken into use within a minute, valid for a day.

The state has digests only. The public part is for whoever is to use it and worth nothing once it was used; ``public:
secret``, which its use gives, is what requests carry.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from orchestrator_raft.core.errors import InvalidInput, Refused
from orchestrator_raft.core.replicated import State
from orchestrator_raft.core.replicated.commands import IssueAccessToken, UseAccessToken
from orchestrator_raft.core.replicated.visitors import valid_token
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.service.calls import Call, Reply

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk

PART_BYTES = 32
OWNER_MAX = 128


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def owner_of(state: State, token: str, now_ms: int) -> str | None:
    """Whose token ``public:secret`` is; None for one that is not valid now."""
    public, colon, secret = token.partition(":")
    found = valid_token(state, digest(public), now_ms) if colon else None
    if found is None or not hmac.compare_digest(found.secret_digest, digest(secret)):
        return None
    return found.owner


async def issue(call: Call, desk: Desk) -> Reply:
    owner = call.text("owner") or call.person.name
    if len(owner) > OWNER_MAX or not owner.isprintable():
        raise InvalidInput(f"'owner' has to be a name of at most {OWNER_MAX} printable characters")
    now_ms = desk.moment_ms()
    public = secrets.token_hex(PART_BYTES)
    result = await Proposals(desk.outside.consensus, desk.outside.clock).propose(
        IssueAccessToken, by=call.person.name, request_id=call.request_id, digest=digest(public), owner=owner,
        use_until_ms=now_ms + desk.settings.token_use_s * 1000, ends_ms=now_ms + desk.settings.token_valid_s * 1000,
    )  # fmt: skip
    if not result.ok:
        raise Refused(result.reason)
    return Reply(message=f"Use it within {desk.settings.token_use_s} s: it is shown only now", value=public)


async def use(call: Call, desk: Desk) -> Reply:
    public, secret = call.text("publicToken"), secrets.token_hex(PART_BYTES)
    result = await Proposals(desk.outside.consensus, desk.outside.clock).propose(
        UseAccessToken, by=call.person.name, request_id=call.request_id, digest=digest(public),
        secret_digest=digest(secret),
    )  # fmt: skip
    if not result.ok:
        raise Refused(result.reason)
    return Reply(message=f"{result.value or 'somebody'}: send it as a Bearer token", value=f"{public}:{secret}")


HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {"access-token": issue, "use-access-token": use}
