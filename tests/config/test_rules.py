"""Rules between keys, and the old names of keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator_raft.app.reload import fields_that_count
from orchestrator_raft.config import Loaded

Load = Callable[..., Loaded]
Problems = Callable[..., list[str]]

BROKEN = [
    (
        {"SlaveLagQuery": "a", "ReplicationLagQuery": "b"},
        "SlaveLagQuery, ReplicationLagQuery: one setting with two values: keep ReplicationLagQuery",
    ),
    (
        {"PostponeSlaveRecoveryOnLagMinutes": 1, "PostponeReplicaRecoveryOnLagMinutes": 2},
        (
            "PostponeSlaveRecoveryOnLagMinutes, PostponeReplicaRecoveryOnLagMinutes: one setting with two values: keep "
            "PostponeReplicaRecoveryOnLagMinutes"
        ),
    ),
    (
        {"FailMasterPromotionIfSQLThreadNotUpToDate": True, "DelayMasterPromotionIfSQLThreadNotUpToDate": True},
        (
            "FailMasterPromotionIfSQLThreadNotUpToDate, DelayMasterPromotionIfSQLThreadNotUpToDate: "
            "exclude each other: switch one off"
        ),
    ),
    (
        {"FailMasterPromotionOnLagMinutes": 1},
        (
            "FailMasterPromotionOnLagMinutes, ReplicationLagQuery: the limit needs a ReplicationLagQuery: "
            "write one, or set the limit to 0"
        ),
    ),
    (
        {"RaftEnabled": True},
        "RaftEnabled, RaftDataDir: Raft needs a directory: set RaftDataDir to one that this node keeps",
    ),
    (
        {"RaftEnabled": True, "RaftDataDir": "d", "RaftBind": ""},
        "RaftEnabled, RaftBind: Raft needs an address to listen on: set RaftBind to host[:port]",
    ),
    (
        {"RaftEnabled": True, "RaftDataDir": "d", "RaftBind": "0.0.0.0"},
        (
            "RaftEnabled, RaftBind, RaftAdvertise: RaftBind means every address, "
            "so the other nodes cannot know this one: set RaftAdvertise to host[:port]"
        ),
    ),
    (
        {"DeadInstancePollSecondsMax": 4},
        (
            "DeadInstancePollSecondsMax, InstancePollSeconds: dead servers would be probed more often "
            "than living ones: raise DeadInstancePollSecondsMax"
        ),
    ),
    (
        {"InstancePollSeconds": 301},
        (
            "DeadInstancePollSecondsMax, InstancePollSeconds: dead servers would be probed more often "
            "than living ones: raise DeadInstancePollSecondsMax"
        ),
    ),
    (
        {"AuthenticationMethod": "Multi"},
        "AuthenticationMethod, HTTPAuthUser: the method multi needs a user: set HTTPAuthUser and HTTPAuthPassword",
    ),
    (
        {"DataLossPolicy": "seconds"},
        "DataLossPolicy: the policy seconds is not built yet: write none, or any to accept every loss",
    ),
]

ALLOWED = [
    {"SlaveLagQuery": "a", "ReplicationLagQuery": "a"},
    {"FailMasterPromotionIfSQLThreadNotUpToDate": True},
    {"FailMasterPromotionOnLagMinutes": 1, "SlaveLagQuery": "a"},
    {"RaftEnabled": False, "RaftBind": ""},
    {"RaftEnabled": True, "RaftDataDir": "d", "RaftBind": "0.0.0.0", "RaftAdvertise": "db"},
    {"InstancePollSeconds": 300},
]


@pytest.mark.parametrize(("values", "line"), BROKEN)
def test_what_the_peers_refuse_is_refused_with_the_way_out(problems: Problems, values: Any, line: str) -> None:
    assert [line] == problems(values)


@pytest.mark.parametrize("values", ALLOWED)
def test_the_neighbours_of_these_are_allowed(load_values: Load, values: Any) -> None:
    load_values(values)


def test_a_rule_about_a_wrong_key_is_not_told_as_well(problems: Problems) -> None:
    assert ["RaftDataDir: is 5, must be a text"] == problems({"RaftEnabled": True, "RaftDataDir": 5})


def test_other_rules_are_told_beside_a_wrong_key(problems: Problems) -> None:
    lines = problems({"RaftEnabled": True, "ListenAddress": "x"})
    assert ["ListenAddress", "RaftEnabled, RaftDataDir"] == [line.partition(":")[0] for line in lines]


@pytest.mark.parametrize(
    ("values", "field", "expected", "warnings"),
    [
        ({"SlaveLagQuery": "q"}, "replication_lag_query", "q", 0),
        ({"SlaveLagQuery": "", "ReplicationLagQuery": "q"}, "replication_lag_query", "q", 0),
        ({"PostponeSlaveRecoveryOnLagMinutes": 3}, "postpone_replica_recovery_on_lag_minutes", 3, 1),
        ({}, "detach_lost_replicas_after_master_failover", True, 0),
        ({"DetachLostReplicasAfterMasterFailover": False}, "detach_lost_replicas_after_master_failover", False, 1),
        ({"DetachLostSlavesAfterMasterFailover": False}, "detach_lost_replicas_after_master_failover", False, 1),
        (
            {"DetachLostSlavesAfterMasterFailover": True, "DetachLostReplicasAfterMasterFailover": False},
            "detach_lost_replicas_after_master_failover",
            True,
            1,
        ),
        ({"MasterFailoverDetachSlaveMasterHost": True}, "master_failover_detach_replica_master_host", True, 1),
        (
            {"MasterFailoverDetachSlaveMasterHost": False, "MasterFailoverDetachReplicaMasterHost": True},
            "master_failover_detach_replica_master_host",
            True,
            2,
        ),
        ({"MasterFailoverDetachSlaveMasterHost": False}, "master_failover_detach_replica_master_host", False, 0),
        ({"RecoveryPeriodBlockSeconds": 5}, "recovery_period_block_seconds", 5, 0),
        ({"RecoveryPeriodBlockSeconds": 5, "RecoveryPeriodBlockMinutes": 2}, "recovery_period_block_seconds", 5, 0),
        ({"RecoveryPeriodBlockSeconds": 0, "RecoveryPeriodBlockMinutes": 2}, "recovery_period_block_seconds", 120, 0),
        ({"RecoveryPeriodBlockSeconds": 0, "RecoveryPeriodBlockMinutes": 0}, "recovery_period_block_seconds", 0, 0),
        ({"RecoveryPeriodBlockSeconds": 0}, "recovery_period_block_seconds", 3600, 0),
        ({"RecoveryPeriodBlockMinutes": 2}, "recovery_period_block_seconds", 3600, 1),
        ({"RecoveryPeriodBlockMinutes": 60}, "recovery_period_block_seconds", 3600, 0),
    ],
)
def test_old_names_become_the_new_ones_as_with_the_peers(
    load_values: Load, values: Any, field: str, expected: Any, warnings: int
) -> None:
    loaded = load_values(values)
    assert expected == getattr(loaded.settings, field)
    assert warnings == len(loaded.warnings), loaded.warnings


def test_a_block_period_of_nothing_says_what_it_takes(load_values: Load) -> None:
    (line,) = load_values({"RecoveryPeriodBlockSeconds": 0}).notes
    assert line.startswith("RecoveryPeriodBlockSeconds: 0 takes RecoveryPeriodBlockMinutes, which is 60")


@pytest.mark.parametrize(
    ("values", "start"),
    [
        ({"MySQLTopologyUser": ""}, "MySQLTopologyUser: is empty"),
        ({"RaftNodes": ["a", "a:10008"]}, "RaftNodes: names the same node twice"),
    ],
)
def test_what_is_odd_but_works_is_a_warning(load_values: Load, values: Any, start: str) -> None:
    (line,) = load_values(values).warnings
    assert line.startswith(start)


def test_nobody_promoted_without_a_person_is_worth_a_note(load_values: Load) -> None:
    (line,) = load_values({"RecoverMasterClusterFilters": []}).notes
    assert line.startswith("RecoverMasterClusterFilters: is empty: no dead primary is replaced by itself")


def test_a_limit_that_is_worked_out_of_a_key_counts_when_the_file_is_read_again(load_values: Load) -> None:
    counting = fields_that_count(load_values({}).settings)
    assert "demotion_block_limit_milliseconds" in counting
    assert "demotion_block_limit_s" not in counting
