"""The audit trail inside the state: who did what to which server, newest last, bounded."""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated.commands import Command
from orchestrator_raft.core.replicated.state import AUDIT_MAX, AuditEntry, State


def audited(state: State, command: Command, type_: str, message: str, key: InstanceKey | None = None) -> State:
    """With one more audit entry, attributed to whoever proposed ``command``."""
    entry = AuditEntry(
        number=state.audit_number + 1,
        at_ms=state.time_ms,
        type=type_,
        message=message,
        key=key,
        by=command.by,
        request_id=command.request_id,
    )
    return replace(state, audit=(*state.audit[-(AUDIT_MAX - 1) :], entry), audit_number=entry.number)
