"""The face of consensus: one node, for asyncio (design D5). The only class that the composition root needs from here.

Rules
- The parts are put together in ``assembly``, the ``driver`` feeds them; here is what callers may ask.
- A node that cannot keep its word stops: it gives up authority, drops its connections, tells every caller that waits
  and calls ``on_fatal`` once; the process should then end with the message and a non-zero code.
- ``propose`` and ``barrier`` work on every node; on a follower they travel to the leader over the channel.
- A node's id is its slot: its entry in RaftNodes when the cluster first started (``identity``).
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from orchestrator_raft.core.errors import InvalidInput, Refused, StartupError, Unavailable
from orchestrator_raft.raft import overview
from orchestrator_raft.raft.assembly import Parts, assemble
from orchestrator_raft.raft.changes import Ask, Changes, address_of
from orchestrator_raft.raft.channel import Channel
from orchestrator_raft.raft.driver import Driver, OnFatal
from orchestrator_raft.raft.identity import own_entry
from orchestrator_raft.raft.lease import Authority
from orchestrator_raft.raft.machine import Machine, MachineCodec, Replicated
from orchestrator_raft.raft.proposals import Subscription
from orchestrator_raft.raft.recover import FACT as RECOVERED
from orchestrator_raft.raft.replica import Replica
from orchestrator_raft.raft.selftest import self_test
from orchestrator_raft.raft.settings import RaftSettings
from orchestrator_raft.raft.status import Member, RaftStatus, describe, describe_members

S = TypeVar("S")
C = TypeVar("C")
R = TypeVar("R")

PROPOSE, READ_INDEX = "raft.propose", "raft.read-index"
ASK_S = 0.5
"""How long a follower waits for the leader to take a command or to name an index, before it asks again."""
RESUBMIT_S = 2.0
RETRY_S = 0.1


class RaftNode(Generic[S, C, R]):
    """``on_fatal`` hears once of the error that stopped this node. What ``machine`` must be: ``machine.Machine``."""

    def __init__(self, settings: RaftSettings, machine: Machine[S, C, R], codec: MachineCodec[S, C], *,
                 on_fatal: OnFatal) -> None:  # fmt: skip
        self._settings = settings
        self._codec = codec
        self._driver = Driver(on_fatal, settings.limits.pending_proposals, settings.timing.tick_s)
        self._replicated: Replicated[S, C, R] = Replicated(machine, codec, self._driver.command_applied)
        self._parts: Parts | None = None
        self._is_stopped = False
        self.channel: Channel = self._driver.channel
        self._changes = Changes(self._driver, self.channel, lambda: self._replica)
        self.channel.serve(PROPOSE, self._serve_proposal)
        self.channel.serve(READ_INDEX, self._serve_read_index)
        self.channel.serve(overview.STATUS, self._serve_status)

    # life

    async def start(self) -> None:
        """Until the node listens, has read its disk and ticks. Raises StartupError: one line, cause and way out."""
        self_test()
        settings, driver = self._settings, self._driver
        own = await own_entry(settings) if settings.enabled else settings.advertise_address()
        self._parts = parts = assemble(settings, own, self._replicated, driver)
        driver.transport, driver.roster = parts.transport, parts.roster
        self.channel.open(parts.roster.slot, parts.transport)
        try:
            driver.run(parts.replica)
            if parts.transport is not None:
                await parts.transport.start(settings.bind_address())
            if driver.failure is not None:
                raise StartupError(f"this node cannot start: {driver.failure}") from driver.failure
        except BaseException:
            await self.stop()
            raise
        driver.tasks.start("ticks", driver.keep_ticking())

    async def stop(self) -> None:
        """Close everything; callers that wait get Unavailable. To hand leadership over first, call ``transfer``."""
        self._driver.halt("this node is stopping: ask another node")
        if self._parts is None or self._is_stopped:
            return
        self._is_stopped = True
        if self._parts.transport is not None:
            await self._parts.transport.close()
        await self._driver.tasks.close()
        await self._parts.release()

    # reading

    @property
    def node_id(self) -> str:
        return self._known.roster.slot

    @property
    def state(self) -> S:
        """The newest applied state; immutable, so reading is free."""
        return self._replicated.state

    @property
    def applied_index(self) -> int:
        return self._parts.replica.applied_index if self._parts is not None else 0

    @property
    def term(self) -> int:
        return self._parts.replica.term if self._parts is not None else 0

    def authority(self) -> Authority | None:
        """The right to act, now; ask again before each act. ``until_s`` is on CLOCK_BOOTTIME."""
        return self._driver.authority()

    def leader(self) -> str | None:
        """The id of the leader, as far as this node knows."""
        return self._driver.leader()

    def members(self) -> tuple[Member, ...]:
        parts = self._known
        return describe_members(parts.roster, parts.replica, parts.transport)

    def status(self) -> RaftStatus:
        parts = self._known
        return describe(
            parts.roster, parts.replica, parts.transport, parts.store,
            digest=self._replicated.digest.hex(), is_running=self._driver.is_running, failure=self._driver.failure,
        )  # fmt: skip

    async def overview(self) -> overview.Overview:
        """``status`` of every member, as plain values; of those that do not answer soon, why."""
        return await overview.overview(self.status(), self.channel)

    async def snapshot(self, *, timeout_s: float) -> int:
        """Take a snapshot and trim the journal; gives its index once it is on disk. Raises Unavailable."""
        index, deadline_s = self.applied_index, _now_s() + timeout_s
        while (newest := self._replica.snapshot()) is None or newest.index < index:
            if _now_s() >= deadline_s:
                raise Unavailable(f"{self.node_id} has not saved a snapshot within {timeout_s:g} s: see its disk")
            self.compact()
            await asyncio.sleep(RETRY_S)
        return newest.index

    @property
    def unreported_recovery(self) -> str:
        """What ``recover`` did to this node's store, until somebody says that it is in the audit trail."""
        return self._known.recovery

    def recovery_is_reported(self) -> None:
        self._driver.step(self._replica.save_facts, {RECOVERED: ""})

    def compact(self) -> None:
        """Take a snapshot and trim the journal soon, whatever its size."""
        self._driver.step(self._replica.compact)

    def subscribe(self) -> Subscription:
        """Changes of applied index, term, leader and authority; newest only."""
        return self._driver.publisher.subscribe()

    @property
    def _known(self) -> Parts:
        if self._parts is None:
            raise Unavailable("this node has not been started")
        return self._parts

    @property
    def _replica(self) -> Replica:
        """The replica of a running node. Raises Unavailable with the reason where it is not running."""
        if not self._driver.is_running:
            cause = f" ({self._driver.failure})" if self._driver.failure is not None else ""
            raise Unavailable(f"this node is not running{cause}: ask another node")
        return self._known.replica

    # writing and reading through the leader

    async def propose(self, command: C, *, timeout_s: float) -> R:
        """The result of ``command`` once it is committed and applied here.

        Raises InvalidInput if it is too large or unknown, Unavailable if nobody took it in time, or if somebody did and
        its outcome is not known yet: then propose it again under the same id, which has no second effect.
        """
        data = self._encoded(command)
        deadline_s = _now_s() + timeout_s
        was_taken = False
        with self._driver.proposals.command(command.id) as applied:  # type: ignore[attr-defined]
            while not applied.done():
                left_s = deadline_s - _now_s()
                if left_s <= 0:
                    raise _too_late(command, timeout_s, was_taken)
                taken = await self._hand_in(data, min(left_s, ASK_S))
                was_taken = was_taken or taken
                left_s = deadline_s - _now_s()
                await self._driver.publisher.turned(min(left_s, RESUBMIT_S if taken else RETRY_S), applied)
            result: R = applied.result()
            return result

    async def barrier(self, *, timeout_s: float) -> None:
        """Returns when this node has applied everything that was committed when it was called. Raises Unavailable."""
        deadline_s = _now_s() + timeout_s
        while (index := await self._read_index(deadline_s)) is None:
            if _now_s() >= deadline_s:
                raise Unavailable(f"no leader with authority answered within {timeout_s:g} s; ask again")
            await self._driver.publisher.turned(min(RETRY_S, deadline_s - _now_s()))
        if self.applied_index >= index:
            return
        with self._driver.proposals.index(index) as reached:
            await asyncio.wait([reached], timeout=max(0.0, deadline_s - _now_s()))
            if not reached.done():
                raise Unavailable(f"this node did not catch up to entry {index} within {timeout_s:g} s; ask again")
            reached.result()

    async def transfer(self, node_id: str | None, *, timeout_s: float) -> None:
        """Hand leadership to ``node_id``, or to whoever has most. This node's authority ends at once and for its term.

        Raises InvalidInput for an unknown node, Refused where there is nothing to hand over, Unavailable when nobody
        took over in time; then this node steps down by itself and an ordinary election follows.
        """
        replica = self._replica
        self._check_transfer(replica, node_id)
        replica.hand_over()
        deadline_s = _now_s() + timeout_s
        while _now_s() < deadline_s:
            self._driver.step(replica.ask_to_take_over, node_id)
            await self._driver.publisher.turned(min(2 * RETRY_S, deadline_s - _now_s()))
            if self.leader() not in (None, self.node_id):
                return
        raise Unavailable(f"nobody took over from {self.node_id} within {timeout_s:g} s; see its members")

    def _check_transfer(self, replica: Replica, node_id: str | None) -> None:
        if node_id is not None and node_id not in replica.voters:
            raise InvalidInput(f"'{node_id}' is no member; members are {', '.join(sorted(replica.voters))}")
        if not replica.is_leader or node_id == self.node_id:
            raise Refused(f"{self.node_id} does not lead, or is to hand over to itself; the leader is {self.leader()}")
        connected = [member.id for member in self.members() if member.is_connected and member.id in replica.others]
        if not connected or (node_id is not None and node_id not in connected):
            missing = f"{node_id} is not" if node_id is not None else "no other node is"
            raise Refused(f"{missing} connected to {self.node_id}, so nobody can take over")

    # members

    async def add_member(self, address: str, *, timeout_s: float) -> str:
        """Take the node at ``address`` in; gives its slot once it is committed as a learner. It votes by itself later.

        This and the next two raise InvalidInput, Refused with the reason, or Unavailable: then look at ``members``.
        """
        added = address_of(address, self._settings.default_port)
        await self._changes.carry_out(Ask("add", address=added), timeout_s=timeout_s)
        return added

    async def remove_member(self, member: str, *, timeout_s: float) -> None:
        """Take a member out, named by slot or address; a leader hands over first."""
        await self._changes.carry_out(Ask("remove", old=member), timeout_s=timeout_s)

    async def replace_member(self, old: str, address: str, *, timeout_s: float) -> str:
        """``add_member`` and, as soon as the new one votes, ``remove_member``, whoever leads then."""
        added = address_of(address, self._settings.default_port)
        await self._changes.carry_out(Ask("replace", old=old, address=added), timeout_s=timeout_s)
        return added

    async def _hand_in(self, data: bytes, timeout_s: float) -> bool:
        """Whether a leader took the command, or may have taken it."""
        replica, transport, leader = self._replica, self._known.transport, self.leader()
        if leader == replica.me:
            return bool(self._driver.step(replica.submit, data))
        if leader is None or transport is None or not transport.is_connected(leader):
            return False
        try:
            await self.channel.call(leader, PROPOSE, data, timeout_s=timeout_s)
        except Refused:
            return False
        except Unavailable:
            return True
        return True

    async def _read_index(self, deadline_s: float) -> int | None:
        """An index that includes everything committed by now, as a leader with authority names it."""
        replica, leader = self._replica, self.leader()
        if leader == replica.me:
            return replica.commit_index if self.authority() is not None else None
        if leader is None:
            return None
        try:
            answer = await self.channel.call(
                leader, READ_INDEX, b"", timeout_s=min(ASK_S, max(0.0, deadline_s - _now_s()))
            )
        except (Refused, Unavailable):
            return None
        return int(answer)

    async def _serve_proposal(self, node_id: str, data: bytes) -> bytes:
        """Takes a command into the log; the caller sees by itself what becomes of it."""
        if len(data) > self._settings.limits.command_bytes:
            raise InvalidInput(f"a command of {len(data)} bytes from {node_id} is too large")
        self._codec.decode_command(data)
        if not self._driver.step(self._replica.submit, data):
            raise Refused(f"{self.node_id} does not take commands now; the leader is {self.leader()}")
        return b""

    async def _serve_status(self, node_id: str, payload: bytes) -> bytes:
        del node_id, payload
        return overview.encode(self.status())

    async def _serve_read_index(self, node_id: str, payload: bytes) -> bytes:
        del payload
        if self.authority() is None:
            raise Refused(f"{self.node_id} cannot answer {node_id}, it has no authority; the leader is {self.leader()}")
        return str(self._replica.commit_index).encode()

    def _encoded(self, command: C) -> bytes:
        data = self._codec.encode_command(command, self._known.replica.members.level)
        limit = self._settings.limits.command_bytes
        if len(data) > limit:
            raise InvalidInput(
                f"a {type(command).__name__} of {len(data)} bytes is too large, at most {limit}: divide it"
            )
        return data


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _too_late(command: object, timeout_s: float, was_taken: bool) -> Unavailable:
    command_id = getattr(command, "id", "")
    if not was_taken:
        return Unavailable(
            f"no leader took {type(command).__name__} {command_id} within {timeout_s:g} s: nothing was done"
        )
    return Unavailable(
        f"the outcome of {type(command).__name__} {command_id} is unknown after {timeout_s:g} s: it may still be "
        "applied. Ask again with the same id, which never applies it twice"
    )
