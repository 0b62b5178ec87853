"""Feeds the replica with what happens: ticks, messages, connections, syncs. One step at a time, in the one loop.

Rules
- Every step is the same: call the replica, then tell whoever waits what changed. Nothing is awaited inside.
- An exception in a step is final. Authority ends, connections are dropped, callers that wait get Unavailable, the owner
  hears once (``on_fatal``), and the replica is not called again: to go on could apply something twice or never.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from orchestrator_raft.core.errors import Unavailable
from orchestrator_raft.raft.alarm import Alarm
from orchestrator_raft.raft.channel import Channel
from orchestrator_raft.raft.clock import boot_time_s
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.lease import Authority
from orchestrator_raft.raft.membership import UNKNOWN, Contact
from orchestrator_raft.raft.messages import (
    Append,
    Call,
    CallCancel,
    CallCredit,
    CallFailure,
    CallPart,
    Heartbeat,
    Hello,
    Message,
    SnapshotPart,
)
from orchestrator_raft.raft.proposals import Change, Proposals, Publisher
from orchestrator_raft.raft.replica import Replica
from orchestrator_raft.raft.roster import Roster
from orchestrator_raft.raft.transport import Transport
from orchestrator_raft.tasks import Tasks

log = logging.getLogger("orchestrator_raft.raft")
FROM_LEADERS = (Append, Heartbeat, SnapshotPart)
CALLS = (Call, CallPart, CallFailure, CallCredit, CallCancel)
OnFatal = Callable[[BaseException], None]


class Driver:
    """``replica``, ``roster`` and ``transport`` are put in while the node starts; from ``run`` on, steps happen."""

    def __init__(self, on_fatal: OnFatal, pending_proposals: int, tick_s: float) -> None:
        self._on_fatal = on_fatal
        self._tick_s = tick_s
        self._alarm = Alarm()
        self.tasks = Tasks("raft", lambda _, error: self.fail(error))
        self.channel = Channel(self.tasks)
        self.proposals = Proposals(pending_proposals)
        self.publisher = Publisher()
        self.replica: Replica | None = None
        self.transport: Transport | None = None
        self.roster: Roster | None = None
        self._members_version = 0
        self._started_s = 0.0
        self.failure: BaseException | None = None
        self._is_running = False

    @property
    def is_running(self) -> bool:
        return self._is_running

    def run(self, replica: Replica) -> None:
        self.replica = replica
        self._started_s = asyncio.get_running_loop().time()
        self._is_running = True
        self.step(replica.tick)

    def halt(self, reason: str) -> None:
        """No step happens any more; whoever waits is told ``reason``."""
        self._is_running = False
        self.proposals.fail(lambda: Unavailable(reason))
        self._publish()

    def step(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """The result of ``action``; None when the node is not running. Raises ProtocolError only."""
        if not self._is_running:
            return None
        try:
            result = action(*arguments)
        except ProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - ``fail`` hands it to the owner, who ends the process
            self.fail(error)
            return None
        self._follow_members()
        self._publish()
        self._alarm.set(self._until_due_s())
        return result

    def _follow_members(self) -> None:
        """The links are those of the members."""
        if self.replica is None or self.transport is None or self.replica.members.version == self._members_version:
            return
        self._members_version = self.replica.members.version
        self.transport.follow()

    def fail(self, error: BaseException) -> None:
        """Something that may never happen has happened."""
        if self.failure is not None:
            return
        self.failure = error
        log.critical("this node stops: %s: %s", type(error).__name__, error, exc_info=error)
        self.halt(f"this node has stopped ({error}): ask another node")
        if self.transport is not None:
            self.transport.abort()
        self._on_fatal(error)

    def authority(self) -> Authority | None:
        return self.replica.authority() if self.replica is not None and self._is_running else None

    def leader(self) -> str | None:
        return self.replica.leader if self.replica is not None and self._is_running else None

    def _publish(self) -> None:
        if self.replica is None:
            return
        applied_index = self.replica.applied_index
        self.proposals.reached(applied_index)
        self.publisher.publish(
            Change(
                applied_index=applied_index,
                term=self.replica.term,
                leader=self.leader(),
                has_authority=self.authority() is not None,
            )
        )

    async def keep_ticking(self) -> None:
        while self.replica is not None:
            await self._alarm.wait(self._until_due_s())
            self._found_if_due()
            if not self.replica.rests():
                self.step(self.replica.tick)

    def _until_due_s(self) -> float:
        """How long the replica may be left alone; not shorter than ``tick_s`` if it has something under way now."""
        if self.replica is None or (self.roster is not None and not self.roster.cluster_id):
            return self._tick_s
        left_s = self.replica.due_s() - boot_time_s()
        return left_s if left_s > 0 else self._tick_s

    # what the machine, the store and the transport tell

    def command_applied(self, index: int, command: Any, result: Any) -> None:
        del index
        self.proposals.applied(command.id, result)

    def synced(self) -> None:
        if self.replica is not None:
            self.step(self.replica.synced)

    def peer_connected(self, slot: str) -> None:
        if self.replica is None:
            return
        self.step(self.replica.connected, slot, _contact(self._greeting(slot)))
        self._found_if_due()

    def _found_if_due(self) -> None:
        """The rule of the first start (``identity``)."""
        if not self._is_running or self.roster is None or self.replica is None or self.roster.cluster_id:
            return
        configuration = self.roster.to_found(asyncio.get_running_loop().time() - self._started_s)
        if configuration is not None:
            self._save_roster()
            self.step(self.replica.found, configuration)

    def _greeting(self, slot: str) -> Hello | None:
        """What the peer said of itself."""
        link = self.transport.links.get(slot) if self.transport is not None else None
        return link.active.peer if link is not None and link.active is not None else None

    def _save_roster(self) -> None:
        assert self.replica is not None and self.roster is not None
        self.step(self.replica.save_facts, self.roster.facts())

    def _notice_leader(self, slot: str) -> None:
        """To be sent entries is to be let in: from then on this node belongs to that cluster."""
        hello = self._greeting(slot)
        if hello is not None and self.roster is not None and self.roster.taken_in(hello.cluster_id):
            self._save_roster()

    def peer_disconnected(self, slot: str) -> None:
        self.channel.disconnected(slot)
        if self.replica is not None:
            self.step(self.replica.disconnected, slot)

    def peer_said(self, slot: str, messages: Sequence[Message]) -> None:
        raft = [message for message in messages if not isinstance(message, CALLS)]
        if any(isinstance(message, FROM_LEADERS) for message in raft):
            self._notice_leader(slot)
        if raft and self.replica is not None:
            self.step(self.replica.received, slot, raft)
        for message in messages:
            if isinstance(message, CALLS):
                self.channel.received(slot, message)

    def deliver(self, slot: str, message: Message) -> None:
        """What the replica sends; a link that is down loses it."""
        if self.transport is not None:
            self.transport.send(slot, message)


def _contact(hello: Hello | None) -> Contact:
    if hello is None:
        return UNKNOWN
    return Contact(incarnation=hello.node_id, address=hello.address, newest_level=hello.newest_level,
                   members_index=hello.members_index)  # fmt: skip
