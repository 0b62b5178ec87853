"""A small but honest fleet of database servers, in memory: what the steps of a recovery do to it, and what it tells.

Theory. A server has what it has executed (its binary log) and what it has only received (relay log). A replica whose
receiver runs takes over whatever its source has in its binary log; a changed source drops the relay log, as a GTID
restart does. Under semi-sync a commit is in the binary log at once, and acknowledged to its client when enough
connected replicas with semi-sync hold it, or at once while it is out of force. Clients are the worst there are: they
write wherever somebody lets them.

Nothing here knows what a recovery wants. Whether the manager reaches a server (``reachable``) and whether that lives
(``alive``) are two things, so that a primary can be out of reach and still take writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from orchestrator_raft.core.gtid import EMPTY_MYSQL, GtidSet, parse_mysql
from orchestrator_raft.core.health import SETTINGS_UNKNOWN, GroupMember, Load, ServerSettings
from orchestrator_raft.core.instance import (
    Binlog,
    Channel,
    ChannelOption,
    Facts,
    Flavor,
    InstanceKey,
    Location,
    ProbeResult,
    PromotionRule,
    Reached,
    SemiSync,
    ThreadState,
    Unreachable,
    UnreachableKind,
)
from orchestrator_raft.core.recovery.steps import (
    COPIED,
    CheckClone,
    CloneFrom,
    Fence,
    FireHook,
    FlushBinaryLogs,
    InjectEmpty,
    KillQuery,
    Outcome,
    PointTo,
    PurgeBinaryLogs,
    ReadCopy,
    ReadPlace,
    Reprobe,
    ResetGtids,
    ResetReplication,
    ServerStep,
    SetDelay,
    SetEventScheduler,
    SetNetTimeout,
    SetReadOnly,
    SetSemiSync,
    SetWritable,
    SkipTransaction,
    StartReplication,
    Step,
    StopReceiver,
    StopReplication,
    WaitApplied,
)
from tests.core.by_place import BY_PLACE, by_place, place

DAY_MS = 86_400_000


@dataclass
class Database:
    """One server. Fields that are None or empty follow from the rest; set ones are told as they are."""

    name: str
    key: InstanceKey
    number: int
    flavor: Flavor = Flavor.MYSQL
    version: str = "8.4.3"
    alive: bool = True
    reachable: bool = True
    unreachable_kind: UnreachableKind = UnreachableKind.REFUSED
    ever_reached: bool = True
    read_only: bool = True
    executed: GtidSet = EMPTY_MYSQL
    retrieved: GtidSet = EMPTY_MYSQL
    pending: GtidSet = EMPTY_MYSQL
    """Written, in the binary log, and not yet acknowledged to the client, who waits."""
    has_gtids: bool = True
    uses_gtid: bool = True
    gtid_mode: str = "ON"
    source: InstanceKey | None = None
    extra_channels: int = 0
    unnamed_channel: bool = True
    receiver_on: bool = False
    applier_on: bool = False
    applier_stuck: bool = False
    """The applier runs and applies nothing: lag without end."""
    receiver_state: ThreadState | None = None
    applier_state: ThreadState | None = None
    receiver_error: str = ""
    copy_state: str = "no copy began"
    applier_error: str = ""
    lag_s: int | None = None
    delay_s: int = 0
    has_filters: bool = False
    options: tuple[ChannelOption, ...] = ()
    source_semi_sync: bool = False
    source_active: bool = True
    waits_for: int = 1
    timeout_ms: int = DAY_MS
    acks: bool = False
    binlog: bool = True
    logs_updates: bool = True
    format: str = "ROW"
    location: Location = field(default_factory=Location)
    rule: PromotionRule = PromotionRule.NEUTRAL
    semi_sync_priority: int = 0
    cluster_alias: str = ""
    frozen: bool = False
    """The process stands still: connections are open and nothing comes over them."""
    deaf: bool = False
    """Its receiver does not notice that nothing arrives any more."""
    heartbeat_s: float | None = None
    heartbeats: int = 0
    uptime_s: int = 1000
    connections: int = 5
    connections_max: int = 100
    syncs_pending: int = 0
    settings: ServerSettings = SETTINGS_UNKNOWN
    group: GroupMember | None = None
    fence_lacks: tuple[str, ...] = ()
    told_id: int = 0
    told_uuid: str = ""

    @property
    def uuid(self) -> str:
        return f"{self.number:08d}-0000-0000-0000-000000000000"

    @property
    def is_open(self) -> bool:
        """A client could write here now."""
        return self.alive and not self.read_only

    @property
    def has(self) -> GtidSet:
        return self.executed.union(self.retrieved)


class Fleet:
    """All servers, and the transactions that clients were told are safe."""

    def __init__(self, databases: tuple[Database, ...]) -> None:
        self.by_key = {each.key: each for each in databases}
        self.by_name = {each.name: each for each in databases}
        self.acknowledged: GtidSet = EMPTY_MYSQL

    def __getitem__(self, name: str) -> Database:
        return self.by_name[name]

    @property
    def open_names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.by_key.values() if each.is_open)

    # -- what happens by itself

    def write(self, name: str) -> bool:
        """A client writes one transaction, unless refused or still waiting for the one before."""
        server = self.by_name[name]
        if not server.is_open or server.pending:
            return False
        own = server.executed.only_from({server.uuid})
        transaction = parse_mysql(f"{server.uuid}:{own.count() + 1}")
        server.executed = server.executed.union(transaction)
        if server.source_semi_sync and server.source_active:
            server.pending = transaction
        else:
            self.acknowledged = self.acknowledged.union(transaction)
        self.flow()
        return True

    def flow(self) -> None:
        """Replication runs until nothing moves any more."""
        moved = True
        while moved:
            moved = any([self._replicate(each) for each in self.by_key.values()])
        for each in self.by_key.values():
            self._acknowledge(each)

    def _replicate(self, server: Database) -> bool:
        before = (server.executed, server.retrieved)
        source = self.by_key.get(server.source) if server.source is not None else None
        if source is not None and self._receiver(server) is ThreadState.RUNNING:
            server.retrieved = server.retrieved.union(source.executed)
        if server.alive and self._applier(server) is ThreadState.RUNNING and not server.applier_stuck:
            server.executed = server.executed.union(server.retrieved)
        return (server.executed, server.retrieved) != before

    def _acknowledge(self, source: Database) -> None:
        if not source.alive or not source.pending:
            return
        ackers = [
            each
            for each in self.by_key.values()
            if each.acks and each.source == source.key and self._receiver(each) is ThreadState.RUNNING
        ]
        if sum(1 for each in ackers if each.has.covers(source.pending)) >= source.waits_for:
            self.acknowledged = self.acknowledged.union(source.pending)
            source.pending = EMPTY_MYSQL

    def passes(self, seconds: int) -> None:
        """Time passes: whoever hears its source gets its heartbeats, and uptimes grow."""
        for server in self.by_key.values():
            source = self.by_key.get(server.source) if server.source is not None else None
            if source is not None and not source.frozen and not server.deaf and self._is_connected(server):
                server.heartbeats += seconds
            server.uptime_s += seconds

    def _is_connected(self, server: Database) -> bool:
        return self._receiver(server) is ThreadState.RUNNING

    def crash(self, name: str) -> None:
        server = self.by_name[name]
        server.alive, server.pending = False, EMPTY_MYSQL

    def start(self, name: str) -> None:
        """Comes back read-only, and goes on replicating if it was a replica."""
        server = self.by_name[name]
        server.alive, server.read_only, server.uptime_s = True, True, 0

    # -- what the manager sees

    def probe(self, key: InstanceKey) -> ProbeResult:
        server = self.by_key.get(key)
        if server is None or not server.alive or not server.reachable:
            kind = server.unreachable_kind if server is not None else UnreachableKind.REFUSED
            return Unreachable(key, kind, kind.value)
        self.flow()
        return Reached(self.facts(key))

    def facts(self, key: InstanceKey) -> Facts:
        server = self.by_key[key]
        return Facts(
            key=key,
            flavor=server.flavor,
            version=server.version,
            server_id=server.told_id or server.number,
            server_uuid=(server.told_uuid or server.uuid) if server.flavor is Flavor.MYSQL else "",
            uptime_s=server.uptime_s,
            read_only=server.read_only,
            super_read_only=server.read_only,
            binlog=Binlog(enabled=server.binlog, format=server.format, logs_replica_updates=server.logs_updates),
            gtid_mode=server.gtid_mode,
            executed=server.executed.minus(server.pending) if server.has_gtids else None,
            purged=EMPTY_MYSQL,
            semi_sync=self._semi_sync(server),
            channels=self._channels(server),
            replica_ids=tuple(sorted(each.number for each in self._connected(server))),
            cluster_alias=server.cluster_alias,
            location=server.location,
            promotion_rule=server.rule,
            semi_sync_priority=server.semi_sync_priority,
            settings=server.settings,
            load=Load(
                connections=server.connections, connections_max=server.connections_max,
                syncs=7, syncs_pending=server.syncs_pending,
            ),
            group=server.group,
            fence_lacks=server.fence_lacks,
        )  # fmt: skip

    def _semi_sync(self, server: Database) -> SemiSync:
        return SemiSync(
            available=True,
            source_enabled=server.source_semi_sync,
            source_active=server.source_semi_sync and server.source_active,
            source_clients=sum(1 for each in self._connected(server) if each.acks),
            wait_for_replica_count=server.waits_for,
            wait_without_replicas=True,
            after_sync=True,
            timeout_ms=server.timeout_ms,
            replica_enabled=server.acks,
            replica_active=server.acks and self._receiver(server) is ThreadState.RUNNING,
        )

    def _connected(self, server: Database) -> list[Database]:
        """Replicas with a dump thread on this server."""
        replicas = [each for each in self.by_key.values() if each.source == server.key]
        return [each for each in replicas if each.alive and self._receiver(each) is ThreadState.RUNNING]

    def _channels(self, server: Database) -> tuple[Channel, ...]:
        if server.source is None:
            return ()
        source = self.by_key.get(server.source)
        own = Channel(
            name="" if server.unnamed_channel else "first",
            source=server.source,
            source_uuid=source.uuid if source is not None and source.flavor is Flavor.MYSQL else "",
            receiver=self._receiver(server),
            applier=self._applier(server),
            receiver_error_number=2003 if server.receiver_error else 0,
            receiver_error=server.receiver_error,
            applier_error_number=1062 if server.applier_error else 0,
            applier_error=server.applier_error,
            uses_gtid=server.uses_gtid,
            read=place(server.has),
            executed=place(server.executed),
            has_filters=server.has_filters,
            retrieved=server.retrieved if server.has_gtids else None,
            lag_s=server.lag_s,
            delay_s=server.delay_s,
            heartbeat_period_s=server.heartbeat_s,
            heartbeats=server.heartbeats,
            options=server.options,
        )
        more = tuple(replace(own, name=f"channel{number}") for number in range(server.extra_channels))
        return (own, *more)

    def _receiver(self, server: Database) -> ThreadState:
        if server.receiver_state is not None:
            return server.receiver_state
        if not server.receiver_on or server.source is None:
            return ThreadState.STOPPED
        source = self.by_key.get(server.source)
        answers = source is not None and source.alive and server.alive
        return ThreadState.RUNNING if answers else ThreadState.CONNECTING

    def _applier(self, server: Database) -> ThreadState:
        if server.applier_state is not None:
            return server.applier_state
        return ThreadState.RUNNING if server.applier_on else ThreadState.STOPPED

    # -- what the manager does

    def perform(self, step: Step) -> Outcome:
        """One step, with the post-conditions it promises."""
        if isinstance(step, FireHook):
            return Outcome(step=step, ok=True)
        if not isinstance(step, ServerStep):
            raise TypeError(f"the fleet knows no step {step}")
        server = self.by_key.get(step.key)
        if server is None or not server.alive or not server.reachable:
            return Outcome(step=step, ok=False, detail=(server or _NOBODY).unreachable_kind.value)
        self.flow()
        complaint = by_place(step, server, self.by_key) if isinstance(step, BY_PLACE) else self._act(step, server)
        self.flow()
        facts = self.facts(step.key) if isinstance(step, Reprobe) else None
        log = place(server.executed) if isinstance(step, ReadPlace) else None
        if isinstance(step, ReadCopy):
            return Outcome(step=step, ok=True, detail=server.copy_state)
        return Outcome(step=step, ok=not complaint, detail=complaint, facts=facts, place=log)

    def _act(self, step: ServerStep, server: Database) -> str:
        match step:
            case Reprobe() | CheckClone() | ReadCopy():
                return ""
            case Fence():
                server.read_only, server.pending = True, EMPTY_MYSQL
            case SetReadOnly():
                if server.pending:
                    return "read_only waits behind a commit"
                server.read_only = True
            case SetWritable():
                server.read_only = False
            case SetSemiSync():
                _set_semi_sync(step, server)
            case PointTo():
                return _point(step, server)
            case _:
                return _control(step, server, self.by_key)
        return ""


_NOBODY = Database("nobody", InstanceKey("nobody", 1), 0)


def _set_semi_sync(step: SetSemiSync, server: Database) -> None:
    if step.source_enabled is not None:
        server.source_semi_sync = step.source_enabled
    if step.replica_enabled is not None:
        server.acks = step.replica_enabled
    if step.wait_for_replica_count is not None:
        server.waits_for = step.wait_for_replica_count
    if step.timeout_ms is not None:
        server.timeout_ms = step.timeout_ms


def _clone(server: Database, donor: Database) -> None:
    """All data of the donor, its replication channel too; the server has restarted by then."""
    server.executed = server.retrieved = donor.executed
    server.copy_state = COPIED
    server.source, server.read_only = donor.source, True
    server.receiver_on = server.applier_on = True
    server.receiver_state = server.applier_state = None


def _point(step: PointTo, server: Database) -> str:
    if not server.has_gtids:
        return "AUTO_POSITION needs GTID_MODE = ON"
    if server.source != step.source:
        server.retrieved = server.executed
    server.source = step.source
    server.receiver_on = server.applier_on = step.start
    server.receiver_state = server.applier_state = None
    server.receiver_error = ""
    if step.options:
        server.options = step.options
    return ""


def _control(step: ServerStep, server: Database, others: Mapping[InstanceKey, Database]) -> str:
    match step:
        case CloneFrom():
            _clone(server, others[step.donor])
        case StopReceiver():
            server.receiver_on, server.receiver_state = False, None
        case StopReplication():
            server.receiver_on = server.applier_on = False
            server.receiver_state = server.applier_state = None
        case StartReplication():
            if server.source is None:
                return "no source is set"
            server.receiver_on = server.applier_on = True
            server.receiver_state = server.applier_state = None
        case ResetReplication():
            server.source, server.receiver_on, server.applier_on = None, False, False
            server.retrieved, server.options = server.executed, ()
        case WaitApplied():
            wanted = parse_mysql(step.gtids) if step.gtids else server.retrieved
            if not server.executed.covers(wanted):
                return f"not done within {step.deadline_s:g} s"
        case _:
            _administer(step, server)
    return ""


def _administer(step: ServerStep, server: Database) -> None:
    match step:
        case SetNetTimeout():
            server.settings = replace(server.settings, net_timeout_s=step.timeout_s)
            server.heartbeat_s = step.timeout_s / 2
        case SetEventScheduler():
            server.settings = replace(server.settings, event_scheduler=step.on)
        case SetDelay():
            server.delay_s, server.applier_on = step.delay_s, False
        case SkipTransaction():
            server.applier_error = ""
        case InjectEmpty():
            server.executed = server.executed.union(parse_mysql(step.gtids))
        case ResetGtids():
            server.executed = parse_mysql(step.executed)
        case FlushBinaryLogs() | PurgeBinaryLogs() | KillQuery():
            pass
        case _:
            raise TypeError(f"the fleet knows no step {step}")
