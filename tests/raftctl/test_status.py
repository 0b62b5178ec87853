"""``raftctl status``: who is asked, what counts as a problem, which code a script gets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from api.node import Role
from orchestrator_raft.core.instance import Binlog, ThreadState
from orchestrator_raft.core.recovery.model import EndState, Mark
from orchestrator_raft.core.topology import Downtime
from orchestrator_raft.raftctl import status as node_status
from orchestrator_raft.raftctl.client import parse_endpoints
from orchestrator_raft.raftctl.gather import FLEET, others
from orchestrator_raft.raftctl.views import Table
from tests.free_ports import free_port
from tests.raftctl.conftest import Raftctl
from tests.raftctl.fleet import FACTS, NOW_MS, RECOVERY, Fleet, Node, with_marks

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
PEERS = tuple(f"{host}:10008" for host in HOSTS)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Nothing to complain about: the replicas could be sources."""
    for key, facts in FACTS.items():
        binlog = Binlog(enabled=True, format="ROW", logs_replica_updates=True)
        monkeypatch.setitem(FACTS, key, replace(facts, binlog=binlog, gtid_mode="ON"))
    return Fleet()


def says(number: int, port: int, **more: Any) -> Mapping[str, Any]:
    leads = number == 1
    return {
        "node_id": f"n{number}", "advertise": PEERS[number - 1], "peers": PEERS,
        "role": Role.LEADER if leads else Role.FOLLOWER, "holds_authority": leads,
        "leader_uri": f"http://{HOSTS[0]}:{port}",
        "connected": frozenset({"n1", "n2", "n3"} - {f"n{number}"}), **more,
    }  # fmt: skip


@pytest.fixture
def nodes(fleet: Fleet) -> Iterator[list[Node]]:
    port = free_port(HOSTS)
    started = [Node(fleet, host, port, says(number, port)) for number, host in enumerate(HOSTS, start=1)]
    for node in started:
        node.start()
    yield started
    for node in started:
        node.stop()


def test_a_healthy_cluster_is_one_screen_and_code_0(run: Raftctl, nodes: list[Node]) -> None:
    ran = run("--api", nodes[1].url, "status")
    lines = ran.out.splitlines()
    assert (0, "") == (ran.code, ran.err)
    assert ["n1", PEERS[0], f"{nodes[0].url}/api", "Leader", "4", PEERS[0], "2", "of", "2", "0.1", "ok"] == (
        lines[1].split()
    )
    assert ["Follower", "Follower"] == [line.split()[3] for line in lines[2:4]]
    assert ["db1.example:3306", "shop", "db1.example:3306", "3", "shop.example", "yes", "yes", "ok"] == lines[5].split()
    assert "healthy" == lines[-1]


def test_all_nodes_are_found_from_any_of_them(run: Raftctl, nodes: list[Node]) -> None:
    for node in nodes:
        found = json.loads(run("--api", node.url, "status", "--json").out)
        assert ["n1", "n2", "n3"] == sorted(each["node_id"] for each in found["nodes"])


def test_nodes_on_other_ports_are_found_by_their_urls(run: Raftctl, fleet: Fleet) -> None:
    ports = [free_port() for _ in range(2)]
    uris = tuple(f"http://127.0.0.1:{port}" for port in ports)
    common = {"peers": ("127.0.0.1:1", "127.0.0.1:2"), "leader_uri": uris[0]}
    started = [
        Node(fleet, "127.0.0.1", port, {**common, "node_id": f"n{number}", "advertise": f"127.0.0.1:{number}",
             "holds_authority": number == 1})
        for number, port in enumerate(ports, start=1)
    ]  # fmt: skip
    for node in started:
        node.start()
    found = json.loads(run("--api", uris[1], "status", "--json").out)
    for node in started:
        node.stop()
    assert ["n1", "n2"] == sorted(each["node_id"] for each in found["nodes"])


def test_urls_that_a_node_tells_spare_guesses() -> None:
    given = parse_endpoints("http://me:secret@n1:3000")
    told = {"node_id": "n1", "peers": ["n1:1", "n2:1", "n3:1"], "http_uris": ["http://a:1", "http://b:2", "nonsense:x"]}
    found = others([node_status.Node("http://n1:3000/api", told)], given)
    assert [("http://a:1/api", "me:secret"), ("http://b:2/api", "me:secret")] == [
        (str(each), each.credentials) for each in found
    ]


