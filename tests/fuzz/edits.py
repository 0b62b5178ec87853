"""How an input is changed into another: small edits, as values, for hypothesis and for the guided run alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

TOKENS = (
    *(bytes([byte]) for byte in (0x00, 0xFF, 0x7F, 0x80, 0xC0, 0xC1, 0xC2, 0xC3, 0x90, 0x91, 0x81, 0xA0)),
    *(b"\xcb" + double for double in (b"\x7f\xf8" + bytes(6), b"\x7f\xf0" + bytes(6))),
    *(tag + b"\xff" * 4 for tag in (b"", b"\xdd", b"\xdf", b"\xc6", b"\xcf" + b"\xff" * 4)),
    *(b"\xd3\x80" + bytes(7), b"\xd4\x05\x00", b"\xd6\xff\x00\x00\x00\x01", b"\xa1\xff", b"\xc4\x00"),
    *(b"\x91" * 64, b"\x81\xc0" * 8, b"\xdc\x00\x00", bytes(16)),
)
"""Bytes with a meaning in msgpack and in lengths."""
LENGTH_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Edit:
    """``kind`` is a key of ``KINDS``; ``at`` is taken modulo the length."""

    kind: str
    at: int
    chunk: bytes


def _flipped(data: bytes, at: int, chunk: bytes) -> bytes:
    return data[:at] + bytes(one ^ two for one, two in zip(data[at:], chunk, strict=False)) + data[at + len(chunk) :]


KINDS: Mapping[str, Callable[[bytes, int, bytes], bytes]] = {
    "flip": _flipped,
    "overwrite": lambda data, at, chunk: data[:at] + chunk + data[at + len(chunk) :],
    "insert": lambda data, at, chunk: data[:at] + chunk + data[at:],
    "remove": lambda data, at, chunk: data[:at] + data[at + len(chunk) :],
    "repeat": lambda data, at, chunk: data[:at] + data[at : at + len(chunk)] * 3 + data[at + len(chunk) :],
    "cut": lambda data, at, _: data[:at],
}


def edited(data: bytes, edits: Sequence[Edit]) -> bytes:
    for edit in edits:
        data = KINDS[edit.kind](data, edit.at % (len(data) + 1), edit.chunk)[:LENGTH_MAX]
    return data


def any_edits(dice: random.Random, others: Sequence[bytes]) -> list[Edit]:
    """A few edits; some bring a piece of another input."""
    return [_any_edit(dice, others) for _ in range(dice.choice((1, 1, 1, 2, 3, 6)))]


def _any_edit(dice: random.Random, others: Sequence[bytes]) -> Edit:
    kind = dice.choice(("flip", "flip", "overwrite", "overwrite", "insert", "remove", "repeat", "cut"))
    at = dice.randrange(1 << 20)
    match dice.randrange(4):
        case 0:
            chunk = bytes([1 << dice.randrange(8)])
        case 1:
            chunk = dice.choice(TOKENS)
        case 2:
            other = dice.choice(others)
            start = dice.randrange(len(other) + 1)
            chunk = other[start : start + dice.randrange(1, 64)]
        case _:
            chunk = dice.randbytes(dice.randrange(1, 9))
    return Edit(kind, at, chunk)
