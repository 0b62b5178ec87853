"""ProxySQL as a target: one writer, options kept, never back. See ``proxysql_speaker`` for what stands in for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from orchestrator_raft.core.errors import AuthorityLost, Refused, ServerError, Unavailable
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated.publications import Published
from orchestrator_raft.core.replicated.state import Publication
from orchestrator_raft.mysql import Connector, MysqlSettings, ProxySqlTarget, TlsMode
from tests.kv.proxysql_speaker import ProxySql

OLD = Publication(alias="shop", cluster_id="1", primary=InstanceKey("db1.example.com", 3306), generation=7, at_ms=1_000)
NEW = replace(OLD, primary=InstanceKey("db2.example.com", 3307), generation=8)
TABLES = ("mysql_servers", "runtime_mysql_servers", "disk_mysql_servers")


@dataclass
class Bench:
    proxy: ProxySql
    key: InstanceKey
    target: ProxySqlTarget

    async def publish(self, record: Publication, *, forced: bool = False) -> bool:
        published = Published(record=record)
        return await self.target.publish(published, forced=forced, before_write=lambda: None, timeout_s=30.0)


def target_at(key: InstanceKey, password: str = "a password") -> ProxySqlTarget:
    settings = MysqlSettings(user="radmin", password=password, tls=TlsMode.NONE)
    return ProxySqlTarget(Connector(settings), key, {"shop": 10})


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    proxy = ProxySql()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    key = InstanceKey("127.0.0.1", server.sockets[0].getsockname()[1])
    async with server:
        yield Bench(proxy, key, target_at(key))
        proxy.tables.close()


async def test_the_primary_is_the_only_writer_everywhere(bench: Bench) -> None:
    assert await bench.publish(OLD)
    for table in TABLES:
        assert bench.proxy.rows(table) == [("db1.example.com", 3306, "ONLINE", 1, "[orchestrator_raft 7]")]
    assert not await bench.publish(OLD), "nothing is written twice"


async def test_a_successor_takes_the_row_with_its_options(bench: Bench) -> None:
    bench.proxy.execute(
        "INSERT INTO mysql_servers (hostgroup_id, hostname, port, weight, comment) VALUES (10, 'db0', 3306, 50, 'ours')"
    )
    bench.proxy.execute("INSERT INTO mysql_servers (hostgroup_id, hostname) VALUES (10, 'db9'), (20, 'db9')")
    assert await bench.publish(NEW)
    assert bench.proxy.rows() == [("db2.example.com", 3307, "ONLINE", 50, "ours [orchestrator_raft 8]")]
    assert [row[0] for row in bench.proxy.rows(group=20)] == ["db9"], "other hostgroups are left alone"
    assert await bench.publish(replace(OLD, generation=9))
    assert bench.proxy.rows() == [("db1.example.com", 3306, "ONLINE", 50, "ours [orchestrator_raft 9]")]


async def test_a_server_taken_out_on_purpose_stays_out_until_the_primary_changes(bench: Bench) -> None:
    await bench.publish(OLD)
    bench.proxy.execute("UPDATE mysql_servers SET status = 'OFFLINE_SOFT'")
    bench.proxy.execute("LOAD MYSQL SERVERS TO RUNTIME")
    assert not await bench.publish(OLD)
    assert bench.proxy.rows()[0][2] == "OFFLINE_SOFT"
    await bench.publish(NEW)
    assert bench.proxy.rows()[0][:3] == ("db2.example.com", 3307, "ONLINE")


async def test_what_somebody_changed_is_put_right(bench: Bench) -> None:
    await bench.publish(OLD)
    bench.proxy.execute("INSERT INTO mysql_servers (hostgroup_id, hostname) VALUES (10, 'db9')")
    bench.proxy.execute("LOAD MYSQL SERVERS TO RUNTIME")
    assert await bench.publish(OLD)
    assert len(bench.proxy.rows()) == 1


@pytest.mark.parametrize("statement", ["DELETE", "LOAD", "SAVE"])
async def test_what_was_cut_off_halfway_is_finished(bench: Bench, statement: str) -> None:
    await bench.publish(OLD)
    bench.proxy.die_at = statement
    with pytest.raises(Unavailable, match="bad connection"):
        await bench.publish(NEW)
    if statement != "SAVE":
        assert bench.proxy.rows()[0][0] == "db1.example.com", "nothing is in force before all of it is"
    bench.proxy.die_at = ""
    await bench.publish(NEW)
    assert [row[:2] for row in bench.proxy.rows()] == [("db2.example.com", 3307)]


async def test_an_older_record_is_refused_and_can_be_forced(bench: Bench) -> None:
    await bench.publish(NEW)
    with pytest.raises(Refused, match=r"generation 8.*--force --cluster shop"):
        await bench.publish(OLD)
    assert await bench.publish(OLD, forced=True)
    assert bench.proxy.rows()[0][0] == "db1.example.com"


async def test_nothing_is_written_without_authority(bench: Bench) -> None:
    def deposed() -> None:
        raise AuthorityLost("gone")

    with pytest.raises(AuthorityLost):
        await bench.target.publish(Published(record=OLD), forced=False, before_write=deposed, timeout_s=30.0)
    assert bench.proxy.rows("mysql_servers") == []


@pytest.mark.parametrize("allowed", [1, 2, 3])
async def test_authority_that_ends_between_two_statements_stops_the_rest(bench: Bench, allowed: int) -> None:
    await bench.publish(OLD)
    begun, asked = len(bench.proxy.said), 0

    def deposed_later() -> None:
        nonlocal asked
        asked += 1
        if asked > allowed:
            raise AuthorityLost("gone")

    with pytest.raises(AuthorityLost):
        await bench.target.publish(Published(record=NEW), forced=False, before_write=deposed_later, timeout_s=30.0)
    written = [each for each in bench.proxy.said[begun:] if not each.startswith("SELECT")]
    assert len(written) == allowed


async def test_a_hostile_name_is_only_a_name(bench: Bench) -> None:
    name = "db'); DELETE FROM mysql_servers; --\\"
    await bench.publish(replace(OLD, primary=InstanceKey(name, 3306)))
    assert [row[0] for row in bench.proxy.rows()] == [name]


async def test_a_wrong_password_and_nobody_there_name_what_to_look_at(bench: Bench) -> None:
    for target in (target_at(bench.key, "wrong"), target_at(InstanceKey("127.0.0.1", 1))):
        with pytest.raises(Unavailable, match="ProxySQLAdminUser"):
            await target.publish(Published(record=OLD), forced=False, before_write=lambda: None, timeout_s=30.0)


async def test_what_proxysql_refuses_is_said_with_the_statement(bench: Bench) -> None:
    bench.proxy.tables.execute("DROP TABLE mysql_servers")
    with pytest.raises(ServerError, match=r"no such table: mysql_servers, at: SELECT"):
        await bench.publish(OLD)


def test_only_aliases_with_a_hostgroup_are_taken() -> None:
    target = target_at(InstanceKey("127.0.0.1", 1))
    assert (target.takes("shop"), target.takes("store")) == (True, False)
