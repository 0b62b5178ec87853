"""Random clusters under random faults keep their word; the same seed is the same run; planted bugs are found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from itertools import count
from time import process_time

import pytest

from tests.sim.plants import PLANTS, Plant
from tests.sim.runs import run
from tests.sim.statistics import Statistics

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
    ends_s = process_time() + BUDGET_S
    total = Statistics()
    for seed in count():
        if seed >= SEEDS_MIN and process_time() > ends_s:
            break
        outcome = run(seed)
        assert "" == outcome.kind, f"{outcome.kind}: {outcome.text}; scripts/sim --trace --seeds {seed}"
        total.add(outcome.statistics)
    assert [] == [name for name in NEVER_IN_VAIN if getattr(total, name) == 0]


def test_a_seed_is_the_same_run_in_every_process() -> None:
    script = (
        "import json, dataclasses; from tests.sim.runs import run; "
        "print(json.dumps([dataclasses.asdict(run(seed, trace=True)) for seed in (1, 2, 3)]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    there = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert [asdict(run(seed, trace=True)) for seed in (1, 2, 3)] == json.loads(there.stdout)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_bug_is_found(plant: Plant) -> None:
    for seed in range(PLANT_SEEDS_MAX):
        outcome = run(seed, plant=plant)
        if outcome.kind:
            assert outcome.kind in plant.found_by, outcome.text
            return
    pytest.fail(f"{plant.name} was not found in {PLANT_SEEDS_MAX} seeds")
