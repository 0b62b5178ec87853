"""The exchange before the first message, over memory: which protocol is spoken, and what an eavesdropper can do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from orchestrator_raft.raft import handshake
from orchestrator_raft.raft.frames import ProtocolError

KEY = b"k" * 32
Change = Callable[[bytes], bytes]


class Pipe:
    """What one side writes arrives at the other, through ``change``."""

    def __init__(self, target: asyncio.StreamReader, change: Change) -> None:
        self._target = target
        self._change = change
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)
        self._target.feed_data(self._change(data))


def same(data: bytes) -> bytes:
    return data


async def exchange(
    accepts: int = 1, dials: int = 1, *, forward: Change = same, back: Change = same, key: bytes = KEY
) -> tuple[int | BaseException, int | BaseException]:
    """What the accepting and the dialling side come to; ``forward`` changes what the accepting side sends."""
    here, there = asyncio.StreamReader(), asyncio.StreamReader()

    async def one_side(work: object, other: asyncio.StreamReader) -> int:
        try:
            return await work  # type: ignore[misc,no-any-return]
        finally:
            other.feed_eof()

    to_dialler, to_acceptor = Pipe(there, forward), Pipe(here, back)
    accepting = handshake.accept(
        here, cast(asyncio.StreamWriter, to_dialler), slot="a", key=KEY, path="", newest=accepts
    )
    dialling = handshake.dial(
        there, cast(asyncio.StreamWriter, to_acceptor), slot="a", key_for=lambda _: key, newest=dials
    )
    results = await asyncio.gather(one_side(accepting, there), one_side(dialling, here), return_exceptions=True)
    return results[0], results[1]


@pytest.mark.parametrize(("accepts", "dials", "spoken"), [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 2), (3, 2, 2)])
async def test_two_versions_speak_the_newest_protocol_that_both_know(accepts: int, dials: int, spoken: int) -> None:
    assert (spoken, spoken) == await exchange(accepts, dials)


async def test_one_that_is_too_old_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "OLDEST_PROTOCOL", 2)
    accepted, dialled = await exchange(1, 3)
    assert isinstance(dialled, ProtocolError) and "speaks version 1 of the protocol, this node speaks 2 to 3" in str(
        dialled
    )
    assert isinstance(accepted, EOFError)


async def test_nobody_in_between_can_lower_the_protocol() -> None:
    def lower(data: bytes) -> bytes:
        return data[:4] + b"\x01" + data[5:] if data.startswith(handshake.MAGIC) else data

    accepted, dialled = await exchange(2, 2, forward=lower)
    assert isinstance(accepted, ProtocolError) and "does not know the secret" in str(accepted)
    assert isinstance(dialled, ProtocolError)
    accepted, dialled = await exchange(2, 2, back=lower)
    assert isinstance(accepted, ProtocolError) and isinstance(dialled, ProtocolError)


async def test_the_one_with_the_wrong_secret_learns_what_to_do() -> None:
    accepted, dialled = await exchange(key=b"x" * 32)
    assert isinstance(accepted, ProtocolError) and "does not know the secret" in str(accepted)
    assert isinstance(dialled, ProtocolError) and "the secrets differ (raft.secret in each RaftDataDir" in str(dialled)


async def test_a_proof_of_one_exchange_is_worth_nothing_in_another() -> None:
    seen: list[bytes] = []

    def listen(data: bytes) -> bytes:
        seen.append(data)
        return data

    assert (1, 1) == await exchange(back=listen)
    accepted, _ = await exchange(key=b"x" * 32, back=lambda _: seen[0])
    assert isinstance(accepted, ProtocolError)
