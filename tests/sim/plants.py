"""Planted bugs: what a builder might get wrong, one row each, and which check has to notice it.

That the simulator finds each of them, in a bounded number of seeds, is what its silence about the real code is worth.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgpack

from orchestrator_raft.raft import appends, elections, lease, membership, replica, snapshots, store
from orchestrator_raft.raft.clock import JumpWatch
from orchestrator_raft.raft.journal import Journal
from orchestrator_raft.raft.lease import NEVER, Authority, Ear, Office
from orchestrator_raft.raft.messages import Ack, LeaseAck
from orchestrator_raft.raft.outbox import Outbox
from orchestrator_raft.raft.replication import Replication
from orchestrator_raft.raft.store import AddEntry, ClearEntries
from tests.raft.counting import Add, Break, Counted, Counter
from tests.seeded import planting
from tests.seeded.planting import Patches
from tests.sim import checks
from tests.sim.world import World


@dataclass(frozen=True, slots=True)
class Plant(planting.Plant):
    """Also one in the surroundings of the code."""

    in_world: Callable[[World, Any], None] | None = None
    """What changes in the simulated surroundings instead of the code."""


def _nothing(patches: Patches) -> None:
    del patches


def _send_unsynced(patches: Patches) -> None:
    patches.put(Outbox, "send", lambda self, peer, message: self._deliver(peer, message))


def _count_unsynced(patches: Patches) -> None:
    def provable(self: Any, voters: frozenset[str]) -> Iterator[tuple[str, int]]:
        for peer, progress in self._followers.items():
            if peer in voters and progress.match_index > progress.counted:
                progress.counted = progress.match_index
                yield peer, progress.match_index

    patches.put(Replication, "provable", provable)


def _forget_vote(patches: Patches) -> None:
    def set_term(self: Any, term: int, vote: str | None) -> None:
        self._term, self._vote = term, vote

    patches.put(Journal, "setCurrentTerm", set_term)


def _accept_stale_ack(patches: Patches) -> None:
    def on_ack(self: Any, peer: str, message: Ack) -> None:
        if self._office is not None:
            self._replication.answered(peer, message)
            self._report_matches()

    patches.put(replica.Replica, "_handlers", {**replica.Replica._handlers, Ack: on_ack})


def _vote_while_bound(patches: Patches) -> None:
    patches.put(elections, "may_support", lambda *_arguments, **_named: True)


def _forget_promise(patches: Patches) -> None:
    patches.put(elections, "Ear", lambda started_s: Ear(started_s=NEVER))


def _trim_first(patches: Patches) -> None:
    """The journal is trimmed in a group of its own, and the snapshot follows in the next one."""
    made = replica.Replica.__init__

    def make(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        take = self._compaction.face.take

        def taken(previous: Any, last: Any) -> None:
            kept = [entry for entry in self.journal[:] if entry[1] >= previous[1]]
            for operation in (ClearEntries(), *(AddEntry(entry) for entry in kept)):
                self.journal._record(operation)
            self._store.write(*self.journal.take())
            take(previous, last)

        self._compaction.face.take = taken

    patches.put(replica.Replica, "__init__", make)


def _ignore_checksum(patches: Patches) -> None:
    def decode(data: bytes, limit_bytes: int) -> store.Snapshot:
        plain = msgpack.unpackb(zlib.decompress(data[36:]), raw=False, use_list=False)
        if not {"members", "previous", "last", "digest", "state"} <= plain.keys():
            raise ValueError("its content is malformed")
        index, members = plain["members"]
        rest = {name: plain[name] for name in ("previous", "last", "digest", "state")}
        return store.Snapshot(**rest, members_index=index, members=membership.decode(members))

    patches.put(store, "decode_snapshot", decode)
    patches.put(snapshots, "decode_snapshot", decode)


class Forgetful(Counter):
    """A machine that does not remember ids."""

    def apply(self, state: Counted, command: Add | Break) -> tuple[Counted, int]:
        total = state.total + getattr(command, "amount", 0)
        return Counted(total, {**state.results, command.id: total}), total


def _early_authority(patches: Patches) -> None:
    def authority(office: Office | None, *, until_s: float, now_s: float, **_: Any) -> Authority | None:
        live = office is not None and not office.given_up and now_s < until_s
        return Authority(office.term, until_s) if live and office is not None else None

    patches.put(lease, "authority", authority)


def _lease_from_receipt(patches: Patches) -> None:
    def on_lease_ack(self: Any, peer: str, message: LeaseAck) -> None:
        if self._office is not None and message.term == self.term:
            now_s = self._clock()
            self._office = self._office.echoed(peer, message.term, now_s, now_s)

    patches.put(replica.Replica, "_handlers", {**replica.Replica._handlers, LeaseAck: on_lease_ack})


def _lease_without_margin(patches: Patches) -> None:
    def until_s(self: Office, voters: frozenset[str], me: str, now_s: float, timing: Any) -> float:
        times = sorted((now_s if voter == me else self.echoes.get(voter, NEVER) for voter in voters), reverse=True)
        return float(times[len(times) // 2] + timing.election_max_s)

    patches.put(Office, "lease_until_s", until_s)


def _keep_authority_in_transfer(patches: Patches) -> None:
    def authority(office: Office | None, *, first_entry_applied: bool, term_stored: bool, until_s: float,
                  now_s: float) -> Authority | None:  # fmt: skip
        ready = office is not None and first_entry_applied and term_stored and now_s < until_s
        return Authority(office.term, until_s) if ready and office is not None else None

    patches.put(lease, "authority", authority)


def _overlook_jumps(patches: Patches) -> None:
    patches.put(JumpWatch, "jumped", lambda self: False)


def _compare_with_the_last_reading(patches: Patches) -> None:
    def jumped(self: Any) -> bool:
        now_s, distance_s = self._read()
        last_s = self._seen[-1][1]
        self._seen.append((now_s, distance_s))
        return bool(abs(distance_s - last_s) > 0.05)

    patches.put(JumpWatch, "jumped", jumped)


def _trust_old_echoes(patches: Patches) -> None:
    patches.put(Office, "forgotten", lambda self, now_s: replace(self, echoes={}))


def _cut_what_matches(patches: Patches) -> None:
    plan = appends.plan

    def as_it_came(log: Any, committed: int, asked: appends.Append) -> appends.Plan:
        planned = plan(log, committed, asked)
        return replace(planned, shown=asked) if planned.answer.success else planned

    patches.put(appends, "plan", as_it_came)


def _read_anywhere(world: World, face: Any) -> None:
    del world
    face.asks_authority = False


def _accept_replaced(world: World, face: Any) -> None:
    del face
    world.network.accepts_replaced = True


def _forget_ids(world: World, face: Any) -> None:
    del face
    world.machine = Forgetful()


_SAFETY = (
    checks.LOST, checks.DIVERGED, checks.UNSEEN, checks.TWO_AUTHORITIES, checks.TWO_LEADERS, checks.CRASHED,
    checks.WRONG_ANSWER, checks.UNREADABLE, checks.STALE_READ, checks.THIN,
)  # fmt: skip
_LEADERS = (checks.TWO_AUTHORITIES, checks.UNSEEN, checks.STALE_READ)

PLANTS = (
    Plant(
        "no-sync-before-send", "answers and votes leave before the disk has what they promise", _send_unsynced, _SAFETY
    ),
    Plant("leader-counts-unsynced", "the leader counts itself before its own disk", _count_unsynced, _SAFETY),
    Plant("vote-not-stored", "term and vote are kept in memory only", _forget_vote, _SAFETY),
    Plant(
        "trim-before-snapshot",
        "the journal is trimmed in a transaction before the snapshot's",
        _trim_first,
        (*_SAFETY, checks.STUCK),
        theme="crashes",
    ),
    Plant("no-snapshot-checksum", "a snapshot's checksum is not looked at", _ignore_checksum, _SAFETY, theme="crashes"),
    Plant("no-dedupe", "the machine does not remember command ids", _nothing, (checks.TWICE,), _forget_ids),
    Plant(
        "vote-while-lease-lives", "a node votes although it hears a leader", _vote_while_bound, _LEADERS, theme="links"
    ),
    Plant("early-authority", "authority before the first entry of the term is applied", _early_authority, _LEADERS),
    Plant(
        "lease-from-receipt",
        "the lease counts from the receipt of an echo",
        _lease_from_receipt,
        _LEADERS,
        theme="times",
    ),
    Plant(
        "lease-too-long", "the lease lasts a maximum election timeout", _lease_without_margin, _LEADERS, theme="links"
    ),
    Plant(
        "authority-in-transfer",
        "a leader keeps its authority while it hands over",
        _keep_authority_in_transfer,
        _LEADERS,
        theme="offices",
    ),
    Plant("jumps-overlooked", "nobody compares the clocks", _overlook_jumps, _LEADERS, theme="times"),
    Plant(
        "read-without-authority",
        "a leader names a read index without authority",
        _nothing,
        (checks.STALE_READ,),
        _read_anywhere,
        theme="times",
    ),
)
RARE = (
    Plant("stale-ack", "an acknowledgement of an earlier term counts", _accept_stale_ack, _SAFETY, theme="offices"),
    Plant(
        "late-append-cuts",
        "frames of replaced connections are taken, and the library sees appends as they come (defect B1)",
        _cut_what_matches,
        _SAFETY,
        _accept_replaced,
        theme="links",
    ),
    Plant(
        "promise-forgotten", "a node that has just started votes at once", _forget_promise, _LEADERS, theme="offices"
    ),
    Plant(
        "short-freezes-overlooked",
        "each reading of the clocks is compared with the one before only",
        _compare_with_the_last_reading,
        _LEADERS,
        theme="times",
    ),
    Plant(
        "echoes-through-a-jump",
        "an echo of before a jump of the clock counts after it",
        _trust_old_echoes,
        _LEADERS,
        theme="times",
    ),
)
"""What needs several faults in one order: more seeds than an ordinary test run has, or one fault made for it
(``test_directed``)."""
HARMLESS_ALONE = (
    Plant(
        "replaced-frames",
        "frames of replaced connections are taken: terms and send times still tell them apart",
        _nothing,
        _SAFETY,
        _accept_replaced,
    ),
    Plant(
        "cut-what-matches",
        "the library sees appends as they come: connections still keep their order",
        _cut_what_matches,
        _SAFETY,
    ),
)
"""Taken one by one, a second line of defence holds."""
BY_NAME = {plant.name: plant for plant in (*PLANTS, *RARE, *HARMLESS_ALONE)}
