"""What a node does with what a leader sends it: entries, heartbeats, a snapshot in pieces.

Every accepted message is answered twice: at once with the lease ack, which is about time alone, and, once the journal
is on disk, with what this node has. A leader of an older term is told the newer one; two leaders of one term cannot be,
and end the node.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator_raft.raft import appends
from orchestrator_raft.raft.elections import Elections
from orchestrator_raft.raft.journal import Journal
from orchestrator_raft.raft.messages import Ack, Append, Heartbeat, LeaseAck, NewerTerm, SnapshotPart, SnapshotProgress
from orchestrator_raft.raft.outbox import Outbox
from orchestrator_raft.raft.seam import Library
from orchestrator_raft.raft.snapshots import Compaction, Incoming


class Following:
    """``leads`` tells whether this node leads itself."""

    def __init__(self, journal: Journal, library: Library, elections: Elections, outbox: Outbox, *,
                 incoming: Incoming, compaction: Compaction, leads: Callable[[], bool]) -> None:  # fmt: skip
        self._journal = journal
        self._library = library
        self._elections = elections
        self._outbox = outbox
        self._incoming = incoming
        self._compaction = compaction
        self._leads = leads

    def append(self, peer: str, message: Append) -> None:
        if not self._accepts(peer, message.term):
            return
        asked = appends.Append(message.prev_index, message.prev_term, message.entries, message.commit_index)
        plan = appends.plan(self._journal, self._library.commit_index, asked)
        self._library.append(peer, message.term, plan.shown)
        self._outbox.send(peer, LeaseAck(message.term, message.sent_s))
        answer = plan.answer
        self._outbox.send(peer, Ack(message.term, message.prev_index, answer.next_index, answer.success))

    def heartbeat(self, peer: str, message: Heartbeat) -> None:
        if self._accepts(peer, message.term):
            self._library.append(peer, message.term, appends.heartbeat(self._journal))
            self._outbox.send(peer, LeaseAck(message.term, message.sent_s))

    def snapshot_part(self, peer: str, message: SnapshotPart) -> None:
        if not self._accepts(peer, message.term):
            return
        offset, data = self._incoming.add(peer, message)
        if data is not None:
            next_index = self._compaction.install(peer, message.term, data, self._library)
            self._outbox.send(peer, Ack(message.term, message.index, next_index, success=True))
        self._outbox.send(peer, SnapshotProgress(message.term, message.index, offset))

    def _accepts(self, peer: str, term: int) -> bool:
        """Whether ``peer`` leads in ``term`` for all this node knows. A leader of an older term is told so."""
        if term < self._library.term:
            self._outbox.send(peer, NewerTerm(self._library.term))
            return False
        if term == self._library.term and self._leads():
            raise appends.Diverged(f"{peer} and this node both lead in term {term}")
        self._elections.heard()
        return True
