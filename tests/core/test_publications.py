"""Primaries by alias: one record each, newer ones with greater generations, nobody under another's alias."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated import State
from orchestrator_raft.core.replicated.publications import unpublished, with_publications
from orchestrator_raft.core.topology import ClusterRecord
from tests.core.scenario import World

A, B, C = (InstanceKey(f"10.0.0.{number}", 3306) for number in (1, 2, 3))


def record(cluster_id: str, primary: InstanceKey | None, alias: str = "shop") -> ClusterRecord:
    return ClusterRecord(id=cluster_id, primary=primary, alias=alias)


def after(state: State, *records: ClusterRecord) -> State:
    return with_publications(state, replace(state, clusters={each.id: each for each in records}))


def published(state: State) -> dict[str, tuple[str, InstanceKey, int]]:
    return {alias: (each.cluster_id, each.primary, each.generation) for alias, each in state.publications.items()}


def test_a_change_of_the_primary_replaces_the_record_with_a_newer_one() -> None:
    first = after(State(), record("1", A))
    assert {"shop": ("1", A, 1)} == published(first)
    second = after(first, record("1", B))
    assert {"shop": ("1", B, 2)} == published(second)


def test_the_end_of_a_takeover_is_in_the_record() -> None:
    world = World("P 10.0.0.1:3306 alias=shop\n  + R1 10.0.0.2:3306".splitlines())
    state = world.manager.state
    records = tuple(replace(each, alias="shop") for each in state.clusters.values())
    assert [A] == [each.primary for each in after(state, *records).publications.values()]


def test_a_cluster_that_loses_its_primary_keeps_its_record() -> None:
    state = after(after(State(), record("1", A)), record("1", None))
    assert {"shop": ("1", A, 1)} == published(state)


def test_an_alias_that_is_renamed_is_published_anew_and_the_old_one_no_more() -> None:
    state = after(after(State(), record("1", A)), record("1", A, "store"))
    assert {"store": ("1", A, 2)} == published(state)


def test_whoever_has_an_alias_keeps_it_and_the_other_is_told_so() -> None:
    state = after(after(State(), record("1", A)), record("2", B), record("1", A))
    assert {"shop": ("1", A, 1)} == published(state)
    assert ["2"] == list(unpublished(state))
    assert "cluster 1" in unpublished(state)["2"]


def test_the_other_cluster_of_an_alias_follows_when_the_first_is_gone() -> None:
    both = after(State(), record("1", A), record("2", B))
    assert {"shop": ("2", B, 2)} == published(after(both, record("2", B)))


def test_without_an_alias_or_with_one_that_is_a_path_nothing_is_published() -> None:
    state = after(State(), record("1", A, ""), record("2", B, "a/b"), record("3", C, ".."))
    assert {} == published(state)
    assert {"1", "2", "3"} == set(unpublished(state))


FLEETS = st.lists(
    st.dictionaries(
        st.sampled_from("123"), st.tuples(st.sampled_from((A, B, C, None)), st.sampled_from(("shop", "store", "")))
    ),
    max_size=12,
)


@given(FLEETS)
def test_of_two_records_the_newer_one_always_has_the_greater_generation(
    fleets: list[dict[str, tuple[InstanceKey | None, str]]],
) -> None:
    state, newest = State(), 0
    for fleet in fleets:
        before = state
        state = after(state, *(record(id_, primary, alias) for id_, (primary, alias) in fleet.items()))
        fresh = [each for alias, each in state.publications.items() if each != before.publications.get(alias)]
        assert len({each.generation for each in fresh}) == len(fresh)
        assert all(each.generation > newest for each in fresh)
        newest = max([newest, *(each.generation for each in fresh)])
        for alias, each in state.publications.items():
            bearer = state.clusters[each.cluster_id]
            assert bearer.alias == alias
            assert bearer.primary in (each.primary, None)
