"""The inventory: one observation a server under its own key, and only structure goes on to the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from orchestrator_raft.core.gtid import parse_mysql
from orchestrator_raft.core.instance import (
    Facts,
    InstanceKey,
    Reached,
    ThreadState,
    Unreachable,
    UnreachableKind,
)
from orchestrator_raft.core.replicated import State, apply
from orchestrator_raft.core.replicated.commands import ForgetServers, ObserveServers
from orchestrator_raft.core.topology import ServerRecord
from orchestrator_raft.engine.inventory import SEMI_SYNC_HOLD_S, Inventory
from tests.engine.bench import PRIMARY, R1, R2
from tests.engine.fleet import primary_facts, replica_facts, uuid_of

OLD, NEW = InstanceKey("db1.example", 3306), InstanceKey("db1.new.example", 3306)
UUID = uuid_of(PRIMARY)


class Stage:
    """An inventory and the state that its differences lead to."""

    def __init__(self) -> None:
        self.inventory = Inventory()
        self.state = State()
        self.now_s = 10.0

    @property
    def known(self) -> Mapping[InstanceKey, ServerRecord]:
        return self.state.servers

    def sees(self, asked: InstanceKey, facts: Facts) -> InstanceKey:
        self.now_s += 1.0
        return self.inventory.record(asked, Reached(facts), self.now_s, self.known).key

    def misses(self, asked: InstanceKey) -> InstanceKey:
        self.now_s += 1.0
        failure = Unreachable(asked, UnreachableKind.REFUSED, "connection refused")
        return self.inventory.record(asked, failure, self.now_s, self.known).key

    def is_urgent(self, facts: Facts) -> bool:
        return self.inventory.record(facts.key, Reached(facts), self.now_s, self.known).urgent

    def flush(self) -> int:
        """Replicate the differences; how many servers they name."""
        servers = self.inventory.differences(self.state)
        if servers:
            command = ObserveServers(id=str(self.now_s), at_ms=round(self.now_s * 1000), servers=servers)
            self.state, result = apply(self.state, command)
            assert result.ok
        return len(servers)

    def reached(self, key: InstanceKey) -> bool:
        observation = self.inventory.get(key)
        assert observation is not None
        return observation.reached


@pytest.fixture
def stage() -> Stage:
    return Stage()


def server(key: InstanceKey, **changes: Any) -> Facts:
    return replace(primary_facts(key), server_uuid=UUID, server_id=1, **changes)


# -- recognising servers


def test_a_server_asked_at_one_address_and_named_otherwise_is_one_server(stage: Stage) -> None:
    assert stage.sees(NEW, server(OLD)) == OLD
    assert list(stage.inventory.observations) == [OLD]
    assert stage.inventory.key_of(NEW) == OLD
    assert stage.inventory.get(NEW) == stage.inventory.get(OLD)
    stage.flush()
    assert list(stage.state.servers) == [OLD]
    assert NEW in stage.state.servers[OLD].addresses


def test_a_server_that_is_known_and_answers_under_a_second_name_keeps_its_key(stage: Stage) -> None:
    stage.sees(OLD, server(OLD))
    stage.flush()
    assert stage.sees(NEW, server(NEW)) == OLD
    assert list(stage.inventory.observations) == [OLD]
    stage.flush()
    assert list(stage.state.servers) == [OLD]
    facts = stage.inventory.observations[OLD].facts
    assert facts is not None and facts.key == OLD


def test_a_server_that_moved_gets_its_new_address_as_its_key(stage: Stage) -> None:
    stage.sees(OLD, server(OLD))
    stage.flush()
    stage.misses(OLD)
    assert stage.sees(NEW, server(NEW)) == NEW
    assert stage.reached(NEW) and not stage.reached(OLD)


@pytest.mark.parametrize("changes", [{"server_uuid": uuid_of(R2)}, {"server_uuid": ""}])
def test_another_server_is_another_server(stage: Stage, changes: dict[str, str]) -> None:
    stage.sees(OLD, server(OLD))
    stage.flush()
    assert stage.sees(NEW, replace(server(NEW), **changes)) == NEW  # type: ignore[arg-type]


def test_a_copied_data_directory_does_not_make_two_servers_one(stage: Stage) -> None:
    stage.sees(OLD, server(OLD))
    stage.flush()
    assert stage.sees(NEW, replace(server(NEW), server_id=2)) == NEW


def test_two_recorded_servers_with_one_uuid_stay_two(stage: Stage) -> None:
    stage.sees(OLD, server(OLD))
    stage.sees(NEW, server(NEW))
    stage.flush()
    assert stage.sees(NEW, server(NEW)) == NEW
    assert set(stage.inventory.observations) == {OLD, NEW}


@pytest.mark.parametrize("uuid", [UUID, ""], ids=["mysql", "mariadb"])
def test_a_server_that_restarted_under_a_new_name_keeps_its_key(stage: Stage, uuid: str) -> None:
    stage.sees(OLD, replace(server(OLD), server_uuid=uuid))
    stage.flush()
    stage.misses(OLD)
    assert stage.sees(OLD, replace(server(NEW), server_uuid=uuid)) == OLD
    assert stage.reached(OLD) and stage.inventory.key_of(NEW) == OLD
    stage.flush()
    assert list(stage.state.servers) == [OLD]
    assert stage.state.servers[OLD].addresses == (NEW,)


def test_a_server_that_was_recorded_before_it_was_seen_gets_its_name_and_keeps_its_place(stage: Stage) -> None:
    """A replica names its dead source by an address; when the source is back it calls itself otherwise."""
    stage.misses(OLD)
    stage.sees(R1, replica_facts(R1, OLD))
    stage.flush()
    before = stage.state.servers[OLD].cluster_id
    assert stage.sees(OLD, server(NEW)) == NEW
    stage.flush()
    assert set(stage.state.servers) == {NEW, R1}
    assert {record.cluster_id for record in stage.state.servers.values()} == {before}
    assert stage.state.clusters[before].primary == NEW
    assert stage.flush() == 0


def test_where_another_server_answers_the_known_one_is_neither_reached_nor_dead(stage: Stage) -> None:
    stage.sees(OLD, server(OLD))
    stage.flush()
    assert stage.sees(OLD, replace(server(NEW), server_uuid=uuid_of(R2), server_id=2)) == NEW
    assert stage.reached(NEW) and not stage.reached(OLD)
    result = stage.inventory.observations[OLD].result
    assert isinstance(result, Unreachable) and result.kind.answers
    assert f"another server answers, which calls itself {NEW}" in result.detail


def test_a_server_that_takes_the_name_of_its_former_second_address_is_seen_dying_there(stage: Stage) -> None:
    stage.sees(NEW, server(OLD))
    stage.flush()
    stage.misses(OLD)
    assert stage.sees(NEW, server(NEW)) == NEW
    assert stage.reached(NEW)
    assert stage.misses(NEW) == NEW
    assert not stage.reached(NEW)


def test_a_forgotten_server_takes_its_other_addresses_along(stage: Stage) -> None:
    stage.sees(NEW, server(OLD))
    stage.inventory.forget(OLD)
    assert stage.inventory.get(OLD) is None
    assert stage.inventory.key_of(NEW) == NEW


# -- failures


def test_a_failure_keeps_the_last_facts_and_when_they_were_seen(stage: Stage) -> None:
    stage.sees(R1, replica_facts(R1, PRIMARY))
    seen_s = stage.now_s
    stage.misses(R1)
    stage.misses(R1)
    observation = stage.inventory.observations[R1]
    assert not observation.reached
    assert observation.facts == replica_facts(R1, PRIMARY)
    assert (observation.seen_at_s, observation.at_s) == (seen_s, seen_s + 2.0)


# -- what is urgent


def test_what_decides_is_urgent_and_what_merely_moves_is_not(stage: Stage) -> None:
    facts = replica_facts(R1, PRIMARY)
    assert stage.is_urgent(facts)
    assert not stage.is_urgent(facts)
    moved = replace(facts, executed=parse_mysql(f"{UUID}:1-999"), uptime_s=101, queried_lag_s=7.0)
    assert not stage.is_urgent(moved)
    (channel,) = moved.channels
    connecting = replace(moved, channels=(replace(channel, receiver=ThreadState.CONNECTING),))
    assert stage.is_urgent(connecting)
    assert stage.is_urgent(replace(connecting, read_only=False))


# -- what is replicated


def test_a_quiet_fleet_writes_nothing_into_the_log(stage: Stage) -> None:
    stage.sees(PRIMARY, primary_facts(PRIMARY))
    stage.sees(R1, replica_facts(R1, PRIMARY))
    assert stage.flush() == 2
    assert stage.flush() == 0
    (channel,) = replica_facts(R1, PRIMARY).channels
    busy = replace(channel, receiver=ThreadState.CONNECTING, lag_s=30, retrieved=parse_mysql(f"{UUID}:1-999"))
    stage.sees(R1, replica_facts(R1, PRIMARY, channels=(busy,), uptime_s=5, executed=parse_mysql(f"{UUID}:1-30")))
    assert stage.flush() == 0


def test_structure_and_reach_are_replicated_without_positions(stage: Stage) -> None:
    stage.sees(R1, replica_facts(R1, PRIMARY))
    stage.flush()
    record = stage.state.servers[R1]
    assert record.facts is not None and record.facts.executed is None
    stage.sees(R1, replica_facts(R1, PRIMARY, read_only=False))
    assert stage.flush() == 1
    stage.misses(R1)
    assert stage.flush() == 1
    assert not stage.state.servers[R1].reachable
    kept = stage.state.servers[R1].facts
    assert kept is not None and not kept.read_only
    stage.misses(R1)
    assert stage.flush() == 0


def test_an_address_where_nobody_ever_answered_is_not_recorded(stage: Stage) -> None:
    stage.misses(R2)
    assert stage.flush() == 0


def test_a_source_that_nobody_reached_is_recorded_because_a_replica_names_it(stage: Stage) -> None:
    stage.sees(R1, replica_facts(R1, PRIMARY))
    stage.misses(PRIMARY)
    assert stage.flush() == 2
    assert not stage.state.servers[PRIMARY].reachable
    assert stage.state.servers[PRIMARY].facts is None


def test_a_forgotten_server_is_recorded_again_only_when_it_is_seen_again(stage: Stage) -> None:
    stage.sees(R1, replica_facts(R1, R2))
    stage.flush()
    stage.state, _ = apply(stage.state, ForgetServers(id="f", at_ms=20_000, keys=(R1,)))
    stage.inventory.forget(R1)
    assert stage.flush() == 0
    stage.sees(R1, replica_facts(R1, R2))
    assert stage.flush() == 1


# -- semi-sync that comes and goes


def in_force(active: bool) -> Facts:
    facts = primary_facts(PRIMARY)
    return replace(facts, semi_sync=replace(facts.semi_sync, source_active=active))


def recorded_in_force(stage: Stage) -> bool:
    facts = stage.known[PRIMARY].facts
    assert facts is not None
    return facts.semi_sync.source_active


def test_semi_sync_that_falls_back_is_urgent_and_handed_on_at_once() -> None:
    stage = Stage()
    stage.sees(PRIMARY, in_force(True))
    assert stage.flush() == 1 and recorded_in_force(stage)
    assert stage.is_urgent(in_force(False))
    stage.sees(PRIMARY, in_force(False))
    assert stage.flush() == 1 and not recorded_in_force(stage)


def test_semi_sync_that_comes_and_goes_changes_the_log_twice() -> None:
    stage = Stage()
    stage.sees(PRIMARY, in_force(True))
    stage.flush()
    changes = 0
    for number in range(200):
        stage.sees(PRIMARY, in_force(number % 2 == 1))
        changes += stage.flush()
    assert changes == 1
    for _ in range(round(SEMI_SYNC_HOLD_S) + 1):
        stage.sees(PRIMARY, in_force(True))
        changes += stage.flush()
    assert (changes, recorded_in_force(stage)) == (2, True)


def test_semi_sync_that_was_never_seen_out_of_force_is_believed_at_once() -> None:
    """Also where it was off, as on a replica that is promoted."""
    stage = Stage()
    off = replace(primary_facts(PRIMARY).semi_sync, source_enabled=False, source_active=False)
    stage.sees(PRIMARY, replace(primary_facts(PRIMARY), semi_sync=off))
    stage.flush()
    stage.sees(PRIMARY, in_force(True))
    assert stage.flush() == 1 and recorded_in_force(stage)
