"""A whole installation under random faults keeps its word; the same seed is the same run; planted bugs are found."""

from __future__ import annotations

import pytest

from tests.fleetsim.plants import PLANTS, Plant
from tests.fleetsim.runs import SIMULATOR
from tests.seeded import proofs

BUDGET_S = 25.0
SEEDS_MIN = 10
PLANT_SEEDS_MAX = 60
NEVER_IN_VAIN = (
    "terms", "acknowledged", "writes_refused", "openings", "failovers", "takeovers", "rejoins", "resumed",
    "server_kills", "server_freezes", "node_kills", "kills_inside", "pauses_inside", "cuts", "operations",
)  # fmt: skip


@pytest.mark.timeout(600)
def test_promises_hold_through_random_faults() -> None:
    total = proofs.promises_hold(SIMULATOR, BUDGET_S, SEEDS_MIN)
    assert [] == proofs.never_happened(total, NEVER_IN_VAIN)


def test_a_seed_is_the_same_run_in_every_process() -> None:
    proofs.is_the_same_run_elsewhere(SIMULATOR, "tests.fleetsim.runs", (1, 2))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("plant", [plant for plant in PLANTS if not plant.is_rare], ids=lambda plant: plant.name)
def test_a_planted_bug_is_found(plant: Plant) -> None:
    proofs.plant_is_found(SIMULATOR, plant, PLANT_SEEDS_MAX)
