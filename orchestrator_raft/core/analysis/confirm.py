"""Several eyes before anything is done (design D3.5): may a problem be acted on now?

The eyes on a primary are its own probe, what its replicas say, and witnesses: other nodes that tried the server by a
new connection. Silence is no opinion, and a replica that was stopped on purpose has none. A primary that any witness
or any replica still reaches is out of *our* reach, not dead. Where there are other nodes, at least one must have
answered.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.analysis.analyze import Problem
from orchestrator_raft.core.analysis.rules import Confirmation
from orchestrator_raft.core.analysis.situation import is_replicating
from orchestrator_raft.core.topology import Topology


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
    """Do not act yet; what is missing."""

    missing: str


@dataclass(frozen=True, slots=True)
class Refuted:
    """Do not act: somebody still reaches the server."""

    reason: str


def confirm(problem: Problem, topology: Topology, eyes: Eyes) -> Confirmed | Unconfirmed | Refuted:
    """Whether ``problem`` may be acted on, by the confirmation policy of its rule."""
    if problem.rule.confirmation is Confirmation.NONE:
        return Confirmed(problem.evidence)
    server = topology.server(problem.key)
    if server.reached or server.answers:
        return Refuted(f"{problem.key} answers this node")
    still = [replica for replica in topology.replicas_of(problem.key) if is_replicating(replica)]
    if still:
        return Refuted(f"{still[0].key} still replicates from {problem.key}")
    reaching = [answer for answer in eyes.answers if answer.reached]
    if reaching:
        return Refuted(f"node {reaching[0].node_id} still reaches {problem.key}")
    if eyes.witnesses and not eyes.answers:
        return Unconfirmed(f"none of {eyes.witnesses} other nodes has said yet whether it reaches {problem.key}")
    agreed = tuple(f"node {answer.node_id} does not reach it either ({answer.detail})" for answer in eyes.answers)
    return Confirmed((*problem.evidence, *_opinions(problem, topology), *agreed))


def _opinions(problem: Problem, topology: Topology) -> tuple[str, ...]:
    """What the replicas say, for the record."""
    said = []
    for replica in topology.replicas_of(problem.key):
        channel = replica.facts.channel if replica.facts else None
        if not replica.reached or channel is None:
            continue
        if channel.stopped_on_purpose:
            said.append(f"{replica.key} has no opinion: its receiver was stopped")
        else:
            said.append(f"{replica.key} lost its connection to the primary ({channel.receiver.name.lower()})")
    return tuple(said)
