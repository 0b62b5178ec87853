"""An application that writes all the time, and notes what it was promised: ``python -m sandbox.writer``.

It runs in a process of its own, so that nothing that happens to a manager or a test slows it down. Every N milliseconds
it inserts the next id into ``app.ledger`` on the server that is writable, over one connection at a time, never on two.
After any failure it looks for the writable server again: all are asked at once, a few milliseconds apart, each over a
connection that is kept, so a frozen one holds nobody up. No statement waits longer than its deadline. Ids are never
used twice, not even by the next writer on the same log. The log's lines: ``ledger``.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import pymysql

from sandbox import dialects, ledger, spawn
from sandbox.ledger import Attempt, Outcome

INTERVAL_MS = 5.0
TIMEOUT_MS = 1000.0
SEARCH_PAUSE_S = 0.003
END_TIMEOUT_S = 60.0

READ_ONLY_ERRORS = frozenset({1290, 1836})
"""The server says that it is read-only, before it does anything. Any other error may come after the commit."""


class Candidate:
    """One server: a connection that is kept, and at most one question under way."""

    def __init__(self, port: int, timeout_s: float) -> None:
        self.port = port
        self._timeout_s = timeout_s
        self._connection: pymysql.connections.Connection | None = None
        self._asked: Future[bool] | None = None

    def is_writable(self, pool: ThreadPoolExecutor) -> bool:
        """The answer, if there is one by now; else asks, and it is False for the moment."""
        if self._asked is None:
            self._asked = pool.submit(self._ask)
        if not self._asked.done():
            return False
        answer, self._asked = self._asked.result(), None
        return answer

    def insert(self, number: int) -> Attempt:
        """One row, and what became of it. Only after ``is_writable`` was True."""
        start_ns = time.monotonic_ns()
        outcome, error = Outcome.ACKNOWLEDGED, ""
        try:
            self._query(f"INSERT INTO app.ledger (id, server) VALUES ({number}, @@port)")
        except (pymysql.err.MySQLError, OSError) as failure:
            refused = bool(failure.args) and failure.args[0] in READ_ONLY_ERRORS
            outcome, error = Outcome.REFUSED if refused else Outcome.UNKNOWN, str(failure)
            if not refused:
                self._drop()
        return Attempt(number, self.port, start_ns, time.monotonic_ns(), outcome, error)

    def _ask(self) -> bool:
        try:
            rows = self._query("SELECT @@global.read_only")
        except (pymysql.err.MySQLError, OSError):
            self._drop()
            return False
        return rows == [(0,)]

    def _query(self, statement: str) -> list[tuple[object, ...]]:
        if self._connection is None:
            self._connection = pymysql.connect(
                host=dialects.HOST, port=self.port, user=dialects.APPLICATION, password=dialects.APPLICATION,
                autocommit=True, ssl_disabled=True, connect_timeout=max(1, round(self._timeout_s)),
                read_timeout=self._timeout_s, write_timeout=self._timeout_s,
            )  # fmt: skip
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def _drop(self) -> None:
        """Without a farewell: the server may be frozen."""
        if self._connection is not None:
            self._connection._force_close()
            self._connection = None


class Writer:
    """The loop: search, write until something fails, search again."""

    def __init__(self, ports: Sequence[int], interval_s: float, timeout_s: float, log: TextIO, first_id: int) -> None:
        self.stopping = threading.Event()
        self._candidates = [Candidate(port, timeout_s) for port in ports]
        self._interval_s = interval_s
        self._log = log
        self._next_id = first_id

    def run(self) -> None:
        """Write until ``stopping`` is set."""
        pool = ThreadPoolExecutor(max_workers=len(self._candidates), thread_name_prefix="probe")
        try:
            while not self.stopping.is_set():
                candidate = self._search(pool)
                if candidate is not None:
                    self._write_to(candidate)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _search(self, pool: ThreadPoolExecutor) -> Candidate | None:
        while not self.stopping.is_set():
            for candidate in self._candidates:
                if candidate.is_writable(pool):
                    return candidate
            self.stopping.wait(SEARCH_PAUSE_S)
        return None

    def _write_to(self, candidate: Candidate) -> None:
        due_s = time.monotonic()
        while not self.stopping.is_set():
            attempt = candidate.insert(self._next_id)
            self._next_id += 1
            self._log.write(ledger.to_line(attempt))
            if attempt.outcome is not Outcome.ACKNOWLEDGED:
                return
            due_s = max(due_s + self._interval_s, time.monotonic())
            self.stopping.wait(due_s - time.monotonic())


def launch(
    ports: Sequence[int], log: Path, *, interval_ms: float = INTERVAL_MS, timeout_ms: float = TIMEOUT_MS
) -> spawn.Process:
    """Start a writer process; it ends with ``end``, or with us."""
    command = [
        sys.executable, "-m", "sandbox.writer", "--ports", ",".join(map(str, ports)), "--log", str(log.absolute()),
        "--interval-ms", str(interval_ms), "--timeout-ms", str(timeout_ms),
    ]  # fmt: skip
    project = Path(__file__).resolve().parent.parent
    return spawn.spawn(command, log=log.with_suffix(".err"), environ={}, folder=project)


def end(process: spawn.Process) -> int:
    """Ask a writer to end and wait for it; its exit code. One that does not is killed, and TimeoutExpired says so."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(END_TIMEOUT_S)
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.writer", description="Write to whichever server is writable."
    )
    parser.add_argument("--ports", required=True, help="comma-separated ports of the servers on loopback")
    parser.add_argument("--log", required=True, type=Path, help="file to which every outcome is appended")
    parser.add_argument("--interval-ms", type=float, default=INTERVAL_MS)
    parser.add_argument("--timeout-ms", type=float, default=TIMEOUT_MS, help="longest wait for one statement")
    options = parser.parse_args(arguments)
    ports = [int(port) for port in options.ports.split(",")]
    first_id = max((attempt.id for attempt in ledger.read(options.log)), default=0) + 1
    with options.log.open("a", buffering=1) as log:
        writer = Writer(ports, options.interval_ms / 1000, options.timeout_ms / 1000, log, first_id)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: writer.stopping.set())
        writer.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
