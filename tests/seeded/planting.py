"""Planted bugs: a plant replaces something at a seam while one run lasts, and the checks have to notice it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


class Patches:
    """Replacements that are taken back in the end."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def put(self, owner: Any, name: str, value: Any) -> None:
        if name in vars(owner):
            before = vars(owner)[name]
            self._undo.append(lambda: setattr(owner, name, before))
        else:  # it is inherited; raises AttributeError where there is none
            getattr(owner, name)
            self._undo.append(lambda: delattr(owner, name))
        setattr(owner, name, value)

    def put_row(self, table: MutableMapping[str, Any], name: str, row: Any) -> None:
        before = table[name]
        self._undo.append(lambda: table.__setitem__(name, before))
        table[name] = row

    def take_back(self) -> None:
        for undo in reversed(self._undo):
            undo()


Bug = Callable[[Patches], None]


@dataclass(frozen=True, slots=True)
class Plant:
    """``found_by`` are the kinds of violation that may give it away."""

    name: str
    what: str
    bug: Bug
    found_by: Sequence[str]
    theme: str = field(default="", kw_only=True)
    """The sort of trouble that brings it out; any run may draw it."""

    @contextmanager
    def planted(self) -> Iterator[None]:
        patches = Patches()
        try:
            self.bug(patches)
            yield
        finally:
            patches.take_back()
