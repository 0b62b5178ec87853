"""The coverage-guided run: ``scripts/fuzz --seconds 60 --target all``.

Each target gets its share of the time. An input that reaches a new pair of lines in the watched modules, or a new kind
of answer, is kept and changed further; so the run finds its way through checks that random bytes never pass. An
exception that is not the declared one, a run longer than ``HANG_S`` or one that needs more memory than ``MEMORY_BYTES``
is a finding: the input is written to ``--save`` and the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.edits import any_edits, edited
from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.watch import watching

HANG_S = 10.0
MEMORY_BYTES = 2 << 30
CORPUS_MAX = 5_000
ANSWERS_MAX = 2_000
FINDINGS_MAX = 20
_CHANGING = re.compile(r"0x[0-9a-f]+|\d+|'[^']*'|\"[^\"]*\"")


class Hang(Exception):
    """One input took longer than ``HANG_S``."""


@dataclass(slots=True)
class Run:
    """What one target's run has met so far."""

    target: Target
    corpus: list[bytes] = field(default_factory=list)
    lines: set[tuple[str, int, int]] = field(default_factory=set)
    """(file, line before, line)."""
    answers: set[str] = field(default_factory=set)
    executions: int = 0
    findings: dict[str, bytes] = field(default_factory=dict)
    """By what was raised where."""

    def __str__(self) -> str:
        reached = len({(file, line) for file, _, line in self.lines})
        return (
            f"{self.target.name:9} {self.executions:9,} inputs, {reached:4} lines, {len(self.lines):4} pairs of lines, "
            f"{len(self.answers):4} kinds of answers, corpus {len(self.corpus):4}, findings {len(self.findings)}"
        )


class Tracer:
    """Collects the pairs of lines that are reached in some files."""

    def __init__(self, files: frozenset[str]) -> None:
        self._files = files
        self.reached: set[tuple[str, int, int]] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        del event, argument
        file = frame.f_code.co_filename
        if file not in self._files:
            return None
        before, reached = 0, self.reached

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            del argument
            if event == "line":
                reached.add((file, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line


def fuzz(target: Target, seconds: float, dice: random.Random) -> Run:
    """Until the time is over or there are too many findings."""
    run, end_s = Run(target), time.monotonic() + seconds
    files = frozenset(str(module.__file__) for module in target.modules)
    seeds = list(target.seeds())
    for seed in seeds:
        _try(run, seed, files)
    run.corpus = seeds + [seed for seed in run.corpus if seed not in seeds]
    while time.monotonic() < end_s and len(run.findings) < FINDINGS_MAX:
        recent = run.corpus[-20:] if dice.random() < 0.3 else run.corpus
        _try(run, edited(dice.choice(recent), any_edits(dice, run.corpus)), files)
    return run


def _try(run: Run, data: bytes, files: frozenset[str]) -> None:
    tracer = Tracer(files)
    run.executions += 1
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    sys.settrace(tracer)
    try:
        with watching() as seen:
            answer = run.target.run(data)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        sys.settrace(None)
        run.findings.setdefault(_place(error), data)
        return
    finally:
        sys.settrace(None)
        signal.setitimer(signal.ITIMER_REAL, 0)
    if run.executions > len(run.target.seeds()) and any(not event.startswith("import") for event in seen):
        run.findings.setdefault("it executed something: " + seen[0], data)
    _keep(run, data, tracer.reached, _CHANGING.sub("#", answer)[:200])


def _keep(run: Run, data: bytes, reached: set[tuple[str, int, int]], answer: str) -> None:
    is_new = not reached <= run.lines
    run.lines |= reached
    if answer not in run.answers and len(run.answers) < ANSWERS_MAX:
        run.answers.add(answer)
        is_new = True
    if is_new and len(run.corpus) < CORPUS_MAX:
        run.corpus.append(data)


def _place(error: Exception) -> str:
    """What was raised, and the frames that name one finding however its values differ."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = (f"  {Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__}: {_CHANGING.sub('#', str(error))[:100]}\n" + "\n".join(places)


def _hung(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise Hang(f"longer than {HANG_S:g} s")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description="Coverage-guided fuzzing of everything that reads"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--target", choices=["all", *TARGETS], default="all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, default=Path(".cache/fuzz"), help="where findings are written")
    options = parser.parse_args(arguments)
    chosen = list(TARGETS.values()) if options.target == "all" else [TARGETS[options.target]]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _hung)
    found = 0
    for target in chosen:
        run = fuzz(target, options.seconds / len(chosen), random.Random(options.seed))
        print(run, flush=True)
        for place, data in run.findings.items():
            found += 1
            options.save.mkdir(parents=True, exist_ok=True)
            file = options.save / f"{target.name}-{hashlib.sha256(data).hexdigest()[:12]}"
            file.write_bytes(data)
            print(f"FOUND, input in {file}\n{place}")
    print(f"{found} findings" if found else "nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
