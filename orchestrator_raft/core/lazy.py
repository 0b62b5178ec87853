"""A value that is worked out when somebody first asks for it, and kept: for views that are asked for a part of it only.

``functools.cached_property`` does the same and takes a lock each time (Python 3.11), which costs more than most of
what is worked out here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

Value = TypeVar("Value")


class lazy(Generic[Value]):
    """A property of an object with a ``__dict__``; also of a frozen dataclass without slots."""

    def __init__(self, work_out: Callable[[Any], Value]) -> None:
        self._work_out = work_out
        self._name = work_out.__name__
        self.__doc__ = work_out.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> lazy[Value]: ...

    @overload
    def __get__(self, owner: object, kind: type) -> Value: ...

    def __get__(self, owner: object | None, kind: type) -> Value | lazy[Value]:
        if owner is None:
            return self
        value = owner.__dict__[self._name] = self._work_out(owner)
        return value
