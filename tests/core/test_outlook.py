"""Would a failover begin by itself now? The answer before the primary dies is what then happens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator_raft.core.policy import ClusterFilters
from orchestrator_raft.core.replicated.commands import SwitchRecoveries
from orchestrator_raft.core.replicated.outlook import Outlook, outlook
from tests.core.scenario import World

STAR = """
P 10.0.0.1:3306 semi-sync=1
  + R1 10.0.0.2:3306
  + R2 10.0.0.3:3306
"""


class Stage:
    def __init__(self, drawing: str = STAR) -> None:
        self.world = World(drawing.splitlines())
        self.manager = self.world.manager

    @property
    def outlook(self) -> Outlook:
        manager = self.manager
        return outlook(manager.state, manager.topology, "c1", manager.policy)

    def change(self, line: str) -> None:
        self.world.change_line(line)
        self.manager.look()


def test_a_healthy_cluster_fails_over() -> None:
    assert Stage().outlook == Outlook(True)


@pytest.mark.parametrize(
    ("drawing", "change", "because"),
    [
        (STAR, "R2 dead", "acknowledged writes might be lost: possible ackers out of reach: 10.0.0.3:3306"),
        ("policy loss=none\n" + STAR, "P semi-sync=off", "acknowledged writes might be lost: semi-sync is off"),
        (STAR, "R1,R2 rule=must_not", "no replica can be promoted: 10.0.0.2:3306"),
    ],
)
def test_what_would_refuse_it_is_said(drawing: str, change: str, because: str) -> None:
    stage = Stage(drawing)
    stage.change(change)
    found = stage.outlook
    assert (found.possible, found.by_choice) == (False, False)
    assert because in found.because


def test_without_semi_sync_or_where_any_loss_is_accepted_it_goes_on() -> None:
    asynchronous = Stage(STAR.replace("semi-sync=1", ""))
    asynchronous.change("R2 dead")
    accepting = Stage("policy loss=any\n" + STAR)
    accepting.change("R2 dead")
    assert asynchronous.outlook == accepting.outlook == Outlook(True)


def test_what_people_switched_off_is_told_from_the_rest() -> None:
    stage = Stage()
    stage.manager.policy = replace(stage.manager.policy, recover_primary=ClusterFilters(()))
    assert stage.outlook.by_choice and "RecoverMasterClusterFilters" in stage.outlook.because
    downtime = Stage()
    downtime.change("P downtime=work")
    assert downtime.outlook.by_choice and "in downtime by anna" in downtime.outlook.because
    disabled = Stage()
    assert disabled.manager.propose(SwitchRecoveries, enabled=False).ok
    assert disabled.outlook.by_choice and "are disabled" in disabled.outlook.because


def test_after_a_failover_it_is_blocked_until_somebody_acknowledges() -> None:
    stage = Stage()
    stage.change("P dead")
    stage.manager.claim("dead_primary", "P")
    assert "is running" in stage.outlook.because
    assert stage.manager.run().promoted
    stage.manager.look()
    assert not stage.outlook.possible and "raftctl ack 1" in stage.outlook.because


def test_a_cluster_that_is_gone_has_none() -> None:
    stage = Stage()
    assert not outlook(stage.manager.state, stage.manager.topology, "c9", stage.manager.policy).possible
