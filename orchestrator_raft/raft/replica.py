"""One participant of the cluster: messages and ticks in, messages and applied commands out. No socket, no thread.

This is the whole of Raft here, in the order in which a message passes: the checks of ``elections`` and ``appends``,
then PySyncObj behind ``seam``, then the ``journal``, whose changes go to the store at the end of every step, then the
``outbox``, which lets answers go when the store has synced. ``RaftNode`` drives it from asyncio, the simulator from
virtual time.

Rules
- Every entry point ends with ``_finish``: what a step changed is one group for the store, never less, never more.
- An exception is a broken promise of somebody (a bug, a full disk, diverged logs): it is let through, and the owner
  must stop the node; nothing is called again after it.
- The library of a single voter does not tick while its disk is behind, because it would commit at once what only memory
  has. What makes a node a single voter, in the middle of a tick, comes before that is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator_raft.raft import lease
from orchestrator_raft.raft import messages as kinds
from orchestrator_raft.raft.clock import Clock, JumpWatch
from orchestrator_raft.raft.elections import Elections
from orchestrator_raft.raft.following import Following
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.journal import Journal
from orchestrator_raft.raft.lease import NEVER, Authority, Office
from orchestrator_raft.raft.machine import Replicated
from orchestrator_raft.raft.members import Members
from orchestrator_raft.raft.membership import UNKNOWN, Configuration, Contact, Standing, founded
from orchestrator_raft.raft.outbox import Deliver, Outbox
from orchestrator_raft.raft.replication import Replication
from orchestrator_raft.raft.seam import Library
from orchestrator_raft.raft.self_check import Moment, SelfCheck, refuse_if_odd
from orchestrator_raft.raft.settings import Limits, Timing
from orchestrator_raft.raft.snapshots import SAVED_FACT, Compaction, Incoming, Newest
from orchestrator_raft.raft.store import Image, Store, choose

DISK_PATIENCE = 2
"""Maximum election timeouts without a sync after which a leader gives way."""


class Replica:
    """``others``: with whom this node founded the cluster; None if it did not found it and waits to be let in.

    ``deliver`` sends a message to a peer, or loses it. ``wall`` is the wall clock: for noticing jumps and for dates.
    ``own`` is what this node says of itself to the others.
    """

    def __init__(
        self, me: str, others: Sequence[str] | None, *, store: Store, image: Image,
        replicated: Replicated[Any, Any, Any], deliver: Deliver, clock: Clock, wall: Clock, timing: Timing,
        limits: Limits, own: Contact = UNKNOWN,
    ) -> None:  # fmt: skip
        self.me = me
        self._store = store
        self._clock = clock
        self._timing = timing
        self._limits = limits
        self._office: Office | None = None
        self._first_of_term = 0
        self._heartbeat_s = self._ticked_s = NEVER
        self._seen_mark, self._disk_answered_s = 0, clock()
        self._jumps = JumpWatch(clock, wall, timing.jump_s, timing.lease_s)
        refuse_if_odd(image.facts, store.where)
        loaded = choose(image, store.where, limits.snapshot_bytes)
        self.warnings = loaded.unreadable
        self.journal = Journal(image, loaded, limits, None if others is None else founded((me, *others)))
        self._outbox = Outbox(self.journal, deliver)
        self.self_check = SelfCheck(
            me, replicated, clock=clock, send=self._outbox.send, save_facts=self.save_facts, moment=self._moment
        )
        self._replication = Replication(self.journal, limits)
        self._incoming = Incoming(limits.snapshot_bytes)
        self._compaction = Compaction(
            self.journal, replicated, self._replication, self._incoming,
            limits=limits, clock=clock, wall=wall, saved_s=image.facts.get(SAVED_FACT),
        )  # fmt: skip
        self._library = Library(
            me, (), timing=timing, journal=self.journal, snapshots=self._compaction.face,
            send=self._from_library, apply=self._compaction.apply, clock=clock,
        )  # fmt: skip
        self._elections = Elections(
            me, timing=timing, journal=self.journal, library=self._library, send=self._outbox.send,
            clock=clock, lease_live=self._lease_live,
        )  # fmt: skip
        self._following = Following(
            self.journal, self._library, self._elections, self._outbox,
            incoming=self._incoming, compaction=self._compaction, leads=lambda: self._office is not None,
        )  # fmt: skip
        self.members = Members(
            me, own, journal=self.journal, library=self._library, elections=self._elections,
            replication=self._replication, clock=clock, timing=timing, levels=replicated.levels,
        )  # fmt: skip
        self._compaction.restore(loaded, self._library)
        self._finish()

    # reading

    @property
    def voters(self) -> frozenset[str]:
        return self.members.configuration.voters

    @property
    def others(self) -> frozenset[str]:
        """The voters besides this node."""
        return self.voters - {self.me}

    @property
    def term(self) -> int:
        return self._library.term

    @property
    def is_leader(self) -> bool:
        return self._office is not None

    @property
    def leader(self) -> str | None:
        """Who leads, as far as this node knows: nobody, when the leader has not been heard for a while."""
        leader = self._library.leader
        if leader is None or leader == self.me:
            return leader
        silent_s = self._clock() - self._elections.ear.heard_s
        return leader if silent_s < self._timing.election_max_s else None

    @property
    def applied_index(self) -> int:
        return self._library.applied_index

    @property
    def commit_index(self) -> int:
        return self._library.commit_index

    def match_index(self, peer: str) -> int | None:
        return self._replication.match_index(peer)

    def snapshot(self) -> Newest | None:
        return self._compaction.newest()

    def authority(self) -> Authority | None:
        """The right to act, now. Reads both clocks, so that a jump is noticed at the latest here."""
        self._watch_clock()
        if self.self_check.suspends or not self.members.votes:
            return None
        return lease.authority(
            self._office,
            first_entry_applied=self.applied_index >= self._first_of_term,
            term_stored=self.journal.is_synced(self.journal.term_mark),
            until_s=self._lease_until_s(),
            now_s=self._clock(),
        )

    def rests(self) -> bool:
        """Whether a tick now would find nothing to do."""
        return self._clock() < self.due_s()

    def due_s(self) -> float:
        """When a tick will find something to do, if nothing happens until then; NEVER while something is under way."""
        is_level = self.applied_index == self.commit_index == self.journal.last_index
        if not is_level or not self.journal.all_synced or self.self_check.is_busy:
            return NEVER
        if self._office is None:
            return self._library.election_deadline_s
        due_s = (self._heartbeat_s if self.others else self._ticked_s) + self._timing.heartbeat_s
        return min(due_s, self._lease_until_s())

    # entry points

    def tick(self) -> None:
        """To be called after anything happened, and every few milliseconds unless the replica rests."""
        self._ticked_s = self._clock()
        self._watch_clock()
        self._check_quorum()
        self._tend_members()
        if not self.members.is_alone or self.journal.all_synced:
            self._elections.before_tick(frozenset() if self._disk_hangs() else self._replication.connections)
            if self._compaction.is_due:
                self._library.compact()
            self._library.tick()
            self.self_check.tick()
        self._finish()

    def received(self, peer: str, messages: Sequence[kinds.RaftMessage]) -> None:
        """Raises ProtocolError if ``peer`` says what no node says: drop its connection. Any other error is final."""
        if self.members.refuses(peer):
            return
        try:
            for message in messages:
                self._handlers[type(message)](self, peer, message)
                self._notice_role()
        except ProtocolError:
            self.tick()
            raise
        self.tick()

    def connected(self, peer: str, contact: Contact = UNKNOWN) -> None:
        self.members.connected(peer, contact)
        self.tick()

    def disconnected(self, peer: str) -> None:
        self.members.disconnected(peer)
        self._outbox.forget(peer)
        self._incoming.forget(peer)
        self.self_check.forget(peer)
        if peer == self._library.leader:
            self._elections.leader_gone()
        self.tick()

    def synced(self) -> None:
        """The store has synced more."""
        self._absorb_sync()
        self.tick()

    def submit(self, command: bytes) -> bool:
        """Append a command to the log, if this node leads and hands over to nobody. It is committed later, or never."""
        office = self._office
        full = self.journal.last_index - self.commit_index >= self._limits.uncommitted_entries
        if office is None or office.given_up or full or not self.members.votes:
            return False
        self._library.submit(command)
        self.tick()
        return self.is_leader

    def hand_over(self) -> None:
        """Give authority up for the rest of this term; the leader steps down if nobody takes over in time.

        A lone voter keeps it: there is nobody who could take over, and its term has no end.
        """
        if self._office is not None and not self._office.given_up and self.others:
            self._office = self._office.handing_over(self._clock())

    def ask_to_take_over(self, peer: str | None) -> str | None:
        """Ask ``peer``, or whoever has most, to campaign, if it has everything. Gives the one that was asked."""
        chosen = peer or self._replication.best_follower(self.voters)
        if self._office is None or not self._office.given_up or chosen is None:
            return None
        if chosen not in self._replication.connections or not self._replication.all_match(chosen):
            return None
        self._outbox.send(chosen, kinds.TransferRequest(self.term))
        return chosen

    def standing(self) -> Standing | None:
        """What the leader knows of the members; None if this node does not lead."""
        if self._office is None:
            return None
        return self.members.standing(self._office, has_authority=self.authority() is not None)

    def set_members(self, configuration: Configuration) -> int:
        """Append it, for a leader that has found it right. Gives its index: it is committed later, or never."""
        index = self.members.append(configuration)
        self.tick()
        return index

    def found(self, configuration: Configuration) -> None:
        """For a node that has nothing: found the cluster with these."""
        self.members.found(configuration)
        self.tick()

    def save_facts(self, facts: Mapping[str, str]) -> None:
        """All of them or none are there after a crash."""
        self.journal.save_facts(facts)
        self._finish()

    def compact(self) -> None:
        """Take a snapshot soon, whatever the size of the journal."""
        self._compaction.is_wanted = True
        self.tick()

    def close(self) -> None:
        self._library.close()

    # from the library

    def _from_library(self, peer: str, message: Mapping[str, Any]) -> None:
        """Its appends only say that it is time; its acks are replaced by ours; its forwarding is not used."""
        match message["type"]:
            case "append_entries":
                self._heartbeat_s = self._clock()
                self._replication.heartbeat_due(peer)
            case "request_vote":
                self._elections.request_vote(peer, message["term"])
            case "response_vote":
                self._outbox.send(peer, kinds.Vote(message["term"]))
            case "next_node_idx" | "apply_command" | "apply_command_response":
                pass
            case kind:
                raise RuntimeError(f"PySyncObj wants to send '{kind}', which it never does in our use")

    # messages

    def _on_lease_ack(self, peer: str, message: kinds.LeaseAck) -> None:
        if self._office is not None:
            self._office = self._office.echoed(peer, message.term, message.sent_s, self._clock())

    def _on_ack(self, peer: str, message: kinds.Ack) -> None:
        if message.term > self.term:
            self._elections.newer_term(peer, message.term)
        elif message.term == self.term and self._office is not None:
            self._replication.answered(peer, message)
            self._report_matches()

    def _on_snapshot_progress(self, peer: str, message: kinds.SnapshotProgress) -> None:
        if message.term == self.term:
            self._replication.taken(peer, message)

    def _on_newer_term(self, peer: str, message: kinds.NewerTerm) -> None:
        self._elections.newer_term(peer, message.term)

    _handlers: Mapping[type[Any], Callable[[Replica, str, Any], None]] = {
        kinds.Append: lambda self, peer, message: self._following.append(peer, message),
        kinds.Heartbeat: lambda self, peer, message: self._following.heartbeat(peer, message),
        kinds.SnapshotPart: lambda self, peer, message: self._following.snapshot_part(peer, message),
        kinds.LeaseAck: _on_lease_ack,
        kinds.Ack: _on_ack,
        kinds.SnapshotProgress: _on_snapshot_progress,
        kinds.NewerTerm: _on_newer_term,
        kinds.DigestReport: lambda self, peer, message: self.self_check.heard(peer, message),
        kinds.VoteRequest: lambda self, peer, message: self._elections.vote_requested(peer, message),
        kinds.Vote: lambda self, peer, message: self._elections.voted(peer, message),
        kinds.PreVoteRequest: lambda self, peer, message: self._elections.pre_vote_requested(peer, message),
        kinds.PreVoteGrant: lambda self, peer, message: self._elections.pre_vote_granted(peer, message),
        kinds.TransferRequest: lambda self, peer, message: self._elections.transfer_requested(peer, message),
    }

    # inside

    def _lease_until_s(self) -> float:
        if self._office is None:
            return NEVER
        return self._office.lease_until_s(self.voters, self.me, self._clock(), self._timing)

    def _lease_live(self) -> bool:
        return self._clock() < self._lease_until_s()

    def _watch_clock(self) -> None:
        if self._jumps.jumped() and self._office is not None:
            self._office = self._office.forgotten(self._clock())

    def _moment(self) -> Moment:
        connected = self._replication.connections
        return Moment(self.applied_index, self.journal.last_index, self._library.leader, self.voters, connected)

    def _check_quorum(self) -> None:
        office = self._office
        if office is None or not self.others:
            return
        without_quorum = lease.must_step_down(
            office, until_s=self._lease_until_s(), now_s=self._clock(), timing=self._timing
        )
        if without_quorum or self._disk_hangs():
            self._library.step_down()
            self._notice_role()

    def _disk_hangs(self) -> bool:
        """Nothing was synced for so long that another node should lead. Encoding a snapshot may take its time."""
        if self._store.synced_mark != self._seen_mark or self.journal.all_synced or self._compaction.is_taking:
            self._seen_mark, self._disk_answered_s = self._store.synced_mark, self._clock()
        return self._clock() - self._disk_answered_s > DISK_PATIENCE * self._timing.election_max_s

    def _tend_members(self) -> None:
        if self._office is not None and self.members.must_be_tended:
            if self.members.tend(self._office, has_authority=self.authority() is not None):
                self.hand_over()
                self.ask_to_take_over(None)
            self._notice_role()

    def _notice_role(self) -> None:
        """The library became leader, or is it no longer; the journal may name other members."""
        self.members.refresh(leads=self._office is not None)
        if not self._library.is_leader:
            if self._office is not None:
                self._office = None
                self._replication.end()
                self.members.step_down()
            return
        if self._office is None or self._office.term != self.term:
            self._office = Office(term=self.term, since_s=self._clock())
            self._first_of_term = self.journal.first_of_term(self.term) or self.journal.last_index
            self._replication.begin(self.members.followers)

    def _finish(self) -> None:
        self._notice_role()
        operations, mark = self.journal.take()
        if operations:
            self._store.write(operations, mark)
        self._absorb_sync()
        if self._office is not None:
            outgoing = self._replication.outgoing(term=self.term, commit_index=self.commit_index, now_s=self._clock())
            for peer, message in outgoing:
                self._outbox.send(peer, message)

    def _absorb_sync(self) -> None:
        self.journal.synced(self._store.synced_mark)
        self._outbox.release()
        self._report_matches()

    def _report_matches(self) -> None:
        for peer, index in self._replication.provable(self.voters):
            self._library.matched(peer, index)
