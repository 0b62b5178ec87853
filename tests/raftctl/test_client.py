"""Talking to nodes: which one, how long, with whose credentials, and what errors say."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.settings import ApiSettings, AuthenticationMethod
from orchestrator_raft.core.errors import InvalidInput, OrchestratorError, Refused, Unavailable
from orchestrator_raft.operations import OPERATION_BY_NAME
from orchestrator_raft.raftctl.client import Client, Endpoint, Lost, parse_endpoints, with_credentials
from orchestrator_raft.raftctl.requests import Request, request
from tests.free_ports import free_port
from tests.raftctl.fleet import Fleet, Node

CLUSTERS = request(OPERATION_BY_NAME["clusters"], {})
DISCOVER = request(OPERATION_BY_NAME["discover"], {"server": "db4.example:3306"})


def client(*urls: str, timeout_s: float | None = None) -> Client:
    return Client(parse_endpoints(",".join(urls)), request_id="r-1", timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://n1:3000", ["http://n1:3000/api"]),
        ("http://n1:3000/api/", ["http://n1:3000/api"]),
        ("http://n1:3000/prefix", ["http://n1:3000/prefix/api"]),
        ("http://n1:1/api http://n2:1/api", ["http://n1:1/api", "http://n2:1/api"]),
        ("n1:3000,n2:3000", ["http://n1:3000/api", "http://n2:3000/api"]),
        ("https://n1", ["https://n1:443/api"]),
        ("http://[::1]:3000", ["http://[::1]:3000/api"]),
    ],
)
def test_urls_may_be_written_as_for_the_peers_client(text: str, expected: list[str]) -> None:
    assert expected == [str(each) for each in parse_endpoints(text)]


@pytest.mark.parametrize("text", ["", " , ", "ftp://n1", "http://n1:port", "http://", "http://n1/?x=1"])
def test_a_wrong_url_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_endpoints(text)


def test_credentials_of_a_url_win_and_are_never_shown() -> None:
    first, second = with_credentials(parse_endpoints("http://u:p%40w@n1:1,http://n2:1"), "me", "secret")
    assert ("u:p@w", "me:secret") == (first.credentials, second.credentials)
    assert "p@w" not in f"{first} {first!r}"


def test_the_request_carries_its_id(node: Node, fleet: Fleet) -> None:
    client(node.url).call(DISCOVER)
    assert ["r-1"] == [call.request_id for call in fleet.calls]


@pytest.fixture
def two_nodes(fleet: Fleet) -> Iterator[tuple[Node, Node]]:
    """A follower and a leader, with fleets of their own to tell them apart."""
    follower = Node(Fleet(), "127.0.0.1", free_port(), {"node_id": "n2", "holds_authority": False})
    leader = Node(fleet, "127.0.0.1", free_port())
    for each in (follower, leader):
        each.start()
    yield follower, leader
    for each in (follower, leader):
        each.stop()


def test_of_several_nodes_the_leader_is_asked(two_nodes: tuple[Node, Node]) -> None:
    follower, leader = two_nodes
    asked = client(follower.url, leader.url)
    asked.call(DISCOVER)
    asked.call(DISCOVER)
    assert ([], 2) == (follower.fleet.calls, len(leader.fleet.calls))


def test_a_node_that_does_not_answer_is_passed_over(node: Node, fleet: Fleet) -> None:
    client(f"http://127.0.0.1:{free_port()}", node.url).call(DISCOVER)
    assert 1 == len(fleet.calls)


def test_when_nobody_answers_every_node_is_named() -> None:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with pytest.raises(Unavailable) as caught:
        client(*urls).call(CLUSTERS)
    for url in urls:
        assert f"cannot reach {url}/api: connection refused" in str(caught.value)
    assert str(caught.value).endswith("name nodes that run with --api or RAFTCTL_API")


@contextmanager
def listening(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does with each connection what the test says; its URL."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        server.settimeout(10)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(10)
                    talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(20)


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def says(data: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)

    return talk


def trickles(connection: socket.socket) -> None:
    """An answer that never ends, a byte at a time."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    gone = threading.Event()
    try:
        while not gone.wait(0.05):
            connection.sendall(b" ")
    except OSError:
        return


