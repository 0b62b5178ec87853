"""Nothing leaves a node before what it promises is on disk (design D5).

Each message waits for a mark of the journal: a vote and everything that names a term for the newest change of term or
vote, an ack for the newest change of the log. A leader's entries promise nothing about its own disk and go at once.
Order is kept among messages that wait for the same thing; a later one that waits for less may go first.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator_raft.raft.journal import Journal
from orchestrator_raft.raft.messages import Ack, RaftMessage

Deliver = Callable[[str, RaftMessage], None]


class Outbox:
    def __init__(self, journal: Journal, deliver: Deliver) -> None:
        self._journal = journal
        self._deliver = deliver
        self._held: list[tuple[int, str, RaftMessage]] = []

    def __len__(self) -> int:
        return len(self._held)

    def send(self, peer: str, message: RaftMessage) -> None:
        """Now, or when the disk has what ``message`` promises."""
        mark = self._journal.term_mark
        if isinstance(message, Ack):
            mark = max(mark, self._journal.log_mark)
        if self._journal.is_synced(mark):
            self._deliver(peer, message)
        else:
            self._held.append((mark, peer, message))

    def release(self) -> None:
        """After a sync."""
        held, self._held = self._held, []
        for mark, peer, message in held:
            if self._journal.is_synced(mark):
                self._deliver(peer, message)
            else:
                self._held.append((mark, peer, message))

    def forget(self, peer: str) -> None:
        """The connection is gone, and what waited for it with it."""
        self._held = [waiting for waiting in self._held if waiting[1] != peer]
