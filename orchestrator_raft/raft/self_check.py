"""Compares this node's state with its peers' every few seconds, and acts on it (design D5; the rule is in ``digests``).

How two nodes come to marks of the same index
- At rest everybody's newest applied index is the same, and each marks it at every round.
- While the log moves, the leader names a *rendezvous* in its report: the index after its last entry. The connection
  keeps order, so a follower hears of it before that entry, and marks exactly there. So the work is one mark per round,
  whatever the load.

What follows
- While a difference with a connected node stands, no node has authority, so nothing is recovered; afterwards not before
  this node is again known to be equal to a majority.
- An odd node writes that into its store and stops for good: a store so marked is refused at every later start, because
  a replay that happens to come out right proves nothing about the machine that went wrong. Where even that cannot be
  written, its snapshot and journal show the same difference again within a round.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator_raft import __version__
from orchestrator_raft.core.errors import OrchestratorError, StartupError
from orchestrator_raft.raft.clock import Clock
from orchestrator_raft.raft.digests import MARKS_MAX, Mark, Report, Verdict, equal_at, judge, pack, unpack
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.lease import NEVER
from orchestrator_raft.raft.machine import Replicated
from orchestrator_raft.raft.messages import DigestReport
from orchestrator_raft.raft.state_digest import StateDigest
from orchestrator_raft.raft.store import START_OVER

log = logging.getLogger("orchestrator_raft.raft")
ROUND_S = 2.0
WAITING_MAX = 2
"""States that wait for their digest; a further one is not marked."""
ODD_FACT = "odd"
UNDECIDED = (
    "no majority tells who is right, so nobody acts: start the nodes that are missing, their states decide; if none is "
    "missing, stop those that are wrong and let one go on alone (orchestrator-raft recover)"
)
WAY_OUT = f"its state must not be used any more: {START_OVER}"


class OddOneOut(OrchestratorError):
    """This node's state differs from that of a majority. It must stop, and its store is marked."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The newest that is known of the comparison with one peer."""

    index: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """What a round has to know of the replica: who this node is in it, and how far the log is."""

    applied_index: int
    last_index: int
    leader: str | None
    voters: Collection[str]
    connected: Collection[str]


@dataclass(frozen=True, slots=True)
class _Captured:
    """A state that waits for its digest."""

    index: int
    commands: bytes
    state: Any


