"""What the leader sees right now, on every node: lag, reachability and problems, beside Raft (design D3.3).

The leader sends it to each connected node once a second; a node keeps the newest from whoever leads, and when it came.
It is for health answers and pages: nothing is decided from it. Who asks is told how old it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator_raft.core.errors import InvalidInput, Unavailable
from orchestrator_raft.core.instance import InstanceKey, parse_key
from orchestrator_raft.core.observation import Observation
from orchestrator_raft.engine.view import Viewer
from orchestrator_raft.ports import Channel, Clock, Consensus
from orchestrator_raft.tasks import Tasks

METHOD = "sight"
INTERVAL_S = 1.0
ANSWER_TIMEOUT_S = 2.0
PROBLEMS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """One server, as the leader sees it now."""

    reached: bool
    replicates: bool = False
    lag_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownProblem:
    """One problem, for those who follow live."""

    server: str
    cluster_id: str
    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All of it at one moment, from one leader."""

    term: int
    glimpses: Mapping[InstanceKey, Glimpse] = field(default_factory=dict)
    problems: tuple[ShownProblem, ...] = ()


def seen(viewer: Viewer, term: int) -> Seen:
    """What a leader has for others: the newest probes, and what its watch made of them."""
    shown = sorted(
        (
            ShownProblem(
                server=str(each.problem.key), cluster_id=each.problem.cluster_id, code=each.problem.code,
                text=each.problem.rule.text,
            )
            for each in viewer.diagnoses
            if each.problem is not None
        ),
        key=lambda each: (each.server, each.code),
    )  # fmt: skip
    glimpses = {key: glimpse(observation) for key, observation in viewer.observations.items()}
    return Seen(term=term, glimpses=glimpses, problems=tuple(shown[:PROBLEMS_MAX]))


def glimpse(observation: Observation) -> Glimpse:
    """One server; whatever the newest probe did not bring is not known."""
    facts = observation.facts
    if not observation.reached or facts is None:
        return Glimpse(reached=False)
    return Glimpse(reached=True, replicates=facts.channel.replicates if facts.channel is not None else False,
                   lag_s=facts.lag_s)  # fmt: skip


def encode(what: Seen) -> bytes:
    glimpses = [[str(key), each.reached, each.replicates, each.lag_s] for key, each in what.glimpses.items()]
    problems = [[each.server, each.cluster_id, each.code, each.text] for each in what.problems]
    return json.dumps({"term": what.term, "servers": glimpses, "problems": problems}, separators=(",", ":")).encode()


def decode(payload: bytes) -> Seen:
    """Raises InvalidInput for anything but what ``encode`` makes."""
    try:
        plain: dict[str, Any] = json.loads(payload)
        return Seen(
            term=int(plain["term"]),
            glimpses={
                parse_key(name): Glimpse(reached=bool(reached), replicates=bool(replicates), lag_s=lag_s)
                for name, reached, replicates, lag_s in plain["servers"]
            },
            problems=tuple(
                ShownProblem(server=str(server), cluster_id=str(cluster), code=str(code), text=str(text))
                for server, cluster, code, text in plain["problems"]
            ),
        )
    except (ValueError, KeyError, TypeError, InvalidInput) as error:
        raise InvalidInput("a leader's sight cannot be read: do all nodes run one version?") from error


class Sight:
    """One node's newest sight, its own while it leads; and how long ago it last had contact with a majority."""

    def __init__(self, consensus: Consensus, channel: Channel, clock: Clock) -> None:
        self._consensus = consensus
        self._channel = channel
        self._clock = clock
        self._seen = Seen(term=0)
        self._at_s: float | None = None
        self._contact_at_s = clock.monotonic_s()
        self._listeners: list[Callable[[], None]] = []
        channel.serve(METHOD, self._receive)

    @property
    def newest(self) -> Seen:
        return self._seen

    @property
    def age_s(self) -> float | None:
        """Seconds since the leader looked; None when no leader has told this node yet."""
        return None if self._at_s is None else self._clock.monotonic_s() - self._at_s

    @property
    def without_quorum_s(self) -> float:
        """Seconds since this node was last seen to lead with authority or in contact with a leader; 0 while it is."""
        return 0.0 if self._has_contact() else self._clock.monotonic_s() - self._contact_at_s

    def _has_contact(self) -> bool:
        if self._consensus.authority() is not None:
            return True
        leader = self._consensus.leader()
        return any(peer.node_id == leader and peer.connected for peer in self._consensus.peers())

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called when problems, lag or reachability are others than before."""
        self._listeners.append(listener)

    async def watch_contact(self) -> None:
        """Keep track of the contact, whether anybody asks or not."""
        while True:
            if self._has_contact():
                self._contact_at_s = self._clock.monotonic_s()
            await self._clock.sleep(INTERVAL_S)

    async def show(self, viewer: Viewer, term: int, tasks: Tasks) -> None:
        """The leader's side: look once a second and tell the others, for as long as this task runs."""
        while True:
            if self._consensus.authority() is not None:
                self._take(seen(viewer, term))
                payload = encode(self._seen)
                for peer in self._consensus.peers():
                    if peer.connected:
                        tasks.start(f"show {peer.node_id}", self._tell(peer.node_id, payload))
            await self._clock.sleep(INTERVAL_S)

    async def _tell(self, node_id: str, payload: bytes) -> None:
        try:
            await self._channel.call(node_id, METHOD, payload, timeout_s=ANSWER_TIMEOUT_S)
        except Unavailable:
            return  # the next second brings the next sight

    async def _receive(self, node_id: str, payload: bytes) -> bytes:
        told = decode(payload)
        if node_id == self._consensus.leader() and told.term >= self._seen.term:
            self._take(told)
        return b""

    def _take(self, told: Seen) -> None:
        is_news = told.problems != self._seen.problems or told.glimpses != self._seen.glimpses
        self._seen, self._at_s = told, self._clock.monotonic_s()
        if is_news:
            for listener in self._listeners:
                listener()
