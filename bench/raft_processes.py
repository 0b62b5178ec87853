"""Clusters of node processes for the Raft bench: start, kill, ask, and hear who leads. Ours or stock, by the module."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import raft_node, stock_node
from orchestrator_raft.raft.clock import boot_time_s
from orchestrator_raft.tasks import Tasks

ROOT = Path(__file__).resolve().parent.parent
ANSWER_S = 180.0
START_S = 60.0
PAUSE_S = 0.002
LINE_BYTES_MAX = 2**28


class BenchFailed(Exception):
    """A node did not do what the bench needs: its words are in the message."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What runs in the processes."""

    name: str
    module: str
    orders: Callable[[str, str, list[str]], str]


def _ours(directory: str, bind: str, nodes: list[str], machine: str = "tally") -> str:
    return raft_node.Orders(directory=directory, bind=bind, nodes=nodes, machine=machine).text()


def _stock(directory: str, bind: str, nodes: list[str], eager: bool = False) -> str:
    return stock_node.Orders(directory=directory, bind=bind, nodes=nodes, eager=eager).text()


OURS = Kind("orchestrator_raft", "bench.raft_node", _ours)
STOCK = Kind("PySyncObj as it comes", "bench.stock_node", _stock)
EAGER = Kind("PySyncObj without batching", "bench.stock_node", partial(_stock, eager=True))
PRODUCT = Kind("the product's state", "bench.raft_node", partial(_ours, machine="product"))


class Member:
    """One node, and the process in which it runs now."""

    def __init__(self, kind: Kind, number: int, directory: Path, addresses: list[str], tasks: Tasks) -> None:
        self.number = number
        self.directory = directory / str(number)
        self.ready_s: float | None = None
        """How long its start took, without the interpreter's."""
        self.cpu_s = 0.0
        """CPU time of that."""
        self.began_s = 0.0
        """When that began, on CLOCK_BOOTTIME."""
        self.leads_s: list[float] = []
        """When it said that it leads, on CLOCK_BOOTTIME."""
        self.fatal = ""
        directory.mkdir(parents=True, exist_ok=True)
        self._kind = kind
        self._log = directory / f"{number}.log"
        self._orders = kind.orders(str(self.directory), addresses[number], addresses)
        self._tasks = tasks
        self._process: asyncio.subprocess.Process | None = None
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue(16)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start the process and wait until the node is ready. Raises BenchFailed."""
        self.ready_s, self.leads_s, self.fatal = None, [], ""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._kind.module, self._orders, cwd=ROOT, limit=LINE_BYTES_MAX,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self._tasks.start(f"node {self.number}", self._hear(self._process))
        await until(
            lambda: self.ready_s is not None or self.fatal, f"node {self.number} is ready ({self._log})", START_S
        )
        if self.fatal:
            raise BenchFailed(f"node {self.number}: {self.fatal}")

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            match json.loads(line):
                case {"ready": seconds, "at": at_s, "cpu": cpu_s}:
                    self.ready_s, self.cpu_s, self.began_s = seconds, cpu_s, at_s - seconds
                case {"leads": _, "at": at_s}:
                    self.leads_s.append(at_s)
                case {"fatal": text}:
                    self.fatal = text
                case answer:
                    await self._answers.put(answer)

    async def ask(self, what: str, **values: Any) -> dict[str, Any]:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps({what: values}).encode() + b"\n")
        async with asyncio.timeout(ANSWER_S):
            answer = await self._answers.get()
        result: dict[str, Any] = answer[what]
        return result

    async def load(self, proposers: int, *, seconds: float = 0.0, commands: int = 0) -> dict[str, Any]:
        run = f"{self.number}-{next(RUNS)}"
        return await self.ask("load", proposers=proposers, seconds=seconds, commands=commands, run=run)

    async def kill(self) -> float:
        """SIGKILL; gives the moment, on CLOCK_BOOTTIME."""
        assert self._process is not None
        killed_s = boot_time_s()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        return killed_s

    def disk_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())


RUNS = itertools.count(1)


class Cluster:
    """Members of one kind, all started."""

    def __init__(self, members: list[Member], addresses: list[str]) -> None:
        self.members = members
        self.addresses = addresses

    def leader(self) -> Member | None:
        """Who said last that it leads."""
        told = [(member.leads_s[-1], member.number, member) for member in self.members if member.leads_s]
        return max(told)[2] if told else None

    async def next_leader(self, after_s: float) -> Member:
        """Who is first to say that it leads, after a moment on CLOCK_BOOTTIME. Raises BenchFailed."""

        def found() -> Member | None:
            leader = self.leader()
            return leader if leader is not None and leader.leads_s[-1] > after_s else None

        leader = await until(found, "a leader", START_S)
        assert isinstance(leader, Member)
        return leader

    def followers(self, leader: Member) -> list[Member]:
        return [member for member in self.members if member is not leader]


@asynccontextmanager
async def running(kind: Kind, directory: Path, block: range, size: int = 3) -> AsyncIterator[Cluster]:
    """A started cluster with a leader through which a command has gone; all killed at the end."""
    failures: list[str] = []
    tasks = Tasks("bench", lambda name, error: failures.append(f"{name}: {error!r}"))
    addresses = [f"127.0.0.1:{port}" for port in random.sample(block, size)]
    cluster = Cluster([Member(kind, number, directory, addresses, tasks) for number in range(size)], addresses)
    try:
        await asyncio.gather(*(member.start() for member in cluster.members))
        leader = await cluster.next_leader(0.0)
        if kind is not PRODUCT:
            for member in (leader, *cluster.followers(leader)):
                await member.load(1, commands=1)
        yield cluster
    finally:
        for member in cluster.members:
            await member.kill()
        await tasks.close()
    if failures:
        raise BenchFailed("; ".join(failures))


async def until(condition: Callable[[], Any], what: str, timeout_s: float) -> Any:
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while not (value := condition()):
        if asyncio.get_running_loop().time() > deadline_s:
            raise BenchFailed(f"not so after {timeout_s:g} s: {what}")
        await asyncio.sleep(PAUSE_S)
    return value
