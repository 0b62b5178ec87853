"""All nodes of the cluster as they see themselves, asked by one of them over the channel.

Whoever is asked asks everybody else at once and waits a bounded time. A node that does not answer is part of the
answer, with the reason: the screen for people must not be empty just when something is wrong.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from orchestrator_raft.core.errors import OrchestratorError
from orchestrator_raft.raft.channel import Channel
from orchestrator_raft.raft.status import Member, RaftStatus, plain

STATUS = "raft.status"
ANSWER_S = 1.0
Overview = dict[str, Any]
"""``asked``: id of the node that was asked; ``nodes``: of each member its status, or its id, address and ``error``."""


def encode(status: RaftStatus) -> bytes:
    return json.dumps(plain(status)).encode()


async def overview(own: RaftStatus, channel: Channel, *, timeout_s: float = ANSWER_S) -> Overview:
    """This node's status and everybody else's. Never raises for a node that does not answer."""
    asked: Sequence[Member] = [member for member in own.members if not member.is_self]
    answers = await asyncio.gather(*(_ask(channel, member, timeout_s) for member in asked))
    nodes = sorted([plain(own), *answers], key=lambda node: str(node["id"]))
    return {"asked": own.id, "nodes": nodes}


async def _ask(channel: Channel, member: Member, timeout_s: float) -> dict[str, Any]:
    try:
        answer = json.loads(await channel.call(member.id, STATUS, b"", timeout_s=timeout_s))
    except (OrchestratorError, ValueError, RecursionError) as error:
        return {"id": member.id, "address": member.address, "error": member.problem or str(error)}
    if not isinstance(answer, dict):
        return {"id": member.id, "address": member.address, "error": "its answer is no status"}
    return {**answer, "id": member.id}
