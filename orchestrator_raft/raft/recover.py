"""A majority is lost for good: make one stopped node the only voter of a new cluster. The last resort, offline.

What it does, in one transaction of the store: appends a configuration with this node alone, in a new term; gives it a
new cluster id, so that no node of the old cluster can join by itself, or be counted; writes down that it happened, and
the node puts that into the audit trail when it leads again.

What it costs is in ``DANGER``. Nobody can know whether the node at hand has everything that was acknowledged: of those
that are left, the one with the highest term and then the longest log has most, and it should be taken.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from orchestrator_raft.core.errors import InvalidInput, Refused, StartupError
from orchestrator_raft.raft import membership
from orchestrator_raft.raft.data_dir import DataDir
from orchestrator_raft.raft.identity import own_entry
from orchestrator_raft.raft.journal import Journal
from orchestrator_raft.raft.membership import Configuration, Seat
from orchestrator_raft.raft.self_check import refuse_if_odd
from orchestrator_raft.raft.settings import RaftSettings
from orchestrator_raft.raft.sqlite_store import SqliteStore
from orchestrator_raft.raft.store import Image, choose

FACT = "recovered"
"""What is to be put into the audit trail; empty when it has been."""
DANGER = """\
DANGER. This makes one node the whole cluster, whatever the others have.
- Acknowledged changes that only the lost nodes had are lost; changes that were never acknowledged may take effect.
- If the others still run, or ever start again with their directories, they can elect a leader of their own: then two
  leaders act on the same databases. Stop them for good first, and empty their RaftDataDir.
- Take the node whose log is longest: recover prints term and last entry; run it on the best one only.
- Recoveries under way are resumed by this node from what it knows.
Do it only when a majority of the nodes is lost and will not come back. Otherwise start the missing nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What was there, and what it is now."""

    slot: str
    old_cluster_id: str
    cluster_id: str
    old_voters: tuple[str, ...]
    term: int
    """Of the newest entry that was there."""
    last_index: int

    def __str__(self) -> str:
        return (
            f"{self.slot} is the only voter of the new cluster {self.cluster_id}: before it was one of "
            f"{', '.join(self.old_voters)} in cluster {self.old_cluster_id}, with a log up to entry {self.last_index} "
            f"of term {self.term}"
        )


async def recover(settings: RaftSettings, *, by: str, at: str) -> Recovered:
    """Raises StartupError where the directory cannot be used or a node runs on it, Refused if it never had a cluster.

    ``by`` and ``at`` say who did it and when, for the record.
    """
    if settings.data_dir is None:
        raise InvalidInput("RaftDataDir is not set: there is nothing to recover")
    own = await own_entry(settings)
    data_dir = DataDir(settings.data_dir)
    failures: list[BaseException] = []
    store = SqliteStore(data_dir.store, notify=lambda call: call(), on_synced=lambda: None, on_failure=failures.append)
    try:
        if not data_dir.store.exists():
            raise Refused(f"{data_dir.store} does not exist: this node never belonged to a cluster")
        image = store.load()
        refuse_if_odd(image.facts, store.where)
        journal = _journal(image, store.where, settings)
        recovered = _prepare(journal, image, str(own), by=by, at=at)
        operations, mark = journal.take()
        store.write(operations, mark)
    finally:
        store.close()
        data_dir.release()
    if failures or store.synced_mark < mark:
        raise StartupError(f"{store.where} could not be written ({failures[0] if failures else 'no answer'}): nothing "
                           "was changed; see its disk, then try again")  # fmt: skip
    return recovered


def _journal(image: Image, where: str, settings: RaftSettings) -> Journal:
    founders = image.facts.get("slots", "").split()
    loaded = choose(image, where, settings.limits.snapshot_bytes)
    journal = Journal(image, loaded, settings.limits, membership.founded(founders) if founders else None)
    if not image.facts.get("cluster_id") or not len(journal) or journal.history.newest is None:
        raise Refused(f"{where} holds no cluster: this node never belonged to one, start it as it is")
    return journal


def _prepare(journal: Journal, image: Image, address: str, *, by: str, at: str) -> Recovered:
    facts, old = image.facts, journal.history.newest or Configuration(())
    recovered = Recovered(
        slot=facts["slot"], old_cluster_id=facts["cluster_id"], cluster_id=uuid.uuid4().hex[:16],
        old_voters=tuple(sorted(old.voters)), term=journal.last_term, last_index=journal.last_index,
    )  # fmt: skip
    alone = Seat(slot=recovered.slot, address=address, incarnation=facts["node_id"])
    term = max(image.term, journal.last_term) + 1
    journal.setCurrentTerm(term, None)
    journal.add(membership.encode(Configuration((alone,), old.level)), journal.last_index + 1, term)
    journal.save_fact("cluster_id", recovered.cluster_id)
    journal.save_fact("slots", recovered.slot)
    journal.save_fact(FACT, f"{by} declared at {at} that the quorum is lost: {recovered}")
    return recovered
