"""Real orchestrator_raft nodes on 127.0.0.1, .2 and .3, started from a configuration file like any user's.

The nodes are separate processes of the installed program; what is asked of them is asked over HTTP. ``Nodes``
remembers no leader: it asks, so it stays true when one is killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sandbox.dialects import MANAGER, REPLICATION
from sandbox.errors import SandboxError
from sandbox.spawn import Process, spawn

NODE_COUNT = 3
MODULE = "orchestrator_raft"
"""What is run; a bench may put something around it."""
START_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 5.0
LONG_TIMEOUT_S = 120.0
PAUSE_S = 0.02
LOG_TAIL_LINES = 15
JSON = {"Content-Type": "application/json"}


class NoAnswer(SandboxError):
    """A node did not answer over HTTP."""


def configuration(number: int, count: int, directory: Path, http_port: int, raft_port: int) -> dict[str, Any]:
    """An orchestrator.conf.json for node ``number`` (from 1), with nothing but the peers' own keys."""
    host = f"127.0.0.{number}"
    return {
        "ListenAddress": f"{host}:{http_port}",
        "HTTPAdvertise": f"http://{host}:{http_port}",
        "RaftEnabled": True,
        "RaftDataDir": str(directory),
        "RaftBind": host,
        "DefaultRaftPort": raft_port,
        "RaftNodes": [f"127.0.0.{each}" for each in range(1, count + 1)],
        "MySQLTopologyUser": MANAGER,
        "MySQLTopologyPassword": MANAGER,
        "HostnameResolveMethod": "none",
        "MySQLHostnameResolveMethod": "@@report_host",
        "DiscoverByShowSlaveHosts": True,
        "DetectClusterAliasQuery": "SELECT cluster_name FROM meta.cluster LIMIT 1",
        "DetectClusterDomainQuery": "SELECT cluster_domain FROM meta.cluster LIMIT 1",
        "ReplicationCredentialsQuery": f"SELECT '{REPLICATION}' AS user, '{REPLICATION}' AS password",
        "RecoverMasterClusterFilters": ["*"],
        "RecoverIntermediateMasterClusterFilters": ["*"],
    }


