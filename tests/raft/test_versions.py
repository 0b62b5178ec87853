"""Two versions in one cluster: what they write, when the level rises, and who is kept out afterwards."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orchestrator_raft.core.errors import InvalidInput, Refused, StartupError
from orchestrator_raft.raft import membership
from orchestrator_raft.raft.codec import Codec
from orchestrator_raft.raft.levels import Levels
from orchestrator_raft.raft.membership import Configuration, Contact, Standing, founded, next_step
from orchestrator_raft.raft.node import RaftNode
from tests.raft import counting, next_version
from tests.raft.cluster import WAIT_S, Cluster, running, until

OLD, NEW = counting.codec(), next_version.codec()
RETRY_S = 0.05


# what is written


def test_at_the_old_level_both_versions_write_the_same_bytes() -> None:
    for old, new in (
        (counting.Add("1", 5, "x"), next_version.Add("1", 5, "x")),
        (counting.Break("1"), counting.Break("1")),
    ):
        data = NEW.encode_command(new, 1)
        assert data == OLD.encode_command(old, 1)
        assert old == OLD.decode_command(data) and new == NEW.decode_command(data)
    results = {"1": 5, "2": 6}
    data = NEW.encode_state(next_version.Counted(6, results), 1)
    assert data == OLD.encode_state(counting.Counted(6, results), 1)
    assert next_version.Counted(6, results) == NEW.decode_state(data)


def test_at_the_new_level_everything_travels_and_the_old_version_refuses_it() -> None:
    commands = [next_version.Add("1", times=3), next_version.Scale("2", 4), next_version.Add("3")]
    for command in commands:
        data = NEW.encode_command(command, 2)
        assert command == NEW.decode_command(data)
        with pytest.raises(InvalidInput, match="was written at level 2, this version reads levels 1 to 1: upgrade"):
            OLD.decode_command(data)
    state = next_version.Counted(6, {"1": 6}, scaled=2)
    assert state == NEW.decode_state(NEW.encode_state(state, 2))
    with pytest.raises(InvalidInput, match="was written at level 2"):
        OLD.decode_state(NEW.encode_state(state, 2))


def test_what_is_too_early_is_refused_and_never_dropped_in_silence() -> None:
    for command in next_version.Scale("1", 2), next_version.Add("1", times=2):
        with pytest.raises(Refused, match="needs level 2 and the cluster is at level 1"):
            NEW.encode_command(command, 1)
    with pytest.raises(Refused, match=r"Counted\.scaled needs level 2"):
        NEW.encode_state(next_version.Counted(scaled=1), 1)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Part:
    colour: Colour = Colour.RED
    size: int = 0


@dataclass(frozen=True)
class Other:
    size: int = 0


@dataclass(frozen=True)
class Paint:
    id: str
    parts: tuple[Part, ...] = ()
    choice: Part | Other | None = None


def test_levels_reach_into_containers_unions_and_enumerations() -> None:
    levels = Levels(newest=2, since={"Colour.BLUE": 2, "Part.size": 2, "Other": 2})
    codec: Codec[Paint, Paint] = Codec(commands=[Paint], state_type=Paint, levels=levels)
    early = Paint("1", (Part(),), Part())
    assert early == codec.decode_command(codec.encode_command(early, 1))
    assert b"size" not in codec.encode_command(early, 1)
    for late, name in (
        (Paint("1", (Part(Colour.BLUE),)), "Colour.BLUE"),
        (Paint("1", (Part(size=1),)), "Part.size"),
        (Paint("1", choice=Other()), "Other"),
    ):
        assert late == codec.decode_command(codec.encode_command(late, 2))
        with pytest.raises(Refused, match=f"{name} needs level 2"):
            codec.encode_command(late, 1)


def test_a_table_of_levels_that_makes_no_sense_is_a_mistake_of_the_program() -> None:
    for wrong in ({"oldest": 0}, {"oldest": 2, "newest": 1}, {"newest": 2, "since": {"Add": 3}}):
        with pytest.raises(ValueError, match="make no sense"):
            Levels(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no default for older entries"):
        Levels(newest=2, since={"Scale.factor": 2}).late_fields(next_version.Scale, 1)


# when the level rises


def standing(*newest: int, level: int = 1) -> Standing:
    """Members a, b, c ... with the newest level that each knows; 0 for one that is not connected."""
    slots = [chr(ord("a") + number) for number in range(len(newest))]
    met = {slot: known for slot, known in zip(slots, newest, strict=True) if known}
    seats = tuple(replace(seat, incarnation=f"i{seat.slot}") for seat in founded(slots).seats)
    return Standing(
        me="a", configuration=Configuration(seats, level), has_authority=True, is_committed=True, live=frozenset(met),
        contacts={slot: Contact(incarnation=f"i{slot}", newest_level=known) for slot, known in met.items()},
        missing=dict.fromkeys(met, 0),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "level", "then"),
    [
        ((2, 2, 2), 1, 2),
        ((2,), 1, 2),
        ((2, 3, 3), 1, 2),
        ((2, 2, 1), 1, None),
        ((2, 2, 0), 1, None),
        ((1, 1, 1), 1, None),
        ((2, 2, 2), 2, None),
        ((2, 2, 1), 2, None),
    ],
)
def test_the_level_rises_when_every_member_is_connected_and_knows_it(
    known: tuple[int, ...], level: int, then: int | None
) -> None:
    before = standing(*known, level=level)
    after = next_step(before)
    assert (None if then is None else replace(before.configuration, level=then)) == after


def test_the_level_waits_for_authority_and_for_the_change_before() -> None:
    ready = standing(2, 2, 2)
    assert next_step(replace(ready, has_authority=False)) is None
    assert next_step(replace(ready, is_committed=False)) is None


def test_changes_of_the_members_keep_the_level_and_it_survives_the_log() -> None:
    configuration = standing(2, 2, 2, level=2).configuration
    grown = membership.added(configuration, "127.0.0.1:9")
    for changed in grown, membership.removed(grown, "b", "a"), membership.removed(grown, "a", "a"):
        assert 2 == changed.level
        assert changed == membership.decode(membership.encode(changed))


# real nodes


class Rolling:
    """A cluster whose nodes are started in one version or the other."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.nodes: dict[str, Any] = cluster.nodes
        self._number = 0

    async def start(self, entry: str, version: ModuleType) -> None:
        node: Any = RaftNode(
            self.cluster.settings(entry), version.Counter(), version.codec(), on_fatal=self.cluster.failures.append
        )
        await node.start()
        self.nodes[entry] = node

    async def again(self, entry: str, version: ModuleType) -> None:
        await self.cluster.stop(entry)
        await self.start(entry, version)

    async def write(self) -> None:
        """One command by each node, in the form of its own version."""
        for node in list(self.nodes.values()):
            self._number += 1
            version = counting if 1 == node._codec.levels.newest else next_version
            await self.propose(node, version.Add(f"c{self._number}"))

    async def propose(self, node: Any, command: Any) -> int:
        result: int = await node.propose(command, timeout_s=WAIT_S)
        return result

    def levels(self) -> set[int]:
        return {node.status().level for node in self.nodes.values()}

    def totals(self) -> set[int]:
        return {node.state.total for node in self.nodes.values()}

    async def agree(self) -> None:
        await until(lambda: 1 == len({node.applied_index for node in self.nodes.values()}), "equal logs")
        assert 1 == len({node.status().digest for node in self.nodes.values()})
        assert 1 == len(self.totals())


