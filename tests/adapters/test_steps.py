"""Every step on real servers of both flavours: it reaches its post-condition, and may be done twice."""

from __future__ import annotations

import pytest

from orchestrator_raft.core.errors import ServerError
from orchestrator_raft.core.instance import InstanceKey, ThreadState
from orchestrator_raft.core.recovery.steps import (
    PointTo,
    Reprobe,
    ResetReplication,
    ServerStep,
    SetEventScheduler,
    SetNetTimeout,
    SetReadOnly,
    SetSemiSync,
    SetWritable,
    StartReplication,
    StopReceiver,
    StopReplication,
    WaitApplied,
)
from sandbox.binaries import Flavor
from sandbox.dialects import EXECUTED_GTIDS
from sandbox.servers import Server
from sandbox.topology import Topology
from tests.adapters.plan_runner import ACCOUNT, facts_of, key_of, perform

LEDGER = "(SELECT COUNT(*) FROM app.ledger)"


async def twice(step: ServerStep, server: Server) -> None:
    await perform(step, server)
    await perform(step, server)


def primary_of(topology: Topology) -> Server:
    return topology.servers[0]


def write(server: Server, count: int = 1) -> None:
    for _ in range(count):
        server.execute("INSERT INTO app.ledger (id, server) SELECT COALESCE(MAX(id), 0) + 1, 1 FROM app.ledger")


async def test_a_receiver_is_stopped_and_the_applier_goes_on(topology: Topology) -> None:
    replica = topology.servers[1]
    await twice(StopReceiver(key=key_of(replica)), replica)
    channel = (await facts_of(replica)).channel
    assert channel is not None
    assert channel.receiver is ThreadState.STOPPED
    assert channel.applier is ThreadState.RUNNING
    assert channel.stopped_on_purpose
    await twice(StartReplication(key=key_of(replica)), replica)


async def test_a_receiver_is_stopped_while_its_source_is_frozen(topology: Topology) -> None:
    """A MariaDB receiver under semi-sync would log in to its source first, and wait for that longer than this step."""
    primary, replica = topology.servers[:2]
    write(primary)
    topology.wait_caught_up()
    primary.freeze()
    try:
        await perform(StopReceiver(key=key_of(replica), deadline_s=1.5), replica)
    finally:
        primary.thaw()
    channel = (await facts_of(replica)).channel
    assert channel is not None
    assert channel.receiver is ThreadState.STOPPED
    assert channel.receiver_error_number == 0
    await perform(StartReplication(key=key_of(replica)), replica)
    topology.wait_replicating([replica])


async def test_replication_is_stopped_and_started(topology: Topology) -> None:
    replica = topology.servers[1]
    await twice(StopReplication(key=key_of(replica)), replica)
    stopped = (await facts_of(replica)).channel
    assert stopped is not None
    assert (stopped.receiver, stopped.applier) == (ThreadState.STOPPED, ThreadState.STOPPED)
    await twice(StartReplication(key=key_of(replica)), replica)
    topology.wait_replicating([replica])
    started = (await facts_of(replica)).channel
    assert started is not None
    assert started.replicates


async def test_steps_on_a_channel_leave_a_server_without_one_alone(topology: Topology) -> None:
    primary = primary_of(topology)
    key = key_of(primary)
    for step in (StopReceiver(key=key), StopReplication(key=key), ResetReplication(key=key), Reprobe(key=key)):
        await twice(step, primary)
    with pytest.raises(ServerError, match="no source to replicate from"):
        await perform(StartReplication(key=key, deadline_s=0.3), primary)
    assert (await facts_of(primary)).is_writable


async def test_read_only_and_writable_are_absolute_goals(topology: Topology) -> None:
    replica = topology.servers[1]
    await twice(SetWritable(key=key_of(replica)), replica)
    assert (await facts_of(replica)).is_writable
    await twice(SetReadOnly(key=key_of(replica)), replica)
    facts = await facts_of(replica)
    assert facts.read_only
    assert facts.super_read_only is (topology.flavor is Flavor.MYSQL)


