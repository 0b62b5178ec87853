"""Operations about what the outside is told of primaries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator_raft.core.errors import Refused, ServerError
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated import State
from orchestrator_raft.core.replicated.publications import KeyValue, unpublished
from orchestrator_raft.core.replicated.state import Publication
from orchestrator_raft.engine.publishing import TargetStatus, with_addresses
from orchestrator_raft.engine.service.calls import Call, Reply
from orchestrator_raft.engine.service.names import require_cluster
from orchestrator_raft.engine.view import Moment

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk

SUBMIT_TIMEOUT_S = 8.0
PAIRS_AT_ONCE = 50
TARGETS_UNKNOWN = "only the leader knows where the targets stand, and none is known now"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationShown:
    """One cluster's publication, or why there is none."""

    alias: str
    cluster_id: str
    primary: InstanceKey | None
    generation: int = 0
    at_ms: int = 0
    targets: tuple[TargetStatus, ...] = ()
    note: str = ""


async def publications(call: Call, desk: Desk) -> Reply:
    """All of them, also on a node that does not lead: then without the targets."""
    moment = desk.moment()
    wanted = _clusters(call, moment)
    leader = desk.leader() if desk.may_act else None
    records = [each for each in moment.state.publications.values() if each.cluster_id in wanted]
    shown = [
        PublicationShown(
            alias=each.alias, cluster_id=each.cluster_id, primary=each.primary, generation=each.generation,
            at_ms=each.at_ms, targets=leader.publishing.statuses(each) if leader is not None else (),
            note="" if leader is not None else TARGETS_UNKNOWN,
        )
        for each in sorted(records, key=lambda each: each.alias)
    ]  # fmt: skip
    return Reply(value=[*shown, *_without(moment.state, wanted)], moment=moment)


def _without(state: State, wanted: frozenset[str]) -> list[PublicationShown]:
    clusters = [state.clusters[cluster_id] for cluster_id in unpublished(state) if cluster_id in wanted]
    reasons = unpublished(state)
    return [
        PublicationShown(alias=each.alias, cluster_id=each.id, primary=each.primary, note=reasons[each.id])
        for each in clusters
    ]


def _clusters(call: Call, moment: Moment) -> frozenset[str]:
    if "cluster" not in call.arguments:
        return frozenset(moment.state.clusters)
    return frozenset({require_cluster(moment.topology, call.text("cluster")).id})


async def submit(call: Call, desk: Desk) -> Reply:
    """orchestrator's pairs of what was published. Raises ServerError with every target that did not take it."""
    leader = desk.leader()
    moment = desk.moment()
    wanted = _clusters(call, moment)
    records = sorted(
        (each for each in moment.state.publications.values() if each.cluster_id in wanted), key=lambda each: each.alias
    )
    reasons = unpublished(moment.state)
    if not records and "cluster" in call.arguments:
        raise Refused(f"{call.text('cluster')} is not published: {'; '.join(reasons[each] for each in wanted)}")
    aliases = [each.alias for each in records]
    complaints = await leader.publishing.submit(aliases, forced=call.flag("force"), timeout_s=SUBMIT_TIMEOUT_S)
    if complaints:
        raise ServerError(f"not everything was published: {'; '.join(complaints)} (raftctl publications)")
    pairs = await _pairs(records, desk)
    return Reply(message=f"Submitted {len(records)} masters", value=pairs, moment=moment)


async def _pairs(records: Sequence[Publication], desk: Desk) -> list[KeyValue]:
    outlet = desk.leader().publishing.outlet
    found: list[KeyValue] = []
    for begin in range(0, len(records), PAIRS_AT_ONCE):
        batch = records[begin : begin + PAIRS_AT_ONCE]
        looked_up = await asyncio.gather(*(with_addresses(each, outlet.addresses) for each in batch))
        found += [pair for each in looked_up for pair in each.pairs(outlet.prefix)]
    return found


HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {
    "publications": publications,
    "submit-masters-to-kv-stores": submit,
}
