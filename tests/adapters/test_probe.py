"""Probes of real servers of both flavours: what they find, and what every sort of trouble looks like."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from orchestrator_raft.core.gtid import DomainServer
from orchestrator_raft.core.instance import (
    Facts,
    InstanceKey,
    ProbeResult,
    PromotionRule,
    Reached,
    ThreadState,
    UnreachableKind,
)
from orchestrator_raft.mysql import TlsMode
from sandbox.binaries import Flavor
from sandbox.dialects import SEMI_SYNC_TIMEOUT_MS
from sandbox.errors import SandboxError
from sandbox.servers import Server
from sandbox.topology import Topology
from tests.adapters.conftest import NewTopology
from tests.adapters.plan_runner import DETECTION, facts_of, key_of, probing
from tests.adapters.test_steps_fence import Client, held_back, insert

Told = list[tuple[str, ...]]


def reached(result: ProbeResult) -> Facts:
    assert isinstance(result, Reached), result
    return result.facts


def kind_of(result: object) -> UnreachableKind:
    kind = getattr(result, "kind", None)
    assert isinstance(kind, UnreachableKind), result
    return kind


async def test_a_primary_tells_everything_about_itself(topology: Topology) -> None:
    primary = topology.servers[0]
    primary.execute("INSERT INTO app.ledger (id, server) VALUES (1, 1)")
    facts = await facts_of(primary)
    assert facts.key == key_of(primary)
    assert facts.flavor.value == topology.flavor.value
    assert facts.version == primary.value("@@version")
    assert facts.server_id == primary.port
    assert facts.is_writable
    assert facts.channels == ()
    assert facts.source is None
    assert facts.replicas == tuple(key_of(server) for server in topology.servers[1:])
    assert facts.binlog.enabled
    assert (facts.binlog.format, facts.binlog.row_image, facts.binlog.logs_replica_updates) == ("ROW", "FULL", True)
    semi_sync = facts.semi_sync
    assert (semi_sync.available, semi_sync.source_enabled, semi_sync.source_active) == (True, True, True)
    assert (semi_sync.source_clients, semi_sync.wait_for_replica_count) == (2, 1)
    assert (semi_sync.wait_without_replicas, semi_sync.after_sync) == (True, True)
    assert semi_sync.timeout_ms == SEMI_SYNC_TIMEOUT_MS
    assert facts.executed is not None
    if topology.flavor is Flavor.MYSQL:
        assert facts.server_uuid == primary.value("@@server_uuid")
        assert facts.executed.sources() == {facts.server_uuid}
        assert facts.gtid_mode == "ON"
        assert semi_sync.new_names
    else:
        assert facts.executed.sources() == {DomainServer(0, primary.port)}
        assert facts.binlog.coordinates.log_file == "binlog.000001"


async def test_a_replica_tells_whom_it_follows_and_how(topology: Topology) -> None:
    primary, replica = topology.servers[:2]
    topology.wait_caught_up()
    facts, source = await facts_of(replica), await facts_of(primary)
    channel = facts.channel
    assert channel is not None
    assert facts.source == key_of(primary)
    assert (channel.receiver, channel.applier) == (ThreadState.RUNNING, ThreadState.RUNNING)
    assert channel.replicates
    assert channel.uses_gtid
    assert channel.user == "repl"
    assert channel.source_server_id == primary.port
    assert channel.heartbeat_period_s == 1.0
    assert channel.lag_s is not None
    assert not channel.has_filters
    assert facts.read_only
    assert facts.has_replication_credentials
    assert facts.semi_sync.replica_active
    assert not facts.semi_sync.source_enabled
    assert facts.executed == source.executed
    assert facts.received == source.executed
    if topology.flavor is Flavor.MYSQL:
        assert facts.super_read_only
        assert channel.source_uuid == source.server_uuid


@pytest.mark.parametrize("flavor", Flavor)
async def test_a_dead_source_shows_at_the_replica(new_topology: NewTopology, flavor: Flavor) -> None:
    primary, replica = new_topology(flavor, 2).servers
    primary.kill()
    facts = await facts_of(replica)
    for _ in range(500):
        if facts.channel is not None and facts.channel.receiver_error_number:
            break
        await asyncio.sleep(0.01)
        facts = await facts_of(replica)
    assert facts.channel is not None
    assert facts.channel.receiver is ThreadState.CONNECTING
    assert "reconnecting" in facts.channel.receiver_error
    assert not facts.channel.stopped_on_purpose


@pytest.mark.parametrize("flavor", Flavor)
async def test_an_errant_transaction_shows_in_the_executed_set(new_topology: NewTopology, flavor: Flavor) -> None:
    primary, replica = new_topology(flavor, 2).servers
    replica.execute("SET GLOBAL read_only = OFF")
    replica.execute("INSERT INTO app.ledger (id, server) VALUES (1, 2)")
    mine, theirs = await facts_of(replica), await facts_of(primary)
    assert mine.executed is not None
    assert theirs.executed is not None
    extra = mine.executed.minus(theirs.executed)
    assert extra.count() == 1
    assert extra.sources() == mine.executed.sources_of_server(server_uuid=mine.server_uuid, server_id=mine.server_id)


async def test_a_primary_whose_commits_hang_still_answers(topology: Topology) -> None:
    """Statements that look at the binary log's position would hang as well, and the primary look dead."""
    primary, replicas = topology.servers[0], topology.servers[1:]
    with ThreadPoolExecutor(8) as pool:
        for replica in replicas:
            replica.execute("STOP REPLICA IO_THREAD")
        hanging = [pool.submit(Client(primary).say, insert(100 + number)) for number in range(5)]
        held_back(primary, 5)
        pool.submit(Client(primary, "root").say, "FLUSH BINARY LOGS")
        held_back(primary, 6)
        facts = await facts_of(primary)
        assert not facts.read_only
        for replica in replicas:
            replica.execute("START REPLICA IO_THREAD")
        assert [future.result(30) for future in hanging] == [0] * 5
    topology.wait_acknowledging(primary, 2)


