"""Moves by file and position: said from exactly one place, and from nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator_raft.core.instance import Coordinates, InstanceKey
from orchestrator_raft.core.recovery.steps import PointAt, StartUntil
from orchestrator_raft.flavors.base import Statement
from orchestrator_raft.flavors.places import is_at_least
from tests.flavors.test_plans import BOTH as BOTH_DIALECTS
from tests.flavors.test_plans import CHANNEL_ROWS, KEY, complaints, plan, texts

OLD, NEW = InstanceKey("127.0.0.1", 3308), InstanceKey("127.0.0.1", 3309)
HERE, THERE = Coordinates("binlog.000003", 700), Coordinates("binlog.000009", 157)
EXECUTED = {
    "mysql": ("Relay_Source_Log_File", "Exec_Source_Log_Pos"),
    "mariadb": ("Relay_Master_Log_File", "Exec_Master_Log_Pos"),
}
STOPPED = {
    "mysql": {"Replica_IO_Running": "No", "Replica_SQL_Running": "No", "Auto_Position": "0"},
    "mariadb": {"Slave_IO_Running": "No", "Slave_SQL_Running": "No", "Using_Gtid": "No"},
}


def rows(flavor: Any, at: Coordinates, **more: str) -> list[dict[str, Any]]:
    """A stopped channel whose applier stands there."""
    file, position = EXECUTED[flavor.value]
    place = {file: at.log_file, position: str(at.log_position)}
    return [{**CHANNEL_ROWS[flavor], **STOPPED[flavor.value], **place, **more}]


def change(flavor: Any) -> tuple[Statement, ...]:
    step = PointAt(key=KEY, source=NEW, place=THERE, left_source=OLD, left_at=HERE)
    return plan(flavor, step)


@BOTH_DIALECTS
def test_from_the_place_that_is_named_it_is_changed_over(flavor: Any) -> None:
    (said,) = [text for text in texts(change(flavor), rows(flavor, HERE)) if text.startswith("CHANGE")]
    prefix = "SOURCE" if flavor.value == "mysql" else "MASTER"
    assert f"{prefix}_PORT = 3309, {prefix}_LOG_FILE = 'binlog.000009', {prefix}_LOG_POS = 157" in said
    assert ("SOURCE_AUTO_POSITION = 0" if flavor.value == "mysql" else "MASTER_USE_GTID = no") in said


@BOTH_DIALECTS
@pytest.mark.parametrize("at", [Coordinates("binlog.000003", 701), Coordinates("binlog.000002", 700)])
def test_from_any_other_place_it_is_not(flavor: Any, at: Coordinates) -> None:
    assert not [text for text in texts(change(flavor), rows(flavor, at)) if text.startswith("CHANGE")]
    assert "it is not where it has to be" in complaints(change(flavor), rows(flavor, at))[0]


@BOTH_DIALECTS
def test_whoever_is_there_already_is_left_alone(flavor: Any) -> None:
    port = "Source_Port" if flavor.value == "mysql" else "Master_Port"
    found = rows(flavor, Coordinates("binlog.000009", 9000), **{port: "3309"})
    assert not [text for text in texts(change(flavor), found) if text.startswith("CHANGE")]
    assert complaints(change(flavor), found) == []


@BOTH_DIALECTS
def test_it_applies_up_to_a_place_only_where_it_is_behind(flavor: Any) -> None:
    step = StartUntil(key=KEY, place=THERE)
    behind = texts(plan(flavor, step), rows(flavor, HERE))
    assert any("UNTIL" in text and "'binlog.000009'" in text and "157" in text for text in behind)
    assert not any("UNTIL" in text for text in texts(plan(flavor, step), rows(flavor, THERE)))


def test_files_are_compared_by_their_numbers() -> None:
    assert is_at_least(Coordinates("binlog.1000000", 4), Coordinates("binlog.999999", 900))
    assert is_at_least(Coordinates("binlog.000010", 4), Coordinates("binlog.000009", 900))
    assert not is_at_least(Coordinates("binlog.000009", 899), Coordinates("binlog.000009", 900))
