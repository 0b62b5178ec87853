"""A small ProxySQL admin port for tests: MySQL's protocol in front of a real SQLite, as in ProxySQL. It is no real one.

What it keeps to: greeting and login by mysql_native_password, one statement a query in SQLite's words, the columns of
``mysql_servers`` with their primary key, and LOAD ... TO RUNTIME and SAVE ... TO DISK, which replace the whole table.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import struct
from dataclasses import dataclass, field

PROTOCOL_41, SECURE, PLUGIN_AUTH = 1 << 9, 1 << 15, 1 << 19
SALT = b"12345678901234567890"
COLUMNS = """
    hostgroup_id INT NOT NULL DEFAULT 0, hostname VARCHAR NOT NULL, port INT NOT NULL DEFAULT 3306,
    gtid_port INT NOT NULL DEFAULT 0,
    status VARCHAR NOT NULL DEFAULT 'ONLINE'
        CHECK (UPPER(status) IN ('ONLINE','SHUNNED','OFFLINE_SOFT','OFFLINE_HARD')),
    weight INT NOT NULL DEFAULT 1, compression INT NOT NULL DEFAULT 0, max_connections INT NOT NULL DEFAULT 1000,
    max_replication_lag INT NOT NULL DEFAULT 0, use_ssl INT NOT NULL DEFAULT 0, max_latency_ms INT NOT NULL DEFAULT 0,
    comment VARCHAR NOT NULL DEFAULT '', PRIMARY KEY (hostgroup_id, hostname, port)
"""
COPIES = {
    "LOAD MYSQL SERVERS TO RUNTIME": ("mysql_servers", "runtime_mysql_servers"),
    "SAVE MYSQL SERVERS TO DISK": ("mysql_servers", "disk_mysql_servers"),
}


@dataclass
class ProxySql:
    """The tables, who may log in, and what was asked."""

    user: str = "radmin"
    password: str = "a password"
    said: list[str] = field(default_factory=list)
    die_at: str = ""
    """A statement that begins so is not answered: the connection is cut before it is carried out."""

    def __post_init__(self) -> None:
        self.tables = sqlite3.connect(":memory:", isolation_level=None)
        for name in ("mysql_servers", "runtime_mysql_servers", "disk_mysql_servers"):
            self.tables.execute(f"CREATE TABLE {name} ({COLUMNS})")

    def rows(self, table: str = "runtime_mysql_servers", group: int = 10) -> list[tuple[object, ...]]:
        asked = f"SELECT hostname, port, status, weight, comment FROM {table} WHERE hostgroup_id = ? ORDER BY 1, 2"
        return list(self.tables.execute(asked, (group,)))

    def execute(self, sql: str) -> tuple[list[str], list[tuple[object, ...]]]:
        """Names of columns and rows; no names for what is no query."""
        self.said.append(sql)
        copied = COPIES.get(sql.upper())
        if copied is not None:
            self.tables.execute(f"DELETE FROM {copied[1]}")
            self.tables.execute(f"INSERT INTO {copied[1]} SELECT * FROM {copied[0]}")
            return [], []
        cursor = self.tables.execute(sql)
        return [each[0] for each in cursor.description or ()], cursor.fetchall()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        try:
            writer.write(_packet(_greeting(), 0))
            login = (await _read(reader))[1]
            if not self._admits(login):
                denied = _error(1045, f"ProxySQL Error: Access denied for user '{self.user}'@'127.0.0.1'")
                writer.write(_packet(denied, 2))
                return
            writer.write(_packet(_ok(), 2))
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        body = (await _read(reader))[1]
        if body[0] != 3:
            return False
        sql = body[1:].decode()
        if self.die_at and sql.startswith(self.die_at):
            return False
        try:
            names, rows = self.execute(sql)
        except sqlite3.Error as error:
            writer.write(_packet(_error(1045, f"ProxySQL Admin Error: {error}"), 1))
            return True
        bodies = [_ok()] if not names else [
            bytes([len(names)]), *(_column(name) for name in names), _end(), *(_row(row) for row in rows), _end(),
        ]  # fmt: skip
        writer.write(b"".join(_packet(each, position) for position, each in enumerate(bodies, start=1)))
        return True

    def _admits(self, login: bytes) -> bool:
        """user\\0 length token, behind 32 bytes of flags."""
        user, _, rest = login[32:].partition(b"\0")
        token = rest[1 : 1 + rest[0]]
        inner = hashlib.sha1(self.password.encode()).digest()
        mask = hashlib.sha1(SALT + hashlib.sha1(inner).digest()).digest()
        return (user.decode(), token) == (self.user, bytes(a ^ b for a, b in zip(inner, mask, strict=True)))


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readexactly(4)
    return head[3], await reader.readexactly(int.from_bytes(head[:3], "little"))


def _packet(body: bytes, sequence: int) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([sequence % 256]) + body


def _greeting() -> bytes:
    capabilities = PROTOCOL_41 | SECURE | PLUGIN_AUTH
    head = b"\x0a8.0.11\0" + struct.pack("<I", 7) + SALT[:8] + b"\0"
    flags = struct.pack("<HBHHB", capabilities & 0xFFFF, 33, 2, capabilities >> 16, 21)
    return head + flags + b"\0" * 10 + SALT[8:] + b"\0" + b"mysql_native_password\0"


def _ok() -> bytes:
    return b"\0\0\0\x02\0\0\0"


def _end() -> bytes:
    return b"\xfe\0\0\x02\0"


def _error(number: int, text: str) -> bytes:
    return b"\xff" + struct.pack("<H", number) + b"#28000" + text.encode()


def _text(value: bytes) -> bytes:
    return (bytes([len(value)]) if len(value) < 251 else b"\xfc" + struct.pack("<H", len(value))) + value


def _column(name: str) -> bytes:
    parts = b"".join(_text(each) for each in (b"def", b"", b"", b"", name.encode(), b""))
    return parts + b"\x0c" + struct.pack("<HIBHB", 33, 255, 0xFD, 0, 0) + b"\0\0"


def _row(values: tuple[object, ...]) -> bytes:
    return b"".join(b"\xfb" if value is None else _text(str(value).encode()) for value in values)