async def test_who_asks_meanwhile_gets_the_same_probe(topology: Topology) -> None:
    key = key_of(topology.servers[0])
    async with probing() as prober:
        first, second = await asyncio.gather(*(prober.probe(key, timeout_s=5.0) for _ in range(2)))
        assert first is second
        third = await prober.probe(key, timeout_s=5.0)
        assert third is not first
        assert await prober.try_connect(key, timeout_s=5.0) is None


async def test_a_connection_that_the_server_closed_is_made_anew_once(topology: Topology) -> None:
    primary = topology.servers[0]
    closed = asyncio.Event()
    async with probing() as prober:
        prober.on_closed(lambda _key: closed.set())
        reached(await prober.probe(key_of(primary), timeout_s=5.0))
        (own,) = [row["Id"] for row in primary.execute("SHOW PROCESSLIST") if row["User"] == "orc"]
        primary.execute(f"KILL {own}")
        reached(await prober.probe(key_of(primary), timeout_s=5.0))
        await asyncio.wait_for(closed.wait(), 10)
        prober.forget(key_of(primary))


async def test_an_optional_query_that_fails_costs_only_its_own_fact(topology: Topology) -> None:
    primary = topology.servers[0]
    told: Told = []
    detection = replace(
        DETECTION,
        cluster_alias_query="SELECT cluster_name FROM meta.cluster;",
        cluster_domain_query="SELECT nothing FROM nowhere.at_all",
        instance_alias_query="SELECT CONCAT('db-', @@port) -- a comment",
        promotion_rule_query="SELECT 'prefer'",
        data_center_pattern=r"^(\d+)\.",
        region_query="SELECT NULL",
        semi_sync_enforced_query="SELECT 3",
        lag_query="SELECT 1.5",
    )
    async with probing(detection=detection, told=lambda _key, *what: told.append(what)) as prober:
        for _ in range(3):
            facts = reached(await prober.probe(key_of(primary), timeout_s=5.0))
            assert (facts.cluster_alias, facts.cluster_domain) == ("demo", "")
            assert facts.alias == f"db-{primary.port}"
            assert facts.promotion_rule.value == "prefer"
            assert facts.location.data_center == "127"
            assert (facts.semi_sync_priority, facts.queried_lag_s) == (3, 1.5)
    assert [name for name, _ in told] == ["cluster_domain"]
    assert "at_all" in told[0][1]


async def test_what_people_configured_is_kept_while_it_cannot_be_read(topology: Topology) -> None:
    """A server that must not be promoted stays so when the query that says it fails, and before it was ever read."""
    primary = topology.servers[0]
    primary.execute("CREATE TABLE meta.rules AS SELECT 'must_not' AS rule")
    detection = replace(DETECTION, promotion_rule_query="SELECT rule FROM meta.rules")
    try:
        async with probing(detection=detection, told=lambda *_: None) as prober:
            for statement in ("DO 0", "RENAME TABLE meta.rules TO meta.other_rules"):
                primary.execute(statement)
                facts = reached(await prober.probe(key_of(primary), timeout_s=5.0))
                assert facts.promotion_rule is PromotionRule.MUST_NOT
        async with probing(detection=detection, told=lambda *_: None) as prober:
            facts = reached(await prober.probe(key_of(primary), timeout_s=5.0))
            assert facts.promotion_rule is PromotionRule.MUST_NOT
    finally:
        primary.execute("DROP TABLE IF EXISTS meta.rules, meta.other_rules")


async def test_a_configured_number_that_is_none_costs_only_its_own_fact(topology: Topology) -> None:
    primary = topology.servers[0]
    told: Told = []
    detection = replace(DETECTION, semi_sync_enforced_query="SELECT '1.0'", lag_query="SELECT 'much'")
    async with probing(detection=detection, told=lambda _key, *what: told.append(what)) as prober:
        for _ in range(2):
            facts = reached(await prober.probe(key_of(primary), timeout_s=5.0))
            assert (facts.semi_sync_priority, facts.queried_lag_s) == (1, None)
    assert told == [("lag", "it brought 'much' and not a number")]


