"""Frames and messages: what is sent arrives, anything else is refused or ignored, and never more."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_raft.raft.frames import FrameDecoder, ProtocolError, frame
from orchestrator_raft.raft.messages import (
    NUMBER_MAX,
    TAGS,
    TEXT_MAX,
    Ack,
    Append,
    Message,
    Vote,
    decode,
    encode,
)

numbers = st.integers(0, NUMBER_MAX)
BY_TYPE = {
    "int": numbers,
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "str": st.text(max_size=20),
    "bool": st.booleans(),
    "bytes": st.binary(max_size=20),
}


@st.composite
def messages(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from(sorted(TAGS.values(), key=lambda kind: kind.__name__)))
    if kind is Append:
        terms = sorted(draw(st.lists(st.integers(0, 9), max_size=4)))
        previous = draw(st.integers(0, 1000))
        entries = tuple((draw(st.binary(min_size=1)), previous + 1 + at, term) for at, term in enumerate(terms))
        return Append(draw(st.integers(9, 20)), previous, draw(numbers), draw(numbers), 1.5, entries)
    message: Message = kind(*(draw(BY_TYPE[str(field.type)]) for field in dataclasses.fields(kind)))
    return message


@given(messages())
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert message == decode(encode(message))


@given(st.lists(messages(), max_size=5), st.integers(1, 50))
def test_frames_come_out_whole_however_the_stream_is_cut(sent: list[Message], step: int) -> None:
    stream = b"".join(frame(encode(message)) for message in sent)
    decoder = FrameDecoder(10_000)
    received = [
        decode(body) for start in range(0, len(stream), step) for body in decoder.feed(stream[start : start + step])
    ]
    assert sent == received


@given(st.binary(max_size=300))
def test_any_frame_is_a_message_or_refused_or_ignored(data: bytes) -> None:
    try:
        decode(data)
    except ProtocolError as refusal:
        assert str(refusal)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=15,
)


@given(st.sampled_from(sorted(TAGS)), st.lists(plain, max_size=8))
def test_any_fields_under_a_known_tag_are_checked(tag: int, fields: list[Any]) -> None:
    try:
        message = decode(msgpack.packb([tag, *fields]))
    except ProtocolError:
        return
    assert message == decode(encode(message)) if message is not None else True


@given(st.binary(max_size=300), st.integers(1, 64))
def test_any_stream_is_cut_into_frames_or_refused(data: bytes, limit: int) -> None:
    decoder = FrameDecoder(limit)
    try:
        assert all(len(body) <= limit for body in decoder.feed(data))
    except ProtocolError:
        return
    assert len(decoder._buffer) <= limit + 4


def test_a_length_above_the_limit_is_refused_before_the_body_comes() -> None:
    with pytest.raises(ProtocolError, match="2147483648 bytes"):
        list(FrameDecoder(1000).feed(struct.pack(">I", 2**31)))


def test_a_message_of_a_newer_version_is_ignored_or_read_as_far_as_known() -> None:
    assert decode(msgpack.packb([99, 1, 2])) is None
    assert Vote(7) == decode(msgpack.packb([7, 7, "invented later"]))


REFUSED = [
    [4, 1, 2, 3],
    [4, 1, 2, 3, 1],
    [4, True, 2, 3, True],
    [4, -1, 2, 3, True],
    [4, NUMBER_MAX + 1, 2, 3, True],
    [20, float("nan")],
    [20, float("inf")],
    [24, "x" * (TEXT_MAX + 1)],
    [1, 5, 0, 0, 0, 0.0, [[6, b"x"]]],
    [1, 5, 0, 0, 0, 0.0, [[3, b"x"], [2, b"y"]]],
    [1, 5, 0, 0, 0, 0.0, [[3, b""]]],
    [1, 5, 0, 0, 0, 0.0, [[3]]],
    [],
    ["x"],
]


@pytest.mark.parametrize("fields", REFUSED, ids=str)
def test_a_message_out_of_range_is_refused(fields: list[Any]) -> None:
    with pytest.raises(ProtocolError):
        decode(msgpack.packb(fields))


def test_nesting_and_extensions_are_refused() -> None:
    for data in (b"\x91" * 5000 + b"\x90", msgpack.packb(msgpack.ExtType(5, b"x")), b"\xc1"):
        with pytest.raises(ProtocolError):
            decode(data)
    assert Ack(1, 2, 3, True) == decode(encode(Ack(1, 2, 3, True)))
