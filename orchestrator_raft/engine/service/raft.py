"""The Raft cluster itself: who is in it and how they are, leadership handed over, snapshots on request.

A node is named by its Raft address, or by the host in it where that is enough. The peers' routes ``raft-yield`` and
``raft-yield-hint`` answer only on the leader, as they do there; ``raft-transfer`` reaches it from any node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from orchestrator_raft.core.errors import InvalidInput, Refused
from orchestrator_raft.core.replicated.commands import RecordAudit
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.service.calls import Call, NotKnown, Reply

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk


async def overview(call: Call, desk: Desk) -> Reply:
    return Reply(value=await desk.raft.overview())


async def members(call: Call, desk: Desk) -> Reply:
    del call
    return Reply(value=list(desk.raft.members()))


async def add_peer(call: Call, desk: Desk) -> Reply:
    """With the peers' words for what they refuse, too."""
    _require_raft(call, desk)
    address = call.text("addr")
    if address in desk.raft.addresses().values():
        raise Refused("Cannot add raft peer: peer already known")
    await _note(call, desk, f"add {address} to the Raft cluster")
    added = await desk.raft.add_member(address)
    return Reply(message=f"{added} is a member; it votes by itself when it has everything", value=added)


async def remove_peer(call: Call, desk: Desk) -> Reply:
    _require_raft(call, desk)
    node_id = _known(call, desk)
    address = desk.raft.addresses()[node_id]
    await _note(call, desk, f"remove {address} ({node_id}) from the Raft cluster")
    await desk.raft.remove_member(node_id)
    return Reply(message=f"{address} is no member any more: stop it", value=address)


async def replace_peer(call: Call, desk: Desk) -> Reply:
    _require_raft(call, desk)
    node_id, address = _known(call, desk), call.text("by")
    await _note(call, desk, f"replace {node_id} by {address} in the Raft cluster")
    added = await desk.raft.replace_member(node_id, address)
    return Reply(message=f"{added} is a member; {node_id} goes by itself as soon as it votes", value=added)


def _known(call: Call, desk: Desk) -> str:
    try:
        return _member(call.text("addr"), desk)
    except InvalidInput as error:
        raise NotKnown(str(error), peers="Cannot remove raft peer: peer is unknown") from error


async def _note(call: Call, desk: Desk, what: str) -> None:
    """In the audit trail, before it is done: afterwards this node may be no member any more."""
    proposals = Proposals(desk.outside.consensus, desk.outside.clock)
    message = f"{call.person.name or 'somebody'} asks to {what}"
    await proposals.propose(
        RecordAudit, by=call.person.name, request_id=call.request_id, intention=call.intention, type="raft-members",
        message=message,
    )  # fmt: skip


async def transfer(call: Call, desk: Desk) -> Reply:
    _require_raft(call, desk)
    named = call.text("node")
    leader = await desk.raft.transfer(_member(named, desk) if named else None)
    return Reply(message=f"{leader} leads now", value=leader)


async def snapshot(call: Call, desk: Desk) -> Reply:
    _require_raft(call, desk)
    index = await desk.raft.snapshot()
    return Reply(message=f"snapshot created: everything up to entry {index}", value="snapshot created")


async def yield_to(call: Call, desk: Desk) -> Reply:
    _require_leader(call, desk)
    await _hand_to((_member(call.text("node"), desk),), desk)
    return Reply(message="Asynchronously yielded")


async def yield_by_hint(call: Call, desk: Desk) -> Reply:
    _require_leader(call, desk)
    hint = call.text("part")
    uris = {record.node_id: record.http_uri for record in desk.outside.consensus.state.nodes.values()}
    addresses = desk.raft.addresses()
    fitting = tuple(id_ for id_, address in addresses.items() if hint in address or hint in uris.get(id_, ""))
    if not fitting:
        raise InvalidInput(f"no node's address contains '{hint}'; members are {', '.join(addresses.values())}")
    await _hand_to(fitting, desk)
    return Reply(message=f"Asynchronously yielded by hint {hint}", value=hint)


async def health_report(call: Call, desk: Desk) -> Reply:
    raise Refused("the token is not known here: nodes of this cluster report over their own connections")


async def _hand_to(nodes: tuple[str, ...], desk: Desk) -> None:
    """To one of them, unless this node, which leads, is one already."""
    if desk.outside.consensus.node_id not in nodes:
        connected = {peer.node_id for peer in desk.outside.consensus.peers() if peer.connected}
        await desk.raft.transfer(next((node for node in nodes if node in connected), nodes[0]))


def _member(text: str, desk: Desk) -> str:
    """The id of the node that ``text`` names. Raises InvalidInput."""
    addresses = desk.raft.addresses()
    exact = [id_ for id_, address in addresses.items() if text in (id_, address)]
    by_host = [id_ for id_, address in addresses.items() if text == address.rpartition(":")[0].strip("[]")]
    found = exact or by_host
    if len(found) != 1:
        what = "is no member" if not found else "names several members"
        raise InvalidInput(f"'{text}' {what}; members are {', '.join(addresses.values())}")
    return found[0]


def _require_raft(call: Call, desk: Desk) -> None:
    if not desk.raft.is_enabled:
        raise Refused(f"{call.operation.name}: not running with raft setup")


def _require_leader(call: Call, desk: Desk) -> None:
    """In the word that the peers have for it."""
    _require_raft(call, desk)
    if desk.outside.consensus.leader() != desk.outside.consensus.node_id:
        raise Refused("Unauthorized")


HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {
    "raft-overview": overview,
    "raft-members": members,
    "raft-add-peer": add_peer,
    "raft-remove-peer": remove_peer,
    "raft-replace-peer": replace_peer,
    "raft-transfer": transfer,
    "raft-snapshot": snapshot,
    "raft-yield": yield_to,
    "raft-yield-hint": yield_by_hint,
    "raft-follower-health-report": health_report,
}
