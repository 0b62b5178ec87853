"""Which member this node is, and who the others are.

Words: an *entry* is a line of RaftNodes, an address; a *slot* is the entry as it was when the cluster first started,
and it is a member's name for ever; a *node id* is random, made with the data directory, so an emptied disk has another.

The rule
- At the first start the slots are the entries. They are kept in the data directory, with this node's own slot, its node
  id and the cluster id, which is made of the slots: nodes with another list are another cluster and are refused.
- Later the entries tell only addresses. An entry equal to a slot is its address. If exactly one slot and exactly one
  entry are left over, that entry is the slot's new address: so nodes may move one after another, each time with one
  change of RaftNodes. Anything else is refused, because members do not come and go by editing a file.
- A data directory that belongs to another slot than the own entry says is refused: it was copied, or the file was.

This node's own entry is found by text (RaftAdvertise or RaftBind, with the default port), else by the address that the
entry resolves to.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.settings import Address, RaftSettings

Resolve = Callable[[Address], Awaitable[frozenset[str]]]
RETRY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """This node among the members."""

    slot: str
    node_id: str
    cluster_id: str
    addresses: Mapping[str, Address]
    """Where each slot can be reached now, this node's own included."""

    @property
    def others(self) -> tuple[str, ...]:
        return tuple(sorted(slot for slot in self.addresses if slot != self.slot))

    def facts(self) -> dict[str, str]:
        """What is kept in the data directory."""
        slots = " ".join(sorted(self.addresses))
        return {"slot": self.slot, "node_id": self.node_id, "cluster_id": self.cluster_id, "slots": slots}


def identify(facts: Mapping[str, str], entries: Sequence[Address], own: Address) -> Identity:
    """Who this node is, by what it has kept and what RaftNodes says. Raises StartupError."""
    if "slot" not in facts:
        slots = sorted(str(entry) for entry in entries)
        cluster_id = hashlib.sha256(" ".join(slots).encode()).hexdigest()[:16]
        addresses = {str(entry): entry for entry in entries}
        return Identity(slot=str(own), node_id=uuid.uuid4().hex, cluster_id=cluster_id, addresses=addresses)
    addresses = _bind(facts["slots"].split(), entries)
    if addresses.get(facts["slot"]) != own:
        raise StartupError(
            f"this data directory belongs to node {facts['slot']}, but by RaftNodes this node is {own}: give it its "
            "own RaftDataDir, or correct RaftAdvertise or RaftBind"
        )
    return Identity(slot=facts["slot"], node_id=facts["node_id"], cluster_id=facts["cluster_id"], addresses=addresses)


def _bind(slots: Sequence[str], entries: Sequence[Address]) -> dict[str, Address]:
    by_text = {str(entry): entry for entry in entries}
    bound = {slot: by_text[slot] for slot in slots if slot in by_text}
    moved = [slot for slot in slots if slot not in bound]
    new = [entry for text, entry in by_text.items() if text not in bound]
    if len(moved) == len(new) == 1:
        bound[moved[0]] = new[0]
    elif moved or new:
        raise StartupError(
            f"RaftNodes is {', '.join(by_text)}, but this cluster was started as {', '.join(slots)}: members do not "
            "change by editing RaftNodes, and addresses change one at a time; restore the list, or start this node "
            "with an empty RaftDataDir as part of another cluster"
        )
    return bound


async def own_entry(settings: RaftSettings, resolve: Resolve | None = None) -> Address:
    """The entry of RaftNodes that is this node. Raises StartupError, after waiting for names if need be."""
    entries = settings.entries()
    bind, advertise = settings.bind_address(), settings.advertise_address()
    if not entries:
        return advertise
    for known in (advertise, bind):
        if known in entries:
            return known
    found: list[Address] = []
    deadline_s = asyncio.get_running_loop().time() + settings.resolve_timeout_s
    while True:
        found, unresolved = await _entries_by_address(entries, bind, advertise, resolve or resolve_address)
        if len(found) == 1 or not unresolved or asyncio.get_running_loop().time() > deadline_s:
            break
        await asyncio.sleep(RETRY_S)
    if len(found) == 1:
        return found[0]
    listed = ", ".join(str(entry) for entry in entries)
    calls = f"{advertise}" if advertise == bind else f"{advertise} (bound to {bind})"
    cause = (
        f"{' and '.join(map(str, found))} could both be this node"
        if found
        else f"none is this node, which calls itself {calls}"
    )
    raise StartupError(
        f"RaftNodes lists {listed}, but {cause}: set RaftAdvertise or RaftBind to this node's entry, or add it"
    )


async def _entries_by_address(
    entries: Sequence[Address], bind: Address, advertise: Address, resolve: Resolve
) -> tuple[list[Address], bool]:
    """Entries at an address of this node, and whether a name did not resolve."""
    mine = await resolve(advertise) | await resolve(bind)
    found: list[Address] = []
    unresolved = not mine
    for entry in entries:
        theirs = await resolve(entry)
        unresolved = unresolved or not theirs
        here = bool(theirs & mine) or (bind.is_wildcard and any(_is_local(ip) for ip in theirs))
        if here and entry.port in (advertise.port, bind.port):
            found.append(entry)
    return found, unresolved


async def resolve_address(address: Address) -> frozenset[str]:
    """The IP addresses behind it; empty for a wildcard and for a name that does not resolve now."""
    if address.is_wildcard:
        return frozenset()
    if address.ip is not None:
        return frozenset({str(address.ip)})
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(2.0):
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return frozenset()
    return frozenset(str(ipaddress.ip_address(str(info[4][0]).partition("%")[0])) for info in found)


def _is_local(ip: str) -> bool:
    """Whether an address belongs to this machine: only such can be bound."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
    return True
