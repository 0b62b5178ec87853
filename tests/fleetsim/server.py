"""A modelled MySQL server: transactions, semi-sync as a source, sessions, and what a restart forgets.

Theory. A transaction is in the binary log first; under semi-sync (AFTER_SYNC) its client hears of it, and others see
it, when enough senders to replicas have had it acknowledged. A restart keeps the binary log, so it commits what waited,
and takes the rest from the configuration file. Read-only waits for commits in progress and makes new ones wait. The
replica's side is in ``replica``, the statements in ``sql``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator_raft.core.gtid import EMPTY_MYSQL, GtidSet
from orchestrator_raft.core.instance import Binlog, Facts, Flavor, InstanceKey, SemiSync
from tests.fleetsim.checks import CONFIGURATION
from tests.fleetsim.replica import Replication
from tests.fleetsim.sql import STATEMENTS, Blocked, Word, answer
from tests.fleetsim.tcp import Connection, Frame
from tests.fleetsim.transactions import Transaction, one

if TYPE_CHECKING:
    from tests.fleetsim.world import World

MANAGER, CLIENT, REPLICATION = "orc", "app", "repl"
NEVER_MS = 600_000
WAITING = "Waiting for semi-sync ACK from slave"


@dataclass(slots=True)
class SemiSyncVariables:
    """``rpl_semi_sync_*``."""

    source_enabled: bool = False
    replica_enabled: bool = True
    timeout_ms: int = 3_600_000 * 24
    wait_count: int = 1
    wait_no_replica: bool = True


@dataclass(slots=True)
class Configuration:
    """What my.cnf says."""

    read_only: bool = True
    semi_sync: SemiSyncVariables = field(default_factory=SemiSyncVariables)
    apply_s: float = 0.002
    starts_replication: bool = True
    relay_log_recovery: bool = False
    """A restart drops what was received and not applied."""
    delay_s: int = 0
    """How long its people let it apply later than it could (SOURCE_DELAY)."""


@dataclass(slots=True, eq=False)
class Session:
    """One connection to the server. ``term`` is that of the manager that acts on it."""

    id: int
    connection: Connection
    user: str = ""
    is_open: bool = True
    is_orphan: bool = False
    """Its client is gone while a statement runs."""
    lock_wait_s: float = 31_536_000.0
    blocked: Blocked | None = None


@dataclass(slots=True, eq=False)
class Pending:
    """A commit that waits for its acknowledgement."""

    transaction: Transaction
    index: int
    since_s: float
    done: Callable[[str], None]
    session: Session | None


@dataclass(slots=True, eq=False)
class Sender:
    """The dump thread for one replica."""

    session: Session
    replica: str
    has: GtidSet
    is_semi_sync: bool
    position: int = 0
    acked: int = -1
    """Everything up to this place of the binary log is known to be there."""


class Server:
    empty: ClassVar[GtidSet] = EMPTY_MYSQL
    statements: ClassVar[Sequence[Word]] = STATEMENTS
    uses_new_words: ClassVar[bool] = True
    """Its semi-sync variables say source and replica."""

    def __init__(self, world: World, number: int, configuration: Configuration) -> None:
        self.world = world
        self.name = f"db{number}"
        self.key = InstanceKey(self.name, 3300 + number)
        self.number = number
        self.uuid = self.writer = f"{number:08d}-0000-0000-0000-000000000000"
        """Who it is, and as whom it writes."""
        self.configuration = configuration
        self.dice = random.Random(f"{world.seed} {self.name}")
        self.life = 0
        self.wakes_s = 0.0
        self.is_silent = False
        self.slow_apply_until_s = 0.0
        self.binlog: list[Transaction] = []
        self.logged = self.empty
        self.replication = self.new_replication()
        self.may_be_ahead = False
        """It came up writable, or a person wrote on it, at least once."""
        self.disk_full_until_s = 0.0
        self._forget()

    def new_replication(self) -> Replication:
        return Replication(self)

    def _forget(self) -> None:
        """What a process has in memory, as it is at its start."""
        self.read_only = self.super_read_only = self.configuration.read_only
        self.opened_by = "" if self.read_only else CONFIGURATION
        self.offline_mode = False
        self.semi_sync = replace(self.configuration.semi_sync)
        self.semi_sync_active = self.semi_sync.source_enabled
        self.executed = self.logged
        self.sessions: dict[int, Session] = {}
        self.lock_holder: int | None = None
        self.lock_term = 0
        """The newest term of a manager that took the lock in this life."""
        self.pending: list[Pending] = []
        self.senders: list[Sender] = []
        self.waiting: list[Blocked] = []
        self.held_back: list[tuple[Session, int]] = []
        """Writes that wait until somebody's read-only is decided."""
        self.out_of_space = 0
        """Commits that wait for room on the disk."""
        self._next_session = 10
        self.started_s = self.world.now_s

    # process

    @property
    def is_up(self) -> bool:
        return self.life != 0

    @property
    def is_awake(self) -> bool:
        return self.life != 0 and self.wakes_s <= self.world.now_s

    def at(self, delay_s: float, action: Callable[..., None], *arguments: object) -> None:
        """In this life, and not while it stands still."""
        self.world.at(delay_s, self._go_on, self.life, action, arguments)

    def _go_on(self, life: int, action: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if life != self.life or not life:
            return
        left_s = self.wakes_s - self.world.now_s
        if left_s > 0:
            self.world.at(left_s, self._go_on, life, action, arguments)
            return
        action(*arguments)

    def start(self) -> None:
        if self.life:
            return
        self.life = self.world.next_life()
        self.is_silent = False
        self._forget()
        self.world.note(f"{self.name} starts, {'read-only' if self.read_only else 'writable'}")
        self.replication.started(runs=self.configuration.starts_replication)
        self.may_be_ahead |= not self.read_only

    def kill(self, *, silently: bool = False) -> None:
        """``silently``: with its whole machine."""
        if not self.life:
            return
        self.world.note(f"{self.name} {'loses power' if silently else 'is killed'}")
        self.is_silent = silently
        self.life, self.wakes_s = 0, 0.0
        self.pending, self.senders, self.waiting = [], [], []
        self.world.tcp.died(self)

    def freeze(self, for_s: float) -> None:
        if not self.is_awake:
            return
        self.world.note(f"{self.name} stands still for {for_s:.2f} s")
        self.wakes_s = self.world.now_s + for_s
        self.world.at(for_s, self.thaw, self.life)

    def thaw(self, life: int) -> None:
        if life == self.life and life:
            self.wakes_s = min(self.wakes_s, self.world.now_s)
            self.world.stood_still_until_s[self.name] = self.world.now_s
            self.world.tcp.woke(self)

    # sessions

    def accept(self, connection: Connection) -> None:
        self._next_session += 1
        session = Session(self._next_session, connection)
        self.sessions[session.id] = session
        connection.there.on_frame = lambda _connection, frame: self._said(session, frame)
        connection.there.on_closed = lambda _connection: self._left(session)
        connection.answer(("greeting", self.uuid))

    def _said(self, session: Session, frame: Frame) -> None:
        if not session.is_open:
            return
        match frame[0]:
            case "login":
                session.user = frame[1]
                if self.turns_away(session.user):
                    self.end(session)
            case "query":
                answer(self, session, frame[1], frame[2], frame[3])
            case "write":
                self.write(session, frame[1])
            case "dump":
                self._begin_sending(session, *frame[1:])
            case "ack":
                self._acknowledged(session, frame[1])

    def turns_away(self, user: str) -> bool:
        """Somebody logs in."""
        return self.offline_mode and user != MANAGER

    def reply(self, session: Session, number: int, rows: list[dict[str, object]]) -> None:
        session.connection.answer(("rows", number, rows))

    def fail(self, session: Session, number: int, error: int, text: str) -> None:
        session.connection.answer(("error", number, error, text))

    def _left(self, session: Session) -> None:
        """Its client is gone; a statement that waits goes on, and the lock stays with it."""
        if session.blocked is not None or any(each.session is session for each in self.pending):
            session.is_orphan = True
        else:
            self.end(session)

    def end(self, session: Session) -> None:
        """Killed, or closed: nothing of it goes on, and nothing that is on the way to it will be read."""
        session.is_open = False
        self.sessions.pop(session.id, None)
        if session.blocked is not None:
            self.waiting = [each for each in self.waiting if each is not session.blocked]
            session.blocked = None
        if self.lock_holder == session.id:
            self.lock_holder = None
        self.held_back = [each for each in self.held_back if each[0] is not session]
        self.senders = [each for each in self.senders if each.session is not session]
        session.connection.hang_up()
        self.settle()

    def kill_session(self, session: Session) -> None:
        """Somebody says KILL. A commit that waits goes on waiting, and nobody hears of it."""
        self.end(session)

    def processes(self) -> list[dict[str, object]]:
        """SHOW PROCESSLIST."""
        return [
            {"Id": str(each.id), "User": each.user or "unauthenticated user", "State": self._state_of(each),
             "Command": "Binlog Dump" if each.user == REPLICATION else "Query"}
            for each in self.sessions.values()
        ]  # fmt: skip

    def _state_of(self, session: Session) -> str:
        """Commits go in groups: the first one waits, and the others for it."""
        if self.pending and self.pending[0].session is session:
            return WAITING
        return "Commit" if any(each.session is session for each in self.pending) else ""

    # commits

    def write(self, session: Session, number: int) -> None:
        """A client's transaction."""
        if self.read_only:
            self.fail(session, number, 1290, "The MySQL server is running with the --read-only option")
            return
        if any(each.is_read_only for each in self.waiting):
            self.held_back.append((session, number))
            return
        if self.disk_full_until_s > self.world.now_s:
            self.out_of_space += 1
            self.at(self.disk_full_until_s - self.world.now_s, self._has_space, session, number)
            return
        transaction = self.next_transaction()
        self.commit(transaction, lambda how: self._committed(session, number, transaction, how), session)

    def _has_space(self, session: Session, number: int) -> None:
        self.out_of_space -= 1
        if session.is_open:
            self.write(session, number)
        self.settle()

    def next_transaction(self) -> Transaction:
        own = sum(stop - start for key, pairs in self.logged.lines if key[0] == self.uuid for start, stop in pairs)
        return (self.writer, own + 1)

    def write_behind_backs(self) -> None:
        """Somebody with SUPER writes on this server, whatever it is."""
        self.may_be_ahead = True
        transaction = self.next_transaction()
        self.world.checks.written_behind_backs(transaction)
        self.commit(transaction, lambda _how: None)

    def _committed(self, session: Session, number: int, transaction: Transaction, how: str) -> None:
        if session.is_open:
            session.connection.answer(("written", number, transaction, how))

    def commit(self, transaction: Transaction, done: Callable[[str], None], session: Session | None = None) -> None:
        """Log it, send it, and finish when semi-sync lets it; ``done`` hears how: "semi-sync", "alone", "released"."""
        self.binlog.append(transaction)
        self.logged = self.logged.union(one(transaction))
        self.pending.append(Pending(transaction, len(self.binlog) - 1, self.world.now_s, done, session))
        for sender in self.senders:
            self._send(sender)
        if self.semi_sync.timeout_ms < NEVER_MS:
            self.at(self.semi_sync.timeout_ms / 1000 + 0.001, self.settle)
        self.settle()

    def settle(self) -> None:
        """Whatever waits and need not any more goes on."""
        self._watch_semi_sync()
        while self.pending:
            first = self.pending[0]
            waits = self.semi_sync.source_enabled and self.semi_sync_active
            if waits and self._ackers(first.index) < self.semi_sync.wait_count:
                break
            self.pending.pop(0)
            self.finish(first, "semi-sync" if waits else "alone")
        for blocked in list(self.waiting):
            if blocked in self.waiting and blocked.is_ready():
                self.unblock(blocked, None)

    def finish(self, pending: Pending, how: str) -> None:
        self.executed = self.executed.union(one(pending.transaction))
        pending.done(how)
        if pending.session is not None and pending.session.is_orphan:
            self.end(pending.session)

    def _watch_semi_sync(self) -> None:
        """In force or not: by the timeout, by who is connected, and by who has caught up."""
        variables, now_s = self.semi_sync, self.world.now_s
        if not variables.source_enabled:
            self.semi_sync_active = False
            return
        clients = [each for each in self.senders if each.is_semi_sync]
        if self.semi_sync_active:
            late = [each for each in self.pending if (now_s - each.since_s) * 1000 >= variables.timeout_ms]
            alone = len(clients) < variables.wait_count and not variables.wait_no_replica
            if late or alone:
                self.world.note(f"{self.name}: semi-sync goes out of force")
                self.semi_sync_active = False
        elif self._ackers(len(self.binlog) - 1) >= variables.wait_count:
            self.semi_sync_active = True

    def _ackers(self, index: int) -> int:
        return sum(1 for each in self.senders if each.is_semi_sync and each.acked >= index)

    def unblock(self, blocked: Blocked, error: int | None) -> None:
        """A statement that waited goes on, or gives up with this error."""
        self.waiting.remove(blocked)
        session = blocked.session
        session.blocked = None
        blocked.finish(error)
        if session.is_orphan:
            self.end(session)
        if blocked.is_read_only:
            held_back, self.held_back = self.held_back, []
            for each, number in held_back:
                if each.is_open:
                    self.write(each, number)

    # sending to replicas

    def may_be_source_of(self, has: GtidSet, position: Transaction | None) -> bool:
        """It knows where a replica stands that has this, and got or wrote ``position`` last."""
        del position
        return self.logged.covers(has.only_from({self.uuid}))

    def _begin_sending(
        self, session: Session, replica: str, has: GtidSet, is_semi_sync: bool, position: Transaction | None
    ) -> None:
        if not self.may_be_source_of(has, position):
            session.connection.answer(("refused", 1236, "Replica has more GTIDs than the source has"))
            return
        sender = Sender(session, replica, has, is_semi_sync)
        while sender.acked + 1 < len(self.binlog) and has.covers(one(self.binlog[sender.acked + 1])):
            sender.acked += 1
        self.senders = [each for each in self.senders if each.replica != replica]
        self.senders.append(sender)
        self._send(sender)
        self.settle()

    def _send(self, sender: Sender) -> None:
        while sender.position < len(self.binlog):
            transaction = self.binlog[sender.position]
            if not sender.has.covers(one(transaction)):
                sender.session.connection.answer(("event", sender.position, transaction))
            elif sender.acked == sender.position - 1:
                sender.acked = sender.position
            sender.position += 1

    def _acknowledged(self, session: Session, index: int) -> None:
        for sender in self.senders:
            if sender.session is session:
                sender.acked = max(sender.acked, index)
        self.settle()

    def replicas_connected(self) -> tuple[InstanceKey, ...]:
        return tuple(sorted(self.world.servers[each.replica].key for each in self.senders))

    # what a probe sees

    def facts(self) -> Facts:
        return self.facts_with(
            flavor=Flavor.MYSQL, version="9.7.4", server_uuid=self.uuid, super_read_only=self.super_read_only,
            gtid_mode="ON", executed=self.executed, purged=EMPTY_MYSQL,
            binlog=Binlog(enabled=True, format="ROW", row_image="FULL", logs_replica_updates=True),
        )  # fmt: skip

    def facts_with(self, **dialect: Any) -> Facts:
        variables = self.semi_sync
        return Facts(
            **dialect, key=self.key, server_id=self.number, uptime_s=int(self.world.now_s - self.started_s),
            read_only=self.read_only,
            semi_sync=SemiSync(
                available=True, source_enabled=variables.source_enabled,
                source_active=variables.source_enabled and self.semi_sync_active,
                source_clients=sum(each.is_semi_sync for each in self.senders),
                wait_for_replica_count=variables.wait_count, wait_without_replicas=variables.wait_no_replica,
                after_sync=True, timeout_ms=variables.timeout_ms, replica_enabled=variables.replica_enabled,
                replica_active=self.replication.is_semi_sync, new_names=self.uses_new_words,
            ),
            channels=self.replication.channels(), replicas=self.replicas_connected(),
            has_replication_credentials=self.replication.source is not None,
        )  # fmt: skip

    def can_acknowledge(self) -> bool:
        """Clients could still be told here that a write is safe, now or once it runs again."""
        if not self.life or self.read_only:
            return False
        if not self.semi_sync.source_enabled or not self.semi_sync_active:
            return True
        live = [each for each in self.senders if each.is_semi_sync and each.session.connection.is_open]
        return len(live) >= self.semi_sync.wait_count
