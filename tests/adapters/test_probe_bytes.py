"""The parsers of greeting and reply, fed byte by byte: whatever way the network cuts them, the result is the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_raft.mysql import greeting
from orchestrator_raft.mysql.results import Malformed, Reply, ReplyParser

MORE, LAST = 8, 0
Value = str | None
Table = tuple[list[str], list[list[Value]]]


def lenenc(length: int) -> bytes:
    if length < 251:
        return bytes([length])
    size, mark = (2, 0xFC) if length < 1 << 16 else (3, 0xFD)
    return bytes([mark]) + length.to_bytes(size, "little")


def text(value: Value) -> bytes:
    if value is None:
        return b"\xfb"
    encoded = value.encode()
    return lenenc(len(encoded)) + encoded


def bodies(table: Table | None, status: int) -> list[bytes]:
    """The packets of one result; None is an OK without rows."""
    flags = status.to_bytes(2, "little")
    if table is None:
        return [b"\x00\x00\x00" + flags + b"\0\0"]
    names, rows = table
    end = b"\xfe\0\0" + flags
    columns = [b"".join(text(part) for part in ("def", "", "t", "t", name, name)) + b"\x0c" * 13 for name in names]
    return [lenenc(len(names)), *columns, end, *(b"".join(map(text, row)) for row in rows), end]


def reply_of(tables: list[Table | None], error: bytes = b"") -> bytes:
    packets: list[bytes] = []
    for place, table in enumerate(tables):
        packets += bodies(table, LAST if place == len(tables) - 1 and not error else MORE)
    if error:
        packets.append(error)
    framed = [
        len(body).to_bytes(3, "little") + bytes([(1 + place) & 0xFF]) + body for place, body in enumerate(packets)
    ]
    return b"".join(framed)


def expected(tables: list[Table | None]) -> tuple[tuple[dict[str, Value], ...], ...]:
    return tuple(
        () if table is None else tuple(dict(zip(table[0], row, strict=True)) for row in table[1]) for table in tables
    )


def parse(data: bytes, cuts: list[int]) -> Reply:
    parser = ReplyParser(1 << 30)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for begin, end in pairwise(places):
        parser.feed(data[begin:end])
    return parser.reply


values = st.one_of(st.none(), st.text(max_size=20), st.sampled_from(["", "x" * 250, "x" * 251, "x" * 70_000]))


@st.composite
def table(draw: st.DrawFn) -> Table:
    names = draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4, unique=True))
    rows = draw(st.lists(st.lists(values, min_size=len(names), max_size=len(names)), max_size=3))
    return names, rows


@given(st.lists(st.one_of(st.none(), table()), min_size=1, max_size=4), st.lists(st.integers(0, 3000), max_size=12))
def test_results_are_the_same_however_they_are_cut(tables: list[Table | None], cuts: list[int]) -> None:
    reply = parse(reply_of(tables), cuts)
    assert reply.results == expected(tables)
    assert reply.error is None
    assert not reply.is_cut


@given(st.lists(st.one_of(st.none(), table()), max_size=3), st.lists(st.integers(0, 3000), max_size=12))
def test_an_error_ends_the_reply_after_the_results_before_it(tables: list[Table | None], cuts: list[int]) -> None:
    reply = parse(reply_of(tables, b"\xff\x28\x04#42000bad syntax"), cuts)
    assert reply.results == expected(tables)
    assert reply.error is not None
    assert (reply.error.number, reply.error.message) == (1064, "bad syntax")


@given(st.lists(table(), min_size=2, max_size=3), st.integers(1, 200))
def test_a_reply_that_stops_short_is_cut(tables: list[Table | None], missing: int) -> None:
    data = reply_of(tables)
    reply = parse(data[: max(0, len(data) - missing)], [])
    assert reply.is_cut
    assert len(reply.results) < len(tables)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    try:
        reply = parse(data, [])
    except ValueError:
        return
    assert reply.is_cut or reply.results or reply.error is not None


def test_a_reply_has_a_limit() -> None:
    parser = ReplyParser(100)
    with pytest.raises(Malformed, match="longer than 100 bytes"):
        parser.feed(b"x" * 101)


@given(st.binary(min_size=1, max_size=120))
def test_no_greeting_does_more_than_be_refused(body: bytes) -> None:
    try:
        found = greeting.parse(body)
    except greeting.NotAServer:
        return
    assert isinstance(found, greeting.Greeting | greeting.Rejection)


def test_columns_of_one_name_are_all_there() -> None:
    """People write ``SELECT 'repl', 'repl'`` as ReplicationCredentialsQuery: user and password, equally named."""
    reply = parse(reply_of([(["repl", "repl"], [["user", "password"]])]), [])
    assert [list(row.values()) for row in reply.results[0]] == [["user", "password"]]
