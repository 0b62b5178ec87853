"""What stands around a replica in a node: who it is by its disk, whom it lets in, when it founds, which version runs.

``Roster``, the judgements of the handshake and the levels are the real ones; the order of calls is that of
``assembly``, ``Driver`` and ``Transport``. A node that meets a level which its version does not know cannot go on: that
is no broken promise, and ``is_outdated`` tells it from one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.raft import handshake
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.identity import Identity
from orchestrator_raft.raft.levels import Levels
from orchestrator_raft.raft.membership import UNKNOWN, Configuration, Contact
from orchestrator_raft.raft.messages import Append, Heartbeat, Hello, SnapshotPart
from orchestrator_raft.raft.replica import Replica
from orchestrator_raft.raft.roster import Roster
from orchestrator_raft.raft.settings import Address
from tests.raft import counting, next_version
from tests.raft.counting import Add

FROM_LEADERS = (Append, Heartbeat, SnapshotPart)
CODECS: Sequence[Any] = (counting.codec(), next_version.codec())
"""By version less one."""


def levels_of(version: int) -> Levels:
    return CODECS[version - 1].levels  # type: ignore[no-any-return]


def encoded(command: Add, version: int, level: int) -> bytes:
    """As a node of that version writes it in a cluster at that level; the newer one says two times instead of two."""
    if version == 1:
        return CODECS[0].encode_command(command, level)  # type: ignore[no-any-return]
    times = command.amount if level >= 2 else 1
    newer = next_version.Add(command.id, command.amount // times, command.padding, times)
    return CODECS[1].encode_command(newer, level)  # type: ignore[no-any-return]


def is_readable(data: bytes, version: int) -> bool:
    try:
        CODECS[version - 1].decode_command(data)
    except InvalidInput:
        return False
    return True


def is_outdated(error: BaseException, version: int) -> bool:
    return isinstance(error, InvalidInput) and version < len(CODECS)


def identity_of(name: str, facts: dict[str, str], entries: Sequence[str], life: int) -> Identity:
    """As ``identity.identify``, with names in place of addresses."""
    addresses = {entry: Address(entry, 1) for entry in entries}
    node_id = facts.get("node_id") or f"{name}{life}"
    if "cluster_id" in facts:
        cluster_id, founders = facts["cluster_id"], tuple(facts["slots"].split())
    elif list(entries) == [name]:
        cluster_id, founders = f"alone{life}", (name,)
    else:
        cluster_id, founders = "", ()
    return Identity(slot=name, node_id=node_id, cluster_id=cluster_id, addresses=addresses, founders=founders)


class Node:
    """One process: replica, roster and what its peers said of themselves. The facts still have to be saved."""

    def __init__(self, identity: Identity, replica: Replica, levels: Levels, now_s: float) -> None:
        self.roster = Roster(identity, replica.members)
        self._replica = replica
        self._levels = levels
        self._started_s = now_s
        self._greetings: dict[str, Hello] = {}
        self._members_version = -1

    def unsaved(self, facts: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in self.roster.facts().items() if facts.get(name) != value}

    # meeting others

    def dials(self, peer: str) -> bool:
        return peer in self.roster.others

    @property
    def hello(self) -> Hello:
        me, levels = self.roster, self._levels
        return Hello(
            slot=me.slot, node_id=me.node_id, boot_id="", cluster_id=me.cluster_id, address=me.slot, version="",
            slots=" ".join(sorted(me.addresses)), level=self._replica.members.level, oldest_level=levels.oldest,
            newest_level=levels.newest, members_index=me.members_index, is_new=me.is_new(self._replica.term),
        )  # fmt: skip

    def meet(self, hello: Hello) -> bool:
        """Whether the node that says this is let in."""
        self.roster.note(hello)
        try:
            handshake.judge(self.roster, hello.slot, hello)
            handshake.judge_levels(self._levels, self._replica.members.level, hello)
        except ProtocolError:
            return False
        self._greetings[hello.slot] = hello
        return True

    def greeting(self, peer: str) -> Hello | None:
        """What it said of itself."""
        return self._greetings.get(peer)

    def contact(self, peer: str) -> Contact:
        hello = self._greetings.get(peer)
        if hello is None:
            return UNKNOWN
        return Contact(incarnation=hello.node_id, address=hello.address, newest_level=hello.newest_level,
                       members_index=hello.members_index)  # fmt: skip

    def strangers(self) -> list[str]:
        """Who is not to stay connected, now that other members may be known. Asked after every step."""
        if self._replica.members.version == self._members_version:
            return []
        self._members_version = self._replica.members.version
        return [peer for peer, hello in self._greetings.items() if self.roster.complaint(hello)]

    # becoming a member

    def to_found(self, now_s: float) -> Configuration | None:
        return None if self.roster.cluster_id else self.roster.to_found(now_s - self._started_s)

    def is_taken_in(self, peer: str, message: object) -> bool:
        """A leader sends: from now on this node belongs to its cluster. Says whether this is new."""
        hello = self._greetings.get(peer)
        return hello is not None and isinstance(message, FROM_LEADERS) and self.roster.taken_in(hello.cluster_id)


def entries_of(name: str, founders: Sequence[str]) -> list[str]:
    """What RaftNodes says there: the founders, and itself."""
    return sorted({*founders, name})
