"""`orchestrator-raft pki` and what `serve` makes of its files: as processes, the way people use them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from orchestrator_raft.raft.settings import TlsFiles
from orchestrator_raft.raft.tls import load
from tests.free_ports import free_port

PROGRAM = (sys.executable, "-c", "from orchestrator_raft.cli import main; main()")
ELSEWHERE = "192.0.2.1"
"""An address that no machine has (it is reserved for documents): nothing can listen there."""
BOTH_WAYS_OUT = ("orchestrator-raft pki", "ORCHESTRATOR_RAFT_PLAINTEXT=1")


def ran(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("ORCHESTRATOR_RAFT")}
    environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=60, cwd=cwd, env=environ | variables
    )


def configuration(directory: Path, **keys: str) -> str:
    port = free_port()
    path = directory / "orchestrator.conf.json"
    path.write_text(json.dumps({
        "MySQLTopologyUser": "orchestrator", "RecoverMasterClusterFilters": ["*"], "RaftEnabled": True,
        "RaftDataDir": str(directory / "data"), "RaftBind": f"{ELSEWHERE}:{port}",
        "ListenAddress": f"127.0.0.1:{free_port()}", **keys,
    }))  # fmt: skip
    return str(path)


def made(directory: Path, *hosts: str) -> dict[str, str]:
    """Certificates by the command itself; gives the lines of configuration that it prints."""
    assert 0 == ran("pki", "init", "ca", cwd=directory).returncode
    answer = ran("pki", "issue", "ca", *hosts, "--out", "node", cwd=directory)
    assert 0 == answer.returncode, answer.stderr
    keys: dict[str, str] = json.loads("{" + "".join(answer.stdout.splitlines()[2:]) + "}")
    return keys


def test_what_is_issued_is_what_a_node_needs(tmp_path: Path) -> None:
    keys = made(tmp_path, "--host", "db1.example", "--host", "DB1", "--ip", "10.0.0.1", "--ip", "2001:db8::1")
    assert {"RaftSSLCertFile", "RaftSSLPrivateKeyFile", "RaftSSLCAFile"} == set(keys)
    certificate = x509.load_pem_x509_certificate(Path(keys["RaftSSLCertFile"]).read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ["db1.example", "db1"] == names.get_values_for_type(x509.DNSName)
    assert ["10.0.0.1", "2001:db8::1"] == [str(ip) for ip in names.get_values_for_type(x509.IPAddress)]
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} == set(uses)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and "secp256r1" == key.curve.name
    for path in Path(keys["RaftSSLPrivateKeyFile"]), tmp_path / "ca" / "ca-key.pem":
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    certificate_file, key_file, authority = (Path(path) for path in keys.values())
    load(TlsFiles(certificate_file, key_file, authority), "10.0.0.1", time.time())


def test_a_certificate_does_not_outlive_its_authority_and_says_when_it_expires(tmp_path: Path) -> None:
    assert 0 == ran("pki", "init", "ca", "--days", "10", cwd=tmp_path).returncode
    answer = ran("pki", "issue", "ca", "--host", "a", "--out", "a", "--days", "500", cwd=tmp_path)
    ends = [
        x509.load_pem_x509_certificate((tmp_path / path).read_bytes()).not_valid_after_utc
        for path in ("a/node.pem", "ca/ca.pem")
    ]
    assert ends[0] == ends[1] and f"valid until {ends[0]:%Y-%m-%d}" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("init", "ca"), "ca-key.pem exists and is not overwritten"),
        (("init", "new", "--days", "0"), "valid for 1 to 36500 days"),
        (("issue", "ca", "--host", "a", "--out", "node"), "node-key.pem exists and is not overwritten"),
        (("issue", "ca", "--out", "new"), "at least one --host or --ip"),
        (("issue", "ca", "--host", "db1:10008", "--out", "new"), "without the port"),
        (("issue", "ca", "--ip", "10.0.0.300", "--out", "new"), "is no host name and no IP address"),
        (("issue", "nowhere", "--host", "a", "--out", "new"), "'orchestrator-raft pki init nowhere' makes one"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    made(tmp_path, "--host", "a")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.pem")}
    answer = ran("pki", *arguments, cwd=tmp_path)
    assert 1 == answer.returncode and complaint in answer.stderr and 1 == answer.stderr.count("\n")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.pem")}


def test_off_loopback_a_node_without_certificates_stops_and_names_both_ways_out(tmp_path: Path) -> None:
    answer = ran("serve", "--config", configuration(tmp_path), cwd=tmp_path)
    assert 1 == answer.returncode
    last = answer.stderr.splitlines()[-1]
    assert last.startswith("error: ") and "is off loopback" in last and all(way in last for way in BOTH_WAYS_OUT)


def test_each_way_out_is_one(tmp_path: Path) -> None:
    """Nothing is complained about but the address, which this machine does not have."""
    plain = ran("serve", "--config", configuration(tmp_path), cwd=tmp_path, ORCHESTRATOR_RAFT_PLAINTEXT="1")
    keys = made(tmp_path, "--ip", ELSEWHERE)
    secured = ran("serve", "--config", configuration(tmp_path, **keys), cwd=tmp_path)
    for answer in plain, secured:
        assert 1 == answer.returncode
        assert f"cannot listen on {ELSEWHERE}:" in answer.stderr.splitlines()[-1], answer.stderr


def test_certificates_that_the_others_would_refuse_stop_the_node_at_once(tmp_path: Path) -> None:
    keys = made(tmp_path, "--host", "db1.example")
    answer = ran("serve", "--config", configuration(tmp_path, **keys), cwd=tmp_path)
    assert 1 == answer.returncode
    assert f"this node stands in RaftNodes as {ELSEWHERE}" in answer.stderr.splitlines()[-1]


def test_the_three_keys_belong_together_and_paths_may_name_variables(tmp_path: Path) -> None:
    keys = made(tmp_path, "--ip", ELSEWHERE)
    answer = ran("serve", "--config", configuration(tmp_path, RaftSSLCAFile=keys["RaftSSLCAFile"]), cwd=tmp_path)
    assert 1 == answer.returncode and "belong together: set all three, or none" in answer.stderr
    named = {key: path.replace(str(tmp_path), "${PKI}") for key, path in keys.items()}
    secured = ran("serve", "--config", configuration(tmp_path, **named), cwd=tmp_path, PKI=str(tmp_path))
    assert f"cannot listen on {ELSEWHERE}:" in secured.stderr
