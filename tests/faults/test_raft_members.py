"""Real nodes, real `raftctl member`: the cluster grows, shrinks, exchanges and moves, and outlives its lost quorum."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox.nodes import Node, configuration
from tests.faults.stage import until
from tests.free_ports import free_port

COMMAND_S = 60.0


class Members:
    """Nodes by their numbers; node N is at 127.0.0.N, on one HTTP and one Raft port of all."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.http_port, self.raft_port = free_port(), free_port()
        self.nodes: dict[int, Node] = {}

    def start(self, number: int, known: Sequence[int], host: str = "") -> Node:
        """With RaftNodes that name the hosts of ``known`` and its own."""
        settings = configuration(number, 1, self.root / f"node{number}", self.http_port, self.raft_port)
        settings["RaftBind"] = host or self.host(number)
        settings["RaftNodes"] = [self.host(each) for each in known if each != number] + [settings["RaftBind"]]
        node = self.nodes[number] = Node(number, self.root / f"node{number}", settings)
        node.start()
        node.wait_answering()
        return node

    def host(self, number: int) -> str:
        node = self.nodes.get(number)
        return str(node.settings["RaftBind"]) if node is not None else f"127.0.0.{number}"

    def address(self, number: int) -> str:
        return f"{self.host(number)}:{self.raft_port}"

    def stop(self, number: int) -> None:
        self.nodes[number].stop()

    def empty(self, number: int) -> None:
        for kept in self.nodes[number].directory.glob("raft*"):
            kept.unlink()

    def member(self, number: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`raftctl member ...`, asked of that node."""
        program = [sys.executable, "-m", "orchestrator_raft.raftctl", "--api", self.nodes[number].url, "member"]
        return subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=COMMAND_S)

    def listed(self, number: int) -> dict[str, dict[str, Any]]:
        """The members as that node has them, by their addresses."""
        ran = self.member(number, "list", "--json")
        return {each["address"]: each for each in json.loads(ran.stdout)} if ran.returncode == 0 else {}

    def voters(self, number: int) -> set[str]:
        return {address for address, each in self.listed(number).items() if each["votes"]}

    def leader(self) -> int:
        def found() -> int:
            return next((number for number, node in self.nodes.items() if node.is_running() and node.leads()), 0)

        until("a node leads", lambda: found() != 0)
        return found()


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Members]:
    found = Members(tmp_path)
    yield found
    for node in found.nodes.values():
        node.kill()


def founded(members: Members) -> None:
    for number in (1, 2, 3):
        members.start(number, (1, 2, 3))
    members.leader()
    until("everybody is written down", lambda: all(each["is_recorded"] for each in members.listed(1).values()))


def votes(members: Members, asked: int, *numbers: int) -> Callable[[], bool]:
    return lambda: members.voters(asked) == {members.address(number) for number in numbers}


def test_a_cluster_grows_shrinks_exchanges_and_moves(members: Members) -> None:
    founded(members)
    members.start(4, (1, 2, 3))
    added = members.member(2, "add", members.address(4))
    assert (0, "") == (added.returncode, added.stderr)
    until("the fourth node votes", votes(members, 1, 1, 2, 3, 4))
    leader = members.leader()
    removed = members.member(4, "remove", members.address(leader), "--yes")
    assert (0, "") == (removed.returncode, removed.stderr)
    rest = [number for number in (1, 2, 3, 4) if number != leader]
    until("the leader is out", votes(members, rest[0], *rest))
    members.stop(leader)
    members.start(5, rest)
    replaced = members.member(rest[0], "replace", members.address(rest[0]), members.address(5), "--yes")
    assert (0, "") == (replaced.returncode, replaced.stderr)
    left = [*rest[1:], 5]
    until("the exchange is done", votes(members, 5, *left))
    members.stop(rest[0])
    for number in left:
        members.stop(number)
        members.start(number, left, host=f"127.0.1.{number}")
        until("its new address is known", votes(members, left[0], *left))
    assert {each for number in left for each in members.voters(number)} == {members.address(each) for each in left}
    trail = [each["Message"] for each in members.nodes[members.leader()].get("/api/audit")]
    assert [line for line in trail if f"add {members.host(4)}" in line or "add 127.0.0.4" in line]


def test_an_emptied_disk_is_refused_and_a_lost_quorum_is_recovered(members: Members) -> None:
    founded(members)
    gone = next(number for number in (1, 2, 3) if number != members.leader())
    asked = next(number for number in (1, 2, 3) if number != gone)
    members.stop(gone)
    members.empty(gone)
    node = members.start(gone, (1, 2, 3))
    until("it is refused", lambda: "is not the one that it had" in node.log.read_text())
    assert "" == node.get("/api/raft-leader")
    for change in ("remove", "add"):
        ran = members.member(asked, change, members.address(gone), *(["--yes"] if change == "remove" else []))
        assert (0, "") == (ran.returncode, ran.stderr)
    until("it votes again", votes(members, asked, 1, 2, 3))
    for number in (1, 2, 3):
        members.stop(number)
    warned = recover(members, 2)
    assert 1 == warned.returncode and "DANGER" in warned.stderr
    done = recover(members, 2, "--i-have-lost-quorum")
    assert 0 == done.returncode, done.stderr
    members.start(2, (1, 2, 3))
    until("it leads alone", members.nodes[2].leads)
    assert {members.address(2)} == members.voters(2)
    until("it is in the audit trail", lambda: "the quorum is lost" in json.dumps(members.nodes[2].get("/api/audit")))
    old = members.start(1, (1, 2, 3))
    until("the old node is kept out", lambda: "belongs to cluster" in old.log.read_text())
    assert "" == old.get("/api/raft-leader")
    members.stop(1)
    members.empty(1)
    members.start(1, (1, 2, 3))
    assert 0 == members.member(2, "add", members.address(1)).returncode
    until("it votes in the new cluster", votes(members, 2, 1, 2))


def recover(members: Members, number: int, *options: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "orchestrator_raft", "recover", "--config", str(members.nodes[number].config_file)]
    return subprocess.run([*program, *options], capture_output=True, text=True, timeout=COMMAND_S)
