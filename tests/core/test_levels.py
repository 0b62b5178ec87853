"""What is replicated, compared with what was released: a change without a row in ``levels`` would let versions diverge.

The file below ``levels/`` has one line for each thing that a level has, and is never edited once that level has been
released. Before that, ``python -m tests.core.test_levels`` writes the newest one anew.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated import COMMANDS, State, levels

RELEASED = Path(__file__).parent / "levels"
OPAQUE = (GtidSet, InstanceKey)
"""Written by hooks of the composition root."""
ADVICE = (
    "A newer version would write what older ones do not know. Add a row to SINCE in core/replicated/levels.py, with "
    "the next level. Only if that level has not been released yet, write it anew: python -m tests.core.test_levels"
)


def parts(kind: Any) -> Iterator[Any]:
    """The classes in an annotation."""
    inner = typing.get_args(kind)
    if inner:
        for each in inner:
            yield from parts(each)
    elif isinstance(kind, type) and not issubclass(kind, OPAQUE):
        yield kind


def reachable() -> dict[str, type[Any]]:
    """Every dataclass and enumeration that can stand in a command or in the state, by name."""
    found: dict[str, type[Any]] = {}
    todo: list[Any] = [*COMMANDS, State]
    while todo:
        kind = todo.pop()
        is_ours = dataclasses.is_dataclass(kind) or issubclass(kind, Enum)
        if not is_ours or kind.__name__ in found:
            assert found.get(kind.__name__, kind) is kind, f"two classes are called {kind.__name__}"
            continue
        found[kind.__name__] = kind
        if dataclasses.is_dataclass(kind):
            todo += [part for hint in typing.get_type_hints(kind).values() for part in parts(hint)]
    return found


def lines(level: int) -> list[str]:
    """What ``level`` has."""
    written: list[str] = []
    for name, kind in reachable().items():
        if levels.SINCE.get(name, 1) > level:
            continue
        if dataclasses.is_dataclass(kind):
            hints = typing.get_type_hints(kind)
            each = {f"{name}.{one.name}": f": {_shown(hints[one.name])}" for one in dataclasses.fields(kind)}
        else:
            each = {f"{name}.{member.name}": f" = {member.value!r}" for member in kind}
        written += [f"{key}{text}" for key, text in each.items() if levels.SINCE.get(key, 1) <= level]
    return sorted(written)


def _shown(kind: Any) -> str:
    """Without the modules, which may change."""
    return re.sub(r"[\w.]+\.(\w+)", r"\1", inspect.formatannotation(kind))


@pytest.mark.parametrize("level", range(1, levels.NEWEST + 1))
def test_what_is_replicated_is_what_was_released_and_what_the_table_adds(level: int) -> None:
    released = (RELEASED / f"{level}.txt").read_text().splitlines()
    now = lines(level)
    assert released == now, f"{sorted(set(released) ^ set(now))}. {ADVICE}"


def test_every_row_of_the_table_names_something() -> None:
    known = reachable()
    named = {line.partition(":")[0].partition(" =")[0] for line in lines(levels.NEWEST)} | set(known)
    assert set(levels.SINCE) <= named
    assert all(1 < level <= levels.NEWEST for level in levels.SINCE.values())


def test_the_walk_sees_commands_state_nested_values_and_enumerations() -> None:
    assert {"RecordPhase", "State", "Facts", "Channel", "ChannelOption", "Flavor", "Recovery"} <= set(reachable())


if __name__ == "__main__":
    (RELEASED / f"{levels.NEWEST}.txt").write_text("\n".join(lines(levels.NEWEST)) + "\n")
