"""What does a Raft that keeps its word cost? ``python -m bench.raft`` (about eight minutes)

Three nodes are three processes on loopback with default settings, each with its files on the disk of ``--directory``;
beside ours, in the same run, the stock PySyncObj with its own transport and journal file, which syncs nothing.

Parts (``--only`` chooses some):
load       commands per second and latency from 1 and 64 proposers, through the leader and through a follower
idle       CPU of nodes that have nothing to do
recovery   size and restart with many commands
fleet      restart with a large fleet in the product's own state: stopped at its last command, and from a snapshot
elections  kill -9 of the leader until the next one
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

from bench import report
from bench.raft_machine import fleet
from bench.raft_processes import EAGER, OURS, PRODUCT, STOCK, Cluster, Kind, Member, running, until
from bench.report import Figure, figure
from orchestrator_raft.app.consensus import ReplicatedMachine, codec
from orchestrator_raft.raft.clock import boot_time_s
from orchestrator_raft.raft.node import RaftNode
from orchestrator_raft.raft.settings import RaftSettings
from sandbox import ports

PROPOSERS = (1, 64)
FLEET_PROPOSE_S = 60.0
SETTLE_S = 1.0
Part = Callable[[argparse.Namespace, Path, range], Coroutine[None, None, list[Figure]]]


async def load(options: argparse.Namespace, directory: Path, block: range) -> list[Figure]:
    """Ours first, then stock, so that both find the disk alike."""
    figures: list[Figure] = []
    for number, kind in enumerate((OURS, STOCK, EAGER)):
        async with running(kind, directory / str(number), block) as cluster:
            leader = await cluster.next_leader(0.0)
            for role, member in (("leader", leader), ("follower", cluster.followers(leader)[0])):
                for proposers in PROPOSERS:
                    figures += await one_load(kind, role, member, proposers, options.seconds)
    return figures


async def one_load(kind: Kind, role: str, member: Member, proposers: int, seconds: float) -> list[Figure]:
    done = await member.load(proposers, seconds=seconds)
    latencies_ms = done["latencies_ms"]
    name = f"{kind.name}, {proposers} at once through a {role}"
    return [
        figure(f"{name}: rate", "commands/s", [len(latencies_ms) / done["seconds"]]),
        figure(f"{name}: latency", "ms", latencies_ms),
    ]


async def idle(options: argparse.Namespace, directory: Path, block: range) -> list[Figure]:
    figures: list[Figure] = []
    for number, kind in enumerate((OURS, STOCK)):
        async with running(kind, directory / str(number), block) as cluster:
            leader = await cluster.next_leader(0.0)
            await asyncio.sleep(SETTLE_S)
            before = [report.process_usage(member.pid)[0] for member in cluster.members]
            await asyncio.sleep(options.idle_seconds)
            after = [report.process_usage(member.pid)[0] for member in cluster.members]
            used = {
                member: 100 * (end_s - begin_s) / options.idle_seconds
                for member, begin_s, end_s in zip(cluster.members, before, after, strict=True)
            }
            others = [used[member] for member in cluster.followers(leader)]
            memory = [report.process_usage(member.pid)[1] for member in cluster.members]
        figures.append(figure(f"{kind.name}, idle: CPU of the leader", "% of a core", [used[leader]]))
        figures.append(figure(f"{kind.name}, idle: CPU of a follower", "% of a core", others))
        figures.append(figure(f"{kind.name}, idle: memory of a node", "MiB", memory))
    return figures


async def recovery(options: argparse.Namespace, directory: Path, block: range) -> list[Figure]:
    """Many commands, then kill -9 of all three, and all three again."""
    async with running(OURS, directory, block) as cluster:
        leader = await cluster.next_leader(0.0)
        await leader.load(PROPOSERS[-1], commands=options.commands)
        for member in cluster.members:
            await member.kill()
        sizes = [member.disk_bytes() / 2**20 for member in cluster.members]
        begun_s = boot_time_s()
        await asyncio.gather(*(member.start() for member in cluster.members))
        next_leader = await cluster.next_leader(begun_s)
        starts_ms = [1000 * (member.ready_s or 0.0) for member in cluster.members]
        majority_began_s = sorted(member.began_s for member in cluster.members)[1]
        elected_ms = 1000 * (next_leader.leads_s[-1] - majority_began_s)
        await next_leader.load(1, commands=1)
    what = f"after {options.commands} commands"
    return [
        figure(f"{what}: files of a node", "MiB", sizes),
        figure(f"{what}: start of a node", "ms", starts_ms),
        figure(f"{what}: all killed, a majority starts again until the next authority", "ms", [elected_ms]),
    ]  # fmt: skip


async def fleet_restart(options: argparse.Namespace, directory: Path, block: range) -> list[Figure]:
    """One node that knows a large fleet: as it was after the last of the commands that told it, and from a snapshot."""
    figures: list[Figure] = []
    for name, compacted in (("its last command", False), ("a snapshot", True)):
        where = directory / name.split()[-1]
        async with running(PRODUCT, where, block, size=1) as cluster:
            member = cluster.members[0]
            address = cluster.addresses[0]
            await member.kill()
            await remember_fleet(member.directory, address, options.instances, compacted=compacted)
            starts_ms, cpu_ms, leads_ms = [], [], []
            for _ in range(options.restarts):
                begun_s = boot_time_s()
                await member.start()
                await cluster.next_leader(begun_s)
                starts_ms.append(1000 * (member.ready_s or 0.0))
                cpu_ms.append(1000 * member.cpu_s)
                leads_ms.append(1000 * (member.leads_s[-1] - member.began_s))
                status = await member.ask("status")
                assert status["servers"] == options.instances, status
                await member.kill()
            size = member.disk_bytes() / 2**20
        what = f"{options.instances} instances, from {name}"
        figures.append(figure(f"{what}: start of a node", "ms", starts_ms))
        figures.append(figure(f"{what}: CPU of that start", "ms", cpu_ms))
        figures.append(figure(f"{what}: start until authority", "ms", leads_ms))
        figures.append(figure(f"{what}: files", "MiB", [size]))
    return figures


async def remember_fleet(directory: Path, address: str, instances: int, *, compacted: bool) -> None:
    """Fill the node's directory as the product would, with its own commands."""
    failures: list[BaseException] = []
    settings = RaftSettings(data_dir=directory, bind=address, nodes=(address,))
    node = RaftNode(settings, ReplicatedMachine(), codec(), on_fatal=failures.append)
    await node.start()
    try:
        for command in fleet(instances):
            await node.propose(command, timeout_s=FLEET_PROPOSE_S)
        if compacted:
            node.compact()
            await until(lambda: node.status().snapshot_index, "a snapshot", FLEET_PROPOSE_S)
    finally:
        await node.stop()
    assert not failures, failures


