"""The port ``Salvager``: saves single transactions from a server's binary logs by the server's own client program.

Rules
- Nothing here raises for what a server, a program or a disk does: the answer says in one line what is missing.
- The password stands in a file that only we can read, never on a command line or in the environment.
- A file has its name only when it is whole: what was cut off by a limit might be applied in part.
- A file is never replaced by one that holds less: what is about other transactions gets a name of its own, and where
  the logs hold less than a file by now, the file stays.
- One save of a server at a time, each with temporary files of its own; what a killed process left is deleted then.
- At the deadline, at the size limit or when we are cancelled, the program is killed and its file is deleted.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

from orchestrator_raft.core.gtid import GtidSet, parse
from orchestrator_raft.core.instance import Flavor, InstanceKey
from orchestrator_raft.core.recovery.salvage import Salvage
from orchestrator_raft.core.topology import SavedTransactions
from orchestrator_raft.flavors import binlogs
from orchestrator_raft.mysql.connection import Connection
from orchestrator_raft.mysql.connector import Connector
from orchestrator_raft.mysql.failures import Unreached
from orchestrator_raft.mysql.settings import MysqlSettings, TlsMode

READ_BYTES = 64 * 1024
ERRORS_MAX = 4096
GTIDS_SHOWN_MAX = 1000
BATCH = 1000
FILES_MAX = 100
"""Of one server in one folder."""
KILL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SalvageSettings:
    """Where the files go, with which programs, and how large one may be."""

    directory: Path
    programs: Mapping[Flavor, str]
    size_max_bytes: int = 1024 * 1024 * 1024


class _Failed(Exception):
    """Nothing was saved; the text says why."""


class BinlogSalvager:
    """Runs one program at a time for each server; the only one that writes into its directory."""

    def __init__(self, connector: Connector, settings: SalvageSettings) -> None:
        self._connector = connector
        self._settings = settings
        self._turns: WeakValueDictionary[InstanceKey, asyncio.Lock] = WeakValueDictionary()

    def __repr__(self) -> str:
        return f"<BinlogSalvager into {self._settings.directory}>"

    async def save(self, wanted: Salvage, *, timeout_s: float) -> SavedTransactions:
        """Save what is wanted within ``timeout_s`` seconds, or say why not."""
        folder = self._settings.directory / wanted.folder
        turn = self._turns.setdefault(wanted.key, asyncio.Lock())
        try:
            async with asyncio.timeout(timeout_s), turn:
                first_log = await self._first_log(wanted, timeout_s)
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                return await self._save(wanted, first_log, folder)
        except _Failed as failure:
            return SavedTransactions(problem=str(failure))
        except Unreached as failure:
            return SavedTransactions(problem=f"{wanted.key}: {failure.detail}")
        except TimeoutError:
            return SavedTransactions(problem=f"{wanted.key}: its binary logs were not read within {timeout_s:g} s")
        except OSError as error:
            return SavedTransactions(problem=f"{error.filename or folder}: {error.strerror or error}")

    async def _save(self, wanted: Salvage, first_log: str, folder: Path) -> SavedTransactions:
        name = binlogs.file_name(wanted.key)
        _tidy(folder, name)
        target = await asyncio.to_thread(_target, folder, name, wanted)
        partial = folder / f"{name}.{uuid.uuid4().hex}.partial"
        try:
            return await self._write(wanted, first_log, partial, target)
        except _Failed as failure:
            if target.held.is_empty:
                raise
            raise _Failed(f"{failure}; {target.path}, which was saved before, is kept") from failure
        finally:
            partial.unlink(missing_ok=True)

    async def _first_log(self, wanted: Salvage, timeout_s: float) -> str:
        """The log to begin with. The deadline is the caller's."""
        connection = await self._connector.connect(wanted.key, timeout_s=timeout_s)
        try:
            logs = [str(row["Log_name"]) for row in await _rows(connection, binlogs.LIST_LOGS, timeout_s)]
            if not logs:
                raise _Failed(f"{wanted.key} has no binary logs")
            if wanted.flavor is Flavor.MARIADB:
                return logs[0]
            for log in reversed(logs[-binlogs.LOGS_READ_MAX :]):
                if binlogs.begins_before(await _rows(connection, binlogs.previous_gtids(log), timeout_s), wanted.extra):
                    return log
            return logs[0]
        finally:
            connection.quit()

    async def _write(self, wanted: Salvage, first_log: str, partial: Path, target: _Target) -> SavedTransactions:
        options = partial.with_suffix(".cnf")
        try:
            _write_private(options, option_file(self._connector.settings, wanted.flavor))
            with os.fdopen(_private(partial), "wb") as file:
                file.write(binlogs.header(wanted, str(target.path)).encode())
                command = [self._program(wanted.flavor), f"--defaults-file={options}"]
                output = _Output(file, wanted, self._settings.size_max_bytes)
                await _run([*command, *binlogs.arguments(wanted, first_log)], output)
                file.flush()
                os.fsync(file.fileno())
        finally:
            options.unlink(missing_ok=True)
        return _saved(wanted, output.seen.gtids, partial, target)

    def _program(self, flavor: Flavor) -> str:
        name = self._settings.programs[flavor]
        found = shutil.which(name)
        if found is None:
            raise _Failed(f"{binlogs.READERS[flavor].title} is not installed here as '{name}'")
        return found


