"""Commands and state as bytes: cattrs and msgpack under a versioned envelope, and never a pickle.

Rules
- A command travels and is stored as ``{"v": 1, "t": "ClassName", "b": {...}}``; only classes named to the codec exist.
  ``v`` is the level it was written at (``levels``): nothing in it is later than that.
- A field that is missing takes its default: an older version wrote it, or a lower level.
- A level, a type or a field that this version does not know is refused with its name: to guess, or to leave out what
  others apply, would let nodes diverge.
- The same value gives the same bytes at the same level on every node and in every version: sets are sorted, mappings
  become lists of pairs in their order.
- The types come from the composition root, this file knows none of them; what cattrs cannot know is given as ``Hook``.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, is_dataclass
from enum import Enum
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import cattrs
import msgpack
from cattrs.gen import make_dict_unstructure_fn, override

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.raft.levels import FIRST, ONE_LEVEL, Levels
from orchestrator_raft.raft.packed import shown, unpacked

S = TypeVar("S")
C = TypeVar("C")

CAUSE_MAX = 300
"""Characters of a foreign error's text in a message."""
PRIMITIVES = (str, int, float, bool, bytes)
Plain = Any
"""What msgpack can hold: None, bool, int, float, str, bytes, and lists and str-keyed maps of them."""


@dataclass(frozen=True, slots=True)
class Hook:
    """How one type becomes a plain value and comes back; it takes part wherever the type stands in a field."""

    type: type[Any]
    encode: Callable[[Any], Plain]
    decode: Callable[[Plain], Any]


