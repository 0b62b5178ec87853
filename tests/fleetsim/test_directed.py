"""Bugs that need several faults in one order: brought about on a quiet installation, they find their bug and no other.

Random runs may draw such faults, too, among all others; here it is certain that they do what they are for.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator_raft.core.policy import ClusterFilters, Policy
from orchestrator_raft.engine.leadership import EngineSettings
from orchestrator_raft.engine.pacing import Paces
from orchestrator_raft.raft.settings import Limits
from tests.fleetsim import faults
from tests.fleetsim.checks import Violation
from tests.fleetsim.clients import Client, ClientHost
from tests.fleetsim.mariadb import MariadbServer
from tests.fleetsim.plants import BY_NAME
from tests.fleetsim.runs import replicate
from tests.fleetsim.server import Configuration, SemiSyncVariables, Server
from tests.fleetsim.surroundings import surroundings
from tests.fleetsim.world import World
from tests.seeded import proofs

SEEDS = 4
REPLICAS = 3


def lose_the_record_of_an_opening(world: World) -> None:
    """The leader dies when it has opened the successor, before it recorded that; the other nodes do not reach that one.

    Clients do. Whoever chooses another one then makes a second writer of which nobody knows.
    """
    opened = len(world.checks.openings)
    faults.primary(world).kill()
    assert world.run(30, lambda: len(world.checks.openings) > opened)
    successor, leader = world.checks.openings[-1].server, world.leader()
    assert leader is not None
    assert not next(each for each in world.checks.newest.active_recoveries).promoted
    leader.kill(power_lost=False)
    faults.cut(world, [way for node in world.slots for way in faults.both(node, successor)], 40.0)
    world.run(40)


def fence_hanging_commits(world: World) -> None:
    """Somebody replaces a primary that answers, and whose clients wait for replicas that do not hear it any more."""
    primary = faults.primary(world)
    others = [each for each in sorted(world.servers) if each != primary.name]
    faults.cut(world, [way for other in others for way in faults.both(primary.name, other)], 30.0)
    world.run(1.0)
    assert len(primary.pending) > 1
    opened = len(world.checks.openings)
    faults.fail_over(world)
    assert world.run(30, lambda: len(world.checks.openings) > opened)


@pytest.mark.parametrize(
    ("fault", "plant", "kind"),
    [
        (lose_the_record_of_an_opening, "choose-again", Server),
        (fence_hanging_commits, "kill-in-any-order", MariadbServer),
    ],
)
def test_a_fault_finds_its_bug_and_nothing_else(fault: Callable[[World], None], plant: str, kind: type[Server]) -> None:
    proofs.fault_finds_its_bug_alone(lambda seed, _bug: _broken(seed, fault, kind), BY_NAME[plant], SEEDS)


def _broken(seed: int, fault: Callable[[World], None], kind: type[Server]) -> str | None:
    """Which promise is broken, if one is."""
    with surroundings(seed):
        world = _quiet(seed, kind)
        try:
            world.run(12)
            fault(world)
        except Violation as violation:
            return violation.kind
        finally:
            world.dismantle()
    return None


def _quiet(seed: int, kind: type[Server]) -> World:
    """A healthy installation, without semi-sync on MySQL, in which clients write everywhere they can."""
    has_semi_sync = kind is MariadbServer
    world = World(
        seed, nodes=3, limits=Limits(), node_delay_s=(0.0005, 0.003), server_delay_s=(0.0005, 0.003),
        sync_s=(0.0002, 0.002),
    )  # fmt: skip
    for _ in range(REPLICAS + 1):
        world.add_server(Configuration(semi_sync=SemiSyncVariables(replica_enabled=has_semi_sync)), kind)
    servers = list(world.servers.values())
    everywhere = ClusterFilters(("*",))
    policy = Policy(recover_primary=everywhere, recover_intermediate=everywhere, catch_up_limit_s=2.0)
    query = "SELECT user, password FROM meta.account"
    world.engine_settings = EngineSettings(
        policy=policy, paces=Paces(), seeds=(servers[0].key,), credentials_query=query
    )
    for server in servers:
        server.start()
    replicate(servers, world.dice, has_semi_sync=has_semi_sync)
    for node in world.nodes.values():
        node.start()
    for host in ("client1", "client2", "client3"):
        for server in servers:
            Client(world, ClientHost(host), server, 0.1)
    return world
