"""Nodes that die, freeze and come back while databases live on."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.nodes import NoAnswer
from tests.faults.stage import Stage, until

NewStage = Callable[..., Stage]


ROUNDS_WITHOUT_A_PRIMARY = 60
"""So often the servers are asked who takes writes, about every 0.05 s; a failover takes a fifth of that."""


def test_every_node_can_be_killed_and_started_again_and_nothing_is_forgotten(new_stage: NewStage) -> None:
    stage = new_stage()
    key = f"{stage.servers.primary().host}:{stage.servers.primary().port}"
    host, port = key.rsplit(":", 1)
    assert stage.nodes.get(f"/api/begin-downtime/{host}/{port}/me/testing/1h")["Code"] == "OK"
    for node in stage.nodes.nodes:
        node.kill()
        leader = stage.nodes.wait_leader()
        assert leader is not node
        until("the leader sees all servers", lambda: _valid(leader.get("/api/all-instances")) == 4)  # noqa: B023
        node.start()
        node.wait_answering()
    instance = stage.nodes.get(f"/api/instance/{host}/{port}")
    assert instance["DowntimeReason"] == "testing"
    for node in stage.nodes.nodes:
        node.kill()
    for node in stage.nodes.nodes:
        node.start()
    stage.nodes.wait_leader()
    until("all servers are seen again", lambda: _valid(stage.nodes.get("/api/all-instances")) == 4)
    assert stage.nodes.get(f"/api/instance/{host}/{port}")["DowntimeReason"] == "testing"
    assert stage.recoveries() == []


def _valid(instances: list[dict[str, object]]) -> int:
    return sum(1 for each in instances if each["IsLastCheckValid"])


def test_followers_answer_as_the_leader_does_and_take_writes(new_stage: NewStage) -> None:
    stage = new_stage()
    leader = stage.nodes.wait_leader()
    follower = stage.other_node(leader)
    for path in ("/api/clusters", "/api/cluster/demo", "/api/topology/demo", "/api/master/demo", "/api/audit"):
        assert _stable(follower.get(path)) == _stable(leader.get(path))
    primary = stage.servers.primary()
    reply = follower.get(f"/api/begin-downtime/{primary.host}/{primary.port}/me/why/10m")
    assert reply["Code"] == "OK"
    assert leader.get(f"/api/instance/{primary.host}/{primary.port}")["IsDowntimed"] is True
    assert follower.get("/api/leader-check") == "Not leader"
    assert leader.get("/api/leader-check") == "OK"


def _stable(answer: object) -> object:
    """Without what moves between two answers."""
    moving = {"LastSeenTimestamp", "SecondsSinceLastSeen", "LastDiscoveryLatency", "Uptime", "SelfBinlogCoordinates"}
    if isinstance(answer, list):
        return [_stable(each) for each in answer]
    if isinstance(answer, dict):
        return {name: _stable(value) for name, value in answer.items() if name not in moving}
    return answer


def test_a_frozen_leader_is_replaced_and_does_nothing_when_it_thaws(new_stage: NewStage) -> None:
    """The primary dies while the leader is frozen: the next leader fails over, and the thawed one only follows."""
    stage = new_stage()
    stage.write()
    frozen = stage.nodes.wait_leader()
    frozen.freeze()
    others = [node for node in stage.nodes.nodes if node is not frozen]
    until("another node leads", lambda: any(node.leads() for node in others))
    old = stage.servers.primary()
    old.kill()

    def failed_over() -> bool:
        found = others[0].get("/api/v2/recoveries")
        return bool(found) and found[0]["end"] == "succeeded"

    until("the failover has succeeded", failed_over)
    frozen.thaw()
    until("the thawed node follows", lambda: frozen.get("/api/raft-state") == "Follower")
    stage.wait_writes_back()
    stage.wait_following()
    assert len(stage.recoveries("dead_primary")) == 1
    stage.check_nothing_lost()


def test_without_a_majority_nobody_acts(new_stage: NewStage) -> None:
    stage = new_stage()
    stage.write()
    last = stage.nodes.wait_leader()
    for node in stage.nodes.nodes:
        if node is not last:
            node.kill()
    until("it knows that it may not act", lambda: last.get("/api/leader-check") != "OK")
    old = stage.servers.primary()
    old.kill()
    rounds = stage.writers.rounds + ROUNDS_WITHOUT_A_PRIMARY
    until("the servers have been asked for a while", lambda: stage.writers.rounds > rounds)
    assert [server for server in stage.servers.running() if server.value("@@global.read_only") == 0] == []
    reply = last.get(f"/api/begin-downtime/{old.host}/{old.port}/me/why/10m", 60.0)
    assert reply["Code"] == "ERROR"
    for node in stage.nodes.nodes:
        if node is not last:
            node.start()
    assert stage.ended("dead_primary")["end"] == "succeeded"
    stage.wait_writes_back()
    stage.check_nothing_lost()


def test_a_node_told_to_stop_hands_over_and_ends_with_zero(new_stage: NewStage) -> None:
    stage = new_stage(count=2)
    leader = stage.nodes.wait_leader()
    assert leader.stop() == 0
    follower = stage.other_node(leader)
    until("another node leads", follower_leads := (lambda: any(node.leads() for node in stage.nodes.running())))
    assert follower_leads()
    try:
        leader.get("/api/lb-check")
    except NoAnswer:
        return
    raise AssertionError(f"{leader} still answers after {follower} took over")
