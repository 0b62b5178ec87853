"""Tells the outside who is primary: one line of work for each target, by the leader, from committed records only.

Rules
- What is published is a record of the replicated state, as a whole, with its generation; a target that can refuses an
  older one. Live authority is asked for right before each write.
- A target that is down holds up neither a recovery nor another target. It is tried again, less and less often, and at
  once when something changes.
- A new leader compares every record with every target, and everybody does so once a minute: what somebody else
  changed there, or a write that was lost, is put right. Only differences are written.
- What a person asks for counts from the next round on, so that a round under way neither takes it nor ends it. To
  write over something newer (force) is asked for one record, and ends with it or when nobody waits for it any more.
- A target that raises what it should not fails for that record, aloud; its line goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from orchestrator_raft.core.errors import AuthorityLost, OrchestratorError, Refused, Unavailable
from orchestrator_raft.core.replicated.commands import RecordAudit
from orchestrator_raft.core.replicated.publications import Published
from orchestrator_raft.core.replicated.state import Publication
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.ports import Addresses, Clock, Consensus, Target
from orchestrator_raft.tasks import Tasks

TIMEOUT_S = 5.0
LOOK_UP_TIMEOUT_S = 1.0
COMPARE_S = 60.0
BACK_OFF_S = 0.5
BACK_OFF_MAX_S = 60.0
AUDITED_CHARACTERS_MAX = 500
POLL_S = 0.02
DEFECTS = (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What a target raises where it was not prepared for an answer: noted and said like every failure of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """Where primaries are published, and under which path in key-value stores."""

    targets: tuple[Target, ...] = ()
    addresses: Addresses | None = None
    prefix: str = "mysql/master/"


class Standing(Enum):
    """Where a target stands with one record."""

    WAITING = "waiting"
    """Not tried yet."""
    CURRENT = "current"
    FAILED = "failed"
    """It is tried again by itself."""
    REFUSED = "refused"
    """The target has something newer: a person has to decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """One target and one record. ``generation`` is the one that the target is known to have; 0: none."""

    target: str
    standing: Standing = Standing.WAITING
    generation: int = 0
    at_ms: int = 0
    detail: str = ""


@dataclass(slots=True)
class _Told:
    status: TargetStatus
    wanted: Publication | None = None
    """What was tried last."""
    at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Force:
    """A person's leave to write one record over something newer."""

    generation: int
    round: int
    """The first round that may use it."""
    ends_s: float


class Outdated(Refused):
    """The record was replaced while it was being published: the newer one is due."""


@dataclass(slots=True)
class _Round:
    """What one round over the due records came to."""

    failed: str = ""
    audits: list[str] = field(default_factory=list)


