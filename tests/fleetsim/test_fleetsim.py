"""A whole installation under random faults keeps its word; the same seed is the same run; planted bugs are found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import count
from time import process_time

import pytest

from tests.fleetsim.command import seeds_to_find
from tests.fleetsim.plants import PLANTS, Plant
from tests.fleetsim.runs import run
from tests.fleetsim.statistics import Statistics

BUDGET_S = 25.0
SEEDS_MIN = 10
PLANT_SEEDS_MAX = 60
NEVER_IN_VAIN = (
    "terms", "acknowledged", "writes_refused", "openings", "failovers", "takeovers", "rejoins", "resumed",
    "server_kills", "server_freezes", "node_kills", "kills_inside", "pauses_inside", "cuts", "operations",
)  # fmt: skip


@pytest.mark.timeout(600)
def test_promises_hold_through_random_faults() -> None:
    ends_s = process_time() + BUDGET_S
    total = Statistics()
    for seed in count():
        if seed >= SEEDS_MIN and process_time() > ends_s:
            break
        outcome = run(seed)
        assert "" == outcome.kind, f"{outcome.kind}: {outcome.text}; scripts/fleetsim --trace --seeds {seed}"
        total.add(outcome.statistics)
    assert [] == [name for name in NEVER_IN_VAIN if getattr(total, name) == 0]


def test_a_seed_is_the_same_run_in_every_process() -> None:
    script = (
        "import json, logging; from tests.fleetsim.runs import run; logging.disable(logging.CRITICAL); "
        "print(json.dumps([run(seed, trace=True).trace for seed in (1, 2)]))"
    )
    runs = []
    for hash_seed in ("7", "8"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", script]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        runs.append(json.loads(ended.stdout))
    assert runs[0] == runs[1]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("plant", [plant for plant in PLANTS if not plant.is_rare], ids=lambda plant: plant.name)
def test_a_planted_bug_is_found(plant: Plant) -> None:
    found = seeds_to_find(plant, PLANT_SEEDS_MAX)
    assert found is not None, f"{plant.name} was not found in {PLANT_SEEDS_MAX} seeds"
    assert found[1].kind in plant.found_by, found[1].text
