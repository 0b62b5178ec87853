"""``apply`` for any command in any state: never an exception, and the laws of the replicated state hold after each."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_raft.core.instance import Channel, Facts, Flavor, InstanceKey, PromotionRule, SemiSync
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import EndState, Recovery, Request, Subject
from orchestrator_raft.core.replicated import COMMANDS, State, apply
from orchestrator_raft.core.replicated import state as limits
from orchestrator_raft.core.replicated.apply import HANDLERS
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
    ServerObservation,
    SwitchRecoveries,
    UseAccessToken,
)
from orchestrator_raft.core.replicated.policy_commands import (
    BeginMaintenance,
    DropPool,
    DropRule,
    EndMaintenance,
    RegisterRule,
    SetClusterAlias,
    SetVirtualName,
    SubmitPool,
    TagServer,
    UntagServers,
)
from orchestrator_raft.core.topology import SavedTransactions, StaleStatus

KEYS = tuple(InstanceKey(f"10.0.0.{number}", 3306) for number in range(1, 5))
keys = st.sampled_from(KEYS)
some_keys = st.lists(keys, max_size=3, unique=True).map(tuple)
cluster_ids = st.sampled_from(("c1", "c2", "c9"))
recovery_ids = st.sampled_from(("r1", "r2", "r3"))


@st.composite
def facts(draw: st.DrawFn, key: InstanceKey) -> Facts:
    source = draw(st.none() | keys)
    return Facts(
        key=key,
        flavor=draw(st.sampled_from(Flavor)),
        version="8.4.3",
        server_uuid=draw(st.sampled_from(("", "same", key.hostname))),
        read_only=draw(st.booleans()),
        semi_sync=SemiSync(replica_enabled=draw(st.booleans()), source_enabled=draw(st.booleans())),
        channels=() if source is None else (Channel(source=source, source_uuid=draw(st.sampled_from(("", "same")))),),
        cluster_alias=draw(st.sampled_from(("", "shop"))),
    )


@st.composite
def observation(draw: st.DrawFn) -> ServerObservation:
    key = draw(keys)
    seen = draw(st.none() | facts(key))
    return ServerObservation(key=key, facts=seen, reachable=draw(st.booleans()), addresses=draw(some_keys))


@st.composite
def recovery(draw: st.DrawFn, state: State) -> Recovery:
    """A new one, or a known one that goes on, by its holder or by somebody else, sensibly or not."""
    known = state.recoveries.get(draw(recovery_ids))
    if known is None or draw(st.booleans()):
        kind = draw(st.sampled_from((*KINDS, "magic")))
        cluster_id = draw(cluster_ids)
        primary = state.clusters[cluster_id].primary if cluster_id in state.clusters else None
        subject = draw(keys) if primary is None or draw(st.booleans()) else primary
        phases = [phase.name for phase in KINDS[kind].phases] if kind in KINDS else ["x"]
        known = Recovery(
            id=draw(recovery_ids), kind=kind, cluster_id=cluster_id, holder="n1", term=1,
            subject=Subject(key=subject, code="DeadMaster", replicas=draw(some_keys)),
            request=Request(forced=draw(st.booleans())), phase=draw(st.sampled_from(phases[:2])),
            started_ms=0, deadline_ms=10**6,
        )  # fmt: skip
    return replace(
        known,
        term=draw(st.sampled_from((known.term, known.term, known.term + 1))),
        successor=draw(st.none() | keys),
        promoted=draw(st.booleans()),
        fenced=draw(st.booleans()),
        stale=draw(some_keys),
        moved=draw(some_keys),
        lost=draw(some_keys),
        end=draw(st.sampled_from((EndState.RUNNING, EndState.RUNNING, *EndState))),
        finished_ms=state.time_ms,
    )


def savings(text: st.SearchStrategy[str]) -> st.SearchStrategy[SavedTransactions]:
    return st.builds(SavedTransactions, path=text, problem=text)


text = st.sampled_from(("", "a", "b"))
PLAIN: dict[type[Command], dict[str, st.SearchStrategy[Any]]] = {
    RegisterNode: {"node_id": text, "address": text, "http_uri": text, "version": text},
    ForgetServers: {"keys": some_keys, "forced": st.booleans()},
    BeginDowntime: {"key": keys, "owner": text, "reason": text, "ends_ms": st.integers(0, 10**7)},
    EndDowntime: {"key": keys, "expired": st.booleans()},
    MarkStale: {"key": keys, "status": st.sampled_from(StaleStatus), "extra": text},
    RecordSaved: {"key": keys, "saved": savings(text), "recovery_id": st.just("") | recovery_ids},
    ReleaseAckers: {"cluster_id": cluster_ids, "keys": some_keys, "lapses": st.integers(0, 3)},
    AdmitAckers: {"cluster_id": cluster_ids, "keys": some_keys},
    LapsePromise: {"cluster_id": cluster_ids, "because": text},
    ConfirmCaughtUp: {"cluster_id": cluster_ids, "lapses": st.integers(0, 3)},
    ResumeRecovery: {"recovery_id": recovery_ids, "holder": text, "term": st.integers(0, 4)},
    RecordDetection: {"subject": st.builds(Subject, key=keys, code=text), "recovery_id": recovery_ids},
    RecordBlocked: {"key": keys, "cluster_id": cluster_ids, "code": text, "reason": text},
    AcknowledgeRecoveries: {"comment": text, "every": st.booleans(), "cluster_id": cluster_ids},
    SwitchRecoveries: {"enabled": st.booleans()},
    PauseWrites: {"paused": st.booleans(), "cluster_id": st.just("") | cluster_ids, "reason": text},
    GiveWay: {"node_id": text, "reason": text},
    RecordAudit: {"type": text, "message": text, "key": st.none() | keys},
    IssueAccessToken: {
        "digest": text,
        "owner": text,
        "use_until_ms": st.integers(0, 10**7),
        "ends_ms": st.integers(0, 10**7),
    },
    UseAccessToken: {"digest": text, "secret_digest": text},
    BeginMaintenance: {"key": keys, "owner": text, "reason": text, "ends_ms": st.integers(0, 10**7)},
    EndMaintenance: {"key": st.none() | keys, "number": st.integers(0, 3), "expired": st.booleans()},
    RegisterRule: {"key": keys, "rule": st.sampled_from(PromotionRule), "ends_ms": st.integers(0, 10**7)},
    DropRule: {"key": keys, "expired": st.booleans()},
    TagServer: {"key": keys, "name": text, "value": text},
    UntagServers: {"name": text, "key": st.none() | keys, "value": st.none() | text},
    SubmitPool: {"name": text, "members": some_keys, "ends_ms": st.integers(0, 10**7)},
    DropPool: {"name": text, "expired": st.booleans()},
    SetClusterAlias: {"cluster_id": cluster_ids, "alias": text},
    SetVirtualName: {"key": keys, "hostname": text},
    KeepAnswer: {
        "key": text,
        "parameters": text,
        "status": st.just(200),
        "content_type": text,
        "body": st.binary(max_size=9),
    },
}
"""Commands that hold no recovery and no observation."""


@st.composite
def command(draw: st.DrawFn, state: State) -> Command:
    kind = draw(st.sampled_from(COMMANDS))
    common: dict[str, Any] = {
        "id": draw(st.uuids()).hex[: draw(st.sampled_from((1, 32, 32)))],
        "at_ms": draw(st.integers(0, 10**7)),
    }
    match kind:
        case _ if kind in (ClaimRecovery, RecordPhase, FinishRecovery):
            fields: dict[str, st.SearchStrategy[Any]] = {"recovery": recovery(state)} | (
                {"block_ms": st.just(1000)} if kind is ClaimRecovery else {}
            )
        case _ if kind is ObserveServers:
            fields = {"servers": st.lists(observation(), min_size=1, max_size=4).map(tuple)}
        case _:
            fields = PLAIN[kind]
    return kind(**common, **{name: draw(strategy) for name, strategy in fields.items()})


@settings(max_examples=int(os.environ.get("COMMAND_EXAMPLES", "60")), deadline=None)
@given(st.data())
def test_any_commands_keep_the_laws_of_the_state(data: st.DataObject) -> None:
    state = State()
    for _ in range(data.draw(st.integers(1, 25))):
        said = data.draw(command(state))
        after, result = apply(state, said)
        assert (after, result) == apply(state, said), "not deterministic"
        assert (after, result) == apply(after, replace(said, at_ms=said.at_ms + 1)), "not idempotent"
        check(state, after)
        check_marks(after)
        check_events(state, after)
        state = after


def check(before: State, after: State) -> None:
    assert after.time_ms >= before.time_ms
    active = [recovery.cluster_id for recovery in after.active_recoveries]
    assert len(active) == len(set(active)), "two leases on one cluster"
    assert {record.cluster_id for record in after.servers.values()} == set(after.clusters)
    for identifier, cluster in after.clusters.items():
        if identifier in before.clusters:
            assert cluster.generation >= before.clusters[identifier].generation
            if cluster.primary != before.clusters[identifier].primary:
                assert cluster.generation == before.clusters[identifier].generation + 1
        assert not set(cluster.left_behind) & ({cluster.primary} | set(after.stale))
        assert not set(cluster.ackers) & set(cluster.released)
        known = before.clusters.get(identifier, cluster)
        if (known.primary, known.lapses) == (cluster.primary, cluster.lapses):
            lost = (set(known.ackers) - set(cluster.ackers)) & set(after.servers)
            assert lost <= set(cluster.released), "a possible acker was dropped, and the promise stands"
    for identifier in before.frozen_clusters & after.frozen_clusters:
        assert {key for key, record in before.servers.items() if record.cluster_id == identifier} <= {
            key for key, record in after.servers.items() if record.cluster_id == identifier
        }


def check_marks(after: State) -> None:
    """Marks are about known servers, under their own key."""
    for marks in (after.maintenances, after.rules, after.virtual_names):
        assert all(mark.key == key and key in after.servers for key, mark in marks.items())
    assert set(after.tags) <= set(after.servers)
    assert all(tags == tuple(sorted(tags, key=lambda tag: tag.name)) for tags in after.tags.values())


def check_events(before: State, after: State) -> None:
    numbers = [event.number for event in after.events]
    first = after.event_number - len(numbers) + 1
    assert numbers == list(range(first, after.event_number + 1)), "a gap, or a number given twice"
    primaries = {key: record.primary for key, record in after.clusters.items()}
    if primaries != {key: record.primary for key, record in before.clusters.items()}:
        assert after.event_number > before.event_number, "a primary changed, and nobody was told"


def test_every_command_has_a_handler_and_every_handler_a_command() -> None:
    assert set(COMMANDS) == set(HANDLERS)


class FromTheFuture(Command):
    """A command that only a newer version knows."""


def test_an_unknown_command_is_refused_and_moves_only_the_time() -> None:
    after, result = apply(State(), FromTheFuture(id="x", at_ms=5))
    assert not result.ok and "FromTheFuture" in result.reason
    assert replace(State(), time_ms=5) == after


def test_every_history_is_bounded() -> None:
    state = State()
    for number in range(limits.RESULTS_MAX + 50):
        at_ms = number
        subject = Subject(key=KEYS[0], code="x")
        for said in (
            RecordAudit(id=f"a{number}", at_ms=at_ms, type="x", message=""),
            RecordDetection(id=f"d{number}", at_ms=at_ms, subject=subject),
            RecordBlocked(id=f"b{number}", at_ms=at_ms, key=KEYS[0], cluster_id="c1", code=f"{number}", reason=""),
        ):
            state, _ = apply(state, said)
    assert (limits.RESULTS_MAX, limits.AUDIT_MAX, limits.DETECTIONS_MAX, limits.BLOCKED_MAX) == (
        len(state.results), len(state.audit), len(state.detections), len(state.blocked)
    )  # fmt: skip
    assert limits.RESULTS_MAX + 50 == state.audit_number


def test_recoveries_are_bounded_and_a_running_one_is_never_dropped() -> None:
    seen = tuple(ServerObservation(key=key, facts=Facts(key=key, flavor=Flavor.MYSQL, version="9")) for key in KEYS)
    state, _ = apply(State(), ObserveServers(id="o", at_ms=1, servers=seen))
    for number in range(limits.RECOVERIES_MAX + 5):
        begun = Recovery(
            id=f"r{number}", kind="dead_primary", cluster_id="c1", subject=Subject(key=KEYS[0], code="x"),
            holder="n", term=1, phase="begin", started_ms=0, deadline_ms=1,
        )  # fmt: skip
        if number == 0:
            other = replace(begun, id="running", cluster_id="c2", subject=Subject(key=KEYS[1], code="x"))
            state, _ = apply(state, ClaimRecovery(id="other", at_ms=1, recovery=other, block_ms=0))
        state, result = apply(state, ClaimRecovery(id=f"c{number}", at_ms=1, recovery=begun, block_ms=0))
        assert result.ok, result.reason
        ended = replace(state.recoveries[begun.id], end=EndState.FAILED)
        state, _ = apply(state, FinishRecovery(id=f"f{number}", at_ms=1, recovery=ended))
    assert limits.RECOVERIES_MAX == len(state.recoveries)
    assert state.recoveries["running"].is_active
