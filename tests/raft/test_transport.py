"""Links between nodes over real sockets: who may connect, which connection counts, what strangers cost."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft import accepting
from orchestrator_raft.raft import transport as module
from orchestrator_raft.raft.handshake import MAGIC
from orchestrator_raft.raft.messages import Refusal
from orchestrator_raft.raft.secret import SECRET_FILE, Secret
from orchestrator_raft.raft.security import Security
from orchestrator_raft.raft.settings import Address
from tests.free_ports import free_port
from tests.raft.cluster import running, until
from tests.raft.ends import FRAME_BYTES, End, addresses, assert_they_talk, both_up, pair, secret, started


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_nodes_of_one_machine_find_each_others_secret(tmp_path: Path, host: str) -> None:
    one, other = pair(tmp_path, host)
    async with started(one, other):
        await assert_they_talk(one, other)


async def test_of_two_connections_both_sides_keep_the_same_one(tmp_path: Path) -> None:
    one, other = pair(tmp_path)
    async with started(one, other):
        await until(lambda: both_up(one, other))
        for _ in range(5):
            dialled = [await end.transport._dial(end.transport.links[slot]) for end, slot in ((one, "b"), (other, "a"))]
            serving = [end.tasks.start("serve", end.transport._serve(end.transport.links[slot], connection))
                       for end, slot, connection in zip((one, other), "ba", dialled, strict=True)
                       if connection is not None]  # fmt: skip
            await until(lambda: both_up(one, other) and same_connection(one, other))
            assert serving
        assert one.events.count("up") - one.events.count("down") == 1


def same_connection(one: End, other: End) -> bool:
    here, there = one.transport.links["b"], other.transport.links["a"]
    if here.active is None or there.active is None or here.number != there.number:
        return False
    mine, theirs = (link.active._writer.get_extra_info for link in (here, there))  # type: ignore[union-attr]
    return bool(mine("sockname") == theirs("peername") and mine("peername") == theirs("sockname"))


async def at_rest(one: End, other: End) -> list[str]:
    """What one end has told once both have agreed on one connection and nobody dials any more."""
    await until(lambda: both_up(one, other) and same_connection(one, other))
    await asyncio.sleep(2 * module.REDIAL_S[1])
    return list(one.events)


async def test_either_side_may_dial(tmp_path: Path) -> None:
    for silent in (0, 1):
        ends = pair(tmp_path)
        deaf = ends[silent].transport.links[ends[silent].roster.others[0]]
        deaf.address = Address("127.0.0.1", 1)
        async with started(*ends):
            await until(lambda ends=ends: both_up(*ends))  # type: ignore[misc]


async def test_a_node_that_was_restarted_is_connected_again(tmp_path: Path) -> None:
    one, other = pair(tmp_path)
    async with started(one, other):
        await until(lambda: both_up(one, other))
        await other.stop()
        await until(lambda: not one.transport.is_connected("b"))
        again = End("b", dict(other.identity.addresses), Security(secret(tmp_path / "b")))
        async with started(again):
            await assert_they_talk(one, again)


async def test_a_wrong_secret_is_refused_and_the_reason_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = pair(tmp_path)
    for end in (one, other):
        # as if they could not read each other's files
        end.transport._security = replace(
            end.transport._security, secret=Secret(end.address.host.encode() * 2 + end.identity.slot.encode())
        )
    async with started(one, other):
        await until(lambda: "does not know the secret" in caplog.text)
        assert [] == one.events + other.events


async def test_another_cluster_is_refused_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    known = addresses()
    one = End("a", known, Security(secret(tmp_path / "a")))
    other = End("b", known, Security(secret(tmp_path / "b")), cluster_id="c2")
    async with started(one, other):
        await until(lambda: "belongs to cluster c2, a to cluster c1" in caplog.text)
        assert [] == one.events + other.events


async def stranger(address: Address, data: bytes) -> bytes:
    """What a node answers to ``data`` until it closes."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(data)
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.transport.abort()


