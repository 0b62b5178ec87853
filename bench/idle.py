"""What does watching cost? ``python -m bench.idle --flavor mysql --seconds 60``

Three nodes watch a primary with three replicas; nobody writes, nothing fails. CPU seconds and resident memory of each
node, and of the database servers for what being watched costs them, over the given time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import report
from sandbox import ports, topology
from sandbox.binaries import Flavor, version_text
from sandbox.nodes import Nodes

SERVERS = 4
SETTLE_S = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench."""
    top = argparse.ArgumentParser(prog="bench.idle")
    top.add_argument("--flavor", choices=[flavor.value for flavor in Flavor], required=True)
    top.add_argument("--seconds", type=float, default=60.0)
    options = top.parse_args(arguments)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-bench-")))
        block = stack.enter_context(ports.reserved())
        servers = topology.start(Flavor(options.flavor), SERVERS, block[0], directory / "servers")
        stack.callback(servers.stop_all, discard=True)
        nodes = Nodes(directory / "nodes", http_port=block[10], raft_port=block[11])
        stack.callback(nodes.stop_all)
        nodes.start()
        primary = servers.primary()
        nodes.discover(primary.host, primary.port, SERVERS)
        time.sleep(SETTLE_S)
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
    server = f"{options.flavor} {version_text(primary.version)}"
    about = {**report.machine(), "seconds": options.seconds, "server": server}
    report.show(f"three nodes watching {SERVERS} servers, {options.flavor}", about, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