async def test_an_optional_query_that_hangs_does_not_make_a_server_unreachable(topology: Topology) -> None:
    primary = topology.servers[0]
    told: Told = []
    detection = replace(DETECTION, lag_query="SELECT SLEEP(60)")
    async with probing(detection=detection, told=lambda _key, *what: told.append(what)) as prober:
        for _ in range(3):
            assert reached(await prober.probe(key_of(primary), timeout_s=1.0)).replicas
    assert told == [("lag", "it hangs")]


async def test_a_configured_query_is_one_statement(topology: Topology) -> None:
    key = key_of(topology.servers[0])
    async with probing(detection=replace(DETECTION, lag_query="SELECT 1; SELECT 2")) as prober:
        result = await prober.probe(key, timeout_s=5.0)
    assert kind_of(result) is UnreachableKind.PROTOCOL
    assert "several statements" in getattr(result, "detail", "")


async def test_a_wrong_password_and_too_few_privileges_say_so(topology: Topology) -> None:
    primary = topology.servers[0]
    async with probing("nobody") as prober:
        denied = await prober.probe(key_of(primary), timeout_s=5.0)
    async with probing("app") as prober:
        poor = await prober.probe(key_of(primary), timeout_s=5.0)
    assert kind_of(denied) is kind_of(poor) is UnreachableKind.AUTHENTICATION
    assert kind_of(denied).answers
    assert "1045" in getattr(denied, "detail", "")
    assert "1227" in getattr(poor, "detail", "")


async def test_a_server_that_is_full_lets_the_manager_in_and_tells_the_others(topology: Topology) -> None:
    replica = topology.servers[2]
    limit = replica.value("@@global.max_connections")
    clients = [Client(replica) for _ in range(10)]
    replica.execute("SET GLOBAL max_connections = 10")
    try:
        async with probing("app") as prober:
            assert kind_of(await prober.probe(key_of(replica), timeout_s=5.0)) is UnreachableKind.TOO_MANY_CONNECTIONS
        async with probing() as prober:
            result = await prober.probe(key_of(replica), timeout_s=5.0)
            for _ in range(100):  # the session that set the limit may still hold the place kept for managers
                if isinstance(result, Reached):
                    break
                await asyncio.sleep(0.02)
                result = await prober.probe(key_of(replica), timeout_s=5.0)
        assert reached(result).read_only
    finally:
        clients.clear()
        await said(replica, f"SET GLOBAL max_connections = {limit}")


async def said(server: Server, statement: str) -> None:
    """Said as soon as the server has a place again: it takes its time to see that clients have gone."""
    for _ in range(1500):
        try:
            server.execute(statement)
            return
        except SandboxError:
            await asyncio.sleep(0.02)
    raise AssertionError(f"{server} lets nobody in")


async def test_a_frozen_server_ends_the_probe_at_its_deadline(topology: Topology) -> None:
    replica = topology.servers[2]
    key = key_of(replica)
    async with probing() as prober:
        reached(await prober.probe(key, timeout_s=5.0))
        replica.freeze()
        try:
            assert kind_of(await prober.probe(key, timeout_s=0.3)) is UnreachableKind.QUERY_TIMEOUT
            assert kind_of(await prober.probe(key, timeout_s=0.3)) is UnreachableKind.NO_GREETING
            witnessed = await prober.try_connect(key, timeout_s=0.3)
        finally:
            replica.thaw()
        assert kind_of(witnessed) is UnreachableKind.NO_GREETING
        assert "i/o timeout" in getattr(witnessed, "detail", "")
        reached(await prober.probe(key, timeout_s=5.0))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("tls", [TlsMode.NONE, TlsMode.REQUIRED], ids=["plain", "tls"])
def test_a_crash_is_noticed_by_the_idle_connection(crashing: Server, loop: str, tls: TlsMode) -> None:
    if crashing.flavor is Flavor.MARIADB and tls is TlsMode.REQUIRED:
        return  # MariaDB 10.11 offers no TLS by itself
    if loop == "uvloop":
        import uvloop

        uvloop.run(notice(crashing, tls))
    else:
        asyncio.run(notice(crashing, tls))


@pytest.fixture(scope="module", params=list(Flavor), ids=lambda flavor: flavor.value)
def crashing(request: pytest.FixtureRequest, module_topology: NewTopology) -> Server:
    """A server that is killed and started again and again."""
    return module_topology(request.param, 1, semi_sync=False).servers[0]


async def notice(server: Server, tls: TlsMode) -> None:
    closed: asyncio.Queue[InstanceKey] = asyncio.Queue()
    async with probing(tls=tls, skip_verify=True) as prober:
        prober.on_closed(closed.put_nowait)
        reached(await prober.probe(key_of(server), timeout_s=5.0))
        server.kill()
        assert await asyncio.wait_for(closed.get(), 30) == key_of(server)
        assert kind_of(await prober.probe(key_of(server), timeout_s=5.0)) is UnreachableKind.REFUSED
        server.start()
        reached(await prober.probe(key_of(server), timeout_s=5.0))
