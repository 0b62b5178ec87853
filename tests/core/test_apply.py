"""The replicated log: claims, records, and what follows from them for servers and clusters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator_raft.core.instance import Facts, Flavor, InstanceKey
from orchestrator_raft.core.recovery.model import EndState, Recovery, Request, Subject
from orchestrator_raft.core.recovery.rejoin import returning
from orchestrator_raft.core.replicated import Result, State, apply
from orchestrator_raft.core.replicated.claims import refuse_claim
from orchestrator_raft.core.replicated.commands import (
    AcknowledgeRecoveries,
    BeginDowntime,
    ClaimRecovery,
    EndDowntime,
    FinishRecovery,
    ForgetServers,
    ObserveServers,
    RecordAudit,
    RecordPhase,
    RegisterNode,
    ResumeRecovery,
    ServerObservation,
    SwitchRecoveries,
)
from orchestrator_raft.core.replicated.policy_commands import BeginMaintenance
from orchestrator_raft.core.replicated.state import RECOVERIES_MAX, RETURNS_MAX
from orchestrator_raft.core.topology import Downtime, StaleStatus
from tests.core.scenario import World

STAR = """
P 10.0.0.1:3306 semi-sync=1
  + R1 10.0.0.2:3306
  + R2 10.0.0.3:3306
  + R3 10.0.0.4:3306
