"""The promises of the whole product, and whether they are kept. It knows no right decisions, only what may never be.

It sees everything at once: what every node applied, what reached every server, what clients were told. So it can judge
by what is so and not by what a node believes. A broken promise is noted where it happens and ends the run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.policy import LossPolicy
from orchestrator_raft.core.recovery.kinds import KINDS
from orchestrator_raft.core.recovery.model import EndState, Recovery
from orchestrator_raft.core.replicated import State
from orchestrator_raft.core.replicated.commands import ClaimRecovery, FinishRecovery, RecordBlocked, ResumeRecovery
from orchestrator_raft.raft.machine import NO_DIGEST
from tests.fleetsim.transactions import Transaction, one

if TYPE_CHECKING:
    from tests.fleetsim.node import ManagerNode
    from tests.fleetsim.server import Server, Session
    from tests.fleetsim.world import World

TWO_WRITERS = "two writers"
LOST = "acknowledged write lost"
NO_AUTHORITY = "acted without authority"
LATE = "late statement of a deposed leader"
DIVERGED = "nodes diverged"
FALSE_ALARM = "failover of a living primary"
DISABLED = "acted although recoveries are disabled"
UNENDED = "recovery without end"
STUCK = "not well after the faults"
ERRANT = "attached with transactions of its own"
CRASHED = "a node stopped by itself"
DEFECT = "a task failed"
UNKNOWN = "statement that the model does not know"
NO_TOKEN = "acted without the token of the recovery"
OUTDATED = "failover of a primary that is back"
TWO_CLAIMS = "two recoveries of one cluster"
PAUSED = "wrote while writes are paused"
UNDELAYED = "a delayed replica has lost its delay"

CONFIGURATION = "its configuration"
FENCES = re.compile(r"read_only = ON|offline_mode|init_connect|SET SESSION")
"""A stale primary is fenced by whoever leads, whatever recovery runs."""
JUST_NOW_S = 1.0
"""What is written between a comparison and what follows from it can be seen by nobody."""
ASKED_S = 20.0
"""What a person has asked for is done by then."""
HEALTHY_S = 3.0
"""A primary that was well in every respect for so long is alive for everybody who looks."""
PAUSE_GRACE_S = 6.0
"""What was begun before writes were paused is over by then."""
SEEN_S = 1.5
"""Within so much time what a leader has read is replicated."""


class Violation(Exception):
    """A promise is broken. ``kind`` is one of the texts above."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A client was told that this write is safe."""

    transaction: Transaction
    server: str
    how: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Opening:
    """A manager made a server writable."""

    server: str
    at_s: float
    had: GtidSet
    recovery: Recovery | None
    promised: bool


