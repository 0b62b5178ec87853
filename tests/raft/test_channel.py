"""Questions between nodes: whole and streamed answers, errors, deadlines, slow readers, broken connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from orchestrator_raft.core.errors import AuthorityLost, InvalidInput, OrchestratorError, Refused, Unavailable
from orchestrator_raft.raft import channel as module
from orchestrator_raft.raft.channel import PART_BYTES, WINDOW_PARTS, Channel
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.messages import CallCancel, CallPart, Message, decode, encode
from orchestrator_raft.tasks import Tasks
from tests.raft.cluster import running, until


class Wire:
    """Two channels joined in memory; ``is_up`` false loses everything."""

    def __init__(self) -> None:
        self.is_up = True
        self.ends: dict[str, Channel] = {}
        self.sent: list[Message] = []
        self.failures: list[str] = []
        self.tasks = Tasks("test", lambda name, error: self.failures.append(f"{name}: {error}"))
        for name in ("a", "b"):
            self.ends[name] = Channel(self.tasks)
            self.ends[name].open(name, Half(self, name))


class Half:
    def __init__(self, wire: Wire, name: str) -> None:
        self.wire, self.name = wire, name

    def send(self, slot: str, message: Message) -> bool:
        if not self.wire.is_up or slot not in self.wire.ends:
            return False
        self.wire.sent.append(message)
        end, copy = self.wire.ends[slot], decode(encode(message))
        asyncio.get_running_loop().call_soon(end.received, self.name, copy)  # type: ignore[arg-type]
        return True

    async def drain(self, slot: str) -> None:
        if not self.wire.is_up:
            raise ConnectionResetError("gone")
        await asyncio.sleep(0)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    made = Wire()
    yield made
    await made.tasks.close()
    assert [] == made.failures


async def echo(slot: str, payload: bytes) -> bytes:
    return slot.encode() + b":" + payload


async def test_a_call_gets_the_handlers_answer_and_says_who_asks(wire: Wire) -> None:
    wire.ends["b"].serve("echo", echo)
    assert b"a:hello" == await wire.ends["a"].call("b", "echo", b"hello", timeout_s=5)


async def test_a_node_may_ask_itself(wire: Wire) -> None:
    wire.ends["a"].serve("echo", echo)
    assert b"a:x" == await wire.ends["a"].call("a", "echo", b"x", timeout_s=5)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 50 * PART_BYTES + 7])
async def test_an_answer_of_any_size_arrives_whole(wire: Wire, size: int) -> None:
    async def large(slot: str, payload: bytes) -> bytes:
        return bytes(size)

    wire.ends["b"].serve("large", large)
    assert bytes(size) == await wire.ends["a"].call("b", "large", b"", timeout_s=5)


@pytest.mark.parametrize("error", [Refused("no"), AuthorityLost("gone"), InvalidInput("what?")])
async def test_an_error_travels_with_its_class_and_text(wire: Wire, error: OrchestratorError) -> None:
    async def fail(slot: str, payload: bytes) -> bytes:
        raise error

    wire.ends["b"].serve("fail", fail)
    with pytest.raises(type(error), match=str(error)):
        await wire.ends["a"].call("b", "fail", b"", timeout_s=5)


async def test_a_bug_in_a_handler_is_logged_there_and_told_in_one_line(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    async def bug(slot: str, payload: bytes) -> bytes:
        raise ZeroDivisionError("the cause")

    wire.ends["b"].serve("bug", bug)
    with pytest.raises(OrchestratorError, match="its log has the cause"):
        await wire.ends["a"].call("b", "bug", b"", timeout_s=5)
    assert "the cause" in caplog.text


async def test_an_unknown_method_is_told_as_such(wire: Wire) -> None:
    with pytest.raises(InvalidInput, match="b knows no 'nothing'"):
        await wire.ends["a"].call("b", "nothing", b"", timeout_s=5)


async def test_a_deadline_ends_the_wait_and_the_handler(wire: Wire) -> None:
    ended = asyncio.Event()

    async def sleep(slot: str, payload: bytes) -> bytes:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return b""

    wire.ends["b"].serve("sleep", sleep)
    with pytest.raises(Unavailable, match=r"b did not (answer|finish) 'sleep' within 0.05 s"):
        await wire.ends["a"].call("b", "sleep", b"", timeout_s=0.05)
    await asyncio.wait_for(ended.wait(), 10)


async def test_a_caller_that_is_cancelled_cancels_the_handler(wire: Wire) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def sleep(slot: str, payload: bytes) -> bytes:
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return b""

    wire.ends["b"].serve("sleep", sleep)
    calling = wire.tasks.start("call", wire.ends["a"].call("b", "sleep", b"", timeout_s=60))
    await started.wait()
    calling.cancel()
    await asyncio.wait_for(ended.wait(), 10)
    assert any(isinstance(message, CallCancel) for message in wire.sent)


def endless(produced: list[int]) -> module.Handler:
    async def chunks(slot: str, payload: bytes) -> AsyncIterator[bytes]:
        number = 0
        while True:
            produced.append(number)
            yield b"%d" % number
            number += 1

    return chunks


async def test_a_slow_reader_slows_the_handler_down(wire: Wire) -> None:
    produced: list[int] = []
    wire.ends["b"].serve("endless", endless(produced))
    stream = wire.ends["a"].stream("b", "endless", b"", timeout_s=60)
    assert b"0" == await anext(stream)
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(produced) <= WINDOW_PARTS + 2
    assert [b"%d" % number for number in range(1, 100)] == [await anext(stream) for _ in range(99)]
    await stream.aclose()  # type: ignore[attr-defined]
    await until(lambda: len(wire.tasks) == 0, "the end of the handler")


async def test_chunks_come_as_they_are_made_and_an_error_ends_them(wire: Wire) -> None:
    async def some(slot: str, payload: bytes) -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"
        raise Refused("no more")

    wire.ends["b"].serve("some", some)
    seen: list[bytes] = []
    with pytest.raises(Refused, match="no more"):
        async for chunk in wire.ends["a"].stream("b", "some", b"", timeout_s=5):
            seen.append(chunk)
    assert [b"one", b"two"] == seen


async def test_a_broken_connection_ends_calls_on_both_sides(wire: Wire) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def sleep(slot: str, payload: bytes) -> bytes:
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return b""

    wire.ends["b"].serve("sleep", sleep)
    calling = wire.tasks.start("call", broken(wire))
    await started.wait()
    wire.is_up = False
    wire.ends["a"].disconnected("b")
    wire.ends["b"].disconnected("a")
    assert "the connection to b broke" in await calling
    await asyncio.wait_for(ended.wait(), 10)


async def broken(wire: Wire) -> str:
    with pytest.raises(Unavailable) as caught:
        await wire.ends["a"].call("b", "sleep", b"", timeout_s=60)
    return str(caught.value)


async def test_a_node_that_is_not_connected_is_unavailable(wire: Wire) -> None:
    wire.is_up = False
    with pytest.raises(Unavailable, match="b is not connected to a"):
        await wire.ends["a"].call("b", "echo", b"", timeout_s=5)


async def test_a_question_that_is_too_large_is_not_sent(wire: Wire) -> None:
    with pytest.raises(InvalidInput, match="at most"):
        await wire.ends["a"].call("b", "echo", bytes(module.REQUEST_BYTES_MAX + 1), timeout_s=5)
    assert [] == wire.sent


async def test_calls_beyond_the_limit_are_turned_away(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(slot: str, payload: bytes) -> bytes:
        await asyncio.sleep(3600)
        return b""

    monkeypatch.setattr(module, "HANDLERS_MAX", 1)
    wire.ends["b"].serve("sleep", sleep)
    wire.tasks.start("first", wire.ends["a"].call("b", "sleep", b"", timeout_s=60))
    await until(lambda: len(wire.sent) == 1)
    with pytest.raises(Refused, match="b answers 1 calls already; nothing was done"):
        await wire.ends["a"].call("b", "sleep", b"", timeout_s=5)


async def test_calls_beyond_the_limit_of_the_one_who_asks_are_not_sent(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CALLS_MAX", 1)
    wire.ends["b"].serve("never", endless([]))
    stream = wire.ends["a"].stream("b", "never", b"", timeout_s=60)
    await anext(stream)
    sent = len(wire.sent)
    with pytest.raises(Refused, match="a already waits for 1 answers; nothing was done"):
        await wire.ends["a"].call("b", "never", b"", timeout_s=5)
    assert len(wire.sent) == sent
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_peer_that_sends_more_than_was_asked_for_breaks_the_protocol(wire: Wire) -> None:
    stream = wire.ends["a"].stream("b", "never", b"", timeout_s=60)
    wire.ends["b"].serve("never", endless([]))
    await anext(stream)
    with pytest.raises(ProtocolError, match="more of an answer"):
        for _ in range(WINDOW_PARTS + 2):
            wire.ends["a"].received("b", CallPart(1, b"x", end=False))
    await stream.aclose()  # type: ignore[attr-defined]


async def test_two_handlers_for_one_method_are_a_mistake_of_the_program(wire: Wire) -> None:
    wire.ends["a"].serve("echo", echo)
    with pytest.raises(ValueError, match="two handlers"):
        wire.ends["a"].serve("echo", echo)


def lines(count: int) -> Iterator[bytes]:
    return (b"line %d\n" % number for number in range(count))


async def test_nodes_stream_to_each_other_over_their_connections(tmp_path: Path) -> None:
    async def listing(slot: str, payload: bytes) -> AsyncIterator[bytes]:
        for line in lines(int(payload)):
            yield line

    async with running(tmp_path, size=2) as cluster:
        one, other = cluster.nodes.values()
        other.channel.serve("listing", listing)
        await until(lambda: all(member.is_connected for member in one.members()))
        answer = await one.channel.call(other.node_id, "listing", b"5000", timeout_s=30)
        assert b"".join(lines(5000)) == answer
        await cluster.stop(other.node_id)
        with pytest.raises(Unavailable):
            await one.channel.call(other.node_id, "listing", b"1", timeout_s=5)
