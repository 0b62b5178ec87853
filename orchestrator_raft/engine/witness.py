"""Other nodes' eyes: ask them to try a server themselves, and answer when they ask (design D3.5).

An answer counts only for a suspicion that was there before it, and only for a while; silence is no opinion,
and neither is the trouble of a node that could not even ask.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from orchestrator_raft.core.analysis import Eyes, WitnessAnswer
from orchestrator_raft.core.errors import Unavailable
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.ports import Channel, Clock, Consensus, Prober
from orchestrator_raft.tasks import Tasks

METHOD = "witness"
ANSWER_MAX_AGE_S = 2.0
ASK_AGAIN_S = 0.25


class Witnesses:
    """Asks the other nodes, and remembers what they said."""

    def __init__(
        self, consensus: Consensus, channel: Channel, clock: Clock, tasks: Tasks, *, timeout_s: float = 0.4
    ) -> None:
        self._consensus = consensus
        self._channel = channel
        self._clock = clock
        self._tasks = tasks
        self._timeout_s = timeout_s
        self._answers: dict[InstanceKey, dict[str, WitnessAnswer]] = {}
        self._asked_at_s: dict[InstanceKey, float] = {}
        self._suspected_since_s: dict[InstanceKey, float] = {}
        """When each server was first asked about since ``clear``: a question from before that is not heard any more."""
        self._listener: Callable[[InstanceKey], None] = lambda _key: None

    def on_answer(self, listener: Callable[[InstanceKey], None]) -> None:
        self._listener = listener

    def eyes(self, key: InstanceKey) -> Eyes:
        """What is known now. Where nobody has been asked lately, ask: the answers come later."""
        others = [peer.node_id for peer in self._consensus.peers()]
        oldest = self._clock.monotonic_s() - ANSWER_MAX_AGE_S
        answers = self._answers.get(key, {})
        fresh = tuple(answer for answer in answers.values() if answer.at_s >= oldest and answer.node_id in others)
        return Eyes(witnesses=len(others), answers=fresh)

    def ask(self, key: InstanceKey) -> None:
        """Have every connected node try the server, unless that was done a moment ago."""
        now_s = self._clock.monotonic_s()
        if now_s - self._asked_at_s.get(key, -ASK_AGAIN_S) < ASK_AGAIN_S:
            return
        self._asked_at_s[key] = now_s
        since_s = self._suspected_since_s.setdefault(key, now_s)
        for peer in self._consensus.peers():
            if peer.connected:
                self._tasks.start(f"ask {peer.node_id} about {key}", self._ask_one(peer.node_id, key, since_s))

    def clear(self, key: InstanceKey) -> None:
        """The suspicion is over: what was said about it counts no more."""
        self._answers.pop(key, None)
        self._asked_at_s.pop(key, None)
        self._suspected_since_s.pop(key, None)

    async def _ask_one(self, node_id: str, key: InstanceKey, since_s: float) -> None:
        payload = json.dumps({"host": key.hostname, "port": key.port, "timeout_s": self._timeout_s}).encode()
        try:
            reply = await self._channel.call(node_id, METHOD, payload, timeout_s=self._timeout_s + 0.2)
        except Unavailable:
            return  # silence is no opinion
        if self._suspected_since_s.get(key) != since_s:
            return  # that suspicion is over
        answer = json.loads(reply)
        if not answer["opinion"]:
            return  # that node has troubles of its own
        self._answers.setdefault(key, {})[node_id] = WitnessAnswer(
            node_id=node_id,
            reached=bool(answer["reached"]),
            detail=str(answer["detail"]),
            at_s=self._clock.monotonic_s(),
        )
        self._listener(key)


def serve_witness(channel: Channel, prober: Prober) -> None:
    """Answer other nodes' questions: by a new connection and a query, as any client would."""

    async def answer(_node_id: str, payload: bytes) -> bytes:
        question = json.loads(payload)
        key = InstanceKey(str(question["host"]), int(question["port"]))
        timeout_s = min(5.0, float(question["timeout_s"]))
        failure = await prober.try_connect(key, timeout_s=timeout_s)
        if failure is None:
            return _encode(True, "reached")
        return _encode(failure.kind.answers, f"{failure.kind.value}: {failure.detail}", opinion=failure.kind.is_opinion)

    channel.serve(METHOD, answer)


def _encode(reached: bool, detail: str, *, opinion: bool = True) -> bytes:
    return json.dumps({"reached": reached, "detail": detail, "opinion": opinion}).encode()
