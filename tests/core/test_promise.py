"""The no-loss promise over time: what makes it, what ends it, and that nothing old can bring it back."""

from __future__ import annotations

import pytest

from orchestrator_raft.core.candidates import promise_of
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.recovery.model import EndState
from orchestrator_raft.core.replicated.commands import ConfirmCaughtUp
from orchestrator_raft.core.topology import ClusterRecord
from tests.core.scenario import World

STAR = """
P 10.0.0.1:3306 semi-sync=1
  + R1 10.0.0.2:3306
  + R2 10.0.0.3:3306
"""
IN_FORCE = "is not in force"


class Stage:
    """A semi-sync cluster, healthy at first."""

    def __init__(self, drawing: str = STAR) -> None:
        self.world = World(drawing.splitlines())
        self.manager = self.world.manager

    @property
    def cluster(self) -> ClusterRecord:
        (cluster,) = self.manager.state.clusters.values()
        return cluster

    @property
    def promise(self) -> str:
        return str(promise_of(self.manager.topology, self.cluster.id)).removeprefix("no-loss promise: ")

    def change(self, *lines: str) -> None:
        """Each is seen before the next happens."""
        for line in lines:
            self.world.change_line(line)
            self.manager.look()


def test_a_healthy_cluster_promises() -> None:
    assert Stage().promise == "yes"


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ("P semi-sync-inactive", IN_FORCE),
        ("P semi-sync=off", "semi-sync is off"),
        ("P timeout-ms=10000", "below an hour"),
        ("R1 cut", "out of reach: 10.0.0.2:3306"),
    ],
)
def test_what_ends_it_is_named(change: str, because: str) -> None:
    stage = Stage()
    stage.change(change)
    assert stage.promise.startswith("no, because") and because in stage.promise


def test_that_semi_sync_fell_back_is_known_to_a_leader_that_never_saw_the_primary() -> None:
    """Seen: status OFF, the timeout a day, writes acknowledged, the primary killed; an empty replica was promoted."""
    stage = Stage()
    stage.change("P semi-sync-inactive", "P dead")
    stage.manager.take_over()
    assert IN_FORCE in stage.promise
    recovery = stage.manager.claim("dead_primary", "P")
    assert not recovery.promised
    assert IN_FORCE in recovery.unpromised_because


def test_it_comes_back_only_with_replicas_that_have_what_was_acknowledged_without_them() -> None:
    stage = Stage()
    stage.change("R1,R2 io=connecting", "P semi-sync-inactive", "P writes=3", "P semi-sync-active timeout-ms=90000000")
    assert "too few of its semi-sync replicas" in stage.promise
    stage.change("R1 io=running")
    assert stage.promise == "yes"


def test_waiting_for_more_replicas_needs_more_of_them_to_have_caught_up() -> None:
    stage = Stage()
    stage.change("R2 io=connecting", "P writes", "P semi-sync=2")
    assert "too few" in stage.promise
    stage.change("R2 io=running")
    assert stage.promise == "yes"


def test_one_that_answers_for_nothing_does_not_make_it() -> None:
    stage = Stage()
    stage.change("R1 filters", "R2 io=connecting", "P semi-sync=off", "P writes", "P semi-sync=1")
    assert "too few" in stage.promise


def test_a_new_primary_has_to_make_it_anew() -> None:
    stage = Stage()
    lapses = stage.cluster.lapses
    stage.change("P dead")
    stage.manager.claim("dead_primary", "P")
    assert stage.manager.run().end is EndState.SUCCEEDED
    assert stage.cluster.lapses > lapses
    confirmed = [each.key for each in stage.manager.state.audit if each.type == "caught-up"]
    assert len(confirmed) == 2 and confirmed[-1] == stage.cluster.primary
    assert stage.cluster.caught_up


def test_a_confirmation_of_what_was_before_a_lapse_is_refused() -> None:
    stage = Stage()
    lapses = stage.cluster.lapses
    stage.change("R1,R2 io=connecting", "P semi-sync=off", "P writes", "P semi-sync=1")
    late = stage.manager.propose(ConfirmCaughtUp, cluster_id=stage.cluster.id, lapses=lapses)
    assert not late.ok and "has changed meanwhile" in late.reason
    assert not stage.cluster.caught_up


def test_nothing_can_be_confirmed_while_semi_sync_is_out_of_force_or_for_nobody() -> None:
    stage = Stage()
    stage.change("P semi-sync-inactive")
    refused = stage.manager.propose(ConfirmCaughtUp, cluster_id=stage.cluster.id, lapses=stage.cluster.lapses)
    assert not refused.ok and IN_FORCE in refused.reason
    assert not stage.manager.propose(ConfirmCaughtUp, cluster_id="c99", lapses=0).ok


def test_a_quiet_fleet_confirms_once() -> None:
    stage = Stage()
    audits = len(stage.manager.state.audit)
    stage.change("P writes=3", "R1 lag=3", "R2 stuck")
    assert len(stage.manager.state.audit) == audits


def test_without_semi_sync_a_failover_says_that_it_may_lose_and_is_no_error() -> None:
    stage = Stage(STAR.replace("semi-sync=1", ""))
    stage.change("P dead")
    stage.manager.claim("dead_primary", "P")
    recovery = stage.manager.run()
    assert (recovery.end, recovery.errors) == (EndState.SUCCEEDED, ())
    assert ["may lose"] == [mark.name for mark in recovery.timeline if "lose" in mark.name]


def test_policy_any_promotes_without_the_missing_acker_and_says_so() -> None:
    stage = Stage("policy loss=any\n" + STAR)
    assert stage.manager.policy.loss is not Policy().loss
    stage.change("R1 dead", "P dead")
    stage.manager.claim("dead_primary", "P")
    recovery = stage.manager.run()
    assert recovery.end is EndState.SUCCEEDED
    assert "10.0.0.2:3306 may have acknowledged" in " ".join(recovery.errors)
