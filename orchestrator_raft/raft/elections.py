"""When this node campaigns and whom it supports: pre-vote, votes, transfers (design D4).

PySyncObj starts an election as soon as its deadline has passed. ``before_tick`` stands before that: it pushes the
deadline away and asks the others first; only when a majority would vote is the library let through. The answers of the
others pass through here before the library counts them, each voter once.

Whose votes count, and whether this node campaigns at all, ``members`` says at every change. A vote is given to any
candidate, known as a voter or not: it may know a newer configuration than this node.

A node that campaigns without being a voter is an *outsider*: it may be the only one with the newest log, without which
nobody else can be elected. It waits ``OUTSIDER_S`` longer than voters do, and its own vote does not count.

The rules themselves are in ``lease.py``; here is what has to be remembered between two messages.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from orchestrator_raft.raft.clock import Clock
from orchestrator_raft.raft.journal import Journal
from orchestrator_raft.raft.lease import NEVER, Ear, PreVote, may_support, pre_vote, yields_to
from orchestrator_raft.raft.messages import (
    NewerTerm,
    PreVoteGrant,
    PreVoteRequest,
    RaftMessage,
    TransferRequest,
    Vote,
    VoteRequest,
)
from orchestrator_raft.raft.seam import Library
from orchestrator_raft.raft.settings import Timing

Send = Callable[[str, RaftMessage], None]
OUTSIDER_S = 2.0
"""So much longer than voters an outsider has to have heard no leader before it asks."""


class Elections:
    """``lease_live`` tells whether this node leads by a lease that still runs."""

    def __init__(self, me: str, *, timing: Timing, journal: Journal, library: Library, send: Send, clock: Clock,
                 lease_live: Callable[[], bool]) -> None:  # fmt: skip
        self._me = me
        self._voters: frozenset[str] = frozenset()
        self._others: frozenset[str] = frozenset()
        self._campaigns = self._votes = False
        self._timing = timing
        self._journal = journal
        self._library = library
        self._send = send
        self._clock = clock
        self._lease_live = lease_live
        self.ear = Ear(started_s=clock())
        self._round = 0
        self._round_began_s = NEVER
        self._round_term = 0
        self._grants: set[str] = set()
        self._cleared = False
        """A majority would vote for this node: the library may hold its election."""
        self._requested_term = 0
        """The term this node was asked to enter by the leader itself."""
        self._voted: dict[str, int] = {}

    # what the replica tells

    def set_voters(self, voters: frozenset[str], *, campaigns: bool, votes: bool) -> None:
        """Who counts from now on; whether this node may campaign, and whether it may vote."""
        self._voters, self._others = voters, voters - {self._me}
        self._campaigns, self._votes = campaigns, votes
        self._grants.clear()
        self._cleared = False

    def before_tick(self, connected: frozenset[str]) -> None:
        """Lets an election begin, or asks for support first. To be called before every tick of the library."""
        now_s = self._clock()
        if not self._campaigns:
            self._library.election_deadline_s = now_s + self._timing.election_max_s
            return
        if self._library.is_leader or (self._others and self._library.election_deadline_s >= now_s):
            return
        requested = self._requested_term == self._library.term + 1
        cleared, self._cleared = self._cleared, False
        if not self._others or requested or (cleared and self._may_support(now_s)):
            self._library.election_deadline_s = NEVER
            return
        self._library.election_deadline_s = now_s + self._pause_s()
        if connected and self._may_support(now_s) and now_s >= self._turn_s():
            self._ask(now_s)

    def heard(self) -> None:
        """A leader of this term spoke."""
        self.ear = self.ear.hearing(self._clock())
        self._cleared = False
        self._grants.clear()

    def leader_gone(self) -> None:
        """The connection to the leader broke: campaign as soon as this node's promise allows, not later."""
        soon_s = self.ear.bound_until_s(self._timing) + random.uniform(0, self._timing.heartbeat_s)
        self._library.election_deadline_s = min(self._library.election_deadline_s, soon_s)

    # votes

    def vote_requested(self, peer: str, message: VoteRequest) -> None:
        if message.term < self._library.term:
            self._answer_behind(peer)
        elif self._votes and self._may_support(self._clock(), message.requested):
            self._library.vote_request(peer, message.term, message.last_index, message.last_term)

    def voted(self, peer: str, message: Vote) -> None:
        """Each voter counts once per term; the library does not look who sent it."""
        if peer not in self._others:
            return
        if message.term == self._library.term and self._voted.get(peer) != message.term:
            self._voted[peer] = message.term
            self._library.vote(peer, message.term)

    def request_vote(self, peer: str, term: int) -> None:
        """The library holds an election and asks this peer."""
        requested = term == self._requested_term
        self._send(peer, VoteRequest(term, self._journal.last_index, self._journal.last_term, requested))

    # pre-vote

    def pre_vote_requested(self, peer: str, message: PreVoteRequest) -> None:
        now_s = self._clock()
        answer = pre_vote(
            asked_term=message.term,
            asked_log=(message.last_term, message.last_index),
            term=self._library.term,
            log=(self._journal.last_term, self._journal.last_index),
            supports=self._votes and self._may_support(now_s) and not self._goes_first(peer, now_s),
            hears_leader=self._hears_leader(now_s),
        )
        if answer is PreVote.NEWER_TERM:
            self._answer_behind(peer)
        elif answer is PreVote.GRANT:
            self._grants.clear()
            self._cleared = False
            self._library.election_deadline_s = max(self._library.election_deadline_s, now_s + self._pause_s())
            self._send(peer, PreVoteGrant(message.term, message.round))

    def pre_vote_granted(self, peer: str, message: PreVoteGrant) -> None:
        if (
            peer not in self._others
            or message.round != self._round
            or message.term != self._library.term + 1
            or not self._grants
        ):
            return
        self._grants.add(peer)
        if len(self._grants & self._voters) > len(self._voters) // 2:
            self._grants.clear()
            self._cleared = True
            self._library.election_deadline_s = NEVER

    def newer_term(self, peer: str, term: int) -> None:
        """Somebody is further: enter that term, as a follower."""
        if term > self._library.term:
            self._library.adopt_term(peer, term)

    # transfer

    def transfer_requested(self, peer: str, message: TransferRequest) -> None:
        if self._campaigns and message.term == self._library.term and self._library.leader == peer:
            self._requested_term = message.term + 1
            self._library.election_deadline_s = NEVER

    # inside

    def _ask(self, now_s: float) -> None:
        self._round += 1
        self._round_began_s = now_s
        self._grants = {self._me}
        question = PreVoteRequest(
            self._library.term + 1, self._journal.last_index, self._journal.last_term, self._round
        )
        for peer in sorted(self._others):
            self._send(peer, question)

    def _turn_s(self) -> float:
        """Before that this node leaves it to others to ask."""
        return NEVER if self._me in self._voters else self.ear.bound_until_s(self._timing) + OUTSIDER_S

    def _goes_first(self, peer: str, now_s: float) -> bool:
        """This node has just asked itself, and its name comes first."""
        asking = bool(self._grants) and now_s - self._round_began_s < self._timing.heartbeat_s
        return asking and not yields_to(self._me, peer)

    def _may_support(self, now_s: float, requested: bool = False) -> bool:
        return may_support(
            self.ear, lease_live=self._lease_live(), requested=requested, now_s=now_s, timing=self._timing
        )

    def _hears_leader(self, now_s: float) -> bool:
        return self._lease_live() or self.ear.hears_leader(now_s, self._timing)

    def _answer_behind(self, peer: str) -> None:
        if not self._hears_leader(self._clock()):
            self._send(peer, NewerTerm(self._library.term))

    def _pause_s(self) -> float:
        """Between two questions; short, because asking disturbs nobody."""
        return random.uniform(0.5, 2.5) * self._timing.heartbeat_s
