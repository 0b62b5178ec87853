"""The command line of a simulator: thousands of seeds, or one seed in detail, or a product with a bug.

A file given with --resume gets one line of JSON for each seed that was run; a later call with the same file skips those
seeds and counts them in. The exit code is 1 if a promise was broken; with --plant, if the planted bug was not found.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import process_time, time
from typing import Any, Protocol

from tests.seeded.outcomes import Counts, Outcome
from tests.seeded.planting import Plant

SHOWN_MAX = 20
PLANT_SEEDS_MAX = 200
SEEDS_A_PROCESS = 100


class Run(Protocol):
    """A function of a module, so that other processes find it by its name."""

    def __call__(self, seed: int, *, plant: Any = None, trace: bool = False) -> Outcome[Any]: ...


@dataclass(frozen=True, slots=True)
class Simulator:
    """What the command line is about."""

    name: str
    what: str
    run: Run
    plants: Mapping[str, Plant]
    statistics: type[Counts]

    def parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"scripts/{self.name}", description=self.what)
        plants = sorted(self.plants)
        parser.add_argument("--seeds", type=seeds, default=range(100), metavar="A-B", help="both included; or one seed")
        parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
        parser.add_argument("--resume", type=Path, metavar="FILE", help="keeps results, and skips the seeds it has")
        parser.add_argument("--plant", choices=plants, metavar="NAME", help="run a product that has this bug")
        parser.add_argument("--list", action="store_true", help="show the bugs that can be planted")
        parser.add_argument("--find-plants", action="store_true", help="how many seeds each planted bug takes")
        parser.add_argument("--trace", action="store_true", help="show what happens in the first of the seeds")
        return parser

    def main(self, options: argparse.Namespace) -> int:
        """Carry out what ``parser`` has parsed; gives the exit code."""
        logging.disable(logging.CRITICAL)
        if options.list:
            for plant in self.plants.values():
                print(f"{plant.name:24} {plant.what}")
            return 0
        if options.find_plants:
            return self._find_all(options)
        if options.trace:
            return self._trace(options.seeds[0], options.plant)
        return self._many(options)

    def one(self, plant: str | None, seed: int, *, trace: bool = False) -> Outcome[Any]:
        logging.disable(logging.CRITICAL)
        return self.run(seed, plant=self.plants[plant] if plant else None, trace=trace)

    def _trace(self, seed: int, plant: str | None) -> int:
        outcome = self.one(plant, seed, trace=True)
        print("\n".join(outcome.trace))
        print(_line(outcome))
        return int(bool(outcome.kind))

    def _many(self, options: argparse.Namespace) -> int:
        known = self._read(options.resume) if options.resume else {}
        done = [known[seed] for seed in options.seeds if seed in known]
        began_s, shown = time(), 0
        for outcome in self._outcomes(options, [seed for seed in options.seeds if seed not in known]):
            done.append(outcome)
            if options.resume:
                _write(options.resume, outcome)
            if outcome.kind and shown < SHOWN_MAX:
                shown += 1
                print(_line(outcome), flush=True)
        self._summary(done, time() - began_s)
        return int(any(outcome.kind for outcome in done) != bool(options.plant))

    def _outcomes(self, options: argparse.Namespace, numbers: Sequence[int]) -> Iterator[Outcome[Any]]:
        if options.jobs == 1:
            yield from map(partial(self.one, options.plant), numbers)
            return
        calls = [(self.name, options.plant, seed) for seed in numbers]
        with multiprocessing.get_context("fork").Pool(options.jobs, maxtasksperchild=SEEDS_A_PROCESS) as pool:
            yield from pool.imap_unordered(_one_elsewhere, calls)

    def _find_all(self, options: argparse.Namespace) -> int:
        is_missing = False
        with multiprocessing.get_context("fork").Pool(options.jobs, maxtasksperchild=1) as pool:
            for name, text in pool.imap_unordered(_find_elsewhere, [(self.name, name) for name in self.plants]):
                print(f"{name:24} {text}", flush=True)
                is_missing = is_missing or text.startswith("NOT")
        return int(is_missing)

    def _read(self, path: Path) -> dict[int, Outcome[Any]]:
        if not path.exists():
            return {}
        plain = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
        made = [Outcome(**{**values, "statistics": self.statistics(**values["statistics"])}) for values in plain]
        return {outcome.seed: outcome for outcome in made}

    def _summary(self, done: Sequence[Outcome[Any]], took_s: float) -> None:
        total = self.statistics()
        for outcome in done:
            total.add(outcome.statistics)
        for name, value in total.rows():
            print(f"{name:>24} {value:>14}")
        kinds = Counter(outcome.kind for outcome in done if outcome.kind)
        for kind, count in kinds.most_common():
            print(f"{count:>8} x {kind}")
        print(f"{len(done)} seeds, {sum(kinds.values())} with a broken promise; {took_s:.0f} s, "
              f"this process {process_time():.0f} s of CPU")  # fmt: skip


_SIMULATORS: dict[str, Simulator] = {}
"""By name, for the processes that a pool forks."""


def registered(simulator: Simulator) -> Simulator:
    _SIMULATORS[simulator.name] = simulator
    return simulator


def _one_elsewhere(call: tuple[str, str | None, int]) -> Outcome[Any]:
    name, plant, seed = call
    return _SIMULATORS[name].one(plant, seed)


def _find_elsewhere(call: tuple[str, str]) -> tuple[str, str]:
    simulator, name = _SIMULATORS[call[0]], call[1]
    logging.disable(logging.CRITICAL)
    found = seeds_to_find(simulator.run, simulator.plants[name], PLANT_SEEDS_MAX)
    if found is None:
        return name, f"NOT FOUND in {PLANT_SEEDS_MAX} seeds"
    count, outcome = found
    mark = "" if outcome.kind in simulator.plants[name].found_by else " (another promise than expected)"
    return name, f"{count:4} seeds: {outcome.kind}{mark}: {outcome.text}"


def seeds_to_find(run: Run, plant: Plant, seeds_max: int) -> tuple[int, Outcome[Any]] | None:
    """How many seeds it took, and what gave the bug away; None if nothing did."""
    for seed in range(seeds_max):
        outcome = run(seed, plant=plant)
        if outcome.kind:
            return seed + 1, outcome
    return None


def seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _line(outcome: Outcome[Any]) -> str:
    if not outcome.kind:
        return f"seed {outcome.seed}: all promises kept"
    return f"seed {outcome.seed}: {outcome.kind} at {outcome.at_s:.3f} s: {outcome.text}"


def _write(path: Path, outcome: Outcome[Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(asdict(outcome)) + "\n")
