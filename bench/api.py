"""How fast are answers over HTTP? ``python -m bench.api`` (a few minutes)

Three nodes know 1,000 servers, which answer from a table (``api_node``) and are probed at the default pace. wrk asks
the leader and a follower for a cluster, for all servers and for two health checks, as fast as they are answered. wrk
runs on the same machine and takes its part of the cores. Then ``raftctl status`` from a cold start, and what the nodes
weigh.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from bench import load, report
from bench.api_node import FLEET, primaries
from bench.report import Figure, figure
from sandbox import ports
from sandbox.nodes import Node, Nodes

PROJECT = Path(__file__).resolve().parent.parent
DISCOVERY_TIMEOUT_S = 180.0
COMMAND_TIMEOUT_S = 30.0


def discovered(nodes: Nodes, instances: int) -> None:
    """Give the nodes every primary, and wait until each server is known and answers."""
    leader = nodes.wait_leader()
    for key in primaries(instances):
        leader.get(f"/api/async-discover/{key.hostname}/{key.port}", COMMAND_TIMEOUT_S)

    def complete() -> bool:
        servers = nodes.get("/api/all-instances", COMMAND_TIMEOUT_S)
        return len(servers) == instances and all(server["IsLastCheckValid"] for server in servers)

    nodes.wait(f"{instances} servers are known", complete, DISCOVERY_TIMEOUT_S)


def asked(node: Node, name: str, paths: dict[str, str], options: argparse.Namespace) -> Iterator[Figure]:
    for what, path in paths.items():
        found = [
            load.run(node.url + path, seconds=options.seconds, connections=options.connections)
            for _ in range(options.runs)
        ]
        if any(each.failed for each in found):
            raise SystemExit(f"{name} {path}: {sum(each.failed for each in found)} requests failed")
        yield figure(f"{name}: {what}, rate", "requests/s", [each.requests_s for each in found])
        yield figure(f"{name}: {what}, median", "ms", [each.p50_ms for each in found])
        yield figure(f"{name}: {what}, p99", "ms", [each.p99_ms for each in found])


def status_ms(node: Node) -> float:
    """One ``raftctl status``, from the start of its process to the end."""
    command = [sys.executable, "-m", "orchestrator_raft.raftctl", "--api", node.url, "status"]
    begun_s = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=COMMAND_TIMEOUT_S)
    return 1000 * (time.monotonic() - begun_s)


def measured(nodes: Nodes, options: argparse.Namespace) -> Iterator[Figure]:
    leader = nodes.wait_leader()
    follower = next(node for node in nodes.nodes if node is not leader)
    cluster = quote(str(primaries(options.instances)[0]), safe="")
    paths = {
        "/health/leader": "/health/leader",
        "/health/live": "/health/live",
        "/api/cluster/:c": f"/api/cluster/{cluster}",
        "/api/all-instances": "/api/all-instances",
    }
    yield from asked(leader, "leader", paths, options)
    yield from asked(follower, "follower", {each: paths[each] for each in paths if each != "/health/leader"}, options)
    yield figure("raftctl status from a cold start", "ms", [status_ms(leader) for _ in range(options.starts)])
    for node in nodes.nodes:
        if node.pid is not None:
            name = "leader" if node is leader else f"follower {node.number}"
            yield figure(f"memory of {name}", "MiB", [report.process_usage(node.pid)[1]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench."""
    top = argparse.ArgumentParser(prog="bench.api")
    top.add_argument("--instances", type=int, default=1000)
    top.add_argument("--connections", type=int, default=16)
    top.add_argument("--seconds", type=int, default=5, help="of each run of wrk")
    top.add_argument("--runs", type=int, default=3, help="of wrk, for each path")
    top.add_argument("--starts", type=int, default=10, help="of raftctl")
    options = top.parse_args(arguments)
    load.program()
    os.environ[FLEET] = str(options.instances)
    os.environ["PYTHONPATH"] = str(PROJECT)
    about = {**report.machine(), "servers": options.instances, "connections": options.connections}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-bench-")))
        block = stack.enter_context(ports.reserved())
        nodes = Nodes(directory, http_port=block[0], raft_port=block[1], module="bench.api_node")
        stack.callback(nodes.stop_all)
        nodes.start()
        discovered(nodes, options.instances)
        figures = list(measured(nodes, options))
    report.show("Answers over HTTP", about, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
