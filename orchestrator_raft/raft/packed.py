"""Reading msgpack that somebody else wrote: the one place in this package that unpacks.

Rules
- The bytes are walked once without building anything, and only a whole, well-formed value is built then. So a length
  that is announced but not there costs nothing: memory is bounded by the bytes that are really there, times a small
  constant, in every version of msgpack (older ones allocate what nested lengths announce).
- No extension types: what is built are None, bool, int, float, str, bytes, and arrays and maps of them. Nothing in this
  format can name a class or a function.
- A value that turns out to be wrong is shown in messages by ``shown``: never whole, and never walked into.
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgpack

SHOWN_MAX = 40
SCALARS = (type(None), bool, int, float, str, bytes)


def unpacked(data: bytes, *, arrays: type[tuple[Any, ...]] | type[list[Any]], maps: bool) -> Any:
    """The one value in ``data``; arrays become ``arrays``, maps are refused unless ``maps``. Raises ValueError."""
    try:
        _walk(data)
        return msgpack.unpackb(
            data,
            raw=False,
            use_list=arrays is list,
            strict_map_key=False,
            max_ext_len=0,
            object_pairs_hook=None if maps else _refuse_map,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ValueError(f"{type(error).__name__}: {str(error)[:SHOWN_MAX]}".rstrip(": ")) from error


def shown(value: Any) -> str:
    """A wrong value for a message: short, and of a container only its kind."""
    if not isinstance(value, SCALARS):
        return f"a {type(value).__name__}"
    start = value[:SHOWN_MAX] if isinstance(value, (str, bytes)) else value
    return repr(start)[:SHOWN_MAX]


def _walk(data: bytes) -> None:
    """Raises what msgpack raises for bytes that are not exactly one value."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(data)))
    unpacker.feed(data)
    unpacker.skip()
    if unpacker.tell() != len(data):
        raise ValueError(f"{len(data) - unpacker.tell()} bytes follow its end")


def _refuse_map(_pairs: Any) -> NoReturn:
    raise ValueError("it holds a map")
