"""Operations on real servers of both flavours: each is done once, with a writer at the primary, and nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from orchestrator_raft.core.errors import Refused
from sandbox.binaries import Flavor
from sandbox.servers import Server
from sandbox.topology import Topology
from tests.adapters.conftest import NewTopology
from tests.adapters.leading import Leading, leading

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
