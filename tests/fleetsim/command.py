"""``scripts/fleetsim``: thousands of seeds, or one seed in detail.

A file given with --resume gets one line of JSON for each seed that was run; a later call with the same file skips those
seeds and counts them in. The exit code is 1 if a promise was broken; with --plant, if the planted bug was not found.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import time

from tests.fleetsim.plants import BY_NAME, PLANTS, Plant
from tests.fleetsim.runs import Outcome, run
from tests.fleetsim.statistics import Statistics

SHOWN_MAX = 20
PLANT_SEEDS_MAX = 200


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    logging.disable(logging.CRITICAL)
    if options.list:
        for plant in PLANTS:
            print(f"{plant.name:24} {plant.what}")
        return 0
    if options.find_plants:
        return _find_all(options.jobs)
    if options.trace:
        return _trace(options.seeds[0], options.plant)
    return _many(options)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/fleetsim", description="Managers, databases and clients in virtual time, by seed."
    )
    parser.add_argument("--seeds", type=_seeds, default=range(100), metavar="A-B", help="both included; or one seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keeps results, and skips the seeds that it has")
    parser.add_argument("--plant", choices=sorted(BY_NAME), metavar="NAME", help="run a product that has this bug")
    parser.add_argument("--list", action="store_true", help="show the bugs that can be planted")
    parser.add_argument("--find-plants", action="store_true", help="how many seeds each planted bug takes to be found")
    parser.add_argument("--trace", action="store_true", help="show what happens in the first of the seeds")
    return parser.parse_args(arguments)


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _trace(seed: int, plant: str | None) -> int:
    outcome = run(seed, plant=BY_NAME[plant] if plant else None, trace=True)
    print("\n".join(outcome.trace))
    print(_line(outcome))
    return bool(outcome.kind)


def _many(options: argparse.Namespace) -> int:
    known = _read(options.resume) if options.resume else {}
    done = [known[seed] for seed in options.seeds if seed in known]
    began_s = time()
    shown = 0
    for outcome in _outcomes([seed for seed in options.seeds if seed not in known], options.plant, options.jobs):
        done.append(outcome)
        if options.resume:
            _write(options.resume, outcome)
        if outcome.kind and shown < SHOWN_MAX:
            shown += 1
            print(_line(outcome), flush=True)
    _summary(done, time() - began_s)
    found = any(outcome.kind for outcome in done)
    return int(found != bool(options.plant))


def _outcomes(seeds: Sequence[int], plant: str | None, jobs: int) -> Iterator[Outcome]:
    one = partial(run_by_name, plant)
    if jobs == 1:
        yield from map(one, seeds)
        return
    with multiprocessing.Pool(jobs, maxtasksperchild=100) as pool:
        yield from pool.imap_unordered(one, seeds)


def run_by_name(plant: str | None, seed: int) -> Outcome:
    logging.disable(logging.CRITICAL)
    return run(seed, plant=BY_NAME[plant] if plant else None)


def seeds_to_find(plant: Plant, seeds_max: int = PLANT_SEEDS_MAX) -> tuple[int, Outcome] | None:
    """How many seeds it took, and what gave the bug away; None if nothing did."""
    for seed in range(seeds_max):
        outcome = run(seed, plant=plant)
        if outcome.kind:
            return seed + 1, outcome
    return None


def _found_by_name(name: str) -> tuple[str, str]:
    logging.disable(logging.CRITICAL)
    found = seeds_to_find(BY_NAME[name])
    if found is None:
        return name, f"NOT FOUND in {PLANT_SEEDS_MAX} seeds"
    count, outcome = found
    mark = "" if outcome.kind in BY_NAME[name].found_by else " (another promise than expected)"
    return name, f"{count:4} seeds: {outcome.kind}{mark}: {outcome.text}"


def _find_all(jobs: int) -> int:
    is_missing = False
    with multiprocessing.Pool(jobs, maxtasksperchild=1) as pool:
        for name, text in pool.imap_unordered(_found_by_name, [plant.name for plant in PLANTS]):
            print(f"{name:24} {text}", flush=True)
            is_missing = is_missing or text.startswith("NOT")
    return int(is_missing)


def _line(outcome: Outcome) -> str:
    if not outcome.kind:
        return f"seed {outcome.seed}: all promises kept"
    return f"seed {outcome.seed}: {outcome.kind} at {outcome.at_s:.3f} s: {outcome.text}"


def _read(path: Path) -> dict[int, Outcome]:
    if not path.exists():
        return {}
    plain = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    outcomes = [Outcome(**{**values, "statistics": Statistics(**values["statistics"])}) for values in plain]
    return {outcome.seed: outcome for outcome in outcomes}


def _write(path: Path, outcome: Outcome) -> None:
    with path.open("a") as file:
        file.write(json.dumps(asdict(outcome)) + "\n")


def _summary(done: Sequence[Outcome], took_s: float) -> None:
    total = Statistics()
    for outcome in done:
        total.add(outcome.statistics)
    for name, value in total.rows():
        print(f"{name:>24} {value:>14}")
    kinds = Counter(outcome.kind for outcome in done if outcome.kind)
    for kind, count in kinds.most_common():
        print(f"{count:>8} x {kind}")
    print(f"{len(done)} seeds, {sum(kinds.values())} with a broken promise; {took_s:.0f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
