"""TLS with real servers: required, mixed and mutual; what is verified, and what is remembered."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator_raft.core.instance import UnreachableKind
from orchestrator_raft.mysql import Connector, TlsMode
from orchestrator_raft.mysql.connection import Connection
from orchestrator_raft.mysql.failures import Unreached
from sandbox.binaries import Flavor
from sandbox.servers import Server
from tests.adapters.conftest import NewTopology
from tests.adapters.plan_runner import key_of, settings


@dataclass(frozen=True, slots=True)
class Pki:
    """An authority with a certificate for 127.0.0.1 and one for the manager, as PEM files."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = certificate("authority", ca_key, "authority", ca_key, is_authority=True)
    made = Pki(*(folder / f"{name}.pem" for name in ("ca", "server", "server-key", "client", "client-key")))
    made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for name, path, key_path in (("server", made.server, made.server_key), ("client", made.client, made.client_key)):
        key = ec.generate_private_key(ec.SECP256R1())
        path.write_bytes(certificate(name, key, "authority", ca_key).public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return made


def certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def server(module_topology: NewTopology, pki: Pki) -> Server:
    """A MySQL server with a certificate for its address, and an account that needs a client certificate."""
    found = module_topology(Flavor.MYSQL, 1, semi_sync=False).servers[0]
    for variable, path in (("ssl_ca", pki.ca), ("ssl_cert", pki.server), ("ssl_key", pki.server_key)):
        found.execute(f"SET GLOBAL {variable} = '{path}'")
    found.execute("ALTER INSTANCE RELOAD TLS")
    found.execute("CREATE USER mutual@'%' IDENTIFIED BY 'mutual' REQUIRE X509")
    return found


@pytest.fixture
def demanding(server: Server) -> Iterator[Server]:
    """The same, refusing plain text. (The sandbox itself connects in plain text, so it goes by the manager's hands.)"""
    server.execute("SET GLOBAL require_secure_transport = ON")
    yield server
    server.stop()
    server.start()


async def connect(server: Server, connector: Connector) -> Connection:
    return await connector.connect(key_of(server), timeout_s=5.0)


async def cipher(connection: Connection) -> str:
    reply = await connection.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'", timeout_s=5.0)
    return str(reply.results[0][0]["Value"])


async def test_a_server_whose_certificate_fits_is_believed(server: Server, pki: Pki) -> None:
    connection = await connect(server, Connector(settings(tls=TlsMode.REQUIRED, ca_file=str(pki.ca))))
    assert connection.is_encrypted
    assert await cipher(connection) != ""
    await connection.quit_and_wait()


async def test_a_certificate_of_an_unknown_authority_is_not(server: Server) -> None:
    with pytest.raises(Unreached, match="certificate verify failed") as refusal:
        await connect(server, Connector(settings(tls=TlsMode.REQUIRED)))
    assert refusal.value.kind is UnreachableKind.AUTHENTICATION
    connection = await connect(server, Connector(settings(tls=TlsMode.REQUIRED, skip_verify=True)))
    assert connection.is_encrypted
    await connection.quit_and_wait()


async def test_mutual_tls_shows_the_managers_certificate(server: Server, pki: Pki) -> None:
    files = {"ca_file": str(pki.ca), "cert_file": str(pki.client), "key_file": str(pki.client_key)}
    connection = await connect(server, Connector(settings("mutual", tls=TlsMode.REQUIRED, **files)))
    await connection.quit_and_wait()
    with pytest.raises(Unreached, match="Access denied"):
        await connect(server, Connector(settings("mutual", tls=TlsMode.REQUIRED, ca_file=str(pki.ca))))


async def test_mixed_mode_is_plain_where_that_is_allowed(server: Server, pki: Pki) -> None:
    connection = await connect(server, Connector(settings(tls=TlsMode.MIXED, ca_file=str(pki.ca))))
    assert not connection.is_encrypted
    assert await cipher(connection) == ""
    await connection.quit_and_wait()
    with pytest.raises(Unreached, match="Access denied"):
        await connect(server, Connector(settings("nobody", tls=TlsMode.MIXED, ca_file=str(pki.ca))))


async def test_mixed_mode_encrypts_where_the_server_demands_it_and_remembers(demanding: Server, pki: Pki) -> None:
    connector = Connector(settings(tls=TlsMode.MIXED, ca_file=str(pki.ca)))
    ids = []
    for _ in range(3):
        connection = await connect(demanding, connector)
        assert connection.is_encrypted
        ids.append(connection.thread_id())
        await connection.quit_and_wait()
    assert [later - ids[0] for later in ids] == [0, 1, 2]
    with pytest.raises(Unreached, match="insecure transport"):
        await connect(demanding, Connector(settings(tls=TlsMode.NONE)))
