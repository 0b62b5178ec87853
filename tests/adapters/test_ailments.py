"""Ailing servers, real ones of both flavours: the analysis names what is wrong with them, and nothing else.

``Watcher`` is the engine's way from a probe to a diagnosis, without the engine: prober, inventory, replicated state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pymysql
import pytest

from orchestrator_raft.core.analysis import Diagnosis, analyze
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.replicated import State, apply
from orchestrator_raft.core.replicated.commands import ObserveServers
from orchestrator_raft.core.topology import Marks, build
from orchestrator_raft.engine.inventory import Inventory
from orchestrator_raft.mysql import MysqlProber
from sandbox.binaries import Flavor
from sandbox.servers import Server
from sandbox.topology import Topology, replica_status
from tests.adapters.conftest import NewTopology
from tests.adapters.plan_runner import key_of, probing
from tests.adapters.test_steps_fence import Client

PERIOD_S = 0.05
SEEN_WITHIN_S = 30.0
Found = dict[str, tuple[str, ...]]
"""Evidence by code."""


class Watcher:
    """Looks at servers over and over, as a leader does."""

    def __init__(self, prober: MysqlProber, servers: list[Server]) -> None:
        self._prober = prober
        self._servers = servers
        self._inventory = Inventory()
        self._state = State()
        self.policy = Policy()

    async def look(self) -> dict[int, Found]:
        """One probe of everybody, and what the rules and warnings say, by port."""
        await asyncio.gather(*(self._probe(server) for server in self._servers))
        seen = self._inventory.differences(self._state)
        if seen:
            command = ObserveServers(id=f"{time.monotonic_ns()}", at_ms=0, servers=seen)
            self._state, _ = apply(self._state, command)
        observations = dict(self._inventory.observations)
        topology = build(self._state.servers, self._state.clusters, observations, Marks(), 0)
        return {each.situation.key.port: evidence_of(each) for each in analyze(topology, self.policy)}

    async def meet(self, address: InstanceKey) -> None:
        """One probe at a further address of a server that is known."""
        result = await self._prober.probe(address, timeout_s=5.0)
        self._inventory.record(address, result, time.monotonic(), self._state.servers)
        self._prober.forget(address)

    async def _probe(self, server: Server) -> None:
        asked_at_s = time.monotonic()
        result = await self._prober.probe(key_of(server), timeout_s=0.5)
        self._inventory.record(key_of(server), result, time.monotonic(), self._state.servers, asked_at_s=asked_at_s)

    async def until(self, server: Server, code: str) -> tuple[str, ...]:
        """The evidence of ``code`` about ``server`` as soon as it is found."""
        async with asyncio.timeout(SEEN_WITHIN_S):
            while True:
                found = (await self.look())[server.port]
                if code in found:
                    return found[code]
                await asyncio.sleep(PERIOD_S)

    async def until_well(self) -> None:
        """Nobody has a problem any more."""
        async with asyncio.timeout(SEEN_WITHIN_S):
            while await self.during(PERIOD_S) - LEAN:
                pass

    async def during(self, seconds: float) -> set[str]:
        """Every code that was said of anybody."""
        ends_s, codes = time.monotonic() + seconds, set[str]()
        while time.monotonic() < ends_s:
            for found in (await self.look()).values():
                codes |= set(found)
            await asyncio.sleep(PERIOD_S)
        return codes


def evidence_of(diagnosis: Diagnosis) -> Found:
    found = {weakness.code: weakness.evidence for weakness in diagnosis.weaknesses}
    if diagnosis.problem is not None:
        found[diagnosis.code] = diagnosis.problem.evidence
    return found


@asynccontextmanager
async def watching(topology: Topology) -> AsyncIterator[Watcher]:
    """A watcher that has seen everybody well."""
    async with probing(told=lambda *_: None) as prober:
        watcher = Watcher(prober, topology.servers)
        await watcher.until_well()
        yield watcher


LEAN = {"UnsafeDurabilityStructureWarning", "NoLossPromiseStructureWarning"}
"""What the servers of these tests are by themselves: set up for speed, and nobody confirms that they have caught up."""


def insert(server: Server, number: int, *, user: str = "app", local: bool = False) -> None:
    """One row; ``local`` keeps it out of the binary log."""
    with pymysql.connect(host=server.host, port=server.port, user=user, password=user, autocommit=True) as connection:
        cursor = connection.cursor()
        if local:
            cursor.execute("SET sql_log_bin = 0")
        cursor.execute(f"INSERT INTO app.ledger (id, server) VALUES ({number}, 1)")


async def test_a_healthy_cluster_has_no_problem_but_its_loose_settings(topology: Topology) -> None:
    async with watching(topology) as watcher:
        assert await watcher.during(2.0) <= LEAN
        found = await watcher.look()
    assert found[topology.servers[0].port]["UnsafeDurabilityStructureWarning"] == (
        "sync_binlog is 0, not 1",
        "innodb_flush_log_at_trx_commit is 2, not 1",
    )


async def test_a_broken_applier_names_its_error(new_topology: NewTopology, flavor: Flavor) -> None:
    topology = new_topology(flavor, 2)
    primary, replica = topology.servers
    async with watching(topology) as watcher:
        replica.execute("SET GLOBAL read_only = OFF")
        insert(replica, 7, user="root", local=True)
        replica.execute(f"SET GLOBAL {'super_' if flavor is Flavor.MYSQL else ''}read_only = ON")
        insert(primary, 7)
        (said,) = await watcher.until(replica, "ReplicaApplierBroken")
    assert "error 1062" in said
    assert "Duplicate entry" in said


async def test_a_transaction_of_a_replica_alone_is_errant_and_a_busy_primary_makes_none(
    new_topology: NewTopology, flavor: Flavor
) -> None:
    """What a replica has of a primary that commits all the time is never said to be errant, however polls fall."""
    topology = new_topology(flavor, 2)
    primary, replica = topology.servers
    async with watching(topology) as watcher:
        with writing(primary):
            assert await watcher.during(3.0) <= LEAN | {"LaggingReplica"}
            replica.execute("SET GLOBAL read_only = OFF")
            insert(replica, 1_000_000, user="root")
            replica.execute("SET GLOBAL read_only = ON")
            (said,) = await watcher.until(primary, "ErrantGTIDStructureWarning")
            assert f"{replica.port} has " in said
            own = "ErrantGTIDReplica" if flavor is Flavor.MYSQL else "ReplicaApplierBroken"
            assert await watcher.until(replica, own), "a strict MariaDB applies nothing after a foreign number"


@pytest.fixture(params=list(Flavor), ids=lambda flavor: flavor.value)
def flavor(request: pytest.FixtureRequest) -> Flavor:
    found: Flavor = request.param
    return found


@pytest.fixture(autouse=True)
def thawed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test has frozen goes on afterwards, or it could not be stopped."""
    yield
    topology = request.node.funcargs.get("topology")
    if isinstance(topology, Topology):
        for server in topology.servers:
            server.thaw()


