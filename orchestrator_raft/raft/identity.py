"""Which member this node is, by what its data directory has kept and what the configuration file says.

Words: an *entry* is a line of RaftNodes, an address; a *slot* is the address under which a member came into the
cluster, its name for ever; a *node id* is random, made with the data directory, so an emptied disk has another.

The rule of the first start
- A node with an empty directory has no cluster and no configuration: it neither votes nor campaigns.
- It founds a cluster when all other entries have told it in the handshake that they have nothing either, with the same
  list; or more than half, itself counted, when the others have not answered for a while. So a first start works in any
  order, and a newcomer or an emptied disk never founds a second cluster beside one that lives: the greeting of any one
  of its members, even of one that refuses it, says that there is something. Only if more than half of the disks are
  emptied at once while all other members are down does a new cluster come up; those others then refuse it.
- Having *nothing* means: no cluster yet, or just founded by the same list and no term begun. The cluster id is made of
  the list, so those who found at the same time found the same cluster.
- Otherwise it waits until a leader of the cluster sends it entries, which happens when it is a member there: because it
  was founded with it and comes late, or because people have added it (`raftctl member add`).
- With RaftNodes empty or naming only this node it founds at once: a single voter, which can grow. So whoever lets it
  grow should write the members into its RaftNodes, or its emptied disk would found again.

Later
- The members and their addresses are what the log says (``membership``). RaftNodes only names further addresses to try:
  for members whose address it does not list, those of its entries that are no member's.
- A node that has moved says so in its greeting, and the leader writes its new address down.
- A data directory whose own entry is another member's address is refused: it was copied, or the file was.

This node's own entry is found by text (RaftAdvertise or RaftBind, with the default port), else by the address that the
entry resolves to.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.settings import Address, RaftSettings

Resolve = Callable[[Address], Awaitable[frozenset[str]]]
RETRY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """This node at its start."""

    slot: str
    node_id: str
    cluster_id: str
    """Empty while it belongs to none."""
    addresses: Mapping[str, Address]
    """The entries of RaftNodes by their text, and this node's own address by its slot."""
    founders: tuple[str, ...] = ()
    """The slots with which it founded its cluster; none if it was let in."""


def cluster_of(entries: Iterable[Address]) -> str:
    """The id of the cluster that these entries found."""
    return hashlib.sha256(" ".join(sorted(str(entry) for entry in entries)).encode()).hexdigest()[:16]


def identify(facts: Mapping[str, str], entries: Sequence[Address], own: Address) -> Identity:
    """Who this node is, by what it has kept and what RaftNodes says."""
    addresses = {str(entry): entry for entry in entries}
    node_id = facts.get("node_id") or uuid.uuid4().hex
    if facts.get("cluster_id"):
        addresses = {text: entry for text, entry in addresses.items() if entry != own} | {facts["slot"]: own}
        return Identity(slot=facts["slot"], node_id=node_id, cluster_id=facts["cluster_id"], addresses=addresses,
                        founders=tuple(facts["slots"].split()))  # fmt: skip
    slot = str(own)
    if set(entries) <= {own}:
        return Identity(slot=slot, node_id=node_id, cluster_id=uuid.uuid4().hex[:16], addresses={slot: own},
                        founders=(slot,))  # fmt: skip
    return Identity(slot=slot, node_id=node_id, cluster_id="", addresses=addresses)


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