GARBAGE = [
    b"",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5,
    b"\x00" * 1000,
    b"\xff" * 100_000,
    MAGIC + b"\x01" + bytes(64),
    MAGIC + b"\x63" + bytes(64),
]


async def test_strangers_cost_a_log_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, other = pair(tmp_path)
    async with started(one, other):
        before = await at_rest(one, other)
        answers = await asyncio.gather(*(stranger(one.address, data) for data in GARBAGE))
        assert all(answer.startswith(MAGIC) and len(answer) < 200 for answer in answers if answer)
        assert both_up(one, other) and before == one.events
        assert "a connection from 127.0.0.1 was refused" in caplog.text
        assert 0 == one.transport._acceptor.strangers


async def resetting(address: Address) -> None:
    """A connection that is reset at once, or after the greeting."""
    for wait in (False, True):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if wait:
            await reader.read(1)
            writer.write(b"x" * 10)
        writer.transport.abort()


async def reset_often(tmp_path: Path) -> None:
    one, other = pair(tmp_path)
    async with started(one, other):
        before = await at_rest(one, other)
        for _ in range(30):
            await asyncio.gather(*(resetting(one.address) for _ in range(8)))
        await until(lambda: not one.transport._acceptor.strangers)
        assert both_up(one, other) and before == one.events


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_strangers_that_reset_their_connections_break_nothing(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(reset_often(tmp_path))


async def test_many_strangers_at_once_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "STRANGERS_MAX", 4)
    one, other = pair(tmp_path)
    async with started(one):
        crowd = [await asyncio.open_connection(one.address.host, one.address.port) for _ in range(20)]
        await until(lambda: sum(reader.at_eof() for reader, _ in crowd) >= 16)
        assert 4 >= one.transport._acceptor.strangers
        for _, writer in crowd:
            writer.transport.abort()
        async with started(other):
            await until(lambda: both_up(one, other))


async def test_a_listener_in_a_nodes_place_learns_no_secret_and_gets_no_link(tmp_path: Path) -> None:
    """It passes the greeting of the real node 'c' on to whoever dials 'b': a proof is bound to the slot dialled."""
    known = addresses() | {"c": Address("127.0.0.1", free_port())}
    dialler = End("a", known, Security(secret(tmp_path / "a")))
    real = End("c", known, Security(secret(tmp_path / "c")))
    real.transport.links["a"].is_cut = True
    proofs: list[bytes] = []
    answers: list[bytes] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(known["c"].host, known["c"].port)
        writer.write(await far_reader.read(4096))
        proofs.append(await reader.read(4096))
        far_writer.write(proofs[-1])
        answers.append(await far_reader.read(4096))
        for each in (writer, far_writer):
            each.transport.abort()

    rogue = await asyncio.start_server(relay, known["b"].host, known["b"].port)
    try:
        async with started(dialler, real):
            await until(lambda: answers)
            assert {b""} == set(answers) and all(secret(tmp_path / "c").key not in proof for proof in proofs)
            assert not dialler.transport.is_connected("b") and not real.transport.is_connected("a")
    finally:
        rogue.close()
        await rogue.wait_closed()


async def test_a_peer_that_breaks_the_protocol_loses_its_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = pair(tmp_path)
    async with started(one, other):
        await until(lambda: both_up(one, other))
        connection = other.transport.links["a"].active
        assert connection is not None
        connection._writer.write(b"\x00\x00\x00\x02\xff\xff")
        await until(lambda: "down" in one.events)
        await until(lambda: "was closed: a frame of 2 bytes is no message" in caplog.text)
        await until(lambda: both_up(one, other))


async def test_a_peer_that_does_not_read_loses_its_connection(tmp_path: Path) -> None:
    one, other = pair(tmp_path)
    async with started(one, other):
        await until(lambda: both_up(one, other))
        connection = one.transport.links["b"].active
        assert connection is not None
        big = Refusal("x" * 4000)
        sent = 0
        while connection.send(big):
            sent += 4000
            assert sent < 100 * FRAME_BYTES, "it buffers without limit"
        assert connection.is_closed


