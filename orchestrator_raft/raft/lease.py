"""Who may lead and who may act: leases, votes, pre-vote and check-quorum as pure functions (design D4).

Why no two nodes have authority at one instant
- A leader counts an echo by the *send* time of its append, on its own clock: ``Office.lease_until_s``.
- A follower that echoed promises, by ``Ear``, to support nobody else for one minimum election timeout from *receipt*,
  which is later; for its own candidacy the same holds. It promises again for that time after its own start, because it
  may have promised before it went down.
- Both are in a majority, and any two majorities share a node: whoever is elected next is elected after the lease ended,
  up to the difference of clock rates, which the drift margin covers.
- A transfer asks followers to break the promise; therefore the leader gives its authority up first, for its whole term.

No clock is read here: ``now_s`` is an argument, and all times of one node come from one clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from orchestrator_raft.raft.settings import Timing

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Authority:
    """The right to act. ``until_s`` is on the clock of ``clock.boot_time_s``; ask again before each step."""

    term: int
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """A leader's time in one term: whom it heard of, and whether it has begun to hand over."""

    term: int
    since_s: float
    echoes: Mapping[str, float] = field(default_factory=dict)
    """The newest send time that each follower has echoed in this term."""
    given_up: bool = False
    given_up_s: float = NEVER
    jumped_s: float = NEVER
    """When the clock was last found to have jumped; what was sent until then says nothing about now."""

    def echoed(self, peer: str, term: int, sent_s: float, now_s: float) -> Office:
        """With one more echo. One of another term, from the future, older than a known one or than a jump of the
        clock changes nothing: an answer may wait through a freeze, and the clock would call it fresh."""
        if term != self.term or sent_s > now_s or sent_s <= max(self.jumped_s, self.echoes.get(peer, NEVER)):
            return self
        return replace(self, echoes={**self.echoes, peer: sent_s})

    def forgotten(self, now_s: float) -> Office:
        """After a jump of the clock: what was heard before, or sent before, says nothing about now."""
        return replace(self, echoes={}, jumped_s=now_s)

    def handing_over(self, now_s: float) -> Office:
        """Gives authority up for the rest of the term."""
        return replace(self, given_up=True, given_up_s=now_s)

    def lease_until_s(self, voters: frozenset[str], me: str, now_s: float, timing: Timing) -> float:
        """When the lease ends: majority-th newest echo, this node counting as now, plus minimum timeout less drift."""
        times = sorted((now_s if voter == me else self.echoes.get(voter, NEVER) for voter in voters), reverse=True)
        return times[len(times) // 2] + timing.election_min_s - timing.drift_margin_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear:
    """What a node has heard of leaders: the base of what it has promised."""

    started_s: float
    heard_s: float = NEVER

    def hearing(self, now_s: float) -> Ear:
        return replace(self, heard_s=now_s)

    def bound_until_s(self, timing: Timing) -> float:
        """Until when this node supports nobody but the leader it has heard."""
        return max(self.started_s, self.heard_s) + timing.election_min_s

    def hears_leader(self, now_s: float, timing: Timing) -> bool:
        """Whether a leader was heard within one minimum election timeout; its own start says nothing about that."""
        return now_s < self.heard_s + timing.election_min_s


def authority(office: Office | None, *, first_entry_applied: bool, term_stored: bool, until_s: float,
              now_s: float) -> Authority | None:  # fmt: skip
    """The authority of a node that leads by ``office``, or None."""
    if office is None or office.given_up or not first_entry_applied or not term_stored or now_s >= until_s:
        return None
    return Authority(office.term, until_s)


def may_support(ear: Ear, *, lease_live: bool, requested: bool, now_s: float, timing: Timing) -> bool:
    """Whether this node may vote, or campaign itself. ``requested``: the leader itself asked for this election."""
    if requested:
        return True
    return not lease_live and now_s >= ear.bound_until_s(timing)


def must_step_down(office: Office, *, until_s: float, now_s: float, timing: Timing) -> bool:
    """Check-quorum: the lease ended one minimum timeout ago, or a transfer found no taker; never early in office."""
    if office.given_up:
        return now_s - office.given_up_s > timing.election_max_s
    in_office_s = now_s - office.since_s
    return in_office_s > timing.election_max_s and now_s - until_s > timing.election_min_s


class PreVote(Enum):
    """Answers to the question whether a campaign would find support."""

    GRANT = "grant"
    SILENCE = "silence"
    NEWER_TERM = "newer term"
    """The asker is behind: it learns the term, so that it is not stuck."""


def pre_vote(*, asked_term: int, asked_log: tuple[int, int], term: int, log: tuple[int, int], supports: bool,
             hears_leader: bool) -> PreVote:  # fmt: skip
    """The answer to a pre-vote for ``asked_term``. A log is (term, index) of its last entry."""
    if asked_term <= term:
        return PreVote.SILENCE if hears_leader else PreVote.NEWER_TERM
    if not supports or asked_log < log:
        return PreVote.SILENCE
    return PreVote.GRANT


def yields_to(mine: str, other: str) -> bool:
    """Two nodes that ask at the same time must not split the votes: the one with the smaller name goes first."""
    return other < mine
