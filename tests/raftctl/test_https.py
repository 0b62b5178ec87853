"""raftctl over HTTPS with ``--ca``, ``--cert`` and ``--key``, and what it says where they do not do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.settings import ApiSettings
from api.tls import ServerTls, TlsFiles
from orchestrator_raft.raft.pki import Issued, issue, make_authority
from orchestrator_raft.raftctl.client import parse_endpoint
from orchestrator_raft.raftctl.gather import others
from orchestrator_raft.raftctl.status import Node as Told
from tests.free_ports import free_port
from tests.raftctl.conftest import Raftctl
from tests.raftctl.fleet import Fleet, Node


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    make_authority(tmp_path / "ca")
    return issue(tmp_path / "ca", ["127.0.0.1"], tmp_path / "node")


@pytest.fixture
def guarded(fleet: Fleet, issued: Issued) -> Iterator[Node]:
    """A node that wants client certificates."""
    tls = ServerTls(TlsFiles(issued.certificate, issued.key, issued.authority))
    node = Node(
        fleet, "127.0.0.1", free_port(), settings=ApiSettings(client_certificates=True), tls=tls.context
    )  # fmt: skip
    node.start()
    yield node
    node.stop()


def test_every_command_uses_the_authority_and_the_certificate(run: Raftctl, guarded: Node, issued: Issued) -> None:
    options = ("--api", guarded.url, "--ca", str(issued.authority), "--cert", str(issued.certificate),
               "--key", str(issued.key))  # fmt: skip
    assert run(*options, "clusters").code == 0
    told = run(*options, "status")
    assert "db1.example:3306" in told.out and "TLS" not in told.out, told.out


def test_the_options_may_stand_in_the_environment(
    run: Raftctl, guarded: Node, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, path in (("CA", issued.authority), ("CERT", issued.certificate), ("KEY", issued.key)):
        monkeypatch.setenv(f"RAFTCTL_{name}", str(path))
    assert run("--api", guarded.url, "clusters").code == 0


def test_what_is_missing_is_said(run: Raftctl, guarded: Node, issued: Issued, tmp_path: Path) -> None:
    unknown = run("--api", guarded.url, "clusters")
    assert unknown.code == 3 and "--ca names the authority" in unknown.err
    nobody = run("--api", guarded.url, "--ca", str(issued.authority), "clusters")
    assert nobody.code == 1 and "certificate" in nobody.err, nobody.err
    missing = run("--api", guarded.url, "--ca", str(tmp_path / "none.pem"), "clusters")
    assert missing.code == 1 and "none.pem" in missing.err


def test_secrets_for_https_are_not_sent_over_http() -> None:
    known = parse_endpoint("https://boss:pw@127.0.0.1:3000")
    told = Told(str(known), {"http_uris": ["http://127.0.0.1:3001", "https://127.0.0.1:3002"]})
    assert [str(each) for each in others([told], (known,))] == ["https://127.0.0.1:3002/api"]
