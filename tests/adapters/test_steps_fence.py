"""Fencing real primaries: with clients of every sort, and with commits that hang because every acker has gone.

The one promise that matters: whatever the fence has to do to get through, no client is ever told that a commit
succeeded which no replica has.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pymysql
import pytest

from orchestrator_raft.core.errors import ServerError
from orchestrator_raft.core.recovery.steps import Fence, SetReadOnly, SetWritable
from orchestrator_raft.flavors.mariadb_fence import MARK
from sandbox.binaries import Flavor
from sandbox.errors import SandboxError
from sandbox.servers import Server
from sandbox.topology import Topology
from tests.adapters.plan_runner import facts_of, key_of, perform

READ_ONLY_ERROR = 1290
WAITING = "Waiting for semi-sync ACK%"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=8) as made:
        yield made


@pytest.fixture(autouse=True)
def as_before(topology: Topology, pool: ThreadPoolExecutor) -> Iterator[None]:
    """Afterwards the first server is the primary again and every replica acknowledges; that frees hanging clients."""
    yield
    primary, replicas = topology.servers[0], topology.servers[1:]
    if topology.flavor is Flavor.MYSQL:
        primary.execute("SET GLOBAL offline_mode = OFF")
    else:
        primary.execute("SET GLOBAL init_connect = ''")
    for replica in replicas:
        replica.execute("START REPLICA")
    topology.wait_replicating(replicas)
    topology.wait_acknowledging(primary, len(replicas))
    topology.make_writable(primary)
    topology.wait_caught_up()


class Client:
    """A client of its own session; every error ends a statement with the error's number."""

    def __init__(self, server: Server, user: str = "app") -> None:
        self._connection = server.connect(user)

    def say(self, *statements: str) -> int:
        """0 when all statements succeeded."""
        try:
            with self._connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        except pymysql.err.MySQLError as error:
            return int(error.args[0])
        return 0


def insert(number: int) -> str:
    return f"INSERT INTO app.ledger (id, server) VALUES ({number}, 1)"


def held_back(server: Server, count: int) -> None:
    """Until so many sessions are in the middle of a commit."""
    busy = "Query", "Killed"
    deadline = threading.Event()
    for _ in range(500):
        rows = server.execute("SHOW PROCESSLIST")
        committing = [row for row in rows if row["User"] in ("app", "root") and row["Command"] in busy and row["Info"]]
        if len([row for row in committing if "SHOW" not in row["Info"]]) >= count:
            return
        deadline.wait(0.01)
    raise AssertionError(f"{server}: {count} commits should hang")


def without_ackers(topology: Topology) -> Server:
    for replica in topology.servers[1:]:
        replica.execute("STOP REPLICA IO_THREAD")
    return topology.servers[0]


async def test_sessions_are_cut_off_and_writes_refused(topology: Topology, pool: ThreadPoolExecutor) -> None:
    primary = topology.servers[0]
    idle, busy, open_transaction = Client(primary), Client(primary), Client(primary)
    assert open_transaction.say("BEGIN", insert(101)) == 0
    sleeping = pool.submit(busy.say, "SELECT SLEEP(100)")
    held_back(primary, 1)
    for _ in range(2):
        await perform(Fence(key=key_of(primary), deadline_s=3.0), primary)
    assert sleeping.result(10) != 0
    assert idle.say("SELECT 1") != 0
    assert open_transaction.say("COMMIT") != 0
    assert Client(primary).say(insert(102)) == READ_ONLY_ERROR
    facts = await facts_of(primary)
    assert facts.read_only
    assert facts.semi_sync.source_enabled


async def test_replicas_stay_connected(topology: Topology) -> None:
    primary = topology.servers[0]
    await perform(Fence(key=key_of(primary), deadline_s=3.0), primary)
    assert (await facts_of(primary)).semi_sync.source_clients == 2


async def test_commits_that_hang_are_ended_and_never_acknowledged(topology: Topology, pool: ThreadPoolExecutor) -> None:
    primary = without_ackers(topology)
    hanging: list[Future[int]] = [pool.submit(Client(primary).say, insert(number)) for number in (201, 202)]
    hanging.append(pool.submit(Client(primary).say, "BEGIN", insert(203), "COMMIT"))
    held_back(primary, 3)
    with pytest.raises(ServerError, match="did not end within 1 s"):
        await perform(SetReadOnly(key=key_of(primary)), primary)
    assert not (await facts_of(primary)).read_only
    await perform(Fence(key=key_of(primary), deadline_s=3.0), primary)
    assert all(future.result(10) != 0 for future in hanging)
    facts = await facts_of(primary)
    assert facts.read_only
    assert facts.semi_sync.source_enabled
    assert Client(primary).say(insert(204)) == READ_ONLY_ERROR


