"""``apply``: the state after one more command.

Deterministic and total: equal inputs give equal outputs on every node, and nothing in here raises for any command; what
cannot be done is answered with a ``Result`` that says why. One handler a command, in a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

from orchestrator_raft.core.replicated import policies, promises, recoveries, salvage, servers, visitors
from orchestrator_raft.core.replicated.audit import audited
from orchestrator_raft.core.replicated.commands import (
    AcknowledgeRecoveries,
    AdmitAckers,
    BeginDowntime,
    ClaimRecovery,
    Command,
    ConfirmCaughtUp,
    EndDowntime,
    FinishRecovery,
    ForgetServers,
    GiveWay,
    IssueAccessToken,
    KeepAnswer,
    LapsePromise,
    MarkStale,
    ObserveServers,
    PauseWrites,
    RecordAudit,
    RecordBlocked,
    RecordDetection,
    RecordPhase,
    RecordSaved,
    RegisterNode,
    ReleaseAckers,
    ResumeRecovery,
    SwitchRecoveries,
    UseAccessToken,
)
from orchestrator_raft.core.replicated.events import with_events
from orchestrator_raft.core.replicated.publications import with_publications
from orchestrator_raft.core.replicated.state import RESULTS_MAX, NodeRecord, Result, State, WritePause

GIVE_WAY_BLOCK_MS = 600_000
Applied = tuple[State, Result]
Handler = Callable[[State, Any], Applied]


def register_node(state: State, command: RegisterNode) -> Applied:
    record = NodeRecord(
        node_id=command.node_id,
        address=command.address,
        http_uri=command.http_uri,
        version=command.version,
        registered_ms=state.time_ms,
    )
    return replace(state, nodes={**state.nodes, command.node_id: record}), Result(True)


def switch_recoveries(state: State, command: SwitchRecoveries) -> Applied:
    word = "enable" if command.enabled else "disable"
    switched = replace(state, recoveries_disabled=not command.enabled)
    return audited(switched, command, f"{word}-global-recoveries", "automatic recoveries"), Result(True)


def pause_writes(state: State, command: PauseWrites) -> Applied:
    """Pauses of single clusters and that of all are told apart: each ends by itself."""
    cluster = state.clusters.get(command.cluster_id)
    if command.cluster_id and cluster is None:
        return state, Result(False, f"there is no cluster {command.cluster_id}")
    others = {
        key: each for key, each in state.pauses.items() if key != command.cluster_id and key in ("", *state.clusters)
    }
    if not command.paused and command.cluster_id not in state.pauses:
        return state, Result(False, f"writes to {cluster.name if cluster else 'all clusters'} are not paused")
    pause = WritePause(
        cluster_id=command.cluster_id, by=command.by, reason=command.reason, since_ms=state.time_ms
    )  # fmt: skip
    pauses = {**others, command.cluster_id: pause} if command.paused else others
    if not command.paused:  # what was refused because of it is asked for again, and answered anew
        told_anew = [each for each in state.blocked if not each.blocking_recovery_id]
        state = replace(state, blocked=tuple(each for each in state.blocked if each not in told_anew))
    text = f"writes to {cluster.name if cluster else 'all clusters'}: {command.reason}".rstrip(": ")
    word = "pause-writes" if command.paused else "resume-writes"
    return audited(replace(state, pauses=pauses), command, word, text), Result(True)


def give_way(state: State, command: GiveWay) -> Applied:
    """Whoever leads: nodes that see different parts of the fleet do not pass the leadership round."""
    since_ms = state.time_ms - state.gave_way_ms
    if state.gave_way_ms and since_ms < GIVE_WAY_BLOCK_MS:
        text = f"leadership was given away for that reason {since_ms // 1000} s ago, and is again after ten minutes"
        return state, Result(False, text)
    if state.active_recoveries:
        return state, Result(False, "a recovery is running, which is not handed over in its midst")
    given = replace(state, gave_way_ms=state.time_ms)
    return audited(given, command, "give-leadership-away", f"to {command.node_id}: {command.reason}"), Result(True)


def record_audit(state: State, command: RecordAudit) -> Applied:
    return audited(state, command, command.type, command.message, command.key), Result(True)


HANDLERS: dict[type[Command], Handler] = {
    RegisterNode: register_node,
    ObserveServers: servers.observe,
    ForgetServers: servers.forget,
    BeginDowntime: servers.begin_downtime,
    EndDowntime: servers.end_downtime,
    MarkStale: servers.mark_stale,
    RecordSaved: salvage.record_saved,
    ReleaseAckers: promises.release_ackers,
    AdmitAckers: promises.admit_ackers,
    LapsePromise: promises.lapse,
    ConfirmCaughtUp: promises.confirm_caught_up,
    ClaimRecovery: recoveries.claim,
    ResumeRecovery: recoveries.resume,
    RecordPhase: recoveries.record_phase,
    FinishRecovery: recoveries.finish,
    RecordDetection: recoveries.record_detection,
    RecordBlocked: recoveries.record_blocked,
    AcknowledgeRecoveries: recoveries.acknowledge,
    PauseWrites: pause_writes,
    SwitchRecoveries: switch_recoveries,
    GiveWay: give_way,
    RecordAudit: record_audit,
    IssueAccessToken: visitors.issue_token,
    UseAccessToken: visitors.use_token,
    KeepAnswer: visitors.keep_answer,
    **policies.HANDLERS,
}


def apply(state: State, command: Command) -> Applied:
    """The next state and the command's result. A command id seen before changes nothing and answers the same."""
    known = state.results.get(command.id)
    if known is not None:
        return state, known
    handler = HANDLERS.get(type(command))
    now = replace(state, time_ms=max(state.time_ms, command.at_ms))
    if handler is None:
        return now, Result(False, f"this version knows no command {type(command).__name__}: upgrade this node")
    after, result = handler(now, command)
    after = with_publications(now, promises.with_lapses(now, after))
    after = with_events(now, after, command)
    return replace(after, results=_remember(after, command.id, result)), result


def _remember(state: State, command_id: str, result: Result) -> dict[str, Result]:
    excess = len(state.results) + 1 - RESULTS_MAX
    kept = dict(islice(state.results.items(), max(0, excess), None))
    kept[command_id] = result
    return kept
