"""Certificates between nodes over real sockets: who gets in, who does not and why, and renewal without a restart."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft import accepting, pki, tls
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.handshake import MAGIC
from orchestrator_raft.raft.secret import Secret
from orchestrator_raft.raft.security import Security
from orchestrator_raft.raft.settings import Address, TlsFiles
from orchestrator_raft.raft.tls import NodeTls, check_peer, load
from tests.free_ports import free_port
from tests.raft.cluster import until
from tests.raft.ends import End, addresses, assert_they_talk, both_up, started
from tests.raft.test_transport import stranger

DAY_S = 86_400
HOSTS = ("127.0.0.1", "::1", "localhost", "127.0.0.2")


class Authority:
    """One that issues what a test needs, into directories below its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        pki.make_authority(directory)

    def files(self, name: str, *hosts: str, days: int = 30) -> TlsFiles:
        out = self.directory / name
        shutil.rmtree(out, ignore_errors=True)
        issued = pki.issue(self.directory, hosts or HOSTS, out, days)
        return TlsFiles(issued.certificate, issued.key, issued.authority)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def end(slot: str, known: dict[str, Address], files: TlsFiles, host: str = "127.0.0.1") -> End:
    return End(slot, known, Security(Secret(slot.encode()), NodeTls(files, host)))


