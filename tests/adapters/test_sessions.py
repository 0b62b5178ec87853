"""Acting sessions on real servers: the lock that fences late statements, deadlines, and errors without secrets."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator_raft.core.errors import AuthorityLost, ServerError
from orchestrator_raft.mysql import Connector, MysqlSessions, SqlFailure
from orchestrator_raft.mysql.sessions import LOCK
from sandbox.binaries import Flavor
from sandbox.servers import Server
from sandbox.topology import Topology
from tests.adapters.plan_runner import key_of, settings
from tests.adapters.test_steps_fence import held_back, insert

HOLDER = f"IS_USED_LOCK('{LOCK}')"
TIMEOUT_S = 5.0


def sessions(user: str = "orc") -> MysqlSessions:
    return MysqlSessions(Connector(settings(user)))


async def test_a_session_holds_the_lock_and_gives_it_back(topology: Topology) -> None:
    primary = topology.servers[0]
    async with sessions().acting(key_of(primary), timeout_s=TIMEOUT_S) as session:
        rows = await session.query("SELECT CONNECTION_ID() AS id", timeout_s=TIMEOUT_S)
        assert session.key == key_of(primary)
        assert str(primary.value(HOLDER)) == rows[0]["id"]
    assert primary.value(HOLDER) is None


async def test_a_newer_session_ends_the_older_one(topology: Topology) -> None:
    key = key_of(topology.servers[0])
    async with sessions().acting(key, timeout_s=TIMEOUT_S) as late:
        sleeping = asyncio.gather(late.query("SELECT SLEEP(60)", timeout_s=60.0), return_exceptions=True)
        await asyncio.sleep(0)
        async with sessions().acting(key, timeout_s=TIMEOUT_S) as newer:
            assert isinstance((await sleeping)[0], ServerError | tuple)
            with pytest.raises(SqlFailure):
                await late.query("SET GLOBAL read_only = ON", timeout_s=TIMEOUT_S)
            assert await newer.query("SELECT 1 AS one", timeout_s=TIMEOUT_S) == ({"one": "1"},)
    assert topology.servers[0].value("@@global.read_only") == 0


async def test_nobody_is_killed_who_must_not_be(topology: Topology) -> None:
    asked: list[str] = []

    def refuse() -> None:
        asked.append("may I?")
        raise AuthorityLost("deposed")

    key = key_of(topology.servers[0])
    async with sessions().acting(key, timeout_s=TIMEOUT_S, before_kill=refuse) as holder:
        assert asked == [], "the lock was free"
        with pytest.raises(AuthorityLost):
            async with sessions().acting(key, timeout_s=TIMEOUT_S, before_kill=refuse):
                pytest.fail("it acts")
        assert asked == ["may I?"]
        assert await holder.query("SELECT 1 AS one", timeout_s=TIMEOUT_S) == ({"one": "1"},)


async def test_a_statement_ends_at_its_deadline_and_the_session_with_it(topology: Topology) -> None:
    primary = topology.servers[0]
    async with sessions().acting(key_of(primary), timeout_s=TIMEOUT_S) as session:
        with pytest.raises(SqlFailure, match=r"i/o timeout, at: SELECT SLEEP\(60\)"):
            await session.query("SELECT SLEEP(60)", timeout_s=0.2)
        with pytest.raises(SqlFailure, match="bad connection"):
            await session.query("SELECT 1", timeout_s=TIMEOUT_S)
    async with sessions().acting(key_of(primary), timeout_s=TIMEOUT_S) as session:
        assert await session.query("SELECT 1 AS one", timeout_s=TIMEOUT_S) == ({"one": "1"},)


async def test_an_error_names_server_statement_and_number_but_no_secret(topology: Topology) -> None:
    primary = topology.servers[0]
    async with sessions().acting(key_of(primary), timeout_s=TIMEOUT_S) as session:
        with pytest.raises(SqlFailure) as caught:
            await session.query("SELECT 'hush' FROM\n  nowhere.at_all", timeout_s=TIMEOUT_S, masked="SELECT *** FROM x")
        assert await session.query("SELECT 2 AS two", timeout_s=TIMEOUT_S) == ({"two": "2"},)
    text = str(caught.value)
    assert caught.value.number in (1142, 1146, 1049)
    assert text.startswith(f"{key_of(primary)}: ")
    assert text.endswith("at: SELECT *** FROM x")
    assert "hush" not in text


async def test_texts_mean_what_they_say_whatever_the_servers_sql_mode(topology: Topology) -> None:
    primary = topology.servers[0]
    before = primary.value("@@global.sql_mode")
    primary.execute("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'")
    try:
        async with sessions().acting(key_of(primary), timeout_s=TIMEOUT_S) as session:
            rows = await session.query(r"SELECT 'a\\b''c' AS said, NULL AS nothing", timeout_s=TIMEOUT_S)
    finally:
        primary.execute("SET GLOBAL sql_mode = %s", (before,))
    assert rows == ({"said": r"a\b'c", "nothing": None},)


async def test_a_session_is_not_opened_on_a_server_that_cannot_be_reached(topology: Topology) -> None:
    dead = topology.servers[2]
    dead.freeze()
    try:
        with pytest.raises(SqlFailure, match="i/o timeout"):
            await enter(dead, timeout_s=0.3)
    finally:
        dead.thaw()
    with pytest.raises(SqlFailure, match="Access denied") as denied:
        await enter(topology.servers[0], user="nobody")
    assert denied.value.number == 1045


async def enter(server: Server, timeout_s: float = TIMEOUT_S, user: str = "orc") -> None:
    async with sessions(user).acting(key_of(server), timeout_s=timeout_s):
        raise AssertionError("no session should be open")


async def test_a_holder_that_does_not_end_is_named(mysql_topology: Topology) -> None:
    """MySQL does not end a commit that waits for an acknowledgement; nothing may be done meanwhile."""
    primary, replicas = mysql_topology.servers[0], mysql_topology.servers[1:]
    for replica in replicas:
        replica.execute("STOP REPLICA IO_THREAD")
    with ThreadPoolExecutor(1) as pool:
        late = primary.connect("app")
        with late.cursor() as cursor:
            cursor.execute(f"SELECT GET_LOCK('{LOCK}', 0)")
        hanging = pool.submit(commit, late)
        held_back(primary, 1)
        with pytest.raises(SqlFailure, match=rf"session {late.thread_id()} .* holds the lock .* does not end"):
            await enter(primary, timeout_s=0.5)
        for replica in replicas:
            replica.execute("START REPLICA IO_THREAD")
        assert hanging.result(30) is False
    mysql_topology.wait_acknowledging(primary, len(replicas))
    async with sessions().acting(key_of(primary), timeout_s=TIMEOUT_S):
        assert mysql_topology.flavor is Flavor.MYSQL


def commit(connection: object) -> bool:
    import pymysql

    try:
        with connection.cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute(insert(777))
    except pymysql.err.MySQLError:
        return False
    return True