class Node:
    """One node: its configuration file, its process, its HTTP API."""

    def __init__(self, number: int, directory: Path, settings: Mapping[str, Any], module: str = MODULE) -> None:
        self.number = number
        self._module = module
        self.directory = directory
        self.settings = dict(settings)
        self.url = f"http://{self.settings['ListenAddress']}"
        self.config_file = directory / "orchestrator.conf.json"
        self.log = directory / "node.log"
        self._process: Process | None = None

    def __repr__(self) -> str:
        return f"node {self.number} at {self.url}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self.is_running() and self._process is not None else None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Write the configuration and start the program; does not wait until it answers."""
        if self.is_running():
            raise SandboxError(f"{self} is running already")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(json.dumps(self.settings, indent=2) + "\n")
        program = [sys.executable, "-m", self._module, "serve", "--config", str(self.config_file)]
        self._process = spawn(program, log=self.log, environ={}, folder=self.directory)

    def wait_answering(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until it answers HTTP. Raises SandboxError with the end of its log if it does not."""
        self._until(lambda: self.get("/api/lb-check") == "OK", "does not answer", timeout_s)

    def stop(self, timeout_s: float = START_TIMEOUT_S) -> int:
        """SIGTERM, and the exit code."""
        if self._process is None:
            raise SandboxError(f"{self} was never started")
        self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise SandboxError(f"{self} did not end within {timeout_s:g} s of SIGTERM:\n{self.log_tail()}") from error

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_TIMEOUT_S)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.pid is None:
            raise SandboxError(f"{self} is not running")
        os.kill(self.pid, number)

    def log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def get(self, path: str, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        """JSON of a GET, whatever its status. Raises NoAnswer."""
        return self._ask(urllib.request.Request(self.url + path), timeout_s)

    def post(self, path: str, body: Mapping[str, Any] | None = None, timeout_s: float = LONG_TIMEOUT_S) -> Any:
        """JSON of a POST to the native API, of a long operation when it has ended. Raises NoAnswer."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body or {}).encode(), {**JSON, "Prefer": f"wait={timeout_s:.0f}"}, method="POST"
        )
        return self._ask(request, timeout_s)

    def delete(self, path: str, timeout_s: float = LONG_TIMEOUT_S) -> Any:
        """JSON of a DELETE to the native API. Raises NoAnswer."""
        return self._ask(urllib.request.Request(self.url + path, method="DELETE"), timeout_s)

    def _ask(self, request: urllib.request.Request, timeout_s: float) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            return _json_or_text(text)
        except (OSError, json.JSONDecodeError) as error:
            raise NoAnswer(f"{self} did not answer {request.full_url}: {error}") from error

    def leads(self) -> bool:
        """It holds authority, by its own word."""
        try:
            return bool(self.is_running() and self.get("/api/leader-check") == "OK")
        except NoAnswer:
            return False

    def _until(self, condition: Callable[[], bool], complaint: str, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                if condition():
                    return
            except NoAnswer:
                pass  # not yet: the deadline below says when that is too late
            if not self.is_running():
                raise SandboxError(f"{self} has ended:\n{self.log_tail()}")
            if time.monotonic() > deadline_s:
                raise SandboxError(f"{self} {complaint} after {timeout_s:g} s:\n{self.log_tail()}")
            time.sleep(PAUSE_S)


def _json_or_text(text: bytes) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text.decode(errors="replace")


class Nodes:
    """A Raft cluster of nodes."""

    def __init__(
        self,
        directory: Path,
        *,
        http_port: int,
        raft_port: int,
        count: int = NODE_COUNT,
        settings: Mapping[str, Any] | None = None,
        module: str = MODULE,
    ) -> None:
        self.nodes = []
        for number in range(1, count + 1):
            own = directory / f"node{number}"
            config = configuration(number, count, own, http_port, raft_port) | dict(settings or {})
            self.nodes.append(Node(number, own, config, module))

    def __repr__(self) -> str:
        return f"Nodes {', '.join(node.url for node in self.nodes)}"

    def start(self) -> None:
        """Start all, and wait until they answer and one leads."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_answering()
        self.wait_leader()

    def running(self) -> list[Node]:
        return [node for node in self.nodes if node.is_running()]

    def wait_leader(self, timeout_s: float = START_TIMEOUT_S) -> Node:
        """The node that leads, as soon as there is one. Raises SandboxError at the deadline."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            for node in self.running():
                if node.leads():
                    return node
            time.sleep(PAUSE_S)
        logs = "\n".join(f"{node}:\n{node.log_tail()}" for node in self.nodes)
        raise SandboxError(f"no node leads after {timeout_s:g} s\n{logs}")

    def get(self, path: str, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        """JSON from any running node. Raises NoAnswer when none answers."""
        return self._any(lambda node: node.get(path, timeout_s))

    def _any(self, ask: Callable[[Node], Any]) -> Any:
        failure = NoAnswer("no node is running")
        for node in self.running():
            try:
                return ask(node)
            except NoAnswer as error:
                failure = error
        raise failure

    def wait(self, what: str, condition: Callable[[], Any], timeout_s: float = START_TIMEOUT_S) -> Any:
        """The first true answer of ``condition``. Raises SandboxError naming ``what`` at the deadline."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            try:
                found = condition()
            except NoAnswer:
                found = None  # nodes may come and go; the deadline counts
            if found:
                return found
            time.sleep(PAUSE_S)
        logs = "\n".join(f"{node}:\n{node.log_tail()}" for node in self.nodes)
        raise SandboxError(f"{what}: not so after {timeout_s:g} s\n{logs}")

    def discover(self, host: str, port: int, count: int, timeout_s: float = START_TIMEOUT_S) -> None:
        """Give the nodes one server and wait until they know ``count``, all of them answering."""
        reply = self.wait_leader().get(f"/api/discover/{host}/{port}", LONG_TIMEOUT_S)
        if reply["Code"] != "OK":
            raise SandboxError(f"discover {host}:{port}: {reply['Message']}")

        def complete() -> bool:
            servers = self.get("/api/all-instances")
            return len(servers) == count and all(server["IsLastCheckValid"] for server in servers)

        self.wait(f"{count} servers are known", complete, timeout_s)

    def stop_all(self) -> None:
        """Kill all nodes."""
        for node in self.nodes:
            node.kill()