async def test_clients_that_come_back_all_the_time_are_never_acknowledged(
    topology: Topology, pool: ThreadPoolExecutor
) -> None:
    primary = without_ackers(topology)
    fenced = threading.Event()

    def write_for_ever(first: int) -> list[int]:
        acknowledged = []
        number = first
        while not fenced.is_set():
            number += 1
            try:
                if Client(primary).say(insert(number)) == 0:
                    acknowledged.append(number)
            except SandboxError:
                continue
        return acknowledged

    writers = [pool.submit(write_for_ever, first) for first in (10_000, 20_000, 30_000, 40_000)]
    try:
        held_back(primary, 1)
        await perform(Fence(key=key_of(primary), deadline_s=3.0), primary)
    finally:
        fenced.set()
    assert [writer.result(10) for writer in writers] == [[], [], [], []]


async def test_a_commit_of_a_session_that_may_not_be_killed_is_not_acknowledged(
    topology: Topology, pool: ThreadPoolExecutor
) -> None:
    """MySQL protects accounts with SYSTEM_USER from a manager without it; MariaDB knows no such thing."""
    if topology.flavor is Flavor.MYSQL:
        topology.servers[0].execute("REVOKE SYSTEM_USER ON *.* FROM 'orc'@'%'")
        topology.wait_caught_up()
        assert (await facts_of(topology.servers[0])).fence_lacks == ("SYSTEM_USER",)
    primary = without_ackers(topology)
    hanging = pool.submit(Client(primary, "root").say, insert(301))
    held_back(primary, 1)
    if topology.flavor is Flavor.MARIADB:
        await perform(Fence(key=key_of(primary), deadline_s=3.0), primary)
        assert hanging.result(10) != 0
        return
    with pytest.raises(ServerError, match="not owner of thread"):
        await perform(Fence(key=key_of(primary), deadline_s=3.0), primary)
    assert not hanging.done()
    assert primary.value("@@global.rpl_semi_sync_source_enabled") == 1
    assert primary.value("@@global.offline_mode") == 0
    assert not (await facts_of(primary)).read_only


async def test_doors_left_shut_by_a_manager_that_died_are_opened_and_no_others(topology: Topology) -> None:
    primary = topology.servers[0]
    by_people, by_manager, variable = {
        Flavor.MYSQL: ("offline_mode = ON", "offline_mode = ON", "@@global.offline_mode"),
        Flavor.MARIADB: (
            "init_connect = 'SET @it = 1'",
            f"init_connect = '{MARK}SET @it = 1'",
            "@@global.init_connect",
        ),
    }[topology.flavor]
    primary.execute(f"SET GLOBAL {by_people}")
    set_by_people = primary.value(variable)
    await perform(Fence(key=key_of(primary), deadline_s=3.0), primary)
    assert primary.value(variable) == set_by_people
    primary.execute(f"SET GLOBAL {by_manager}", user="orc")
    with pytest.raises(SandboxError, match=r"offline mode|init_connect command failed"):
        Client(primary)
    await perform(Fence(key=key_of(primary), deadline_s=3.0), primary)
    Client(primary)


async def test_a_fenced_server_can_be_opened_again(topology: Topology) -> None:
    primary = topology.servers[0]
    await perform(Fence(key=key_of(primary), deadline_s=3.0), primary)
    await perform(SetWritable(key=key_of(primary)), primary)
    assert Client(primary).say(insert(401)) == 0


async def test_an_applier_that_hangs_in_a_commit_does_not_keep_a_fence_out(topology: Topology) -> None:
    """Of two co-primaries, where nobody acknowledges: nobody waits for that commit, and read_only does."""
    primary = without_ackers(topology)
    other = topology.servers[2]
    other.execute("SET GLOBAL read_only = OFF")
    topology.point(primary, other)
    try:
        for number in range(701, 704):
            other.execute(insert(number))
        wait_for_hanging_applier(primary)
        await perform(Fence(key=key_of(primary), deadline_s=8.0), primary)
        assert (await facts_of(primary)).read_only
    finally:
        for replica in topology.servers[1:]:
            replica.execute("START REPLICA")
        primary.execute("STOP REPLICA")
        primary.execute("RESET REPLICA ALL")
        other.execute(f"SET GLOBAL {'super_' if topology.flavor is Flavor.MYSQL else ''}read_only = ON")


def wait_for_hanging_applier(server: Server) -> None:
    deadline = threading.Event()
    for _ in range(500):
        rows = server.execute("SHOW PROCESSLIST")
        if any(row["User"] == "system user" and str(row["State"]).startswith(WAITING[:-1]) for row in rows):
            return
        deadline.wait(0.01)
    raise AssertionError(f"the applier of {server} should hang: {rows}")
