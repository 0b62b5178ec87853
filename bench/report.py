"""Figures and the machine they were taken on: medians, a table, JSON; the same for every bench."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FSYNC_SAMPLES = 50


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity."""

    name: str
    unit: str
    n: int
    median: float
    p99: float
    least: float
    most: float


def figure(name: str, unit: str, values: Sequence[float]) -> Figure:
    """Summarise; ``values`` must not be empty."""
    ordered = sorted(values)
    rank = min(len(ordered) - 1, max(0, round(0.99 * len(ordered)) - 1)) if len(ordered) > 1 else 0
    return Figure(name, unit, len(ordered), statistics.median(ordered), ordered[rank], ordered[0], ordered[-1])


def table(figures: Sequence[Figure]) -> str:
    """Figures as a Markdown table."""
    lines = ["| | unit | median | p99 | min | max | n |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for each in figures:
        numbers = " | ".join(f"{value:.1f}" for value in (each.median, each.p99, each.least, each.most))
        lines.append(f"| {each.name} | {each.unit} | {numbers} | {each.n} |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What has to be known to read a figure: cores, load, how long an fsync takes, which commit."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1min": round(os.getloadavg()[0], 2),
        "fsync_ms_median": round(fsync_ms(), 2),
    }


def commit() -> str:
    """The checkout's commit, with a mark when it has changes."""
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def fsync_ms() -> float:
    """Median of appending 4 KiB and fsync."""
    times = []
    with tempfile.NamedTemporaryFile(dir=Path.cwd()) as file:
        for _ in range(FSYNC_SAMPLES):
            begun = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def show(title: str, about: Mapping[str, Any], figures: Sequence[Figure]) -> None:
    """Print the table for people and one line of JSON for programs."""
    print(f"\n## {title}\n")
    print("\n".join(f"- {name}: {value}" for name, value in about.items()))
    print("\n" + table(figures) + "\n")
    print(json.dumps({"title": title, "about": dict(about), "figures": [asdict(each) for each in figures]}))


def process_usage(pid: int) -> tuple[float, float]:
    """(CPU seconds so far, resident MiB) of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = os.sysconf("SC_CLK_TCK")
    resident = next(
        int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line[:6] == "VmRSS:"
    )
    return (int(fields[11]) + int(fields[12])) / ticks, resident / 1024
