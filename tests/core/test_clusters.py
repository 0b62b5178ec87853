"""Which server belongs to which cluster: laws for any fleet, and the ways in which clusters change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_raft.core.instance import Channel, Facts, Flavor, InstanceKey, SemiSync
from orchestrator_raft.core.topology import (
    ClusterRecord,
    ServerRecord,
    StalePrimary,
    StaleStatus,
    assign_clusters,
)
from orchestrator_raft.core.topology.clusters import Assignment, resolve_sources

KEYS = tuple(InstanceKey(f"10.0.0.{number}", 3306) for number in range(1, 7))
CLUSTERS = ("c1", "c2", "c3")
Records = dict[InstanceKey, ServerRecord]


def server(
    number: int, source: int | None = None, *, uuid: str | None = None, source_uuid: str = "", rw: bool | None = None,
    home: str = "", reachable: bool = True, addresses: tuple[InstanceKey, ...] = (), acks: bool = False,
) -> ServerRecord:  # fmt: skip
    """The record of server ``number``, which replicates from ``source``."""
    facts = Facts(
        key=KEYS[number],
        flavor=Flavor.MYSQL,
        version="8.4.3",
        server_uuid=f"uuid-{number}" if uuid is None else uuid,
        read_only=source is not None if rw is None else not rw,
        semi_sync=SemiSync(replica_enabled=acks),
        channels=() if source is None else (Channel(source=KEYS[source], source_uuid=source_uuid),),
    )
    return ServerRecord(key=KEYS[number], facts=facts, cluster_id=home, reachable=reachable, addresses=addresses)


def records(*servers: ServerRecord) -> Records:
    return {each.key: each for each in servers}


def assigned(
    known: Records, clusters: Mapping[str, ClusterRecord] | None = None,
    stale: Mapping[InstanceKey, StalePrimary] | None = None, frozen: frozenset[str] = frozenset(), number: int = 9,
) -> Assignment:  # fmt: skip
    return assign_clusters(known, clusters or {}, stale or {}, frozen, number)


def homes(assignment: Assignment) -> dict[int, str]:
    return {KEYS.index(key): record.cluster_id for key, record in assignment.servers.items()}


def cluster(identifier: str, primary: int | None) -> dict[str, ClusterRecord]:
    key = KEYS[primary] if primary is not None else None
    return {identifier: ClusterRecord(id=identifier, primary=key, generation=3)}


# -- laws

numbers = st.integers(0, len(KEYS) - 1)


@st.composite
def any_server(draw: st.DrawFn, number: int) -> ServerRecord:
    made = server(
        number,
        draw(st.none() | numbers),
        uuid=draw(st.sampled_from([f"uuid-{number}", f"uuid-{number}", "uuid-0", ""])),
        source_uuid=draw(st.sampled_from(["", "uuid-0", "uuid-1", "uuid-5", "uuid-unknown"])),
        rw=draw(st.booleans()),
        home=draw(st.sampled_from(["", *CLUSTERS])),
        reachable=draw(st.booleans()),
        addresses=tuple(sorted(draw(st.sets(st.sampled_from(KEYS), max_size=2)))),
        acks=draw(st.booleans()),
    )
    return replace(made, facts=None) if draw(st.integers(0, 9)) == 0 else made


@st.composite
def any_fleet(draw: st.DrawFn) -> dict[str, object]:
    present = draw(st.lists(numbers, unique=True, min_size=1))
    known = records(*[draw(any_server(number)) for number in present])
    used = sorted({record.cluster_id for record in known.values()} - {""})
    clusters = {}
    for name in used:
        primary, late = draw(st.none() | st.sampled_from(KEYS)), draw(st.sets(st.sampled_from(KEYS), max_size=1))
        late = late if primary in known and known[primary].cluster_id == name else set()
        clusters[name] = ClusterRecord(
            id=name,
            primary=primary,
            generation=draw(st.integers(0, 5)),
            left_behind=tuple(key for key in late if key != primary),
        )
    stale = {
        KEYS[number]: StalePrimary(
            key=KEYS[number], cluster_id=draw(st.sampled_from(CLUSTERS)), recovery_id="r", since_ms=0,
            status=draw(st.sampled_from(StaleStatus)),
        )
        for number in draw(st.sets(numbers, max_size=2))
    }  # fmt: skip
    frozen = frozenset(draw(st.sets(st.sampled_from(used)))) if used else frozenset[str]()
    return {"known": known, "clusters": clusters, "stale": stale, "frozen": frozen}


@given(any_fleet())
def test_assigning_again_changes_nothing(fleet: dict[str, object]) -> None:
    """At the latest the second time: a primary that just became one may hold its cluster together differently."""
    rounds = [assigned(**fleet)]  # type: ignore[arg-type]
    for _ in range(2):
        last = rounds[-1]
        rounds.append(assigned(last.servers, last.clusters, fleet["stale"], fleet["frozen"], last.next_number))  # type: ignore[arg-type]
    assert rounds[1] == rounds[2]


@given(any_fleet(), st.randoms(use_true_random=False))
def test_the_order_of_the_records_does_not_matter(fleet: dict[str, object], random: object) -> None:
    shuffled = {}
    for name, value in fleet.items():
        if isinstance(value, dict):
            items = list(value.items())
            random.shuffle(items)  # type: ignore[attr-defined]
            value = dict(items)
        shuffled[name] = value
    assert assigned(**fleet) == assigned(**shuffled)  # type: ignore[arg-type]


@given(any_fleet())
def test_every_server_is_in_one_known_cluster_and_no_cluster_is_empty(fleet: dict[str, object]) -> None:
    result = assigned(**fleet)  # type: ignore[arg-type]
    assert set(fleet["known"]) == set(result.servers)  # type: ignore[call-overload]
    assert set(result.clusters) == {record.cluster_id for record in result.servers.values()}


@given(any_fleet())
def test_a_cluster_under_recovery_keeps_every_member_and_its_record(fleet: dict[str, object]) -> None:
    result = assigned(**fleet)  # type: ignore[arg-type]
    known: Records = fleet["known"]  # type: ignore[assignment]
    for name in fleet["frozen"]:  # type: ignore[attr-defined]
        assert fleet["clusters"][name] == result.clusters[name]  # type: ignore[index]
        for key, record in known.items():
            if record.cluster_id == name:
                assert name == result.servers[key].cluster_id
            elif record.cluster_id:
                assert name != result.servers[key].cluster_id


# -- sources


def test_a_source_is_found_by_its_identity_before_its_address() -> None:
    """Server 1 names an address that another server has taken over; the UUID says who is meant."""
    known = records(server(0), server(2), server(1, 0, source_uuid="uuid-2"))
    assert KEYS[2] == resolve_sources(known)[KEYS[1]]


def test_of_two_servers_with_one_identity_the_named_address_is_the_source() -> None:
    """A copied data directory brings a second server with the same UUID."""
    known = records(server(0, uuid="same"), server(2, uuid="same"), server(1, 2, source_uuid="same"))
    assert KEYS[2] == resolve_sources(known)[KEYS[1]]


def test_a_replica_with_the_identity_of_its_source_does_not_replicate_from_itself() -> None:
    known = records(server(0, uuid="same"), server(1, 0, uuid="same", source_uuid="same"))
    assert KEYS[0] == resolve_sources(known)[KEYS[1]]


def test_a_servers_own_key_goes_before_anothers_further_address() -> None:
    known = records(server(0), server(1, 0), server(2, addresses=(KEYS[0],)))
    assert KEYS[0] == resolve_sources(known)[KEYS[1]]


# -- identity


def test_a_new_fleet_becomes_one_cluster_a_tree() -> None:
    result = assigned(records(server(0), server(1, 0), server(2, 1), server(3)))
    assert {0: "c10", 1: "c10", 2: "c10", 3: "c11"} == homes(result)
    assert (KEYS[0], KEYS[3]) == (result.clusters["c10"].primary, result.clusters["c11"].primary)


def test_a_split_leaves_the_cluster_with_its_recorded_primary() -> None:
    known = records(server(0, home="c1"), server(1, 0, home="c1"), server(2, home="c1"), server(3, 2, home="c1"))
    result = assigned(known, cluster("c1", 0))
    assert {0: "c1", 1: "c1", 2: "c10", 3: "c10"} == homes(result)


def test_a_merge_keeps_the_cluster_whose_primary_is_the_larger_part() -> None:
    known = records(
        server(0, home="c1"), server(1, 0, home="c1"), server(2, 0, home="c1"), server(3, 0, home="c2"),
    )  # fmt: skip
    result = assigned(known, cluster("c1", 0) | cluster("c2", 3))
    assert {0: "c1", 1: "c1", 2: "c1", 3: "c1"} == homes(result)
    assert ["c1"] == list(result.clusters)


def test_a_dead_primary_that_everybody_left_does_not_take_the_cluster_with_it() -> None:
    known = records(server(0, home="c1", reachable=False), server(1, home="c1"), server(2, 1, home="c1"))
    result = assigned(known, cluster("c1", 0))
    assert ("c10", "c1", "c1") == tuple(homes(result).values())
    assert KEYS[1] == result.clusters["c1"].primary


def test_a_new_server_joins_a_cluster_that_is_being_recovered_and_joins_nothing_else_to_it() -> None:
    """Server 2 is new, replicates from one cluster and feeds another: the one under recovery stays as it is."""
    known = records(server(0, home="c1"), server(1, 2, home="c2"), server(2, 0))
    clusters = cluster("c1", 0) | cluster("c2", 1)
    assert {0: "c1", 1: "c2", 2: "c1"} == homes(assigned(known, clusters, frozen=frozenset({"c1"})))
    assert {0: "c1", 1: "c2", 2: "c1"} == homes(assigned(known, clusters, frozen=frozenset({"c1", "c2"})))


def test_a_stale_primary_stays_with_the_cluster_that_demoted_it() -> None:
    mark = StalePrimary(key=KEYS[0], cluster_id="c1", recovery_id="r", since_ms=0)
    known = records(server(0, home="c1", reachable=False), server(1, home="c1"), server(2, 1, home="c1"))
    result = assigned(known, cluster("c1", 1), {KEYS[0]: mark})
    assert {0: "c1", 1: "c1", 2: "c1"} == homes(result)
    assert KEYS[1] == result.clusters["c1"].primary


def test_the_generation_counts_changes_of_the_primary_and_nothing_else() -> None:
    known = records(server(0, 1, home="c1"), server(1, home="c1", rw=True))
    changed = assigned(known, cluster("c1", 0))
    assert (KEYS[1], 4) == (changed.clusters["c1"].primary, changed.clusters["c1"].generation)
    again = assigned(changed.servers, changed.clusters)
    assert 4 == again.clusters["c1"].generation


def test_a_cluster_of_stale_servers_alone_has_no_primary_and_counts_nothing() -> None:
    mark = StalePrimary(key=KEYS[0], cluster_id="gone", recovery_id="r", since_ms=0)
    first = assigned(records(server(0)), {}, {KEYS[0]: mark})
    again = assigned(first.servers, first.clusters, {KEYS[0]: mark}, number=first.next_number)
    assert first == again


def test_in_a_circle_the_recorded_primary_stays_unless_the_other_one_alone_takes_writes() -> None:
    for writable, expected in (((True, True), 1), ((False, False), 1), ((False, True), 1), ((True, False), 0)):
        known = records(
            server(0, 1, home="c1", rw=writable[0]), server(1, 0, home="c1", rw=writable[1]), server(2, 1, home="c1")
        )
        result = assigned(known, cluster("c1", 1))
        assert KEYS[expected] == result.clusters["c1"].primary


def test_possible_ackers_are_added_and_never_taken_away() -> None:
    known = records(server(0, home="c1"), server(1, 0, home="c1", acks=True), server(2, 0, home="c1"))
    clusters = {"c1": ClusterRecord(id="c1", primary=KEYS[0], ackers=(KEYS[4],))}
    assert (KEYS[1], KEYS[4]) == assigned(known, clusters).clusters["c1"].ackers
