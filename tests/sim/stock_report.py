"""``scripts/sim --stock power --seeds 0-999``: in how many runs the stock library breaks which promise."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from tests.sim.statistics import Statistics
from tests.sim.stock import Findings, run

COLUMNS = ("kills", "kills_inside", "power_losses", "cuts", "one_way_cuts", "pauses", "connections", "virtual_s")


def report(seeds: Sequence[int], trouble: str, jobs: int) -> int:
    """Prints what was found; the exit code is 0, since these are the findings that are looked for."""
    kinds: Counter[str] = Counter()
    total, runs, broken, acknowledged, lost = Statistics(), 0, 0, 0, 0
    for findings in _run_all(seeds, trouble, jobs):
        runs, broken = runs + 1, broken + bool(findings.kinds)
        kinds.update(findings.kinds)
        total.add(findings.statistics)
        acknowledged, lost = acknowledged + findings.acknowledged, lost + findings.lost
    for name in COLUMNS:
        print(f"{name.replace('_', ' '):>28} {getattr(total, name):>12,.0f}")
    for kind, count in kinds.most_common():
        print(f"{kind:>28} {count:>12,} of {runs:,} seeds, {100 * count / runs:.1f} %")
    print(f"stock library, {trouble}: {runs:,} seeds, {broken:,} with a broken promise; {lost:,} of {acknowledged:,} "
          "acknowledged commands lost")  # fmt: skip
    return 0


def _run_all(seeds: Sequence[int], trouble: str, jobs: int) -> Iterator[Findings]:
    one = partial(_one, trouble)
    if jobs == 1:
        yield from map(one, seeds)
        return
    with multiprocessing.get_context("forkserver").Pool(jobs) as pool:
        yield from pool.imap_unordered(one, seeds, chunksize=5)


def _one(trouble: str, seed: int) -> Findings:
    return run(seed, trouble)
