"""Several eyes before anything is done (design D3.5): may a problem be acted on now?

The eyes on a primary are its own probe, what its replicas say, and witnesses: other nodes that tried the server by a
new connection. Silence of a witness is no opinion, and a replica that was stopped on purpose has none; those that are
delayed, in downtime or backups have no vote either. A primary that any witness or any replica still reaches is out of
*our* reach, not dead, whoever that replica is; a receiver that runs reaches it, whatever the applier does, unless it
has heard nothing for longer than its heartbeat allows. Where there are other nodes, at least one must have answered;
where there are none, at least one replica must agree, since a single node's own probe is no second eye.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.analysis.analyze import Problem
from orchestrator_raft.core.analysis.evidence import hears_nothing
from orchestrator_raft.core.analysis.rules import Confirmation
from orchestrator_raft.core.analysis.situation import has_vote, is_hearing, is_silent
from orchestrator_raft.core.policy import Policy
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


def confirm(problem: Problem, topology: Topology, eyes: Eyes, policy: Policy) -> Confirmed | Unconfirmed | Refuted:
    """Whether ``problem`` may be acted on, by the confirmation policy of its rule."""
    if problem.rule.confirmation is Confirmation.NONE:
        return Confirmed(problem.evidence)
    server = topology.server(problem.key)
    if server.reached or server.answers:
        return Refuted(f"{problem.key} answers this node")
    replicas = topology.replicas_of(problem.key)
    still = [replica for replica in replicas if is_hearing(replica, policy)]
    if still:
        return Refuted(f"{still[0].key} is still connected to {problem.key}")
    reaching = [answer for answer in eyes.answers if answer.reached]
    if reaching:
        return Refuted(f"node {reaching[0].node_id} still reaches {problem.key}")
    if eyes.witnesses and not eyes.answers:
        return Unconfirmed(f"none of {eyes.witnesses} other nodes has said yet whether it reaches {problem.key}")
    if not eyes.answers and not any(has_vote(replica) for replica in replicas):
        return Unconfirmed(
            f"nobody else has an opinion: no replica of {problem.key} has a vote (they were stopped, are delayed, in "
            "downtime or backups), and there is no other node"
        )
    agreed = tuple(f"node {answer.node_id} does not reach it either ({answer.detail})" for answer in eyes.answers)
    return Confirmed(tuple(dict.fromkeys((*problem.evidence, *_opinions(problem, topology, policy), *agreed))))


def _opinions(problem: Problem, topology: Topology, policy: Policy) -> tuple[str, ...]:
    """What the replicas say, for the record."""
    said = (_opinion(replica, policy) for replica in topology.replicas_of(problem.key))
    return tuple(text for text in said if text)


def _opinion(replica: Server, policy: Policy) -> str:
    channel = replica.channel
    if not replica.reached or channel is None:
        return ""
    if not has_vote(replica):
        return f"{replica.key} has no opinion: {_why_no_vote(replica)}"
    if is_silent(replica, policy):
        return hears_nothing(replica)
    return f"{replica.key} lost its connection to the primary ({channel.receiver.name.lower()})"


def _why_no_vote(replica: Server) -> str:
    channel = replica.channel
    if channel is None or channel.stopped_on_purpose:
        return "its receiver was stopped"
    if channel.delay_s > 0:
        return "it is delayed on purpose"
    return "it is in downtime" if replica.downtime is not None else "its promotion rule is must_not"
