"""HTTPS and client certificates, with real handshakes; and what ``raftctl`` makes of them."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.app import create_app
from api.server import ApiServer, TcpAddress
from api.settings import ApiSettings
from api.tls import ServerTls, TlsFiles
from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.pki import Issued, issue, make_authority
from tests.rest.rig import Rig

MUTUAL = ApiSettings(client_certificates=True, client_units=("DBA", "SRE"))
WRITE = "/api/begin-downtime/127.0.0.1/24001/me/why"


@dataclass
class Pki:
    folder: Path
    number: int = 0

    def __post_init__(self) -> None:
        make_authority(self.folder / "ca")

    @property
    def authority(self) -> Path:
        return self.folder / "ca" / "ca.pem"

    def server(self) -> Issued:
        self.number += 1
        return issue(self.folder / "ca", ["127.0.0.1"], self.folder / f"server{self.number}")

    def client(self, name: str, unit: str) -> ssl.SSLContext:
        """The context of a client whose certificate has this name and unit."""
        signer = x509.load_pem_x509_certificate(self.authority.read_bytes())
        signer_key = serialization.load_pem_private_key((self.folder / "ca" / "ca-key.pem").read_bytes(), None)
        assert isinstance(signer_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)]
        )
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(signer.subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False)
            .sign(signer_key, hashes.SHA256())
        )  # fmt: skip
        path = self.folder / f"{name}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
        context = self.stranger()
        context.load_cert_chain(path)
        return context

    def stranger(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


def files_of(issued: Issued, authority: Path | None = None) -> TlsFiles:
    return TlsFiles(issued.certificate, issued.key, authority)


@asynccontextmanager
async def https(rig: Rig, tls: ServerTls) -> AsyncIterator[str]:
    server = ApiServer(create_app(rig.first.front), TcpAddress("127.0.0.1", 0), tls=tls.context, shutdown_timeout_s=1)
    await server.start()
    try:
        yield f"https://127.0.0.1:{server.port}"
    finally:
        await server.stop()


async def get(url: str, context: ssl.SSLContext) -> tuple[int, bytes, int]:
    """Status, body, and serial number of the server's certificate. Raises OSError where there is no connection."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    try:
        der = writer.get_extra_info("ssl_object").getpeercert(True)
        writer.write(f"GET {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
        head, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
        if not head:
            raise ConnectionError("no answer")
        return int(head.split()[1]), body, x509.load_der_x509_certificate(der).serial_number
    finally:
        writer.close()


async def test_https_is_served_and_a_renewed_certificate_is_used_after_it_was_read_again(pki: Pki) -> None:
    first, second = pki.server(), pki.server()
    async with Rig() as rig:
        tls = ServerTls(files_of(first))
        async with https(rig, tls) as url:
            before = await get(f"{url}/api/lb-check", pki.stranger())
            assert before[:2] == (200, b'"OK"')
            first.certificate.write_bytes(second.certificate.read_bytes())
            with pytest.raises(StartupError, match="issued together"):
                tls.reload()
            assert (await get(f"{url}/api/lb-check", pki.stranger()))[2] == before[2], "a wrong pair changes nothing"
            first.key.write_bytes(second.key.read_bytes())
            tls.reload()
            after = await get(f"{url}/api/lb-check", pki.stranger())
            assert after[:2] == (200, b'"OK"') and after[2] != before[2]


async def test_a_client_needs_a_certificate_with_one_of_the_units_but_for_the_status_route(pki: Pki) -> None:
    async with Rig(settings=MUTUAL) as rig:
        await rig.until(lambda: rig.first.service.may_act)
        async with https(rig, ServerTls(files_of(pki.server(), pki.authority))) as url:
            assert (await get(f"{url}/api/clusters", pki.stranger()))[:2] == (401, b"No TLS")
            assert (await get(f"{url}/api/clusters", pki.client("bob", "HR")))[:2] == (401, b"Invalid OU")
            ann = pki.client("ann", "DBA")
            assert (await get(f"{url}/api/clusters", ann))[0] == 200
            assert (await get(f"{url}/api/status", pki.stranger()))[0] == 200
            assert (await get(f"{url}/api/discover/127.0.0.1/24001", ann))[0] == 200
            assert (await get(f"{url}{WRITE}", ann))[0] == 200
        assert [each.by for each in rig.raft.state.audit if each.type == "begin-downtime"] == ["ann"]


async def test_the_status_route_wants_a_certificate_where_that_is_configured(pki: Pki) -> None:
    settings, tls = (
        replace(MUTUAL, status_needs_certificate=True, client_units=()),
        files_of(pki.server(), pki.authority),
    )
    async with Rig(settings=settings) as rig, https(rig, ServerTls(tls)) as url:
        assert (await get(f"{url}/api/status", pki.stranger()))[:2] == (401, b"No TLS")
        assert (await get(f"{url}/api/status", pki.client("ann", "any")))[0] == 200


async def test_a_certificate_of_another_authority_gets_no_connection(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Pki(tmp_path / "other").client("mallory", "DBA")
    other.load_verify_locations(pki.authority)
    tls = files_of(pki.server(), pki.authority)
    async with Rig(settings=MUTUAL) as rig, https(rig, ServerTls(tls)) as url:
        with pytest.raises(OSError):
            await get(f"{url}/api/clusters", other)


async def test_the_authority_of_clients_is_read_again_too(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    new = Pki(tmp_path / "new")
    believed = tmp_path / "believed.pem"
    believed.write_bytes(pki.authority.read_bytes())
    ann, eve = new.client("ann", "DBA"), pki.client("eve", "DBA")
    ann.load_verify_locations(pki.authority)
    async with Rig(settings=MUTUAL) as rig:
        tls = ServerTls(files_of(pki.server(), believed))
        async with https(rig, tls) as url:
            assert (await get(f"{url}/api/clusters", eve))[0] == 200
            believed.write_bytes(new.authority.read_bytes())
            tls.reload()
            assert (await get(f"{url}/api/clusters", ann))[0] == 200
            with pytest.raises(OSError):
                await get(f"{url}/api/clusters", eve)


def test_files_that_do_not_do_are_named_with_the_way_out(pki: Pki, tmp_path: Path) -> None:
    good = pki.server()
    with pytest.raises(StartupError, match=r"SSLCertFile .* cannot be read"):
        ServerTls(TlsFiles(tmp_path / "none.pem", good.key))
    with pytest.raises(StartupError, match=r"SSLCAFile .* holds no certificate"):
        ServerTls(TlsFiles(good.certificate, good.key, good.key))
    with pytest.raises(StartupError, match="issued together"):
        ServerTls(TlsFiles(good.certificate, pki.server().key))
    key = serialization.load_pem_private_key(good.key.read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw")
    )
    good.key.write_bytes(locked)
    with pytest.raises(StartupError, match="protected by a password"):
        ServerTls(files_of(good))
