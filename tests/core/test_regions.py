"""``reassign_clusters`` gives what ``assign_clusters`` gives, in the same order, whatever was asked before."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_raft.core.instance import Channel, Facts, Flavor, InstanceKey, SemiSync
from orchestrator_raft.core.replicated import State, apply
from orchestrator_raft.core.replicated.commands import ObserveServers, ServerObservation
from orchestrator_raft.core.topology import ServerRecord, StalePrimary, bonds, regions
from orchestrator_raft.core.topology.clusters import Assignment, assign_clusters
from orchestrator_raft.core.topology.regions import Fleet, reassign_clusters

SERVERS, PER_CLUSTER, STEPS = 24, 4, 30
KEYS = tuple(InstanceKey(f"db{number % 7}", 3000 + number) for number in range(SERVERS))
NOTHING = Fleet(records={}, clusters={}, stale={}, frozen=frozenset())


def record(number: int, source: int | None, dice: random.Random) -> ServerRecord:
    channels: tuple[Channel, ...] = ()
    if source is not None:
        uuid = dice.choice(("", f"u{source}", f"u{source}", f"u{source}"))
        channels = (Channel(source=KEYS[source], source_uuid=uuid),)
    facts = Facts(
        key=KEYS[number], flavor=Flavor.MYSQL, version="8.4.6", server_uuid=f"u{number}", channels=channels,
        read_only=source is not None, semi_sync=SemiSync(replica_enabled=dice.random() < 0.7),
        cluster_alias=dice.choice(("", "shop")),
    )  # fmt: skip
    return ServerRecord(key=KEYS[number], facts=facts)


def ordinary(number: int, dice: random.Random) -> ServerRecord:
    first = number - number % PER_CLUSTER
    return record(number, None if number == first else first, dice)


def change_source(fleet: Fleet, dice: random.Random) -> Fleet:
    number = dice.randrange(SERVERS)
    source = dice.choice((None, dice.randrange(SERVERS), number - number % PER_CLUSTER))
    known = fleet.records.get(KEYS[number])
    changed = replace(record(number, source, dice), cluster_id=known.cluster_id if known is not None else "")
    return replace(fleet, records={**fleet.records, KEYS[number]: changed})


def change_server(fleet: Fleet, dice: random.Random) -> Fleet:
    if not fleet.records:
        return fleet
    key = dice.choice(list(fleet.records))
    known = fleet.records[key]
    changed = replace(
        known,
        reachable=dice.random() < 0.6,
        addresses=tuple(dice.sample(KEYS, dice.choice((0, 0, 1)))),
        facts=known.facts and replace(known.facts, server_uuid=dice.choice(("", known.facts.server_uuid, "u1"))),
    )
    return replace(fleet, records={**fleet.records, key: changed})


def forget(fleet: Fleet, dice: random.Random) -> Fleet:
    gone = dice.choice(KEYS)
    return replace(fleet, records={key: known for key, known in fleet.records.items() if key != gone})


def put_last(fleet: Fleet, dice: random.Random) -> Fleet:
    key = dice.choice(KEYS)
    kept = {each: known for each, known in fleet.records.items() if each != key}
    return replace(fleet, records=kept | ({key: fleet.records[key]} if key in fleet.records else {}))


def change_cluster(fleet: Fleet, dice: random.Random) -> Fleet:
    if not fleet.clusters:
        return fleet
    known = dice.choice(list(fleet.clusters.values()))
    some: Callable[[], tuple[InstanceKey, ...]] = lambda: tuple(dice.sample(KEYS, dice.choice((0, 0, 1, 2))))  # noqa: E731
    changed = replace(known, primary=dice.choice((None, known.primary, *KEYS)), ackers=some(), released=some(),
                      left_behind=some())  # fmt: skip
    return replace(fleet, clusters={**fleet.clusters, known.id: changed})


def change_marks(fleet: Fleet, dice: random.Random) -> Fleet:
    key, cluster_id = dice.choice(KEYS), f"c{dice.randrange(1, 12)}"
    stale = {each: mark for each, mark in fleet.stale.items() if each != key}
    if key not in fleet.stale:
        stale[key] = StalePrimary(key=key, cluster_id=cluster_id, recovery_id="r1", since_ms=0)
    return replace(fleet, stale=stale, frozen=fleet.frozen ^ {cluster_id})


CHANGES = (change_source, change_server, forget, put_last, change_cluster, change_marks)


def wanted(fleet: Fleet, number: int) -> Assignment:
    return assign_clusters(fleet.records, fleet.clusters, fleet.stale, fleet.frozen, number)


def found(fleet: Fleet, number: int) -> Assignment:
    return reassign_clusters(fleet.records, fleet.clusters, fleet.stale, fleet.frozen, number)


def told(assignment: Assignment) -> Any:
    return list(assignment.servers.items()), list(assignment.clusters.items()), assignment.next_number


def settled(fleet: Fleet) -> tuple[Fleet, int]:
    """What comes out when nothing changes any more."""
    number = 0
    for _ in range(3):
        result = found(fleet, number)
        fleet, number = replace(fleet, records=result.servers, clusters=result.clusters), result.next_number
    return fleet, number


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_it_equals_the_whole_calculation_after_any_changes(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bonds, "REGION_SHARE", 1)
        compare(random.Random(seed))


def compare(dice: random.Random) -> None:
    first = {KEYS[number]: ordinary(number, dice) for number in dice.sample(range(SERVERS), dice.randrange(SERVERS))}
    fleet, number = replace(NOTHING, records=first), 0
    earlier: list[tuple[Fleet, int]] = [(fleet, number)]
    changes = dice.sample(CHANGES, dice.randrange(1, len(CHANGES)))
    for _ in range(STEPS):
        for _ in range(dice.choice((0, 1, 1, 2))):
            fleet = dice.choice(changes)(fleet, dice)
        result = found(fleet, number)
        assert told(wanted(fleet, number)) == told(result)
        if dice.random() < 0.9:
            fleet, number = replace(fleet, records=result.servers, clusters=result.clusters), result.next_number
        earlier.append((fleet, number))
        if dice.random() < 0.1:
            fleet, number = dice.choice(earlier)


def test_only_the_region_of_a_change_is_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(1)
    fleet, number = settled(replace(NOTHING, records={KEYS[each]: ordinary(each, dice) for each in range(SERVERS)}))
    sizes: list[int] = []

    def counted(records: Any, *rest: Any) -> Assignment:
        sizes.append(len(records))
        return assign_clusters(records, *rest)

    monkeypatch.setattr(regions, "assign_clusters", counted)
    found(replace(fleet, records={**fleet.records, KEYS[9]: replace(fleet.records[KEYS[9]], reachable=False)}), number)
    assert sizes == [PER_CLUSTER]


def test_a_command_about_one_server_touches_nothing_else_of_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(1)
    seen = [ServerObservation(key=KEYS[each], facts=ordinary(each, dice).facts) for each in range(SERVERS)]
    state = State()
    for number in range(3):
        state, _ = apply(state, ObserveServers(id=f"all {number}", at_ms=number, servers=tuple(seen)))
    sizes: list[int] = []

    def counted(records: Any, *rest: Any) -> Assignment:
        sizes.append(len(records))
        return assign_clusters(records, *rest)

    monkeypatch.setattr(regions, "assign_clusters", counted)
    gone = ServerObservation(key=KEYS[9], facts=None, reachable=False)
    after, result = apply(state, ObserveServers(id="one", at_ms=9, servers=(gone,)))
    assert result.ok and sizes == [PER_CLUSTER]
    assert [key for key, record in after.servers.items() if record is not state.servers[key]] == [KEYS[9]]
    assert all(record is state.clusters[cluster_id] for cluster_id, record in after.clusters.items())


def test_what_comes_out_equal_is_the_very_object_that_went_in() -> None:
    dice = random.Random(1)
    fleet, number = settled(replace(NOTHING, records={KEYS[each]: ordinary(each, dice) for each in range(SERVERS)}))
    changed = {**fleet.records, KEYS[9]: replace(fleet.records[KEYS[9]], reachable=False)}
    result = found(replace(fleet, records=changed), number)
    assert result.servers is changed
    assert result.clusters is fleet.clusters
