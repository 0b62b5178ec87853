"""Commands and state survive the wire and the disk unchanged, whatever a dataclass may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.raft.codec import Codec, Hook


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = -1
    HIGH = 3


@dataclass(frozen=True, slots=True, order=True)
class Key:
    host: str
    port: int


class Opaque:
    """A type that cattrs knows nothing about."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


@dataclass(frozen=True, slots=True)
class Up:
    key: Key
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Down:
    key: Key
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    id: str
    key: Key
    colour: Colour = Colour.RED
    level: Level = Level.LOW
    tags: frozenset[str] = frozenset()
    places: frozenset[Key] = frozenset()
    pair: tuple[str, int] = ("", 0)
    keys: tuple[Key, ...] = ()
    value: str | int | float = 0
    maybe: int | None = None
    seen: Up | Down | None = None
    history: tuple[Up | Down, ...] = ()
    by_key: Mapping[Key, tuple[Up | Down, ...]] = field(default_factory=dict)
    flags: Mapping[Colour, bool] = field(default_factory=dict)
    opaque: Opaque = field(default_factory=lambda: Opaque(""))
    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class Take:
    id: str
    key: Key


@dataclass(frozen=True, slots=True)
class State:
    puts: Mapping[Key, Put] = field(default_factory=dict)
    results: Mapping[str, int | None] = field(default_factory=dict)


HOOKS = [Hook(Opaque, lambda value: value.text, Opaque)]
CODEC: Codec[State, Put | Take] = Codec(commands=[Put, Take], state_type=State, hooks=HOOKS)

texts = st.text(max_size=8)
keys = st.builds(Key, texts, st.integers(-(2**63), 2**63 - 1))
seen = st.one_of(st.builds(Up, keys, st.floats(allow_nan=False)), st.builds(Down, keys, st.none() | texts))
histories = st.lists(seen, max_size=3).map(tuple)
puts = st.builds(
    Put,
    id=texts,
    key=keys,
    colour=st.sampled_from(Colour),
    level=st.sampled_from(Level),
    tags=st.frozensets(texts, max_size=4),
    places=st.frozensets(keys, max_size=4),
    pair=st.tuples(texts, st.integers(0, 9)),
    keys=st.lists(keys, max_size=3).map(tuple),
    value=st.one_of(texts, st.integers(0, 99), st.floats(allow_nan=False)),
    maybe=st.none() | st.integers(0, 9),
    seen=st.none() | seen,
    history=histories,
    by_key=st.dictionaries(keys, histories, max_size=3),
    flags=st.dictionaries(st.sampled_from(Colour), st.booleans()),
    opaque=texts.map(Opaque),
    blob=st.binary(max_size=20),
)


@given(puts)
def test_a_command_comes_back_as_it_was(command: Put) -> None:
    encoded = CODEC.encode_command(command)
    decoded = CODEC.decode_command(encoded)
    assert command == decoded
    assert type(decoded.level) is Level
    assert encoded == CODEC.encode_command(decoded), "what was decoded must be fit to be encoded again, in a snapshot"


@given(st.dictionaries(keys, puts, max_size=3), st.dictionaries(texts, st.none() | st.integers(0, 9)))
def test_a_state_with_dataclass_keys_comes_back_as_it_was(held: dict[Key, Put], results: dict[str, int | None]) -> None:
    state = State(held, results)
    assert state == CODEC.decode_state(CODEC.encode_state(state))


@given(st.lists(texts, unique=True, max_size=6))
def test_equal_sets_give_equal_bytes_however_they_were_built(members: list[str]) -> None:
    one = Put(id="1", key=Key("a", 1), tags=frozenset(members))
    other = Put(id="1", key=Key("a", 1), tags=frozenset(reversed(members)))
    assert CODEC.encode_command(one) == CODEC.encode_command(other)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused_and_nothing_else(data: bytes) -> None:
    try:
        CODEC.decode_command(data)
    except InvalidInput as refusal:
        assert str(refusal)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | texts | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(plain, st.sampled_from(["Put", "Take", "state", "Other"]))
def test_any_body_in_an_envelope_is_decoded_or_refused(body: Any, name: str) -> None:
    data = msgpack.packb({"v": 1, "t": name, "b": body})
    for decode in (CODEC.decode_command, CODEC.decode_state):
        try:
            decode(data)
        except InvalidInput as refusal:
            assert str(refusal)


def altered(command: Put, **changes: Any) -> bytes:
    envelope = msgpack.unpackb(CODEC.encode_command(command), strict_map_key=False)
    envelope["b"].update(changes)
    data: bytes = msgpack.packb(envelope)
    return data


def test_a_field_that_this_version_does_not_know_is_refused_by_name() -> None:
    """To leave it out would apply another command than the others do."""
    with pytest.raises(InvalidInput, match="invented_later"):
        CODEC.decode_command(altered(Put(id="1", key=Key("a", 1)), invented_later=[1, 2]))


def test_a_text_is_not_taken_for_a_number() -> None:
    with pytest.raises(InvalidInput, match="no int"):
        CODEC.decode_command(altered(Put(id="1", key=Key("a", 1)), key={"host": "a", "port": "3306"}))


def test_a_command_of_a_newer_version_is_refused_by_name() -> None:
    data = msgpack.packb({"v": 1, "t": "Invented", "b": {}})
    with pytest.raises(InvalidInput, match=r"'Invented'.*upgrade this node"):
        CODEC.decode_command(data)


@pytest.mark.parametrize("level", [2, 0, -1, None, "1", True, 1.0])
def test_an_envelope_of_another_level_is_refused(level: Any) -> None:
    data = msgpack.packb({"v": level, "t": "Put", "b": {}})
    with pytest.raises(InvalidInput, match=r"was written at level .*, this version reads levels 1 to 1: upgrade"):
        CODEC.decode_command(data)


def test_an_object_that_is_no_command_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"'State' is no command.*Put, Take"):
        CODEC.encode_command(State())  # type: ignore[arg-type]


def test_a_value_that_msgpack_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be encoded"):
        CODEC.encode_command(Put(id="1", key=Key("a", 2**70)))


def test_two_commands_of_one_name_are_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="share one name"):
        Codec(commands=[Put, Put], state_type=State)
