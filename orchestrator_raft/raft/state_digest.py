"""A digest of a whole state that costs only what changed, and never more than a little at a time.

The state is a frozen value. Its digest is the sum, modulo 2**128, of a hash of each item in it: each pair of a mapping,
each member of a tuple, each other field. So it does not depend on how the state came about, an unchanged item is never
encoded again (states share what they do not change, so identity tells), and a large state is read in portions of
``ITEMS_PER_STEP``, between which heartbeats pass. The order inside a mapping or tuple is not part of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator_raft.raft.digests import DIGEST_BYTES

ITEMS_PER_STEP = 64
_MODULUS = 1 << (8 * DIGEST_BYTES)
_UNSET = object()
Encode = Callable[[Any], bytes]


@dataclass(slots=True)
class _Part:
    """One field of the state: the value it had, and each item of it with its share of the sum."""

    name: bytes
    value: Any = _UNSET
    shares: dict[Hashable, tuple[Any, int]] = field(default_factory=dict)


class StateDigest:
    """Follows one state after another: ``begin`` with a state, then ``step`` until it gives the digest, and so on."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._parts: dict[str, _Part] = {}
        self._sum = 0
        self._todo: Iterator[tuple[_Part, Hashable, Any]] = iter(())

    def begin(self, state: Any) -> None:
        """Only when the state before it is done."""
        changes: list[tuple[_Part, Hashable, Any]] = []
        for name, value in _fields(state):
            part = self._parts.setdefault(name, _Part(name.encode()))
            if part.value is not value:
                changes += self._changes(part, value)
        self._todo = iter(changes)

    def step(self) -> bytes | None:
        """The digest when nothing is left to do, else None."""
        for _ in range(ITEMS_PER_STEP):
            change = next(self._todo, None)
            if change is None:
                return (self._sum % _MODULUS).to_bytes(DIGEST_BYTES)
            part, key, item = change
            share = self._share(part, key, item)
            self._sum += share - part.shares.get(key, (None, 0))[1]
            part.shares[key] = item, share
        return None

    def _changes(self, part: _Part, value: Any) -> list[tuple[_Part, Hashable, Any]]:
        """Items to be added; those that are gone are taken out at once."""
        items = _items(value)
        for key in [key for key in part.shares if key not in items]:
            self._sum -= part.shares.pop(key)[1]
        part.value = value
        known = part.shares
        return [(part, key, item) for key, item in items.items() if key not in known or known[key][0] is not item]

    def _share(self, part: _Part, key: Hashable, item: Any) -> int:
        named = self._encode(key) if isinstance(part.value, Mapping) else b""
        head = b"%d %d " % (len(part.name), len(named))
        hashed = hashlib.blake2b(head + part.name + named + self._encode(item), digest_size=DIGEST_BYTES)
        return int.from_bytes(hashed.digest())


def _fields(state: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a dataclass; anything else is one field."""
    if not dataclasses.is_dataclass(state):
        yield "", state
        return
    for each in dataclasses.fields(state):
        value = getattr(state, each.name)
        yield each.name, value
        if isinstance(value, tuple):
            yield f"{each.name} length", len(value)


def _items(value: Any) -> Mapping[Hashable, Any]:
    """A member of a tuple is found again by its identity, which the digest keeps alive and so unique."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple):
        return {id(member): member for member in value}
    return {None: value}
