"""Three Raft nodes as real processes behind a network that can be cut, and clients that write through all of them.

``RaftCluster`` starts, stops and asks; ``Clients`` write until told otherwise and remember every acknowledgement;
``finish`` ends a test: all faults over, all nodes level, everything compared. What must hold is in ``raft_history``.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from orchestrator_raft.raft.clock import boot_time_s
from orchestrator_raft.tasks import Tasks
from sandbox import ports
from sandbox.proxy import Network
from tests.faults.raft_history import Command, Final, History, Read, tenures, violations
from tests.faults.raft_process import Orders, Plant

ROOT = Path(__file__).resolve().parent.parent.parent
NODES = ("one", "two", "three")
STREAMS_PER_NODE = 3
TRIES = 6
ANSWER_S = 5.0
"""How long a client waits for an answer before it proposes the same command through the next node."""
PAUSE_S = 0.01
WAIT_S = 30.0
LEVEL_ROUNDS = 50
REALS = 10
"""Offset of the nodes' real ports from those of their proxies, inside one reserved block."""


class RaftCluster:
    def __init__(self, root: Path, block: range) -> None:
        self.root = root
        self.history = History()
        self.fatal: list[str] = []
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.ready: set[str] = set()
        self.finals: dict[str, Final] = {}
        self.upgraded: set[str] = set()
        """Nodes that are started in the next version from now on."""
        self.levels: dict[str, int] = {}
        self.problems: dict[str, list[str]] = {}
        self.samples: list[tuple[str, int, int, float, float]] = []
        self.tasks = Tasks("raft cluster", self._task_failed)
        self.network = Network(self._pids, self._task_failed)
        self._answers: dict[tuple[str, str], asyncio.Future[dict[str, Any]]] = {}
        self._addresses = {node: f"127.0.0.{number + 1}:{block[number]}" for number, node in enumerate(NODES)}
        self._reals = {node: f"127.0.0.{number + 1}:{block[REALS + number]}" for number, node in enumerate(NODES)}

    def _pids(self) -> dict[str, int]:
        return {node: process.pid for node, process in self.processes.items() if process.returncode is None}

    def _task_failed(self, name: str, error: BaseException) -> None:
        self.fatal.append(f"{name}: {error!r}")

    async def open_network(self) -> None:
        for node in NODES:
            await self.network.place(node, _endpoint(self._addresses[node]), _endpoint(self._reals[node]))

    # life of the nodes

    def directory(self, node: str) -> Path:
        return self.root / node

    async def start(self, node: str, plant: Plant = Plant.NOTHING) -> None:
        """Start the process, and wait until it is ready or has ended."""
        orders = Orders(
            directory=str(self.directory(node)), bind=self._reals[node], advertise=self._addresses[node],
            nodes=list(self._addresses.values()), plant=plant.value, is_next_version=node in self.upgraded,
        )  # fmt: skip
        with (self.root / f"{node}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.faults.raft_process", orders.text(), cwd=ROOT,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, limit=2**24,
            )  # fmt: skip
        self.processes[node] = process
        self.tasks.start(f"read {node}", self._read(node, process))
        await self.until(lambda: node in self.ready or process.returncode is not None, f"{node} is ready")

    async def kill(self, *nodes: str) -> None:
        """SIGKILL to all of them, and only then wait for their end."""
        for node in nodes:
            if self.processes[node].returncode is None:
                self.processes[node].kill()
        for node in nodes:
            await self.processes[node].wait()

    def freeze(self, node: str) -> None:
        self._signal(node, signal.SIGSTOP)

    def thaw(self, node: str) -> None:
        self._signal(node, signal.SIGCONT)

    def _signal(self, node: str, number: signal.Signals) -> None:
        if self.processes[node].returncode is None:
            self.processes[node].send_signal(number)

    async def close(self) -> None:
        for process in self.processes.values():
            if process.returncode is None:
                process.kill()  # also ends a process that is stopped
            await process.wait()
        await self.network.close()
        await self.tasks.close()

    # what the nodes say

    async def _read(self, node: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if line.endswith(b"\n"):
                self._heard(node, process.pid, json.loads(line))
        await process.wait()
        self.ready.discard(node)
        for (asked, key), answer in list(self._answers.items()):
            if asked == node and not answer.done():
                answer.set_result({"error": f"{node} died before it answered {key}"})

    def _heard(self, node: str, pid: int, said: dict[str, Any]) -> None:
        match said:
            case {"authority": term, "at": at_s, "until": until_s}:
                self.samples.append((node, pid, term, at_s, until_s))
            case {"added": key} | {"read": key}:
                answer = self._answers.get((node, key))
                if answer is not None and not answer.done():
                    answer.set_result(said)
            case {"state": order, "total": total, "digest": digest, "applied": applied}:
                self.finals[node] = Final(node, tuple(order), total, applied, digest)
            case {"level": level, "problems": problems}:
                self.levels[node], self.problems[node] = level, problems
            case {"ready": True}:
                self.ready.add(node)
            case {"fatal": error}:
                self.fatal.append(f"{node}: {error}")

    def tell(self, node: str, line: str) -> None:
        process = self.processes[node]
        if process.returncode is None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(line.encode() + b"\n")

    async def ask(self, node: str, line: str, key: str) -> dict[str, Any]:
        """The answer of a node to a question; one with an error if it dies or does not answer in time."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[node, key] = answer
        try:
            self.tell(node, line)
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError:
            return {"error": f"{node} did not answer {key}"}
        finally:
            del self._answers[node, key]

    # asking about the whole

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """The first true value of ``condition``; fails after ``WAIT_S``, with what the nodes complained about."""
        deadline_s = asyncio.get_running_loop().time() + WAIT_S
        while not (value := condition()):
            assert asyncio.get_running_loop().time() < deadline_s, f"not so: {what}; {self.fatal}"
            await asyncio.sleep(PAUSE_S)
        return value

    def leader(self) -> str | None:
        """Who has authority now, by its own word, whoever that is."""
        now_s = boot_time_s()
        holders = {(at_s, node) for node, _, _, at_s, until_s in self.samples[-10:] if until_s > now_s}
        return max(holders)[1] if holders else None

    async def next_leader(self, other_than: str = "") -> str:
        def found() -> str | None:
            leader = self.leader()
            return leader if leader != other_than else None

        return str(await self.until(found, f"a leader{' other than ' if other_than else ''}{other_than}"))

    async def progress(self, commands: int = 20) -> None:
        """Until so many more commands have been acknowledged."""
        wanted = len(self.history.acknowledged) + commands
        await self.until(lambda: len(self.history.acknowledged) >= wanted, f"{commands} more acknowledged commands")

    async def level(self) -> None:
        """Everything works again, and all nodes have applied the same: put their states into the history."""
        self.network.heal()
        for node in NODES:
            if self.processes[node].returncode is not None:
                await self.start(node)
            self.thaw(node)

        for _ in range(LEVEL_ROUNDS):
            self.finals.clear()
            for node in NODES:
                self.tell(node, "state")
            await self.until(lambda: len(self.finals) == len(NODES), "states of all nodes")
            if len({final.applied_index for final in self.finals.values()}) == 1:
                break
            await asyncio.sleep(10 * PAUSE_S)
        self.history.finals = [self.finals[node] for node in NODES]
        self.history.tenures = tenures(self.samples)


class Clients:
    """Streams of commands and reads through every node. A command without an answer is proposed through the next."""

    def __init__(self, cluster: RaftCluster) -> None:
        self._cluster = cluster
        self._stopping = asyncio.Event()
        self._streams = [
            cluster.tasks.start(f"client {number}", self._write(number))
            for number in range(STREAMS_PER_NODE * len(NODES))
        ] + [cluster.tasks.start(f"reader of {node}", self._read(node)) for node in NODES]

    async def stop(self) -> None:
        self._stopping.set()
        await asyncio.wait_for(asyncio.gather(*self._streams), TRIES * ANSWER_S + WAIT_S)

    async def _write(self, stream: int) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            command = Command(f"c{stream}-{number}", boot_time_s())
            self._cluster.history.commands[command.id] = command
            await self._propose(command, stream)
            await asyncio.sleep(PAUSE_S)

    async def _propose(self, command: Command, stream: int) -> None:
        for attempt in range(TRIES):
            node = NODES[(stream + attempt) % len(NODES)]
            if node not in self._cluster.ready:
                await asyncio.sleep(PAUSE_S)
                continue
            answer = await self._cluster.ask(node, f"add {command.id}", command.id)
            if not answer["error"]:
                command.acknowledged_s = boot_time_s()
                return
            if "nothing was done" not in answer["error"]:
                command.may_be_taken = True

    async def _read(self, node: str) -> None:
        number = 0
        while not self._stopping.is_set():
            await asyncio.sleep(5 * PAUSE_S)
            if node not in self._cluster.ready:
                continue
            number += 1
            begun_s = boot_time_s()
            answer = await self._cluster.ask(node, f"read {node}-{number}", f"{node}-{number}")
            if answer.get("total") is not None:
                self._cluster.history.reads.append(Read(begun_s, boot_time_s(), answer["total"]))


@asynccontextmanager
async def raft_cluster(root: Path, plant: Plant = Plant.NOTHING) -> AsyncIterator[RaftCluster]:
    """Three running nodes; in the end all are killed. A node that stopped by itself is in ``fatal``."""
    with ports.reserved() as block:
        cluster = RaftCluster(root, block)
        try:
            await cluster.open_network()
            await asyncio.gather(*(cluster.start(node, plant) for node in NODES))
            await cluster.next_leader()
            yield cluster
        finally:
            await cluster.close()


async def finish(cluster: RaftCluster, clients: Clients) -> list[str]:
    """End all faults, stop the clients, make all nodes level; gives every violation."""
    cluster.network.heal()
    for node in NODES:
        cluster.thaw(node)
    await clients.stop()
    await cluster.level()
    return violations(cluster.history)


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
