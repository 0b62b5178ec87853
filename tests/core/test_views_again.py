"""Views and diagnoses that are only renewed where something has changed equal those that are made anew."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_raft.core.analysis import again
from orchestrator_raft.core.analysis import analyze as analyze_module_entry
from orchestrator_raft.core.analysis.analyze import Diagnosis
from orchestrator_raft.core.analysis.analyze import analyze as analyze_whole
from orchestrator_raft.core.gtid import parse_mysql
from orchestrator_raft.core.health import GroupMember
from orchestrator_raft.core.instance import Facts, InstanceKey, Reached, ThreadState, Unreachable, UnreachableKind
from orchestrator_raft.core.observation import Observation, observe
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import (
    ClusterRecord,
    Downtime,
    Marks,
    ServerRecord,
    StalePrimary,
    Topology,
    assign_clusters,
    bonds,
    rebuild,
)
from orchestrator_raft.core.topology.build import build as build_whole
from orchestrator_raft.core.topology.regions import Fleet
from tests.core import test_regions as fleets
from tests.core.asked import holding_unasked
from tests.core.test_regions import KEYS, NOTHING, PER_CLUSTER, SERVERS, ordinary

NOW_MS, STEPS = 1_000, 20
FLEET_CHANGES = (
    fleets.change_source, fleets.change_server, fleets.forget, fleets.put_last, fleets.change_cluster,
)  # fmt: skip
Seen = dict[InstanceKey, Observation]
View = tuple[Fleet, Seen, Marks, int]


def observed(fleet: Fleet, before: Seen, dice: random.Random) -> Seen:
    key = dice.choice(KEYS)
    if dice.random() < 0.1:
        return {each: known for each, known in before.items() if each != key}
    facts = fleet.records[key].facts if key in fleet.records else None
    failure = Unreachable(key, dice.choice(list(UnreachableKind)), "no")
    result = failure if facts is None or dice.random() < 0.4 else Reached(moved(facts, dice))
    at_s = float(dice.randrange(100))
    return {**before, key: observe(before.get(key), key, result, at_s=at_s, asked_at_s=at_s - 0.1)}


def moved(facts: Facts, dice: random.Random) -> Facts:
    channels = facts.channels
    if channels and dice.random() < 0.3:
        channels = (replace(channels[0], source=dice.choice(KEYS), source_uuid=dice.choice(("", "u1", "u2"))),)
    uuid = "00000000-0000-4000-8000-000000000001"
    return replace(facts, channels=channels, read_only=dice.random() < 0.5, uptime_s=dice.randrange(99),
                   executed=parse_mysql(f"{uuid}:1-{dice.randrange(1, 9)}"))  # fmt: skip


def threads(facts: Facts, dice: random.Random) -> Facts:
    """As after anything that can happen to a channel."""
    states, errors = list(ThreadState), ("", "error connecting to source", "Duplicate entry")
    channels = tuple(
        replace(each, receiver=dice.choice(states), applier=dice.choice(states), receiver_error=dice.choice(errors),
                receiver_error_number=dice.choice((0, 2003)), applier_error_number=dice.choice((0, 1062)),
                heartbeat_period_s=1.0, lag_s=dice.choice((None, 0, 99)))
        for each in facts.channels
    )  # fmt: skip
    version, group = dice.choice(("8.4.6", "maxscale")), dice.choice((None, GroupMember("g", "ONLINE", "SECONDARY")))
    return replace(facts, channels=channels, version=version, group=group)


def marked(marks: Marks, dice: random.Random) -> Marks:
    key = dice.choice(KEYS)
    downtimes = {each: known for each, known in marks.downtimes.items() if each != key}
    stale = {each: known for each, known in marks.stale.items() if each != key}
    if dice.random() < 0.5:
        downtimes[key] = Downtime(key=key, owner="me", reason="", begun_ms=0, ends_ms=NOW_MS + dice.randrange(-5, 50))
    if dice.random() < 0.2:
        stale[key] = StalePrimary(key=key, cluster_id="c1", recovery_id="r1", since_ms=0)
    return Marks(downtimes=downtimes, stale=stale)


def changed(view: View, dice: random.Random) -> View:
    fleet, observations, marks, now_ms = view
    match dice.randrange(4):
        case 0:
            fleet = dice.choice(FLEET_CHANGES)(fleet, dice)
            if dice.random() < 0.7:
                number = max((int(cluster_id[1:]) for cluster_id in fleet.clusters), default=0)
                assigned = assign_clusters(fleet.records, fleet.clusters, marks.stale, frozenset(), number)
                fleet = replace(fleet, records=assigned.servers, clusters=assigned.clusters)
        case 1:
            marks = marked(marks, dice)
        case 2:
            now_ms += dice.randrange(20)
        case _:
            observations = observed(fleet, observations, dice)
    return fleet, observations, marks, now_ms


def first_view(dice: random.Random) -> View:
    records: dict[InstanceKey, ServerRecord] = {KEYS[each]: ordinary(each, dice) for each in range(SERVERS)}
    clusters: dict[str, ClusterRecord] = {}
    number = 0
    for _ in range(2):
        assigned = assign_clusters(records, clusters, {}, frozenset(), number)
        records, clusters, number = dict(assigned.servers), dict(assigned.clusters), assigned.next_number
    fleet = replace(NOTHING, records=records, clusters=clusters)
    observations: dict[InstanceKey, Observation] = {}
    for _ in range(3 * SERVERS):
        observations = observed(fleet, observations, dice)
    return fleet, observations, Marks(), NOW_MS


def arguments(view: View) -> tuple[Any, ...]:
    fleet, observations, marks, now_ms = view
    return fleet.records, fleet.clusters, observations, marks, now_ms


def told(topology: Topology) -> Any:
    return list(topology.servers.items()), list(topology.clusters.items())


def said(diagnoses: tuple[Diagnosis, ...]) -> Any:
    return [(each.situation.server, each.problem, each.weaknesses) for each in diagnoses]


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_they_equal_those_of_the_whole_after_any_changes(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bonds, "REGION_SHARE", 1)
        patch.setattr(again, "PART_SHARE", 1)
        compare(random.Random(seed))


def compare(dice: random.Random) -> None:
    view, policies = first_view(dice), (Policy(), Policy(), Policy(exact_semi_sync=True))
    policy = policies[0]
    earlier = [view]
    for _ in range(STEPS):
        for _ in range(dice.choice((0, 1, 1, 2))):
            view = changed(view, dice)
        topology = rebuild.build(*arguments(view))
        whole = build_whole(*arguments(view))
        assert told(whole) == told(topology)
        policy = dice.choice(policies) if dice.random() < 0.1 else policy
        assert said(analyze_whole(whole, policy)) == said(again.analyze(topology, policy))
        earlier.append(view)
        view = dice.choice(earlier) if dice.random() < 0.1 else view


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_no_rule_holds_that_is_not_asked(seed: int) -> None:
    dice = random.Random(seed)
    fleet, observations, marks, now_ms = first_view(dice)
    for key, known in observations.items():
        if isinstance(known.result, Reached):
            result = Reached(threads(known.result.facts, dice))
            observations[key] = observe(known, key, result, at_s=known.at_s + dice.choice((0.5, 50.0)))
    topology = build_whole(*arguments((fleet, observations, marks, now_ms)))
    policy = Policy(exact_semi_sync=dice.random() < 0.5, recover_read_only_primary=dice.random() < 0.5)
    for diagnosis in analyze_whole(topology, policy):
        assert [] == holding_unasked(diagnosis.situation)


def seen(record: ServerRecord) -> Observation:
    assert record.facts is not None
    return observe(None, record.key, Reached(record.facts), at_s=100.0)


def test_a_probe_of_one_server_makes_only_its_region_anew() -> None:
    dice = random.Random(1)
    fleet, _, marks, now_ms = first_view(dice)
    observations = {key: seen(record) for key, record in fleet.records.items()}
    before = rebuild.build(*arguments((fleet, observations, marks, now_ms)))
    said_before = {each.situation.key: each for each in again.analyze(before, Policy())}
    refused = Unreachable(KEYS[9], UnreachableKind.REFUSED, "no")
    failed = observe(observations[KEYS[9]], KEYS[9], refused, at_s=200.0)
    after = rebuild.build(*arguments((fleet, {**observations, KEYS[9]: failed}, marks, now_ms)))
    anew = [key for key, server in after.servers.items() if server is not before.servers[key]]
    assert KEYS[9] in anew and len(anew) < SERVERS // 2
    diagnoses = again.analyze(after, Policy())
    assert {each.situation.key for each in diagnoses if each is not said_before[each.situation.key]} == set(anew)
    assert PER_CLUSTER <= len(anew) == len(diagnoses[list(after.servers).index(KEYS[9])].situation.topology.servers)


def test_the_manager_uses_them() -> None:
    assert analyze_module_entry is again.analyze
