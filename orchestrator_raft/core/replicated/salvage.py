"""Handler of what became of saving transactions: it belongs to the server's mark and to the return that kept it out."""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.recovery.rejoin import REJOIN
from orchestrator_raft.core.replicated.audit import audited
from orchestrator_raft.core.replicated.commands import RecordSaved
from orchestrator_raft.core.replicated.state import Result, State

SAVED = "saved"


def kept_out_by(state: State, key: InstanceKey) -> Recovery | None:
    """The newest return of this server, if that ended in quarantine."""
    returns = [each for each in state.recoveries.values() if each.kind == REJOIN.name and each.subject.key == key]
    return returns[-1] if returns and returns[-1].end is EndState.QUARANTINED else None


def record_saved(state: State, command: RecordSaved) -> tuple[State, Result]:
    """A later attempt takes the place of an earlier one; one that is about an earlier return tells nothing any more."""
    key = command.key
    if key not in state.servers:
        return state, Result(False, f"{key} is not watched")
    stale, recoveries = dict(state.stale), dict(state.recoveries)
    recovery = kept_out_by(state, key)
    if command.recovery_id != (recovery.id if recovery is not None else ""):
        return state, Result(False, f"{key} was looked at anew while its transactions were saved: save them again")
    saved = replace(command.saved, at_ms=state.time_ms)
    if key in stale:
        stale[key] = replace(stale[key], saved=saved)
    if recovery is not None:
        recoveries[recovery.id] = replace(recovery, saved=saved).marked(SAVED, state.time_ms, str(saved))
    recorded = replace(state, stale=stale, recoveries=recoveries)
    return audited(recorded, command, "save-lost-transactions", str(saved), key), Result(True)
