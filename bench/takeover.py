"""How long does a planned change of primary block writes? ``python -m bench.takeover --flavor mysql --runs 20``

One stage, the role handed to another server again and again under a writer that commits every 5 ms: the outage is read
from the writer's log, the phases from the replicated record, the reply from the clock of whoever asked.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench import report
from bench.stage import SERVERS, SETTLE_S, Stage, stage
from sandbox import story
from sandbox.binaries import Flavor, version_text

PHASES = ("claimed", "chosen", "demoted", "caught up", "promoted", "repointed", "succeeded")


def one_takeover(found: Stage) -> dict[str, float]:
    """Milliseconds by name."""
    before = len(found.outages())
    asked_ms = time.time_ns() // 1_000_000
    reply = found.nodes.wait_leader().get("/api/graceful-master-takeover-auto/demo", 60.0)
    replied_ms = time.time_ns() / 1_000_000
    if reply["Code"] != "OK":
        raise SystemExit(f"the takeover was refused: {reply['Message']}")
    recovery = found.nodes.get("/api/v2/recoveries")[0]
    marks = story.marks(recovery, asked_ms)
    time.sleep(SETTLE_S)
    longest = max((each.duration_s or 0.0 for each in found.outages()[before:]), default=0.0)
    figures = {"writes refused": longest * 1000, "reply": replied_ms - asked_ms}
    return figures | {name: float(after) for name in PHASES if (after := story.after_ms(marks, name)) is not None}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; the exit code tells of lost writes, never of speed."""
    top = argparse.ArgumentParser(prog="bench.takeover")
    top.add_argument("--flavor", choices=[flavor.value for flavor in Flavor], required=True)
    top.add_argument("--runs", type=int, default=20)
    top.add_argument("--wait-for", type=int, default=1, help="semi-sync acknowledgements that a commit waits for")
    options = top.parse_args(arguments)
    before = report.machine()
    runs: list[dict[str, float]] = []
    with stage(options.flavor, wait_for_replica_count=options.wait_for) as found:
        for number in range(1, options.runs + 1):
            runs.append(one_takeover(found))
            print(f"run {number}: {runs[-1]}", file=sys.stderr, flush=True)
        compared = found.compare()
        version = version_text(found.servers.binary.version)
    names = [name for name in ("writes refused", "reply", *PHASES) if any(name in run for run in runs)]
    figures = [report.figure(name, "ms", [run[name] for run in runs if name in run]) for name in names]
    about: dict[str, Any] = {
        **before,
        "load_1min_after": report.machine()["load_1min"],
        "server": f"{options.flavor} {version}",
        "servers": SERVERS,
        "semi_sync_waits_for": options.wait_for,
        "acknowledged": compared.acknowledged,
        "acknowledged_and_lost": len(compared.missing),
    }
    report.show(f"planned takeover, {options.flavor}", about, figures)
    return 1 if compared.missing else 0


if __name__ == "__main__":
    sys.exit(main())