async def test_a_silent_connection_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_S", 0.3)
    monkeypatch.setattr(module, "PING_S", 0.1)
    one, other = pair(tmp_path)
    async with started(one, other):
        await until(lambda: both_up(one, other))
        await until(lambda: one.transport.links["b"].round_trip_s is not None)
        for end, slot in ((one, "b"), (other, "a")):
            end.transport.cut(slot)
        await until(lambda: not one.transport.is_connected("b") and not other.transport.is_connected("a"))
        for end, slot in ((one, "b"), (other, "a")):
            end.transport.heal(slot)
        await until(lambda: both_up(one, other))


def test_plain_text_off_loopback_needs_permission() -> None:
    address = Address("10.0.0.1", 10008)
    closed = Security(Secret(b"k"))
    with pytest.raises(StartupError, match="off loopback"):
        closed.check(address, "10.0.0.1")
    with pytest.raises(StartupError, match="off loopback"):
        closed.check(Address("0.0.0.0", 1), "0.0.0.0")
    closed.check(Address("localhost", 1), "127.0.0.1")
    closed.check(Address("localhost", 1), "::1")
    replace(closed, plaintext=True).check(address, "10.0.0.1")


def test_a_named_file_is_used_on_this_machine_only(tmp_path: Path) -> None:
    named, own = secret(tmp_path / "x"), Secret(b"own")
    path = str(tmp_path / "x" / SECRET_FILE)
    assert named.key == Security(own).key_for(path, "127.0.0.1")
    assert own.key == Security(own, plaintext=True).key_for(path, "10.0.0.1")
    assert own.key == Security(own).key_for("", "127.0.0.1")
    assert ("", path) == (Security(named).named_path("10.0.0.1"), Security(named).named_path("127.0.0.1"))


async def test_a_cluster_goes_on_while_strangers_knock(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        leader = await cluster.leader()
        term = leader.term
        host, _, port = leader.node_id.partition(":")
        knocking = asyncio.gather(*(stranger(Address(host, int(port)), data) for data in GARBAGE * 5))
        for _ in range(20):
            await cluster.add(leader)
        await knocking
        assert term == leader.term and leader.authority() is not None


async def dripping(address: Address, local: str) -> bool:
    """Says a byte now and then, as if it were about to say who it is, until it is cut off."""
    _, writer = await asyncio.open_connection(address.host, address.port, local_addr=(local, 0))
    try:
        while not writer.transport.is_closing():
            writer.write(MAGIC[:1])
            await asyncio.sleep(0.05)
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return True


async def test_one_address_cannot_take_the_places_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "HANDSHAKE_S", 1.0)
    one, other = pair(tmp_path)
    one.transport.links["b"].address = Address("127.0.0.1", 1)  # it is b that has to get in
    async with started(one):
        slow = [asyncio.gather(*(dripping(one.address, "127.0.0.9") for _ in range(40)))]
        await until(lambda: "more than 8 connections from 127.0.0.9 wait for a handshake" in caplog.text)
        assert accepting.STRANGERS_PER_IP >= one.transport._acceptor.strangers
        async with started(other):
            await until(lambda: both_up(one, other))
            assert all(await slow[0])
            await until(lambda: 0 == one.transport._acceptor.strangers)
            assert both_up(one, other)


async def test_a_frame_that_is_too_long_ends_the_connection_before_it_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = pair(tmp_path)
    async with started(one, other):
        await until(lambda: both_up(one, other))
        connection = other.transport.links["a"].active
        assert connection is not None
        connection._writer.write(struct.pack(">I", 2**31) + bytes(1000))
        await until(lambda: "a frame of 2147483648 bytes was announced, at most 100000 are allowed" in caplog.text)
        await until(lambda: both_up(one, other))
