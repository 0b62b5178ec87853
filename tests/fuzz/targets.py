"""What is fuzzed: every place where bytes that somebody else wrote become values.

A target takes any bytes and gives a word about what became of them. It may raise nothing: an input that is refused with
the declared error is a result, everything else that is raised is a finding. What is accepted is checked to mean what
it says (it encodes to something that decodes to the same).
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
import tempfile
import zlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from orchestrator_raft.app.consensus import codec
from orchestrator_raft.core.errors import InvalidInput, StartupError
from orchestrator_raft.raft import (
    changes,
    digests,
    frames,
    handshake,
    membership,
    messages,
    packed,
    sqlite_store,
    store,
)
from orchestrator_raft.raft import codec as codec_module
from orchestrator_raft.raft.frames import FrameDecoder, ProtocolError
from orchestrator_raft.raft.store import SNAPSHOT_MAGIC, Image
from tests.fuzz import samples

FRAME_BYTES = 4096
SNAPSHOT_BYTES = 1 << 20
SECRET = b"k" * 32
PRODUCT = codec()


@dataclass(frozen=True, slots=True)
class Target:
    """``run`` gives an outcome in a word or two. ``modules`` are watched for new lines by the guided run."""

    name: str
    run: Callable[[bytes], str]
    seeds: Callable[[], Sequence[bytes]]
    modules: tuple[ModuleType, ...]


def decode_frames(data: bytes) -> str:
    """The first byte says in what pieces the rest arrives."""
    decoder, step, found = FrameDecoder(FRAME_BYTES), (data[:1] or b"\0")[0] + 1, 0
    try:
        for start in range(1, len(data), step):
            for body in decoder.feed(data[start : start + step]):
                assert len(body) <= FRAME_BYTES
                found += 1
            assert len(decoder._buffer) <= FRAME_BYTES + 4 + step
    except ProtocolError:
        return "refused"
    return f"{min(found, 9)} frames"


def decode_message(data: bytes) -> str:
    try:
        message = messages.decode(data)
    except ProtocolError as refusal:
        return f"refused: {refusal}"
    if message is None:
        return "unknown tag"
    assert message == messages.decode(messages.encode(message))
    return type(message).__name__


def decode_command(data: bytes) -> str:
    try:
        command = PRODUCT.decode_command(data)
    except InvalidInput as refusal:
        return f"refused: {refusal}"
    assert same(command, PRODUCT.decode_command(PRODUCT.encode_command(command)))
    return type(command).__name__


def decode_state(data: bytes) -> str:
    try:
        state = PRODUCT.decode_state(data)
    except InvalidInput as refusal:
        return f"refused: {refusal}"
    assert same(state, PRODUCT.decode_state(PRODUCT.encode_state(state)))
    return "a state"


def same(one: Any, other: Any) -> bool:
    """Equal, where a NaN is equal to itself."""
    return bool(one == other) or repr(one) == repr(other)


def decode_snapshot(data: bytes) -> str:
    """An odd first byte: the rest as it is. An even one: the rest is the content of one with a right checksum."""
    raw, body = bool(data[:1] and data[0] & 1), data[1:]
    try:
        snapshot = store.decode_snapshot(body if raw else sealed(body), SNAPSHOT_BYTES)
    except ValueError as refusal:
        return f"refused: {refusal}"
    assert snapshot == store.decode_snapshot(snapshot.encode(), SNAPSHOT_BYTES)
    return "a snapshot"


def decode_members(data: bytes) -> str:
    try:
        found = membership.decode(membership.MARK + data)
    except ValueError as refusal:
        return f"refused: {refusal}"
    assert found == membership.decode(membership.encode(found))
    return f"{min(len(found.seats), 9)} seats"


def decode_marks(data: bytes) -> str:
    try:
        marks = digests.unpack(data)
    except ValueError as refusal:
        return f"refused: {refusal}"
    assert data == digests.pack(marks)
    return f"{len(marks)} marks"


def decode_change(data: bytes) -> str:
    try:
        ask = changes.unpack(data)
    except InvalidInput as refusal:
        return f"refused: {refusal}"
    assert ask == changes.unpack(ask.packed())
    return ask.verb


def sealed(plain: bytes) -> bytes:
    body = zlib.compress(plain, 1)
    return SNAPSHOT_MAGIC + hashlib.sha256(body).digest() + body


@cache
def loop() -> asyncio.AbstractEventLoop:
    """Never runs: everything is there before it is asked for."""
    return asyncio.new_event_loop()


class Written:
    """What a handshake needs of a writer."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def stranger(data: bytes) -> asyncio.StreamReader:
    """A connection on which ``data`` came, and then the end."""
    reader = asyncio.StreamReader(loop=loop())
    reader.feed_data(data)
    reader.feed_eof()
    return reader


def finished(exchange: Coroutine[Any, Any, Any]) -> str:
    try:
        exchange.send(None)
    except StopIteration:
        return "accepted"
    except (ProtocolError, EOFError) as refusal:
        return f"refused: {type(refusal).__name__} {refusal}"
    exchange.close()
    raise AssertionError("it waits although the connection has ended")


