"""docs/privileges.md tells the truth: with exactly the grants that stand there, every probe and every step works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_raft.core.instance import Reached
from orchestrator_raft.core.recovery.steps import (
    Fence,
    PointTo,
    ResetReplication,
    ServerStep,
    SetReadOnly,
    SetSemiSync,
    SetWritable,
    StartReplication,
    StopReceiver,
    StopReplication,
    WaitApplied,
)
from orchestrator_raft.flavors import DIALECTS
from orchestrator_raft.mysql import Connector, MysqlSessions
from sandbox.binaries import Flavor
from sandbox.topology import Topology
from tests.adapters.plan_runner import ACCOUNT, facts_of, key_of, perform, probing, settings
from tests.adapters.test_steps_fence import Client

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "privileges.md"
USER = "orchestrator"


def grants(flavor: Flavor) -> list[str]:
    """The statements of the flavour's block; the password is made the account's name, as everywhere in the sandbox."""
    block = re.search(rf"```sql {flavor.value}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert block is not None
    return [
        statement.strip() for statement in block[1].replace("a-long-password", USER).split(";") if statement.strip()
    ]


@pytest.fixture
def account(topology: Topology) -> Iterator[str]:
    primary = topology.servers[0]
    for statement in grants(topology.flavor):
        primary.execute(statement)
    topology.wait_caught_up()
    yield USER
    topology.make_writable(primary)
    primary.execute(f"DROP USER '{USER}'@'%'")


async def test_the_documented_grants_are_enough_for_every_probe_and_step(topology: Topology, account: str) -> None:
    primary, replica = topology.servers[:2]
    key, source = key_of(replica), key_of(primary)
    async with probing(account) as prober:
        for server in topology.servers:
            assert isinstance(await prober.probe(key_of(server), timeout_s=5.0), Reached)
    steps: tuple[ServerStep, ...] = (
        StopReceiver(key=key), StartReplication(key=key), StopReplication(key=key), PointTo(key=key, source=source),
        WaitApplied(key=key), SetWritable(key=key), SetReadOnly(key=key), SetSemiSync(key=key, source_enabled=True),
        SetSemiSync(key=key, source_enabled=False, replica_enabled=True), StopReplication(key=key),
        ResetReplication(key=key), PointTo(key=key, source=source),
    )  # fmt: skip
    for step in steps:
        await perform(step, replica, ACCOUNT, user=account)
    client = Client(primary)
    await perform(Fence(key=source, deadline_s=3.0), primary, user=account)
    assert client.say("SELECT 1") != 0


async def test_mysql_shows_the_replication_account_and_mariadb_nobody(topology: Topology, account: str) -> None:
    replica = topology.servers[1]
    facts = await facts_of(replica, account)
    queries = DIALECTS[facts.flavor].account_queries(facts)
    async with MysqlSessions(Connector(settings(account))).acting(key_of(replica), timeout_s=5.0) as session:
        found = [tuple(row.values()) for query in queries for row in await session.query(query, timeout_s=5.0)]
    assert found == ([("repl", "repl")] if topology.flavor is Flavor.MYSQL else [])


@pytest.mark.parametrize("flavor", list(Flavor))
def test_every_privilege_is_explained(flavor: Flavor) -> None:
    section = DOCUMENT.read_text().split(f"## {flavor.title}")[1].split("\n## ")[0]
    granted = re.findall(r"^GRANT (.*) ON \*\.\*", section, re.MULTILINE)
    explained = set(re.findall(r"^\| ([A-Z_ ]+?)(?: \(.*\))? \|", section, re.MULTILINE))
    assert {name.strip() for line in granted for name in line.split(",")} == explained
