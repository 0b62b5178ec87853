"""The installed program as processes, started from a configuration file as a person would start it."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sandbox.spawn import Process, spawn

START_TIMEOUT_S = 60.0
STORE = "raft.sqlite"


class Program:
    """One node, which listens on ``host``; ``hosts`` are all nodes."""

    def __init__(self, directory: Path, host: str, hosts: Sequence[str], ports: Sequence[int]) -> None:
        http_port, raft_port = ports[:2]
        self.store = directory / "data" / STORE
        self.log = directory / "node.log"
        self.url = f"http://{host}:{http_port}"
        self._file = directory / "orchestrator.conf.json"
        settings = {
            "ListenAddress": f"{host}:{http_port}", "RaftEnabled": True, "RaftDataDir": str(self.store.parent),
            "RaftBind": host, "DefaultRaftPort": raft_port, "RaftNodes": list(hosts),
            "MySQLTopologyUser": "nobody", "MySQLTopologyPassword": "nothing",
        }  # fmt: skip
        directory.mkdir(exist_ok=True)
        self._file.write_text(json.dumps(settings))
        self._process: Process | None = None

    def start(self, *before: str) -> Process:
        """``before``: a program that starts it, with its arguments."""
        self.log.unlink(missing_ok=True)
        command = [*before, sys.executable, "-m", "orchestrator_raft", "serve", "--config", str(self._file)]
        self._process = spawn(command, log=self.log, environ={}, folder=Path.cwd())
        return self._process

    def lead(self) -> None:
        self.until(lambda: self.get("leader-check") == 200, "the node leads")

    def get(self, path: str) -> int:
        """Status of the answer, 0 if there is none."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def overview(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/v2/raft/status", timeout=10) as answer:
            return dict(json.load(answer))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline_s, f"{what}: not within {START_TIMEOUT_S:g} s:\n{self.log.read_text()}"
            time.sleep(0.05)

    def ended(self) -> int:
        """Exit code of a process that ends."""
        assert self._process is not None
        return self._process.wait(START_TIMEOUT_S)

    def end(self) -> int:
        """Exit code of a process that was asked to end."""
        assert self._process is not None
        self._process.terminate()
        return self.ended()

    def refusal(self) -> str:
        """The error of a start that fails, and nothing else is in it."""
        assert self.start().wait(START_TIMEOUT_S) == 1
        (line,) = [line for line in self.log.read_text().splitlines() if line.startswith("error:")]
        assert "Traceback" not in self.log.read_text()
        return line

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(START_TIMEOUT_S)
