"""The installed program and its store: a damaged, foreign or newer file stops the start with the way out, and a disk
that fails ends the process with its cause.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from sandbox.ports import reserved
from sandbox.spawn import Process, spawn

START_TIMEOUT_S = 60.0
FILE_BYTES_MAX = 192 * 1024
STORE = "raft.sqlite"


class Program:
    """One node that is alone, as a person would start it."""

    def __init__(self, directory: Path, http_port: int, raft_port: int) -> None:
        self.store = directory / "data" / STORE
        self.log = directory / "node.log"
        self.url = f"http://127.0.0.1:{http_port}"
        self._directory = directory
        self._file = directory / "orchestrator.conf.json"
        settings = {
            "ListenAddress": f"127.0.0.1:{http_port}", "RaftEnabled": True, "RaftDataDir": str(self.store.parent),
            "RaftBind": "127.0.0.1", "DefaultRaftPort": raft_port, "RaftNodes": ["127.0.0.1"],
            "MySQLTopologyUser": "nobody", "MySQLTopologyPassword": "nothing",
        }  # fmt: skip
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
        try:
            with urllib.request.urlopen(f"{self.url}/api/{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline_s, f"{what}: not within {START_TIMEOUT_S:g} s:\n{self.log.read_text()}"
            time.sleep(0.05)

    def end(self) -> int:
        """Exit code of a process that was asked to end."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(START_TIMEOUT_S)

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


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with reserved() as ports:
        made = Program(tmp_path, ports[0], ports[1])
        yield made
        made.close()


@pytest.fixture
def stopped(program: Program) -> Program:
    """A node that has worked and was stopped in order."""
    program.start()
    program.lead()
    for _ in range(3):
        assert program.get("disable-global-recoveries") == 200
    assert program.end() == 0
    return program


def edit(statement: str) -> Callable[[Path], None]:
    def change(store: Path) -> None:
        connection = sqlite3.connect(store)
        connection.execute(statement)
        connection.commit()
        connection.close()

    return change


def scribble(store: Path) -> None:
    data = bytearray(store.read_bytes())
    data[4096 : 4096 + 600] = bytes(600)
    store.write_bytes(data)


def replace_by_foreign(store: Path) -> None:
    store.unlink()
    edit("CREATE TABLE theirs (x)")(store)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda store: store.write_bytes(b""), "is damaged and this node must not start from it: it is empty"),
    "text": (lambda store: store.write_bytes(b"hello\n" * 999), "it is no SQLite file"),
    "cut off": (lambda store: store.write_bytes(store.read_bytes()[: store.stat().st_size // 2]), "is damaged"),
    "scribbled on": (scribble, "is damaged"),
    "an entry changed": (edit("UPDATE journal SET data = x'80' || data WHERE idx = 2"), "checksum of entry 2"),
    "an entry missing": (edit("DELETE FROM journal WHERE idx = 2"), "is damaged"),
    "the vote changed": (edit("UPDATE vote SET term = term + 1"), "checksum of its term and vote"),
    "another program's": (replace_by_foreign, "a database of another program: give this node another RaftDataDir"),
    "of a newer version": (edit("PRAGMA user_version=99"), "is in format 99, this version reads up to"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_store_that_cannot_be_trusted_is_refused_named_and_left_alone(stopped: Program, name: str) -> None:
    damage, said = DAMAGES[name]
    damage(stopped.store)
    before = stopped.store.read_bytes()
    refusal = stopped.refusal()
    assert refusal.startswith(f"error: {stopped.store} ") and said in refusal
    if "damaged" in said:
        assert "empty its RaftDataDir" in refusal
    assert before == stopped.store.read_bytes()


def test_a_directory_that_cannot_be_written_is_refused(program: Program) -> None:
    program.store.parent.write_text("a file where the directory should be")
    assert f"RaftDataDir {program.store.parent} cannot be used" in program.refusal()


def limited(file_bytes_max: int) -> Sequence[str]:
    return ("prlimit", f"--fsize={file_bytes_max}", "--")


def test_a_disk_that_takes_no_more_ends_the_process_with_its_cause(program: Program) -> None:
    process = program.start(*limited(FILE_BYTES_MAX))
    program.lead()

    def write() -> bool:
        program.get("disable-global-recoveries")
        return process.poll() is not None

    program.until(write, "the process ends by itself")
    assert process.returncode == 1
    log = program.log.read_text()
    assert f"cannot write {program.store}" in log
    assert '"event": "stopped"' in log
    program.start()
    program.lead()
    assert program.end() == 0


def test_where_even_the_first_file_does_not_fit_the_start_is_refused(program: Program) -> None:
    assert program.start(*limited(4096)).wait(START_TIMEOUT_S) == 1
    (line,) = [line for line in program.log.read_text().splitlines() if line.startswith("error:")]
    assert str(program.store.parent) in line and "space" in line


def test_what_a_first_start_left_behind_does_not_hinder_the_second(program: Program) -> None:
    assert program.start(*limited(4096)).wait(START_TIMEOUT_S) == 1
    program.start()
    program.lead()
    assert program.end() == 0


def test_prlimit_is_there() -> None:
    """The tests above are of no use without it."""
    assert subprocess.run(["prlimit", "--version"], capture_output=True, timeout=10).returncode == 0
