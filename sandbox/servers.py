"""One real database server on loopback, as a child process of ours.

Rules
- A server has one directory: ``my.cnf`` (its whole configuration), ``data/`` (copied from the template), ``error.log``,
  ``server.pid``. Everything about it can be read there.
- Started, it is a child in its own session that dies with us (``spawn``); a left-over of a crashed run is recognised by
  its command line before it is ended.
- Every wait has a deadline, every failure message ends with the tail of the error log.
- ``execute`` is for tests and tools: as root, a connection per call.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors

from sandbox import dialects, spawn
from sandbox.binaries import Flavor, ServerBinary, Version
from sandbox.errors import SandboxError
from sandbox.ports import is_free

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
STATEMENT_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
LOG_TAIL_LINES = 12
PAUSE_S = 0.01
ACCESS_DENIED = 1045

Row = dict[str, Any]


class Server:
    """A server that can be started, killed, frozen and asked.

    ``options`` are those of ``dialects.server_options``; ``template`` is a data directory to copy at the first start.
    """

    def __init__(
        self, binary: ServerBinary, port: int, directory: Path, options: Mapping[str, object], template: Path
    ) -> None:
        self.binary = binary
        self.host = dialects.HOST
        self.port = port
        self.directory = directory.absolute()
        self.options = dict(options)
        self._template = template
        self._process: spawn.Process | None = None

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.is_running() else "not running"
        return f"{self.binary.flavor.title} {self} ({state})"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def key(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    @property
    def flavor(self) -> Flavor:
        return self.binary.flavor

    @property
    def version(self) -> Version:
        return self.binary.version

    @property
    def pid(self) -> int | None:
        """Of the running process, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def error_log(self) -> Path:
        return self.directory / "error.log"

    @property
    def configuration(self) -> Path:
        return self.directory / "my.cnf"

    # -- life ---------------------------------------------------------------------------------------------------------

    def prepare(self, *, afresh: bool = False) -> None:
        """End a left-over of an earlier run, write the configuration, copy the template if there is no data yet.

        ``afresh`` deletes the data of an earlier run.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._end_leftovers()
        if afresh:
            shutil.rmtree(self.data, ignore_errors=True)
            self.error_log.unlink(missing_ok=True)
        places = {"datadir": self.data, "log-error": self.error_log}
        text = dialects.configuration(
            {**self.options, **places, **self._binary_options()}, dialects.PLUGINS[self.flavor]
        )
        self.configuration.write_text(text)
        if not self.data.exists():
            copy_data(self._template, self.data)

    def launch(self) -> None:
        """Start the process without waiting for it."""
        if self.is_running():
            return
        self.prepare()
        if not is_free(self.port):
            raise SandboxError(f"{self} is in use by another process: end that one or choose another port")
        for lock in self.data.glob("mysqld.sock*"):
            lock.unlink()
        command = [str(self.binary.path), self._marker]
        environ = {"TCMALLOC_AGGRESSIVE_DECOMMIT": "t"}
        self._process = spawn.spawn(command, log=self.error_log, environ=environ, folder=self.directory)
        (self.directory / "server.pid").write_text(f"{self._process.pid}\n")

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until root can log in. Raises SandboxError if it ends instead, or at the deadline."""
        deadline_s = time.monotonic() + timeout_s
        while not self._answers():
            if not self.is_running():
                raise self._failure("ended while starting")
            if time.monotonic() > deadline_s:
                raise self._failure(f"was not ready after {timeout_s:.0f} s")
            time.sleep(PAUSE_S)

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start and wait until it answers. Raises SandboxError."""
        self.launch()
        self.wait_ready(timeout_s)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """A clean shutdown; False if it had to be killed at the deadline (a commit may be waiting for an ack)."""
        if self._process is None or self._process.poll() is not None:
            return True
        self._process.send_signal(signal.SIGTERM)
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, as a crash; frozen or not. Returns when the process is gone. The data stays."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, TCP connects still succeed, nothing answers."""
        self._signal(signal.SIGSTOP)
        self._wait(lambda: self._process_state() == "T", "did not freeze")

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self._wait(lambda: self._process_state() != "T", "did not thaw")

    def is_running(self) -> bool:
        """There is a process, frozen or not."""
        return self.pid is not None

    def discard(self) -> None:
        """Kill it, also if somebody else has started it again, and delete its data; the error log stays."""
        self.kill()
        self._end_leftovers()
        shutil.rmtree(self.data, ignore_errors=True)

    # -- questions ----------------------------------------------------------------------------------------------------

    def connect(
        self, user: str = dialects.ROOT, *, database: str | None = None, timeout_s: float = STATEMENT_TIMEOUT_S
    ) -> pymysql.connections.Connection:
        """A pymysql connection, autocommit, rows as dicts. Raises SandboxError with the error log's tail."""
        try:
            return self._connect(user, database, timeout_s)
        except pymysql.err.MySQLError as error:
            raise self._failure(f"refused a connection of {user} ({error})") from error

    def execute(
        self,
        statement: str,
        parameters: object = None,
        *,
        user: str = dialects.ROOT,
        timeout_s: float = STATEMENT_TIMEOUT_S,
    ) -> list[Row]:
        """The rows of one statement. Raises SandboxError without a connection, pymysql's errors for the statement."""
        connection = self.connect(user, timeout_s=timeout_s)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return list(cursor.fetchall())
        except pymysql.err.MySQLError as error:
            error.add_note(f"{self}: {statement}")
            raise
        finally:
            connection.close()

    def value(self, expression: str, **options: Any) -> Any:
        """One value: ``server.value("@@read_only")``."""
        rows = self.execute(f"SELECT {expression} AS value", **options)
        return rows[0]["value"]

    def status(self, pattern: str) -> dict[str, str]:
        """Rows of SHOW GLOBAL STATUS LIKE."""
        return {row["Variable_name"]: row["Value"] for row in self.execute(f"SHOW GLOBAL STATUS LIKE '{pattern}'")}

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The end of the error log."""
        text = self.error_log.read_text(errors="replace") if self.error_log.exists() else "(no error log)"
        return "\n".join(text.splitlines()[-lines:])

    # -- inside -------------------------------------------------------------------------------------------------------

    @property
    def _marker(self) -> str:
        return f"--defaults-file={self.configuration}"

    def _end_leftovers(self) -> None:
        """By our own pid file, and by the server's for one that somebody started by hand."""
        for pid_file in (self.directory / "server.pid", self.data / "mysqld.pid"):
            spawn.end_stale(pid_file, self._marker)

    def _binary_options(self) -> dict[str, object]:
        options = dialects.place_options(self.flavor, self.binary.prefix)
        return options | ({"user": "root"} if os.geteuid() == 0 else {})

    def _connect(self, user: str, database: str | None, timeout_s: float) -> pymysql.connections.Connection:
        return pymysql.connect(
            host=self.host, port=self.port, user=user, password=user, database=database, autocommit=True,
            connect_timeout=min(timeout_s, CONNECT_TIMEOUT_S), read_timeout=timeout_s, write_timeout=timeout_s,
            ssl_disabled=True, cursorclass=pymysql.cursors.DictCursor,
        )  # fmt: skip

    def _answers(self) -> bool:
        try:
            self._connect(dialects.ROOT, None, CONNECT_TIMEOUT_S).close()
        except pymysql.err.MySQLError as error:
            if error.args[0] == ACCESS_DENIED:
                raise self._failure("does not know root: the data is not of this sandbox") from error
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            raise self._failure(f"is not running, so it gets no {number.name}")
        self._process.send_signal(number)

    def _process_state(self) -> str:
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0]

    def _wait(self, condition: Callable[[], bool], complaint: str, timeout_s: float = STOP_TIMEOUT_S) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                raise self._failure(complaint)
            time.sleep(0.001)

    def _failure(self, what: str) -> SandboxError:
        return SandboxError(
            f"{self.flavor.title} {self} {what}; its error log {self.error_log} ends with\n{self.log_tail()}"
        )


def copy_data(template: Path, target: Path) -> None:
    """Copy a data directory, without the identity in it; whole or not at all."""
    work = target.with_name(target.name + ".new")
    shutil.rmtree(work, ignore_errors=True)
    command = ["cp", "-r", "--sparse=always", "--reflink=auto", str(template), str(work)]
    copied = subprocess.run(command, check=False, capture_output=True, text=True, timeout=START_TIMEOUT_S)
    if copied.returncode != 0:
        raise SandboxError(f"{template} cannot be copied to {target}: {copied.stderr.strip()}")
    (work / "auto.cnf").unlink(missing_ok=True)
    work.rename(target)
