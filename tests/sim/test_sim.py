"""Random clusters under random faults keep their word; the same seed is the same run; planted bugs are found."""

from __future__ import annotations

import pytest

from tests.seeded import proofs
from tests.sim.plants import PLANTS, Plant
from tests.sim.runs import SIMULATOR

BUDGET_S = 45.0
SEEDS_MIN = 20
PLANT_SEEDS_MAX = 150
NEVER_IN_VAIN = (
    "authorities", "acknowledged", "reads", "unknown_outcomes", "kills", "kills_inside", "power_losses", "groups_lost",
    "snapshots_taken", "snapshots_installed", "pauses", "freezes", "cuts", "one_way_cuts", "bridges", "connections",
    "member_changes", "disks_emptied", "disks_let_in_again", "upgrades", "levels_reached",
)  # fmt: skip


@pytest.mark.timeout(600)
def test_promises_hold_through_random_faults() -> None:
    total = proofs.promises_hold(SIMULATOR, BUDGET_S, SEEDS_MIN)
    assert [] == proofs.never_happened(total, NEVER_IN_VAIN)


def test_a_seed_is_the_same_run_in_every_process() -> None:
    proofs.is_the_same_run_elsewhere(SIMULATOR, "tests.sim.runs", (1, 2, 3))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_bug_is_found(plant: Plant) -> None:
    proofs.plant_is_found(SIMULATOR, plant, PLANT_SEEDS_MAX)
