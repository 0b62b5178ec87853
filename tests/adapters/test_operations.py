"""Operations on real servers of both flavours: each is done once, with a writer at the primary, and nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from orchestrator_raft.core.errors import Refused
from orchestrator_raft.engine.service import Reply
from sandbox.binaries import Flavor
from sandbox.servers import Server
from sandbox.topology import Topology
from tests.adapters.conftest import NewTopology
from tests.adapters.leading import Leading, leading
from tests.adapters.test_steps_administration import say

COUNT = 5


@pytest.fixture(scope="module", params=list(Flavor), ids=lambda flavor: flavor.value)
def servers(request: pytest.FixtureRequest, module_topology: NewTopology) -> Topology:
    return module_topology(request.param, COUNT)


@pytest_asyncio.fixture
async def manager(servers: Topology) -> AsyncIterator[Leading]:
    """All replicas below the primary, and known."""
    primary = servers.servers[0]
    for replica in servers.servers[1:]:
        servers.point(replica, primary)
    servers.wait_replicating(servers.servers[1:])
    async with leading() as found:
        await found.discover(servers.servers)
        await found.tree(dict.fromkeys(servers.servers[1:], primary))
        yield found


def write(server: Server) -> None:
    server.execute("CREATE TABLE IF NOT EXISTS meta.written (id BIGINT PRIMARY KEY AUTO_INCREMENT)")
    server.execute("INSERT INTO meta.written VALUES ()")


async def test_one_server_goes_down_up_and_below_a_sibling(servers: Topology, manager: Leading) -> None:
    primary, a, b, c, _ = servers.servers
    write(primary)
    plan = await manager.call("relocate", b, a, dry_run=True)
    assert manager.known(b).source != manager.known(a).key, plan.message
    for operation, target in (("relocate", a), ("move-up", None), ("move-below", c), ("move-below-gtid", a)):
        reply = await manager.call(operation, b, target)
        assert reply.value.key == manager.known(b).key
        await manager.tree({b: target or primary})
        write(primary)
    servers.wait_caught_up()


async def test_replicas_of_a_server_go_elsewhere_together(servers: Topology, manager: Leading) -> None:
    primary, a, b, c, d = servers.servers
    for replica in (b, c):
        await manager.call("relocate", replica, a)
    write(primary)
    reply = await manager.call("relocate-replicas", a, d)
    assert len(reply.value) == 2
    await manager.tree({b: d, c: d})
    reply = await manager.call("move-up-replicas", d)
    await manager.tree({b: primary, c: primary})
    servers.wait_caught_up()


async def test_what_would_break_is_refused_and_changes_nothing(servers: Topology, manager: Leading) -> None:
    primary, a, b, *_ = servers.servers
    await manager.call("relocate", b, a)
    for operation, server, target, why in (
        ("relocate", a, b, "is a descendant of"),
        ("relocate", a, a, "cannot replicate from itself"),
        ("relocate", primary, b, "is a descendant of"),
        ("take-siblings", primary, None, "is not a replica"),
    ):
        with pytest.raises(Refused, match=why):
            await manager.call(operation, server, target)
    await manager.tree({a: primary, b: a})


async def test_a_replica_takes_the_place_of_its_source(servers: Topology, manager: Leading) -> None:
    primary, a, b, c, _ = servers.servers
    for replica in (b, c):
        await manager.call("relocate", replica, a)
    write(primary)
    assert (await manager.call("take-master", b)).message.endswith("took its master")
    await manager.tree({b: primary, a: b, c: a})
    write(primary)
    await manager.call("make-local-master", c)
    await manager.tree({c: b})
    await manager.call("relocate-replicas", b, primary)
    await manager.tree({a: primary, c: primary})
    reply = await manager.call("regroup-replicas", primary)
    promoted = next(server for server in servers.servers if server.port == reply.value.port)
    await manager.tree({each: promoted for each in servers.servers[1:] if each is not promoted})
    assert (await manager.call("regroup-replicas-gtid", promoted)).value != reply.value
    servers.wait_caught_up()


async def test_repoint_detach_and_reattach_keep_the_place(servers: Topology, manager: Leading) -> None:
    primary, a, b, *_ = servers.servers
    await manager.call("repoint", b, a)
    await manager.tree({b: a})
    write(primary)
    await manager.call("repoint-replicas", a)
    await manager.tree({b: a})
    await manager.call("detach-replica", b)
    assert manager.channel(b).source.is_detached
    write(primary)
    with pytest.raises(Refused, match="already detached"):
        await manager.call("detach-replica", b)
    await manager.call("reattach-replica", b)
    await manager.tree({b: a})
    servers.wait_caught_up()


async def test_a_replica_is_reset_and_moved_nowhere_else(servers: Topology, manager: Leading) -> None:
    primary, _, b, *_ = servers.servers
    await manager.call("reset-replica", b)
    assert manager.facts(b).channels == ()
    with pytest.raises(Refused, match="is no replica"):
        await manager.call("relocate", b, primary)


async def test_a_primary_becomes_a_co_primary_of_its_replica(servers: Topology, manager: Leading) -> None:
    primary, a, *_ = servers.servers
    write(primary)
    with pytest.raises(Refused, match="seems to be accessible"):
        await manager.call("make-master", a)
    servers.wait_caught_up()
    await manager.call("make-co-master", a)
    await manager.tree({primary: a, a: primary})
    write(primary)
    with pytest.raises(Refused, match="already co master"):
        await manager.call("make-co-master", a)
    await manager.call("reset-replica", primary)
    assert manager.facts(primary).is_writable
    servers.wait_caught_up()


async def test_a_replica_without_gtid_moves_from_place_to_place(servers: Topology, manager: Leading) -> None:
    """Rows that it missed or got twice would show: the table has a key, and the numbers are compared at the end."""
    primary, a, b, c, _ = servers.servers
    await manager.call("relocate", b, a)
    by_place(servers, b)
    await manager.until("it goes by position", lambda: not manager.channel(b).uses_gtid)
    with pytest.raises(Refused, match="turns to be too complex"):
        await manager.call("relocate", b, c)
    for operation, target in (("move-up", None), ("relocate", c), ("move-up", None), ("move-below", a)):
        for _ in range(3):
            write(primary)
        await manager.until("it keeps up", lambda: manager.facts(b).lag_s == 0)
        reply = await manager.call(operation, b, target)
        assert not reply.value.facts.channel.uses_gtid
        await manager.tree({b: target or primary, a: primary, c: primary})
        write(primary)
    await manager.until("all is there", lambda: written(b) == written(primary))


def written(server: Server) -> int:
    return int(server.execute("SELECT COUNT(*) AS count FROM meta.written")[0]["count"])


def by_place(servers: Topology, server: Server) -> None:
    """From now on the replica goes by file and position."""
    server.execute("STOP REPLICA")
    if servers.flavor is Flavor.MYSQL:
        server.execute("CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 0")
    else:
        server.execute("CHANGE MASTER TO MASTER_USE_GTID = no")
    server.execute("START REPLICA")


async def test_threads_of_one_server_do_as_they_are_told(servers: Topology, manager: Leading) -> None:
    primary, _, b, *_ = servers.servers
    for operation, runs in (
        ("stop-replica", False), ("start-replica", True), ("restart-replica", True), ("stop-replica-nice", False),
        ("start-replica", True),
    ):  # fmt: skip
        write(primary)
        await manager.call(operation, b)
        await manager.until(operation, lambda runs=runs: manager.channel(b).replicates is runs)  # type: ignore[misc]
    await manager.call("disable-semi-sync-replica", b)  # one that acknowledges may not be delayed on MariaDB
    for seconds in (300, 0):
        await manager.call("delay-replication", b, seconds=seconds)
        assert manager.channel(b).delay_s == seconds
        await manager.tree({b: primary})
    await manager.call("enable-semi-sync-replica", b)
    servers.wait_caught_up()


async def test_a_server_is_closed_and_opened_but_never_a_second_one(servers: Topology, manager: Leading) -> None:
    primary, _, b, *_ = servers.servers
    with pytest.raises(Refused, match="is the primary of this cluster"):
        await manager.call("set-writeable", b)
    await manager.call("set-read-only", primary)
    assert manager.facts(primary).read_only
    await manager.call("set-writeable", primary)
    write(primary)
    assert [entry.type for entry in manager.raft.state.audit if entry.by == "anna"][-2:] == [
        "set-read-only", "set-writeable",
    ]  # fmt: skip
    assert not manager.facts(b).is_writable


async def test_gtid_is_switched_off_and_on_again(servers: Topology, manager: Leading) -> None:
    primary, _, b, *_ = servers.servers
    write(primary)
    for operation, uses_gtid in (("disable-gtid", False), ("enable-gtid", True)):
        await manager.call(operation, b)
        assert manager.channel(b).uses_gtid is uses_gtid
        await manager.tree({b: primary})
        write(primary)
        servers.wait_caught_up()


async def test_errant_transactions_are_found_and_shared(servers: Topology, manager: Leading) -> None:
    _, _, b, *_ = servers.servers
    if servers.flavor is Flavor.MARIADB:
        with pytest.raises(Refused, match="that is for MySQL's GTIDs"):
            await manager.call("locate-gtid-errant", b)
        return
    b.execute("FLUSH BINARY LOGS")
    say(b, f"SET SESSION gtid_next = '{b.value('@@server_uuid')}:1'", "BEGIN", "COMMIT")
    newest = str(b.execute("SHOW BINARY LOGS")[-1]["Log_name"])
    errant = await shown(manager, b)
    assert errant.value == [newest]
    await manager.call("gtid-errant-inject-empty", b)
    servers.wait_caught_up()
    with pytest.raises(Refused, match="no errant GTID"):
        await manager.call("gtid-errant-inject-empty", b)


async def shown(manager: Leading, server: Server) -> Reply:
    """Once both were read after it was written."""
    for _ in range(100):
        try:
            return await manager.call("locate-gtid-errant", server)
        except Refused:
            await manager.call("refresh", server)
    raise AssertionError("it is not seen as errant")