class Line:
    """The work for one target; one a term."""

    def __init__(
        self, target: Target, outlet: Outlet, consensus: Consensus, clock: Clock, require_authority: Callable[[], None]
    ) -> None:
        self.target = target
        self._outlet = outlet
        self._consensus = consensus
        self._clock = clock
        self._require_authority = require_authority
        self._told: dict[str, _Told] = {}
        self._forced: dict[str, _Force] = {}
        self._wanted: dict[str, int] = {}
        """By alias the first round that can do what was asked."""
        self._woken = asyncio.Event()
        self._failures = 0
        self._begun = 0
        self.rounds = 0
        """How many rounds have ended."""
        self.complaint = ""

    def wake(self) -> None:
        """Something has changed: see at once what is due."""
        self._woken.set()

    def want(self, aliases: Iterable[str], *, forced: bool, ends_s: float) -> int:
        """Compare these with the target now; with ``forced`` the records of this moment are written over something
        newer until ``ends_s`` of the monotonic clock.

        The number of rounds after which that has been tried.
        """
        number, records = self._begun + 1, self._consensus.state.publications
        for alias in (alias for alias in aliases if alias in records and self.target.takes(alias)):
            self._wanted[alias] = number
            if forced:
                self._forced[alias] = _Force(generation=records[alias].generation, round=number, ends_s=ends_s)
        self.wake()
        return number

    def status(self, record: Publication) -> TargetStatus | None:
        """None where the record is not published here."""
        if not self.target.takes(record.alias):
            return None
        told = self._told.get(record.alias)
        if told is None:
            return TargetStatus(target=self.target.name, detail=self.complaint)
        if told.status.standing is Standing.FAILED:
            return told.status
        if told.wanted != record:
            return replace(told.status, standing=Standing.WAITING)
        if record.alias in self._wanted and told.status.standing is Standing.CURRENT:
            return replace(told.status, standing=Standing.WAITING, detail=self.complaint)
        return told.status

    async def run(self, audit: Callable[[str], None]) -> None:
        """Publish for ever."""
        while True:
            self._woken.clear()
            self._begun += 1
            done = await self._publish_due()
            self._failures = self._failures + 1 if done.failed else 0
            if bool(done.failed) != bool(self.complaint):
                audit(f"{self.target.name}: {done.failed or 'it takes publications again'}")
            self.complaint = done.failed
            self.rounds = self._begun
            for text in done.audits:
                audit(f"{self.target.name}: {text}")
            await self._wait(self._pause_s())

    def _pause_s(self) -> float:
        if self._failures:
            return min(BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** min(16, self._failures - 1))
        now_s = self._clock.monotonic_s()
        return max(BACK_OFF_S, min((each.at_s + COMPARE_S - now_s for each in self._told.values()), default=COMPARE_S))

    async def _wait(self, at_most_s: float) -> None:
        try:
            async with asyncio.timeout(at_most_s):
                await self._woken.wait()
        except TimeoutError:
            return

    def _due(self, publications: Mapping[str, Publication]) -> list[Publication]:
        """Newest first: a failover goes before what is only compared."""
        now_s = self._clock.monotonic_s()
        self._told = {alias: told for alias, told in self._told.items() if alias in publications}
        self._wanted = {alias: number for alias, number in self._wanted.items() if alias in publications}
        self._forced = {alias: force for alias, force in self._forced.items() if now_s < force.ends_s}
        due = [
            record
            for alias, record in publications.items()
            if self.target.takes(alias)
            and (alias in self._wanted or self._is_due(self._told.get(alias), record, now_s))
        ]
        return sorted(due, key=lambda record: -record.generation)

    def _is_due(self, told: _Told | None, record: Publication, now_s: float) -> bool:
        if told is None or told.wanted != record or told.status.standing is Standing.FAILED:
            return True
        return now_s >= told.at_s + COMPARE_S

    async def _publish_due(self) -> _Round:
        """All that is due, until the target does not answer."""
        done = _Round()
        for record in self._due(self._consensus.state.publications):
            try:
                done.audits += await self._publish(record)
            except Outdated:
                self.wake()
            except Unavailable as error:
                self._note(record, Standing.FAILED, str(error))
                done.failed = str(error)
                return done
            except Refused as error:
                if self._note(record, Standing.REFUSED, str(error)):
                    done.audits.append(str(error))
            except OrchestratorError as error:
                self._note(record, Standing.FAILED, str(error))
                done.failed = str(error)
            except DEFECTS as error:
                done.failed = f"{record.alias}: this is a defect, report it: {type(error).__name__}: {error}"
                self._note(record, Standing.FAILED, done.failed)
        return done

    def _may_force(self, record: Publication) -> bool:
        """Somebody has asked, before this round, to write this very record over something newer, and still waits."""
        force = self._forced.get(record.alias)
        if force is None or force.round > self._begun:
            return False
        return force.generation == record.generation and self._clock.monotonic_s() < force.ends_s

    async def _publish(self, record: Publication) -> list[str]:
        """What the audit trail should have."""
        self._require_authority()
        published = await with_addresses(record, self._outlet.addresses)
        changed = await self.target.publish(
            published, forced=self._may_force(record), before_write=lambda: self._check(record), timeout_s=TIMEOUT_S
        )
        force = self._forced.get(record.alias)
        if force is not None and force.round <= self._begun:
            del self._forced[record.alias]
        self._note(record, Standing.CURRENT, "")
        return (
            [f"the primary of {record.alias} is {record.primary} (generation {record.generation})"] if changed else []
        )

    def _check(self, record: Publication) -> None:
        """Raises AuthorityLost where this node may not act, Outdated where the record has been replaced meanwhile."""
        self._require_authority()
        if self._consensus.state.publications.get(record.alias) != record:
            raise Outdated(f"the primary of {record.alias} has changed meanwhile")

    def _note(self, record: Publication, standing: Standing, detail: str) -> bool:
        """Whether that is news."""
        before = self._told.get(record.alias)
        known = before.status.generation if before is not None else 0
        status = TargetStatus(
            target=self.target.name, standing=standing, detail=detail, at_ms=self._clock.wall_ms(),
            generation=record.generation if standing is Standing.CURRENT else known,
        )  # fmt: skip
        self._told[record.alias] = _Told(status, record, self._clock.monotonic_s())
        if self._wanted.get(record.alias, 0) <= self._begun:
            self._wanted.pop(record.alias, None)
        return before is None or (before.status.standing, before.status.detail) != (standing, detail)


