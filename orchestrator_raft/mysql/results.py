"""The bytes of a reply as rows: a pure parser, fed with whatever the network brings.

Theory
- A query may hold several statements; the reply is a result for each, up to the first error. A result without rows
  (an OK) counts as an empty one. All values stay texts or None.
- A probe brings the same 80 column definitions again and again. Their bytes are not taken apart each time but looked up
  among those seen before: that is four fifths of the driver's CPU time for a probe.
- Whatever the server does, memory is bounded: by the reply's length, and by the number of definitions remembered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator_raft.mysql.greeting import Rejection, error_of

Row = dict[str, str | None]

_OK, _LOCAL_FILE, _END, _ERROR = 0x00, 0xFB, 0xFE, 0xFF
_END_BYTES_MAX = 9
_NULL = 0xFB
_MORE_RESULTS = 0x0008
_PACKET_BYTES_MAX = 0xFFFFFF
_KNOWN_MAX = 512
_known: dict[bytes, tuple[str, ...]] = {}


class Malformed(ValueError):
    """These bytes are no reply; the connection is of no use any more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The results of the statements that succeeded, and the error of the one that did not."""

    results: tuple[tuple[Row, ...], ...]
    error: Rejection | None = None
    is_cut: bool = False
    """The deadline passed before the rest came."""


class ReplyParser:
    """Takes the bytes of one reply, in any pieces, until ``done``."""

    def __init__(self, bytes_max: int) -> None:
        self.done = False
        self.error: Rejection | None = None
        self._bytes_max = bytes_max
        self._bytes = 0
        self._pending = b""
        self._sequence = 1
        self._results: list[tuple[Row, ...]] = []
        self._columns = 0
        self._definitions: list[bytes] = []
        self._names: tuple[str, ...] = ()
        self._rows: list[Row] = []
        self._expect = self._first

    @property
    def reply(self) -> Reply:
        return Reply(tuple(self._results), self.error, is_cut=not self.done)

    def feed(self, data: bytes) -> None:
        """Take more bytes. Raises Malformed."""
        self._bytes += len(data)
        if self._bytes > self._bytes_max:
            raise Malformed(f"the reply is longer than {self._bytes_max} bytes")
        data = self._pending + data if self._pending else data
        position, end = 0, len(data)
        while not self.done and end - position >= 4:
            length = int.from_bytes(data[position : position + 3], "little")
            if length == _PACKET_BYTES_MAX:
                raise Malformed("a packet of 16 MiB")
            if end - position < 4 + length:
                break
            self._take(data[position + 3], data[position + 4 : position + 4 + length])
            position += 4 + length
        self._pending = data[position:]

    def _take(self, sequence: int, body: bytes) -> None:
        if not body:
            raise Malformed("an empty packet")
        if body[0] == _ERROR:
            self.error, self.done = error_of(body), True
            return
        if sequence != self._sequence:
            raise Malformed(f"packet {sequence} where {self._sequence} was expected")
        self._sequence = (sequence + 1) & 0xFF
        self._expect(body)

    def _first(self, body: bytes) -> None:
        if body[0] == _OK:
            _, position = _length(body, 1)
            _, position = _length(body, position)
            self._finish(_status(body, position))
        elif body[0] == _LOCAL_FILE:
            raise Malformed("the server asks for a file of ours")
        else:
            self._columns, _ = _length(body, 0)
            self._definitions = []
            self._expect = self._definition

    def _definition(self, body: bytes) -> None:
        if len(self._definitions) < self._columns:
            self._definitions.append(body)
            return
        if body[0] != _END:
            raise Malformed("more columns than were announced")
        self._names = _names(self._definitions)
        self._expect = self._row

    def _row(self, body: bytes) -> None:
        if body[0] == _END and len(body) < _END_BYTES_MAX:
            self._finish(_status(body, 3))
        else:
            self._rows.append(dict(zip(self._names, _values(body), strict=True)))

    def _finish(self, status: int) -> None:
        self._results.append(tuple(self._rows))
        self._rows = []
        self._expect = self._first
        self.done = not status & _MORE_RESULTS


def _status(body: bytes, position: int) -> int:
    return int.from_bytes(body[position : position + 2], "little")


def _length(body: bytes, position: int) -> tuple[int, int]:
    """A length-encoded number, and where it ends."""
    try:
        first = body[position]
    except IndexError:
        raise Malformed("a packet is cut short") from None
    if first < _NULL:
        return first, position + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first)
    if size is None:
        raise Malformed(f"{first} is no length")
    end = position + 1 + size
    return int.from_bytes(body[position + 1 : end], "little"), end


def _values(body: bytes) -> list[str | None]:
    values: list[str | None] = []
    position, end = 0, len(body)
    while position < end:
        length = body[position]
        if length == _NULL:
            values.append(None)
            position += 1
            continue
        if length < _NULL:
            position += 1
        else:
            length, position = _length(body, position)
        values.append(body[position : position + length].decode("utf-8", "replace"))
        position += length
    if position != end:
        raise Malformed("a row is cut short")
    return values


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """A name that comes again gets its position, so that no column of ``SELECT 'repl', 'repl'`` is lost."""
    found: dict[str, None] = {}
    for position, name in enumerate(names, start=1):
        found[name if name not in found else f"{name} ({position})"] = None
    return tuple(found)


def _names(definitions: list[bytes]) -> tuple[str, ...]:
    """Column names; the definitions' bytes are their key."""
    key = b"".join(definitions)
    names = _known.get(key)
    if names is None:
        if len(_known) >= _KNOWN_MAX:
            _known.clear()
        names = _known[key] = _distinct(_name(definition) for definition in definitions)
    return names


def _name(definition: bytes) -> str:
    """The fifth text of a column definition, after catalogue, schema, table and the table's own name."""
    position = 0
    for _ in range(4):
        length, position = _length(definition, position)
        position += length
    length, position = _length(definition, position)
    return definition[position : position + length].decode("utf-8", "replace")