class SelfCheck:
    """Part of a replica, which calls ``tick`` with its own, and hands over reports and lost connections.

    ``state_format`` names how this node encodes states; by default its version and the levels that this one knows.
    ``tick`` and ``heard`` raise OddOneOut, after the store was told.
    """

    def __init__(
        self, me: str, replicated: Replicated[Any, Any, Any], *, clock: Clock, moment: Callable[[], Moment],
        send: Callable[[str, DigestReport], None], save_facts: Callable[[Mapping[str, str]], None],
        state_format: str = "",
    ) -> None:  # fmt: skip
        self._me = me
        self._replicated = replicated
        self._clock = clock
        self._send = send
        self._save_facts = save_facts
        self._moment = moment
        self._digest = StateDigest(replicated.encode_part)
        self._waiting: deque[_Captured] = deque()
        self._marks: deque[Mark] = deque(maxlen=MARKS_MAX)
        self._format = state_format or f"{__version__} at level {replicated.levels.newest}"
        self._reports: dict[str, Report] = {}
        self._rendezvous = 0
        self._round_s = NEVER
        self._voters: Collection[str] = ()
        self._suspended_from: int | None = None
        self.verdict = Verdict()
        self.compared: dict[str, Compared] = {}
        """By peer, since this node started."""
        replicated.observer = self

    # what the machine tells

    def before_apply(self, index: int) -> None:
        """Everything before ``index`` is applied, and it is not."""
        if 0 < self._rendezvous < index:
            self._capture(self._rendezvous)
            self._rendezvous = 0

    def restored(self) -> None:
        """A snapshot has taken the place of the state: what was named before may have been passed over."""
        self._rendezvous = 0

    # what the replica tells

    def tick(self) -> None:
        self._work()
        if self._clock() - self._round_s < ROUND_S:
            return
        self._round_s, moment = self._clock(), self._moment()
        if not moment.connected:
            return
        self._voters = moment.voters
        if 0 < self._rendezvous <= moment.applied_index:
            self._capture(self._rendezvous)
        self._capture(moment.applied_index)
        leads = moment.leader == self._me
        if leads and not moment.applied_index < self._rendezvous <= moment.last_index + 1:
            self._rendezvous = moment.last_index + 1
        report = DigestReport(self._format, self._rendezvous if leads else 0, pack(self._marks))
        for peer in sorted(moment.connected):
            self._send(peer, report)

    def heard(self, peer: str, message: DigestReport) -> None:
        """Raises ProtocolError for a report that is none."""
        moment = self._moment()
        try:
            self._reports[peer] = Report(message.format, unpack(message.marks))
        except ValueError as error:
            raise ProtocolError(f"DigestReport: {error}") from error
        if peer == moment.leader and message.rendezvous > moment.applied_index:
            self._rendezvous = message.rendezvous
        self._voters = moment.voters
        self._compare()

    def _work(self) -> None:
        """One small step on the oldest state that waits for its digest."""
        if not self._waiting:
            return
        digest = self._digest.step()
        if digest is None:
            return
        done = self._waiting.popleft()
        self._marks.append(Mark(done.index, done.commands, digest))
        if self._waiting:
            self._digest.begin(self._waiting[0].state)
        self._compare()

    def forget(self, peer: str) -> None:
        """It is not connected any more; what comes next under its name may be another store."""
        if self._reports.pop(peer, None) is not None:
            self._judge()

    # what follows

    @property
    def is_busy(self) -> bool:
        """Whether the next tick has something to do on a digest."""
        return bool(self._waiting)

    @property
    def suspends(self) -> bool:
        """Whether nobody may act: somebody differs, or it is not yet known again that this node is in a majority."""
        return self._suspended_from is not None

    @property
    def problem(self) -> str:
        """One line for people; empty when all compared nodes are equal."""
        if self.verdict.differences:
            return f"the nodes have different states: {self._explained(self.verdict)}"
        if self.suspends:
            return "the nodes had different states; it is not known yet that a majority is equal again"
        return ""

    def _explained(self, verdict: Verdict) -> str:
        texts = [f"{each}; {UNDECIDED}" for each in (verdict.disputed,) if each]
        texts += [f"{node} is odd by {why}" for node, why in sorted((verdict.odd or {}).items())]
        return "; ".join(texts)

    # inside

    def _capture(self, index: int) -> None:
        known = {mark.index for mark in self._marks} | {each.index for each in self._waiting}
        if index not in known and len(self._waiting) < WAITING_MAX:
            self._waiting.append(_Captured(index, self._replicated.digest, self._replicated.state))
            if len(self._waiting) == 1:
                self._digest.begin(self._waiting[0].state)

    def _compare(self) -> None:
        now_s, mine = self._clock(), self._mine()
        for peer, report in self._reports.items():
            index = equal_at(mine, report)
            known = self.compared.get(peer)
            if index and (known is None or index >= known.index):
                self.compared[peer] = Compared(index, now_s)
        self._judge()
        odd = self.verdict.first_of(self._me)
        if odd is not None:
            self._save_facts({ODD_FACT: str(odd)})
            raise OddOneOut(f"{self._me} differs from the majority: {odd}; {WAY_OUT}")

    def _mine(self) -> Report:
        return Report(self._format, tuple(self._marks))

    def _judge(self) -> None:
        before = self.verdict
        reports: Mapping[str, Report] = {self._me: self._mine(), **self._reports}
        self.verdict = judge(reports, self._voters)
        if self.verdict.differences:
            last = max(each.index for each in self.verdict.differences)
            self._suspended_from = max(last, self._suspended_from or 0)
            if self.verdict != before:
                log.critical("ALARM: %s", self.problem)
        elif self._suspended_from is not None and self._is_in_majority(self._suspended_from):
            self._suspended_from = None
            log.warning("the states of the connected nodes are equal again")

    def _is_in_majority(self, index: int) -> bool:
        """Whether a majority, this node included, is known to be equal at ``index`` or later."""
        mine = self._mine()
        equal = {self._me, *(peer for peer, report in self._reports.items() if equal_at(mine, report) >= index)}
        return 2 * len(equal & set(self._voters)) > len(self._voters)


def refuse_if_odd(facts: Mapping[str, str], where: str) -> None:
    """A store that was found odd once is not started from. Raises StartupError."""
    if ODD_FACT in facts:
        raise StartupError(f"{where} holds a state that was found to differ ({facts[ODD_FACT]}): {WAY_OUT}")
