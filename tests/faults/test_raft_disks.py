"""Three real Raft processes, and a disk that is full: the node stops and says so, the others go on, nothing is lost.

Where this user may mount, the disk is a small tmpfs that is filled by somebody else and emptied again; the same is seen
everywhere with the operating system's limit on the size of a file.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.raft_cluster import NODES, Clients, RaftCluster, finish, raft_cluster

DISK_BYTES = 16 * 1024 * 1024
FILE_BYTES_MAX = 256 * 1024
FILLER = "somebody-elses-file"


@pytest.fixture
def small_disks(tmp_path: Path) -> Iterator[Path]:
    """A directory in which each node's directory is a file system of ``DISK_BYTES``."""
    mounted: list[Path] = []
    try:
        for node in NODES:
            place = tmp_path / node
            place.mkdir()
            asked = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(place)]
            done = subprocess.run(asked, capture_output=True, text=True, timeout=10)
            if done.returncode:
                pytest.skip(f"this user may not mount a tmpfs: {done.stderr.strip()}")
            mounted.append(place)
        yield tmp_path
    finally:
        for place in mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=10)


async def ended(cluster: RaftCluster, node: str) -> None:
    """Until the process has ended by itself."""
    await cluster.until(lambda: cluster.processes[node].returncode is not None, f"{node} stops by itself")


def complaints(cluster: RaftCluster, node: str) -> list[str]:
    return [text for text in cluster.fatal if text.startswith(f"{node}:")]


async def test_a_node_whose_disk_is_full_stops_with_its_cause_and_comes_back(small_disks: Path) -> None:
    async with raft_cluster(small_disks) as cluster:
        clients = Clients(cluster)
        for _ in range(2):
            await cluster.progress()
            victim = await cluster.next_leader()
            filler = cluster.directory(victim) / FILLER
            fill(filler)
            await ended(cluster, victim)
            assert cluster.processes[victim].returncode == 1
            assert "raft.sqlite" in complaints(cluster, victim)[-1]
            assert "full" in complaints(cluster, victim)[-1]
            await cluster.next_leader(other_than=victim)
            await cluster.progress()
            filler.unlink()
            await cluster.start(victim)
        stops = len(cluster.fatal)
        found = await finish(cluster, clients)
        assert ([], 2) == (found, stops), cluster.fatal
        assert stops == len(cluster.fatal), cluster.fatal


def fill(path: Path) -> None:
    """Take all the space that is left on the file system."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError as error:
            assert "No space left" in str(error)


async def test_a_node_that_may_write_no_more_stops_with_its_cause_and_comes_back(tmp_path: Path) -> None:
    async with raft_cluster(tmp_path) as cluster:
        victim = await cluster.next_leader()
        await cluster.kill(victim)
        await cluster.start(victim, file_bytes_max=FILE_BYTES_MAX)
        clients = Clients(cluster)
        await ended(cluster, victim)
        assert cluster.processes[victim].returncode == 1
        assert "raft.sqlite" in complaints(cluster, victim)[-1]
        await cluster.progress()
        await cluster.start(victim)
        await cluster.progress()
        stops = len(cluster.fatal)
        assert [] == await finish(cluster, clients)
        assert stops == len(cluster.fatal) == 1, cluster.fatal
