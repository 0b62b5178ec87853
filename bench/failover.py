"""How long are writes refused when a primary is killed? ``python -m bench.failover --flavor mysql --runs 20``

Each run is a new stage: a primary with three replicas under semi-sync (or ``--async``), three nodes with default
settings, a writer that commits every 5 ms. The primary gets SIGKILL; the outage is read from the writer's log, the
phases from the replicated record, and every acknowledged write is looked for on the new primary.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench import report
from bench.stage import SETTLE_S, Stage, stage
from sandbox import story
from sandbox.binaries import Flavor, version_text

PHASES = ("noticed", "confirmed", "claimed", "chosen", "promoted", "repointed")


@dataclass(frozen=True, slots=True)
class Run:
    """One kill."""

    outage_ms: float
    phases: dict[str, int]
    lost: int
    version: str
    acknowledged: int


def one_run(options: argparse.Namespace) -> Run:
    """A whole stage, one kill, everything ended again."""
    settings = {"semi_sync": not options.asynchronous, "server_defaults": options.server_defaults}
    with stage(options.flavor, **settings) as found:
        return measure(found)


def measure(found: Stage) -> Run:
    """Kill, wait until the recovery has ended and writes are back, read everything."""
    primary = found.servers.primary()
    killed_ms = time.time_ns() // 1_000_000
    primary.kill()

    def ended() -> Any:
        newest = found.nodes.get("/api/v2/recoveries")
        return newest[0] if newest and newest[0]["end"] != "running" else None

    recovery = found.nodes.wait("the failover has ended", ended, 60.0)
    outages = found.wait_until_writable()
    time.sleep(SETTLE_S / 2)
    compared = found.compare()
    marks = story.marks(recovery, killed_ms)
    phases = {name: after for name in PHASES if (after := story.after_ms(marks, name)) is not None}
    longest = max(each.duration_s or 0.0 for each in outages)
    return Run(longest * 1000, phases, len(compared.missing), version_text(primary.version), compared.acknowledged)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; the exit code tells of lost writes, never of speed."""
    top = argparse.ArgumentParser(prog="bench.failover")
    top.add_argument("--flavor", choices=[flavor.value for flavor in Flavor], required=True)
    top.add_argument("--runs", type=int, default=20)
    top.add_argument("--async", dest="asynchronous", action="store_true", help="without semi-sync")
    top.add_argument("--server-defaults", action="store_true", help="net timeout, heartbeat, retry as the server has")
    options = top.parse_args(arguments)
    before = report.machine()
    runs = []
    for number in range(1, options.runs + 1):
        runs.append(one_run(options))
        print(f"run {number}: {runs[-1]}", file=sys.stderr, flush=True)
    figures = [report.figure("writes refused", "ms", [run.outage_ms for run in runs])]
    for name in PHASES:
        values = [float(run.phases[name]) for run in runs if name in run.phases]
        if values:
            figures.append(report.figure(f"{name} after the kill", "ms", values))
    lost = sum(run.lost for run in runs)
    about = {
        **before,
        "load_1min_after": report.machine()["load_1min"],
        "server": f"{options.flavor} {runs[0].version}",
        "semi_sync": not options.asynchronous,
        "server_defaults": options.server_defaults,
        "acknowledged": sum(run.acknowledged for run in runs),
        "acknowledged_and_lost": lost,
    }
    report.show(f"kill -9 of the primary, {options.flavor}", about, figures)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