async def with_addresses(record: Publication, addresses: Addresses | None) -> Published:
    """The record and the addresses of its host."""
    if addresses is None:
        return Published(record=record)
    ipv4, ipv6 = await addresses.look_up(record.primary.hostname, timeout_s=LOOK_UP_TIMEOUT_S)
    return Published(record=record, ipv4=ipv4, ipv6=ipv6)


class Publishing:
    """All lines of one term's leader."""

    def __init__(
        self, term: int, consensus: Consensus, clock: Clock, tasks: Tasks, *, outlet: Outlet, proposals: Proposals
    ) -> None:
        self._term = term
        self._consensus = consensus
        self._clock = clock
        self._tasks = tasks
        self._proposals = proposals
        self._seen: Mapping[str, Publication] = {}
        self.outlet = outlet
        self.lines = tuple(Line(each, outlet, consensus, clock, self._require_authority) for each in outlet.targets)

    def start(self) -> None:
        """Compare every record with every target, and go on from there."""
        for line in self.lines:
            self._tasks.start(f"publish to {line.target.name}", line.run(self._audit))

    def look(self) -> None:
        """The state may have changed."""
        publications = self._consensus.state.publications
        if publications is not self._seen:
            self._seen = publications
            for line in self.lines:
                line.wake()

    async def submit(self, aliases: Sequence[str], *, forced: bool, timeout_s: float) -> tuple[str, ...]:
        """Publish these now; what went wrong, target by target, with what could not be done within ``timeout_s``."""
        ends_s = self._clock.monotonic_s() + timeout_s
        asked = [(line, line.want(aliases, forced=forced, ends_s=ends_s)) for line in self.lines]
        while any(line.rounds < number for line, number in asked) and self._clock.monotonic_s() < ends_s:
            await self._clock.sleep(POLL_S)
        return self.complaints(aliases)

    def complaints(self, aliases: Sequence[str]) -> tuple[str, ...]:
        """Where these are not published as they are recorded, and why."""
        publications = self._consensus.state.publications
        found: dict[str, None] = {}
        for alias in aliases:
            record = publications.get(alias)
            for status in self.statuses(record) if record is not None else ():
                if status.standing is not Standing.CURRENT:
                    found[f"{status.target}: {status.detail or status.standing.value}"] = None
        return tuple(found)

    def statuses(self, record: Publication) -> tuple[TargetStatus, ...]:
        """Where each target stands with a record."""
        found = (line.status(record) for line in self.lines)
        return tuple(status for status in found if status is not None)

    def _require_authority(self) -> None:
        authority = self._consensus.authority()
        if authority is None or authority.term != self._term:
            raise AuthorityLost(f"this node may not act in term {self._term} any more")

    def _audit(self, text: str) -> None:
        self._tasks.start("audit of publishing", self._record(text[:AUDITED_CHARACTERS_MAX]))

    async def _record(self, text: str) -> None:
        try:
            await self._proposals.propose(RecordAudit, type="publish", message=text)
        except Unavailable:
            return  # no quorum: the status has it all the same
