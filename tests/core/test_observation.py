"""What several probes together show: silence, restarts, stalls, and in which order two GTID sets were read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator_raft.core.analysis import errant_gtids
from orchestrator_raft.core.gtid import parse_mysql
from orchestrator_raft.core.health import Load
from orchestrator_raft.core.instance import (
    Channel,
    Coordinates,
    Facts,
    Flavor,
    InstanceKey,
    Reached,
    SemiSync,
    ThreadState,
    Unreachable,
    UnreachableKind,
)
from orchestrator_raft.core.observation import Observation, observe
from orchestrator_raft.core.topology import ClusterRecord, Marks, ServerRecord, build

P, R = InstanceKey("p", 3306), InstanceKey("r", 3306)
UUIDS = {P: "00000000-0000-0000-0000-000000000001", R: "00000000-0000-0000-0000-000000000002"}
CHANNEL = Channel(
    source=P, source_uuid=UUIDS[P], receiver=ThreadState.RUNNING, applier=ThreadState.RUNNING, heartbeat_period_s=1.0,
    heartbeats=5,
)  # fmt: skip
LOAD = Load(connections=5, connections_max=100, syncs=7)
PRIMARY = Facts(
    key=P, flavor=Flavor.MYSQL, version="9.7.4", server_id=1, server_uuid=UUIDS[P], uptime_s=1000, load=LOAD,
    semi_sync=SemiSync(source_enabled=True),
)  # fmt: skip
REPLICA = Facts(
    key=R, flavor=Flavor.MYSQL, version="9.7.4", server_id=2, server_uuid=UUIDS[R], read_only=True, channels=(CHANNEL,)
)


def seen(*steps: tuple[float, Facts | None], recorded: Facts | None = None) -> Observation:
    """The observation after probes at these times; None is a probe that failed."""
    observation: Observation | None = None
    for at_s, facts in steps:
        key = REPLICA.key if facts is None else facts.key
        result = Unreachable(key, UnreachableKind.REFUSED, "refused") if facts is None else Reached(facts)
        observation = observe(observation, key, result, at_s=at_s, asked_at_s=at_s - 0.1, recorded=recorded)
    assert observation is not None
    return observation


def channel(**changes: object) -> Facts:
    return replace(REPLICA, channels=(replace(CHANNEL, **changes),))  # type: ignore[arg-type]


def test_silence_begins_at_the_last_probe_that_found_something_new() -> None:
    assert seen((10, REPLICA)).silence_s == 0
    assert seen((10, REPLICA), (13, REPLICA)).silence_s == 3
    assert seen((10, REPLICA), (13, channel(heartbeats=6))).silence_s == 0
    assert seen((10, REPLICA), (13, channel(read=Coordinates("b", 9)))).silence_s == 0
    assert seen((10, REPLICA), (13, None)).silence_s == 0, "one that does not answer says nothing"


def test_what_the_server_tells_makes_a_silence_more_exact_and_never_longer_than_was_seen() -> None:
    silent = channel(heartbeats=6, silent_s=1.5)
    assert seen((10, REPLICA), (13, silent)).silence_s == 1.5
    assert seen((10, REPLICA), (13, channel(heartbeats=6, silent_s=3600.0))).silence_s == 3, "its clock jumped"
    assert seen((10, REPLICA), (13, channel(silent_s=0.2))).silence_s == pytest.approx(0.2)
    assert seen((10, channel(silent_s=3600.0))).silence_s == 0, "what was told before the receiver began counts not"


def test_a_receiver_that_got_transactions_is_not_silent_whatever_its_times_say() -> None:
    """Without performance_schema the server keeps the times of heartbeats alone, and a busy source sends none."""
    busy = channel(read=Coordinates("b", 9), silent_s=2.9)
    assert seen((10, REPLICA), (13, busy)).silence_s == 0
    assert seen((10, REPLICA), (13, busy), (14, channel(read=Coordinates("b", 9), silent_s=3.9))).silence_s == 1


@pytest.mark.parametrize(
    "begun",
    [
        channel(heartbeats=0, silent_s=60.0),
        channel(source=R, silent_s=60.0),
    ],
)
def test_a_receiver_that_has_just_begun_is_not_silent(begun: Facts) -> None:
    assert seen((10, REPLICA), (13, begun)).silence_s == 0


def test_a_receiver_that_connects_again_begins_anew() -> None:
    trying = channel(receiver=ThreadState.CONNECTING)
    assert seen((10, REPLICA), (13, trying)).silence_s == 0
    assert seen((10, REPLICA), (13, trying), (16, channel(silent_s=6.0))).silence_s == 0


def test_a_disk_stands_still_only_while_something_waits_and_nothing_is_finished() -> None:
    waiting = replace(PRIMARY, load=replace(LOAD, syncs_pending=1))
    busy = replace(PRIMARY, load=replace(LOAD, syncs_pending=1, syncs=8))
    assert seen((10, waiting), (15, waiting)).stall_s == 5
    assert seen((10, waiting), (15, busy)).stall_s == 0
    assert seen((10, waiting), (15, PRIMARY), (20, waiting)).stall_s == 0


RESTARTED = replace(PRIMARY, uptime_s=1, read_only=True)


def test_a_restart_is_remembered_while_the_primary_is_worse_for_it() -> None:
    before = seen((10, PRIMARY), (11, RESTARTED)).history.before_restart
    assert before == PRIMARY
    still = replace(RESTARTED, uptime_s=500)
    assert seen((10, PRIMARY), (11, RESTARTED), (510, still)).history.before_restart == PRIMARY
    repaired = replace(PRIMARY, uptime_s=500)
    closed_by_a_person = replace(PRIMARY, uptime_s=600, read_only=True)
    assert (
        seen((10, PRIMARY), (11, RESTARTED), (510, repaired), (610, closed_by_a_person)).history.before_restart is None
    )


@pytest.mark.parametrize(
    "after",
    [
        replace(RESTARTED, uptime_s=1001),
        replace(RESTARTED, uptime_s=0, load=Load()),
        replace(PRIMARY, uptime_s=1),
        replace(RESTARTED, channels=(CHANNEL,)),
    ],
    ids=["closed by a person", "uptime not told", "as it was", "a replica now"],
)
def test_what_is_no_restart_for_the_worse_is_not_remembered(after: Facts) -> None:
    assert seen((10, PRIMARY), (11, after)).history.before_restart is None


def test_a_restart_in_the_first_second_counts() -> None:
    assert seen((10, PRIMARY), (11, replace(RESTARTED, uptime_s=0))).history.before_restart == PRIMARY


def test_a_new_leader_knows_from_the_record_what_a_primary_was_like() -> None:
    record = PRIMARY.structural()
    assert seen((11, RESTARTED), recorded=record).history.before_restart == record
    assert seen((11, replace(RESTARTED, uptime_s=100_000)), recorded=record).history.before_restart is None


def gtids(facts: Facts, text: str) -> Facts:
    for key, uuid in UUIDS.items():
        text = text.replace(f"{key.hostname}:", f"{uuid}:")
    return replace(facts, executed=parse_mysql(text))


def errant(primary: Observation, replica: Observation) -> str | None:
    records = {
        key: ServerRecord(key=key, facts=observation.facts, cluster_id="c1")
        for key, observation in ((P, primary), (R, replica))
    }
    clusters = {"c1": ClusterRecord(id="c1", primary=P)}
    topology = build(records, clusters, {P: primary, R: replica}, Marks(), 0)
    found = errant_gtids(topology, topology.server(R))
    return None if found is None else str(found)


FOREIGN = "00000000-0000-0000-0000-000000000009:1"


def test_errant_is_said_only_of_a_source_that_was_read_later() -> None:
    """The transaction comes to the primary by another way, and to the replica from there; polls fall in between."""
    without, with_it = "p:1-9", f"p:1-9,{FOREIGN}"
    old_source = seen((10.0, gtids(PRIMARY, without)))
    new_source = seen((10.0, gtids(PRIMARY, without)), (12.0, gtids(PRIMARY, with_it)))
    late_replica = seen((6.0, gtids(REPLICA, without)), (11.0, gtids(REPLICA, with_it)))
    assert errant(old_source, late_replica) == "", "the probe before the newest shows nothing yet"
    assert errant(new_source, late_replica) == ""
    assert errant(old_source, seen((11.0, gtids(REPLICA, with_it)))) is None, "nothing can be said yet"


def test_errant_goes_on_being_said_while_polls_alternate() -> None:
    own = gtids(REPLICA, "p:1-9,r:1")
    source = seen((10.0, gtids(PRIMARY, "p:1-9")))
    assert errant(source, seen((9.0, own))) == f"{UUIDS[R]}:1"
    assert errant(source, seen((9.0, own), (14.0, own))) == f"{UUIDS[R]}:1"
