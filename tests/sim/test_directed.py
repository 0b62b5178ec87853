"""Bugs that need several faults in one order: each fault alone, on a quiet cluster, finds its bug and no other.

Random runs draw these faults, too, among all others; here it is certain that they do what they are for.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator_raft.raft.settings import Limits
from tests.raft.counting import Add
from tests.seeded import proofs
from tests.sim import faults
from tests.sim.checks import Violation
from tests.sim.clients import NodeFace
from tests.sim.plants import BY_NAME, Plant
from tests.sim.world import World

SEEDS = 8


@pytest.mark.parametrize(
    ("fault", "size", "plant"),
    [
        (faults.relapse, 5, "stale-ack"),
        (faults.late_frames, 3, "late-append-cuts"),
        (faults.late_frames, 5, "late-append-cuts"),
        (faults.late_echo, 3, "echoes-through-a-jump"),
        (faults.stutter, 3, "short-freezes-overlooked"),
        (faults.bounce, 3, "promise-forgotten"),
    ],
)
def test_a_fault_finds_its_bug_and_nothing_else(fault: Callable[[World], None], size: int, plant: str) -> None:
    planted = BY_NAME[plant]
    proofs.fault_finds_its_bug_alone(lambda seed, bug: _broken(seed, size, fault, bug), planted, SEEDS)


def _broken(seed: int, size: int, fault: Callable[[World], None], plant: Plant | None) -> str | None:
    """Which promise is broken, if one is."""
    world = World(seed, size=size, limits=Limits(), wire=False)
    if plant is not None and plant.in_world is not None:
        plant.in_world(world, NodeFace(world))
    assert world.run(10, world.settled)
    for number in range(5):
        world.submit(world.leaders()[0], Add(f"w{number}"))
        world.run(0.1)
    try:
        for _ in range(3):
            fault(world)
            world.run(6)
    except Violation as violation:
        return violation.kind
    return None
