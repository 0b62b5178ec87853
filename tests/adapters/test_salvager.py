"""Lost transactions fetched from real binary logs by the real client programs: whole, readable, fit to be applied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator_raft.core.gtid import parse
from orchestrator_raft.core.instance import Flavor as Dialect
from orchestrator_raft.core.recovery.salvage import Salvage
from orchestrator_raft.core.topology import SavedTransactions
from orchestrator_raft.mysql import BinlogSalvager, Connector, SalvageSettings
from sandbox.binaries import Flavor
from sandbox.install import client_program
from sandbox.servers import Server
from sandbox.topology import Topology
from tests.adapters.conftest import NewTopology
from tests.adapters.plan_runner import facts_of, settings

OURS = {Flavor.MYSQL: "mysqlbinlog", Flavor.MARIADB: "mariadb-binlog"}
STATE = {Flavor.MYSQL: "@@global.gtid_executed", Flavor.MARIADB: "@@global.gtid_binlog_state"}
LEDGER = "(SELECT GROUP_CONCAT(id ORDER BY id) FROM app.ledger)"


@dataclass
class Fork:
    """Two servers that have gone apart: the old one has three transactions, in two logs, that the new one lacks."""

    old: Server
    new: Server
    topology: Topology
    common: str
    """What both had before they went apart."""

    async def wanted(self) -> Salvage:
        facts = await facts_of(self.old)
        assert facts.executed is not None
        common = parse(facts.executed.family, self.common)
        extra = facts.executed.minus(common)
        return Salvage(key=facts.key, flavor=facts.flavor, extra=extra, common=common, folder="recovery1")

    def salvager(self, directory: Path, **more: object) -> BinlogSalvager:
        programs = {each: name for each, name in OURS.items() if each is not self.topology.flavor}
        programs[self.topology.flavor] = str(client_program(self.topology.binary, OURS[self.topology.flavor]))
        by_flavor = {dialect: programs[Flavor(dialect.value)] for dialect in Dialect}
        chosen = SalvageSettings(**{"directory": directory, "programs": by_flavor, **more})  # type: ignore[arg-type]
        return BinlogSalvager(Connector(settings()), chosen)


def write(server: Server, number: int) -> None:
    server.execute(f"INSERT INTO app.ledger (id, server) VALUES ({number}, 1)")


@pytest.fixture(scope="module", params=list(Flavor), ids=lambda flavor: flavor.value)
def fork(request: pytest.FixtureRequest, module_topology: NewTopology) -> Iterator[Fork]:
    topology = module_topology(request.param, 2, semi_sync=False)
    old, new = topology.servers
    write(old, 1)
    old.execute("FLUSH BINARY LOGS")
    write(old, 2)
    topology.wait_caught_up()
    new.execute("STOP REPLICA")
    new.execute("RESET REPLICA ALL")
    common = str(new.value(STATE[topology.flavor]))
    topology.make_writable(new)
    write(old, 901)
    old.execute("FLUSH BINARY LOGS")
    write(old, 902)
    old.execute("INSERT INTO app.ledger (id, server) VALUES (903, 1), (904, 1)")
    old.execute("SET GLOBAL read_only = ON")
    write(new, 3)
    yield Fork(old, new, topology, common)


def apply(text: str, server: Server) -> None:
    """What the client program does with such a file."""
    connection = server.connect()
    try:
        with connection.cursor() as cursor:
            plain = "\n".join(line for line in text.splitlines() if not line.startswith(("#", "--", "DELIMITER")))
            for statement in re.split(r"/\*!\*/;|;$", plain, flags=re.MULTILINE):
                if statement.strip() and not statement.strip().startswith("/*!\\C"):
                    cursor.execute(statement)
    finally:
        connection.close()


def read(saved: SavedTransactions, folder: Path) -> str:
    """The text of the only file of that folder, which nobody else may read."""
    path = Path(saved.path)
    text = path.read_text()
    assert saved.size_bytes == path.stat().st_size == len(text.encode())
    assert path.stat().st_mode & 0o077 == 0
    assert list(folder.iterdir()) == [path]
    return text


def files_in(directory: Path) -> list[Path]:
    return list(directory.rglob("*.*"))


async def test_they_are_saved_and_can_be_applied_elsewhere(fork: Fork, tmp_path: Path) -> None:
    wanted = await fork.wanted()
    saved = await fork.salvager(tmp_path).save(wanted, timeout_s=60.0)
    assert saved.problem == ""
    text = read(saved, tmp_path / "recovery1")
    assert f"Transactions that only {wanted.key} has: {wanted.extra}" in text
    assert [str(number) in text for number in (901, 902, 903, 904)] == [True] * 4
    assert re.findall(r"@1=(\d+)$", text, re.MULTILINE) == ["901", "902", "903", "904"]
    if fork.topology.flavor is Flavor.MARIADB:
        text = re.sub(r"(?m)^.*SET @@session\.(gtid_domain_id|server_id|gtid_seq_no)=.*\n", "", text)
    apply(text, fork.new)
    assert fork.new.value(LEDGER) == "1,2,3,901,902,903,904"
    left = (await facts_of(fork.new)).executed
    assert left is not None
    assert left.covers(wanted.extra) is (fork.topology.flavor is Flavor.MYSQL)


async def expect_nothing(fork: Fork, directory: Path, **more: object) -> SavedTransactions:
    facts = await facts_of(fork.old)
    assert facts.executed is not None
    last = facts.executed
    wanted = Salvage(key=facts.key, flavor=facts.flavor, extra=last, common=last.minus(last), folder="r")
    saved = await fork.salvager(directory, **more).save(wanted, timeout_s=60.0)
    assert saved.path == ""
    assert files_in(directory) == []
    return saved


async def test_a_file_beyond_the_limit_is_not_kept(fork: Fork, tmp_path: Path) -> None:
    saved = await expect_nothing(fork, tmp_path, size_max_bytes=2000)
    assert saved.problem == "it is more than 2000 bytes (LostTransactionsMaxMegabytes)"


async def test_a_program_that_is_not_there_is_named(fork: Fork, tmp_path: Path) -> None:
    saved = await expect_nothing(fork, tmp_path, programs=dict.fromkeys(Dialect, "no-such-program"))
    assert saved.problem.endswith("is not installed here as 'no-such-program'")


async def test_a_program_that_fails_is_quoted(fork: Fork, tmp_path: Path) -> None:
    saved = await expect_nothing(fork, tmp_path, programs=dict.fromkeys(Dialect, "false"))
    assert saved.problem == "false ended with 1: it said nothing"


async def test_a_program_that_hangs_is_ended(fork: Fork, tmp_path: Path) -> None:
    script = tmp_path / "hangs"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    wanted = await fork.wanted()
    chosen = SalvageSettings(directory=tmp_path, programs=dict.fromkeys(Dialect, str(script)))
    saved = await BinlogSalvager(Connector(settings()), chosen).save(wanted, timeout_s=2.0)
    assert saved.problem == f"{wanted.key}: its binary logs were not read within 2 s"


async def test_what_is_purged_is_said_to_be_missing(fork: Fork, tmp_path: Path) -> None:
    """The last test of this module: it purges the logs."""
    wanted = await fork.wanted()
    newest = fork.old.execute("SHOW BINARY LOGS")[-1]["Log_name"]
    fork.old.execute(f"PURGE BINARY LOGS TO '{newest}'")
    saved = await fork.salvager(tmp_path).save(wanted, timeout_s=60.0)
    if fork.topology.flavor is Flavor.MARIADB:  # it begins where it is told to, or not at all
        assert (saved.path, "have been purged" in saved.problem) == ("", True), saved
    else:
        assert "do not hold 1 transaction" in saved.problem
        assert re.findall(r"@1=(\d+)$", read(saved, tmp_path / "recovery1"), re.MULTILINE) == ["902", "903", "904"]