async def elections(options: argparse.Namespace, directory: Path, block: range) -> list[Figure]:
    figures: list[Figure] = []
    for number, (kind, kills, what) in enumerate(
        ((OURS, options.kills, "authority"), (STOCK, options.stock_kills, "node that calls itself leader"))
    ):
        async with running(kind, directory / str(number), block) as cluster:
            times_ms = [await one_election(cluster) for _ in range(kills)]
        figures.append(figure(f"{kind.name}, kill -9 of the leader until the next {what}", "ms", times_ms))
    return figures


async def one_election(cluster: Cluster) -> float:
    """Milliseconds; afterwards the killed node is back and has taken a command."""
    leader = cluster.leader()
    assert leader is not None
    await asyncio.sleep(random.uniform(0, 0.2))
    killed_s = await leader.kill()
    successor = await cluster.next_leader(killed_s)
    took_ms = 1000 * (successor.leads_s[-1] - killed_s)
    await leader.start()
    await leader.load(1, commands=1)
    return took_ms


PARTS: dict[str, Part] = {
    "load": load,
    "idle": idle,
    "recovery": recovery,
    "fleet": fleet_restart,
    "elections": elections,
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    top = argparse.ArgumentParser(prog="bench.raft")
    top.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    top.add_argument("--seconds", type=float, default=5.0, help="of each load")
    top.add_argument("--idle-seconds", type=float, default=20.0)
    top.add_argument("--commands", type=int, default=100_000, help="before the restart of all")
    top.add_argument("--instances", type=int, default=10_000)
    top.add_argument("--restarts", type=int, default=3, help="with that many instances")
    top.add_argument("--kills", type=int, default=100)
    top.add_argument("--stock-kills", type=int, default=30)
    top.add_argument("--directory", type=Path, default=Path.cwd(), help="on the disk that is to be measured")
    return top.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts one after another."""
    options = parse(arguments)
    about = report.machine()
    figures: list[Figure] = []
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".raft-bench-", dir=options.directory) as root, ports.reserved() as block:
        for name in options.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            found = asyncio.run(PARTS[name](options, Path(root, name), block))
            print(report.table(found), file=sys.stderr, flush=True)
            figures += found
    about |= {"load_1min_after": round(os.getloadavg()[0], 2), "took_s": round(time.monotonic() - begun_s)}
    report.show("Raft on three processes", about, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
