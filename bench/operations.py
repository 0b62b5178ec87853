"""How long do moves take, and how far behind are the moved? ``python -m bench.operations --flavor mysql --runs 20``

Three nodes, a primary with an intermediate server and a writer that commits every 5 ms. One replica is moved back and
forth; then all replicas of the intermediate server are moved to another one together. The time is that of the whole
request, as its client sees it; the lag is how long a moved replica needs, from the answer on, to have what the primary
had then. The same question without a move before it is the base line.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import report
from bench.stage import SETTLE_S, Stage
from sandbox import ports, topology, writer
from sandbox.binaries import Flavor, version_text
from sandbox.nodes import Nodes
from sandbox.servers import Server

BLOCKS_MAX = 200
ATTEMPTS_MAX = 5
CAUGHT_UP_S = 60.0
START_TIMEOUT_S = 300.0


def adjacent(stack: ExitStack, count: int) -> int:
    """The first of so many free ports in a row."""
    row: list[range] = []
    for _ in range(BLOCKS_MAX):
        block = stack.enter_context(ports.reserved())
        row = [*row, block] if row and row[-1].stop == block.start else [block]
        if len(row) * ports.BLOCK >= count:
            return row[0].start
    raise SystemExit(f"there are no {count} free ports in a row")


@contextmanager
def fleet(flavor: str, replicas: int) -> Iterator[Stage]:
    """A primary, two servers below it and ``replicas`` below the first of these; watched by three nodes."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-bench-")))
        count = replicas + 3
        first = adjacent(stack, count)
        servers = topology.start(Flavor(flavor), count, first, directory / "servers", semi_sync=False)
        stack.callback(servers.stop_all, discard=True)
        block = stack.enter_context(ports.reserved())
        nodes = Nodes(directory / "nodes", http_port=block[0], raft_port=block[10])
        stack.callback(nodes.stop_all)
        nodes.start()
        primary = servers.servers[0]
        nodes.discover(primary.host, primary.port, count, START_TIMEOUT_S)
        log = directory / "writer.log"
        application = writer.launch([primary.port], log)
        stack.callback(writer.end, application)
        time.sleep(SETTLE_S)
        yield Stage(servers, nodes, log)


def asked_ms(found: Stage, path: str) -> float:
    """One request to the leader, in milliseconds; again where another one leads by now. Exits when it is refused."""
    said = ""
    for _ in range(ATTEMPTS_MAX):
        node = found.nodes.wait_leader()
        began = time.perf_counter()
        reply: dict[str, Any] = node.get(f"/api/{path}", START_TIMEOUT_S)
        if reply["Code"] == "OK":
            return (time.perf_counter() - began) * 1000
        said = str(reply["Message"])
        if "does not lead" not in said:
            break
        time.sleep(SETTLE_S)
    raise SystemExit(f"{path}: {said}")


def caught_up_ms(found: Stage) -> float:
    """How long until every replica has what the primary has now."""
    began = time.perf_counter()
    found.servers.wait_caught_up(CAUGHT_UP_S)
    return (time.perf_counter() - began) * 1000


def address(server: Server) -> str:
    return f"{server.host}/{server.port}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; the exit code tells of lost writes, never of speed."""
    top = argparse.ArgumentParser(prog="bench.operations")
    top.add_argument("--flavor", choices=[flavor.value for flavor in Flavor], required=True)
    top.add_argument("--runs", type=int, default=20)
    top.add_argument("--replicas", type=int, default=20)
    options = top.parse_args(arguments)
    before = report.machine()
    with fleet(options.flavor, options.replicas) as found:
        _primary, one, other, *rest = found.servers.servers
        figures = moved_alone(found, rest[0], (one, other), options.runs)
        for server in rest:
            asked_ms(found, f"relocate/{address(server)}/{address(one)}")
        figures += moved_together(found, (one, other), max(2, options.runs // 4))
        compared = found.compare()
        version = version_text(found.servers.binary.version)
    about: dict[str, Any] = {
        **before,
        "load_1min_after": report.machine()["load_1min"],
        "server": f"{options.flavor} {version}",
        "replicas_moved_together": options.replicas,
        "acknowledged": compared.acknowledged,
        "acknowledged_and_lost": len(compared.missing),
    }
    report.show(f"moves of replicas, {options.flavor}", about, figures)
    return 1 if compared.missing else 0


def moved_alone(found: Stage, server: Server, places: tuple[Server, Server], runs: int) -> list[report.Figure]:
    taken = [asked_ms(found, f"relocate/{address(server)}/{address(places[number % 2])}") for number in range(runs)]
    return [report.figure("relocate", "ms", taken)]


def moved_together(found: Stage, places: tuple[Server, Server], runs: int) -> list[report.Figure]:
    taken, behind, base = [], [], []
    for number in range(runs):
        here, there = places if number % 2 == 0 else reversed(places)
        base.append(caught_up_ms(found))
        taken.append(asked_ms(found, f"relocate-replicas/{address(here)}/{address(there)}"))
        behind.append(caught_up_ms(found))
        print(f"run {number + 1}: {taken[-1]:.0f} ms, then {behind[-1]:.0f} ms", file=sys.stderr, flush=True)
    return [
        report.figure("relocate-replicas", "ms", taken),
        report.figure("caught up after the answer", "ms", behind),
        report.figure("the same without a move", "ms", base),
    ]


if __name__ == "__main__":
    sys.exit(main())
