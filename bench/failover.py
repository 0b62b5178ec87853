"""How long are writes refused when a primary is lost? ``python -m bench.failover --flavor mysql --runs 20``

Each run is a new stage: a primary with three replicas under semi-sync (or ``--async``), three nodes with default
settings, a writer that commits every 5 ms. The primary gets SIGKILL, or SIGSTOP with ``--how stop``, and then goes on
when the others have gone on without it. The outage is read from the writer's log, the phases from the replicated
record, and every acknowledged write is looked for on the new primary.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import report
from bench.stage import SETTLE_S, Stage, stage
from sandbox import story
from sandbox.binaries import Flavor, version_text
from sandbox.servers import Server

PHASES = ("noticed", "confirmed", "claimed", "chosen", "promoted", "repointed")
LOSSES: Mapping[str, Callable[[Server], None]] = {"kill": Server.kill, "stop": Server.freeze}
TITLES = {"kill": "kill -9", "stop": "SIGSTOP"}


@dataclass(frozen=True, slots=True)
class Run:
    """One primary lost."""

    outage_ms: float
    phases: dict[str, int]
    lost: int
    version: str
    acknowledged: int


def one_run(options: argparse.Namespace) -> Run:
    """A whole stage, one primary lost, everything ended again."""
    settings = {"semi_sync": not options.asynchronous, "server_defaults": options.server_defaults}
    with stage(options.flavor, **settings) as found:
        return measure(found, LOSSES[options.how])


def measure(found: Stage, lose: Callable[[Server], None]) -> Run:
    """Lose the primary, wait until the recovery has ended and writes are back, read everything."""
    primary = found.servers.primary()
    lost_ms = time.time_ns() // 1_000_000
    lose(primary)
    recovery = ended(found, "dead_primary")
    outages = found.wait_until_writable()
    if primary.is_running():
        primary.thaw()
        ended(found, "rejoin")
    time.sleep(SETTLE_S / 2)
    compared = found.compare()
    marks = story.marks(recovery, lost_ms)
    phases = {name: after for name in PHASES if (after := story.after_ms(marks, name)) is not None}
    longest = max(each.duration_s or 0.0 for each in outages)
    return Run(longest * 1000, phases, len(compared.missing), version_text(primary.version), compared.acknowledged)


def ended(found: Stage, kind: str) -> Any:
    """The newest recovery of this kind, when it has ended."""

    def newest() -> Any:
        recoveries = [each for each in found.nodes.get("/api/v2/recoveries?every=true") if each["kind"] == kind]
        return recoveries[0] if recoveries and recoveries[0]["end"] != "running" else None

    return found.nodes.wait(f"a {kind} has ended", newest, 60.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; the exit code tells of lost writes, never of speed."""
    top = argparse.ArgumentParser(prog="bench.failover")
    top.add_argument("--flavor", choices=[flavor.value for flavor in Flavor], required=True)
    top.add_argument("--runs", type=int, default=20)
    top.add_argument("--how", choices=list(LOSSES), default="kill", help="SIGKILL or SIGSTOP of the primary")
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
            figures.append(report.figure(f"{name} after the {options.how}", "ms", values))
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
    report.show(f"{TITLES[options.how]} of the primary, {options.flavor}", about, figures)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
