"""Steps on servers that replicate by file and position, real ones of both flavours."""

from __future__ import annotations

import time

import pytest

from orchestrator_raft.core.errors import ServerError
from orchestrator_raft.core.instance import Coordinates
from orchestrator_raft.core.recovery.steps import PointAt, StartReplication, StopReceiver, StopReplication, WaitApplied
from orchestrator_raft.flavors.places import ask_place, place_of
from sandbox.binaries import Flavor
from sandbox.servers import Server
from sandbox.topology import Topology
from tests.adapters.conftest import NewTopology
from tests.adapters.plan_runner import facts_of, key_of, perform, rows_of
from tests.adapters.positions import to_positions
from tests.adapters.test_steps import LEDGER, write


@pytest.fixture(scope="module", params=list(Flavor), ids=lambda flavor: flavor.value)
def topology(request: pytest.FixtureRequest, module_topology: NewTopology) -> Topology:
    made = module_topology(request.param, 3)
    to_positions(made)
    return made


async def standing(server: Server) -> Coordinates:
    found = place_of(await rows_of(server, ask_place(await facts_of(server))))
    assert found.log_file
    return found


async def test_its_channels_say_where_they_stand(topology: Topology) -> None:
    primary, replica = topology.servers[:2]
    write(primary, 2)
    until_equal(replica, primary)
    await perform(StopReplication(key=key_of(replica)), replica)  # several workers tell only now how far they are
    facts = await facts_of(replica)
    channel = facts.channel
    assert channel is not None
    assert not channel.uses_gtid
    assert (facts.executed is None) is (topology.flavor is Flavor.MYSQL)
    assert channel.executed == channel.read == await standing(primary)
    await perform(StartReplication(key=key_of(replica)), replica)
    topology.wait_replicating([replica])


async def test_what_was_received_is_applied_though_nobody_receives_any_more(topology: Topology) -> None:
    primary, replica = topology.servers[:2]
    replica.execute("STOP REPLICA SQL_THREAD")
    write(primary, 3)
    with pytest.raises(ServerError, match="applier does not run"):
        await perform(WaitApplied(key=key_of(replica), deadline_s=30.0), replica)
    replica.execute("START REPLICA SQL_THREAD")
    await perform(StopReceiver(key=key_of(replica)), replica)
    await perform(WaitApplied(key=key_of(replica)), replica)
    await perform(StopReplication(key=key_of(replica)), replica)
    assert replica.value(LEDGER) == primary.value(LEDGER)
    await perform(WaitApplied(key=key_of(replica)), replica)
    await perform(StartReplication(key=key_of(replica)), replica)
    topology.wait_replicating([replica])


async def test_a_replica_moves_by_position_and_stays_where_it_was_pointed(topology: Topology) -> None:
    """Two replicas that stand at one place: one goes below the other, from where that one's own log stands."""
    primary, middle, leaf = topology.servers
    write(primary, 2)
    for each in (middle, leaf):
        until_equal(each, primary)
        await perform(StopReceiver(key=key_of(each)), each)
        await perform(WaitApplied(key=key_of(each)), each)
        await perform(StopReplication(key=key_of(each)), each)
    before = (await facts_of(leaf)).channel
    assert before is not None
    step = PointAt(
        key=key_of(leaf), source=key_of(middle), place=await standing(middle),
        left_source=key_of(primary), left_at=before.executed, deadline_s=5.0,
    )  # fmt: skip
    for _ in range(2):
        await perform(step, leaf)
    for each in (middle, leaf):
        await perform(StartReplication(key=key_of(each)), each)
    topology.wait_replicating([middle])
    write(primary, 2)
    await perform(WaitApplied(key=key_of(middle)), middle)
    await perform(step, leaf)
    channel = (await facts_of(leaf)).channel
    assert channel is not None
    assert (channel.source, channel.uses_gtid, channel.options) == (key_of(middle), False, before.options)
    assert channel.heartbeat_period_s == before.heartbeat_period_s
    await perform(WaitApplied(key=key_of(leaf)), leaf)
    until_equal(leaf, primary)


def until_equal(server: Server, other: Server) -> None:
    """It has the same rows, once what is on its way has arrived."""
    deadline_s = time.monotonic() + 30
    while server.value(LEDGER) != other.value(LEDGER):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
