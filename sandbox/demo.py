"""The product shown on real servers: ``scripts/demo``.

Three nodes, a primary with three replicas under semi-sync, an application that writes all the time. The primary is
killed with SIGKILL; what the nodes recorded and what the application saw is printed; the old primary is started again
and taken back, or kept out if it holds transactions that nobody was promised. Then everything stays up to be looked
at.

Exit code of ``--once``: 0 when writes came back, nothing acknowledged was missing and every server ended where it
belongs.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import ledger, ports, story, topology, writer
from sandbox.binaries import Flavor
from sandbox.errors import SandboxError
from sandbox.nodes import Nodes
from sandbox.servers import Server
from sandbox.topology import Topology

SERVERS = 4
HTTP_PORT, RAFT_PORT = 3000, 10008
BLOCK_S = 10
"""By default a cluster is not recovered by itself twice in an hour; here people may kill one server after another."""
WRITE_BEFORE_S = 2.0
WRITE_AFTER_S = 2.0
RECOVERY_TIMEOUT_S = 60.0
RETURN_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that was started for the demo."""

    servers: Topology
    nodes: Nodes
    log: Path
    ports: list[int]


def say(text: str = "") -> None:
    print(text, flush=True)


def parser() -> argparse.ArgumentParser:
    """The options of scripts/demo."""
    top = argparse.ArgumentParser(prog="scripts/demo", description="A killed primary, replaced before your eyes.")
    top.add_argument("--flavor", choices=[flavor.value for flavor in Flavor], default=Flavor.MYSQL.value)
    top.add_argument("--once", action="store_true", help="exit after the failover; non-zero if anything went wrong")
    top.add_argument("--http-port", type=int, default=HTTP_PORT, help=f"HTTP port of the nodes (default {HTTP_PORT})")
    top.add_argument("--raft-port", type=int, default=RAFT_PORT, help=f"Raft port of the nodes (default {RAFT_PORT})")
    return top


