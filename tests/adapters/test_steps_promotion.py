"""The steps together: a replica becomes the primary, the others follow, the old primary comes back below it."""

from __future__ import annotations

import pytest

from orchestrator_raft.core.recovery.steps import (
    Fence,
    PointTo,
    ResetReplication,
    SetSemiSync,
    SetWritable,
    StopReceiver,
    StopReplication,
    WaitApplied,
)
from sandbox.binaries import Flavor
from sandbox.dialects import EXECUTED_GTIDS
from sandbox.servers import Server
from sandbox.topology import Topology
from tests.adapters.conftest import NewTopology
from tests.adapters.plan_runner import ACCOUNT, facts_of, key_of, perform

LEDGER = "(SELECT GROUP_CONCAT(id ORDER BY id) FROM app.ledger)"


def write(server: Server, number: int) -> None:
    server.execute(f"INSERT INTO app.ledger (id, server) VALUES ({number}, 1)")


async def promote(topology: Topology, old: Server, new: Server, other: Server) -> None:
    """What a failover does, one step after the other."""
    options = facts.channel.options if (facts := await facts_of(new)).channel else ()
    for replica in (new, other):
        await perform(StopReceiver(key=key_of(replica)), replica)
    await perform(Fence(key=key_of(old), deadline_s=3.0), old)
    await perform(WaitApplied(key=key_of(new)), new)
    await perform(StopReplication(key=key_of(new)), new)
    await perform(ResetReplication(key=key_of(new)), new)
    await perform(SetSemiSync(key=key_of(new), source_enabled=True, wait_for_replica_count=1), new)
    await perform(SetWritable(key=key_of(new)), new)
    await perform(WaitApplied(key=key_of(other)), other)
    await perform(PointTo(key=key_of(other), source=key_of(new), deadline_s=5.0), other)
    await perform(SetSemiSync(key=key_of(old), source_enabled=False, replica_enabled=True), old)
    rejoin = PointTo(key=key_of(old), source=key_of(new), options=options, was_primary=True, deadline_s=5.0)
    for _ in range(2):
        await perform(rejoin, old, ACCOUNT)


@pytest.mark.parametrize("flavor", list(Flavor), ids=lambda flavor: flavor.value)
async def test_the_primary_role_goes_round_and_nothing_is_lost(new_topology: NewTopology, flavor: Flavor) -> None:
    topology = new_topology(flavor, 3)
    one, two, three = topology.servers
    write(one, 1)
    number = 1
    for old, new, other in ((one, two, three), (two, three, one), (three, one, two)):
        await promote(topology, old, new, other)
        topology.wait_acknowledging(new, 2)
        number += 1
        write(new, number)
        target = str(new.value(EXECUTED_GTIDS[flavor]))
        for replica in (old, other):
            await perform(WaitApplied(key=key_of(replica), gtids=target), replica)
            facts = await facts_of(replica)
            assert facts.source == key_of(new)
            assert facts.channel is not None
            assert facts.channel.replicates
            assert facts.read_only
            assert facts.executed == (await facts_of(new)).executed
    assert [server.value(LEDGER) for server in topology.servers] == ["1,2,3,4"] * 3
