"""Two questions for when nodes and replicas see different things (design D3.5).

Does another node reach more primaries than the leader does? Then that one should lead: what the leader cannot see it
cannot repair, and what only it cannot see is not dead. And: is a primary that no node reaches heard by replicas whose
old connections may be all that is left of it? Then one of them has to connect anew, to make it tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from orchestrator_raft.core.analysis.confirm import Eyes
from orchestrator_raft.core.analysis.situation import has_vote, is_hearing
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server, Topology


def better_placed(own: AbstractSet[InstanceKey], others: Mapping[str, AbstractSet[InstanceKey]]) -> str | None:
    """The node that reaches most primaries, if that is strictly more than this one; the least id of several."""
    best = min(others, key=lambda node_id: (-len(others[node_id]), node_id), default=None)
    return best if best is not None and len(others[best]) > len(own) else None


def hearing_in_doubt(topology: Topology, primary: Server, eyes: Eyes, policy: Policy) -> tuple[Server, ...]:
    """Replicas that say they hear a primary which no node reaches, one of them to be asked to connect anew.

    Empty where any node still reaches it, where none has said so yet, and where a replica that must be left alone hears
    it as well: then restarting the others would tell nothing.
    """
    if primary.reached or primary.answers or primary.observation is None:
        return ()
    if any(answer.reached for answer in eyes.answers) or (eyes.witnesses and not eyes.answers):
        return ()
    hearing = tuple(each for each in topology.replicas_of(primary.key) if is_hearing(each, policy))
    return hearing if all(_may_restart(each) for each in hearing) else ()


def _may_restart(replica: Server) -> bool:
    """Both threads run, so both are wanted; and nobody wants it left alone."""
    channel = replica.channel
    runs = channel is not None and channel.replicates
    return runs and has_vote(replica) and not replica.set_aside and replica.stale is None
