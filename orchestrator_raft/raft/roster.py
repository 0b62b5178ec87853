"""Whom this node knows, lets in and dials: its identity, and the members as its journal has them.

It changes while the node runs: a node that has nothing founds a cluster or is taken into one, and members come, go and
move. The rule of the first start is in ``identity``; here is its memory. ``complaint`` is what the handshake asks.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.identity import Identity, cluster_of
from orchestrator_raft.raft.members import Members
from orchestrator_raft.raft.membership import Configuration, Seat, founded
from orchestrator_raft.raft.messages import Hello
from orchestrator_raft.raft.settings import Address, parse_address

PATIENCE_S = 3.0
"""So long nodes of an empty list wait for those of it that have not answered."""


class Roster:
    """``members`` is given as soon as there is a replica; without one, ``identity`` says who the members are."""

    def __init__(self, identity: Identity, members: Members | None = None) -> None:
        self.slot = identity.slot
        self.node_id = identity.node_id
        self.cluster_id = identity.cluster_id
        self.founders = identity.founders
        self._entries = identity.addresses
        self._members = members
        self._have_nothing: set[str] = set()
        self._have_something: set[str] = set()

    # reading

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Where each member is, this node included; before it knows the members, where RaftNodes says."""
        own = {self.slot: self._entries[self.slot]}
        if self._members is None or not self._members.is_known:
            return {**self._entries, **own}
        return {slot: _address(text) for slot, text in self._members.peers.items()} | own

    @property
    def members(self) -> frozenset[str]:
        """The slots of the members and this node's own; before it knows the members, what RaftNodes says."""
        if self._members is None or not self._members.is_known:
            return frozenset(self.addresses)
        return self._members.configuration.slots | {self.slot}

    @property
    def others(self) -> tuple[str, ...]:
        """Whom it dials; who knows that it was removed leaves the others alone."""
        if self._members is not None and self._members.is_gone:
            return ()
        return tuple(sorted(slot for slot in self.addresses if slot != self.slot))

    @property
    def members_index(self) -> int:
        """Where the newest list of members stands in this node's log."""
        return self._members.index if self._members is not None else 0

    def seat(self, slot: str) -> Seat | None:
        return self._members.configuration.seat(slot) if self._members is not None else None

    def to_dial(self, slot: str) -> tuple[Address, ...]:
        """Where to look for a member: at its address, then at entries of RaftNodes that are nobody's."""
        addresses = self.addresses
        if slot not in addresses or addresses[slot] in self._entries.values():
            return (addresses[slot],) if slot in addresses else ()
        nobodys = [entry for entry in self._entries.values() if entry not in addresses.values()]
        return (addresses[slot], *nobodys)

    def facts(self) -> dict[str, str]:
        """What is kept in the data directory."""
        if not self.cluster_id:
            return {"node_id": self.node_id}
        return {"node_id": self.node_id, "slot": self.slot, "cluster_id": self.cluster_id,
                "slots": " ".join(self.founders)}  # fmt: skip

    def check_own_address(self) -> None:
        """Raises StartupError if this node stands where another member is."""
        own = self._entries[self.slot]
        configuration = self._members.configuration if self._members is not None else Configuration(())
        other = configuration.at(str(own))
        if other is not None and other.slot != self.slot:
            raise StartupError(
                f"this data directory belongs to node {self.slot}, but by RaftNodes this node is {own}, which is the "
                f"address of {other.slot}: give it its own RaftDataDir, or correct RaftAdvertise or RaftBind"
            )

    # the first start

    def is_new(self, term: int) -> bool:
        """Whether this node has nothing that a founder could harm."""
        return not self.cluster_id or (term == 0 and self.members_index == 0 and len(self.founders) > 1)

    def note(self, hello: Hello) -> None:
        """Somebody who belongs has said who it is, whether it is then let in or not."""
        same = hello.is_new and hello.slots == " ".join(sorted(self._entries))
        (self._have_nothing if same else self._have_something).add(hello.slot)
        (self._have_something if same else self._have_nothing).discard(hello.slot)

    def to_found(self, waited_s: float) -> Configuration | None:
        """The first configuration, if the cluster is to be founded now; this node belongs to it then."""
        agreed = len(self._have_nothing) + 1
        enough = agreed == len(self._entries) or (agreed > len(self._entries) // 2 and waited_s >= PATIENCE_S)
        if self.cluster_id or self._have_something or not enough:
            return None
        self.cluster_id = cluster_of(self._entries.values())
        self.founders = tuple(sorted(self._entries))
        return founded(self.founders)

    def taken_in(self, cluster_id: str) -> bool:
        """A leader of that cluster sends to this node; says whether this is new."""
        if self.cluster_id:
            return False
        self.cluster_id = cluster_id
        return True

    # whom to let in

    def complaint(self, hello: Hello) -> str:
        """Why the node that says ``hello`` is no peer, as text for people; empty if it is one."""
        ours, theirs = " ".join(sorted(self._entries)), hello.slots
        both_new = not self.cluster_id and not hello.cluster_id
        if both_new and ours != theirs:
            return (
                f"RaftNodes differ: {hello.slot} was started with '{theirs}', {self.slot} with '{ours}'; "
                "make them equal"
            )
        if self.cluster_id and hello.cluster_id not in ("", self.cluster_id):
            return (
                f"{hello.slot} belongs to cluster {hello.cluster_id}, {self.slot} to cluster {self.cluster_id}: if it "
                f"is to join this one, stop it, empty its RaftDataDir and run 'raftctl member add {hello.address}'"
            )
        if not self.cluster_id or self._members is None or not self._members.is_known:
            return ""
        return self._about_seat(hello, self._members.configuration.seat(hello.slot))

    def _about_seat(self, hello: Hello, seat: Seat | None) -> str:
        if hello.members_index > self.members_index and hello.cluster_id:
            return ""  # it knows more of the members than this node
        if seat is None and self._members is not None and hello.slot in self._members.peers:
            return ""  # it is just hearing of its removal, or that may still be undone
        if seat is None and hello.cluster_id:
            return (
                f"{hello.slot} was removed from the cluster: stop it, or run 'raftctl member add {hello.address}' to "
                "take it in again"
            )
        if seat is None:
            return f"{hello.slot} is no member of this cluster: run 'raftctl member add {hello.address}'"
        if seat.incarnation and seat.incarnation != hello.node_id:
            return (
                f"the data directory of {hello.slot} is not the one that it had, so it has forgotten what it promised: "
                f"run 'raftctl member remove {hello.slot}', then 'raftctl member add {hello.address}'"
            )
        return ""


def _address(text: str) -> Address:
    return parse_address(text, 1, "the address of a member")
