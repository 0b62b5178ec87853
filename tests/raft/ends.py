"""Two ends of a link over real sockets, without a replica behind them: for tests of what passes between nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from orchestrator_raft.raft.clock import boot_time_s
from orchestrator_raft.raft.identity import Identity
from orchestrator_raft.raft.messages import LeaseAck, Message
from orchestrator_raft.raft.roster import Roster
from orchestrator_raft.raft.secret import Secret, own_secret
from orchestrator_raft.raft.security import Security
from orchestrator_raft.raft.settings import Address
from orchestrator_raft.raft.transport import Transport
from orchestrator_raft.tasks import Tasks
from tests.free_ports import free_port
from tests.raft.cluster import until

FRAME_BYTES = 100_000


class End:
    """A transport and what it told."""

    def __init__(self, slot: str, addresses: dict[str, Address], security: Security, cluster_id: str = "c1") -> None:
        self.identity = Identity(slot=slot, node_id=f"id of {slot}", cluster_id=cluster_id, addresses=addresses)
        self.roster = Roster(self.identity)
        self.failures: list[str] = []
        self.events: list[str] = []
        self.messages: list[Message] = []
        self.tasks = Tasks(slot, lambda name, error: self.failures.append(f"{name}: {error!r}"))
        self.transport = Transport(
            self.roster, security, self, tasks=self.tasks, clock=boot_time_s, frame_bytes=FRAME_BYTES
        )

    def peer_connected(self, slot: str) -> None:
        self.events.append("up")

    def peer_disconnected(self, slot: str) -> None:
        self.events.append("down")

    def peer_said(self, slot: str, messages: Sequence[Message]) -> None:
        self.messages += messages

    @property
    def address(self) -> Address:
        return self.identity.addresses[self.identity.slot]

    async def start(self) -> None:
        await self.transport.start(self.address)

    async def stop(self) -> None:
        await self.transport.close()
        await self.tasks.close()
        await asyncio.sleep(0)
        assert [] == self.failures


def addresses(host: str = "127.0.0.1") -> dict[str, Address]:
    return {slot: Address(host, free_port()) for slot in ("a", "b")}


def secret(directory: Path) -> Secret:
    directory.mkdir(exist_ok=True)
    return own_secret(directory)


@asynccontextmanager
async def started(*ends: End) -> AsyncIterator[None]:
    try:
        for end in ends:
            await end.start()
        yield
    finally:
        for end in ends:
            await end.stop()


def both_up(*ends: End) -> bool:
    return all(end.transport.is_connected(other) for end in ends for other in end.roster.others)


def pair(tmp_path: Path, host: str = "127.0.0.1") -> tuple[End, End]:
    """Two nodes of one machine, each with its own secret file."""
    known = addresses(host)
    one = End("a", known, Security(secret(tmp_path / "a")))
    other = End("b", known, Security(secret(tmp_path / "b")))
    return one, other


async def assert_they_talk(one: End, other: End) -> None:
    await until(lambda: both_up(one, other))
    one.transport.send("b", LeaseAck(1, 1.0))
    other.transport.send("a", LeaseAck(2, 2.0))
    await until(lambda: one.messages and other.messages)
    assert ([LeaseAck(2, 2.0)], [LeaseAck(1, 1.0)]) == (one.messages, other.messages)
