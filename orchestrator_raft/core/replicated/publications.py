"""Who is the primary of each alias: what is told to the outside, derived in the very command that changes it.

One record for each alias, replaced as a whole, with a generation from one counter for all of them: whoever holds two
records knows which is newer, also when an alias went from one cluster to another. What is published anywhere is
published from here, so it is committed.

- A cluster without an alias is not published: its name is its primary's address and changes with it.
- Several clusters may bear one alias for a while, as when a replica was taken out of its cluster. Whoever has it keeps
  it; nobody else is published under it.
- A cluster that loses its primary keeps its record: nobody has taken over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator_raft.core.differences import differences
from orchestrator_raft.core.replicated.state import Publication, State
from orchestrator_raft.core.topology import ClusterRecord

ALIAS_CHARACTERS_MAX = 255


def with_publications(before: State, after: State) -> State:
    """``after`` with the records that follow from the clusters that have changed since ``before``."""
    touched = dict.fromkeys(_aliases_touched(before, after))
    if not touched:
        return after
    publications, number = dict(after.publications), after.publication_number
    for alias in touched:
        known = publications.get(alias)
        holder = _holder(after, alias, known)
        if holder is None:
            publications.pop(alias, None)
        elif holder.primary is not None and (
            known is None or (known.cluster_id, known.primary) != (holder.id, holder.primary)
        ):
            number += 1
            publications[alias] = Publication(
                alias=alias, cluster_id=holder.id, primary=holder.primary, generation=number, at_ms=after.time_ms
            )
    return replace(after, publications=publications, publication_number=number)


def _aliases_touched(before: State, after: State) -> list[str]:
    found: list[str] = []
    for cluster_id in differences(before.clusters, after.clusters):
        old, new = before.clusters.get(cluster_id), after.clusters.get(cluster_id)
        told_before = (old.alias, old.primary) if old is not None else None
        told_now = (new.alias, new.primary) if new is not None else None
        if told_before != told_now:
            found += [each.alias for each in (old, new) if each is not None and is_publishable(each.alias)]
    return found


def is_publishable(alias: str) -> bool:
    """It can be the name of one record: neither a path of several parts nor a part of another path."""
    return 0 < len(alias) <= ALIAS_CHARACTERS_MAX and "/" not in alias and alias not in (".", "..")


def _holder(state: State, alias: str, known: Publication | None) -> ClusterRecord | None:
    """The cluster that is published under this alias: the one that was, else the first that has it and a primary."""
    bearers = [record for record in state.clusters.values() if record.alias == alias]
    held = next((record for record in bearers if known is not None and record.id == known.cluster_id), None)
    if held is not None:
        return held
    return next((record for record in bearers if record.primary is not None), None)


def unpublished(state: State) -> dict[str, str]:
    """Why a cluster is not published, by its id."""
    reasons: dict[str, str] = {}
    for record in state.clusters.values():
        reason = _reason(state, record)
        if reason:
            reasons[record.id] = reason
    return reasons


def _reason(state: State, record: ClusterRecord) -> str:
    if not record.alias:
        return "it has no alias: set DetectClusterAliasQuery or ClusterNameToAlias"
    if not is_publishable(record.alias):
        return f"its alias '{record.alias[:ALIAS_CHARACTERS_MAX]}' cannot name a record (a slash, or too long)"
    known = state.publications.get(record.alias)
    if known is None:
        return "no primary of it is known yet"
    if known.cluster_id != record.id:
        return f"the alias '{record.alias}' is that of cluster {known.cluster_id} already"
    return ""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One pair as orchestrator writes it to key-value stores."""

    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A record together with the addresses of its host, which may be empty: what a target is given, as a whole."""

    record: Publication
    ipv4: str = ""
    ipv6: str = ""

    def pairs(self, prefix: str) -> tuple[KeyValue, ...]:
        """orchestrator's five pairs of a primary, in its order. ``prefix`` ends in a slash."""
        key, server = f"{prefix}{self.record.alias}", self.record.primary
        return (
            KeyValue(key, f"{server.hostname}:{server.port}"),
            KeyValue(f"{key}/hostname", server.hostname),
            KeyValue(f"{key}/port", str(server.port)),
            KeyValue(f"{key}/ipv4", self.ipv4),
            KeyValue(f"{key}/ipv6", self.ipv6),
        )