""".splitlines()
HOUR_MS = 3_600_000


class Log:
    """The replicated log of one small fleet, spoken to in sentences."""

    def __init__(self) -> None:
        self.world = World(STAR)
        self.manager = self.world.manager

    @property
    def state(self) -> State:
        return self.manager.state

    def key(self, name: str) -> InstanceKey:
        return self.world.fleet[name].key

    def keys(self, *names: str) -> tuple[InstanceKey, ...]:
        return tuple(self.key(name) for name in names)

    def recovery(self, identifier: str = "r1", kind: str = "dead_primary", on: str = "P", **fields: Any) -> Recovery:
        subject = Subject(key=self.key(on), code="DeadMaster", replicas=self.keys("R1", "R2", "R3"))
        given = Recovery(
            id=identifier, kind=kind, cluster_id="c1", subject=subject, holder="node1", term=1, phase="begin",
            started_ms=0, deadline_ms=10**9,
        )  # fmt: skip
        return replace(given, **fields)

    def claim(self, identifier: str = "r1", block_ms: int = HOUR_MS, **fields: Any) -> Result:
        return self.manager.propose(ClaimRecovery, recovery=self.recovery(identifier, **fields), block_ms=block_ms)

    def record(self, identifier: str = "r1", **fields: Any) -> Result:
        recovery = replace(self.state.recoveries[identifier], **fields)
        return self.manager.propose(RecordPhase if recovery.is_active else FinishRecovery, recovery=recovery)

    def finish(self, identifier: str = "r1", end: EndState = EndState.SUCCEEDED, **fields: Any) -> Result:
        return self.record(identifier, end=end, finished_ms=self.state.time_ms, **fields)

    def later(self, seconds: float) -> None:
        self.manager.now_ms += round(seconds * 1000)


@pytest.fixture
def log() -> Log:
    return Log()


# -- claims


def test_one_recovery_of_a_cluster_runs_at_a_time(log: Log) -> None:
    assert log.claim("r1").ok
    refused = log.claim("r2", request=Request(forced=True))
    assert (False, "r1") == (refused.ok, refused.value)


def test_a_claim_is_numbered_and_begins_at_replicated_time(log: Log) -> None:
    log.claim("r1")
    recovery = log.state.recoveries["r1"]
    assert (1, log.state.time_ms, log.state.time_ms) == (
        recovery.number, recovery.started_ms, recovery.phase_started_ms
    )  # fmt: skip


def returns(log: Log, identifier: str = "back", on: str = "R2", phase: str = "attach", **fields: Any) -> None:
    """A server is being taken back, and the recovery has come to this phase."""
    assert log.claim(identifier, kind="rejoin", on=on, phase="fence", **fields).ok
    assert log.record(identifier, phase=phase).ok


@pytest.mark.parametrize("kind", ["dead_primary", "takeover"])
def test_a_return_gives_way_to_a_change_of_primary(log: Log, kind: str) -> None:
    returns(log)
    assert log.claim("r1", kind=kind, phase="prepare" if kind == "takeover" else "begin").ok
    back = log.state.recoveries["back"]
    assert back.end is EndState.FAILED
    assert "it gave way to recovery r1" in back.timeline[-1].text
    assert ["r1"] == [each.id for each in log.state.active_recoveries]
    assert not log.record("back", moved=log.keys("R2")).ok, "what still runs of it records nothing more"


@pytest.mark.parametrize(("phase", "counts"), [("fence", False), ("compare", False), ("attach", True)])
def test_whom_it_was_attaching_may_acknowledge_from_then_on(log: Log, phase: str, counts: bool) -> None:
    promoted(log, "dead_primary", ("R2", "R3"), stale=log.keys("P"))
    log.finish("r1")
    returns(log, on="P", phase=phase)
    assert log.claim("r2", on="R1", request=Request(forced=True)).ok
    assert (log.key("P") in log.state.clusters["c1"].ackers) is counts
    assert log.key("P") in log.state.stale


def test_a_return_gives_way_to_no_claim_that_is_refused(log: Log) -> None:
    returns(log)
    log.manager.propose(SwitchRecoveries, enabled=False)
    assert not log.claim("r1").ok
    assert not log.claim("r2", on="R1", request=Request(forced=True)).ok
    assert log.state.recoveries["back"].is_active


def test_nothing_gives_way_to_a_return(log: Log) -> None:
    returns(log)
    assert not log.claim("other", kind="rejoin", on="R3", phase="fence").ok
    assert log.claim("r1").ok
    assert not log.claim("third", kind="rejoin", on="R3", phase="fence").ok


def test_returns_do_not_push_a_change_of_primary_out_of_the_history(log: Log) -> None:
    """Nor the block that goes with it."""
    promoted(log, "dead_primary", ("R2", "R3"), stale=log.keys("P"))
    for number in range(RECOVERIES_MAX + RETURNS_MAX):
        returns(log, f"back-{number}")
        assert log.finish(f"back-{number}", end=EndState.FAILED).ok
    assert "r1" in log.state.recoveries
    assert len(log.state.recoveries) == 1 + RETURNS_MAX
    assert f"back-{RECOVERIES_MAX + RETURNS_MAX - 1}" in log.state.recoveries
    assert "recovery 1 of this cluster" in log.claim("again", on="R1").reason


def test_after_a_promotion_the_cluster_is_left_alone_for_a_while(log: Log) -> None:
    log.claim("r1")
    log.finish("r1", promoted=True, successor=log.key("R1"))
    log.later(10)
    refused = log.claim("r2", on="R1")
    assert (False, "r1") == (refused.ok, refused.value)
    assert "recovery 1 of this cluster" in refused.reason and "raftctl ack 1" in refused.reason
    log.later(3600)
    assert log.claim("r3", on="R1").ok


def test_a_person_is_not_held_up_by_blocks_downtime_or_the_switch(log: Log) -> None:
    log.claim("r1")
    log.finish("r1", promoted=True, successor=log.key("R1"))
    ends_ms = log.state.time_ms + HOUR_MS
    log.manager.propose(BeginDowntime, key=log.key("R1"), owner="anna", reason="work", ends_ms=ends_ms)
    log.manager.propose(SwitchRecoveries, enabled=False)
    assert not log.claim("r2", on="R1").ok
    assert log.claim("r3", on="R1", request=Request(forced=True)).ok


def test_an_acknowledged_recovery_blocks_no_more(log: Log) -> None:
    log.claim("r1")
    log.finish("r1", promoted=True, successor=log.key("R1"))
    assert log.manager.propose(AcknowledgeRecoveries, comment="seen", cluster_id="c1").ok
    assert log.claim("r2", on="R1").ok


def test_the_switch_stops_automatic_recoveries(log: Log) -> None:
    log.manager.propose(SwitchRecoveries, enabled=False)
    assert "raftctl recoveries enable" in log.claim("r1").reason
    log.manager.propose(SwitchRecoveries, enabled=True)
    assert log.claim("r1").ok


def test_downtime_of_the_failed_server_stops_its_automatic_recovery_until_it_ends(log: Log) -> None:
    ends_ms = log.state.time_ms + 60_000
    log.manager.propose(BeginDowntime, key=log.key("P"), owner="anna", reason="disk", ends_ms=ends_ms)
    assert "in downtime by anna: disk" in log.claim("r1").reason
    log.later(61)
    assert log.claim("r1").ok


def test_a_claim_must_name_a_known_kind_a_known_cluster_and_one_of_its_servers(log: Log) -> None:
    assert "no recovery named 'magic'" in log.claim(kind="magic").reason
    assert "no cluster c9" in log.claim(cluster_id="c9").reason
    elsewhere = Subject(key=InstanceKey("10.9.9.9", 3306), code="DeadMaster")
    assert "10.9.9.9:3306" in log.claim(subject=elsewhere).reason
    assert {} == log.state.recoveries


def test_a_claim_neither_reuses_an_id_nor_begins_at_its_end(log: Log) -> None:
    assert not log.claim("r1", end=EndState.SUCCEEDED).ok
    assert not log.claim("r1", promoted=True).ok
    log.claim("r1")
    log.finish("r1", end=EndState.FAILED)
    assert not log.claim("r1", request=Request(forced=True)).ok
    assert EndState.FAILED is log.state.recoveries["r1"].end


def test_a_claim_that_comes_after_the_primary_has_changed_is_refused(log: Log) -> None:
    """It was proposed before a takeover ended: the dead server is no primary any more."""
    log.claim("r1", kind="takeover", phase="prepare", request=Request(forced=True))
    log.finish("r1", promoted=True, successor=log.key("R1"), moved=log.keys("P", "R2", "R3"))
    assert "10.0.0.1:3306 is not the primary" in log.claim("r2", request=Request(forced=True)).reason
    assert "10.0.0.2:3306 is the primary" in log.claim("r3", kind="rejoin", on="R1", phase="fence").reason


# -- holding a recovery


def test_a_holder_that_was_superseded_records_nothing_more(log: Log) -> None:
    log.claim("r1")
    before = log.state.recoveries["r1"]
    assert log.manager.propose(ResumeRecovery, recovery_id="r1", holder="node2", term=2).ok
    refused = log.manager.propose(RecordPhase, recovery=replace(before, phase="freeze"))
    assert (False, "begin") == (refused.ok, log.state.recoveries["r1"].phase)
    assert "taken over by node2 in term 2" in refused.reason


def test_a_recovery_is_resumed_by_a_later_term_only(log: Log) -> None:
    log.claim("r1")
    assert not log.manager.propose(ResumeRecovery, recovery_id="r1", holder="node2", term=1).ok
    assert log.manager.propose(ResumeRecovery, recovery_id="r1", holder="node2", term=5).ok
    assert not log.manager.propose(ResumeRecovery, recovery_id="r1", holder="node3", term=4).ok
    assert not log.manager.propose(ResumeRecovery, recovery_id="r9", holder="node3", term=9).ok


def test_an_ended_recovery_stays_as_it_ended(log: Log) -> None:
    log.claim("r1")
    log.finish("r1", end=EndState.FAILED)
    assert not log.record("r1", end=EndState.RUNNING).ok
    assert not log.manager.propose(ResumeRecovery, recovery_id="r1", holder="node2", term=2).ok


def test_what_a_recovery_is_about_cannot_change_while_it_runs(log: Log) -> None:
    """A record of another cluster would hold two leases there, and move its primary."""
    log.claim("r1")
    for change in (
        {"cluster_id": "c2"},
        {"kind": "rejoin"},
        {"number": 7},
        {"subject": Subject(key=log.key("R1"), code="x")},
    ):
        assert not log.record("r1", **change).ok


# -- commands in general


def test_a_command_id_seen_before_changes_nothing_and_answers_the_same(log: Log) -> None:
    command = ClaimRecovery(id="once", at_ms=log.manager.now_ms, recovery=log.recovery(), block_ms=0)
    after, first = apply(log.state, command)
    again, second = apply(after, replace(command, at_ms=command.at_ms + 1000))
    assert (after, first) == (again, second)


def test_replicated_time_never_runs_back(log: Log) -> None:
    later, _ = apply(log.state, RecordAudit(id="a", at_ms=log.state.time_ms + 5000, type="x", message=""))
    earlier, _ = apply(later, RecordAudit(id="b", at_ms=7, type="x", message=""))
    assert later.time_ms == earlier.time_ms == earlier.audit[-1].at_ms


def test_a_node_registers_anew_under_its_id(log: Log) -> None:
    for port in (1, 2):
        log.manager.propose(RegisterNode, node_id="n1", address=f"a:{port}", http_uri="u", version="1")
    assert ["a:2"] == [node.address for node in log.state.nodes.values()]


def test_downtime_has_an_end_in_the_future_and_a_known_server(log: Log) -> None:
    future = log.state.time_ms + 1000
    assert not log.manager.propose(BeginDowntime, key=log.key("P"), owner="a", reason="r", ends_ms=1).ok
    unknown = InstanceKey("10.9.9.9", 3306)
    assert not log.manager.propose(BeginDowntime, key=unknown, owner="a", reason="r", ends_ms=future).ok
    assert log.manager.propose(BeginDowntime, key=log.key("P"), owner="a", reason="r", ends_ms=future).ok
    assert not log.manager.propose(EndDowntime, key=log.key("P"), expired=True).ok
    assert log.manager.propose(EndDowntime, key=log.key("P")).ok


def test_a_mark_that_hardly_ever_ends_or_says_too_much_is_refused(log: Log) -> None:
    age, soon = log.state.time_ms + 9_999_999 * 7 * 86_400_000, log.state.time_ms + 1000
    for kind in (BeginDowntime, BeginMaintenance):
        refused = log.manager.propose(kind, key=log.key("P"), owner="a", reason="r", ends_ms=age)
        assert "within ten years" in refused.reason
        talks = log.manager.propose(kind, key=log.key("P"), owner="a", reason="r" * 501, ends_ms=soon)
        assert "longer than" in talks.reason


def test_a_time_that_is_no_date_does_not_stop_the_state(log: Log) -> None:
    mark = Downtime(key=log.key("P"), owner="a", reason="r", begun_ms=0, ends_ms=10**18)
    state = replace(log.state, downtimes={log.key("P"): mark})
    refusal = refuse_claim(state, log.recovery("r9"), 0)
    assert refusal is not None and "9999-12-31" in refusal.reason


def test_a_forgotten_server_leaves_nothing_behind(log: Log) -> None:
    future = log.state.time_ms + 1000
    log.manager.propose(BeginDowntime, key=log.key("R1"), owner="a", reason="r", ends_ms=future)
    assert log.manager.propose(ForgetServers, keys=log.keys("R1"), forced=True).ok
    assert log.key("R1") not in {**log.state.servers, **log.state.downtimes, **log.state.stale}
    assert log.keys("R2", "R3") == log.state.clusters["c1"].ackers
    assert not log.manager.propose(ForgetServers, keys=log.keys("R1")).ok


def test_a_stale_primary_is_forgotten_only_by_a_person_who_insists(log: Log) -> None:
    """Nobody would fence it when it comes back."""
    promoted(log, "dead_primary", ("R2", "R3"), stale=log.keys("P"))
    refused = log.manager.propose(ForgetServers, keys=log.keys("P"))
    assert not refused.ok
    assert "nobody fences it when it comes back" in refused.reason
    assert f"raftctl forget {log.key('P')} --force" in refused.reason
    everybody = log.manager.propose(ForgetServers, keys=log.keys("R1", "R2", "R3", "P"))
    assert not everybody.ok
    assert log.key("R3") in log.state.servers
    assert log.key("P") in log.state.stale
    assert log.manager.propose(ForgetServers, keys=log.keys("P"), forced=True).ok
    assert log.key("P") not in {**log.state.servers, **log.state.stale}


# -- what a recovery does to the cluster


def promoted(log: Log, kind: str, moved: tuple[str, ...], **fields: Any) -> None:
    """A recovery that promotes R1 and ends, while the records still show everybody below P."""
    log.claim("r1", kind=kind, phase="prepare" if kind == "takeover" else "begin")
    log.record("r1", phase="promote", successor=log.key("R1"), **fields)
    log.record("r1", phase="repoint", promoted=True)
    log.finish("r1", moved=log.keys(*moved))


def test_the_primary_stays_changed_although_no_server_was_probed_since(log: Log) -> None:
    """P is recorded without a source, R1 as its replica: the records of before the takeover."""
    promoted(log, "takeover", ("P", "R2", "R3"), fenced=True)
    (cluster,) = log.state.clusters.values()
    assert ("c1", log.key("R1"), 2) == (cluster.id, cluster.primary, cluster.generation)


def test_nothing_changes_again_when_the_servers_are_probed_at_last(log: Log) -> None:
    promoted(log, "takeover", ("P", "R2", "R3"), fenced=True)
    before = log.state.clusters
    for line in ("R1 rw", "P ro"):
        log.world.change_line(line)
    fleet = log.world.fleet
    fleet["R1"].source = None
    for name in ("P", "R2", "R3"):
        fleet[name].source = fleet["R1"].key
    log.manager.seen = {}
    for name in ("R2", "P", "R1", "R3"):
        log.manager.look([fleet[name].key])
        ((identifier, cluster),) = log.state.clusters.items()
        assert (before[identifier].primary, 2) == (cluster.primary, cluster.generation)


def test_a_dead_primary_leaves_the_cluster_to_its_successor(log: Log) -> None:
    promoted(log, "dead_primary", ("R2", "R3"), stale=log.keys("P"))
    (cluster,) = log.state.clusters.values()
    assert (log.key("R1"), 2) == (cluster.primary, cluster.generation)
    assert {"c1"} == {record.cluster_id for record in log.state.servers.values()}


def test_an_old_primary_that_was_fenced_but_not_attached_goes_on_the_stale_list(log: Log) -> None:
    promoted(log, "takeover", ("R2", "R3"), fenced=True)
    assert StaleStatus.OUT_OF_REACH is log.state.stale[log.key("P")].status
    assert log.key("P") == returning(log.manager.topology, "c1")[0]


def test_a_replica_that_was_not_moved_is_left_behind_and_taken_back_when_it_answers(log: Log) -> None:
    promoted(log, "takeover", ("P", "R2"), fenced=True)
    assert log.keys("R3") == log.state.clusters["c1"].left_behind
    assert log.keys("R3") == returning(log.manager.topology, "c1")
    log.world.change_line("R3 dead")
    log.manager.look()
    assert () == returning(log.manager.topology, "c1")


def test_a_replica_left_behind_stays_in_its_cluster_when_its_source_is_forgotten(log: Log) -> None:
    promoted(log, "takeover", ("P", "R2"), fenced=True)
    log.manager.propose(ForgetServers, keys=log.keys("P"))
    assert {"c1"} == {record.cluster_id for record in log.state.servers.values()}
    assert log.keys("R3") == log.state.clusters["c1"].left_behind


def test_a_replica_left_behind_that_a_person_made_independent_is_let_alone(log: Log) -> None:
    promoted(log, "takeover", ("P", "R2"), fenced=True)
    fleet = log.world.fleet
    fleet["R1"].source, fleet["R3"].source, fleet["R3"].read_only = None, None, False
    log.manager.look()
    assert () == returning(log.manager.topology, "c1")


def test_an_abandoned_recovery_that_promoted_somebody_leaves_everybody_else_on_a_list(log: Log) -> None:
    log.claim("r1", kind="takeover", phase="prepare")
    log.record("r1", phase="promote", successor=log.key("R1"), fenced=True)
    log.record("r1", phase="repoint", promoted=True)
    log.finish("r1", end=EndState.ABANDONED)
    assert [log.key("P")] == list(log.state.stale)
    assert log.keys("R2", "R3") == log.state.clusters["c1"].left_behind


@pytest.mark.parametrize("end", [EndState.FAILED, EndState.UNDONE, EndState.ABANDONED])
def test_a_primary_that_nobody_replaced_is_not_stale(log: Log, end: EndState) -> None:
    """On the list it would be fenced when it returns, and its death would not be seen any more."""
    log.claim("r1")
    log.record("r1", phase="promote", successor=log.key("R1"), stale=log.keys("P"))
    assert [log.key("P")] == list(log.state.stale)
    log.finish("r1", end=end)
    assert {} == log.state.stale
    assert log.key("P") == log.state.clusters["c1"].primary


def test_a_recovery_that_takes_a_server_off_its_own_stale_list_takes_it_off_the_clusters(log: Log) -> None:
    log.claim("r1")
    log.record("r1", stale=log.keys("P", "R1"))
    log.record("r1", stale=log.keys("R1"))
    assert [log.key("R1")] == list(log.state.stale)


def test_a_replica_with_extra_transactions_is_kept_out_and_not_tried_again(log: Log) -> None:
    promoted(log, "takeover", ("P", "R2"), fenced=True)
    log.claim("r2", kind="rejoin", on="R3", phase="fence")
    log.finish("r2", end=EndState.QUARANTINED, lost_gtids="R3:1-5")
    mark = log.state.stale[log.key("R3")]
    assert (StaleStatus.QUARANTINED, "R3:1-5") == (mark.status, mark.extra)
    assert () == log.state.clusters["c1"].left_behind
    assert () == returning(log.manager.topology, "c1")


def test_a_server_that_was_attached_is_on_no_list_any_more(log: Log) -> None:
    promoted(log, "takeover", ("R2",), fenced=True)
    for number, name in enumerate(("P", "R3"), start=2):
        log.claim(f"r{number}", kind="rejoin", on=name, phase="fence")
        log.finish(f"r{number}", successor=log.key("R1"), moved=log.keys(name))
    assert ({}, ()) == (log.state.stale, log.state.clusters["c1"].left_behind)


def test_two_names_of_one_server_in_one_command_become_one_record_and_a_new_generation() -> None:
    """Each is named as an address of the other: the second finds itself gone already."""
    one, other = InstanceKey("10.0.0.1", 3306), InstanceKey("db1.example", 3306)
    state = State()
    for number, seen in enumerate(
        (
            (ServerObservation(key=one, facts=None, reachable=False),),
            (
                ServerObservation(key=other, facts=named(other), reachable=True, addresses=(one,)),
                ServerObservation(key=one, facts=named(one), reachable=True, addresses=(other,)),
            ),
        )
    ):
        before = state
        state, result = apply(state, ObserveServers(id=str(number), at_ms=1000 + number, servers=seen))
        assert result.ok
    assert len(state.servers) == len(state.clusters) == 1
    (cluster_id,) = state.clusters
    assert state.clusters[cluster_id].primary in state.servers
    moved = state.clusters[cluster_id].primary != before.clusters[cluster_id].primary
    assert state.clusters[cluster_id].generation == before.clusters[cluster_id].generation + moved


def named(key: InstanceKey) -> Facts:
    return Facts(key=key, flavor=Flavor.MYSQL, version="9.7.4", server_uuid="uuid-1", server_id=1)
