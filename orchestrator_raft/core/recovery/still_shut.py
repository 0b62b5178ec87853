"""The promotion of a takeover: nobody is opened before the old primary was seen shut, with nothing that is new.

Theory. Read-only is gone after a restart, and a leader that resumes does not know what happened meanwhile. Whoever
still replicates from the old primary acknowledges what that takes. So there are three answers to a look at it:
- it answers, is read-only (it is made so once more), and has written nothing since the successor was chosen: go on;
- it answers and has: it stays the primary. The successor, which may have been opened, is shut first (see ``undo``);
- it does not answer: its replicas are stopped and compared, and only a successor that lacks nothing of theirs is
  opened (see ``undo`` as well). One that is open already is the primary, whatever the old one did: that is listed.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.gtid import parse
from orchestrator_raft.core.recovery.machine import Context, Phase
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.recovery.promotion import LISTED, OnFailure, listed, promote_phase
from orchestrator_raft.core.recovery.steps import Outcomes, Reprobe, SetReadOnly, Step, succeeded
from orchestrator_raft.core.recovery.undo import revoke
from orchestrator_raft.core.topology import Server

LOOK_S = 0.5
"""How long a look at one server may take; writes are refused meanwhile."""


def is_still_shut(context: Context) -> bool:
    """The old primary takes no writes and took none since it was demoted, or it is dealt with by the stale list."""
    recovery, servers = context.recovery, context.topology.servers
    key = recovery.subject.key
    if key not in servers or (key in recovery.stale and recovery.mark_time(LISTED) is not None):
        return True
    primary = servers[key]
    return primary.fresh is not None and not primary.fresh.is_writable and not _wrote(context, primary)


def _wrote(context: Context, primary: Server) -> bool:
    """It has transactions of its own that the successor was not chosen with, and that it has not executed either."""
    recovery, facts = context.recovery, primary.fresh
    if facts is None or facts.executed is None:
        return True
    own = facts.executed.only_from(
        facts.executed.sources_of_server(server_uuid=facts.server_uuid, server_id=facts.server_id)
    )
    new = own.minus(parse(own.family, recovery.target_gtids))
    successor = context.topology.servers.get(recovery.successor) if recovery.successor is not None else None
    has = successor.fresh.executed if successor is not None and successor.fresh is not None else None
    return bool(new if has is None or has.family != new.family else new.minus(has))


def _look(context: Context) -> tuple[Step, ...]:
    recovery, key = context.recovery, context.recovery.subject.key
    shut = SetReadOnly(key=key, deadline_s=context.policy.demotion_block_limit_s / 2)
    successor = (Reprobe(key=recovery.successor, deadline_s=LOOK_S),) if recovery.successor is not None else ()
    return (Reprobe(key=key, deadline_s=LOOK_S), shut, Reprobe(key=key, deadline_s=LOOK_S), *successor)


def _looked(context: Context, outcomes: Outcomes) -> Recovery:
    recovery, now = context.recovery, context.now_ms
    key, successor = recovery.subject.key, recovery.successor
    if is_still_shut(context):
        return recovery.goto("promote", now)
    if succeeded(outcomes, Reprobe, key) is not None:
        return revoke(recovery, now, f"{key} took writes again after it had been made read-only")
    read = succeeded(outcomes, Reprobe, successor) if successor is not None else None
    if read is not None and read.facts is not None and read.facts.is_writable:
        return listed(recovery, now, f"{key} does not answer, and {successor} takes writes already").goto(
            "promote", now
        )
    return revoke(recovery, now, f"{key} does not answer any more")


def promote_unless_reopened(on_failure: OnFailure) -> Phase:
    """The phase of promotion, with that look before it."""
    promote = promote_phase(on_failure)

    def enter(context: Context) -> tuple[Step, ...]:
        return promote.enter(context) if is_still_shut(context) else _look(context)

    def leave(context: Context, outcomes: Outcomes) -> Recovery:
        key = context.recovery.subject.key
        looked = any(isinstance(each.step, Reprobe) and each.key == key for each in outcomes)
        return _looked(context, outcomes) if looked else promote.leave(context, outcomes)

    return replace(promote, enter=enter, leave=leave)
