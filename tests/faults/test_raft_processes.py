"""Three real processes under kill -9 and SIGSTOP: nothing acknowledged is lost, two never have authority at once."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator_raft.tasks import Tasks
from tests.raft.cluster import free_port, until

ROOT = Path(__file__).resolve().parent.parent.parent


class Processes:
    """The cluster, and what its nodes have said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries = [f"127.0.0.{number}:{free_port()}" for number in (1, 2, 3)]
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self.acknowledged: set[str] = set()
        self.failed: dict[str, str] = {}
        self.states: dict[str, dict[str, Any]] = {}
        self.fatal: list[str] = []
        self.authority: dict[tuple[str, int, int], list[float]] = defaultdict(list)
        """(node, process, term) -> times at which it had authority."""
        self.ready: set[str] = set()
        self._tasks = Tasks("processes", lambda name, error: self.fatal.append(f"{name}: {error!r}"))

    async def start(self, entry: str) -> None:
        arguments = [str(self.root / entry.replace(":", "-")), entry, ",".join(self.entries)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.raft_process", *arguments, cwd=ROOT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self.running[entry] = process
        self._tasks.start(f"read {entry}", self._read(entry, process))

    async def _read(self, entry: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if not line.endswith(b"\n"):
                return
            said = json.loads(line)
            match said:
                case {"authority": term, "at": at_s}:
                    self.authority[entry, process.pid, term].append(at_s)
                case {"acknowledged": command_id}:
                    self.acknowledged.add(command_id)
                case {"failed": command_id, "error": error}:
                    self.failed[command_id] = error
                case {"state": _}:
                    self.states[entry] = said
                case {"ready": _}:
                    self.ready.add(entry)
                case {"fatal": error}:
                    self.fatal.append(f"{entry}: {error}")

    def tell(self, entry: str, line: str) -> None:
        process = self.running[entry]
        if process.returncode is None and process.stdin is not None:
            process.stdin.write(line.encode() + b"\n")

    async def kill(self, entry: str) -> None:
        process = self.running[entry]
        if process.returncode is None:
            process.kill()
        await process.wait()
        self.ready.discard(entry)

    def leader(self) -> str | None:
        """Who had authority last, if that process still runs."""
        newest = max(self.authority.items(), key=lambda item: item[1][-1], default=None)
        if newest is None:
            return None
        (entry, pid, _), _ = newest
        return entry if self.running[entry].pid == pid and self.running[entry].returncode is None else None

    async def close(self) -> None:
        for entry, process in self.running.items():
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
                await self.kill(entry)
        await self._tasks.close()


@asynccontextmanager
async def processes(root: Path) -> AsyncIterator[Processes]:
    made = Processes(root)
    try:
        for entry in made.entries:
            await made.start(entry)
        await until(lambda: len(made.ready) == 3 and made.leader(), "the first leader")
        yield made
    finally:
        await made.close()
    assert [] == made.fatal


async def write(cluster: Processes, until_stopped: asyncio.Event) -> int:
    """Commands through all nodes in turn; gives their number."""
    number = 0
    while not until_stopped.is_set():
        for entry in cluster.entries:
            if entry in cluster.ready:
                cluster.tell(entry, f"add c{number}")
                number += 1
        await asyncio.sleep(0.005)
    return number


async def next_leader(cluster: Processes) -> str:
    """Somebody whose authority is newer than now."""
    before = sum(len(times) for times in cluster.authority.values())
    leader = await until(
        lambda: cluster.leader() if sum(len(times) for times in cluster.authority.values()) > before else None,
        "the next leader",
    )
    assert isinstance(leader, str)
    return leader


def has_acknowledged(cluster: Processes, more_than: int) -> bool:
    return len(cluster.acknowledged) > more_than


async def under_fire(cluster: Processes, shots: int, shoot: Callable[[str], Any]) -> None:
    """``shoot`` at the leader again and again while commands are written; then compare everything."""
    stopped = asyncio.Event()
    writing = cluster._tasks.start("write", write(cluster, stopped))
    for _ in range(shots):
        acknowledged = len(cluster.acknowledged)
        await shoot(await next_leader(cluster))
        await until(partial(has_acknowledged, cluster, acknowledged + 20), "new commands")
    stopped.set()
    assert 0 < await writing
    await until(lambda: len(cluster.ready) == 3)
    acknowledged_so_far = frozenset(cluster.acknowledged)
    for entry in cluster.entries:
        cluster.tell(entry, "state")
    await until(lambda: len(cluster.states) == 3, "the final states")
    assert_nothing_lost(cluster, acknowledged_so_far)
    assert_one_at_a_time(cluster)


def assert_nothing_lost(cluster: Processes, acknowledged: frozenset[str]) -> None:
    first, *others = (cluster.states[entry] for entry in cluster.entries)
    for state in (first, *others):
        assert acknowledged <= set(state["state"])
        shortest = min(len(first["state"]), len(state["state"]))
        assert first["state"][:shortest] == state["state"][:shortest]
        if first["applied"] == state["applied"]:
            assert first["digest"] == state["digest"]
    impossible = {command for command, error in cluster.failed.items() if "nothing was done" in error}
    assert not impossible & set(first["state"]), "a command was applied that nobody had taken"


def assert_one_at_a_time(cluster: Processes) -> None:
    spans = sorted((times[0], times[-1], entry) for (entry, _, _), times in cluster.authority.items())
    for before, after in itertools.pairwise(spans):
        assert before[1] < after[0], f"{before[2]} and {after[2]} had authority at once"


async def test_nothing_acknowledged_is_lost_when_leaders_are_killed(tmp_path: Path) -> None:
    async with processes(tmp_path) as cluster:

        async def kill(leader: str) -> None:
            await cluster.kill(leader)
            await next_leader(cluster)
            await cluster.start(leader)
            await until(lambda: leader in cluster.ready)

        await under_fire(cluster, 6, kill)


async def test_nothing_acknowledged_is_lost_when_all_are_killed_at_once(tmp_path: Path) -> None:
    async with processes(tmp_path) as cluster:

        async def kill_all(leader: str) -> None:
            for process in cluster.running.values():
                process.kill()
            for entry in cluster.entries:
                await cluster.kill(entry)
                await cluster.start(entry)
            await until(lambda: len(cluster.ready) == 3)

        await under_fire(cluster, 3, kill_all)


async def test_a_leader_that_was_stopped_beyond_its_lease_has_no_authority_when_it_wakes(tmp_path: Path) -> None:
    async with processes(tmp_path) as cluster:

        async def freeze(leader: str) -> None:
            process = cluster.running[leader]
            cluster.ready.discard(leader)
            process.send_signal(signal.SIGSTOP)
            await until(lambda: cluster.leader() not in (None, leader), "another leader")
            await asyncio.sleep(random.uniform(0, 0.5))
            process.send_signal(signal.SIGCONT)
            cluster.ready.add(leader)

        await under_fire(cluster, 4, freeze)