class Codec(Generic[S, C]):
    """Bytes for the commands and the state of one machine. Raises InvalidInput for what it cannot carry or read.

    What is encoded is encoded for a cluster at ``level``; Refused for what that level does not have.
    """

    def __init__(
        self, *, commands: Sequence[type[Any]], state_type: type[S], hooks: Sequence[Hook] = (),
        levels: Levels = ONE_LEVEL,
    ) -> None:  # fmt: skip
        self.levels = levels
        self._converters = {
            level: _converter(hooks, levels, level) for level in range(levels.oldest, levels.newest + 1)
        }
        self._state_type = state_type
        self._types = {command.__name__: command for command in commands}
        if len(self._types) != len(commands):
            raise ValueError("two command classes share one name, and the name is what is stored")

    def encode_command(self, command: C, level: int = FIRST) -> bytes:
        name = type(command).__name__
        if self._types.get(name) is not type(command):
            raise InvalidInput(
                f"'{name}' is no command that this node knows; known are: {', '.join(sorted(self._types))}"
            )
        return self._pack(name, command, level)

    def decode_command(self, data: bytes) -> C:
        name, body = _unpack(data, self.levels)
        known = self._types.get(name)
        if known is None:
            raise InvalidInput(
                f"this version does not know the command {shown(name)}: a newer node wrote it; upgrade this node"
            )
        command: C = self._structure(body, known)
        return command

    def encode_state(self, state: S, level: int = FIRST) -> bytes:
        return self._pack("state", state, level)

    def decode_state(self, data: bytes) -> S:
        name, body = _unpack(data, self.levels)
        if name != "state":
            raise InvalidInput(f"a state was expected, but {shown(name)} was found")
        state: S = self._structure(body, self._state_type)
        return state

    def encode_part(self, value: Any) -> bytes:
        """A value that stands somewhere in the state, for digests: it is never decoded."""
        return self._pack("part", value, self.levels.newest)

    def _pack(self, name: str, value: Any, level: int) -> bytes:
        self.levels.check(level)
        try:
            plain = self._converters[level].unstructure(value)
            return _packb({"v": level, "t": name, "b": plain})
        except (TypeError, ValueError, OverflowError, AttributeError, cattrs.errors.BaseValidationError) as error:
            raise InvalidInput(f"'{name}' cannot be encoded: {type(error).__name__}: {error}") from error

    def _structure(self, body: Plain, wanted: type[Any]) -> Any:
        try:
            return self._converters[self.levels.newest].structure(body, wanted)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError,
                cattrs.errors.CattrsError) as error:  # fmt: skip
            raise InvalidInput(f"'{wanted.__name__}' cannot be decoded: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    """A foreign error for a message. Names of unknown fields come from outside and may be no texts."""
    if isinstance(error, cattrs.errors.ForbiddenExtraKeysError):
        return f"unknown fields: {', '.join(sorted(map(shown, error.extra_fields)))}"[:CAUSE_MAX]
    return f"{type(error).__name__}: {str(error)[:CAUSE_MAX]}"


def _packb(plain: Plain) -> bytes:
    packed: bytes = msgpack.packb(plain, use_bin_type=True)
    return packed


def _unpack(data: bytes, levels: Levels) -> tuple[str, Plain]:
    """The name and the body in an envelope. Raises InvalidInput for anything that is no envelope of this version."""
    try:
        envelope = unpacked(data, arrays=list, maps=True)
    except ValueError as error:
        raise InvalidInput(f"{len(data)} bytes are no encoded command or state: {error}") from error
    if not isinstance(envelope, dict) or not isinstance(envelope.get("t"), str) or "b" not in envelope:
        raise InvalidInput(f"{len(data)} bytes are no encoded command or state: the envelope is missing")
    level = envelope.get("v")
    if type(level) is not int or not levels.knows(level):
        raise InvalidInput(
            f"{shown(envelope['t'])} was written at level {shown(level)}, this version reads levels {levels.oldest} to "
            f"{levels.newest}: upgrade this node"
        )
    return envelope["t"], envelope["b"]


def _converter(hooks: Sequence[Hook], levels: Levels, level: int) -> cattrs.Converter:
    """What writes at ``level``; they all read alike."""
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
    if levels.since and level < levels.newest:
        converter.register_unstructure_hook_factory(
            _is_dataclass, lambda kind: _guarded(converter, kind, levels, level)
        )
    converter.register_unstructure_hook_factory(_is_mapping, lambda kind: _mapping_encoder(converter, kind))
    converter.register_structure_hook_factory(_is_mapping, lambda kind: _mapping_decoder(converter, kind))
    converter.register_unstructure_hook_factory(_is_set, lambda kind: _set_encoder(converter, kind))
    converter.register_unstructure_hook_factory(_is_sequence, lambda kind: _sequence_encoder(converter, kind))
    converter.register_unstructure_hook_factory(_is_class_union, lambda kind: _union_encoder(converter, kind))
    converter.register_structure_hook_factory(_is_class_union, lambda kind: _union_decoder(converter, kind))
    converter.register_unstructure_hook_func(_is_primitive_union, lambda value: value)
    converter.register_structure_hook_factory(_is_primitive_union, _primitive_decoder)
    converter.register_structure_hook_factory(_is_plain_sequence, lambda kind: _sequence_decoder(converter, kind))
    for kind in (str, bytes, bool, int, float):
        converter.register_structure_hook(kind, _strict(kind))
    converter.register_unstructure_hook(Enum, lambda member: _value(member, levels, level))
    for hook in hooks:
        converter.register_unstructure_hook(hook.type, hook.encode)
        converter.register_structure_hook(hook.type, _decoder(hook))
    return converter


def _guarded(converter: cattrs.Converter, kind: type[Any], levels: Levels, level: int) -> Callable[[Any], Plain]:
    """Leaves out the fields that ``level`` does not have. Raises Refused where that would lose something."""
    late = levels.late_fields(kind, level)
    left_out: dict[str, Any] = {name: override(omit=True) for name in late}
    encode: Callable[[Any], Plain] = make_dict_unstructure_fn(kind, converter, **left_out)

    def guarded(value: Any) -> Plain:
        if levels.of(kind.__name__) > level:
            raise levels.too_early(kind.__name__, level)
        for name, default in late.items():
            if getattr(value, name) != default:
                raise levels.too_early(f"{kind.__name__}.{name}", level)
        return encode(value)

    return guarded


def _value(member: Enum, levels: Levels, level: int) -> Plain:
    name = f"{type(member).__name__}.{member.name}"
    if levels.of(name) > level:
        raise levels.too_early(name, level)
    return member.value


def _is_dataclass(kind: Any) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)


def _decoder(hook: Hook) -> Callable[[Plain, Any], Any]:
    return lambda value, _: hook.decode(value)


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_set(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Set)


def _is_sequence(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return origin is Sequence or (isinstance(origin, type) and issubclass(origin, (list, tuple)))


def _is_plain_sequence(kind: Any) -> bool:
    """One type for all items: tuple[X, ...], list[X], Sequence[X]."""
    arguments = get_args(kind)
    return _is_sequence(kind) and (len(arguments) == 1 or (len(arguments) == 2 and arguments[1] is Ellipsis))


def _members(kind: Any) -> tuple[Any, ...]:
    """The members of a union without None; empty for anything else."""
    if get_origin(kind) not in (Union, types.UnionType):
        return ()
    return tuple(member for member in get_args(kind) if member is not types.NoneType)


def _is_class_union(kind: Any) -> bool:
    members = _members(kind)
    return len(members) > 1 and all(isinstance(member, type) and is_dataclass(member) for member in members)


def _is_primitive_union(kind: Any) -> bool:
    members = _members(kind)
    return len(members) > 1 and all(member in PRIMITIVES for member in members)


def _arguments(kind: Any, count: int) -> tuple[Any, ...]:
    found = get_args(kind)
    return found if len(found) == count else (Any,) * count


def _mapping_encoder(converter: cattrs.Converter, kind: Any) -> Callable[[Any], Plain]:
    key_type, value_type = _arguments(kind, 2)
    encode_key, encode_value = _encoder(converter, key_type), _encoder(converter, value_type)
    return lambda mapping: [[encode_key(key), encode_value(value)] for key, value in mapping.items()]


def _mapping_decoder(converter: cattrs.Converter, kind: Any) -> Callable[[Plain, Any], Any]:
    key_type, value_type = _arguments(kind, 2)

    decode_key, decode_value = _structurer(converter, key_type), _structurer(converter, value_type)
    return lambda pairs, _: {decode_key(key): decode_value(value) for key, value in pairs}


def _set_encoder(converter: cattrs.Converter, kind: Any) -> Callable[[Any], Plain]:
    encode = _encoder(converter, _arguments(kind, 1)[0])
    return lambda members: sorted((encode(member) for member in members), key=_packb)


def _sequence_encoder(converter: cattrs.Converter, kind: Any) -> Callable[[Any], Plain]:
    arguments = get_args(kind)
    if arguments and (len(arguments) == 1 or arguments[-1] is Ellipsis):
        encode = _encoder(converter, arguments[0])
        return lambda items: [encode(item) for item in items]
    if arguments:
        encoders = [_encoder(converter, argument) for argument in arguments]
        return lambda items: [encode(item) for encode, item in zip(encoders, items, strict=True)]
    return lambda items: [converter.unstructure(item) for item in items]


def _encoder(converter: cattrs.Converter, kind: Any) -> Callable[[Any], Plain]:
    """By the declared type, so that a union inside a container is tagged like one in a field."""
    if kind is Any or isinstance(kind, TypeVar):
        return converter.unstructure
    found: list[Callable[[Any], Plain]] = []

    def encode(value: Any) -> Plain:
        if not found:
            found.append(converter.get_unstructure_hook(kind))
        return found[0](value)

    return encode


def _structurer(converter: cattrs.Converter, kind: Any) -> Callable[[Plain], Any]:
    """Looked up at the first use, so that a type may contain itself."""
    if kind is Any or isinstance(kind, TypeVar):
        return lambda value: value
    found: list[Callable[[Plain, Any], Any]] = []

    def decode(value: Plain) -> Any:
        if not found:
            found.append(converter.get_structure_hook(kind))
        return found[0](value, kind)

    return decode


def _union_encoder(converter: cattrs.Converter, kind: Any) -> Callable[[Any], Plain]:
    del kind
    return lambda value: None if value is None else [type(value).__name__, converter.unstructure(value)]


def _union_decoder(converter: cattrs.Converter, kind: Any) -> Callable[[Plain, Any], Any]:
    by_name = {member.__name__: member for member in _members(kind)}

    def decode(pair: Plain, _: Any) -> Any:
        if pair is None:
            return None
        name, body = pair
        if name not in by_name:
            raise ValueError(f"{shown(name)} is none of {', '.join(sorted(by_name))}")
        return converter.structure(body, by_name[name])

    return decode


def _sequence_decoder(converter: cattrs.Converter, kind: Any) -> Callable[[Plain, Any], Any]:
    decode_item = _structurer(converter, get_args(kind)[0])
    made: type[Any] = list if (get_origin(kind) or kind) is list else tuple

    def decode(items: Plain, _: Any) -> Any:
        if type(items) is not list:
            raise ValueError(f"{shown(items)} is no list")
        return made([decode_item(item) for item in items])

    return decode


def _primitive_decoder(kind: Any) -> Callable[[Plain, Any], Plain]:
    allowed = frozenset(get_args(kind))

    def decode(value: Plain, _: Any) -> Plain:
        if type(value) not in allowed:
            raise ValueError(f"{shown(value)} is none of {kind}")
        return value

    return decode


def _strict(kind: type[Any]) -> Callable[[Plain, Any], Any]:
    """No silent conversion: a text is not an int that happens to look like one. An int may stand for a float."""

    def decode(value: Plain, wanted: Any) -> Any:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise ValueError(f"{shown(value)} is no {kind.__name__}")
        return wanted(value) if isinstance(wanted, type) and issubclass(wanted, Enum) else value

    return decode
