"""What differs between two versions of one immutable mapping, where most values are the very same objects.

The last answer is kept, since all who follow one command ask about the same two versions; it is never trusted for other
ones, and nothing depends on it but time.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from operator import is_not
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_last: tuple[Mapping[Any, Any], Mapping[Any, Any], tuple[Any, ...]] = {}, {}, ()


def differences(before: Mapping[K, V], after: Mapping[K, V]) -> tuple[K, ...]:
    """Keys under which another object stands, or that only one of the two has; the latter last. Equal values may be
    listed. The mappings must not change any more.
    """
    global _last
    if before is after:
        return ()
    asked_before, asked_after, answer = _last
    if asked_before is not before or asked_after is not after:
        answer = tuple(_found(before, after))
        _last = before, after, answer
    return answer


def _found(before: Mapping[K, V], after: Mapping[K, V]) -> list[K]:
    if list(before) == list(after):
        return list(compress(after, map(is_not, before.values(), after.values())))
    missing = object()
    changed = [key for key, value in after.items() if before.get(key, missing) is not value]
    return changed + [key for key in before if key not in after]
