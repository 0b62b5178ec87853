"""Three real Raft processes, and a disk that is full: the node stops and says so, the others go on, nothing is lost.

Two ways to run out of space. The operating system's limit on the size of a file, set from outside while the node leads,
works for every user in every container. A small tmpfs, filled by somebody else and emptied again, is used besides where
this user may mount one: there the limit proves the same, and what SQLite says of it is nearer to a person's disk.
"""

from __future__ import annotations

import resource
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.faults.raft_cluster import NODES, Clients, RaftCluster, finish, raft_cluster

DISK_BYTES = 16 * 1024 * 1024
FILLER = "somebody-elses-file"


class Disks(Protocol):
    """The disks of all nodes, each at ``root`` / name of the node."""

    said: str
    """What the node says of a disk that is full, besides the name of its file."""

    def place(self, root: Path) -> None: ...
    def fill(self, cluster: RaftCluster, node: str) -> None: ...
    def empty(self, cluster: RaftCluster, node: str) -> None: ...
    def close(self) -> None: ...


class LimitedFiles:
    """No file of the node's process may grow or be written any more."""

    said = "disk I/O error"

    def place(self, root: Path) -> None:
        """Any directory will do."""

    def fill(self, cluster: RaftCluster, node: str) -> None:
        resource.prlimit(cluster.processes[node].pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def empty(self, cluster: RaftCluster, node: str) -> None:
        """The limit was that of a process which has ended."""

    def close(self) -> None:
        """Nothing to let go."""


class SmallFileSystems:
    """Each node has a file system of ``DISK_BYTES``, in which somebody else takes all that is left."""

    said = "full"

    def __init__(self) -> None:
        self._mounted: list[Path] = []

    def place(self, root: Path) -> None:
        for node in NODES:
            place = root / node
            place.mkdir()
            assert mount(place) == ""
            self._mounted.append(place)

    def fill(self, cluster: RaftCluster, node: str) -> None:
        with (cluster.directory(node) / FILLER).open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError as error:
                assert "No space left" in str(error)

    def empty(self, cluster: RaftCluster, node: str) -> None:
        (cluster.directory(node) / FILLER).unlink()

    def close(self) -> None:
        for place in self._mounted:
            unmount(place)


def mount(place: Path) -> str:
    """Why not; empty if it is mounted."""
    asked = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(place)]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=10)
    except OSError as error:
        return str(error)
    return done.stderr.strip() or f"code {done.returncode}" if done.returncode else ""


def unmount(place: Path) -> None:
    subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=10)


def kinds() -> list[type[LimitedFiles | SmallFileSystems]]:
    with tempfile.TemporaryDirectory() as directory:
        if mount(Path(directory)):
            return [LimitedFiles]
        unmount(Path(directory))
        return [LimitedFiles, SmallFileSystems]


@pytest.fixture(params=kinds())
def disks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disks]:
    made: Disks = request.param()
    try:
        made.place(tmp_path)
        yield made
    finally:
        made.close()


async def test_a_node_whose_disk_is_full_stops_with_its_cause_and_comes_back(disks: Disks, tmp_path: Path) -> None:
    async with raft_cluster(tmp_path) as cluster:
        clients = Clients(cluster)
        for _ in range(2):
            await cluster.progress()
            victim = await cluster.next_leader()
            disks.fill(cluster, victim)
            await stopped_by_itself(cluster, victim)
            complaint = [text for text in cluster.fatal if text.startswith(f"{victim}:")][-1]
            assert "raft.sqlite" in complaint and disks.said in complaint
            await cluster.next_leader(other_than=victim)
            await cluster.progress()
            disks.empty(cluster, victim)
            await cluster.start(victim)
        stops = len(cluster.fatal)
        found = await finish(cluster, clients)
        assert ([], 2) == (found, stops), cluster.fatal
        assert stops == len(cluster.fatal), cluster.fatal


async def stopped_by_itself(cluster: RaftCluster, node: str) -> None:
    process = cluster.processes[node]
    await cluster.until(lambda: process.returncode is not None, f"{node} stops by itself")
    assert process.returncode == 1
