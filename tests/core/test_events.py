"""What followers of the events are told: every change of the state that people care about, numbered without gaps."""

from __future__ import annotations

from dataclasses import replace

from orchestrator_raft.core.instance import Channel, Facts, Flavor, InstanceKey
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import EndState, Recovery, Request, Subject
from orchestrator_raft.core.replicated import Command, State, apply
from orchestrator_raft.core.replicated.commands import (
    BeginDowntime,
    ClaimRecovery,
    EndDowntime,
    FinishRecovery,
    ForgetServers,
    ObserveServers,
    RecordAudit,
    RecordDetection,
    RecordPhase,
    ServerObservation,
    SwitchRecoveries,
)
from orchestrator_raft.core.replicated.state import EVENTS_MAX

P, R = InstanceKey("10.0.0.1", 3306), InstanceKey("10.0.0.2", 3306)
FIRST, SECOND = (phase.name for phase in KINDS["dead_primary"].phases[:2])


def facts(key: InstanceKey, source: InstanceKey | None = None, *, read_only: bool = False) -> Facts:
    return Facts(
        key=key, flavor=Flavor.MYSQL, version="8.4.3", server_uuid=f"uuid-{key.hostname}", read_only=read_only,
        channels=() if source is None else (Channel(source=source),),
    )  # fmt: skip


class Log:
    def __init__(self) -> None:
        self.state = State()
        self.said = 0

    def say(self, command: Command) -> list[str]:
        """Types of the events that the command made."""
        self.said += 1
        before = self.state.event_number
        self.state, result = apply(self.state, replace(command, id=f"c{self.said}"))
        assert result.ok, result
        return [event.type for event in self.state.events if event.number > before]

    def observe(self, *seen: ServerObservation) -> list[str]:
        return self.say(ObserveServers(id="", at_ms=1, servers=seen))


def pair() -> Log:
    log = Log()
    log.observe(ServerObservation(key=P, facts=facts(P)), ServerObservation(key=R, facts=facts(R, P, read_only=True)))
    return log


def test_servers_and_clusters_that_appear_are_told() -> None:
    log = pair()
    assert [event.type for event in log.state.events] == ["server-discovered", "server-discovered", "cluster-appeared"]
    assert [event.number for event in log.state.events] == [1, 2, 3]
    assert log.observe(ServerObservation(key=P, facts=facts(P))) == [], "nothing has changed"


def test_each_change_of_a_server_is_told() -> None:
    log = pair()
    assert log.observe(ServerObservation(key=R, facts=None, reachable=False)) == ["server-unreachable"]
    assert log.observe(ServerObservation(key=R, facts=facts(R, P, read_only=True))) == ["server-reachable"]
    assert log.observe(ServerObservation(key=R, facts=facts(R, P))) == ["read-only-changed"]
    assert "source-changed" in log.observe(ServerObservation(key=R, facts=facts(R)))
    forgotten = log.say(ForgetServers(id="", at_ms=2, keys=(R,), forced=True))
    assert "server-forgotten" in forgotten


def test_marks_and_switches_are_told() -> None:
    log = pair()
    downtime = BeginDowntime(
        id="", at_ms=5, key=R, owner="ann", reason="disk", ends_ms=10**6, by="ann", request_id="q1"
    )
    assert log.say(downtime) == ["downtime-begun"]
    event = log.state.events[-1]
    assert (event.server, event.by, event.request_id) == (R, "ann", "q1")
    assert "ann: disk" in event.text
    assert log.say(EndDowntime(id="", at_ms=6, key=R)) == ["downtime-ended"]
    assert log.say(SwitchRecoveries(id="", at_ms=7, enabled=False)) == ["recoveries-disabled"]
    assert log.say(SwitchRecoveries(id="", at_ms=8, enabled=True)) == ["recoveries-enabled"]


def test_a_recovery_is_told_phase_by_phase() -> None:
    log = pair()
    cluster = next(iter(log.state.clusters))
    recovery = Recovery(
        id="r1", kind="dead_primary", cluster_id=cluster, subject=Subject(key=P, code="DeadMaster"), holder="n1",
        term=1, request=Request(forced=True), phase=FIRST, started_ms=1, deadline_ms=10**6,
    )  # fmt: skip
    started = log.say(ClaimRecovery(id="", at_ms=9, recovery=recovery, block_ms=0))
    assert started[0] == "recovery-started"
    recorded = log.state.recoveries["r1"]
    assert log.say(RecordPhase(id="", at_ms=10, recovery=recorded.goto(SECOND, 10))) == ["recovery-phase"]
    assert log.state.events[-1].phase == SECOND
    promoted = replace(log.state.recoveries["r1"], successor=R, promoted=True)
    told = log.say(RecordPhase(id="", at_ms=11, recovery=promoted))
    assert {"recovery-promoted", "primary-changed"} <= set(told)
    ended = log.state.recoveries["r1"].ended(EndState.SUCCEEDED, 12)
    assert "recovery-ended" in log.say(FinishRecovery(id="", at_ms=12, recovery=ended))
    assert {event.recovery_id for event in log.state.events if event.type.startswith("recovery-")} == {"r1"}


def test_a_detection_is_told_once() -> None:
    log = pair()
    assert log.say(RecordDetection(id="", at_ms=3, subject=Subject(key=P, code="DeadMaster"))) == ["problem-detected"]
    assert log.say(RecordAudit(id="", at_ms=4, type="x", message="y")) == []


def test_only_the_newest_are_kept_and_none_is_numbered_twice() -> None:
    log = pair()
    for number in range(EVENTS_MAX + 20):
        log.say(SwitchRecoveries(id="", at_ms=number, enabled=bool(number % 2)))
    numbers = [event.number for event in log.state.events]
    assert len(numbers) == EVENTS_MAX
    assert numbers == list(range(log.state.event_number - EVENTS_MAX + 1, log.state.event_number + 1))
