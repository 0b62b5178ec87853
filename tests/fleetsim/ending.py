"""The end of a run: the faults are over, people do what the manager tells them, and then all has to be well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator_raft.core.topology import StaleStatus
from tests.fleetsim.checks import ERRANT, LOST, STUCK, UNDELAYED, Violation
from tests.fleetsim.clients import Client
from tests.fleetsim.people import help_more, help_out
from tests.fleetsim.replica import Replication
from tests.fleetsim.server import Server
from tests.fleetsim.transactions import one
from tests.fleetsim.world import World

ALONE_S = 70.0
"""Within so much time after the last fault the manager repairs what it can."""
CALM_S = 900.0
"""Returns that failed are tried again after ten minutes at most."""
STEP_S = 2.0


def calm_down(world: World, clients: Sequence[Client]) -> None:
    """Raises Violation if anything is left behind."""
    world.note("the faults are over")
    world.end_faults()
    world.run(3.0)
    began_s, helped = world.now_s, False
    help_out(world)
    while trouble := next(troubles(world), ""):
        waited_s = world.now_s - began_s
        if waited_s > CALM_S:
            describe(world)
            raise Violation(STUCK, f"after {waited_s:.0f} s: {trouble}")
        if waited_s > 20.0:
            for client in clients:
                client.is_active = False
        if waited_s > ALONE_S and int(waited_s) % 20 < STEP_S:
            helped = help_more(world) or helped
        world.run(STEP_S)
        help_out(world)
    world.statistics.helped += helped
    for client in clients:
        client.is_active = False
    world.run(8.0)
    trouble = next(troubles(world), "")
    if trouble:
        raise Violation(STUCK, f"it does not stay well: {trouble}")
    _nothing_lost(world)


def troubles(world: World) -> Iterator[str]:
    """What is not as it has to be, the most important first."""
    world_end(world)
    leader, state = world.leader(), world.checks.newest
    if leader is None:
        yield "no manager node may act"
        return
    members = world.members()
    nodes = [world.nodes[slot].raft for slot in sorted(members)]
    if len({node.applied_index for node in nodes if node is not None}) != 1:
        yield "the nodes have not applied the same"
    for running in state.active_recoveries:
        if running.kind == "rejoin" and _lacks_account(world, world.by_key[running.subject.key]):
            continue  # it is tried again, now and then
        yield f"{running.kind} of {running.subject.key} is still running, in phase {running.phase}"
    primaries = [cluster.primary for cluster in state.clusters.values()]
    if len(primaries) != 1 or primaries[0] is None:
        yield f"there should be one cluster: {[cluster.name for cluster in state.clusters.values()]}"
        return
    primary = world.by_key[primaries[0]]
    writable = [server.name for server in world.servers.values() if server.is_up and not server.read_only]
    if writable != [primary.name]:
        yield f"{primary.name} is the primary, and these take writes: {writable or 'none'}"
    for server in world.servers.values():
        if server is not primary:
            yield from _misplaced(world, server, primary)


def describe(world: World) -> None:
    """Every server in the trace."""
    for server in world.servers.values():
        replication, live = server.replication, server.semi_sync
        world.note(
            f"{server.name}: {'read-only' if server.read_only else f'writable by {server.opened_by}'}, from "
            f"{replication.source} ({replication.receiver.name} {replication.applier.name} {replication.error}), "
            f"semi-sync {live.source_enabled} {server.semi_sync_active} {live.wait_count} {live.replica_enabled}, "
            f"{len(server.senders)} senders, {len(server.pending)} pending, executed {server.executed}, logged "
            f"{server.logged}, retrieved {replication.retrieved}"
        )
    for key, mark in world.checks.newest.stale.items():
        world.note(f"stale: {key} {mark.status.value} {mark.extra} {mark.detail}")


def world_end(world: World) -> None:
    """Whoever stumbles over an old fault is started again."""
    world.end_faults()


def _misplaced(world: World, server: Server, primary: Server) -> Iterator[str]:
    checks = world.checks
    mark = checks.newest.stale.get(server.key)
    if mark is not None and mark.status is StaleStatus.QUARANTINED:
        if server.logged.union(server.replication.retrieved).minus(primary.logged).is_empty:
            yield f"{server.name} is kept out, and {primary.name} has everything it has ({mark.extra})"
        return
    replication = server.replication
    if server.key not in world.checks.newest.servers:
        yield f"nobody knows {server.name} any more"
    elif replication.source is None and _lacks_account(world, server):
        return
    elif not _is_below(world, server, primary) or replication.lag_s is None:
        shown = f"{replication.source} ({replication.receiver.name} {replication.applier.name} {replication.error})"
        yield f"{server.name} does not replicate from {primary.name}, but from {shown}"
    elif not server.may_be_ahead and checks.but_for_people(server.logged.minus(primary.logged)):
        raise Violation(ERRANT, f"{server.name} follows {primary.name} and has more: "
                                f"{server.logged.minus(primary.logged)}")  # fmt: skip
    elif not _has_caught_up(world, server, primary):
        yield f"{server.name} has not caught up"
    elif replication.delay_s != server.configuration.delay_s and server.name not in _promoted(world):
        raise Violation(UNDELAYED, f"{server.name}: {replication.delay_s} s, not {server.configuration.delay_s} s")


def _has_caught_up(world: World, server: Server, primary: Server) -> bool:
    """One that is delayed, or below such a one, has to have only what is older than that."""
    if server.replication.delay_s or any(each.delay_s for each in _sources(world, server)):
        return True
    return server.executed.covers(primary.executed)


def _promoted(world: World) -> set[str]:
    return {opening.server for opening in world.checks.openings}


def _is_below(world: World, server: Server, primary: Server) -> bool:
    """Directly, or through another one, which a person may have arranged."""
    return server.replication.source == primary.key or any(
        each.source == primary.key for each in _sources(world, server)
    )


def _sources(world: World, server: Server) -> Iterator[Replication]:
    """Of the servers above it, the nearest first."""
    current, seen = server.replication.source, {server.key}
    while current is not None and current not in seen:
        seen.add(current)
        above = world.by_key.get(current)
        if above is None:
            return
        yield above.replication
        current = above.replication.source


def _lacks_account(world: World, server: Server) -> bool:
    """It was reported that nobody tells an account to attach it with."""
    recoveries = world.checks.newest.recoveries.values()
    tried = [each for each in recoveries if each.subject.key == server.key and not each.is_active]
    return bool(tried) and any("no replication account" in error for error in tried[-1].errors)


def _nothing_lost(world: World) -> None:
    """Whatever clients were told is safe is there, unless a loss was allowed when it happened."""
    checks = world.checks
    primary = next(server for server in world.servers.values() if server.is_up and not server.read_only)
    for each in checks.acknowledged.values():
        if not primary.logged.covers(one(each.transaction)) and not checks.is_excused(each):
            uuid, number = each.transaction
            raise Violation(
                LOST, f"{uuid[:8]}:{number}, acknowledged by {each.server} ({each.how}), is gone in the end"
            )