def test_a_dead_node_is_a_problem_and_code_1(run: Raftctl, nodes: list[Node]) -> None:
    nodes[2].stop()
    ran = run("--api", nodes[0].url, "status")
    assert 1 == ran.code
    assert f"  node {PEERS[2]} does not answer: cannot reach {nodes[2].url}/api: connection refused" in (
        ran.out.splitlines()
    )


def test_a_named_node_that_is_dead_is_asked_for_nothing_more(run: Raftctl, nodes: list[Node]) -> None:
    nodes[0].stop()
    nodes[1].says = says(2, nodes[1].port, holds_authority=True, role=Role.LEADER, leader_id="n2")
    ran = run("--api", ",".join(node.url for node in nodes), "status")
    assert 1 == ran.code
    assert 1 == ran.out.count("does not answer:")
    assert "db1.example:3306" in ran.out


def test_no_authority_anywhere_is_a_problem(run: Raftctl, nodes: list[Node], fleet: Fleet) -> None:
    fleet.has_leader = False
    for number, node in enumerate(nodes, start=1):
        node.says = says(number, node.port, holds_authority=False, problem="no leader is known")
    ran = run("--api", nodes[0].url, "status")
    assert 1 == ran.code
    assert "  no node holds authority: nothing is recovered until a majority of the nodes is up" in ran.out.splitlines()
    assert "  node n2: no leader is known" in ran.out.splitlines()
    assert "Leader without authority" in ran.out
    assert "the clusters are not known: only the leader sees what is wrong" in ran.out


def test_nobody_answers_is_one_error_line_and_code_2(run: Raftctl) -> None:
    ran = run("--api", f"http://127.0.0.1:{free_port()}", "status")
    assert (2, "") == (ran.code, ran.out)
    assert ran.err.startswith("error: cannot reach ")
    assert 1 == len(ran.err.splitlines())


def test_what_is_wrong_with_a_cluster_is_said(run: Raftctl, nodes: list[Node], fleet: Fleet) -> None:
    fleet.dead = frozenset(key for key in FACTS if key.hostname == "db1.example")
    ran = run("--api", nodes[0].url, "status")
    lines = ran.out.splitlines()
    assert 1 == ran.code
    assert "UnreachableMaster" == lines[5].split()[-1]
    assert "1 problem:" == lines[-2]
    assert lines[-1].startswith("  db1.example:3306: UnreachableMaster: The primary is out of our reach")


def test_a_failover_that_would_be_refused_is_a_problem_before_the_primary_dies(
    run: Raftctl, nodes: list[Node], fleet: Fleet
) -> None:
    fleet.dead = frozenset(key for key in FACTS if key.hostname == "db3.example")
    ran = run("--api", nodes[0].url, "status")
    text = "an automatic failover would be refused now: acknowledged writes might be lost: possible ackers out of reach"
    assert 1 == ran.code
    assert f"  shop: {text}: db3.example:3306" in ran.out.splitlines()


def test_a_block_by_an_earlier_recovery_is_a_problem_with_the_way_out(
    run: Raftctl, nodes: list[Node], fleet: Fleet
) -> None:
    just_now = replace(RECOVERY, finished_ms=NOW_MS - 100)
    fleet.state = replace(fleet.state, recoveries={"r-7": just_now})
    ran = run("--api", nodes[0].url, "status")
    assert 1 == ran.code
    assert ran.out.splitlines()[-1].endswith("raftctl ack 7")


def test_a_quarantined_server_is_a_problem_and_a_downtime_is_none(
    run: Raftctl, nodes: list[Node], fleet: Fleet
) -> None:
    fleet.state = with_marks(fleet.state)
    fleet.dead = frozenset(key for key in FACTS if key.hostname == "db2.example")
    ran = run("--api", nodes[0].url, "status")
    lines = ran.out.splitlines()
    assert "  db3.example:3306: stale primary, quarantined, only it has uuid:9" == lines[-1]
    assert not [line for line in lines if line.startswith("  db2.example")]


def test_disabled_recoveries_are_a_problem_with_the_way_out(run: Raftctl, nodes: list[Node], fleet: Fleet) -> None:
    fleet.state = replace(fleet.state, recoveries_disabled=True)
    ran = run("--api", nodes[0].url, "status")
    assert (1, "  automatic recoveries are disabled: raftctl recoveries enable") == (
        ran.code, ran.out.splitlines()[-1],
    )  # fmt: skip


