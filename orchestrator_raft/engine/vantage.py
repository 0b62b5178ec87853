"""A leader that reaches fewer primaries than another node gives its leadership to that one (design D3.5).

Rules
- Only a primary that the leader's probe does not reach makes it compare; a quiet fleet costs nothing.
- All nodes, the leader too, try the same primaries now, by new connections; silence is no opinion.
- Two comparisons in a row have to name the same node, so that a primary which is just restarting moves nobody.
- At most once in ten minutes, by replicated time, whoever leads: nodes that see different parts of a torn network must
  not pass the leadership round. What is refused for that is reported once.
- Not while a recovery runs: it would have to be taken over in the middle.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any

from orchestrator_raft.core.analysis.doubt import better_placed
from orchestrator_raft.core.errors import InvalidInput, Refused, Unavailable
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated.commands import GiveWay, RecordAudit
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.view import Moment
from orchestrator_raft.ports import Channel, Clock, Consensus, Prober, RaftAdmin

Work = Coroutine[Any, Any, object]
METHOD = "reach"
PRIMARIES_MAX = 100
TOGETHER_MAX = 50
TRY_TIMEOUT_S = 2.0
"""Long: nothing here is urgent, and a node that is busy for a moment sees no less for that."""
ANSWER_TIMEOUT_S = 6.0
INTERVAL_S = 1.0
ROUNDS = 2
AUDIT_TYPE = "leader-cannot-see"


class Vantage:
    """Compares what the nodes reach; one a term."""

    def __init__(
        self, consensus: Consensus, channel: Channel, prober: Prober, clock: Clock, *, proposals: Proposals,
        raft: RaftAdmin,
    ) -> None:  # fmt: skip
        self._consensus = consensus
        self._channel = channel
        self._prober = prober
        self._clock = clock
        self._proposals = proposals
        self._raft = raft
        self._next_at_s = 0.0
        self._agreed: list[str] = []
        """The nodes that the last comparisons named, as long as they named one."""
        self._reported = ""

    def due(self, moment: Moment) -> Iterator[tuple[str, Work]]:
        """A comparison, when this leader misses a primary and the last one was a moment ago."""
        missed, reached = _primaries(moment)
        if not missed or not self._consensus.peers() or moment.state.active_recoveries:
            self._agreed = []
            return
        if moment.policy.give_way and moment.now_s >= self._next_at_s:
            self._next_at_s = moment.now_s + INTERVAL_S
            yield "compare what the nodes reach", self._compare((*missed, *reached)[:PRIMARIES_MAX])

    async def _compare(self, primaries: tuple[InstanceKey, ...]) -> None:
        peers = [peer.node_id for peer in self._consensus.peers() if peer.connected]
        own, told = await asyncio.gather(
            reached_of(self._prober, primaries, TRY_TIMEOUT_S),
            asyncio.gather(*(self._ask(peer, primaries) for peer in peers)),
        )
        others = {peer: answer for peer, answer in zip(peers, told, strict=True) if answer is not None}
        best = better_placed(own, others)
        self._next_at_s = self._clock.monotonic_s() + INTERVAL_S
        self._agreed = [*self._agreed, best][-ROUNDS:] if best is not None else []
        if best is not None and self._agreed == [best] * ROUNDS:
            self._agreed = []
            await self._give_way(best, _told(self._consensus.node_id, best, own, others[best]))

    async def _ask(self, node_id: str, primaries: tuple[InstanceKey, ...]) -> frozenset[InstanceKey] | None:
        payload = json.dumps({"servers": [[key.hostname, key.port] for key in primaries]}).encode()
        try:
            reply = await self._channel.call(node_id, METHOD, payload, timeout_s=ANSWER_TIMEOUT_S)
        except Unavailable:
            return None  # silence is no opinion
        return frozenset(_keys(json.loads(reply)["reached"]))

    async def _give_way(self, node_id: str, because: str) -> None:
        if self._consensus.state.active_recoveries:
            return  # one has begun since the comparison, and is not to be handed over in its midst
        result = await self._proposals.propose(GiveWay, node_id=node_id, reason=because)
        if not result.ok:
            await self._report(because, result.reason)
            return
        try:
            await self._raft.transfer(node_id)
        except (Refused, InvalidInput) as error:
            await self._report(because, f"the leadership was not handed over: {error}")

    async def _report(self, because: str, why_not: str) -> None:
        """Once for each thing that it does not see."""
        if because != self._reported:
            self._reported = because
            await self._proposals.propose(RecordAudit, type=AUDIT_TYPE, message=f"{because}; {why_not}")


def _primaries(moment: Moment) -> tuple[tuple[InstanceKey, ...], tuple[InstanceKey, ...]]:
    """Primaries that the newest probes did not reach, and the others."""
    missed: list[InstanceKey] = []
    reached: list[InstanceKey] = []
    for cluster in moment.topology.clusters.values():
        server = moment.topology.primary_of(cluster.id)
        if server is not None and server.stale is None and server.observation is not None:
            (reached if server.reached else missed).append(server.key)
    return tuple(sorted(missed)), tuple(sorted(reached))


def _told(own_id: str, best: str, own: frozenset[InstanceKey], theirs: frozenset[InstanceKey]) -> str:
    only = sorted(map(str, theirs - own))
    shown = ", ".join(only[:5]) + (f" and {len(only) - 5} more" if len(only) > 5 else "")
    return f"node {best} reaches {shown}, and the leader, {own_id}, does not"


async def reached_of(prober: Prober, servers: Iterable[InstanceKey], timeout_s: float) -> frozenset[InstanceKey]:
    """Those of ``servers`` that answer a new connection now, be it with an error."""
    slots = asyncio.Semaphore(TOGETHER_MAX)

    async def tries(key: InstanceKey) -> InstanceKey | None:
        async with slots:
            failure = await prober.try_connect(key, timeout_s=timeout_s)
        return key if failure is None or failure.kind.answers else None

    found = await asyncio.gather(*(tries(key) for key in servers))
    return frozenset(key for key in found if key is not None)


def serve_reach(channel: Channel, prober: Prober) -> None:
    """Answer a leader that wants to know what this node reaches."""

    async def answer(_node_id: str, payload: bytes) -> bytes:
        servers = _keys(json.loads(payload)["servers"][:PRIMARIES_MAX])
        reached = await reached_of(prober, servers, TRY_TIMEOUT_S)
        return json.dumps({"reached": [[key.hostname, key.port] for key in sorted(reached)]}).encode()

    channel.serve(METHOD, answer)


def _keys(plain: Iterable[Any]) -> tuple[InstanceKey, ...]:
    return tuple(InstanceKey(str(host), int(port)) for host, port in plain)
