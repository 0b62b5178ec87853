"""Servers that are none, or that want our password: small fakes on real sockets that record every byte they get."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.core.instance import InstanceKey, Unreachable, UnreachableKind
from orchestrator_raft.flavors.base import Detection
from orchestrator_raft.mysql import Connector, MysqlProber, MysqlSettings, TlsMode
from orchestrator_raft.mysql.failures import BAD_CONNECTION
from orchestrator_raft.mysql.names import Names
from tests.adapters.plan_runner import not_told

SECRET = "a-very-secret-word"
PLUGIN_AUTH, SSL, SECURE, PROTOCOL_41 = 1 << 19, 1 << 11, 1 << 15, 1 << 9
OK = b"\x00\x00\x00\x02\x00\x00\x00"

Read = Callable[[], Awaitable[bytes]]
Handler = Callable[[Read, asyncio.StreamWriter], Awaitable[None]]


class Fake:
    """A listener on loopback with the bytes that clients sent it."""

    def __init__(self) -> None:
        self.received = b""
        self.connections = 0
        self.key = InstanceKey("127.0.0.1", 0)


@asynccontextmanager
async def listening(handler: Handler, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Fake]:
    fake = Fake()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fake.connections += 1

        async def read() -> bytes:
            data = await reader.read(65536)
            fake.received += data
            return data

        try:
            await handler(read, writer)
            while await read():
                pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, port)
    async with server:
        fake.key = InstanceKey("127.0.0.1", server.sockets[0].getsockname()[1])
        yield fake


def packet(body: bytes, sequence: int = 0) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([sequence]) + body


def greeting(plugin: str = "mysql_native_password", capabilities: int = PLUGIN_AUTH | SECURE | PROTOCOL_41) -> bytes:
    salt = b"12345678"
    head = b"\x0a" + b"8.4.0\0" + struct.pack("<I", 7) + salt + b"\0"
    flags = struct.pack("<HBHHB", capabilities & 0xFFFF, 255, 2, capabilities >> 16, 21)
    return packet(head + flags + b"\0" * 10 + b"901234567890" + b"\0" + plugin.encode() + b"\0")


def answering(data: bytes) -> Handler:
    async def handler(_read: Read, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return handler


async def silent(_read: Read, _writer: asyncio.StreamWriter) -> None:
    return


async def hanging_up(_read: Read, writer: asyncio.StreamWriter) -> None:
    writer.close()


def settings(tls: TlsMode = TlsMode.NONE, **more: object) -> MysqlSettings:
    return MysqlSettings(user="manager", password=SECRET, tls=tls, **more)  # type: ignore[arg-type]


async def probe(key: InstanceKey, timeout_s: float = 5.0, tls: TlsMode = TlsMode.NONE, **more: object) -> Unreachable:
    """The failure, by probe and by witness alike."""
    prober = MysqlProber(Connector(settings(tls, **more)), Detection(), on_left_out=not_told, on_failure=not_told)
    try:
        result = await prober.probe(key, timeout_s=timeout_s)
        witnessed = await prober.try_connect(key, timeout_s=timeout_s)
    finally:
        await prober.close()
    assert isinstance(result, Unreachable), result
    assert witnessed is not None
    assert witnessed.kind is result.kind
    return result


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", UnreachableKind.NOT_A_SERVER),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", UnreachableKind.NOT_A_SERVER),
        (b"\0" * 64, UnreachableKind.NOT_A_SERVER),
        (packet(b"\x09old"), UnreachableKind.NOT_A_SERVER),
        (packet(b"\x0a8.4.0\0cut short"), UnreachableKind.NOT_A_SERVER),
        (packet(b"\xff\x10\x04Too many connections"), UnreachableKind.TOO_MANY_CONNECTIONS),
        (packet(b"\xff\x6a\x04Host 'x' is not allowed to connect"), UnreachableKind.AUTHENTICATION),
        (packet(b"\xff\x69\x04Host 'x' is blocked"), UnreachableKind.AUTHENTICATION),
    ],
)
async def test_what_is_no_greeting_is_told_apart(data: bytes, kind: UnreachableKind) -> None:
    async with listening(answering(data)) as fake:
        failure = await probe(fake.key)
    assert failure.kind is kind
    assert fake.received == b""


async def test_a_listener_that_never_greets_ends_at_the_deadline() -> None:
    async with listening(silent) as fake:
        failure = await probe(fake.key, timeout_s=0.2)
    assert failure.kind is UnreachableKind.NO_GREETING
    assert failure.detail == f"dial tcp {fake.key}: i/o timeout"


async def test_a_listener_that_hangs_up_is_a_bad_connection() -> None:
    async with listening(hanging_up) as fake:
        failure = await probe(fake.key)
    assert (failure.kind, failure.detail) == (UnreachableKind.RESET, BAD_CONNECTION)


async def test_a_server_that_falls_silent_during_the_login_ends_at_the_deadline() -> None:
    async with listening(answering(greeting())) as fake:
        failure = await probe(fake.key, timeout_s=0.2)
    assert failure.kind is UnreachableKind.QUERY_TIMEOUT


async def test_a_closed_port_refuses() -> None:
    async with listening(silent) as fake:
        key = fake.key
    failure = await probe(key)
    assert (failure.kind, failure.detail) == (
        UnreachableKind.REFUSED,
        f"dial tcp {key}: connect: connection refused",
    )


async def test_required_tls_that_is_not_offered_ends_before_anything_is_sent() -> None:
    async with listening(answering(greeting())) as fake:
        failure = await probe(fake.key, tls=TlsMode.REQUIRED)
    assert failure.kind is UnreachableKind.TLS_MISSING
    assert failure.kind.answers
    assert fake.received == b""
    assert fake.connections == 2


async def test_tls_with_a_server_that_cannot_do_it_after_all_ends_before_the_login() -> None:
    async with listening(answering(greeting(capabilities=PLUGIN_AUTH | SECURE | PROTOCOL_41 | SSL))) as fake:
        failure = await probe(fake.key, timeout_s=0.3, tls=TlsMode.REQUIRED)
    assert failure.kind is UnreachableKind.QUERY_TIMEOUT
    assert b"manager" not in fake.received


@pytest.mark.parametrize("plugin", ["mysql_clear_password", "mysql_old_password", "dialog"])
async def test_a_server_that_wants_the_bare_password_gets_nothing(plugin: str) -> None:
    async with listening(answering(greeting(plugin))) as fake:
        failure = await probe(fake.key)
    assert failure.kind is UnreachableKind.AUTHENTICATION
    assert plugin in failure.detail
    assert fake.received == b""


async def test_a_server_without_login_methods_gets_nothing() -> None:
    async with listening(answering(greeting(capabilities=SECURE | PROTOCOL_41))) as fake:
        failure = await probe(fake.key)
    assert failure.kind is UnreachableKind.AUTHENTICATION
    assert fake.received == b""


async def test_a_server_that_asks_again_for_the_bare_password_does_not_get_it() -> None:
    async def handler(read: Read, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting())
        await read()
        writer.write(packet(b"\xfemysql_clear_password\0", 2))

    async with listening(handler) as fake:
        failure = await probe(fake.key)
    assert failure.kind is UnreachableKind.AUTHENTICATION
    assert b"manager" in fake.received
    assert SECRET.encode() not in fake.received


def after_login(reply: bytes) -> Handler:
    async def handler(read: Read, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting())
        await read()
        writer.write(packet(OK, 2))
        await read()
        writer.write(reply)

    return handler


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (packet(b"\xfb/etc/passwd", 1), "asks for a file"),
        (packet(OK, 5), "packet 5 where 1 was expected"),
        (packet(b"\xff\x28\x04#42000You have an error", 1), "Error 1064: You have an error"),
        (packet(b"\x01", 1) + packet(b"x" * 100_000, 2), "longer than 65536 bytes"),
    ],
)
async def test_a_reply_that_makes_no_sense_is_a_failure_of_the_protocol(reply: bytes, words: str) -> None:
    async with listening(after_login(reply)) as fake:
        failure = await probe(fake.key, reply_bytes_max=65536)
    assert failure.kind is UnreachableKind.PROTOCOL
    assert words in failure.detail


async def test_a_server_that_shuts_down_is_a_bad_connection() -> None:
    async with listening(after_login(packet(b"\xff\x1d\x04#08S01Server shutdown in progress", 0))) as fake:
        failure = await probe(fake.key)
    assert (failure.kind, failure.detail) == (UnreachableKind.RESET, BAD_CONNECTION)


async def test_a_name_that_does_not_exist_says_so() -> None:
    def look_up(_host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    failure = await look_up_with(look_up, timeout_s=5.0)
    assert (failure.kind, failure.detail) == (UnreachableKind.UNRESOLVABLE, "lookup db-1: no such host")


async def test_a_resolver_that_hangs_ends_at_the_deadline() -> None:
    def look_up(_host: str) -> list[str]:
        time.sleep(1.0)
        return []

    failure = await look_up_with(look_up, timeout_s=0.1)
    assert (failure.kind, failure.detail) == (UnreachableKind.UNRESOLVABLE, "lookup db-1: i/o timeout")


async def look_up_with(look_up: Callable[[str], list[str]], timeout_s: float) -> Unreachable:
    connector = Connector(settings(), Names(look_up))
    prober = MysqlProber(connector, Detection(), on_left_out=not_told, on_failure=not_told)
    result = await prober.probe(InstanceKey("db-1", 3306), timeout_s=timeout_s)
    await prober.close()
    assert isinstance(result, Unreachable)
    return result


async def test_the_next_address_of_a_name_is_tried_when_the_first_refuses() -> None:
    async with listening(answering(packet(b"\xff\x10\x04Too many connections")), "127.0.0.3") as fake:
        connector = Connector(settings(), Names(lambda _host: ["127.0.0.2", "127.0.0.3"]))
        prober = MysqlProber(connector, Detection(), on_left_out=not_told, on_failure=not_told)
        result = await prober.probe(InstanceKey("db-1", fake.key.port), timeout_s=5.0)
        await prober.close()
    assert isinstance(result, Unreachable)
    assert result.kind is UnreachableKind.TOO_MANY_CONNECTIONS


async def test_our_own_limit_is_no_sign_of_death() -> None:
    async with listening(silent) as fake:
        one_at_a_time = Connector(settings(connects_max=1))
        prober = MysqlProber(one_at_a_time, Detection(), on_left_out=not_told, on_failure=not_told)
        other = InstanceKey("127.0.0.2", fake.key.port)
        first, second = await asyncio.gather(prober.probe(fake.key, timeout_s=0.6), prober.probe(other, timeout_s=0.2))
        await prober.close()
    assert isinstance(first, Unreachable)
    assert isinstance(second, Unreachable)
    assert first.kind is UnreachableKind.NO_GREETING
    assert second.kind is UnreachableKind.OWN_TROUBLE and not second.kind.is_opinion
    assert "this node" in second.detail


def test_tls_files_that_cannot_be_read_are_named() -> None:
    with pytest.raises(StartupError, match=r"/no/such/ca\.pem"):
        Connector(settings(TlsMode.REQUIRED, ca_file="/no/such/ca.pem"))


def test_the_password_is_not_shown() -> None:
    assert SECRET not in repr(settings())
    assert SECRET not in repr(Connector(settings()))
