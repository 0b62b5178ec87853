"""What hangs together in a fleet: everything that has an address, a server_uuid, a cluster or a group in common.

These are a part's *marks*. A *region* is all that hangs together by marks, as a rule one replication topology. Where a
function looks from one server at others only along what the marks name, its result for a region is the same whether it
is given that region or the whole fleet; so where little changes only little has to be worked out anew.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.topology.model import ClusterRecord, ServerRecord

Mark = Hashable
"""An address, a server_uuid, a cluster id or the name of a replication group."""
Part = InstanceKey | str
"""A server, or a cluster by its id."""
REGION_SHARE = 4
"""Where more than one part in so many is concerned, it is no more work to take the whole fleet."""


class Bonds:
    """The marks of all parts, and who has each."""

    def __init__(self) -> None:
        self._marks: dict[Part, frozenset[Mark]] = {}
        self._holders: dict[Mark, set[Part]] = {}

    def note(self, part: Part, marks: frozenset[Mark]) -> frozenset[Mark]:
        """From now on ``part`` has these marks, none where it is gone; gives those that it had."""
        had = self._marks.pop(part, frozenset())
        for mark in had - marks:
            self._holders[mark].discard(part)
            if not self._holders[mark]:
                del self._holders[mark]
        for mark in marks - had:
            self._holders.setdefault(mark, set()).add(part)
        if marks:
            self._marks[part] = marks
        return had

    def region(self, start: Iterable[Mark], parts_max: int) -> set[Part] | None:
        """Everything that hangs together with these marks; None if that is more than ``parts_max``."""
        found: set[Part] = set()
        seen: set[Mark] = set(start)
        ahead = list(seen)
        while ahead:
            for part in self._holders.get(ahead.pop(), ()):
                if part in found:
                    continue
                found.add(part)
                new = self._marks[part] - seen
                seen |= new
                ahead.extend(new)
            if len(found) > parts_max:
                return None
        return found


def marks_of_server(record: ServerRecord) -> frozenset[Mark]:
    facts = record.facts
    channel = facts.channel if facts is not None else None
    group = facts.group.group_name if facts is not None and facts.group is not None else ""
    texts = (record.cluster_id, facts.server_uuid if facts else "", channel.source_uuid if channel else "", group)
    sources = (channel.source,) if channel is not None else ()
    return frozenset((record.key, *record.addresses, *sources, *filter(None, texts)))


def marks_of_cluster(record: ClusterRecord) -> frozenset[Mark]:
    primary = () if record.primary is None else (record.primary,)
    return frozenset((record.id, *primary, *record.ackers, *record.released, *record.left_behind))
