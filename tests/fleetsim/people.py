"""People: they ask the manager for operations at any time, and change servers themselves, behind its back.

In the end they do what the manager tells them to do, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator_raft.engine.service.calls import Reply
from orchestrator_raft.operations import OPERATION_BY_NAME
from tests.fleetsim.checks import CONFIGURATION
from tests.fleetsim.server import SemiSyncVariables, Server

if TYPE_CHECKING:
    from tests.fleetsim.world import World


def ask(world: World, operation: str, **arguments: str) -> None:
    """Whoever may act is asked; the answer is only noted, whatever comes after it."""
    leader = world.leader()
    if leader is None:
        return

    def ended(reply: Reply | BaseException) -> None:
        if isinstance(reply, BaseException):
            world.statistics.operations_refused += 1
        text = f"refused: {reply}" if isinstance(reply, BaseException) else reply.message
        world.note(f"{operation}: {text}")

    world.statistics.operations += 1
    world.asked_s = world.now_s
    world.note(f"{leader.name} is asked: {operation} {arguments}")
    leader.operate(operation, ended, **arguments)


def some_operation(world: World, primary: Server) -> tuple[str, dict[str, str]]:
    dice = world.dice
    server = str(world.servers[dice.choice(sorted(world.servers))].key)
    cluster = str(primary.key)
    downtime = {"server": server, "owner": "anna", "reason": "disks", "duration": dice.choice(("2s", "10s", "1h"))}
    choices: tuple[tuple[str, dict[str, str]], ...] = (
        ("force-master-failover", {"cluster": cluster}),
        ("force-master-failover", {"cluster": cluster, "careful": "true"}),
        ("graceful-master-takeover-auto", {"cluster": cluster}),
        ("graceful-master-takeover-auto", {"cluster": cluster, "target": server}),
        ("graceful-master-takeover", {"cluster": cluster, "target": server}),
        ("recover", {"server": cluster}),
        ("discover", {"server": server}), ("async-discover", {"server": server}), ("refresh", {"server": server}),
        ("forget", {"server": server}),
        ("begin-downtime", downtime), ("begin-downtime", downtime), ("end-downtime", {"server": server}),
        ("disable-global-recoveries", {}), ("disable-global-recoveries", {}), ("enable-global-recoveries", {}),
        ("ack-all-recoveries", {"comment": "seen"}), ("ack-all-recoveries", {"comment": "seen"}),
        ("raft-transfer", {}), ("raft-snapshot", {}),
        ("stop-replica", {"server": server}), ("start-replica", {"server": server}),
        ("set-writeable", {"server": server}), ("set-read-only", {"server": server}),
        ("set-read-only", {"server": cluster}),
        ("pause-writes", {"reason": "we move house"}), ("pause-writes", {"cluster": cluster, "reason": "we look"}),
        ("resume-writes", {}), ("resume-writes", {"cluster": cluster}),
    )  # fmt: skip
    return dice.choice(choices)


BELOW_ANOTHER = (
    "relocate", "relocate", "relocate-replicas", "move-below", "move-below-gtid", "move-replicas-gtid", "repoint",
)  # fmt: skip
BY_ITSELF = (
    "move-up", "move-up-replicas", "repoint-replicas", "regroup-replicas", "take-siblings", "take-master",
    "make-co-master", "make-local-master", "make-master", "detach-replica", "reattach-replica", "restart-replica",
    "stop-replica-nice", "enable-semi-sync-replica", "disable-semi-sync-replica", "disable-semi-sync-master",
)  # fmt: skip


def some_move(world: World) -> tuple[str, dict[str, str]]:
    """Somebody rearranges the replicas."""
    names = sorted(world.servers)
    server, target = (str(world.servers[each].key) for each in world.dice.sample(names, 2))
    if world.dice.random() < 0.5:
        return world.dice.choice(BELOW_ANOTHER), {"server": server, "target": target}
    return world.dice.choice([each for each in BY_ITSELF if each in OPERATION_BY_NAME]), {"server": server}


def change_semi_sync(world: World, server: Server) -> None:
    """Somebody switches it off for a while, or lets it give up soon."""
    if not server.is_awake:
        return
    variables = server.semi_sync
    if world.dice.random() < 0.5:
        world.note(f"somebody switches semi-sync off on {server.name}")
        variables.source_enabled = False
    else:
        world.note(f"somebody sets a short semi-sync timeout on {server.name}")
        variables.timeout_ms = world.dice.choice((200, 1000))
    server.settle()
    world.at(world.dice.uniform(0.5, 10.0), restore_semi_sync, world, server, server.life, variables)


def restore_semi_sync(world: World, server: Server, life: int, variables: SemiSyncVariables) -> None:
    """What was changed is put back, on a server that takes writes as before."""
    if server.life != life or server.semi_sync is not variables:
        return
    variables.timeout_ms = SemiSyncVariables().timeout_ms
    if not server.read_only:
        world.note(f"somebody puts semi-sync on {server.name} back")
        if not variables.source_enabled:
            variables.source_enabled = server.semi_sync_active = True
    server.settle()


def help_out(world: World) -> None:
    """What the manager reports and does not do by itself is done, as it advises."""
    state = world.checks.newest
    if state.recoveries_disabled:
        ask(world, "enable-global-recoveries")
    for cluster_id in state.pauses:
        name = state.clusters[cluster_id].name if cluster_id else ""
        ask(world, "resume-writes", **({"cluster": name} if name else {}))
    for key in state.downtimes:
        ask(world, "end-downtime", server=str(key))
    if any(not each.is_active and each.acknowledged is None for each in state.recoveries.values()):
        ask(world, "ack-all-recoveries", comment="the storm is over")


def help_more(world: World) -> bool:
    """Problems that only people can solve; says whether there was one."""
    state, helped = world.checks.newest, False
    each_is_closed = all(server.read_only for server in world.servers.values())
    for cluster in state.clusters.values():
        server = world.by_key.get(cluster.primary) if cluster.primary is not None else None
        source = server.replication.source if server is not None else None
        if server is None or (source is not None and source.is_detached) or not each_is_closed:
            continue
        if server.is_up and server.read_only and server.key not in state.stale:
            ask(world, "set-writeable", server=str(server.key))
            helped = True
    primaries = {cluster.primary for cluster in state.clusters.values()}
    for server in world.servers.values():
        if server.key not in state.servers:  # somebody has told the manager to forget it
            ask(world, "discover", server=str(server.key))
            helped = True
        if server.is_up and not server.read_only and server.key not in primaries and server.opened_by == CONFIGURATION:
            ask(world, "set-read-only", server=str(server.key))
            helped = True
        replication = server.replication
        if server.is_up and replication.source is not None and replication.source.is_detached:
            ask(world, "reattach-replica", server=str(server.key))
            helped = True
        stopped = replication.source is not None and not replication.error and replication.lag_s is None
        if server.is_up and stopped and replication.receiver.value == 0 and server.key not in state.stale:
            ask(world, "start-replica", server=str(server.key))
            helped = True
    return helped
