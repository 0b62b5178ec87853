"""What does watching cost? ``python -m bench.idle --flavor mysql --seconds 60``

Three nodes watch a primary with three replicas; nobody writes, nothing fails. CPU seconds and resident memory of each
node, and of the database servers for what being watched costs them, over the given time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from bench import report
from bench.stage import SERVERS, stage
from sandbox.binaries import Flavor, version_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench."""
    top = argparse.ArgumentParser(prog="bench.idle")
    top.add_argument("--flavor", choices=[flavor.value for flavor in Flavor], required=True)
    top.add_argument("--seconds", type=float, default=60.0)
    options = top.parse_args(arguments)
    with stage(options.flavor, writing=False) as found:
        nodes, servers = found.nodes, found.servers
        leader = nodes.wait_leader()
        pids = {f"{'leader' if node is leader else 'follower'} {node.number}": node.pid for node in nodes.nodes}
        pids |= {f"server {server.port}": server.pid for server in servers.servers}
        before = {name: report.process_usage(pid) for name, pid in pids.items() if pid is not None}
        time.sleep(options.seconds)
        after = {name: report.process_usage(pid) for name, pid in pids.items() if pid is not None}
    figures = []
    for name, (cpu_s, _) in before.items():
        used = 100 * (after[name][0] - cpu_s) / options.seconds
        figures.append(report.figure(f"CPU of {name}", "% of a core", [used]))
        figures.append(report.figure(f"memory of {name}", "MiB", [after[name][1]]))
    server = f"{options.flavor} {version_text(servers.binary.version)}"
    about = {**report.machine(), "seconds": options.seconds, "server": server}
    report.show(f"three nodes watching {SERVERS} servers, {options.flavor}", about, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