def writing(server: Server) -> _Writer:
    return _Writer(server)


class _Writer:
    """One client that commits without a pause."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pool = ThreadPoolExecutor(1)
        self._on = True

    def __enter__(self) -> None:
        self._done = self._pool.submit(self._write)

    def __exit__(self, *_: object) -> None:
        self._on = False
        self._done.result(30)
        self._pool.shutdown()

    def _write(self) -> None:
        server = self._server
        with pymysql.connect(host=server.host, port=server.port, user="app", password="app", autocommit=True) as client:
            cursor, number = client.cursor(), 0
            while self._on:
                number += 1
                cursor.execute(f"INSERT INTO app.ledger (id, server) VALUES ({number}, 1)")


async def test_a_frozen_primary_is_told_from_a_paused_one(topology: Topology) -> None:
    primary = topology.servers[0]
    async with watching(topology) as watcher:
        primary.freeze()
        paused = await watcher.during(1.5)
        primary.thaw()
        paused |= await watcher.during(1.0)
        assert paused <= LEAN | {"UnreachableMaster"}
        primary.freeze()
        said = await watcher.until(primary, "HungMaster")
        primary.thaw()
        assert "i/o timeout" in said[0]
        assert sum("has heard nothing for" in sentence for sentence in said) + len(said) >= 3
        await watcher.until_well()


async def test_a_receiver_on_a_dead_connection_is_silent(new_topology: NewTopology, flavor: Flavor) -> None:
    topology = new_topology(flavor, 2)
    primary, replica = topology.servers
    async with holding(primary) as (port, hold), watching(topology) as watcher:
        await watcher.meet(InstanceKey(primary.host, port))
        await asyncio.to_thread(point, replica, port)  # the receiver needs this loop to get through
        await asyncio.to_thread(topology.wait_replicating, [replica])
        await watcher.until(primary, "SlowFailureDetectionStructureWarning")
        hold()
        (said,) = await watcher.until(replica, "SilentReplica")
        assert "a heartbeat is due every 1 s" in said


def point(replica: Server, port: int) -> None:
    """Have it replicate over another way, with everything else as it is."""
    word = "SOURCE" if replica.flavor is Flavor.MYSQL else "MASTER"
    statement = "CHANGE REPLICATION SOURCE" if replica.flavor is Flavor.MYSQL else "CHANGE MASTER"
    way = f"{statement} TO {word}_HOST = '127.0.0.1', {word}_PORT = {port}, {word}_HEARTBEAT_PERIOD = 1"
    for each in ("STOP REPLICA", "SET GLOBAL slave_net_timeout = 60", way, "START REPLICA"):
        replica.execute(each)


@asynccontextmanager
async def holding(server: Server) -> AsyncIterator[tuple[int, Callable[[], None]]]:
    """A port that leads to the server, and what lets nothing through any more, without closing anything."""
    open_ = asyncio.Event()
    open_.set()
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await open_.wait()
            writer.write(data)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await open_.wait()
        there, back = await asyncio.open_connection(server.host, server.port)
        writers.extend((writer, back))
        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    proxy = await asyncio.start_server(carry, server.host, 0)
    try:
        yield proxy.sockets[0].getsockname()[1], open_.clear
    finally:
        open_.set()
        for writer in writers:
            writer.close()
        proxy.close()


async def test_a_writable_replica_is_named(new_topology: NewTopology, flavor: Flavor) -> None:
    topology = new_topology(flavor, 2)
    replica = topology.servers[1]
    async with watching(topology) as watcher:
        replica.execute("SET GLOBAL read_only = OFF")
        assert await watcher.until(replica, "WriteableReplica")


async def test_two_primaries_in_a_circle_that_both_take_writes_are_named(
    new_topology: NewTopology, flavor: Flavor
) -> None:
    topology = new_topology(flavor, 2)
    primary, replica = topology.servers
    async with watching(topology) as watcher:
        topology.point(primary, replica)
        replica.execute("SET GLOBAL read_only = OFF")
        assert await watcher.until(replica, "MultipleWriteableMasters")


async def test_a_primary_that_was_restarted_before_anybody_noticed_is_told(
    new_topology: NewTopology, flavor: Flavor
) -> None:
    topology = new_topology(flavor, 2)
    primary = topology.servers[0]
    async with watching(topology) as watcher:
        await asyncio.sleep(2.5)  # its uptime is counted in seconds
        await watcher.look()
        primary.kill()
        primary.start()
        assert await watcher.until(primary, "RestartedMasterReadOnly")
        topology.make_writable(primary)
        await watcher.until_well()


async def test_a_primary_without_free_connections_is_saturated(topology: Topology) -> None:
    primary = topology.servers[0]
    limit = primary.value("@@global.max_connections")
    root, *clients = [Client(primary, "root"), *(Client(primary) for _ in range(10))]
    async with watching(topology) as watcher:
        root.say("SET GLOBAL max_connections = 10")
        try:
            (said,) = await watcher.until(primary, "SaturatedMaster")
        finally:
            root.say(f"SET GLOBAL max_connections = {limit}")
        clients.clear()
    assert "max_connections" in said


async def test_a_primary_that_lost_its_ackers_is_locked(topology: Topology) -> None:
    primary, replicas = topology.servers[0], topology.servers[1:]
    async with watching(topology) as watcher:
        watcher.policy = Policy(locked_after_s=1000.0)
        for replica in replicas:
            replica.execute("STOP REPLICA IO_THREAD")
        try:
            assert await watcher.until(primary, "LockedSemiSyncMasterHypothesis")
            watcher.policy = Policy(locked_after_s=1.0)
            assert await watcher.until(primary, "LockedSemiSyncMaster")
        finally:
            for replica in replicas:
                replica.execute("START REPLICA IO_THREAD")
        topology.wait_acknowledging(primary, len(replicas))
    assert all(replica_status(replica) for replica in replicas)
