"""The table of plans: an operation's name and what plans it. To add an operation: a planner, and a row here."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator_raft.core.moves import channel, many, one, roles
from orchestrator_raft.core.moves.model import Planned, Wish
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
}


def plan(wish: Wish, topology: Topology, policy: Policy) -> Planned:
    """What is done for ``wish`` as things are now."""
    return PLANNERS[wish.operation](wish, topology, policy)
