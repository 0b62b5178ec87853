"""After a failover, everybody outside has the new primary: real servers, nodes and processes.

Consul and ProxySQL are the small speakers of ``tests/kv``, no real ones. Consul is away during the second change.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sandbox import ports
from tests.faults.stage import Stage, until
from tests.kv.proxysql_speaker import ProxySql

NewStage = Callable[..., Stage]
PREFIX = "mysql/master/demo"
SECRET = "a secret of this test"


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


class ConsulProcess:
    """The speaker as a process."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.kv.consul_speaker", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        until("the speaker listens", lambda: listens(self.port))

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def values(self) -> dict[str, str]:
        """Every value below the cluster's key, and its own."""
        url = f"http://127.0.0.1:{self.port}/v1/kv/{PREFIX}?recurse"
        try:
            with urllib.request.urlopen(url, timeout=30.0) as answer:
                entries = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                assert error.code == 404
            return {}
        return {each["Key"]: base64.b64decode(each["Value"] or "").decode() for each in entries}

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.values().get(f"{PREFIX}/record", "{}"))
        return found


class ProxyThread:
    """The ProxySQL speaker, on a loop of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._proxy, self._server = self._do(self._start())

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30.0)

    async def _start(self) -> tuple[ProxySql, asyncio.Server]:
        proxy = ProxySql()
        return proxy, await asyncio.start_server(proxy.serve, "127.0.0.1", self.port)

    def writers(self) -> list[str]:
        """What is in force in the writer hostgroup."""

        async def read() -> list[str]:
            return [f"{row[0]}:{row[1]}" for row in self._proxy.rows()]

        found: list[str] = self._do(read())
        return found

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            await self._server.wait_closed()
            others = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self._proxy.tables.close()

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30.0)
        self._loop.close()


class Receiver:
    """An HTTP server for webhooks that checks signatures."""

    def __init__(self, port: int) -> None:
        self.told: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signed = self.headers["X-Orchestrator-Raft-Timestamp"].encode() + b"." + body
                expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
                good = self.headers["X-Orchestrator-Raft-Signature"] == f"sha256={expected}"
                if good:
                    receiver.told.append(json.loads(body))
                self.send_response(204 if good else 403)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30.0)


class Outside:
    """Everybody who wants to know."""

    def __init__(self, first_port: int, stack: ExitStack) -> None:
        self.consul = stack.enter_context(closing(ConsulProcess(first_port)))
        self.consul.start()
        self.proxy = stack.enter_context(closing(ProxyThread(first_port + 1)))
        self.receiver = stack.enter_context(closing(Receiver(first_port + 2)))
        self.settings = {
            "ConsulAddress": f"127.0.0.1:{first_port}",
            "ProxySQLAddresses": [f"127.0.0.1:{first_port + 1}"],
            "ProxySQLAdminUser": "radmin",
            "ProxySQLAdminPassword": "a password",
            "ProxySQLWriterHostgroups": {"demo": "10"},
            "Webhooks": {"chat": f"http://127.0.0.1:{first_port + 2}/"},
            "WebhookEvents": {"chat": "PostMasterFailoverProcesses"},
            "WebhookSecret": SECRET,
        }


@pytest.fixture
def outside() -> Iterator[Outside]:
    with ExitStack() as stack:
        block = stack.enter_context(ports.reserved())
        yield Outside(block[0], stack)


def test_everybody_has_every_new_primary_also_who_was_away(new_stage: NewStage, outside: Outside) -> None:
    stage, consul = new_stage(settings=outside.settings, count=3), outside.consul
    first = stage.servers.primary()
    until("the primary is published", lambda: consul.values().get(PREFIX) == f"{first.host}:{first.port}")
    generation = consul.record()["generation"]

    first.kill()
    second = stage.ended("dead_primary")["successor"]
    until("its successor is published", lambda: consul.values().get(PREFIX) == second)
    host, _, port = second.rpartition(":")
    values, record = consul.values(), consul.record()
    assert (values[f"{PREFIX}/hostname"], values[f"{PREFIX}/port"], values[f"{PREFIX}/ipv4"]) == (host, port, host)
    assert (record["hostname"], record["port"]) == (host, int(port))
    assert record["generation"] > generation
    until("ProxySQL has it as the only writer", lambda: outside.proxy.writers() == [second])
    until("the webhook was told", lambda: bool(outside.receiver.told))
    told = outside.receiver.told[0]
    assert (told["event"], told["cluster"]) == ("PostMasterFailoverProcesses", "demo")
    assert told["values"]["successorPort"] == port

    consul.close()
    assert stage.nodes.get("/api/graceful-master-takeover-auto/demo", 60.0)["Code"] == "OK"
    recovery = stage.ended("takeover")
    assert recovery["end"] == "succeeded", "a target that is down keeps nobody from anything"
    [shown] = stage.nodes.get("/api/v2/publications")
    assert shown["primary"] == recovery["successor"]
    until("ProxySQL has it all the same", lambda: outside.proxy.writers() == [recovery["successor"]])
    until("it is known that Consul is away", lambda: standing(stage) == "failed")
    consul.start()  # and it has forgotten everything
    until("it is published when Consul is back", lambda: consul.values().get(PREFIX) == recovery["successor"])
    until("that is known", lambda: standing(stage) == "current")


def standing(stage: Stage) -> str:
    [shown] = stage.nodes.get("/api/v2/publications")
    return str(shown["targets"][0]["standing"])