def test_json_has_the_verdict_the_nodes_and_the_fleet(run: Raftctl, nodes: list[Node]) -> None:
    ran = run("--api", nodes[0].url, "--json", "status")
    found = json.loads(ran.out)
    assert (0, True, []) == (ran.code, found["healthy"], found["problems"])
    assert {"healthy", "problems", "nodes", *FLEET} == set(found)


def test_a_running_recovery_is_said_with_what_it_does_now(run: Raftctl, nodes: list[Node], fleet: Fleet) -> None:
    running = replace(RECOVERY, end=EndState.RUNNING, timeline=(Mark("waiting", NOW_MS, "db2 does not answer"),))
    fleet.state = replace(fleet.state, recoveries={"r-7": running})
    ran = run("--api", nodes[0].url, "status")
    assert (1, "  db0.example:3306: recovery 7 is running (DeadMaster): waiting db2 does not answer") == (
        ran.code, ran.out.splitlines()[-1],
    )  # fmt: skip


def test_without_a_leader_the_state_of_clusters_is_unknown() -> None:
    follower = node_status.Node("http://n2:1/api", {"node_id": "n2", "holds_authority": False})
    found = node_status.Status((follower,), {"clusters": [{"id": "c1", "name": "db1:3306"}], "diagnoses": []})
    _, clusters, _ = node_status.view(found, ())
    assert isinstance(clusters, Table)
    assert "unknown" == clusters.rows[0][-1]


def test_a_problem_that_is_not_repaired_says_why(run: Raftctl, nodes: list[Node], fleet: Fleet) -> None:
    fleet.dead = frozenset(key for key in FACTS if key.hostname == "db1.example")
    entry = replace(fleet.state.blocked[0], code="UnreachableMaster")
    fleet.state = replace(fleet.state, blocked=(entry,))
    ran = run("--api", nodes[0].url, "status")
    assert ran.out.splitlines()[-1].endswith(" (not repaired: too recent)")


def test_a_problem_that_a_recovery_could_not_repair_says_so(run: Raftctl, nodes: list[Node], fleet: Fleet) -> None:
    (dead,) = fleet.dead = frozenset(key for key in FACTS if key.hostname == "db1.example")
    failed = replace(
        RECOVERY,
        end=EndState.FAILED,
        errors=("first", "no replica is fit"),
        subject=replace(RECOVERY.subject, key=dead),
    )
    fleet.state = replace(fleet.state, recoveries={"r-7": failed})
    ran = run("--api", nodes[0].url, "status")
    assert ran.out.splitlines()[-1].endswith(" (recovery 7 did not repair it: no replica is fit)")


def test_a_replica_that_does_not_answer_is_a_problem_with_its_cause(
    run: Raftctl, nodes: list[Node], fleet: Fleet
) -> None:
    fleet.dead = frozenset(key for key in FACTS if key.hostname == "db2.example")
    ran = run("--api", nodes[0].url, "status")
    assert ran.code == 1
    assert ran.out.splitlines()[-1].startswith("  db2.example:3306: refused: ")


def test_a_replica_that_does_not_replicate_is_a_problem_with_its_cause(
    run: Raftctl, nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, facts = next((key, facts) for key, facts in FACTS.items() if key.hostname == "db2.example")
    channel = replace(facts.channels[0], applier=ThreadState.STOPPED, applier_error="Duplicate entry '7'")
    monkeypatch.setitem(FACTS, key, replace(facts, channels=(channel,)))
    ran = run("--api", nodes[0].url, "status")
    assert "  db2.example:3306: its applier is stopped: Duplicate entry '7'" in ran.out.splitlines()


def test_a_dead_primary_in_downtime_is_told_and_no_problem(run: Raftctl, nodes: list[Node], fleet: Fleet) -> None:
    (key,) = fleet.dead = frozenset(key for key in FACTS if key.hostname == "db1.example")
    downtime = Downtime(key=key, owner="bob", reason="disk", begun_ms=NOW_MS, ends_ms=NOW_MS + 600_000)
    fleet.state = replace(fleet.state, downtimes={key: downtime})
    ran = run("--api", nodes[0].url, "status")
    lines = ran.out.splitlines()
    assert lines[-2] == "healthy"
    assert lines[-1].startswith("in downtime: db1.example:3306: UnreachableMaster (downtime until ")
