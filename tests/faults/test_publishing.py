"""After a failover, everybody outside has the new primary: real servers, nodes and processes, and a Consul of our own.

The Consul is ``tests/kv/consul_speaker``, no real one; it is shut down and started anew around the second failover.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from sandbox import ports
from tests.faults.stage import Stage, until

NewStage = Callable[..., Stage]
PREFIX = "mysql/master/demo"


class ConsulProcess:
    """The speaker as a process."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.kv.consul_speaker", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

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


@pytest.fixture
def consul() -> Iterator[ConsulProcess]:
    with ExitStack() as stack:
        block = stack.enter_context(ports.reserved())
        made = stack.enter_context(closing(ConsulProcess(block[0])))
        made.start()
        yield made


def test_consul_has_every_new_primary_also_after_it_was_away(new_stage: NewStage, consul: ConsulProcess) -> None:
    stage = new_stage(settings={"ConsulAddress": f"127.0.0.1:{consul.port}"}, count=3)
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

    consul.close()
    assert stage.nodes.get("/api/graceful-master-takeover-auto/demo", 60.0)["Code"] == "OK"
    recovery = stage.ended("takeover")
    assert recovery["end"] == "succeeded", "a target that is down keeps nobody from anything"
    [shown] = stage.nodes.get("/api/v2/publications")
    assert shown["primary"] == recovery["successor"]
    until("it is known that Consul is away", lambda: standing(stage) == "failed")
    consul.start()  # and it has forgotten everything
    until("it is published when Consul is back", lambda: consul.values().get(PREFIX) == recovery["successor"])
    until("that is known", lambda: standing(stage) == "current")


def standing(stage: Stage) -> str:
    [shown] = stage.nodes.get("/api/v2/publications")
    return str(shown["targets"][0]["standing"])
