"""A node to talk to, and raftctl run in this process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from orchestrator_raft.raftctl import main
from tests.free_ports import free_port
from tests.raftctl.fleet import Fleet, Node


@dataclass(frozen=True)
class Ran:
    """What one command line gave."""

    code: int
    out: str
    err: str


Raftctl = Callable[..., Ran]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "RAFTCTL_CA",
        "RAFTCTL_CERT",
        "RAFTCTL_KEY",
        "RAFTCTL_TOKEN",
        "RAFTCTL_API",
        "ORCHESTRATOR_API",
        "ORCHESTRATOR_AUTH_USER",
        "ORCHESTRATOR_AUTH_PASSWORD",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def node(fleet: Fleet) -> Iterator[Node]:
    started = Node(fleet, "127.0.0.1", free_port())
    started.start()
    yield started
    started.stop()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Raftctl:
    """Run a command line in this process."""

    def run_it(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main.run(arguments)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run_it


@pytest.fixture
def raftctl(node: Node, run: Raftctl) -> Raftctl:
    """The same, talking to ``node``."""
    return lambda *arguments: run("--api", node.url, *arguments)


def run_process(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command line as a process of its own."""
    command = [sys.executable, "-m", "orchestrator_raft.raftctl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]
