"""Changes of the members that people ask for: on any node, carried out by the leader, with one deadline over all.

Rules
- The leader refuses what ``membership`` finds wrong, with the reason; what only has to wait (another change is under
  way, no authority yet) is waited for within the deadline.
- An answer means: committed. What follows from a change (a learner is promoted, a replaced member goes) is the leaders'
  work and goes on by itself.
- The leader may change in between, not least because it is the one to be removed. Then the next one is asked *again*,
  and a change that is found done is a success.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import astuple, dataclass

import msgpack

from orchestrator_raft.core.errors import InvalidInput, Refused, StartupError, Unavailable
from orchestrator_raft.raft import membership
from orchestrator_raft.raft.channel import Channel
from orchestrator_raft.raft.driver import Driver
from orchestrator_raft.raft.membership import Configuration, Standing
from orchestrator_raft.raft.packed import unpacked
from orchestrator_raft.raft.replica import Replica
from orchestrator_raft.raft.settings import parse_address

CHANGE = "raft.change-members"
RETRY_S = 0.1
ATTEMPT_S = 10.0
"""At most so long one leader works on one change."""
SEEN_S = 1.0
VERBS = ("add", "remove", "replace")


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for. ``old`` is a slot or an address, ``address`` where a new member is."""

    verb: str
    old: str = ""
    address: str = ""
    again: bool = False
    """It was asked for before, with an outcome that nobody heard."""

    def packed(self) -> bytes:
        data: bytes = msgpack.packb(astuple(self), use_bin_type=True)
        return data

    def wanted(self, configuration: Configuration, leader: str) -> Configuration:
        """What it makes of the members. Raises Refused or InvalidInput."""
        if self.verb == "add":
            return membership.added(configuration, self.address)
        old = configuration.at(self.old) or configuration.seat(self.old)
        if old is None:
            raise membership.unknown(configuration, self.old)
        if self.verb == "remove":
            return membership.removed(configuration, old.slot, leader)
        return membership.added(configuration, self.address, replaces=old.slot)

    def is_done(self, configuration: Configuration) -> bool:
        if self.verb == "remove":
            return (configuration.at(self.old) or configuration.seat(self.old)) is None
        return configuration.at(self.address) is not None

    def is_under_way(self, configuration: Configuration) -> bool:
        """Nothing more has to be asked: the leaders go on by themselves."""
        old = configuration.at(self.old) or configuration.seat(self.old)
        return self.verb == "remove" and old is not None and old.leaving


def unpack(data: bytes) -> Ask:
    """Raises InvalidInput for anything that ``packed`` did not make."""
    try:
        verb, old, address, again = unpacked(data, arrays=tuple, maps=False)[:4]
        if verb not in VERBS or type(old) is not str or type(address) is not str or type(again) is not bool:
            raise ValueError("a field is malformed")
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{len(data)} bytes ask for no change of the members: {error}") from error
    return Ask(verb, old, address, again)


def address_of(text: str, default_port: int) -> str:
    """An address as members have it. Raises InvalidInput."""
    try:
        address = parse_address(text, default_port, "the new member")
    except StartupError as error:
        raise InvalidInput(str(error)) from error
    if address.is_wildcard:
        raise InvalidInput(f"'{text}' stands for every address of a machine: name one by which the others reach it")
    return str(address)


class Changes:
    """``replica`` gives the running replica or raises Unavailable."""

    def __init__(self, driver: Driver, channel: Channel, replica: Callable[[], Replica]) -> None:
        self._driver = driver
        self._channel = channel
        self._replica = replica
        channel.serve(CHANGE, self._serve)

    async def carry_out(self, ask: Ask, *, timeout_s: float) -> None:
        """Until it is committed. Raises Refused and InvalidInput with the reason, Unavailable when time runs out."""
        deadline_s = _now_s() + timeout_s
        last = "no leader is known"
        while (left_s := deadline_s - _now_s()) > 0:
            replica, leader = self._replica(), self._driver.leader()
            if ask.again and self._is_committed(replica) and ask.is_done(replica.members.configuration):
                return
            if leader is not None:
                try:
                    await self._channel.call(leader, CHANGE, ask.packed(), timeout_s=min(left_s, ATTEMPT_S))
                    await self._until_seen(ask, replica)
                    return
                except Unavailable as error:
                    last = str(error)
                    ask = Ask(ask.verb, ask.old, ask.address, again=True)
            await self._driver.publisher.turned(min(RETRY_S, max(0.0, deadline_s - _now_s())))
        raise Unavailable(
            f"'{ask.verb} {ask.address or ask.old}' was not confirmed within {timeout_s:g} s ({last}): "
            "'raftctl member list' shows whether it happened"
        )

    async def _until_seen(self, ask: Ask, replica: Replica) -> None:
        """So that whoever asked sees the change on this node, too; one that was removed may never."""
        deadline_s = _now_s() + SEEN_S
        while not ask.is_done(replica.members.configuration) and _now_s() < deadline_s:
            await self._driver.publisher.turned(RETRY_S / 4)

    async def _serve(self, node_id: str, data: bytes) -> bytes:
        del node_id
        await self._lead(unpack(data), _now_s() + ATTEMPT_S)
        return b""

    async def _lead(self, ask: Ask, deadline_s: float) -> None:
        """The leader's part. The caller's deadline travels with the call and may end this earlier."""
        asked = ask.again
        while True:
            replica = self._replica()
            standing = replica.standing()
            if standing is None:
                raise Unavailable(f"{replica.me} does not lead any more: ask again")
            reason = membership.not_yet(standing)
            if not reason and asked and ask.is_done(standing.configuration):
                return
            if not reason and not ask.is_under_way(standing.configuration):
                self._append(ask, replica, standing)
                asked = True
            if _now_s() >= deadline_s:
                raise Refused(reason or f"{ask.old} is leaving: 'raftctl member list' shows when it is gone")
            await self._driver.publisher.turned(RETRY_S / 4)

    def _append(self, ask: Ask, replica: Replica, standing: Standing) -> None:
        """Nothing is awaited between finding it right and appending it."""
        wanted = ask.wanted(standing.configuration, replica.me)
        if complaint := membership.quorum_complaint(standing, wanted):
            raise Refused(complaint)
        if self._driver.step(replica.set_members, wanted) is None:
            raise Unavailable(f"{replica.me} is stopping: ask again")

    @staticmethod
    def _is_committed(replica: Replica) -> bool:
        return replica.commit_index >= replica.members.index


def _now_s() -> float:
    return asyncio.get_running_loop().time()