class Checks:
    def __init__(self, world: World) -> None:
        self._world = world
        self.acknowledged: dict[Transaction, Acknowledged] = {}
        self.openings: list[Opening] = []
        self.newest: State = State()
        """The state after the newest entry that anybody has applied."""
        self.newest_index = 0
        self.lapses_seen_s: dict[str, list[float]] = {}
        """When a leader read of a server that its semi-sync is not in force."""
        self._digests: dict[int, tuple[bytes, str]] = {}
        self._claimed_s: dict[str, float] = {}
        self._errant_s: dict[Transaction, float] = {}
        """When somebody wrote on the wrong server."""
        self._excused: set[Transaction] = set()
        self._paused_s: dict[str, float] = {}
        self._begun: set[str] = set()
        """Recoveries for which something was said to a server."""

    def violated(self, kind: str, text: str) -> None:
        if self._world.violation is None:
            self._world.note(f"VIOLATION {kind}: {text}")
            self._world.violation = Violation(kind, text)

    # the log

    def restored(self, node: ManagerNode, digest: bytes) -> None:
        known = {each for each, _ in self._digests.values()} | {NO_DIGEST}
        if digest not in known:
            self.violated(DIVERGED, f"{node.name} starts from a state that no log leads to")

    def applied(self, node: ManagerNode, index: int, command: Any, result: Any, after: tuple[State, bytes]) -> None:
        state, digest = after
        known = self._digests.get(index)
        if known is not None:
            if known[0] != digest:
                self.violated(DIVERGED, f"{node.name} and {known[1]} differ at entry {index}")
            return
        if index <= self.newest_index:
            self.violated(DIVERGED, f"{node.name} applies entry {index}, where the others have no command")
            return
        self._digests[index] = digest, node.name
        before, self.newest, self.newest_index = self.newest, state, index
        self._world.statistics.commands += 1
        self._committed(before, state, command, result)

    def _committed(self, before: State, after: State, command: Any, result: Any) -> None:
        world = self._world
        if after.pauses is not before.pauses:
            self._paused_s = {each: self._paused_s.get(each, world.now_s) for each in after.pauses}
        if isinstance(command, ClaimRecovery):
            world.note(
                f"claim of {command.recovery.kind} on {command.recovery.subject.key}: {result.reason or 'granted'}"
            )
            if result.ok:
                self._granted(before, after, after.recoveries[command.recovery.id])
        elif isinstance(command, ResumeRecovery) and result.ok:
            world.statistics.resumed += 1
            world.note(f"{command.holder} resumes {command.recovery_id} in term {command.term}")
        elif isinstance(command, FinishRecovery) and result.ok:
            self._finished(after.recoveries.get(command.recovery.id, command.recovery))
        elif isinstance(command, RecordBlocked):
            world.statistics.blocked += 1
            world.note(f"blocked: {command.key}: {command.reason}")
        elif world.trace is not None:
            self._note_command(command, result)

    def _note_command(self, command: Any, result: Any) -> None:
        recovery = getattr(command, "recovery", None)
        text = type(command).__name__
        if isinstance(recovery, Recovery):
            text += f" {recovery.kind} {recovery.phase} {recovery.attempt} -> {recovery.successor}"
        elif hasattr(command, "key"):
            text += f" {command.key} {getattr(command, 'status', '')}"
        elif hasattr(command, "servers"):
            text += " " + ", ".join(
                f"{each.key}{'' if each.reachable else ' out of reach'}" for each in command.servers
            )
        self._world.note(f"  {text}{'' if result.ok else f' refused: {result.reason}'}")

    def _granted(self, before: State, after: State, recovery: Recovery) -> None:
        self._world.statistics.recoveries += 1
        self._claimed_s[recovery.id] = self._world.now_s
        running = [each.id for each in after.active_recoveries if each.cluster_id == recovery.cluster_id]
        if len(running) > 1:
            self.violated(TWO_CLAIMS, f"{', '.join(running)} run at once")
        if before.pause_of(recovery.cluster_id) is not None:
            self.violated(PAUSED, f"{recovery.kind} of {recovery.subject.key} was granted")
        if recovery.request.forced:
            return
        if before.recoveries_disabled:
            self.violated(DISABLED, f"{recovery.kind} of {recovery.subject.key} was granted")

    def proposes(self, node: ManagerNode, command: Any) -> None:
        """A node has decided something; whether it comes true is seen when it is applied."""
        if node.is_inert or not isinstance(command, ClaimRecovery) or command.recovery.request.forced:
            return
        if command.recovery.kind == "dead_primary":
            self._is_really_dead(command.recovery, FALSE_ALARM)

    def _finished(self, recovery: Recovery) -> None:
        statistics = self._world.statistics
        self._world.note(f"{recovery.kind} of {recovery.subject.key} ends: {recovery.end.value}; "
                         f"{recovery.timeline[-1].text if recovery.timeline else ''}")  # fmt: skip
        if recovery.end is EndState.RUNNING:
            self.violated(UNENDED, f"{recovery.id} was finished without an end")
        if recovery.end is EndState.SUCCEEDED:
            names = {"dead_primary": "failovers", "takeover": "takeovers", "rejoin": "rejoins"}
            name = names.get(recovery.kind, "recoveries")
            setattr(statistics, name, getattr(statistics, name) + 1)
        elif hasattr(statistics, recovery.end.value):
            setattr(statistics, recovery.end.value, getattr(statistics, recovery.end.value) + 1)

    # false alarms

    def _is_really_dead(self, recovery: Recovery, kind: str) -> None:
        """A primary that has been well, and within everybody's reach, for a while is nobody's to fail over."""
        world = self._world
        server = world.by_key.get(recovery.subject.key)
        if server is None or not self._is_well(server):
            return
        members = world.members()
        witnesses = [
            node.name
            for node in (world.nodes[slot] for slot in sorted(members))
            if node.is_awake
            and node.started_s < world.now_s - HEALTHY_S
            and self._woken_s.get(node.name, 0.0) < world.now_s - HEALTHY_S
            and world.tcp.is_well(node.name, server.name, HEALTHY_S)
        ]
        if len(witnesses) > len(members) // 2:
            self.violated(kind, f"{server.name} is well, and {', '.join(witnesses)} have reached it all the time")

    def _is_well(self, server: Server) -> bool:
        since_s = self._world.now_s - HEALTHY_S
        return server.is_awake and server.started_s < since_s and self._woken_s.get(server.name, 0.0) < since_s

    @property
    def _woken_s(self) -> dict[str, float]:
        return self._world.stood_still_until_s

    # statements

    def probed(self, node: ManagerNode, facts: Facts) -> None:
        if facts.semi_sync.source_enabled and facts.semi_sync.source_active:
            return
        if not node.is_inert and node.term_with_authority:
            self.lapses_seen_s.setdefault(facts.key.hostname, []).append(self._world.now_s)

    def says(self, node: ManagerNode, key: InstanceKey, sql: str, *, changes: bool) -> int:
        """A node is about to send a statement over its acting session; gives the term in which it acts."""
        if node.is_inert:
            return 0
        world, term = self._world, node.term_with_authority
        if changes:
            world.statistics.statements += 1
            world.note(f"    {node.name} to {key}: {sql[:100]}")
            if not term:
                self.violated(NO_AUTHORITY, f"{node.name} says to {key}: {sql[:80]}")
            self._may_say(node, key, sql, term)
        replica = node.replica
        return term or (replica.term if replica is not None else 0)

    def _may_say(self, node: ManagerNode, key: InstanceKey, sql: str, term: int) -> None:
        rivals = [
            other.name
            for other in self._world.nodes.values()
            if other is not node and other.is_up and not other.clock.is_frozen and other.term_with_authority
        ]
        if term and rivals:
            self.violated(NO_AUTHORITY, f"{node.name} has authority, and so have {', '.join(rivals)}")
        state = self.newest
        record = state.servers.get(key)
        running = state.active_recovery(record.cluster_id) if record is not None else None
        if running is not None and running.term != term and not FENCES.search(sql):
            self.violated(NO_TOKEN, f"{node.name} says in term {term} to {key}, while {running.kind} is held by "
                                    f"{running.holder} in term {running.term}: {sql[:80]}")  # fmt: skip
        if running is not None and running.id not in self._begun:
            self._begun.add(running.id)
            if running.kind == "dead_primary" and not running.request.forced:
                self._is_really_dead(running, OUTDATED)
        if running is None and record is not None:
            self._may_write(record.cluster_id, f"{node.name} says to {key}: {sql[:80]}")
        asked = self._world.now_s - self._world.asked_s < ASKED_S
        if state.recoveries_disabled and not state.active_recoveries and not state.stale and not asked:
            self.violated(DISABLED, f"{node.name} says to {key}: {sql[:80]}")

    def _may_write(self, cluster_id: str, text: str) -> None:
        """Paused means no write, by nobody; a recovery that runs goes on to its end."""
        since_s = min((self._paused_s[each] for each in ("", cluster_id) if each in self._paused_s), default=None)
        if since_s is not None and since_s < self._world.now_s - PAUSE_GRACE_S:
            self.violated(PAUSED, text)

    def takes_effect(self, server: Server, session: Session, sql: str, term: int) -> None:
        newest, server.lock_term = server.lock_term, max(server.lock_term, term)
        if term and term < newest:
            self.violated(LATE, f"of term {term} on {server.name}, where term {newest} has acted: {sql[:80]}")

        if sql.startswith("CHANGE") and term:
            self._attached(server, sql)

    def _attached(self, server: Server, sql: str) -> None:
        """A returning server may follow the primary only if that has everything it has."""
        record = self.newest.servers.get(server.key)
        running = self.newest.active_recovery(record.cluster_id) if record is not None else None
        if running is None or running.kind != "rejoin" or running.subject.key != server.key:
            return
        primary = self._world.by_key.get(running.successor) if running.successor is not None else None
        if primary is None or f"'{primary.name}'" not in sql:
            return
        extra = server.logged.union(server.replication.retrieved).minus(primary.logged)
        if not self.but_for_people(extra, for_s=JUST_NOW_S).is_empty:
            self.violated(ERRANT, f"{server.name} is put below {primary.name}, which lacks {extra}")

    def written_behind_backs(self, transaction: Transaction) -> None:
        self._errant_s[transaction] = self._world.now_s

    def but_for_people(self, extra: GtidSet, *, for_s: float = float("inf")) -> GtidSet:
        """Without what people have written on replicas, within so much time."""
        since_s = self._world.now_s - for_s
        for transaction, at_s in self._errant_s.items():
            extra = extra.minus(one(transaction)) if at_s >= since_s and extra else extra
        return extra

    def unknown_statement(self, server: Server, sql: str) -> None:
        self.violated(UNKNOWN, f"{server.name}: {sql}")

    # who takes writes

    def opened(self, server: Server, term: int) -> None:
        """Somebody has made a server writable; ``term`` is 0 for a person."""
        world = self._world
        world.note(f"    {server.name} takes writes")
        if not term:
            return
        world.statistics.openings += 1
        recovery = self._acting(server)
        promised = recovery is not None and recovery.promised and not self._is_loss_accepted(recovery)
        for other in world.servers.values():
            if other is not server and other.can_acknowledge():
                self._second_writer(server, other, promised)
            if other is not server and other.is_up and not other.read_only and self._is_left_open(other):
                self.violated(
                    TWO_WRITERS, f"{server.name} was opened, and nobody has fenced {other.name}, which answers"
                )
        opening = Opening(server.name, world.now_s, server.executed, recovery, promised)
        self.openings.append(opening)
        for each in self.acknowledged.values():
            self._judge(each, opening)

    def _is_loss_accepted(self, recovery: Recovery) -> bool:
        """By the policy that this installation has, or by the person who asked for it."""
        return recovery.request.accept_loss or self._world.engine_settings.policy.loss is LossPolicy.ANY

    def _acting(self, server: Server) -> Recovery | None:
        """The recovery that changes the primary of this server's cluster now."""
        record = self.newest.servers.get(server.key)
        running = self.newest.active_recovery(record.cluster_id) if record is not None else None
        return running if running is not None and KINDS[running.kind].counts else None

    def _second_writer(self, server: Server, other: Server, promised: bool) -> None:
        """A replica that its own configuration has opened is nobody's primary; the old primary is one, however."""
        primaries = {cluster.primary for cluster in self.newest.clusters.values()}
        if other.opened_by == CONFIGURATION and other.key not in primaries:
            return
        if other.key not in self.newest.stale:
            self.violated(TWO_WRITERS, f"{server.name} was opened while {other.name} takes writes and is on no list")
        elif self._could_be_fenced(other):
            self.violated(TWO_WRITERS, f"{server.name} was opened while {other.name} takes writes and could be fenced")
        elif promised and other.semi_sync.source_enabled and other.semi_sync_active:
            self.violated(
                TWO_WRITERS, f"{server.name} was opened while {other.name} can still have its writes confirmed"
            )

    def _is_left_open(self, other: Server) -> bool:
        """It is the primary so far, and could be fenced."""
        primaries = {cluster.primary for cluster in self.newest.clusters.values()}
        return other.key in primaries and self._could_be_fenced(other)

    def _could_be_fenced(self, server: Server) -> bool:
        """It has been well, and within reach of whoever acts, for a while."""
        leader = self._world.leader()
        return (
            leader is not None
            and self._is_well(server)
            and leader.started_s < self._world.now_s - HEALTHY_S
            and self._world.tcp.is_well(leader.name, server.name, HEALTHY_S)
        )

    # what clients were told

    def client_told(self, transaction: Transaction, server: str, how: str) -> None:
        world = self._world
        each = Acknowledged(transaction, server, how, world.now_s)
        self.acknowledged[transaction] = each
        if world.servers[server].opened_by == CONFIGURATION:
            self._excused.add(transaction)
        world.statistics.acknowledged += 1
        world.statistics.acknowledged_alone += how == "alone"
        for opening in self.openings:
            if opening.server != server or self.openings[-1] is not opening:
                self._judge_late(each, opening)

    def _judge_late(self, each: Acknowledged, opening: Opening) -> None:
        """The client heard of it after the opening; that counts if it is about what was written before."""
        latest = self.openings[-1]
        if opening is latest and not opening.had.covers(one(each.transaction)):
            self._judge(each, opening)

    def _judge(self, each: Acknowledged, opening: Opening) -> None:
        """Is it lost by this opening, and was that promised not to happen?"""
        if opening.had.covers(one(each.transaction)) or each.transaction in self._excused:
            return
        if not opening.promised or (each.how == "alone" and self._is_unseen(each, opening)):
            self._world.statistics.losses_allowed += each.transaction not in self._excused
            self._excused.add(each.transaction)
            return
        uuid, number = each.transaction
        self.violated(
            LOST,
            f"{uuid[:8]}:{number} of {each.server}, acknowledged {self._world.now_s - each.at_s:.3f} s ago "
            f"({each.how}), is not on {opening.server}, which was opened",
        )

    def _is_unseen(self, each: Acknowledged, opening: Opening) -> bool:
        """It was acknowledged while semi-sync was out of force, and no leader had a chance to know that."""
        claimed_s = self._claimed_s.get(opening.recovery.id, opening.at_s) if opening.recovery else opening.at_s
        return not any(each.at_s <= seen_s < claimed_s - SEEN_S for seen_s in self.lapses_seen_s.get(each.server, ()))

    def dropped(self, transactions: Sequence[Transaction]) -> None:
        """A replica that restarted has dropped what it may have acknowledged: no promise covers that (semi-sync.md)."""
        self._world.statistics.dropped_by_restarts += len(transactions)
        self._excused.update(transactions)

    def is_excused(self, each: Acknowledged) -> bool:
        return each.transaction in self._excused

    # nodes

    def crashed(self, node: ManagerNode, error: BaseException) -> None:
        self.violated(CRASHED, f"{node.name}: {type(error).__name__}: {error}")

    def task_failed(self, node: ManagerNode, name: str, error: BaseException) -> None:
        self.violated(DEFECT, f"{node.name}, {name}: {type(error).__name__}: {error}")
