"""``orchestrator-raft recover``: the last resort after a lost majority, and its trace in the audit trail."""

from __future__ import annotations

import asyncio
import datetime
import getpass
import os
import socket

import structlog

from orchestrator_raft.app.consensus import Node
from orchestrator_raft.app.plain import raft_of
from orchestrator_raft.config import Loaded
from orchestrator_raft.core.errors import Refused, Unavailable
from orchestrator_raft.core.replicated.commands import RecordAudit
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.raft.recover import DANGER, recover

log = structlog.get_logger("orchestrator_raft")
RETRY_S = 1.0


def run(loaded: Loaded, *, confirmed: bool) -> str:
    """What was done, for people. Raises Refused with the dangers unless they were confirmed, and StartupError."""
    if not confirmed:
        raise Refused(f"{DANGER}\nTo do it all the same: orchestrator-raft recover --config FILE --i-have-lost-quorum")
    by = f"{_user()} on {socket.gethostname()}"
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    done = asyncio.run(recover(raft_of(loaded.settings), by=by, at=at))
    return (
        f"{done}.\nStart it now; then empty the RaftDataDir of each other node, start it, and run raftctl member add."
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # this user id has no name
        return str(os.getuid())


async def report_recovery(node: Node, proposals: Proposals) -> None:
    """Put it into the audit trail, once, as soon as this node leads."""
    text = node.unreported_recovery
    while text:
        if node.authority() is not None:
            try:
                await proposals.propose(RecordAudit, type="raft-recover", message=text)
            except Unavailable as error:
                log.warning("the recovery of a lost quorum is not in the audit trail yet", cause=str(error))
            else:
                node.recovery_is_reported()
                return
        await asyncio.sleep(RETRY_S)
