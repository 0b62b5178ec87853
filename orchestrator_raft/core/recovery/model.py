"""The replicated record of one recovery: what is known of it by everybody, and all that a new leader needs to go on.

Rules
- Nothing that matters lives only in the leader's memory: the successor is in the record before anybody is promoted.
- No secrets in here: the record is shown, logged and kept.
- Every list has a limit, so that a record stays small enough for one Raft command.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum

from orchestrator_raft.core.instance import ChannelOption, Coordinates, InstanceKey
from orchestrator_raft.core.moves.model import NOT_BEGUN, Plan, Progress, Wish
from orchestrator_raft.core.topology import SavedTransactions

TIMELINE_MAX = 64
ERRORS_MAX = 32
TEXT_MAX = 500
SHORTENED_TEXT_MAX = 60
ENDING = "ending"
PHASE = "phase"
RESUMED = "resumed"
RESUMES_MAX = 8
"""So often a new leader gets the time of the phase it finds anew; a recovery that kills its leaders is not endless."""


class EndState(Enum):
    """How a recovery ended; every one of them ends in one."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Nothing was promoted; what had been changed was put back."""
    UNDONE = "undone"
    """A planned operation was given up and the cluster is as it was before."""
    CAME_BACK = "came back"
    """The primary was there again before anything was changed, so nobody replaced it."""
    QUARANTINED = "quarantined"
    """A returning server holds transactions that the cluster does not; it is fenced and kept out."""
    ABANDONED = "abandoned"
    """It ran out of time in a phase; people have to look."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One entry of a recovery's timeline, in replicated milliseconds."""

    name: str
    at_ms: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class RefusedServer:
    """A server that was not chosen, and why."""

    key: InstanceKey
    reason: str


