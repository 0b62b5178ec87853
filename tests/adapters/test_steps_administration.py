"""What people have done to one server, on real servers of both flavours: a delay, a skipped error, logs, GTIDs."""

from __future__ import annotations

import threading
from contextlib import suppress

import pymysql
import pytest

from orchestrator_raft.core.errors import ServerError
from orchestrator_raft.core.gtid import parse_mysql
from orchestrator_raft.core.instance import Channel, ThreadState
from orchestrator_raft.core.recovery.steps import (
    FlushBinaryLogs,
    InjectEmpty,
    KillQuery,
    PurgeBinaryLogs,
    ResetGtids,
    SetDelay,
    SkipTransaction,
    StartReplication,
    StopReplication,
)
from sandbox.binaries import Flavor
from sandbox.servers import Server
from sandbox.topology import Topology, replica_status
from tests.adapters.plan_runner import facts_of, key_of, perform
from tests.adapters.test_steps import twice, write
from tests.faults.stage import until

ERRANT = "aaaaaaaa-0000-0000-0000-00000000000a:1-3:backup:7"


async def channel_of(server: Server) -> Channel:
    channel = (await facts_of(server)).channel
    assert channel is not None
    return channel


def say(server: Server, *statements: str) -> None:
    """All in one session."""
    with server.connect() as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


async def test_a_replica_is_delayed_and_not_any_more(topology: Topology) -> None:
    replica = topology.servers[1]
    key = key_of(replica)
    for seconds in (600, 0):
        await twice(SetDelay(key=key, delay_s=seconds), replica)
        channel = await channel_of(replica)
        assert channel.delay_s == seconds
        assert channel.applier is ThreadState.STOPPED
        await perform(StartReplication(key=key), replica)
    topology.wait_caught_up()


async def test_nobody_delays_a_primary(topology: Topology) -> None:
    primary = topology.servers[0]
    with pytest.raises(ServerError, match="no source to replicate from"):
        await perform(SetDelay(key=key_of(primary), delay_s=5, deadline_s=0.3), primary)


async def test_the_transaction_that_stopped_the_applier_is_skipped(topology: Topology) -> None:
    primary, replica = topology.servers[:2]
    key = key_of(replica)
    await perform(StopReplication(key=key), replica)
    replica.execute("SET GLOBAL read_only = OFF")
    say(
        replica, "SET SESSION sql_log_bin = OFF",
        "INSERT INTO app.ledger (id, server) SELECT COALESCE(MAX(id), 0) + 1, 2 FROM app.ledger",
    )  # fmt: skip
    replica.execute("SET GLOBAL read_only = ON")
    write(primary, 2)
    replica.execute("START REPLICA")
    until("the applier broke", lambda: broken(replica))
    if topology.flavor is Flavor.MARIADB:
        await perform(StopReplication(key=key), replica)
    await perform(SkipTransaction(key=key), replica, user="root")  # MariaDB wants SUPER for its counter
    await perform(StartReplication(key=key), replica)
    topology.wait_caught_up()
    assert replica.value("(SELECT server FROM app.ledger ORDER BY id DESC LIMIT 1 OFFSET 1)") == 2
    await perform(SkipTransaction(key=key), replica)
    assert (await channel_of(replica)).replicates


def broken(replica: Server) -> bool:
    status = replica_status(replica)
    return status is not None and int(status["Last_SQL_Errno"]) != 0


async def test_binary_logs_are_flushed_and_purged(topology: Topology) -> None:
    primary = topology.servers[0]
    key = key_of(primary)
    before = logs(primary)
    await perform(FlushBinaryLogs(key=key), primary)
    *earlier, second = logs(primary)
    assert earlier == before
    topology.wait_caught_up()
    for _ in range(2):
        await perform(PurgeBinaryLogs(key=key, log_file=second), primary, user="root")  # BINLOG ADMIN
    assert logs(primary) == [second]
    with pytest.raises(ServerError, match=r"nobody\.000001"):
        await perform(PurgeBinaryLogs(key=key, log_file="nobody.000001"), primary, user="root")


def logs(server: Server) -> list[str]:
    return [str(row["Log_name"]) for row in server.execute("SHOW BINARY LOGS")]


async def test_a_query_is_killed_and_its_session_lives(topology: Topology) -> None:
    primary = topology.servers[0]
    asleep = threading.Thread(target=sleep, args=(primary,))
    asleep.start()
    session = until("it sleeps", lambda: sleeping(primary))
    await twice(KillQuery(key=key_of(primary), session=session), primary)
    asleep.join(30)
    assert not asleep.is_alive()
    await perform(KillQuery(key=key_of(primary), session=999_999_999), primary)


def sleep(server: Server) -> None:
    with suppress(pymysql.err.OperationalError):  # what MariaDB tells whose query was killed; MySQL's just ends
        server.execute("SELECT SLEEP(100)", user="app", timeout_s=60)


def sleeping(server: Server) -> int:
    rows = server.execute("SHOW FULL PROCESSLIST")
    return next((int(row["Id"]) for row in rows if row["Info"] == "SELECT SLEEP(100)"), 0)


async def test_errant_transactions_are_written_empty(mysql_topology: Topology) -> None:
    primary = mysql_topology.servers[0]
    for _ in range(2):
        await perform(InjectEmpty(key=key_of(primary), gtids=ERRANT), primary, user="root")  # for the tag
    mysql_topology.wait_caught_up()
    for server in mysql_topology.servers:
        assert parse_mysql(str(server.value("@@global.gtid_executed"))).covers(parse_mysql(ERRANT))


async def test_errant_transactions_are_forgotten(mysql_topology: Topology) -> None:
    replica = mysql_topology.servers[2]
    key = key_of(replica)
    await perform(StopReplication(key=key), replica)
    clean = str(replica.value("@@global.gtid_executed")).replace("\n", "")
    say(replica, "SET SESSION gtid_next = 'bbbbbbbb-0000-0000-0000-00000000000b:1'", "BEGIN", "COMMIT")
    for _ in range(2):
        await perform(ResetGtids(key=key, executed=clean), replica, user="root")
    assert parse_mysql(str(replica.value("@@global.gtid_executed"))) == parse_mysql(clean)
    replica.execute("RESET BINARY LOGS AND GTIDS")  # as a manager leaves it that dies between the two statements
    await perform(ResetGtids(key=key, executed=clean), replica, user="root")
    await perform(StartReplication(key=key), replica)
    write(mysql_topology.servers[0])
    mysql_topology.wait_caught_up()
