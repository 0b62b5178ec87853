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
from tests.fleetsim.plants import BY_NAME
from tests.fleetsim.runs import replicate
from tests.fleetsim.server import Configuration, SemiSyncVariables
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


@pytest.mark.parametrize(("fault", "plant"), [(lose_the_record_of_an_opening, "choose-again")])
def test_a_fault_finds_its_bug_and_nothing_else(fault: Callable[[World], None], plant: str) -> None:
    proofs.fault_finds_its_bug_alone(lambda seed, _bug: _broken(seed, fault), BY_NAME[plant], SEEDS)


def _broken(seed: int, fault: Callable[[World], None]) -> str | None:
    """Which promise is broken, if one is."""
    with surroundings(seed):
        world = _quiet(seed)
        try:
            world.run(12)
            fault(world)
        except Violation as violation:
            return violation.kind
        finally:
            world.dismantle()
    return None


def _quiet(seed: int) -> World:
    """A healthy installation without semi-sync, in which clients write everywhere they can."""
    world = World(
        seed, nodes=3, limits=Limits(), node_delay_s=(0.0005, 0.003), server_delay_s=(0.0005, 0.003),
        sync_s=(0.0002, 0.002),
    )  # fmt: skip
    for _ in range(REPLICAS + 1):
        world.add_server(Configuration(semi_sync=SemiSyncVariables(replica_enabled=False)))
    servers = list(world.servers.values())
    everywhere = ClusterFilters(("*",))
    policy = Policy(recover_primary=everywhere, recover_intermediate=everywhere, catch_up_limit_s=2.0)
    query = "SELECT user, password FROM meta.account"
    world.engine_settings = EngineSettings(
        policy=policy, paces=Paces(), seeds=(servers[0].key,), credentials_query=query
    )
    for server in servers:
        server.start()
    replicate(servers, world.dice, has_semi_sync=False)
    for node in world.nodes.values():
        node.start()
    for server in servers:
        Client(world, ClientHost("client1"), server, 0.1)
    return world