async def test_what_was_received_is_waited_for(topology: Topology) -> None:
    primary, replica = primary_of(topology), topology.servers[1]
    write(primary, 3)
    await twice(WaitApplied(key=key_of(replica)), replica)
    target = str(primary.value(EXECUTED_GTIDS[topology.flavor]))
    await twice(WaitApplied(key=key_of(replica), gtids=target), replica)
    assert replica.value(LEDGER) == primary.value(LEDGER)
    await perform(WaitApplied(key=key_of(primary), gtids=target), primary)


async def test_waiting_for_what_will_not_come_ends_at_once_and_says_why(topology: Topology) -> None:
    primary, replica = primary_of(topology), topology.servers[1]
    replica.execute("STOP REPLICA SQL_THREAD")
    write(primary)
    target = str(primary.value(EXECUTED_GTIDS[topology.flavor]))
    with pytest.raises(ServerError, match="applier does not run"):
        await perform(WaitApplied(key=key_of(replica), gtids=target, deadline_s=30.0), replica)
    replica.execute("START REPLICA SQL_THREAD")
    await perform(WaitApplied(key=key_of(replica), gtids=target), replica)
    unknown = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5" if topology.flavor is Flavor.MYSQL else "7-7-7"
    with pytest.raises(ServerError, match="not applied everything"):
        await perform(WaitApplied(key=key_of(replica), gtids=unknown, deadline_s=0.6), replica)
    with pytest.raises(ServerError, match="replicates from nobody"):
        await perform(WaitApplied(key=key_of(primary), gtids=unknown), primary)


async def test_a_replica_moves_below_another_and_back_with_all_its_options(topology: Topology) -> None:
    primary, middle, leaf = topology.servers
    before = (await facts_of(leaf)).channel
    for source in (middle, primary):
        await twice(PointTo(key=key_of(leaf), source=key_of(source), deadline_s=5.0), leaf)
        write(primary)
        await perform(WaitApplied(key=key_of(leaf), gtids=str(primary.value(EXECUTED_GTIDS[topology.flavor]))), leaf)
        after = (await facts_of(leaf)).channel
        assert before is not None
        assert after is not None
        assert after.source == key_of(source)
        assert after.replicates
        assert after.options == before.options
        assert after.heartbeat_period_s == before.heartbeat_period_s == 1.0


async def test_a_server_without_a_channel_gets_account_and_options(topology: Topology) -> None:
    primary, replica = primary_of(topology), topology.servers[1]
    donor = (await facts_of(replica)).channel
    assert donor is not None
    await twice(ResetReplication(key=key_of(replica)), replica)
    facts = await facts_of(replica)
    assert facts.channels == ()
    assert not facts.has_replication_credentials
    step = PointTo(key=key_of(replica), source=key_of(primary), options=donor.options, deadline_s=5.0)
    with pytest.raises(ServerError, match="no replication account"):
        await perform(step, replica)
    await perform(step, replica, ACCOUNT)
    await perform(step, replica, ACCOUNT)
    channel = (await facts_of(replica)).channel
    assert channel is not None
    assert channel.replicates
    assert channel.options == donor.options
    assert channel.user == "repl"


async def test_a_source_that_refuses_shows_its_reason(topology: Topology) -> None:
    primary, replica = primary_of(topology), topology.servers[1]
    nobody = InstanceKey("127.0.0.1", 1)
    with pytest.raises(ServerError, match=r"127\.0\.0\.1:1.*error connecting|127\.0\.0\.1:1.*Error connecting"):
        await perform(PointTo(key=key_of(replica), source=nobody, deadline_s=1.0), replica)
    stopped = PointTo(key=key_of(replica), source=key_of(primary), start=False)
    await perform(StopReplication(key=key_of(replica)), replica)
    await twice(stopped, replica)
    channel = (await facts_of(replica)).channel
    assert channel is not None
    assert (channel.source, channel.receiver) == (key_of(primary), ThreadState.STOPPED)
    await perform(StartReplication(key=key_of(replica)), replica)
    topology.wait_replicating([replica])


