"""``ports.Target`` for one ProxySQL: the primary of an alias is the only server of a hostgroup, by its admin port.

Theory. The admin port speaks MySQL's protocol to an SQLite inside: ``mysql_servers`` is what is being written,
``runtime_mysql_servers`` what is in force, and LOAD takes the one to the other in one step, so clients never see half
of a change. ProxySQL knows no check-and-set: the generation stands in the comment of the server's row, a greater one
there is left alone, and live authority is asked for right before every statement that changes something. The row of
the old primary becomes that of the new one, so that weight, limits and TLS stay as people set them.

Rules
- Only rows of the writer hostgroups that are named in the configuration are touched.
- A row's status is set to ONLINE only when its generation changes: somebody may have taken a server out on purpose.
- What was written but not loaded by somebody who died is loaded at the next comparison.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from orchestrator_raft.core.errors import Refused, ServerError, Unavailable
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated.publications import Published
from orchestrator_raft.mysql.connection import Connection
from orchestrator_raft.mysql.connector import Connector
from orchestrator_raft.mysql.failures import Unreached

FORCE = "raftctl publish --force --cluster"
_TAG = re.compile(r"\s*\[orchestrator_raft (\d+)\]")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A server of the hostgroup as it is being written."""

    hostname: str
    port: int
    comment: str

    @property
    def generation(self) -> int:
        found = _TAG.search(self.comment)
        return int(found[1]) if found is not None else 0

    def is_at(self, key: InstanceKey) -> bool:
        return (self.hostname, self.port) == (key.hostname, key.port)


class ProxySqlTarget:
    """One ProxySQL. ``hostgroups`` are writer hostgroups by alias."""

    def __init__(self, connector: Connector, key: InstanceKey, hostgroups: Mapping[str, int]) -> None:
        self._connector = connector
        self._key = key
        self._hostgroups = dict(hostgroups)

    def __repr__(self) -> str:
        return f"<ProxySqlTarget {self._key}>"

    @property
    def name(self) -> str:
        return f"proxysql {self._key}"

    def takes(self, alias: str) -> bool:
        return alias in self._hostgroups

    async def close(self) -> None:
        """There is nothing to close: each publication has a connection of its own."""

    async def publish(
        self, published: Published, *, forced: bool, before_write: Callable[[], None], timeout_s: float
    ) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._connector.connect(self._key, timeout_s=timeout_s)
                try:
                    return await self._publish(
                        _Admin(self.name, connection, timeout_s), published, forced, before_write
                    )
                finally:
                    connection.quit()
        except Unreached as failure:
            raise Unavailable(f"{self.name}: {failure.detail} (see ProxySQLAddresses, ProxySQLAdminUser)") from failure
        except TimeoutError as error:
            raise Unavailable(f"{self.name} did not answer within {timeout_s:g} s") from error

    async def _publish(
        self, admin: _Admin, published: Published, forced: bool, before_write: Callable[[], None]
    ) -> bool:
        record, group = published.record, self._hostgroups[published.record.alias]
        entries = [
            _Entry(row["hostname"], int(row["port"]), row["comment"])
            for row in await admin.rows(
                f"SELECT hostname, port, comment FROM mysql_servers WHERE hostgroup_id = {group} ORDER BY 1, 2"
            )
        ]
        self._refuse_older(entries, published, forced)
        in_force = await admin.rows(
            "SELECT hostname, port FROM runtime_mysql_servers "
            f"WHERE hostgroup_id = {group} AND status <> 'OFFLINE_HARD'"
        )
        only = [(record.primary.hostname, record.primary.port)]
        is_written = [each.generation for each in entries if each.is_at(record.primary)] == [record.generation]
        if is_written and len(entries) == 1 and [(row["hostname"], int(row["port"])) for row in in_force] == only:
            return False
        for statement in changes(group, entries, record.primary, record.generation):
            before_write()
            await admin.rows(statement)
        return True

    def _refuse_older(self, entries: Iterable[_Entry], published: Published, forced: bool) -> None:
        record = published.record
        newest = max(entries, key=lambda each: each.generation, default=None)
        if forced or newest is None or newest.generation < record.generation:
            return
        if newest.generation == record.generation and newest.is_at(record.primary):
            return
        raise Refused(
            f"{self.name} has {newest.hostname}:{newest.port} as primary of {record.alias}, generation "
            f"{newest.generation}, and ours is generation {record.generation}: another manager publishes there, or "
            f"this one was set up anew. If ours is right: {FORCE} {record.alias}"
        )


@dataclass(frozen=True, slots=True)
class _Admin:
    """One connection to the admin port; one statement at a time."""

    name: str
    connection: Connection
    timeout_s: float

    async def rows(self, sql: str) -> list[dict[str, str]]:
        """Rows as texts. Raises ServerError with what ProxySQL says."""
        reply = await self.connection.query(sql, timeout_s=self.timeout_s)
        if reply.error is not None:
            raise ServerError(f"{self.name}: error {reply.error.number}: {reply.error.message}, at: {sql}")
        return [{name: str(value) for name, value in row.items()} for rows in reply.results for row in rows]


def changes(group: int, entries: Iterable[_Entry], primary: InstanceKey, generation: int) -> tuple[str, ...]:
    """Statements that make the primary the only server of the hostgroup, and put that in force."""
    known = list(entries)
    there = next((each for each in known if each.is_at(primary)), None)
    donor = there or next(iter(known), None)
    place = f"hostname = {_quoted(primary.hostname)} AND port = {primary.port}"
    comment = _quoted(tagged(donor.comment if donor is not None else "", generation))
    found: list[str] = []
    if donor is None:
        columns = "hostgroup_id, hostname, port, comment"
        values = f"{group}, {_quoted(primary.hostname)}, {primary.port}, {comment}"
        found.append(f"INSERT INTO mysql_servers ({columns}) VALUES ({values})")
    else:
        status = "" if there is not None and there.generation == generation else ", status = 'ONLINE'"
        found.append(
            f"UPDATE mysql_servers SET hostname = {_quoted(primary.hostname)}, port = {primary.port}, "
            f"comment = {comment}{status} WHERE hostgroup_id = {group} AND hostname = {_quoted(donor.hostname)} "
            f"AND port = {donor.port}"
        )
    found.append(f"DELETE FROM mysql_servers WHERE hostgroup_id = {group} AND NOT ({place})")
    return (*found, "LOAD MYSQL SERVERS TO RUNTIME", "SAVE MYSQL SERVERS TO DISK")


def tagged(comment: str, generation: int) -> str:
    """A person's comment with the generation behind it."""
    return f"{_TAG.sub('', comment)} [orchestrator_raft {generation}]".strip()


def _quoted(text: str) -> str:
    """A text of SQLite, which knows no backslashes."""
    return "'" + text.replace("\0", "").replace("'", "''") + "'"