async def talk(authority: Authority, host: str) -> None:
    known = addresses(host)
    one, other = (end(slot, known, authority.files(slot), host) for slot in "ab")
    async with started(one, other):
        await assert_they_talk(one, other)
        active = one.transport.links["b"].active
        assert active is not None and active._writer.get_extra_info("cipher")[1] == "TLSv1.3"
        assert host in tls.names_in(active.certificate or {}) or host == "::1"
        assert not (await stranger(one.address, b"\x00" * 100)).startswith(MAGIC)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_under_tls_certificates_prove_it_and_plain_text_gets_nothing(
    authority: Authority, loop: Callable[[], asyncio.AbstractEventLoop], host: str
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(talk(authority, host))


async def test_another_authority_is_refused_on_both_sides(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known, foreign = addresses(), Authority(tmp_path / "foreign")
    one, other = end("a", known, authority.files("a")), end("b", known, foreign.files("b"))
    async with started(one, other):
        await until(lambda: "no connection to b: TLS: " in caplog.text and "no connection to a: TLS: " in caplog.text)
        await until(lambda: one.transport.refused() and other.transport.refused())
        assert "the other side closed it during the handshake" in one.transport.refused()[0].reason
        assert "certificate" in one.transport.complaint("b")
        assert [] == one.events + other.events


async def test_a_peer_without_a_certificate_is_refused_and_told_in_the_log(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    one = end("a", addresses(), authority.files("a"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.directory / "ca.pem")
    async with started(one):
        reader, writer = await asyncio.open_connection(one.address.host, one.address.port, ssl=context)
        assert b"" == await reader.read()
        writer.transport.abort()
        await until(lambda: "was refused: TLS: peer did not return a certificate" in caplog.text)


async def test_a_member_cannot_speak_as_another_one(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """b stands at 127.0.0.2; who dials as b with the certificate of 127.0.0.1 is refused, signature or not."""
    known = {"a": Address("127.0.0.1", free_port()), "b": Address("127.0.0.2", free_port())}
    one, false = end("a", known, authority.files("a", "127.0.0.1")), end("b", known, authority.files("b", "127.0.0.1"))
    async with started(one):
        false.transport.links["a"].down.set()
        false.tasks.start("dial", false.transport._keep_dialling(false.transport.links["a"]))
        await until(lambda: "its certificate names 127.0.0.1, but not 127.0.0.2" in caplog.text)
        await until(lambda: "a refuses b: its certificate names" in false.transport.complaint("a"))
        assert [] == one.events + false.events
        await false.stop()


async def test_a_listener_with_a_certificate_for_another_host_gets_no_link(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    known = addresses()
    one, other = end("a", known, authority.files("a")), end("b", known, authority.files("b"))
    other.transport._security = Security(Secret(b"b"), NodeTls(authority.files("c", "db9.example"), "db9.example"))
    other.transport._acceptor._context = other.transport._security.server_context
    async with started(one, other):
        await until(lambda: "no connection to b: TLS: ip address mismatch" in caplog.text.lower().replace("tls", "TLS"))
        assert [] == one.events + other.events


async def test_renewed_files_are_used_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    """A whole new authority, one node after another; in between both trust both."""
    known = addresses()
    one, other = (end(slot, known, authority.files(slot)) for slot in "ab")
    async with started(one, other):
        await until(lambda: both_up(one, other))
        new = Authority(tmp_path / "new")
        both = (authority.directory / "ca.pem").read_bytes() + (new.directory / "ca.pem").read_bytes()
        for slot in "ab":
            (authority.directory / slot / "ca.pem").write_bytes(both)
        for each in one, other:
            await again(one, other, by=each)
        for slot in "ab":
            fresh = new.files(slot)
            shutil.copy(fresh.key, authority.directory / slot / "node-key.pem")
            shutil.copy(fresh.certificate, authority.directory / slot / "node.pem")
            await again(one, other, by=one)
        for slot in "ab":
            shutil.copy(new.directory / "ca.pem", authority.directory / slot / "ca.pem")
        await again(one, other, by=one)
        issuer = one.transport.links["b"].active.certificate["issuer"]  # type: ignore[union-attr,index]
        assert issuer == ssl_issuer(new)
        late = end("b", known, authority.files("late"))
        with pytest.raises(ssl.SSLError):
            await late.transport._dial(late.transport.links["a"])


def ssl_issuer(authority: Authority) -> object:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.directory / "ca.pem")
    return context.get_ca_certs()[0]["subject"]


async def again(one: End, other: End, by: End) -> None:
    """Break the connection and wait for a new one."""
    await until(lambda: both_up(one, other))
    before = one.transport.links["b"].number
    slot = by.roster.others[0]
    by.transport.links[slot].active.abort()  # type: ignore[union-attr]
    await until(lambda: both_up(one, other) and one.transport.links["b"].number > before)


def test_files_that_cannot_be_used_change_nothing_but_the_log(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    files = authority.files("a")
    held = NodeTls(files, "127.0.0.1")
    before = held.contexts()
    files.certificate.write_text("nonsense")
    assert before is held.contexts() is held.contexts()
    assert 1 == caplog.text.count("changed TLS files are not used")
    files.certificate.unlink()
    assert before is held.contexts() and "cannot be read" in caplog.text
    authority.files("a")
    assert before is not held.contexts() and "renewed TLS files are used" in caplog.text


def test_expiry_is_told_ahead_once_a_day(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    now_s = time.time()
    held = NodeTls(authority.files("a", days=30), "127.0.0.1", wall=lambda: now_s)
    held.look()
    assert "" == caplog.text
    for days, lines in (16.5, 1), (16.6, 1), (17.5, 2), (29.5, 3), (30.5, 4):
        now_s = time.time() + days * DAY_S
        held.look()
        assert lines == caplog.text.count("no new connection between nodes after that; renew it"), days
    assert "expires in 13 days" in caplog.text and "expired on" in caplog.text


def spoil_mode(files: TlsFiles, _: Authority) -> None:
    files.key.chmod(0o644)


def spoil_key(files: TlsFiles, authority: Authority) -> None:
    shutil.copy(authority.files("other").key, files.key)


def spoil_authority(files: TlsFiles, authority: Authority) -> None:
    other = Authority(authority.directory / "other")
    shutil.copy(other.directory / "ca.pem", files.authority)


BAD = [
    (spoil_mode, "RaftSSLPrivateKeyFile .* can be read by others \\(mode 0644\\): chmod 0600"),
    (spoil_key, "is not the key of the first certificate in RaftSSLCertFile"),
    (spoil_authority, "another node would refuse it: TLS: "),
    (lambda files, _: files.authority.write_text("x"), "RaftSSLCAFile .* holds no certificate in PEM form"),
    (lambda files, _: files.key.write_text("x"), "RaftSSLPrivateKeyFile .* holds no private key in PEM form"),
    (lambda files, _: files.certificate.unlink(), "RaftSSLCertFile .* cannot be read: No such file"),
    (lambda files, _: files.authority.write_text("x" * 2_000_000), "no PEM file"),
]


@pytest.mark.parametrize(("spoil", "complaint"), BAD)
def test_a_bad_file_is_named_with_the_cause(
    authority: Authority, spoil: Callable[[TlsFiles, Authority], object], complaint: str
) -> None:
    files = authority.files("a")
    load(files, "127.0.0.1", time.time())
    spoil(files, authority)
    with pytest.raises(StartupError, match=complaint):
        load(files, "127.0.0.1", time.time())


def test_a_certificate_has_to_be_valid_now_and_to_name_this_node(authority: Authority) -> None:
    files = authority.files("a", "db1.example", days=10)
    load(files, "DB1.example", time.time())
    with pytest.raises(StartupError, match=r"stands in RaftNodes as db2\.example") as failure:
        load(files, "db2.example", time.time())
    assert "ostname mismatch" in str(failure.value)
    with pytest.raises(StartupError, match=r"expired on .*: renew it"):
        load(files, "db1.example", time.time() + 11 * DAY_S)
    with pytest.raises(StartupError, match=r"is not valid before .*: check the clock"):
        load(files, "db1.example", time.time() - 2 * DAY_S)


@pytest.mark.parametrize(
    ("named", "host", "good"),
    [
        (("DNS", "db1.example"), "db1.example", True),
        (("DNS", "DB1.example."), "db1.EXAMPLE", True),
        (("DNS", "db1.example"), "db11.example", False),
        (("DNS", "*.example.org"), "db1.example.org", True),
        (("DNS", "*.example.org"), "a.db1.example.org", False),
        (("DNS", "*.example.org"), "example.org", False),
        (("DNS", "*.org"), "example.org", False),
        (("DNS", "*"), "db1", False),
        (("IP Address", "10.0.0.1"), "10.0.0.1", True),
        (("IP Address", "0:0:0:0:0:0:0:1"), "::1", True),
        (("DNS", "10.0.0.1"), "10.0.0.2", False),
        (("email", "db1.example"), "db1.example", False),
    ],
)
def test_which_names_count(named: tuple[str, str], host: str, good: bool) -> None:
    certificate = {"subject": ((("commonName", host),),), "subjectAltName": (named,)}
    if good:
        check_peer(certificate, [host])
    else:
        with pytest.raises(ProtocolError, match="issue one for that host"):
            check_peer(certificate, [host])


def test_no_certificate_names_nobody() -> None:
    with pytest.raises(ProtocolError, match="names nobody"):
        check_peer(None, ["db1"])
    with pytest.raises(ProtocolError, match="names nobody"):
        check_peer({}, ["db1", "db2"])


async def test_those_who_begin_tls_and_say_nothing_hold_few_places_for_a_short_time(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "HANDSHAKE_S", 0.5)
    known = addresses()
    one, other = (end(slot, known, authority.files(slot)) for slot in "ab")
    async with started(one):
        crowd = [await asyncio.open_connection(one.address.host, one.address.port) for _ in range(40)]
        for _, writer in crowd:
            writer.write(b"\x16\x03\x01\x02")
        assert accepting.STRANGERS_PER_IP >= one.transport._acceptor.strangers
        await until(lambda: all(reader.at_eof() or reader.exception() for reader, _ in crowd))
        await until(lambda: 0 == one.transport._acceptor.strangers)
        assert "more than 8 connections from 127.0.0.1 wait for a handshake; closed one" in caplog.text
        for _, writer in crowd:
            writer.transport.abort()
        async with started(other):
            await until(lambda: both_up(one, other))