def accept_handshake(data: bytes) -> str:
    writer: Any = Written()
    return finished(handshake.accept(stranger(data), writer, slot="a:1", key=SECRET, path="/some/raft.secret"))


def dial_handshake(data: bytes) -> str:
    writer: Any = Written()
    asked: list[str] = []

    def key_for(path: str) -> bytes:
        asked.append(path)
        return SECRET

    outcome = finished(handshake.dial(stranger(data), writer, slot="a:1", key_for=key_for))
    assert all(len(path) <= handshake.PATH_BYTES_MAX for path in asked)
    return outcome


def load_store(data: bytes) -> str:
    """Four bytes say how long the database is, what follows it is its write-ahead log."""
    (length,) = struct.unpack(">I", data[:4].rjust(4, b"\0"))
    with tempfile.TemporaryDirectory(dir=samples.fast_directory()) as directory:
        path = Path(directory) / "raft.sqlite"
        path.write_bytes(data[4 : 4 + length])
        if data[4 + length :]:
            path.with_name("raft.sqlite-wal").write_bytes(data[4 + length :])
        outcome = load_file(path)
    return outcome if isinstance(outcome, str) else f"{len(outcome.entries)} entries"


def load_file(path: Path) -> str | Image:
    """What was kept in the file, or why it is refused."""
    opened = samples.open_store(path)
    try:
        image = opened.load()
        store.choose(image, opened.where, SNAPSHOT_BYTES)
    except StartupError as refusal:
        assert str(path) in str(refusal)
        return f"refused: {str(refusal).replace(str(path), 'it')}"
    finally:
        opened.close()
    check(image)
    return image


def check(image: Image) -> None:
    """Nothing with another type than it is declared with comes in."""
    assert type(image.term) is int and type(image.commit_index) is int
    assert image.vote is None or type(image.vote) is str
    assert all((bytes, int, int) == tuple(map(type, entry)) for entry in image.entries)
    assert all((int, bytes) == tuple(map(type, snapshot)) for snapshot in image.snapshots)
    assert all((str, str) == tuple(map(type, fact)) for fact in image.facts.items())


def frame_seeds() -> list[bytes]:
    stream = b"".join(frames.frame(body) for body in samples.encoded_messages())
    return [bytes([step]) + stream for step in (0, 6, 254)]


def snapshot_seeds() -> list[bytes]:
    whole = samples.snapshot_of(7)
    content = zlib.decompress(whole[len(SNAPSHOT_MAGIC) + 32 :])
    return [b"\1" + whole, b"\0" + content]


def members_seeds() -> list[bytes]:
    several = membership.founded(("a:1", "b:1", "c:1"))
    made = [several, membership.added(several, "d:1", replaces="c:1"), samples.sample(membership.Configuration)]
    return [membership.encode(each).removeprefix(membership.MARK) for each in made]


def change_seeds() -> list[bytes]:
    return [changes.Ask(verb, "a:1", "b:1", again=True).packed() for verb in changes.VERBS]


def store_seeds() -> list[bytes]:
    return [struct.pack(">I", len(database)) + database + log for database, log in samples.stores()]


def handshake_seeds() -> list[bytes]:
    greeting = handshake.MAGIC + bytes([handshake.PROTOCOL]) + bytes(32)
    return [greeting + bytes(32), greeting + b"\0\4/x/y" + bytes(32), greeting + b"\0\0" + bytes(32)]


TARGETS = {
    target.name: target
    for target in (
        Target("frames", decode_frames, frame_seeds, (frames,)),
        Target("messages", decode_message, samples.encoded_messages, (messages, packed)),
        Target("commands", decode_command, samples.encoded_commands, (codec_module, packed)),
        Target("state", decode_state, samples.encoded_states, (codec_module, packed)),
        Target("snapshot", decode_snapshot, snapshot_seeds, (store, packed)),
        Target("members", decode_members, members_seeds, (membership, packed)),
        Target("marks", decode_marks, lambda: [bytes(40), bytes(range(80))], (digests,)),
        Target("changes", decode_change, change_seeds, (changes, packed)),
        Target("accept", accept_handshake, handshake_seeds, (handshake,)),
        Target("dial", dial_handshake, handshake_seeds, (handshake,)),
        Target("store", load_store, store_seeds, (sqlite_store, store, packed)),
    )
}


def bombs() -> dict[str, bytes]:
    """Small inputs that announce much, or nest deeply."""
    million = 1 << 20
    array = b"\xdd" + struct.pack(">I", million - 10_000)
    return {
        "nested announced lengths": array * 500 + bytes(million),
        "an announced array that is not there": b"\xdd\xff\xff\xff\xff",
        "an announced map that is not there": b"\xdf\xff\xff\xff\xff",
        "announced bytes that are not there": b"\xc6\xff\xff\xff\xff",
        "a thousand arrays in each other": b"\x91" * 1000 + b"\0",
        "a million arrays in each other": b"\x91" * million + b"\0",
        "an array of empty maps": b"\xdd" + struct.pack(">I", million // 8) + b"\x80" * (million // 8),
        "an extension": b"\xc9\xff\xff\xff\xff\x05",
    }
