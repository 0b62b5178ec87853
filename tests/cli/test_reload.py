"""SIGHUP: a renewed HTTPS certificate is used from the next connection on, and a wrong one changes nothing."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509

from orchestrator_raft.raft.pki import issue, make_authority
from tests.cli.test_cli import PROCESS_TIMEOUT_S, PROGRAM
from tests.free_ports import free_port


def until(lines: Iterator[str], text: str) -> dict[str, Any]:
    """The first line of the log that has this text."""
    for line in lines:
        if text in line:
            return dict(json.loads(line))
    raise AssertionError(f"the log ended without '{text}'")


@contextmanager
def serving(path: str) -> Iterator[subprocess.Popen[str]]:
    """A node, which is gone at the end, however the test ends."""
    with subprocess.Popen([*PROGRAM, "serve", "--config", path], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def serial(port: int, authority: Path) -> int:
    """Serial number of the certificate that a node shows."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), ca_certs=str(authority), timeout=PROCESS_TIMEOUT_S)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_a_running_node_reads_its_certificate_again(write_config: Any, tmp_path: Path) -> None:
    make_authority(tmp_path / "ca")
    first, second = (issue(tmp_path / "ca", ["127.0.0.1"], tmp_path / name) for name in ("first", "second"))
    port = free_port()
    path = write_config(
        ListenAddress=f"127.0.0.1:{port}", RaftDataDir=str(tmp_path / "raft"), RaftBind=f"127.0.0.1:{free_port()}",
        UseSSL=True, SSLCertFile=str(first.certificate), SSLPrivateKeyFile=str(first.key),
    )  # fmt: skip
    with serving(path) as process:
        assert process.stderr is not None
        assert until(process.stderr, '"started"')["http"].startswith("https://")
        before = serial(port, first.authority)
        first.certificate.write_bytes(second.certificate.read_bytes())
        process.send_signal(signal.SIGHUP)
        assert "issued together" in until(process.stderr, "SIGHUP")["cause"]
        assert serial(port, first.authority) == before
        first.key.write_bytes(second.key.read_bytes())
        process.send_signal(signal.SIGHUP)
        until(process.stderr, "read again and is used")
        assert serial(port, first.authority) not in (before, 0)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(PROCESS_TIMEOUT_S) == 0


def test_without_https_a_node_goes_on(write_config: Any, tmp_path: Path) -> None:
    path = write_config(
        ListenAddress=f"127.0.0.1:{free_port()}",
        RaftDataDir=str(tmp_path / "raft"),
        RaftBind=f"127.0.0.1:{free_port()}",
    )
    with serving(path) as process:
        assert process.stderr is not None
        until(process.stderr, '"started"')
        process.send_signal(signal.SIGHUP)
        until(process.stderr, "SIGHUP")
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(PROCESS_TIMEOUT_S) == 0


def written(path: str, **changes: Any) -> None:
    """The same file with other values."""
    Path(path).write_text(json.dumps(json.loads(Path(path).read_text()) | changes))


def test_a_running_node_takes_over_what_counts_and_names_what_needs_a_restart(
    write_config: Any, tmp_path: Path
) -> None:
    path = write_config(
        ListenAddress=f"127.0.0.1:{free_port()}", RaftDataDir=str(tmp_path / "raft"),
        RaftBind=f"127.0.0.1:{free_port()}",
    )  # fmt: skip
    with serving(path) as process:
        assert process.stderr is not None
        until(process.stderr, '"started"')
        written(path, ReasonableReplicationLagSeconds=33, PostFailoverProcesses=["true"], InstancePollSeconds=7,
                ListenAddress="127.0.0.1:3999")  # fmt: skip
        process.send_signal(signal.SIGHUP)
        line = until(process.stderr, "SIGHUP")
        assert line["changed"] == "PostFailoverProcesses, ReasonableReplicationLagSeconds"
        assert line["need_restart"] == "InstancePollSeconds, ListenAddress"
        written(path, RecoverMasterClusterFilters="no list")
        process.send_signal(signal.SIGHUP)
        assert "RecoverMasterClusterFilters" in until(process.stderr, "nothing was taken over")["cause"]
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(PROCESS_TIMEOUT_S) == 0