def set_up(stack: ExitStack, options: argparse.Namespace) -> Stage:
    """Servers, nodes and writer, all of them ended when ``stack`` is."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-demo-")))
    for port, name in ((options.http_port, "--http-port"), (options.raft_port, "--raft-port")):
        if not ports.is_free(port):
            raise SandboxError(f"port {port} is in use: choose another with {name}")
    block = stack.enter_context(ports.reserved())
    say(f"starting a primary and {SERVERS - 1} replicas (GTID, semi-sync)")
    servers = topology.start(Flavor(options.flavor), SERVERS, block[0], directory / "servers", say=say)
    stack.callback(servers.stop_all, discard=True)
    say(f"  {servers.binary}")
    say("starting three nodes on 127.0.0.1, 127.0.0.2 and 127.0.0.3")
    nodes = Nodes(
        directory / "nodes", http_port=options.http_port, raft_port=options.raft_port,
        settings={"RecoveryPeriodBlockSeconds": BLOCK_S},
    )  # fmt: skip
    stack.callback(nodes.stop_all)
    nodes.start()
    primary = servers.primary()
    say(f"  {nodes.wait_leader()} leads; discovering the topology from {address(primary)}")
    nodes.discover(primary.host, primary.port, SERVERS)
    log = directory / "writer.log"
    numbers = [server.port for server in servers.servers]
    application = writer.launch(numbers, log)
    stack.callback(writer.end, application)
    return Stage(servers, nodes, log, numbers)


def address(server: Server) -> str:
    return f"{server.host}:{server.port}"


def show_topology(stage: Stage) -> None:
    reply = stage.nodes.get("/api/topology/demo")
    say("\n" + "\n".join(f"  {line}" for line in str(reply["Details"]).splitlines()) + "\n")


def recovery_of(stage: Stage, kind: str, since_ms: int) -> Any:
    """The newest ended recovery of this kind since then, or None."""
    for found in stage.nodes.get("/api/v2/recoveries?every=true"):
        if found["kind"] == kind and found["started_ms"] >= since_ms and found["end"] != "running":
            return found
    return None


def kill_the_primary(stage: Stage) -> tuple[Server, int, list[story.Mark]]:
    """kill -9, and what the nodes recorded of it."""
    old = stage.servers.primary()
    say(f"kill -9 of the primary, {address(old)}, under one write every {writer.INTERVAL_MS:g} ms")
    killed_ms = time.time_ns() // 1_000_000
    old.kill()
    recovery = stage.nodes.wait(
        "the failover has ended", lambda: recovery_of(stage, "dead_primary", killed_ms), RECOVERY_TIMEOUT_S
    )
    found = story.marks(recovery, killed_ms)
    say("\nwhat happened, in milliseconds after the kill:\n" + story.timeline(found) + "\n")
    for refused in recovery["refused"]:
        say(f"  not chosen: {refused['key']}: {refused['reason']}")
    for error in recovery["errors"]:
        say(f"  note: {error}")
    return old, killed_ms, found


def bring_back(stage: Stage, old: Server) -> tuple[str, str]:
    """Start the old primary again; how its return ended, and the transactions that kept it out, if any."""
    say(f"\nstarting the old primary {address(old)} again")
    started_ms = time.time_ns() // 1_000_000
    old.start()
    back = stage.nodes.wait(
        "the old primary has been taken back or kept out", lambda: recovery_of(stage, "rejoin", started_ms),
        RETURN_TIMEOUT_S,
    )  # fmt: skip
    say("in milliseconds after its start:\n" + story.timeline(story.marks(back, started_ms)))
    return str(back["end"]), str(back["lost_gtids"])


def judge(stage: Stage, end: str) -> list[str]:
    """What went wrong, one line each; nothing if all is well."""
    attempts = ledger.read(stage.log)
    primary = stage.servers.primary()
    compared = ledger.compare(attempts, primary)
    outages = ledger.outages(attempts)
    for outage in outages:
        length = f"{outage.duration_s * 1000:.0f} ms" if outage.duration_s is not None else "still"
        say(f"writes were refused for {length}")
    say(f"{compared.acknowledged} writes were acknowledged, {len(compared.missing)} of them are missing")
    complaints = []
    if compared.missing:
        complaints.append(f"acknowledged writes are missing: {compared.missing[:20]}")
    if any(outage.duration_s is None for outage in outages):
        complaints.append("writes have not come back")
    if end not in ("succeeded", "quarantined"):
        complaints.append(f"the old primary's return ended as {end}")
    return complaints


def play(stage: Stage) -> int:
    """The whole story; the exit code."""
    show_topology(stage)
    time.sleep(WRITE_BEFORE_S)
    old, _, _ = kill_the_primary(stage)
    time.sleep(WRITE_AFTER_S)
    end, extra = bring_back(stage, old)
    if end == "quarantined":
        say(f"  kept out, since only it has {extra}: written, but promised to nobody")
    time.sleep(WRITE_AFTER_S / 2)
    show_topology(stage)
    complaints = judge(stage, end)
    for complaint in complaints:
        say(f"FAILED: {complaint}")
    return 1 if complaints else 0


def linger(stage: Stage) -> None:
    """Keep everything up until Ctrl-C."""
    say("\neverything is still running; look at it:")
    for node in stage.nodes.nodes:
        say(f"  {node.url}/api/clusters-info")
    urls = ",".join(node.url for node in stage.nodes.nodes)
    say(f"  scripts/raftctl --api {urls} topology -c demo")
    say(f"  scripts/raftctl --api {urls} takeover demo")
    say(f"kill any node or server you like (a primary every {BLOCK_S} s), or Ctrl-C to stop everything")
    threading.Event().wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        stack.callback(say, "everything that was started has been stopped")
        try:
            stage = set_up(stack, options)
            code = play(stage)
            if not options.once:
                linger(stage)
        except SandboxError as error:
            say(f"error: {error}")
            return 1
        except KeyboardInterrupt:
            say()
            return 0
        return code


if __name__ == "__main__":
    sys.exit(main())
