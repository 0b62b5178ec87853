"""Files of saved transactions: two saves of one server at once, and again later. A script stands for the program."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator_raft.core.gtid import parse_mysql
from orchestrator_raft.core.instance import Flavor, InstanceKey
from orchestrator_raft.core.recovery.salvage import Salvage
from orchestrator_raft.core.topology import SavedTransactions
from orchestrator_raft.mysql import BinlogSalvager, Connector, MysqlSettings, SalvageSettings

SOURCE = "8c2ad3a1-1111-11ef-a000-0242ac110002"
SCRIPT = """#!/bin/sh
echo begun >> {journal}
sleep 0.2
cat {logs}
echo ended >> {journal}
"""


class WithoutServer(BinlogSalvager):
    """Knows where the logs begin, so that no server is asked."""

    async def _first_log(self, wanted: Salvage, timeout_s: float) -> str:
        return "binlog.000001"


@dataclass
class Place:
    """A folder, and what the program finds in the binary logs."""

    root: Path

    def __post_init__(self) -> None:
        script = self.root / "program"
        script.write_text(SCRIPT.format(journal=self.root / "journal", logs=self.root / "logs"))
        script.chmod(0o755)
        chosen = SalvageSettings(directory=self.root / "saved", programs=dict.fromkeys(Flavor, str(script)))
        self.salvager = WithoutServer(Connector(MysqlSettings(user="u", password="p")), chosen)

    @property
    def folder(self) -> Path:
        return self.root / "saved" / "r1"

    def logs_hold(self, first: int, last: int) -> None:
        lines = [f"SET @@SESSION.GTID_NEXT= '{SOURCE}:{number}'/*!*/;\n" for number in range(first, last + 1)]
        (self.root / "logs").write_text("".join(lines))

    async def save(self, gtids: str) -> SavedTransactions:
        extra = parse_mysql(f"{SOURCE}:{gtids}")
        wanted = Salvage(
            key=InstanceKey("10.0.0.1", 3306), flavor=Flavor.MYSQL, extra=extra, common=extra.minus(extra), folder="r1"
        )
        return await self.salvager.save(wanted, timeout_s=30.0)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


def read(saved: SavedTransactions) -> str:
    return Path(saved.path).read_text()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_two_saves_of_one_server_take_turns(place: Place) -> None:
    place.logs_hold(21, 23)
    one, other = await asyncio.gather(place.save("21-23"), place.save("21-23"))
    assert one == other
    assert (one.problem, one.gtids.endswith("21-23")) == ("", True), one
    assert (place.root / "journal").read_text().split() == ["begun", "ended"] * 2
    assert place.files() == ["10.0.0.1-3306.sql"]


async def test_a_file_stays_where_the_logs_hold_less_by_now(place: Place) -> None:
    place.logs_hold(21, 23)
    first = await place.save("21-23")
    place.logs_hold(23, 23)
    assert await place.save("21-23") == first
    assert read(first).count("GTID_NEXT") == 3
    place.logs_hold(24, 23)
    assert await place.save("21-23") == first


async def test_a_file_stays_where_neither_holds_all_of_the_other(place: Place) -> None:
    place.logs_hold(21, 23)
    first = await place.save("21-23")
    place.logs_hold(23, 24)
    refused = await place.save("21-24")
    assert refused.path == ""
    assert "move that file away" in refused.problem
    assert f"{first.path}, which was saved before, is kept" in refused.problem
    assert read(first).count("GTID_NEXT") == 3


async def test_more_of_the_same_replaces_and_others_get_a_file_of_their_own(place: Place) -> None:
    place.logs_hold(21, 23)
    first = await place.save("21-23")
    place.logs_hold(21, 24)
    more = await place.save("21-24")
    assert (more.path, more.size_bytes > first.size_bytes) == (first.path, True)
    place.logs_hold(31, 32)
    others = await place.save("31-32")
    assert others.path == str(place.folder / "10.0.0.1-3306.2.sql")
    assert f"mysql --host=PRIMARY < {others.path}" in read(others)
    assert place.files() == ["10.0.0.1-3306.2.sql", "10.0.0.1-3306.sql"]


async def test_what_a_killed_process_left_is_deleted_and_nothing_else(place: Place) -> None:
    place.folder.mkdir(parents=True)
    left, of_another = f"10.0.0.1-3306.{'a' * 32}", f"10.0.0.1-3306.x-3306.{'a' * 32}"
    for name in (f"{left}.partial", f"{left}.cnf", f"{of_another}.partial"):
        (place.folder / name).write_text("")
    place.logs_hold(21, 23)
    assert (await place.save("21-23")).problem == ""
    assert place.files() == sorted([f"{of_another}.partial", "10.0.0.1-3306.sql"])
