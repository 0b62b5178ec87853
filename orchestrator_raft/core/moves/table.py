"""The table of plans: an operation's name and what plans it. To add an operation: a planner, and a row here."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator_raft.core.moves import alone, binary_logs, channel, gtid_mode, many, one, roles
from orchestrator_raft.core.moves.model import Planned, Refusal, Verb, Wish
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Topology

Planner = Callable[[Wish, Topology, Policy], Planned]
"""Pure, and asked twice: before the claim, and again when everybody was read anew."""

PLANNERS: dict[str, Planner] = {
    "relocate": one.relocate,
    "move-up": one.move_up,
    "move-below": one.move_below,
    "move-below-gtid": one.move_below_gtid,
    "relocate-replicas": many.relocate_replicas,
    "move-replicas-gtid": many.move_replicas_gtid,
    "move-up-replicas": many.move_up_replicas,
    "take-siblings": many.take_siblings,
    "move-equivalent": one.move_equivalent,
    "repoint": channel.repoint,
    "repoint-replicas": channel.repoint_replicas,
    "detach-replica": channel.detach,
    "reattach-replica": channel.reattach,
    "reset-replica": channel.reset_replica,
    "take-master": roles.take_master,
    "make-co-master": roles.make_co_master,
    "make-local-master": roles.make_local_master,
    "regroup-replicas": roles.regroup,
    "regroup-replicas-gtid": roles.regroup_gtid,
    "start-replica": alone.start_replica,
    "stop-replica": alone.stop_replica,
    "stop-replica-nice": alone.stop_replica_nicely,
    "restart-replica": alone.restart_replica,
    "delay-replication": alone.delay_replication,
    "skip-query": alone.skip_query,
    "set-read-only": alone.set_read_only,
    "set-writeable": alone.set_writable,
    "kill-query": alone.kill_query,
    "flush-binary-logs": binary_logs.flush_binary_logs,
    "purge-binary-logs": binary_logs.purge_binary_logs,
    "enable-semi-sync-master": alone.switch_semi_sync_source,
    "disable-semi-sync-master": alone.switch_semi_sync_source,
    "enable-semi-sync-replica": alone.switch_semi_sync_replica,
    "disable-semi-sync-replica": alone.switch_semi_sync_replica,
    "enable-gtid": gtid_mode.enable_gtid,
    "disable-gtid": gtid_mode.disable_gtid,
    "gtid-errant-reset-master": binary_logs.forget_errant,
    "gtid-errant-inject-empty": binary_logs.inject_empty,
}


def plan(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """What is done for ``wish`` as things are now. Servers that somebody has taken into maintenance are left alone."""
    found = PLANNERS[wish.operation](wish, topology, policy)
    if isinstance(found, Refusal):
        return found
    touched = dict.fromkeys(act.key for stage in found.stages for act in stage.acts if act.verb is not Verb.WAIT)
    taken = [topology.server(key).in_maintenance for key in touched]
    return next((Refusal(f"{why}; end-maintenance first") for why in taken if why), found)