@dataclass(frozen=True, slots=True)
class Move:
    """A replica that gets another source, and those that were tried before in vain."""

    key: InstanceKey
    source: InstanceKey
    tried: tuple[InstanceKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """A person took note of a recovery; it blocks no other any more."""

    at_ms: int
    by: str
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was found, as it was at the claim: for the record, for hooks and for the compatible API."""

    key: InstanceKey
    code: str
    text: str = ""
    evidence: tuple[str, ...] = ()
    cluster_name: str = ""
    cluster_alias: str = ""
    cluster_domain: str = ""
    replicas: tuple[InstanceKey, ...] = ()
    count_replicas: int = 0
    is_primary: bool = True
    is_co_primary: bool = False
    is_downtimed: bool = False
    automated_primary: bool = False
    automated_intermediate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asked for; the defaults are those of an automatic recovery."""

    by: str = ""
    reason: str = ""
    command: str = ""
    """The peers' command hint: force-master-failover, graceful-master-takeover ..."""
    designated: InstanceKey | None = None
    forced: bool = False
    accept_loss: bool = False
    """A person accepts that writes which clients were told are safe may be lost."""
    skip_hooks: bool = False
    start_old_primary: bool = True
    """After a planned takeover the old primary replicates at once (the peers' -auto form)."""
    request_id: str = ""
    """Id of the person's request, as in log, audit and answer."""
    wish: Wish | None = None
    """The operation that was asked for, and its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One recovery. ``term`` is the fencing token: only the leader of that term may act on it."""

    id: str
    number: int = 0
    kind: str
    cluster_id: str
    subject: Subject
    request: Request = Request()
    holder: str
    term: int
    phase: str
    attempt: int = 1
    started_ms: int
    deadline_ms: int
    phase_started_ms: int = 0
    finished_ms: int = 0
    end: EndState = EndState.RUNNING
    ending: EndState = EndState.RUNNING
    """How it ends once its last hooks have run; nothing else is left to do."""
    successor: InstanceKey | None = None
    promoted: bool = False
    catch_up_from: InstanceKey | None = None
    """A server that holds what the successor lacks; the successor replicates from it first."""
    target_gtids: str = ""
    """What the successor must have executed before it is opened for writes."""
    coordinates: Coordinates | None = None
    """Where the successor's binary log stood before it took writes: replicas without GTIDs begin there."""
    left_at: Coordinates | None = None
    """The same place in the binary log of the old primary: whoever begins there has to stand here."""
    channel_options: tuple[ChannelOption, ...] = ()
    """Options of the successor's channel from before its reset: an old primary is attached with them."""
    wait_for_replica_count: int = 0
    semi_sync: bool = False
    """Semi-sync was on at the primary, so it will be at its successor."""
    promised: bool = False
    """The primary's semi-sync promised that nothing acknowledged is lost with it, when the recovery began."""
    unpromised_because: str = ""
    lapsed: bool = False
    """Semi-sync was in force, and only the sight of its replicas with everything is missing for the promise."""
    """Why it did not promise that."""
    event_scheduler: bool = False
    """The primary ran scheduled events, so its successor will."""
    reopen: bool = False
    """The primary took writes when the recovery began, so it is opened again where nobody replaces it."""
    followers: tuple[InstanceKey, ...] = ()
    """Replicas that were stopped and compared when the successor was chosen: they can follow it without losing data."""
    stale: tuple[InstanceKey, ...] = ()
    """Servers that may still think they are primary and could not be fenced."""
    fenced: bool = False
    moved: tuple[InstanceKey, ...] = ()
    """Servers that follow the successor by now; of an undone recovery, those that are as they were before; of one that
    changes no primary, those that it moved or changed."""
    moves: tuple[Move, ...] = ()
    """Of a recovery that changes no primary: who gets which source."""
    plan: Plan | None = None
    """Of an operation: what is being done."""
    progress: Progress = NOT_BEGUN
    other_clusters: tuple[str, ...] = ()
    """Clusters that it holds beside its own, because servers go from one to another."""
    kept_stopped: tuple[InstanceKey, ...] = ()
    """Replicas whose replication somebody had stopped: it stays stopped."""
    lost: tuple[InstanceKey, ...] = ()
    refused: tuple[RefusedServer, ...] = ()
    lost_gtids: str = ""
    saved: SavedTransactions | None = None
    """Of a return that ended in quarantine: what became of saving those transactions."""
    timeline: tuple[Mark, ...] = ()
    errors: tuple[str, ...] = ()
    acknowledged: Acknowledgement | None = None

    @property
    def is_active(self) -> bool:
        return self.end is EndState.RUNNING

    def holds(self, cluster_id: str) -> bool:
        """No other recovery may act on this cluster."""
        return cluster_id == self.cluster_id or cluster_id in self.other_clusters

    def marked(self, name: str, at_ms: int, text: str = "") -> Recovery:
        """With one more entry on the timeline; when that is full, what happened most often is told once less."""
        kept = self.timeline if len(self.timeline) < TIMELINE_MAX else _without_a_repetition(self.timeline)
        return replace(self, timeline=(*kept, Mark(name, at_ms, text[:TEXT_MAX])))

    def with_errors(self, errors: tuple[str, ...]) -> Recovery:
        merged = (*self.errors, *(error[:TEXT_MAX] for error in errors if error not in self.errors))
        return replace(self, errors=merged[-ERRORS_MAX:])

    def goto(self, phase: str, now_ms: int) -> Recovery:
        """In ``phase`` from now on; on the timeline, too, where that is another one."""
        here = self.marked(PHASE, now_ms, phase) if phase != self.phase else self
        return replace(here, phase=phase, phase_started_ms=now_ms)

    def cut_down(self) -> Recovery:
        """Without most of its words, for a record that would be too large: what it is and does stays."""
        short = SHORTENED_TEXT_MAX
        return replace(
            self,
            refused=tuple(RefusedServer(each.key, each.reason[:short]) for each in self.refused),
            timeline=tuple(replace(mark, text=mark.text[:short]) for mark in self.timeline),
            errors=tuple(error[:short] for error in self.errors),
            lost_gtids=self.lost_gtids if len(self.lost_gtids) <= TEXT_MAX else f"{self.lost_gtids[:TEXT_MAX]} (cut)",
        )

    def ended(self, end: EndState, now_ms: int, text: str = "") -> Recovery:
        return replace(self.marked(end.value, now_ms, text), end=end, finished_ms=now_ms)

    def ending_in(self, phase: str, end: EndState, now_ms: int, text: str) -> Recovery:
        """On to its last phase, after which it ends so."""
        return replace(self, ending=end, attempt=1).marked(ENDING, now_ms, text).goto(phase, now_ms)

    def resumed(self, holder: str, term: int, now_ms: int) -> Recovery:
        """In the hands of another leader. The time that passed while nobody led counts against nobody."""
        begins_anew = self.count_marks(RESUMED) < RESUMES_MAX
        taken = replace(self, holder=holder, term=term).marked(RESUMED, now_ms, holder)
        return replace(taken, phase_started_ms=now_ms) if begins_anew else taken

    @property
    def resumed_ms(self) -> int:
        """When the time of a wait began anew because another leader took over; 0 where none did."""
        times = [mark.at_ms for mark in self.timeline if mark.name == RESUMED]
        return times[:RESUMES_MAX][-1] if times else 0

    def count_marks(self, name: str) -> int:
        """How often this has happened in this recovery."""
        return sum(1 for mark in self.timeline if mark.name == name)

    def mark_time(self, name: str) -> int | None:
        """When the first mark of this name was set, if it was."""
        return next((mark.at_ms for mark in self.timeline if mark.name == name), None)


def _without_a_repetition(timeline: tuple[Mark, ...]) -> tuple[Mark, ...]:
    """Of the most frequent name the second one goes: when a thing happened first, and last, is still known."""
    counts = Counter(mark.name for mark in timeline)
    name = max(counts, key=lambda each: (counts[each], each))
    positions = [position for position, mark in enumerate(timeline) if mark.name == name]
    dropped = positions[min(1, len(positions) - 1)]
    return (*timeline[:dropped], *timeline[dropped + 1 :])