async def test_a_cluster_is_upgraded_node_by_node_and_then_the_level_rises(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        rolling = Rolling(cluster)
        await rolling.write()
        for entry in cluster.entries[:2]:
            await rolling.again(entry, next_version)
            await rolling.write()
            await rolling.agree()
            assert {1} == rolling.levels()
            with pytest.raises(Refused, match="needs level 2 and the cluster is at level 1"):
                await rolling.propose(rolling.nodes[entry], next_version.Scale("early", 2))
        await rolling.again(cluster.entries[2], next_version)
        await until(lambda: {2} == rolling.levels(), "the new level")
        total = rolling.totals().pop()
        assert 2 * total == await rolling.propose(rolling.nodes[cluster.entries[0]], next_version.Scale("s", 2))
        await rolling.write()
        await rolling.agree()
        assert {2 * total + 3} == rolling.totals()


async def test_a_snapshot_of_the_new_version_serves_the_old_one_until_the_level_rises(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        rolling = Rolling(cluster)
        away, *others = cluster.entries
        cluster.limits = replace(cluster.limits, retained_entries=0)
        await cluster.stop(away)
        for entry in others:
            await rolling.again(entry, next_version)
        for _ in range(5):
            await rolling.write()
        for entry in others:
            rolling.nodes[entry].compact()
        await until(lambda: all(rolling.nodes[entry].status().snapshot_index for entry in others), "snapshots")
        await rolling.start(away, counting)
        await rolling.agree()
        assert {1} == rolling.levels()
        await rolling.write()
        await rolling.agree()


async def refusal(rolling: Rolling, entry: str, version: ModuleType) -> str:
    with pytest.raises(StartupError) as refused:
        await rolling.start(entry, version)
    return str(refused.value)


async def test_an_old_version_on_a_directory_of_the_new_level_does_not_start(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        rolling = Rolling(cluster)
        for entry in cluster.entries:
            await rolling.again(entry, next_version)
        await until(lambda: {2} == rolling.levels(), "the new level")
        entry = cluster.entries[0]
        await cluster.stop(entry)
        text = await refusal(rolling, entry, counting)
        assert "the cluster is at level 2, this version knows levels 1 to 1: install the version that the other" in text
        await rolling.start(entry, next_version)
        await until(lambda: {2} == rolling.levels(), "the level, which a restarted node hears with the first commit")
        await rolling.propose(rolling.nodes[entry], next_version.Scale("s", 2))
        rolling.nodes[entry].compact()
        await until(lambda: rolling.nodes[entry].status().snapshot_index, "a snapshot")
        await cluster.stop(entry)
        text = await refusal(rolling, entry, counting)
        assert "cannot be read by this version" in text and "level 2" in text
        await rolling.start(entry, next_version)
        await rolling.agree()


def problems(node: Any) -> list[str]:
    return [each.problem for each in node.members() if not each.is_self]


async def test_an_old_version_that_comes_back_with_an_old_directory_is_kept_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As when a machine is restored from a backup that was made before the upgrade."""
    async with running(tmp_path) as cluster:
        rolling = Rolling(cluster)
        await rolling.write()
        entry, *others = cluster.entries
        directory = cluster.settings(entry).data_dir
        assert directory is not None
        await cluster.stop(entry)
        shutil.copytree(directory, tmp_path / "backup")
        await rolling.start(entry, next_version)
        for other in others:
            await rolling.again(other, next_version)
        await until(lambda: {2} == rolling.levels(), "the new level")
        await cluster.stop(entry)
        shutil.rmtree(directory)
        shutil.copytree(tmp_path / "backup", directory)
        await rolling.start(entry, counting)
        clear = (
            "which knows levels 1 to 1, and the cluster is at level 2: install there the version that the others run"
        )
        await until(lambda: clear in caplog.text, "the refusal in the log")
        await until(lambda: "level 2, this version knows levels 1 to 1" in caplog.text, "the old node's own words")
        old = rolling.nodes[entry]
        seen = partial(problems, old)
        await until(lambda: all("knows levels 1 to 1" in problem for problem in seen()), "the reason in the status")
        assert old.leader() is None and not any(each.is_connected for each in old.members() if not each.is_self)
        await rolling.propose(rolling.nodes[others[0]], next_version.Scale("s", 2))
        assert "s" not in old.state.results
        await rolling.again(entry, next_version)
        await rolling.agree()


async def test_while_a_member_is_away_the_level_waits_for_it(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        rolling = Rolling(cluster)
        away, *others = cluster.entries
        await cluster.stop(away)
        for entry in others:
            await rolling.again(entry, next_version)
        await rolling.write()
        await asyncio.sleep(1.0)
        assert {1} == rolling.levels()
        await rolling.start(away, next_version)
        await until(lambda: {2} == rolling.levels(), "the new level")
