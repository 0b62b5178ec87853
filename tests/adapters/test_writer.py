"""Trying to write on real servers: what is done, refused, hangs, and cannot even be asked."""

from __future__ import annotations

import pytest

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.mysql import Connector, MysqlWriter
from sandbox.topology import Topology
from tests.adapters.plan_runner import key_of, settings

ROW = "REPLACE INTO app.ledger (id, server) VALUES (424242, 1)"


def writer(sql: str = ROW) -> MysqlWriter:
    return MysqlWriter(Connector(settings("app")), sql)


async def test_a_write_is_done(topology: Topology) -> None:
    primary = topology.servers[0]
    assert await writer().try_write(key_of(primary), timeout_s=5.0) == ""
    assert primary.value("(SELECT COUNT(*) FROM app.ledger WHERE id = 424242)") == 1
    again = writer(f"SET sql_mode = ''; {ROW}")
    assert await again.try_write(key_of(primary), timeout_s=5.0) == "", "several statements are one write"


async def test_a_refused_write_says_why(topology: Topology) -> None:
    said = await writer().try_write(key_of(topology.servers[1]), timeout_s=5.0)
    assert said is not None
    assert said.startswith("Error 1290: ")


async def test_a_commit_that_hangs_is_given_up(topology: Topology) -> None:
    primary, replicas = topology.servers[0], topology.servers[1:]
    for replica in replicas:
        replica.execute("STOP REPLICA IO_THREAD")
    try:
        assert await writer().try_write(key_of(primary), timeout_s=1.0) == "timeout in query after 1 s"
    finally:
        for replica in replicas:
            replica.execute("START REPLICA IO_THREAD")
    topology.wait_acknowledging(primary, len(replicas))


@pytest.mark.parametrize("user", ["nobody", "app"])
async def test_a_server_that_cannot_be_asked_says_nothing_about_writes(topology: Topology, user: str) -> None:
    key = key_of(topology.servers[0]) if user == "nobody" else InstanceKey("127.0.0.1", 1)
    made = MysqlWriter(Connector(settings(user)), ROW)
    assert await made.try_write(key, timeout_s=5.0) is None
