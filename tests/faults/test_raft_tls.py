"""Real nodes that speak TLS with each other: they lead, fail over and renew; strangers are kept out and told of."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from orchestrator_raft.raft import pki
from sandbox import ports
from sandbox.nodes import Node, Nodes
from tests.faults.stage import Stage, until

NewStage = Callable[..., Stage]
RAFT_PORT = 11


def keys(issued: pki.Issued) -> dict[str, str]:
    return {
        "RaftSSLCertFile": str(issued.certificate),
        "RaftSSLPrivateKeyFile": str(issued.key),
        "RaftSSLCAFile": str(issued.authority),
    }


class Secured:
    """Three nodes without databases, each with a certificate for its own address."""

    def __init__(self, directory: Path, block: range) -> None:
        self.directory = directory
        self.raft_port = block[RAFT_PORT]
        pki.make_authority(directory / "ca")
        self.nodes = Nodes(directory / "nodes", http_port=block[RAFT_PORT - 1], raft_port=self.raft_port)
        for node in self.nodes.nodes:
            node.settings.update(keys(self.issue("ca", node, f"tls-{node.number}")))

    def issue(self, authority: str, node: Node, out: str) -> pki.Issued:
        return pki.issue(self.directory / authority, [f"127.0.0.{node.number}"], self.directory / out)

    def renew(self, authority: str, node: Node) -> None:
        """New files in place of the old ones, key and certificate and authority, as a person would copy them."""
        out = self.directory / f"new-{authority}-{node.number}"
        self.issue(authority, node, out.name)
        for name in (pki.NODE_KEY, pki.NODE, pki.AUTHORITY):
            shutil.copy(out / name, self.directory / f"tls-{node.number}" / name)


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    with ExitStack() as stack:
        made = Secured(tmp_path, stack.enter_context(ports.reserved()))
        stack.callback(made.nodes.stop_all)
        yield made


def connected(node: Node) -> int:
    return sum(1 for member in members(node) if member["is_connected"] and not member["is_self"])


def members(node: Node) -> list[dict[str, Any]]:
    status = node.get("/api/v2/raft/status")
    mine = next(each for each in status["nodes"] if each.get("id") == status["asked"])
    found: list[dict[str, Any]] = mine["members"]
    return found


def test_nodes_lead_over_tls_and_plain_text_gets_nothing(secured: Secured) -> None:
    secured.nodes.start()
    leader = secured.nodes.wait_leader()
    until("all are connected", lambda: connected(leader) == 2)
    with socket.create_connection((f"127.0.0.{leader.number}", secured.raft_port), 5) as plain:
        plain.sendall(b"x" * 100)
        assert not plain.recv(100).startswith(b"ORAF")
    context = ssl.create_default_context(cafile=secured.directory / "ca" / pki.AUTHORITY)
    host = f"127.0.0.{leader.number}"
    with (
        socket.create_connection((host, secured.raft_port), 5) as raw,
        context.wrap_socket(raw, server_hostname=host) as without,
    ):
        assert without.version() == "TLSv1.3"
        try:
            assert b"" == without.recv(100)
        except ssl.SSLError as refused:
            assert "CERTIFICATE_REQUIRED" in str(refused)
    leader.kill()
    assert secured.nodes.wait_leader() is not leader


def test_a_node_with_a_foreign_certificate_stays_out_until_it_is_replaced(secured: Secured) -> None:
    pki.make_authority(secured.directory / "foreign")
    *others, odd = secured.nodes.nodes
    secured.renew("foreign", odd)
    secured.nodes.start()
    leader = secured.nodes.wait_leader()
    assert leader in others

    def told() -> bool:
        problems = [member["problem"] for member in members(leader) if not member["is_connected"]]
        return len(problems) == 1 and "TLS: " in problems[0] and "certificate" in problems[0]

    until("the leader says why it is missing", told)
    assert connected(odd) == 0
    secured.renew("ca", odd)
    until("it is let in without a restart", lambda: connected(odd) == 2)


def test_a_killed_primary_is_replaced_by_nodes_that_speak_tls(new_stage: NewStage, tmp_path: Path) -> None:
    pki.make_authority(tmp_path / "ca")
    issued = pki.issue(tmp_path / "ca", [f"127.0.0.{number}" for number in (1, 2, 3)], tmp_path / "tls")
    stage = new_stage(settings=keys(issued))
    stage.write()
    old = stage.servers.primary()
    leader = stage.nodes.wait_leader()
    old.kill()
    leader.kill()
    recovery = stage.ended("dead_primary")
    assert recovery["end"] == "succeeded"
    stage.wait_writes_back()
    stage.wait_following()
    stage.check_nothing_lost()
