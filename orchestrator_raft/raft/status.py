"""What a node says about itself and the others, as values: what `raftctl raft status` shows on one screen.

``describe`` is cheap, it may be asked several times a request. Everything here can also travel: ``plain`` makes of a
status what JSON can hold, and nodes of another version read what they know of it.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from orchestrator_raft import __version__
from orchestrator_raft.raft.clock import boot_time_s
from orchestrator_raft.raft.membership import Seat
from orchestrator_raft.raft.replica import Replica
from orchestrator_raft.raft.roster import Roster
from orchestrator_raft.raft.store import Store
from orchestrator_raft.raft.transport import Transport


class Role(Enum):
    LEADER = "leader"
    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    """Knows of no leader."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One node of the cluster, as the answering node sees it."""

    id: str
    """Its slot: its entry in RaftNodes when the cluster first started."""
    address: str
    is_self: bool
    is_connected: bool
    last_contact_s: float | None
    """Seconds since anything was heard from it."""
    round_trip_s: float | None
    match_index: int | None
    """Known on the leader: everything up to here is on its disk."""
    votes: bool = True
    """False for a learner: it gets everything and counts nowhere until it has caught up."""
    is_recorded: bool = False
    """A leader has met it and written down which data directory it has: another one is refused."""
    note: str = ""
    """What is going to happen to it."""
    node_id: str = ""
    """Random id of its data directory; empty until it has connected."""
    version: str = ""
    equal_index: int | None = None
    """The newest index at which its digests were seen to equal this node's; None: not yet, since this one started."""
    compared_s: float | None = None
    """Seconds since that was seen."""
    newest_level: int = 0
    """The newest level that its version knows; 0 until it has connected."""
    problem: str = ""
    """Why it is not connected, as far as the answering node knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A connection of a stranger: of another cluster, without the secret or a certificate, or no node at all."""

    origin: str
    reason: str
    ago_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftStatus:
    id: str
    version: str
    node_id: str
    cluster_id: str
    role: Role
    term: int
    leader: str | None
    lease_left_s: float
    """Zero without authority."""
    commit_index: int
    applied_index: int
    last_index: int
    synced_index: int
    digest: str
    """Chained over all applied commands: equal at equal applied index, on every node."""
    alarm: str
    """How the states of the nodes differ; empty when all that were compared are equal. While it stands nobody acts."""
    members: tuple[Member, ...]
    journal_entries: int
    journal_bytes: int
    snapshot_index: int | None
    snapshot_bytes: int
    snapshot_age_s: float | None
    """None where there is no snapshot, or an older version has taken it."""
    store: str
    store_bytes: int
    disk_free_bytes: int | None
    """Where the store is; None in memory."""
    level: int = 1
    """At which commands are written (``levels``)."""
    newest_level: int = 1
    """The newest that this version knows."""
    refused: tuple[Refused, ...] = ()
    """Connections that were refused lately before anybody knew whose they are, newest last."""
    failure: str = ""
    """Why the node has stopped, if it has."""


def describe_members(roster: Roster, replica: Replica, transport: Transport | None) -> tuple[Member, ...]:
    return tuple(_member(slot, roster, replica, transport) for slot in sorted(roster.members))


def _member(slot: str, roster: Roster, replica: Replica, transport: Transport | None) -> Member:
    is_self = slot == roster.slot
    link = transport.links.get(slot) if transport is not None else None
    seat = roster.seat(slot)
    hello = link.active.peer if link is not None and link.active is not None else None
    compared = replica.self_check.compared.get(slot)
    heard_s = boot_time_s() if is_self else link.heard_s if link is not None else None
    return Member(
        id=slot,
        address=str(roster.addresses[slot]),
        is_self=is_self,
        is_connected=is_self or hello is not None,
        last_contact_s=None if heard_s is None else max(0.0, boot_time_s() - heard_s),
        round_trip_s=0.0 if is_self else link.round_trip_s if link is not None else None,
        match_index=replica.journal.synced_index if is_self else replica.match_index(slot),
        votes=seat.votes if seat is not None else False,
        is_recorded=seat is not None and bool(seat.incarnation),
        note=_note(seat),
        node_id=roster.node_id if is_self else hello.node_id if hello is not None else "",
        version=__version__ if is_self else hello.version if hello is not None else "",
        equal_index=compared.index if compared is not None else None,
        compared_s=max(0.0, boot_time_s() - compared.at_s) if compared is not None else None,
        newest_level=replica.members.levels.newest if is_self else hello.newest_level if hello is not None else 0,
        problem=transport.complaint(slot) if transport is not None and hello is None else "",
    )


def _note(seat: Seat | None) -> str:
    if seat is None:
        return "no member"
    if seat.leaving:
        return "is leaving"
    return f"replaces {seat.replaces}" if seat.replaces else ""


def describe(roster: Roster, replica: Replica, transport: Transport | None, store: Store, *, digest: str,
             is_running: bool, failure: BaseException | None) -> RaftStatus:  # fmt: skip
    authority = replica.authority() if is_running else None
    snapshot = replica.snapshot()
    return RaftStatus(
        id=roster.slot,
        version=__version__,
        node_id=roster.node_id,
        cluster_id=roster.cluster_id,
        role=_role(replica, is_running),
        term=replica.term,
        leader=replica.leader if is_running else None,
        lease_left_s=max(0.0, authority.until_s - boot_time_s()) if authority is not None else 0.0,
        commit_index=replica.commit_index,
        applied_index=replica.applied_index,
        last_index=replica.journal.last_index,
        synced_index=replica.journal.synced_index,
        digest=digest,
        alarm=replica.self_check.problem,
        members=describe_members(roster, replica, transport),
        journal_entries=len(replica.journal),
        journal_bytes=replica.journal.bytes,
        snapshot_index=snapshot.index if snapshot is not None else None,
        snapshot_bytes=snapshot.bytes if snapshot is not None else 0,
        snapshot_age_s=snapshot.age_s if snapshot is not None else None,
        store=store.where,
        store_bytes=store.size_bytes(),
        disk_free_bytes=_disk_free_bytes(Path(store.where)),
        level=replica.members.level,
        newest_level=replica.members.levels.newest,
        refused=_refused(transport),
        failure=str(failure or ""),
    )


def _refused(transport: Transport | None) -> tuple[Refused, ...]:
    now_s, known = boot_time_s(), transport.refused() if transport is not None else ()
    return tuple(Refused(origin=each.origin, reason=each.reason, ago_s=max(0.0, now_s - each.at_s)) for each in known)


def plain(status: RaftStatus) -> dict[str, Any]:
    """For JSON."""
    return {**dataclasses.asdict(status), "role": status.role.value}


def _disk_free_bytes(store: Path) -> int | None:
    try:
        found = os.statvfs(store)
    except FileNotFoundError:
        return None
    return found.f_bavail * found.f_frsize


def _role(replica: Replica, is_running: bool) -> Role:
    if not is_running:
        return Role.STOPPED
    if replica.is_leader:
        return Role.LEADER
    return Role.CANDIDATE if replica.leader is None else Role.FOLLOWER
