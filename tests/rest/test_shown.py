"""What is derived for a server beyond its facts: errant transactions, freshness, problems, lag, the text topology."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from api.compat import text_topology
from api.compat.analysis import diagnosis_json
from api.compat.cluster import cluster_json
from api.compat.go import dump, null_int, quoted, timestamp
from api.compat.instance import instance_json
from api.compat.shown import Scene
from api.node import NodeStatus, Role
from orchestrator_raft.core.analysis import analyze
from orchestrator_raft.core.gtid import parse_mariadb, parse_mysql
from orchestrator_raft.core.instance import (
    Channel,
    Facts,
    Flavor,
    InstanceKey,
    Reached,
    ThreadState,
    Unreachable,
    UnreachableKind,
)
from orchestrator_raft.core.observation import Observation
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.replicated import State
from orchestrator_raft.core.topology import ClusterRecord, Downtime, Marks, ServerRecord, StalePrimary, build
from orchestrator_raft.engine.view import Moment
from tests.engine.fleet import key, primary_facts, replica_facts, uuid_of

NOW_S, NOW_MS = 500.0, 1_795_402_300_000
NODE = NodeStatus(
    node_id="n1", hostname="h", token="t", version="1", started_ms=1, now_ms=2, role=Role.LEADER, term=1,
    holds_authority=True, leader_id="n1",
)  # fmt: skip
PRIMARY, REPLICA, BELOW = key(1), key(2), key(3)


def scene(
    *facts: Facts, age_s: float = 0.0, down: tuple[InstanceKey, ...] = (), marks: Marks | None = None,
    node: NodeStatus = NODE, probed: bool = True, policy: Policy | None = None,
) -> Scene:  # fmt: skip
    records = {each.key: ServerRecord(key=each.key, facts=each, cluster_id="c1") for each in facts}
    clusters = {"c1": ClusterRecord(id="c1", primary=facts[0].key, alias="bench")}
    observations = {
        each.key: Observation(
            key=each.key, at_s=NOW_S - age_s, facts=each, seen_at_s=NOW_S - age_s, asked_at_s=NOW_S - age_s,
            result=Unreachable(each.key, UnreachableKind.REFUSED, "refused") if each.key in down else Reached(each),
        )
        for each in facts
    }  # fmt: skip
    topology = build(records, clusters, observations if probed else {}, marks or Marks(), NOW_MS)
    state = State(time_ms=NOW_MS - 1000, servers=records, clusters=clusters)
    moment = Moment(state=state, topology=topology, policy=policy or Policy(), now_ms=NOW_MS, now_s=NOW_S)
    return Scene(moment, node)


def shown(made: Scene, server: InstanceKey) -> dict[str, Any]:
    found: dict[str, Any] = instance_json(made.moment.topology.server(server), made)
    return found


def with_channel(facts: Facts, **changes: Any) -> Facts:
    return replace(facts, channels=(replace(facts.channels[0], **changes),))


def executed(text: str) -> Any:
    return parse_mysql(text.replace("P:", uuid_of(PRIMARY) + ":").replace("R:", uuid_of(REPLICA) + ":"))


@pytest.mark.parametrize(
    ("on_primary", "on_replica", "errant"),
    [
        ("P:1-20", "P:1-20", ""),
        ("P:1-20", "P:1-18", ""),
        ("P:1-20", "P:1-25", ""),
        ("P:1-20", "P:1-20,R:1-3", "R:1-3"),
        ("P:1-20,R:1-3", "P:1-20,R:1-3", ""),
        ("P:1-20,R:1-2", "P:1-25,R:1-3", "R:3"),
    ],
)
def test_errant_is_what_neither_the_source_has_nor_an_ancestor_wrote(
    on_primary: str, on_replica: str, errant: str
) -> None:
    """A replica read after its source is ahead in what the source wrote: that is no errant transaction."""
    primary = primary_facts(PRIMARY, executed=executed(on_primary))
    replica = replica_facts(REPLICA, PRIMARY, executed=executed(on_replica))
    found = shown(scene(primary, replica), REPLICA)
    assert found["GtidErrant"] == str(executed(errant) if errant else "")
    assert found["Problems"] == (["errant_gtid"] if errant else [])


def test_what_an_ancestor_further_up_wrote_is_not_errant() -> None:
    primary = primary_facts(PRIMARY, executed=executed("P:1-20"))
    middle = replica_facts(REPLICA, PRIMARY, executed=executed("P:1-18"))
    below = replica_facts(BELOW, REPLICA, executed=executed("P:1-20"))
    assert shown(scene(primary, middle, below), BELOW)["GtidErrant"] == ""


@pytest.mark.parametrize("down", [(PRIMARY,), (REPLICA,)])
def test_errant_is_said_only_when_both_were_read(down: tuple[InstanceKey, ...]) -> None:
    primary = primary_facts(PRIMARY, executed=executed("P:1-20"))
    replica = replica_facts(REPLICA, PRIMARY, executed=executed("P:1-20,R:1"))
    assert shown(scene(primary, replica, down=down), REPLICA)["GtidErrant"] == ""


def test_mariadb_is_shown_with_its_own_words() -> None:
    primary = primary_facts(
        PRIMARY, flavor=Flavor.MARIADB, server_uuid="", gtid_mode="", executed=parse_mariadb("0-1-20")
    )
    replica = replica_facts(
        REPLICA, PRIMARY, flavor=Flavor.MARIADB, server_uuid="", gtid_mode="", executed=parse_mariadb("0-1-22,0-2-5")
    )
    made = scene(primary, with_channel(replica, source_uuid="", retrieved=None))
    found = shown(made, REPLICA)
    assert (found["FlavorName"], found["UsingMariaDBGTID"], found["UsingOracleGTID"]) == ("MariaDB", True, False)
    assert (found["SupportsOracleGTID"], found["AncestryUUID"]) == (False, "")
    assert found["GtidErrant"] == "0-2-5"


@pytest.mark.parametrize(
    ("age_s", "up_to_date", "recently", "problems"),
    [(0, True, True, []), (5.9, True, True, []), (6, False, True, []), (25.9, False, True, []),
     (26, False, False, ["not_recently_checked"])],
)  # fmt: skip
def test_a_check_grows_old(age_s: float, up_to_date: bool, recently: bool, problems: list[str]) -> None:
    found = shown(scene(primary_facts(PRIMARY), age_s=age_s), PRIMARY)
    assert (found["IsUpToDate"], found["IsRecentlyChecked"], found["Problems"]) == (up_to_date, recently, problems)
    assert found["SecondsSinceLastSeen"] == {"Int64": int(age_s), "Valid": True}


STOPPED = ThreadState.STOPPED


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({}, []),
        ({"receiver": STOPPED}, ["not_replicating"]),
        ({"applier": STOPPED, "lag_s": None}, ["not_replicating"]),
        ({"receiver": ThreadState.CONNECTING}, ["not_replicating"]),
        ({"lag_s": 10}, []),
        ({"lag_s": 11}, ["replication_lag"]),
        ({"lag_s": 3605, "delay_s": 3600}, []),
        ({"lag_s": 0, "delay_s": 3600}, ["replication_lag"]),
        ({"lag_s": None}, []),
    ],
)
def test_the_first_problem_that_holds_is_named(changes: dict[str, Any], problems: list[str]) -> None:
    replica = with_channel(replica_facts(REPLICA, PRIMARY), **changes)
    assert shown(scene(primary_facts(PRIMARY), replica), REPLICA)["Problems"] == problems


def test_a_node_that_does_not_probe_shows_what_is_recorded() -> None:
    made = scene(primary_facts(PRIMARY), probed=False)
    found = shown(made, PRIMARY)
    assert (found["IsLastCheckValid"], found["IsRecentlyChecked"], found["Problems"]) == (True, True, [])
    assert found["SecondsSinceLastSeen"] == {"Int64": 0, "Valid": False}
    cut_off = replace(made, node=replace(NODE, leader_id=None))
    assert shown(cut_off, PRIMARY)["Problems"] == ["not_recently_checked"]


def test_a_server_that_nobody_reached_is_shown_with_empty_values() -> None:
    made = scene(primary_facts(PRIMARY))
    records = {REPLICA: ServerRecord(key=REPLICA, cluster_id="c1", reachable=False)}
    topology = build(records, {}, {}, Marks(), NOW_MS)
    made = replace(made, moment=replace(made.moment, topology=topology))
    found = shown(made, REPLICA)
    assert (found["FlavorName"], found["Version"], found["LastSeenTimestamp"]) == ("unknown", "", "")
    assert (found["ReplicationSQLThreadState"], found["Problems"]) == (-1, ["last_check_invalid"])


def test_a_downtime_and_a_stale_primary_are_shown_as_the_peers_mark_them() -> None:
    mark = Downtime(key=REPLICA, owner="me", reason="why", begun_ms=NOW_MS - 90_500, ends_ms=NOW_MS + 60_000)
    lost = StalePrimary(key=PRIMARY, cluster_id="c1", recovery_id="r", since_ms=NOW_MS - 5_000)
    made = scene(
        primary_facts(PRIMARY), replica_facts(REPLICA, PRIMARY),
        marks=Marks(downtimes={REPLICA: mark}, stale={PRIMARY: lost}),
    )  # fmt: skip
    replica, primary = shown(made, REPLICA), shown(made, PRIMARY)
    assert (replica["IsDowntimed"], replica["DowntimeReason"], replica["DowntimeOwner"]) == (True, "why", "me")
    assert replica["ElapsedDowntime"] == 90_000_000_000
    assert replica["DowntimeEndTimestamp"] == timestamp(NOW_MS + 60_000) == "2026-11-23T02:52:40Z"
    assert (primary["IsDowntimed"], primary["DowntimeReason"]) == (True, "lost-in-recovery")
    assert (primary["DowntimeOwner"], primary["ClusterName"]) == ("orchestrator-raft", "127.0.0.1:1")


def test_a_detached_replica_keeps_its_mark() -> None:
    replica = with_channel(replica_facts(REPLICA, PRIMARY), source=InstanceKey("//127.0.0.1", 1), source_uuid="")
    found = shown(scene(replica), REPLICA)
    assert found["MasterKey"] == {"Hostname": "//127.0.0.1", "Port": 1}
    assert (found["IsDetachedMaster"], found["ReplicationDepth"]) == (True, 0)


def test_cluster_lag_is_the_greatest_of_those_that_ought_to_keep_up() -> None:
    lags = {2: {"lag_s": 7}, 3: {"lag_s": 90, "delay_s": 90}, 4: {"lag_s": 50}}
    replicas = [with_channel(replica_facts(key(port), PRIMARY), **changes) for port, changes in lags.items()]
    mark = Downtime(key=key(4), owner="me", reason="why", begun_ms=0, ends_ms=NOW_MS + 60_000)
    made = scene(primary_facts(PRIMARY), *replicas, marks=Marks(downtimes={key(4): mark}))
    assert cluster_json(made.moment.topology.clusters["c1"], made)["HeuristicLag"] == 7


def test_the_analysis_of_a_dead_primary_counts_its_replicas() -> None:
    broken = {"receiver": ThreadState.CONNECTING, "receiver_error": "error reconnecting to source 'r@h:1'"}
    replicas = [with_channel(replica_facts(key(port), PRIMARY), **broken) for port in (2, 3)]
    mark = Downtime(key=PRIMARY, owner="me", reason="why", begun_ms=0, ends_ms=NOW_MS + 61_000)
    made = scene(primary_facts(PRIMARY), *replicas, down=(PRIMARY,), marks=Marks(downtimes={PRIMARY: mark}))
    found = diagnosis_json(analyze(made.moment.topology, Policy())[0], made)
    counts = {name: found[name] for name in found if name.startswith("Count")}
    assert (found["Analysis"], found["IsActionableRecovery"], found["SkippableDueToDowntime"]) == (
        "DeadMaster", False, True
    )  # fmt: skip
    assert (counts["CountReplicas"], counts["CountValidReplicas"], counts["CountValidReplicatingReplicas"]) == (2, 2, 0)
    assert counts["CountReplicasFailingToConnectToMaster"] == 2
    assert found["DowntimeRemainingSeconds"] == 61, "what is left, with its right sign"


def lines(made: Scene, *, table: bool = False) -> list[str]:
    draw = text_topology.table if table else text_topology.tree
    return draw(made.moment.topology.clusters["c1"], made).split("\n")


def test_the_text_topology_marks_what_is_wrong() -> None:
    primary = primary_facts(PRIMARY, alias="pri")
    stopped = with_channel(replica_facts(REPLICA, PRIMARY), receiver=STOPPED, lag_s=None)
    below = with_channel(replica_facts(BELOW, REPLICA), lag_s=30)
    dead = replica_facts(key(4), PRIMARY, binlog=replace(primary.binlog, enabled=False))
    errant = replica_facts(key(5), PRIMARY, executed=executed("P:1-20,R:1"))
    mark = Downtime(key=key(4), owner="me", reason="why", begun_ms=0, ends_ms=NOW_MS + 60_000)
    made = scene(primary, stopped, below, dead, errant, down=(key(4),), marks=Marks(downtimes={key(4): mark}))
    assert lines(made) == [
        "127.0.0.1:1 (pri) [0s,ok,9.7.4,rw,ROW,>>,GTID,semi:master]",
        "- 127.0.0.1:2     [null,nonreplicating,9.7.4,ro,ROW,>>,GTID,semi:replica]",
        "  + 127.0.0.1:3   [30s,lag,9.7.4,ro,ROW,>>,GTID,semi:replica]",
        "- 127.0.0.1:4     [unknown,invalid,9.7.4,ro,nobinlog,GTID,semi:replica,downtimed]",
        "+ 127.0.0.1:5     [0s,ok,9.7.4,ro,ROW,>>,GTID:errant,semi:replica]",
    ]
    assert lines(made, table=True)[2] == (
        "  + 127.0.0.1:3  |30s    |lag           |9.7.4|ro|ROW     |>>,GTID,semi:replica       "
    )


def test_every_member_is_drawn_once_even_in_a_circle_or_without_a_source() -> None:
    one, other = replica_facts(PRIMARY, REPLICA), replica_facts(REPLICA, PRIMARY)
    alone = primary_facts(key(9))
    drawn = lines(scene(one, other, alone))
    assert [line.partition(" ")[0] for line in drawn] == ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:9"]


def test_an_ipv6_address_does_not_disturb_the_columns() -> None:
    six = InstanceKey("fd00::1", 3306)
    made = scene(primary_facts(six), replica_facts(REPLICA, six))
    assert [line.index(" [") for line in lines(made)] == [len("[fd00::1]:3306")] * 2


@pytest.mark.parametrize(
    ("text", "written"),
    [("", ""), ("x", '"x"'), ('a "b"\\', '"a \\"b\\"\\\\"'), ("a\nb\t\x00\x7f", '"a\\nb\\t\\x00\\x7f"'),
     ("ü\u200b\U000e0001", '"ü\\u200b\\U000e0001"')],
)  # fmt: skip
def test_error_texts_are_quoted_as_go_does(text: str, written: str) -> None:
    assert quoted(text) == written


def test_small_shapes() -> None:
    assert dump({"a": "<&>\u2028\u2029ü"}) == '{"a":"\\u003c\\u0026\\u003e\\u2028\\u2029ü"}'.encode()
    assert (null_int(None), null_int(2.9)) == ({"Int64": 0, "Valid": False}, {"Int64": 2, "Valid": True})
    assert (timestamp(None), timestamp(0), timestamp(1999)) == ("", "", "1970-01-01T00:00:01Z")


def test_a_channel_without_a_known_source_is_shown_by_its_address() -> None:
    channel = Channel(source=InstanceKey("elsewhere", 3306), receiver=ThreadState.RUNNING, applier=ThreadState.RUNNING)
    found = shown(scene(replica_facts(REPLICA, PRIMARY, channels=(channel,))), REPLICA)
    assert found["MasterKey"] == {"Hostname": "elsewhere", "Port": 3306}
    assert found["HasReplicationCredentials"] is False
