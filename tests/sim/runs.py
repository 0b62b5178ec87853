"""One seed is one run: what the cluster is like, what happens to it, and whether it kept its word.

Everything is drawn from the seed, so the same seed is the same run, event by event.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator_raft.raft.settings import Limits
from tests.seeded.command import Simulator, registered
from tests.seeded.outcomes import Outcome
from tests.sim.checks import STUCK, Violation, linearizable
from tests.sim.clients import Clients, Habits, NodeFace
from tests.sim.faults import Troublemaker
from tests.sim.plants import BY_NAME, Plant
from tests.sim.statistics import Statistics
from tests.sim.world import World

WAY_MAX_S = 0.06
"""Elections with the default times need an answer within a quarter of a second; a slower network is a fault."""
SYNC_USUAL_MAX_S = 0.3
CALM_S = 20.0
"""Within so much time after the last fault everybody has everything, and commands go through again."""


@dataclass(slots=True)
class Cluster:
    """What plants may change before a run begins."""

    world: World
    face: NodeFace
    clients: Clients


def cluster(seed: int, theme: str = "") -> tuple[Cluster, Troublemaker, float]:
    """The cluster of a seed, its troubles, and how long they last. A theme makes one sort of trouble certain."""
    dice = random.Random(f"plan {seed}")
    limits = Limits(
        journal_entries=dice.choice((5, 10, 40, 10_000)), retained_entries=dice.choice((0, 3, 30, 1000)),
        batch_bytes=dice.choice((60, 400, 10**6)), in_flight_bytes=dice.choice((200, 2000, 10**6)),
        snapshot_chunk_bytes=dice.choice((100, 10**6)), uncommitted_entries=dice.choice((20, 4096)),
    )  # fmt: skip
    world = World(
        seed, size=dice.choice((1, 3, 3, 3, 3, 3, 3, 5, 5, 5)), limits=limits, wire=dice.random() < 0.25,
        delay_s=dice.choice(((0.0002, 0.001), (0.0005, 0.003), (0.005, 0.04))),
        sync_s=dice.choice(((0.0002, 0.002), (0.001, 0.02), (0.01, 0.2))), newcomers=dice.choice((0, 0, 1, 2)),
    )  # fmt: skip
    _make_uneven(world, dice)
    face = NodeFace(world)
    busy = dice.choice(((0.0, 0.1), (0.0, 0.5), (0.2, 3.0), (1.0, 6.0)))
    habits = Habits(
        count=dice.randint(2, 5), pause_s=busy, read_share=dice.choice((0.0, 0.3, 0.6)),
        timeout_s=dice.choice((1.0, 3.0, 5.0)), attempts=dice.randint(1, 4), padding=dice.choice((0, 0, 200)),
        rest_s=dice.choice((0.0, 2.0, 4.0)),
    )  # fmt: skip
    clients = Clients(world, face, habits)
    trouble = Troublemaker(world, dice.choice((0.1, 0.3, 0.8, 0.8, 2.0, 2.0)), theme)
    return Cluster(world, face, clients), trouble, dice.uniform(10, 25)


def _make_uneven(world: World, dice: random.Random) -> None:
    """Some disks and ways are always slower than others."""
    if dice.random() < 0.4:
        for site in world.sites.values():
            site.disk.age = min(max(1.0, SYNC_USUAL_MAX_S / world.sync_s[1]), dice.choice((1.0, 1.0, 3.0, 20.0)))
    if dice.random() < 0.4:
        for one in sorted(world.sites):
            for other in sorted(world.sites):
                world.network.distance[one, other] = dice.choice((1.0, 1.0, 5.0, 40.0))
        world.network.limit_distances(WAY_MAX_S)


def run(seed: int, *, plant: Plant | None = None, trace: bool = False) -> Outcome[Statistics]:
    """One run; with ``plant``, of a product that has that bug."""
    if plant is None:
        return _run(seed, None, trace)
    with plant.planted():
        return _run(seed, plant, trace)


def _run(seed: int, plant: Plant | None, trace: bool) -> Outcome[Statistics]:
    made, trouble, lasts_s = cluster(seed, plant.theme if plant is not None else "")
    if plant is not None and plant.in_world is not None:
        plant.in_world(made.world, made.face)
    world = made.world
    began_s = world.now_s
    outcome = Outcome(seed, world.statistics)
    world.trace = outcome.trace if trace else None
    try:
        world.run(lasts_s)
        trouble.is_active = False
        _calm_down(made)
        world.statistics.histories_undecided += not linearizable(made.clients.history())
    except Violation as violation:
        outcome.kind, outcome.text, outcome.at_s = violation.kind, violation.text, world.now_s - began_s
    _count(world, began_s)
    return outcome


def _calm_down(made: Cluster) -> None:
    """The faults are over: the clients get their answers, and then everybody comes to rest with the same."""
    world = made.world
    world.end_faults()
    world.run(5.0)
    made.clients.is_open = False
    ends_s = world.now_s + CALM_S
    _wait(world, world.settled, ends_s, "it does not come to rest")
    signal = made.clients.start(made.clients.last())
    _wait(world, lambda: signal.fired and world.settled(), ends_s, "a last command does not go through")
    world.check_settled()


def _wait(world: World, condition: Callable[[], bool], ends_s: float, otherwise: str) -> None:
    """Raises Violation at ``ends_s``. A node that still stumbles over an old fault is started again."""
    while not condition():
        if world.now_s >= ends_s:
            raise Violation(STUCK, f"{otherwise} within {CALM_S:g} s: {describe(world)}")
        world.run(0.1)
        world.end_faults()


def describe(world: World) -> str:
    parts = []
    for site in world.sites.values():
        replica = site.replica
        if replica is None:
            parts.append(f"{site.name} down")
            continue
        role = "leads" if replica.is_leader else "follows"
        authority = " with authority" if replica.authority() is not None else ""
        parts.append(
            f"{site.name} {role}{authority} in term {replica.term}, applied {replica.applied_index}, committed "
            f"{replica.commit_index}, last {replica.journal.last_index}"
        )
    return "; ".join(parts)


def _count(world: World, began_s: float) -> None:
    statistics = world.statistics
    statistics.virtual_s = world.now_s - began_s
    statistics.events = world.events
    statistics.terms_led = len(world.ledger.leaders)
    statistics.authorities = len(world.ledger.terms_with_authority)


SIMULATOR = registered(Simulator("sim", "Whole Raft clusters in virtual time, by seed.", run, BY_NAME, Statistics))