async def _rows(connection: Connection, sql: str, timeout_s: float) -> list[dict[str, object]]:
    reply = await connection.query(sql, timeout_s=timeout_s)
    if reply.error is not None:
        raise _Failed(f"{connection.key}: {sql}: error {reply.error.number}: {reply.error.message}")
    return [dict(row) for row in reply.results[0]]


class _Seen:
    """Searches lines of what a program wrote for GTIDs."""

    def __init__(self, wanted: Salvage) -> None:
        self._pattern = binlogs.READERS[wanted.flavor].seen
        self._family = wanted.extra.family
        self._names: list[str] = []
        self._gathered: GtidSet = parse(self._family, "")

    def look_at(self, line: bytes) -> None:
        match = self._pattern.match(line)
        if match is not None:
            self._names.append(match[1].decode())
            if len(self._names) >= BATCH:
                self._gather()

    @property
    def gtids(self) -> GtidSet:
        self._gather()
        return self._gathered

    def _gather(self) -> None:
        if self._names:
            self._gathered = self._gathered.union(parse(self._family, ",".join(self._names)))
        self._names = []


@dataclass(frozen=True, slots=True)
class _Target:
    """The file to be written, and what one of that name holds already."""

    path: Path
    held: GtidSet


def _target(folder: Path, name: str, wanted: Salvage) -> _Target:
    """The first name that is free, or whose file is about nothing else than what is wanted now."""
    for number in range(1, FILES_MAX + 1):
        path = folder / (f"{name}.sql" if number == 1 else f"{name}.{number}.sql")
        held = _held(path, wanted)
        if wanted.extra.covers(held):
            return _Target(path, held)
    raise _Failed(f"{folder} has {FILES_MAX} files of this server already: move them away")


def _held(path: Path, wanted: Salvage) -> GtidSet:
    seen = _Seen(wanted)
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                seen.look_at(line)
    return seen.gtids


def _tidy(folder: Path, name: str) -> None:
    """Delete what a process that was killed left of a save of this server."""
    ours = re.compile(rf"{re.escape(name)}\.[0-9a-f]{{32}}\.(partial|cnf)")
    for path in folder.iterdir():
        if ours.fullmatch(path.name):
            path.unlink(missing_ok=True)


