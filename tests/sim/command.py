"""``scripts/sim``: thousands of seeds, or one seed in detail.

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
from time import process_time, time

from tests.sim.plants import BY_NAME
from tests.sim.runs import Outcome, run
from tests.sim.statistics import Statistics
from tests.sim.stock import TROUBLES
from tests.sim.stock_report import report

SHOWN_MAX = 20


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    logging.disable(logging.CRITICAL)
    if options.list:
        for plant in BY_NAME.values():
            print(f"{plant.name:24} {plant.what}")
        return 0
    if options.stock:
        return report(options.seeds, options.stock, options.jobs)
    if options.trace:
        return _trace(options.seeds[0], options.plant)
    return _many(options)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/sim", description="Whole Raft clusters in virtual time, by seed.")
    parser.add_argument("--seeds", type=_seeds, default=range(100), metavar="A-B", help="both included; or one seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keeps results, and skips the seeds that it has")
    parser.add_argument("--plant", choices=sorted(BY_NAME), metavar="NAME", help="run a product that has this bug")
    parser.add_argument("--stock", choices=TROUBLES, metavar="TROUBLE",
                        help=f"run the stock library instead; one of {', '.join(TROUBLES)}")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="show the bugs that can be planted")
    parser.add_argument("--trace", action="store_true", help="show what happens in the first of the seeds")
    return parser.parse_args(arguments)


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _trace(seed: int, plant: str | None) -> int:
    outcome = run(seed, plant=BY_NAME[plant] if plant else None, trace=True)
    print("\n".join(outcome.trace))
    print(_line(outcome))
    return int(bool(outcome.kind))


def _many(options: argparse.Namespace) -> int:
    known = _read(options.resume) if options.resume else {}
    done = [known[seed] for seed in options.seeds if seed in known]
    began_s = time()
    for outcome in _run_all(options, [seed for seed in options.seeds if seed not in known]):
        done.append(outcome)
        if options.resume:
            _write(options.resume, outcome)
        if outcome.kind:
            print(_line(outcome), flush=True)
    _summary(done, time() - began_s)
    broken = sum(bool(outcome.kind) for outcome in done)
    return int(broken == 0) if options.plant else int(broken > 0)


def _run_all(options: argparse.Namespace, seeds: Sequence[int]) -> Iterator[Outcome]:
    one = partial(run_by_name, options.plant)
    if options.jobs == 1:
        yield from map(one, seeds)
        return
    with multiprocessing.get_context("forkserver").Pool(options.jobs, maxtasksperchild=500) as pool:
        yield from pool.imap_unordered(one, seeds, chunksize=5)


def run_by_name(plant: str | None, seed: int) -> Outcome:
    logging.disable(logging.CRITICAL)
    return run(seed, plant=BY_NAME[plant] if plant else None)


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
    undecided = sum(outcome.undecided for outcome in done)
    broken = sum(kinds.values())
    print(f"{len(done)} seeds, {broken} with a broken promise, {undecided} histories too long to decide; "
          f"{took_s:.0f} s, this process {process_time():.0f} s of CPU")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
