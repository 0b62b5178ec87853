"""Listening and stopping: addresses that cannot be had, unix sockets, requests under way at the end."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from api.server import ApiServer, Listen, TcpAddress, UnixSocket
from orchestrator_raft.core.errors import StartupError
from tests.free_ports import free_port
from tests.rest.rig import Rig

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def say_ok(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="OK")


def server(listen: Listen, handler: Handler = say_ok, *, shutdown_timeout_s: float = 5.0) -> ApiServer:
    app = web.Application()
    app.router.add_get("/", handler)
    return ApiServer(app, listen, shutdown_timeout_s=shutdown_timeout_s)


async def get(url: str, path: Path | None = None) -> str:
    connector = aiohttp.UnixConnector(str(path)) if path is not None else None
    async with aiohttp.ClientSession(connector=connector) as client, client.get(url) as response:
        return await response.text()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_it_listens_where_it_was_told(host: str) -> None:
    listening = server(TcpAddress(host, 0))
    await listening.start()
    url = f"http://{'[::1]' if host == '::1' else host}:{listening.port}/"
    assert await get(url) == "OK"
    await listening.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(url)


async def test_without_a_host_it_listens_on_both_families() -> None:
    port = free_port(("127.0.0.1", "::1"))
    listening = server(TcpAddress(None, port))
    await listening.start()
    assert [await get(f"http://{host}:{port}/") for host in ("127.0.0.1", "[::1]")] == ["OK", "OK"]
    await listening.stop()


async def test_an_address_in_use_is_told_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartupError) as caught:
            await server(TcpAddress("127.0.0.1", port)).start()
    expected = "another process listens there: stop it, or set ListenAddress to another one"
    assert str(caught.value) == f"cannot serve HTTP on 127.0.0.1:{port}: {expected}"


@pytest.mark.parametrize(
    ("host", "text"),
    [("192.0.2.1", "this machine has no such address"), ("no.such.host.invalid", "this name has no address")],
)
async def test_an_address_that_cannot_be_had_is_told_in_one_line(host: str, text: str) -> None:
    with pytest.raises(StartupError, match=text) as caught:
        await server(TcpAddress(host, 0)).start()
    assert "ListenAddress" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_unix_socket_is_served_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "orc.sock"
    listening = server(UnixSocket(str(path)))
    await listening.start()
    assert await get("http://orc/", path) == "OK"
    await listening.stop()
    assert not path.exists()


async def test_a_socket_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "orc.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listening = server(UnixSocket(str(path)))
    await listening.start()
    assert await get("http://orc/", path) == "OK"
    await listening.stop()


async def test_a_socket_that_somebody_serves_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "orc.sock"
    first = server(UnixSocket(str(path)))
    await first.start()
    with pytest.raises(StartupError, match=r"another process listens there: .* ListenSocket"):
        await server(UnixSocket(str(path))).start()
    assert await get("http://orc/", path) == "OK"
    await first.stop()


async def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "orc.sock"
    path.write_text("precious")
    with pytest.raises(StartupError, match="no socket is in the way"):
        await server(UnixSocket(str(path))).start()
    assert path.read_text() == "precious"


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="no such directory"):
        await server(UnixSocket(str(tmp_path / "none" / "orc.sock"))).start()


async def test_a_port_that_is_not_ours_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The superuser, who may run these tests, is refused nowhere, so the system's refusal is put in its place."""

    async def refuse(*_details: object, **_more: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_server", refuse)
    with pytest.raises(StartupError, match=r"this user may not listen there: set ListenAddress"):
        await server(TcpAddress("127.0.0.1", 80)).start()


async def test_a_request_under_way_is_finished_and_no_new_one_taken() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(_request: web.Request) -> web.StreamResponse:
        begun.set()
        await go_on.wait()
        return web.Response(text="done")

    listening = server(TcpAddress("127.0.0.1", 0), slowly)
    await listening.start()
    url = f"http://127.0.0.1:{listening.port}/"

    async def finish() -> None:
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(url)
        go_on.set()

    async def stop_meanwhile() -> None:
        await begun.wait()
        await asyncio.gather(listening.stop(), finish())
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(url)

    answer, _ = await asyncio.gather(get(url), stop_meanwhile())
    assert answer == "done"


async def test_a_client_that_goes_away_does_not_stop_its_request() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slowly(_request: web.Request) -> web.StreamResponse:
        begun.set()
        await asyncio.sleep(0.1)
        ended.set()
        return web.Response(text="done")

    listening = server(TcpAddress("127.0.0.1", 0), slowly)
    await listening.start()
    _, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await begun.wait()
    writer.transport.abort()
    async with asyncio.timeout(5):
        await ended.wait()
    await listening.stop()


async def test_stopping_twice_or_before_the_start_is_harmless() -> None:
    listening = server(TcpAddress("127.0.0.1", 0))
    await listening.stop()
    await listening.start()
    await listening.stop()
    await listening.stop()


MALFORMED = (
    b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
    b"GET /%s HTTP/1.1\r\n\r\n" % (b"x" * 9000),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
)


async def test_malformed_requests_are_answered_and_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with Rig() as rig:
        for asked in MALFORMED:
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.first.server.port)
            writer.write(asked)
            assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.")
            writer.close()
    assert [record for record in caplog.records if record.name == "aiohttp.server"] == []