async def test_semi_sync_is_set_for_either_role(topology: Topology) -> None:
    primary, replica = primary_of(topology), topology.servers[1]
    key = key_of(replica)
    clients = (await facts_of(primary)).semi_sync.source_clients
    await twice(SetSemiSync(key=key, replica_enabled=False), replica)
    off = (await facts_of(replica)).semi_sync
    assert not off.replica_enabled
    assert not off.replica_active
    topology.wait_replicating([replica])
    await twice(SetSemiSync(key=key, replica_enabled=True), replica)
    topology.wait_acknowledging(primary, clients)
    on = (await facts_of(replica)).semi_sync
    assert on.replica_enabled
    assert on.replica_active
    source = SetSemiSync(key=key, source_enabled=True, wait_for_replica_count=1, timeout_ms=7_200_000)
    await twice(source, replica)
    changed = (await facts_of(replica)).semi_sync
    assert changed.source_enabled
    assert changed.timeout_ms == 7_200_000
    await twice(SetSemiSync(key=key, source_enabled=False), replica)
    assert not (await facts_of(replica)).semi_sync.source_enabled
    await perform(SetSemiSync(key=key), replica)


async def test_a_wait_count_that_the_server_does_not_know_is_refused(topology: Topology) -> None:
    replica = topology.servers[2]
    step = SetSemiSync(key=key_of(replica), wait_for_replica_count=2)
    if topology.flavor is Flavor.MYSQL:
        await twice(step, replica)
        assert (await facts_of(replica)).semi_sync.wait_for_replica_count == 2
        await perform(SetSemiSync(key=key_of(replica), wait_for_replica_count=1), replica)
        return
    with pytest.raises(ServerError, match="does not offer waiting for several replicas"):
        await perform(step, replica)


async def test_the_event_scheduler_is_switched_by_whoever_may(topology: Topology) -> None:
    """MySQL's manager may; MariaDB wants SUPER for it, which the manager's account need not have."""
    replica = topology.servers[1]
    key = key_of(replica)
    if topology.flavor is Flavor.MARIADB:
        with pytest.raises(ServerError, match="SUPER"):
            await perform(SetEventScheduler(key=key, on=True), replica)
    user = "orc" if topology.flavor is Flavor.MYSQL else "root"
    for on in (True, False):
        for _ in range(2):
            await perform(SetEventScheduler(key=key, on=on), replica, user=user)
        assert (await facts_of(replica)).settings.event_scheduler is on


async def test_a_replica_is_told_to_notice_sooner_that_its_source_is_silent(topology: Topology) -> None:
    replica = topology.servers[1]
    key = key_of(replica)
    before = await facts_of(replica)
    assert before.channel is not None
    for timeout_s in (7, 4):
        await perform(StopReceiver(key=key), replica)
        await perform(WaitApplied(key=key), replica)
        await twice(SetNetTimeout(key=key, timeout_s=timeout_s), replica)
        await perform(StartReplication(key=key), replica)
        topology.wait_replicating([replica])
        facts = await facts_of(replica)
        assert facts.settings.net_timeout_s == timeout_s
        assert facts.channel is not None
        assert facts.channel.heartbeat_period_s == timeout_s / 2
        assert facts.channel.uses_gtid
    replica.execute("STOP REPLICA")
    word = "CHANGE REPLICATION SOURCE TO SOURCE" if topology.flavor is Flavor.MYSQL else "CHANGE MASTER TO MASTER"
    replica.execute(f"{word}_HEARTBEAT_PERIOD = {before.channel.heartbeat_period_s:g}")
    replica.execute("START REPLICA")
    topology.wait_acknowledging(primary_of(topology), 2)