@pytest.mark.parametrize("talk", [silent, trickles])
def test_no_answer_is_waited_for_without_end(talk: Callable[[socket.socket], None]) -> None:
    with listening(talk) as url, pytest.raises(Unavailable, match="no answer in time"):
        client(url, timeout_s=0.4).call(CLUSTERS)


def test_a_read_is_tried_on_the_next_node_when_its_answer_is_lost(node: Node) -> None:
    with listening(says(b"")) as url:
        asked = Client(parse_endpoints(f"{url},{node.url}"), request_id="r-1")
        asked._ordered = asked.endpoints
        assert ["db1.example:3306"] == asked.call(CLUSTERS).value


def test_a_write_is_never_repeated_when_its_answer_is_lost(node: Node, fleet: Fleet) -> None:
    with listening(says(b"")) as url, pytest.raises(Lost) as caught:
        asked = Client(parse_endpoints(f"{url},{node.url}"), request_id="r-1")
        asked._ordered = asked.endpoints
        asked.call(DISCOVER)
    assert "it may have been carried out: look for request r-1 before you repeat it" in str(caught.value)
    assert [] == fleet.calls


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n<html>hello</html>", "is no orchestrator-raft node: it answered 200: <html>"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\nproxy", "it answered 502: proxy"),
        (b"nonsense\r\n\r\n", "no answer from"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[]", "no answer from"),
    ],
)
def test_what_is_no_answer_of_a_node_is_said_so(data: bytes, expected: str) -> None:
    with listening(says(data)) as url, pytest.raises(OrchestratorError) as caught:
        client(url).call(CLUSTERS)
    assert expected in str(caught.value)


def test_an_endless_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator_raft.raftctl.client.BODY_BYTES_MAX", 1000)
    data = b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 5000
    with listening(says(data)) as url, pytest.raises(Unavailable, match="larger than 1000 bytes"):
        client(url).call(CLUSTERS)


@pytest.fixture
def guarded(fleet: Fleet) -> Iterator[Node]:
    settings = ApiSettings(authentication=AuthenticationMethod.MULTI, user="me", password="pass:word")
    started = Node(fleet, "127.0.0.1", free_port(), settings=settings)
    started.start()
    yield started
    started.stop()


def endpoint(node: Node, credentials: str) -> Endpoint:
    return Endpoint("http", node.host, node.port, "/api", credentials)


def test_credentials_let_in(guarded: Node, fleet: Fleet) -> None:
    Client([endpoint(guarded, "me:pass:word")], request_id="r").call(DISCOVER)
    assert "me" == fleet.calls[0].person.name


@pytest.mark.parametrize("credentials", ["", "me:wrong"])
def test_without_them_the_way_in_is_told(guarded: Node, credentials: str) -> None:
    with pytest.raises(Refused, match="lets nobody in without credentials: give --user and --password-file"):
        Client([endpoint(guarded, credentials)], request_id="r").call(CLUSTERS)


def test_who_may_only_read_is_refused_in_the_nodes_words(guarded: Node) -> None:
    reader = Client([endpoint(guarded, "readonly:x")], request_id="r")
    assert ["db1.example:3306"] == reader.call(CLUSTERS).value
    with pytest.raises(Refused, match="the user readonly only reads: use me"):
        reader.call(DISCOVER)


def test_errors_of_the_compatible_api_are_errors_too(node: Node) -> None:
    with pytest.raises(OrchestratorError, match="No cluster found for alias nonesuch"):
        client(node.url).call(Request("GET", "cluster/alias/nonesuch"))


def write_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "node.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_https_is_spoken_with_nodes_whose_authority_is_known(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    node = Node(fleet, "127.0.0.1", free_port(), tls=tls)
    node.start()
    try:
        with pytest.raises(Unavailable, match="certificate verify failed"):
            client(node.url).call(DISCOVER)
        assert [] == fleet.calls
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        client(node.url).call(DISCOVER)
        assert 1 == len(fleet.calls)
    finally:
        node.stop()
