"""The members as one replica has them: in force since they were appended, and tended by whoever leads.

Rules
- What the journal's newest configuration says is in force here: ``refresh`` tells it to the library, to the elections
  and to the replication, before any of them counts again.
- Only a leader with authority appends a configuration: one that people asked for, or what ``membership.next_step``
  says.
- A node without a configuration (it waits to be let in) and one that finds another incarnation in its seat neither
  campaign nor vote. Everybody else votes, because a candidate may know a newer configuration in which they count.
- A learner, and a node whose removal is not known to be committed, campaign as *outsiders* (``elections``): theirs may
  be the only log with the newest entries, which no voter can then be elected against. An outsider that leads counts the
  voters only, never has authority, and hands over to the first voter that has everything it has.
- Who is removed by a committed entry is *gone*: it leaves the others alone. Until then all stay connected to it.
- A configuration at a level that this version does not know is InvalidInput, which stops the node.
- Whoever is removed is sent entries until it knows, for a bounded time; ``peers`` holds it for so long.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from orchestrator_raft.raft import membership
from orchestrator_raft.raft.clock import Clock
from orchestrator_raft.raft.elections import Elections
from orchestrator_raft.raft.journal import Journal
from orchestrator_raft.raft.lease import NEVER, Office
from orchestrator_raft.raft.levels import FIRST, Levels
from orchestrator_raft.raft.membership import Configuration, Contact, Standing
from orchestrator_raft.raft.replication import Replication
from orchestrator_raft.raft.seam import Library
from orchestrator_raft.raft.settings import Timing

log = logging.getLogger("orchestrator_raft.raft")
NOBODY = Configuration(())
DEPARTURE_S = 5.0
"""So long a leader goes on sending to a member that was removed, until that one knows."""


class Members:
    """``own`` is what this node says of itself."""

    def __init__(self, me: str, own: Contact, *, journal: Journal, library: Library, elections: Elections,
                 replication: Replication, clock: Clock, timing: Timing, levels: Levels) -> None:  # fmt: skip
        self._me = me
        self._journal = journal
        self._library = library
        self._elections = elections
        self._replication = replication
        self._clock = clock
        self._timing = timing
        self.levels = levels
        self._contacts: dict[str, Contact] = {me: replace(own, newest_level=levels.newest)}
        self._refused: dict[str, Contact] = {}
        """Connected, but not the member that it was."""
        self._departing: dict[str, tuple[str, int, float]] = {}
        """Slot -> (address, entry of its removal, deadline)."""
        self._seen = (-1, False)
        self._tended_s = NEVER
        self.configuration = NOBODY
        self.version = 0
        """Rises whenever ``peers`` may have changed."""
        self.refresh(leads=False)

    # reading

    @property
    def index(self) -> int:
        """The entry in which the newest configuration stands."""
        return self._journal.history.newest_index

    @property
    def is_known(self) -> bool:
        """Whether this node knows who the members are at all."""
        return self._journal.history.newest is not None

    @property
    def level(self) -> int:
        """At which commands are to be written: that of the newest committed configuration, which nothing undoes."""
        known = self._journal.history.at(self._library.commit_index)
        return known[1].level if known is not None else FIRST

    @property
    def is_alone(self) -> bool:
        """This node is the only voter."""
        return self.configuration.voters == {self._me}

    @property
    def votes(self) -> bool:
        """Whether this node counts for majorities."""
        return self._me in self.configuration.voters

    @property
    def is_gone(self) -> bool:
        """Whether this node knows that it was removed for good."""
        return self.is_known and self._is_committed and self.configuration.seat(self._me) is None

    @property
    def _is_committed(self) -> bool:
        """The newest configuration is."""
        return self._library.commit_index >= self.index

    @property
    def peers(self) -> Mapping[str, str]:
        """Where the others are, by their slots; with those whose removal may still be undone, or is to be told them."""
        known = self._journal.history.at(self._library.commit_index)
        committed = known[1] if known is not None else NOBODY
        seats = {seat.slot: seat.address for each in (committed, self.configuration) for seat in each.seats}
        departing = {slot: address for slot, (address, _, _) in self._departing.items()}
        return {slot: address for slot, address in (departing | seats).items() if slot != self._me}

    def accepts(self, peer: str, contact: Contact) -> bool:
        """Whether the member is the one it was: its disk has not been emptied meanwhile.

        Who knows more of the members than this node was let in by a leader, with the disk that it has: a node that was
        away, or is reading the log from its beginning, must not refuse those from whom it is to hear of that.
        """
        if peer == self._me or contact.members_index > self.index:
            return True
        seat = self.configuration.seat(peer)
        known = seat.incarnation if seat is not None else ""
        return not known or not contact.incarnation or known == contact.incarnation

    def standing(self, office: Office, *, has_authority: bool) -> Standing:
        """What the leader knows now."""
        now_s, last_index = self._clock(), self._journal.last_index
        connected = self._replication.connections
        recent_s = now_s - self._timing.election_max_s
        has = {peer: self._replication.match_index(peer) or 0 for peer in connected}
        live = {peer for peer in connected if office.echoes.get(peer, NEVER) > recent_s}
        return Standing(
            me=self._me,
            configuration=self.configuration,
            has_authority=has_authority,
            is_committed=self._is_committed,
            live=frozenset(live | {self._me}),
            contacts={slot: said for slot, said in self._contacts.items() if slot in connected or slot == self._me},
            missing={peer: last_index - index for peer, index in has.items() if index >= self.index},
        )

    # what happens

    def found(self, configuration: Configuration) -> None:
        """This node founds the cluster, with others that have nothing either."""
        self._journal.history.reset(0, configuration)
        self.refresh(leads=False)

    def connected(self, peer: str, contact: Contact) -> None:
        """An emptied disk is not let in, whatever the handshake knew of it: to it nothing is sent, nor listened."""
        if not self.accepts(peer, contact):
            self._refused[peer] = contact
            return
        self._contacts[peer] = contact
        self._tended_s = NEVER
        self._library.connection(peer, True)
        self._replication.connected(peer)

    def disconnected(self, peer: str) -> None:
        self._contacts.pop(peer, None)
        self._refused.pop(peer, None)
        self._library.connection(peer, False)
        self._replication.disconnected(peer)

    def refuses(self, peer: str) -> bool:
        return peer in self._refused

    def _meet_again(self) -> None:
        """Other members are known now: who was let in may have to go, who was refused may come."""
        for peer, contact in [each for each in self._contacts.items() if not self.accepts(*each)]:
            self.disconnected(peer)
            self._refused[peer] = contact
        for peer, contact in [each for each in self._refused.items() if self.accepts(*each)]:
            del self._refused[peer]
            self.connected(peer, contact)

    def refresh(self, *, leads: bool) -> None:
        """The journal may have another configuration at its end, or the one there may have been committed."""
        history = self._journal.history
        seen, self._seen = self._seen, (history.version, self._is_committed)
        if self._seen == seen:
            return
        before, self.configuration = self.configuration, history.newest or NOBODY
        self.levels.check(self.configuration.level)
        if self.configuration.level > before.level and before is not NOBODY:
            log.info("the cluster is at level %d from entry %d on", self.configuration.level, history.newest_index)
        self.version += 1
        for slot in before.slots - self.configuration.slots - {self._me}:
            seat = before.seat(slot)
            if leads and seat is not None:
                self._departing[slot] = seat.address, self.index, self._clock() + DEPARTURE_S
        for slot in self.configuration.slots - before.slots:
            self._departing.pop(slot, None)
            self._replication.forget(slot)
        if self.is_gone:
            log.warning("%s was removed from the cluster: it does not vote any more; stop it", self._me)
        self._tell()
        self._meet_again()

    def _tell(self) -> None:
        voters = self.configuration.voters
        seat = self.configuration.seat(self._me)
        is_self = seat is None or seat.incarnation in ("", self._contacts[self._me].incarnation)
        belongs = is_self and self.is_known
        self._library.set_voters(voters - {self._me}, votes=self.votes or not self.is_known)
        self._elections.set_voters(voters, campaigns=belongs and not self.is_gone, votes=belongs)
        self._replication.follow(self.followers, voters)

    @property
    def followers(self) -> frozenset[str]:
        """Whom a leader sends entries."""
        return (self.configuration.slots | self._departing.keys()) - {self._me}

    # what a leader does

    def append(self, configuration: Configuration) -> int:
        """Put a configuration into the log and in force. Gives its index."""
        index = self._journal.last_index + 1
        self._journal.add(membership.encode(configuration), index, self._library.term)
        self.refresh(leads=True)
        return index

    @property
    def must_be_tended(self) -> bool:
        """By a leader: once in a heartbeat, and when somebody has connected."""
        return self._clock() - self._tended_s >= self._timing.heartbeat_s

    def tend(self, office: Office, *, has_authority: bool) -> bool:
        """Take the next step that the members ask for, if there is one. Says whether this leader is to hand over."""
        self._tended_s = now_s = self._clock()
        self._replication.heartbeats_due(self.configuration.voters)
        self._let_go(now_s)
        step = membership.next_step(self.standing(office, has_authority=has_authority))
        if isinstance(step, Configuration):
            self.append(step)
        if not self.votes:
            return office.given_up or self._has_heir()
        return isinstance(step, membership.HandOver) or (
            office.given_up and self._me in membership.going(self.configuration)
        )

    def _has_heir(self) -> bool:
        heir = self._replication.best_follower(self.configuration.voters)
        return heir is not None and self._replication.all_match(heir)

    def step_down(self) -> None:
        """This node leads no more: what only a leader sends is not sent."""
        if self._departing:
            self._departing.clear()
            self.version += 1

    def _let_go(self, now_s: float) -> None:
        for slot, (_, index, deadline_s) in list(self._departing.items()):
            if slot in self.configuration.slots or now_s > deadline_s or self._replication.was_told(slot, index):
                del self._departing[slot]
                self.version += 1
                self._replication.follow(self.followers, self.configuration.voters)