class _Output:
    """What the program writes: on its way to the file, counted, and searched for GTIDs."""

    def __init__(self, file: BinaryIO, wanted: Salvage, size_max_bytes: int) -> None:
        self._file = file
        self._left = size_max_bytes
        self._size_max_bytes = size_max_bytes
        self._rest = b""
        self.seen = _Seen(wanted)

    def take(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise _Failed(f"it is more than {self._size_max_bytes} bytes (LostTransactionsMaxMegabytes)")
        self._file.write(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.seen.look_at(line)


async def _run(command: list[str], output: _Output) -> None:
    """Run it to its end. Raises _Failed with its last words."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        if process.stdout is None or process.stderr is None:
            raise AssertionError("both outputs are pipes")
        errors, _ = await asyncio.gather(_last_words(process.stderr), _drain(process.stdout, output))
        code = await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            with suppress(TimeoutError):
                async with asyncio.timeout(KILL_S):
                    await process.wait()
    if code != 0:
        raise _Failed(f"{Path(command[0]).name} ended with {code}: {errors}")


async def _drain(stream: asyncio.StreamReader, output: _Output) -> None:
    while data := await stream.read(READ_BYTES):
        output.take(data)


async def _last_words(stream: asyncio.StreamReader) -> str:
    kept = b""
    while data := await stream.read(READ_BYTES):
        kept = (kept + data)[-ERRORS_MAX:]
    return " ".join(kept.decode(errors="replace").split())[-400:] or "it said nothing"


def _saved(wanted: Salvage, seen: GtidSet, partial: Path, target: _Target) -> SavedTransactions:
    """What is in the file from now on: the new one, unless the one that is there holds all of it and more."""
    if seen.covers(target.held):
        kept = seen
    elif target.held.covers(wanted.extra.intersection(seen)):
        kept = target.held
    else:
        raise _Failed(
            f"the binary logs of {wanted.key} do not hold {target.held.minus(seen).describe(300)} any more, which "
            f"{target.path} holds: move that file away, then save the others"
        )
    found = wanted.extra.intersection(kept)
    if found.is_empty:
        raise _Failed(f"the binary logs of {wanted.key} do not hold them any more")
    final = target.path
    if kept is seen:
        partial.replace(final)
    lacking = binlogs.missing(wanted.extra, kept)
    gone = f"its binary logs do not hold {lacking.describe(300)} any more" if lacking else ""
    shown = found.describe(GTIDS_SHOWN_MAX)
    return SavedTransactions(path=str(final), size_bytes=final.stat().st_size, gtids=shown, problem=gone)


def option_file(settings: MysqlSettings, flavor: Flavor) -> str:
    """What the program needs to log in, as an option file with a section for clients."""
    lines = ["[client]", f"user={_quoted(settings.user)}", f"password={_quoted(settings.password)}"]
    if settings.tls is not TlsMode.NONE:
        files = {"ssl-ca": settings.ca_file, "ssl-cert": settings.cert_file, "ssl-key": settings.key_file}
        lines += [f"{name}={_quoted(path)}" for name, path in files.items() if path]
    return "\n".join([*lines, *_tls_lines(settings, flavor), ""])


def _tls_lines(settings: MysqlSettings, flavor: Flavor) -> tuple[str, ...]:
    verify = settings.tls is TlsMode.REQUIRED and not settings.skip_verify
    if flavor is Flavor.MYSQL:
        mode = {TlsMode.NONE: "DISABLED", TlsMode.MIXED: "PREFERRED"}.get(settings.tls, "REQUIRED")
        return (f"ssl-mode={'VERIFY_IDENTITY' if verify else mode}",)
    if settings.tls is TlsMode.NONE:
        return ("skip-ssl",)
    return ("ssl", "ssl-verify-server-cert" if verify else "skip-ssl-verify-server-cert")


def _quoted(value: str) -> str:
    """A value of an option file, whatever signs are in it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _private(path: Path) -> int:
    """A new file that nobody else may read."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(_private(path), "w") as file:
        file.write(text)
