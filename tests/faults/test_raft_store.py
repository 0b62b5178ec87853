"""The installed program and its store: a damaged, foreign or newer file stops the start with the way out, and a disk
that fails ends the process with its cause.
"""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from sandbox.ports import reserved
from tests.faults.program import START_TIMEOUT_S, Program

FILE_BYTES_MAX = 192 * 1024


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with reserved() as ports:
        made = Program(tmp_path, "127.0.0.1", ["127.0.0.1"], ports)
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
