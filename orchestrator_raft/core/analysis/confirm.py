"""Several eyes before anything is done (design D3.5): may a problem be acted on now?

The eyes on a primary are its own probe, what its replicas say, and witnesses: other nodes that tried the server by a
new connection. Silence is no opinion, and a replica that was stopped on purpose has none. A primary that any witness
or any replica still reaches is out of *our* reach, not dead; a receiver that runs reaches it, whatever the applier
does. Where there are other nodes, at least one must have answered; where there are none, at least one replica must have
an opinion, since a single node's own probe is no second eye.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.analysis.analyze import Problem
from orchestrator_raft.core.analysis.rules import Confirmation
from orchestrator_raft.core.instance import ThreadState
from orchestrator_raft.core.topology import Server, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessAnswer:
    """What another node found when it tried the server itself."""

    node_id: str
    reached: bool
    detail: str
    at_s: float
    """When the answer arrived, by our monotonic clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eyes:
    """Everything heard from other nodes about one server since it was first suspected."""

    witnesses: int
    """Nodes that could be asked; 0 for a single node."""
    answers: tuple[WitnessAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Act: the sentences are the evidence of all eyes."""

    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """Do not act yet; the text says what is missing."""

    text: str


@dataclass(frozen=True, slots=True)
class Refuted:
    """Do not act: somebody still reaches the server; the text says who."""

    text: str


def confirm(problem: Problem, topology: Topology, eyes: Eyes) -> Confirmed | Unconfirmed | Refuted:
    """Whether ``problem`` may be acted on, by the confirmation policy of its rule."""
    if problem.rule.confirmation is Confirmation.NONE:
        return Confirmed(problem.evidence)
    server = topology.server(problem.key)
    if server.reached or server.answers:
        return Refuted(f"{problem.key} answers this node")
    replicas = topology.replicas_of(problem.key)
    still = [replica for replica in replicas if _receiver(replica) is ThreadState.RUNNING]
    if still:
        return Refuted(f"{still[0].key} is still connected to {problem.key}")
    reaching = [answer for answer in eyes.answers if answer.reached]
    if reaching:
        return Refuted(f"node {reaching[0].node_id} still reaches {problem.key}")
    if eyes.witnesses and not eyes.answers:
        return Unconfirmed(f"none of {eyes.witnesses} other nodes has said yet whether it reaches {problem.key}")
    if not eyes.answers and not any(_has_opinion(replica) for replica in replicas):
        return Unconfirmed(
            f"nobody else has an opinion: all replicas of {problem.key} were stopped, and there is no other node"
        )
    agreed = tuple(f"node {answer.node_id} does not reach it either ({answer.detail})" for answer in eyes.answers)
    return Confirmed((*problem.evidence, *_opinions(problem, topology), *agreed))


def _receiver(replica: Server) -> ThreadState:
    """As the newest probe found it; absent where that failed."""
    channel = replica.channel
    return channel.receiver if replica.reached and channel is not None else ThreadState.ABSENT


def _has_opinion(replica: Server) -> bool:
    channel = replica.channel
    return replica.reached and channel is not None and not channel.stopped_on_purpose


def _opinions(problem: Problem, topology: Topology) -> tuple[str, ...]:
    """What the replicas say, for the record."""
    said = []
    for replica in topology.replicas_of(problem.key):
        if _has_opinion(replica):
            said.append(f"{replica.key} lost its connection to the primary ({_receiver(replica).name.lower()})")
        elif replica.reached and replica.channel is not None:
            said.append(f"{replica.key} has no opinion: its receiver was stopped")
    return tuple(said)
