"""One seed is one run: what the installation is like, what happens to it, and whether the product kept its word.

Everything is drawn from the seed, so the same seed is the same run, event by event.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.policy import ClusterFilters, LossPolicy, Policy
from orchestrator_raft.engine.leadership import EngineSettings
from orchestrator_raft.engine.pacing import Paces
from orchestrator_raft.raft.settings import Limits
from tests.fleetsim.checks import Violation
from tests.fleetsim.clients import Client, ClientHost
from tests.fleetsim.ending import calm_down
from tests.fleetsim.faults import Troublemaker
from tests.fleetsim.mariadb import MariadbServer
from tests.fleetsim.plants import BY_NAME, Plant
from tests.fleetsim.server import Configuration, SemiSyncVariables, Server
from tests.fleetsim.statistics import Statistics
from tests.fleetsim.surroundings import surroundings
from tests.fleetsim.world import World
from tests.seeded.agenda import START_S
from tests.seeded.command import Simulator, registered
from tests.seeded.outcomes import Outcome

HOOKS = ("PreFailoverProcesses", "PostMasterFailoverProcesses", "PreGracefulTakeoverProcesses", "PostFailoverProcesses")


def run(seed: int, *, plant: Plant | None = None, trace: bool = False) -> Outcome[Statistics]:
    """One run; with ``plant``, of a product that has that bug."""
    with surroundings(seed):
        if plant is None:
            return _run(seed, None, trace)
        with plant.planted():
            return _run(seed, plant, trace)


def _run(seed: int, plant: Plant | None, trace: bool) -> Outcome[Statistics]:
    dice = random.Random(f"plan {seed}")
    theme = plant.theme if plant is not None else ""
    world = _world(seed, dice, theme)
    outcome = Outcome(seed, world.statistics)
    world.trace = outcome.trace if trace else None
    try:
        clients = _set_up(world, dice, theme)
        world.run(dice.choice((3.0, 8.0)))
        Troublemaker(world, dice, dice.choice((0.5, 1.5, 4.0, 8.0)), theme)
        world.run(dice.uniform(15, 40))
        world.troubled = False
        calm_down(world, clients)
    except Violation as violation:
        outcome.kind, outcome.text, outcome.at_s = violation.kind, violation.text, world.now_s - START_S
    finally:
        world.statistics.terms = max(
            node.replica.term if node.replica is not None else 0 for node in world.nodes.values()
        )
        world.dismantle()
    world.statistics.virtual_s = world.now_s - START_S
    world.statistics.events = world.events
    return outcome


SIMULATOR = registered(
    Simulator("fleetsim", "Managers, databases and clients in virtual time, by seed.", run, BY_NAME, Statistics)
)


def _world(seed: int, dice: random.Random, theme: str) -> World:
    limits = Limits(
        journal_entries=dice.choice((20, 100, 10_000)), retained_entries=dice.choice((5, 2_000)),
    )  # fmt: skip
    return World(
        seed, nodes=3, limits=limits, node_delay_s=dice.choice(((0.0002, 0.001), (0.0005, 0.003), (0.005, 0.03))),
        server_delay_s=dice.choice(((0.0002, 0.001), (0.0005, 0.003), (0.003, 0.02))),
        sync_s=dice.choice(((0.0002, 0.002), (0.001, 0.02))), wire=dice.random() < 0.2,
        pace=dice.choice((1.0, 1.0, 3.0)), newcomers=2 if dice.random() < 0.15 or theme == "members" else 0,
    )  # fmt: skip


def _set_up(world: World, dice: random.Random, theme: str) -> Sequence[Client]:
    """A healthy installation, as its people would have left it."""
    replicas = dice.choice((2, 2, 3, 3, 4))
    has_semi_sync = dice.random() < 0.85
    waits_for = dice.choice((1, 1, 1, 2)) if has_semi_sync and replicas > 2 else 1
    read_only = dice.random() < 0.85
    starts = dice.random() < 0.8
    drops_relay = dice.random() < 0.3
    kind = dice.choice((Server, Server, MariadbServer))
    waits_for = 1 if kind is MariadbServer else waits_for
    for _ in range(replicas + 1):
        semi_sync = SemiSyncVariables(replica_enabled=has_semi_sync, wait_count=waits_for)
        world.add_server(Configuration(
            read_only=read_only, semi_sync=semi_sync, apply_s=dice.choice((0.001, 0.005, 0.03)),
            starts_replication=starts, relay_log_recovery=drops_relay,
        ), kind)  # fmt: skip
    servers = list(world.servers.values())
    world.engine_settings = _settings(dice, servers[0].key)
    for server in servers:
        server.start()
        server.read_only = server.super_read_only = True
    if dice.random() < 0.2 or theme == "delays":
        servers[-1].configuration.delay_s = servers[-1].replication.delay_s = dice.choice((2, 8, 3600))
    replicate(servers, dice, has_semi_sync=has_semi_sync)
    shape = dice.random() if theme != "acker" else 0.5
    if replicas > 2 and waits_for == 1 and shape < 0.4:
        _chain(servers, dice)
    elif shape > 0.9:
        _pair(servers, dice)
    for slot in world.founders:
        world.nodes[slot].start()
    every_s = dice.choice((0.03, 0.1, 0.4))
    hosts = [ClientHost(f"client{number}") for number in range(dice.choice((1, 2, 3)))]
    return [Client(world, host, server, every_s) for host in hosts for server in servers]


def _chain(servers: Sequence[Server], dice: random.Random) -> None:
    """One or two replicas get their writes from another replica."""
    middle, count = servers[1], dice.choice((1, 2)) if len(servers) > 4 else 1
    for server in servers[2 : 2 + count]:
        server.replication.stop(receiver=True, applier=True)
        server.replication.point_to(middle.key)
        server.replication.start(receiver=True, applier=True)


def _pair(servers: Sequence[Server], dice: random.Random) -> None:
    """Two co-primaries, of which one takes the writes."""
    first, second = servers[:2]
    first.replication.net_timeout_s = dice.choice((2.0, 4.0, 8.0))
    first.replication.point_to(second.key)
    first.replication.start(receiver=True, applier=True)


def replicate(servers: Sequence[Server], dice: random.Random, *, has_semi_sync: bool) -> None:
    primary, *others = servers
    primary.read_only = primary.super_read_only = False
    primary.opened_by = "its people"
    if has_semi_sync:
        primary.semi_sync.source_enabled = primary.semi_sync_active = True
    for server in others:
        server.replication.net_timeout_s = dice.choice((2.0, 4.0, 8.0))
        server.replication.point_to(primary.key)
        server.replication.start(receiver=True, applier=True)


def _settings(dice: random.Random, seed_server: InstanceKey) -> EngineSettings:
    hooks = {name: ("it",) for name in HOOKS if dice.random() < 0.5} if dice.random() < 0.25 else {}
    policy = Policy(
        recover_primary=ClusterFilters(("*",)), recover_intermediate=ClusterFilters(("*",)),
        recovery_block_s=dice.choice((0.0, 2.0, 10.0, 3600.0)),
        loss=dice.choice((LossPolicy.AUTO,) * 5 + (LossPolicy.NONE, LossPolicy.ANY)),
        catch_up_limit_s=dice.choice((2.0, 10.0, 30.0)), demotion_block_limit_s=dice.choice((1.0, 5.0)),
        hooks=hooks, hook_timeout_s=dice.choice((1.0, 5.0)),
    )  # fmt: skip
    paces = Paces(
        primary_interval_s=dice.choice((0.25, 0.5, 1.0)), primary_timeout_s=dice.choice((0.5, 1.0)),
        poll_s=dice.choice((1.0, 2.0, 5.0)), timeout_s=dice.choice((1.0, 3.0)),
    )  # fmt: skip
    query = "SELECT user, password FROM meta.account" if dice.random() < 0.8 else ""
    return EngineSettings(policy=policy, paces=paces, seeds=(seed_server,), credentials_query=query)
