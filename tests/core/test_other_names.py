"""Replicas that know their source by another name than we do: the same stories by position have the same ends.

So it is where a server calls itself by its address and its replicas were pointed at a name, or the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator_raft.core.instance import InstanceKey
from tests.core.fleet import Database
from tests.core.scenario import EXPECT, Section, World, read
from tests.core.scenario_play import ask

FOLDER = Path(__file__).parent.parent / "scenarios"
STORIES = ("play-dead-primary-by-position", "play-dead-primary-by-position-leader-dies", "play-relocate-by-place")
FLEET = (
    "P 10.0.0.1:3306", "  + I 10.0.0.2:3306 nogtid lag=0", "    + X 10.0.0.3:3306 nogtid lag=0",
    "  + S 10.0.0.4:3306 nogtid lag=0",
)  # fmt: skip


def other_name(key: InstanceKey) -> InstanceKey:
    return InstanceKey(key.hostname.replace("10.0.0.", "db"), key.port)


class ByAnyName(dict[InstanceKey, Database]):
    """Servers by their keys, found under their other names, too."""

    def __init__(self, servers: Mapping[InstanceKey, Database]) -> None:
        super().__init__(servers)
        self.others = {other_name(key): each for key, each in servers.items()}

    def __missing__(self, key: InstanceKey) -> Database:
        return self.others[key]

    def get(self, key: InstanceKey, default: Any = None) -> Any:
        return super().get(key, self.others.get(key, default))


def renamed(world: World) -> World:
    """The same fleet, whose replicas were pointed at the other names."""
    world.fleet.by_key = ByAnyName(world.fleet.by_key)
    for each in world.fleet.by_key.values():
        each.source = other_name(each.source) if each.source is not None else None
    world.manager.look()
    channel = next(each.channel for each in world.manager.topology.servers.values() if each.channel is not None)
    assert channel.source.hostname.startswith("db")
    return world


def answers(world: World, sections: list[Section]) -> list[str]:
    found: list[str] = []
    for section in sections:
        if section.verb != EXPECT:
            found += ask(world, section.verb, section.words, section.lines)
    return found


@pytest.mark.parametrize("story", STORIES)
def test_a_story_by_position_ends_as_it_does_with_our_names(story: str) -> None:
    fleet, *rest = read(FOLDER / f"{story}.txt")
    expected = answers(World(fleet.lines), rest)
    assert any(line.startswith("succeeded") for line in expected)
    assert answers(renamed(World(fleet.lines)), rest) == expected


@pytest.mark.parametrize("fails", ['fail PointAt X 2 "no"', 'fail PointAt X 9 "no"'])
def test_a_move_that_fails_is_put_back(fails: str) -> None:
    other = renamed(World(FLEET))
    expected = ask(World(FLEET), "play", ["relocate", "X", "P"], [fails])
    assert any("undo" in line for line in expected)
    assert ask(other, "play", ["relocate", "X", "P"], [fails]) == expected
    moved = other.fleet["X"]
    assert moved.source in (other.fleet["I"].key, other_name(other.fleet["I"].key))
    assert moved.receiver_on and moved.applier_on


@pytest.mark.parametrize("direction", ["crash-after PointAt X", 'fail StartReplication X 1 "no"'])
def test_a_move_that_is_done_twice_is_done_once(direction: str) -> None:
    other = renamed(World(FLEET))
    expected = ask(World(FLEET), "play", ["relocate", "X", "P"], [direction])
    assert any(line.startswith("succeeded") for line in expected)
    assert ask(other, "play", ["relocate", "X", "P"], [direction]) == expected
