"""Members come and move over TLS: each node has a certificate for its own addresses and for nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from orchestrator_raft.raft import pki
from orchestrator_raft.raft.node import RaftNode
from orchestrator_raft.raft.settings import RaftSettings, TlsFiles
from tests.free_ports import free_port
from tests.raft.cluster import WAIT_S, Cluster, Node, until
from tests.raft.counting import Counter, codec


class Secured(Cluster):
    """Nodes by their slot; each keeps its directory and its certificate when it moves."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, 0)
        pki.make_authority(root / "ca")

    async def run(self, slot: str, entry: str, entries: Sequence[str], *, hosts: Sequence[str] = ()) -> Node:
        """``slot`` listens at ``entry``; with a new certificate if ``hosts`` are given."""
        place = self.root / slot.replace(":", "-")
        out = place.with_suffix(f".tls-{len(list(self.root.iterdir()))}")
        issued = pki.issue(self.root / "ca", hosts or [entry.rpartition(":")[0]], out)
        tls = TlsFiles(issued.certificate, issued.key, issued.authority)
        settings = RaftSettings(data_dir=place, bind=entry, nodes=tuple(entries), tls=tls)
        node: Node = RaftNode(settings, Counter(), codec(), on_fatal=self.failures.append)
        await node.start()
        self.nodes[slot] = node
        return node


@asynccontextmanager
async def secured(root: Path) -> AsyncIterator[tuple[Secured, list[str]]]:
    """Three nodes, each at an address of its own."""
    cluster = Secured(root)
    entries = [f"127.0.0.{number}:{free_port()}" for number in (1, 2, 3)]
    try:
        for entry in entries:
            await cluster.run(entry, entry, entries)
        await cluster.leader()
        yield cluster, entries
    finally:
        for slot in list(cluster.nodes):
            await cluster.stop(slot)
    assert [] == cluster.failures


def connected(node: Node) -> int:
    return sum(1 for member in node.members() if member.is_connected and not member.is_self)


async def test_a_new_member_is_let_in_with_a_certificate_for_its_own_host(tmp_path: Path) -> None:
    async with secured(tmp_path) as (cluster, entries):
        await cluster.add(cluster.nodes[entries[0]])
        new = f"127.0.0.4:{free_port()}"
        node = await cluster.run(new, new, [*entries, new])
        await cluster.nodes[entries[0]].add_member(new, timeout_s=WAIT_S)
        await until(lambda: 3 == connected(node) and new in {each.id for each in node.members() if each.votes}, "it")
        await cluster.add(node)
        await cluster.level()


async def test_all_members_move_one_after_another_with_certificates_for_both_hosts(tmp_path: Path) -> None:
    async with secured(tmp_path) as (cluster, entries):
        at = {entry: entry for entry in entries}
        for number, slot in enumerate(entries, 1):
            await cluster.stop(slot)
            old = at[slot].rpartition(":")[0]
            at[slot] = f"127.0.0.{10 + number}:{free_port()}"
            node = await cluster.run(slot, at[slot], list(at.values()), hosts=[old, f"127.0.0.{10 + number}"])
            await until(lambda: all(2 == connected(each) for each in cluster.nodes.values()), f"{slot} everywhere")
            await cluster.add(node)
        await cluster.level()
        assert {3} == {node.state.total for node in cluster.nodes.values()}


async def test_a_member_that_moved_without_a_certificate_for_the_old_host_is_told(tmp_path: Path) -> None:
    """The others look for it at the old host only: they would let in whoever claims to have moved."""
    async with secured(tmp_path) as (cluster, entries):
        slot, *others = entries
        await cluster.stop(slot)
        moved = f"127.0.0.11:{free_port()}"
        node = await cluster.run(slot, moved, [moved, *others])
        expected = "its certificate names 127.0.0.11, but not 127.0.0.1: issue one for that host"

        def told() -> bool:
            return all(expected in member.problem for member in node.members() if not member.is_self)

        await until(told, "why it is not let in")
        assert 0 == connected(node)
        await cluster.stop(slot)
        await cluster.run(slot, moved, [moved, *others], hosts=["127.0.0.1", "127.0.0.11"])
        await until(lambda: 2 == connected(cluster.nodes[slot]), "its peers")
