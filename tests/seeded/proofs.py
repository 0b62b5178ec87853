"""What the tests of every simulator ask: the promises hold, a seed is one run everywhere, planted bugs are found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from itertools import count
from time import process_time
from typing import Any

import pytest

from tests.seeded.command import Simulator, seeds_to_find
from tests.seeded.outcomes import Counts
from tests.seeded.planting import Plant

ELSEWHERE = """
import json, sys
from dataclasses import asdict
from importlib import import_module
run = import_module(sys.argv[1]).run
print(json.dumps([asdict(run(int(seed), trace=True)) for seed in sys.argv[2:]]))
"""


def promises_hold(simulator: Simulator, budget_s: float, seeds_min: int) -> Counts:
    """As many seeds as ``budget_s`` of CPU allow. Gives what happened in them."""
    ends_s = process_time() + budget_s
    total = simulator.statistics()
    for seed in count():
        if seed >= seeds_min and process_time() > ends_s:
            break
        outcome = simulator.run(seed)
        again = f"scripts/{simulator.name} --trace --seeds {seed}"
        assert "" == outcome.kind, f"{outcome.kind}: {outcome.text}; {again}"
        total.add(outcome.statistics)
    return total


def never_happened(total: Counts, names: Sequence[str]) -> list[str]:
    return [name for name in names if getattr(total, name) == 0]


def is_the_same_run_elsewhere(simulator: Simulator, module: str, numbers: Sequence[int]) -> None:
    """In another process, in which the hashes of texts differ."""
    command = [sys.executable, "-c", ELSEWHERE, module, *map(str, numbers)]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert [asdict(simulator.run(seed, trace=True)) for seed in numbers] == json.loads(there.stdout)


def plant_is_found(simulator: Simulator, plant: Plant, seeds_max: int) -> None:
    found = seeds_to_find(simulator.run, plant, seeds_max)
    if found is None:
        pytest.fail(f"{plant.name} was not found in {seeds_max} seeds")
    assert found[1].kind in plant.found_by, found[1].text


def fault_finds_its_bug_alone(broken: Callable[[int, Any], str | None], plant: Plant, seeds_max: int) -> None:
    """``broken`` brings a fault about by seed, on a quiet installation, and gives the promise it breaks, if any."""
    for bug in (None, plant):
        with bug.planted() if bug is not None else nullcontext():
            kinds = {kind for seed in range(seeds_max) if (kind := broken(seed, bug))}
        assert bool(kinds) == (bug is not None), kinds or f"{plant.name} was not found"
        assert kinds <= set(plant.found_by)
